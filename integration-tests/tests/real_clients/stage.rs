//! A machine of its own for one client with one runtime, which ends with the value.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;

const CGROUPS: &str = "/sys/fs/cgroup";
/// So much of what a failed scenario's shell said is shown.
const SHOWN: u64 = 3000;

/// Namespaces are the process's that is run in them; what stays are its cgroups.
pub(crate) struct Stage {
    cgroup: String,
    runtime: PathBuf,
}

impl Stage {
    pub(crate) fn new(client: &str, runtime: &Path) -> Stage {
        let name = runtime.file_name().unwrap_or_default().to_string_lossy();
        let cgroup = format!("ketch-clients-{}-{client}-{name}", std::process::id());
        Stage { cgroup, runtime: runtime.to_owned() }
    }

    /// Runs the client's scenarios; how each went.
    pub(crate) fn play(&self, client: &str, wanted: &str) -> Result<BTreeMap<String, Outcome>, String> {
        let this = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let script = tempfile::NamedTempFile::new().and_then(|file| {
            fs::write(file.path(), include_str!("stage.sh"))?;
            Ok(file)
        });
        let script = script.map_err(|error| format!("temporary file: {error}"))?;
        let busybox = find("busybox").ok_or("busybox is not in PATH")?;
        let name = this.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = Command::new("sh");
        command
            .arg(script.path())
            .arg(&self.cgroup)
            .arg(format!("/run/bin/{name}"))
            .args(["inside", client, wanted]);
        command
            .env("RUNTIME", &self.runtime)
            .env("FILES", format!("{} {}", this.display(), busybox.display()));
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| format!("sh(1): {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!("{text}{}", output.status));
        }
        Ok(text.lines().filter_map(outcome).collect())
    }
}

/// What the process inside said of one scenario.
fn outcome(line: &str) -> Option<(String, Outcome)> {
    let value = serde_json::from_str::<serde_json::Value>(line).ok()?;
    let failed = value["failed"].as_str().map_or(Ok(()), |text| Err(text.to_owned()));
    Some((value["scenario"].as_str()?.to_owned(), failed))
}

impl Drop for Stage {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([PathBuf::from(CGROUPS)]) {
            let place = hierarchy.join(&self.cgroup);
            // All its processes have ended with their pid namespace; the kernel may still be counting.
            while place.exists() && !remove(&place) && Instant::now() < deadline {
                thread::yield_now();
            }
        }
    }
}

/// Removes a cgroup and all below it; whether it is gone.
fn remove(place: &Path) -> bool {
    for below in fs::read_dir(place).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&below.path());
        }
    }
    fs::remove_dir(place).is_ok()
}

/// Ketch and those of its peers that are here: in `PEERS`, among the packages or in `PATH`.
pub(crate) fn runtimes(peers: &[&str]) -> Vec<(String, PathBuf)> {
    let ketch = ("ketch".to_owned(), integration_tests::ketch());
    let found = peers.iter().filter_map(|name| Some(((*name).to_owned(), find(name)?)));
    std::iter::once(ketch).chain(found).collect()
}

fn find(name: &str) -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).unwrap_or_default();
    let packages = PathBuf::from(variable("PACKAGES"));
    let places = std::env::split_paths(&variable("PEERS")).collect::<Vec<_>>().into_iter();
    let places = places.chain([packages.join("usr/sbin"), packages.join("usr/bin")]);
    let path = variable("PATH");
    let mut places = places.chain(std::env::split_paths(&path));
    places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file()))
}

/// The end of a log.
pub(crate) fn tail(log: &mut File) -> String {
    let length = log.seek(SeekFrom::End(0)).unwrap_or_default();
    let mut bytes = Vec::new();
    let read =
        log.seek(SeekFrom::Start(length.saturating_sub(SHOWN))).and_then(|_| log.read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("its log: {error}"),
    }
}
