//! A config with mistakes: all of them on stderr and in the log, exit status 1, and nothing is made.
//!
//! What is found in which config is held by `libcontainer/tests/bad.rs`; here it is what the command does about it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use integration_tests::ketch;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle with this config, and everything that a container could leave traces in.
struct Place {
    place: TempDir,
    id: String,
}

impl Place {
    fn new(config: &str) -> Place {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("bundle")).unwrap();
        fs::create_dir(place.path().join("bundle/rootfs")).unwrap();
        fs::write(place.path().join("bundle/config.json"), config).unwrap();
        let name = place.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
        Place { place, id: format!("invalid-{name}") }
    }

    fn path(&self, name: &str) -> String {
        self.place.path().join(name).to_str().unwrap().to_owned()
    }

    fn call(&self, verb: &str) -> Output {
        Command::new(ketch())
            .args(["--root", &self.path("root"), "--log", &self.path("log"), "--log-format", "json", verb])
            .args(["--bundle", &self.path("bundle"), "--pid-file", &self.path("pid"), &self.id])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Everything in the place but the log, and cgroups of the container's name.
    fn traces(&self) -> BTreeSet<String> {
        let mut traces = BTreeSet::new();
        list(self.place.path(), &|_| true, &mut traces);
        list(Path::new("/sys/fs/cgroup"), &|name| name.contains(&self.id), &mut traces);
        traces.remove(&self.path("log"));
        // The store itself may be there, and be empty.
        traces.remove(&self.path("root"));
        traces
    }
}

fn list(directory: &Path, wanted: &dyn Fn(&str) -> bool, found: &mut BTreeSet<String>) {
    // A cgroup of another container may go while it is looked at.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path().to_string_lossy().into_owned();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&entry.path(), wanted, found);
        }
        if wanted(&path) {
            found.insert(path);
        }
    }
}

/// What is wrong with the configs, by its places.
fn cases() -> Vec<(String, Vec<&'static str>)> {
    let good = json!({
        "ociVersion": "1.2.0", "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    });
    let with = |changes: &[(&str, Value)]| {
        let mut config = good.clone();
        for (at, value) in changes {
            let (parent, name) = at.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap()[name] = value.clone();
        }
        config.to_string()
    };
    let maps = json!([{"containerID": 0, "hostID": 0, "size": 0}]);
    let hooks = json!({"createRuntime": [{"path": "/bin/true"}], "poststop": [{"path": "x", "timeout": 0}]});
    vec![
        (String::new(), vec!["/"]),
        ("{\"ociVersion\": \"1.0.0\", \"ociVersion\": \"1.0.0\"".to_owned(), vec!["/ociVersion", "/"]),
        (with(&[("/root", json!(["rootfs"]))]), vec!["/root"]),
        (
            with(&[("/process/cwd", json!("")), ("/linux/namespaces", json!("all"))]),
            vec!["/linux/namespaces", "/process/cwd"],
        ),
        (with(&[("/linux/uidMappings", maps)]), vec!["/linux/uidMappings/0/size", "/linux/uidMappings"]),
        (
            with(&[("/hooks", hooks), ("/hostname", json!(7))]),
            vec!["/hooks/poststop/0/path", "/hooks/poststop/0/timeout", "/hostname"],
        ),
        (
            with(&[("/linux/cgroupsPath", json!("/../x")), ("/linux/sysctl", json!({"vm.x\n": "1"}))]),
            vec!["/linux/cgroupsPath", "/linux/sysctl/vm.x\\n"],
        ),
    ]
}

/// The place of each line `config.json: PLACE: MISTAKE (CLAUSE)`.
fn places(text: &str) -> BTreeSet<&str> {
    text.lines()
        .map(|line| {
            let rest = line.strip_prefix("config.json: ").unwrap_or_else(|| panic!("{line:?} of {text:?}"));
            assert!(rest.ends_with(')') && rest.contains(" (config"), "no clause: {line}");
            rest.split_once(": ").unwrap().0
        })
        .collect()
}

#[test]
fn t03_t12_e12_a_config_with_mistakes_is_refused_with_all_of_them_and_leaves_nothing() {
    for (config, wrong) in cases() {
        for verb in ["create", "run"] {
            let place = Place::new(&config);
            let before = place.traces();
            let finished = place.call(verb);
            assert_eq!(finished.status.code(), Some(1), "{verb} of {config}");
            let said = String::from_utf8(finished.stderr).unwrap();
            assert_eq!(places(&said), wrong.iter().copied().collect(), "{verb} of {config}");
            assert!(finished.stdout.is_empty());
            let log = fs::read_to_string(place.path("log")).unwrap();
            assert_eq!(log.lines().count(), 1, "one object in the log, all findings in it: {log}");
            let logged: Value = serde_json::from_str(&log).unwrap();
            assert_eq!(logged["msg"].as_str(), Some(said.trim_end()));
            assert_eq!(place.traces(), before, "{verb} of {config} left something");
        }
    }
}
