//! The benchmark measures what it says, and leaves nothing behind, also when it is interrupted.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use integration_tests::ketch;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use spec_conformance::wait::{Deadline, Pidfd, for_file};

/// The benchmark of ketch alone, with a directory of its own for scratch files.
fn bench(scratch: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["--layout", "host", "--runtimes", "ketch", "--deadline", "30"]).args(args);
    command.env("KETCH", ketch()).env("TMPDIR", scratch).stdin(Stdio::null()).stdout(Stdio::piped());
    // A terminal's signals reach a group.
    command.process_group(0);
    command
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn has_ended(child: &Child) {
    let ended = Pidfd::open(pid(child)).unwrap().wait(Deadline::after(Duration::from_secs(120)));
    assert!(ended.unwrap(), "the benchmark does not end");
}

/// Where state may lie.
const STATE: [&str; 2] = ["/run", "/dev/shm"];

fn name_of(process: i32) -> String {
    format!("ketch-bench-{process}")
}

fn in_directory(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// What this benchmark has made in one of these places.
fn made<'a>(process: i32, places: impl IntoIterator<Item = &'a Path>) -> Vec<PathBuf> {
    let is_ours = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&name_of(process));
    places.into_iter().flat_map(in_directory).filter(is_ours).collect()
}

/// Demands that nothing which this benchmark made is on the host.
fn nothing_left(process: i32, scratch: &Path) {
    let name = name_of(process);
    let cgroups = Path::new("/sys/fs/cgroup");
    let hierarchies = in_directory(cgroups);
    let places = hierarchies.iter().map(PathBuf::as_path).chain([cgroups]).chain(STATE.map(Path::new));
    assert_eq!(made(process, places), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0, "scratch files are left");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&name), "{mounts}");
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(!line.contains(&name), "{line} runs on");
    }
}

#[test]
fn one_round_of_the_cheap_items_is_measured_and_leaves_nothing() {
    let (scratch, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str| kept.path().join(name).to_str().unwrap().to_owned();
    let (json, html) = (file("results.json"), file("results.html"));
    let items = "version,run,create,start,delete,exec,state,docker-cold,userns,masks-256,cpu,peak,held,calls,forks,\
                 execs,binary,mounts-2000";
    let args = ["--rounds", "1", "--items", items, "--json", &json, "--html", &html];
    let child = bench(scratch.path(), &args).spawn().unwrap();
    has_ended(&child);
    let process = pid(&child);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    nothing_left(process, scratch.path());

    let results: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let measured: Vec<&Value> = results["items"].as_array().unwrap().iter().collect();
    let names: Vec<&str> = measured.iter().map(|item| item["item"].as_str().unwrap()).collect();
    assert_eq!(names.join(","), items);
    for item in measured {
        let row = &item["rows"][0];
        assert_eq!(row["failures"], 0, "{row}");
        assert!(row["summary"]["all"]["median"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(
            row["paused"].as_array().unwrap().len(),
            1,
            "the first round that counts has pauses: {row}"
        );
    }
    assert!(fs::read_to_string(&html).unwrap().contains("<svg"));
}

#[test]
fn an_interrupt_among_two_hundred_containers_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let mut child = bench(scratch.path(), &["--items", "list-200", "--rounds", "1000000"]).spawn().unwrap();
    // The names of the runtimes end what is said before the containers are made.
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.starts_with("ketch: ")));
    let mine = made(pid(&child), STATE.map(Path::new)).remove(0);
    let mut pids = BTreeSet::new();
    let several = |text: &str| {
        pids.insert(text.to_owned());
        pids.len() > 5
    };
    for_file(&mine.join("pid"), Deadline::after(Duration::from_secs(60)), several).unwrap();
    killpg(Pid::from_raw(pid(&child)), Signal::SIGINT).unwrap();
    has_ended(&child);
    assert!(!child.wait().unwrap().success());
    nothing_left(pid(&child), scratch.path());
}
