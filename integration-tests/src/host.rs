//! The strict oracle: everything on the host that a container could leave something in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spec_conformance::Runtime;

/// The roots of all cgroup hierarchies.
const CGROUPS: &str = "/sys/fs/cgroup";
/// How long somebody else's empty cgroup may stay before it counts as left behind by us.
const SETTLING: Duration = Duration::from_secs(5);

/// The host as it is at one moment. For tests that have the test process for themselves: what other threads
/// start would look like something left behind.
#[derive(Debug)]
pub struct HostState {
    root: PathBuf,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    devices: BTreeSet<String>,
    processes: BTreeMap<String, String>,
    containers: BTreeSet<String>,
    own_files: usize,
}

impl HostState {
    /// Looks at the host, and at the state directory of this runtime.
    pub fn take(runtime: &Runtime) -> HostState {
        let root = runtime.root();
        HostState {
            mounts: read("/proc/self/mountinfo").lines().map(str::to_owned).collect(),
            cgroups: directories(Path::new(CGROUPS)),
            // Numbered terminals come and go with everybody's sessions; they live as long as a process has them.
            devices: names(Path::new("/dev")).into_iter().filter(|name| !is_terminal(name)).collect(),
            processes: descendants(),
            containers: names(&root),
            own_files: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            root,
        }
    }

    /// Demands that the host is as it was.
    ///
    /// # Panics
    /// Something was left behind or taken away; the message says what.
    pub fn assert_unchanged(&self, runtime: &Runtime, when: &str) {
        let differences = self.differences(runtime);
        assert!(differences.is_empty(), "{when}: the host is not as before:\n{differences}");
    }

    /// What was left behind or taken away since, a line each.
    pub fn differences(&self, runtime: &Runtime) -> String {
        let now = HostState::take(runtime);
        let mut differences = String::new();
        let mut compare = |what: &str, before: &BTreeSet<String>, after: &BTreeSet<String>| {
            for new in after.difference(before) {
                let _infallible = writeln!(differences, "new {what}: {new}");
            }
            for gone in before.difference(after) {
                let _infallible = writeln!(differences, "gone {what}: {gone}");
            }
        };
        compare("mount", &self.mounts, &now.mounts);
        compare("device", &self.devices, &now.devices);
        compare("state directory", &self.containers, &now.containers);
        let processes =
            |state: &HostState| state.processes.iter().map(|(pid, what)| format!("{pid} {what}")).collect();
        compare("process", &processes(self), &processes(&now));
        let mut cgroups = now.cgroups.difference(&self.cgroups).cloned().collect::<BTreeSet<_>>();
        let own = own_name(&now.root);
        // Others on this machine may be making containers: theirs are in use, or go. What is ours stays said.
        let deadline = Instant::now() + SETTLING;
        loop {
            cgroups.retain(|path| path.contains(&own) || !is_foreign(path));
            if cgroups.iter().all(|path| path.contains(&own)) || Instant::now() > deadline {
                break;
            }
            std::thread::yield_now();
        }
        compare("cgroup", &BTreeSet::new(), &cgroups);
        if self.own_files != now.own_files {
            let _infallible =
                writeln!(differences, "open files: {} before, {} now", self.own_files, now.own_files);
        }
        differences
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn is_terminal(name: &str) -> bool {
    name.strip_prefix("/dev/pts/").is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What the ids of all containers of a runtime have in common.
fn own_name(root: &Path) -> String {
    let name = root.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    name.unwrap_or_default().to_owned()
}

/// Whether somebody else on this machine made this cgroup: it holds a process that is not ours, or has the name
/// of another test's container, or went away meanwhile.
fn is_foreign(cgroup: &str) -> bool {
    if cgroup.contains("conformance-") || !Path::new(cgroup).exists() {
        return true;
    }
    let ours = descendants();
    let mut below = directories(Path::new(cgroup));
    below.insert(cgroup.to_owned());
    let inhabitants = below.iter().map(|path| read(&format!("{path}/cgroup.procs")));
    inhabitants
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .any(|pid| !ours.contains_key(&pid))
}

/// All directories below `place`.
fn directories(place: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = vec![place.to_owned()];
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.insert(entry.path().display().to_string());
                rest.push(entry.path());
            }
        }
    }
    found
}

/// All names below `place`, with what kind of file each is.
fn names(place: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = vec![place.to_owned()];
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            found.insert(entry.path().display().to_string());
            if kind.is_dir() {
                rest.push(entry.path());
            }
        }
    }
    found
}

/// The processes below this one, by pid. It is a subreaper, so whatever a container leaves ends up here.
fn descendants() -> BTreeMap<String, String> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().into_string() else { continue };
        if pid.bytes().all(|byte| byte.is_ascii_digit())
            && let Some((parent, name)) = parent_and_name(&pid)
        {
            parents.insert(pid, (parent, name));
        }
    }
    let own = std::process::id().to_string();
    let is_below = |pid: &String| {
        let mut above = pid;
        while let Some((parent, _)) = parents.get(above) {
            if *parent == own {
                return true;
            }
            above = parent;
        }
        false
    };
    parents
        .iter()
        .filter(|(pid, _)| is_below(pid))
        .map(|(pid, (_, name))| (pid.clone(), name.clone()))
        .collect()
}

/// A process's parent, and its name and state for messages. See proc_pid_stat(5).
fn parent_and_name(pid: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.to_owned();
    Some((parent, format!("{}) {state}", head.split_once(' ')?.1)))
}
