//! Whatever step fails, the error names it and nothing is left behind. Spec: runtime.md#errors.
//!
//! A debug build of ketch can fail every step that `ketch plan --steps` lists. One test, because the oracle looks
//! at the whole host.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::os::unix::net::UnixListener;
use std::path::Path;

use integration_tests::{HostState, Namespaces, Resctrl, VERSION_2_ALONE, Wrapped, bind, mounted};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Exit, Finished, Runtime};

/// A step as `plan --steps` prints it.
#[derive(Debug, Clone)]
struct Step {
    code: u32,
    words: String,
}

/// Kinds of steps, by the high half of their numbers in libcontainer's `plan::step`.
mod kind {
    pub(crate) const OPEN_SOURCE: u32 = 7;
    pub(crate) const MAP_MOUNT: u32 = 8;
    pub(crate) const AWAIT_START: u32 = 49;
    pub(crate) const FIND_PROGRAM: u32 = 47;
    pub(crate) const EXEC: u32 = 52;
    pub(crate) const ENTER_ROOT: u32 = 73;
    pub(crate) const LAST: u32 = 90;
}

impl Step {
    fn kind(&self) -> u32 {
        self.code >> 16
    }
}

#[test]
fn every_step_that_fails_is_named_and_leaves_nothing_behind() {
    let resctrl = Resctrl::new();
    let runtime = resctrl.runtime();
    // Not part of what is compared: these are there before and after.
    let pod = Namespaces::new(&["--net", "--ipc", "--uts"]);
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("console.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let agent = UnixListener::bind(sockets.path().join("agent.sock")).unwrap();
    agent.set_nonblocking(true).unwrap();
    let console = socket.as_path();
    let surroundings = Surroundings { runtime: &runtime, resctrl: &resctrl, console, agent: &agent };
    let mut failures = Vec::new();
    for (name, bundle) in bundles(&pod, &sockets.path().join("agent.sock")) {
        failures.extend(surroundings.complaints(name, bundle));
    }
    // Where there is version 2 alone, the two processes share the work in another way.
    let alone = Wrapped::new(&format!("exec {VERSION_2_ALONE}"));
    let surroundings = Surroundings { runtime: alone.runtime(), ..surroundings };
    let unlimited = rich().set("/linux/resources", json!({"devices": [{"allow": false, "access": "rwm"}]}));
    failures.extend(surroundings.complaints("version 2 alone", unlimited.clone()));
    // And where nobody looks at the host from inside, the mount namespace may begin with the root.
    let many = (0..40).map(|i| bind("/usr/share", &format!("/shares/{i}"), &["bind"]));
    let apart = mounted(unlimited.set("/hooks", json!({"poststop": [{"path": "/bin/true"}]})), many);
    failures.extend(surroundings.complaints("root alone", apart));
    assert!(failures.is_empty(), "{} complaints:\n{}", failures.len(), failures.join("\n"));
}

/// What containers are made with.
#[derive(Clone, Copy)]
struct Surroundings<'a> {
    runtime: &'a Runtime,
    resctrl: &'a Resctrl,
    console: &'a Path,
    agent: &'a UnixListener,
}

impl Surroundings<'_> {
    /// Has every step of a container fail, one after the other, and tells of those that are not named, or leave
    /// something behind.
    fn complaints(&self, name: &str, bundle: BundleBuilder) -> Vec<String> {
        let bundle = bundle.build().unwrap();
        let (runtime, groups) = (self.runtime, self.resctrl.groups());
        let terminal = bundle.config()["process"]["terminal"] == true;
        let stage = Stage {
            runtime,
            bundle: &bundle,
            console: terminal.then_some(self.console),
            agent: self.agent,
            id: runtime.fresh_id(),
        };
        // The healthy container first: a bundle that cannot run at all proves nothing about its steps.
        let before = HostState::take(runtime);
        let healthy = stage.run(None);
        if healthy.exit != Exit::Code(0) {
            return vec![format!("{name}: healthy run: {}", healthy.stderr)];
        }
        before.assert_unchanged(runtime, &format!("{name}: healthy run"));
        let steps = stage.steps();
        assert!(steps.len() > 40, "{name}: only {} steps", steps.len());
        let mut failures = Vec::new();
        for step in &steps {
            let mut complain = |complaint: &str| {
                failures.push(format!(
                    "{name}: {} ({}:{}): {complaint}",
                    step.words,
                    step.kind(),
                    step.code & 0xffff
                ));
            };
            if let Err(complaint) = stage.fail(step) {
                complain(&complaint);
            }
            let mut differences = before.differences(runtime);
            if self.resctrl.groups() != groups {
                differences += "resctrl groups";
            }
            if !differences.is_empty() {
                complain(&differences);
                stage.clean_up();
            }
        }
        let unlisted = stage.unlisted(&steps);
        if !unlisted.is_empty() {
            failures.push(format!("{name}: can fail but is not in plan --steps: {unlisted:#?}"));
        }
        before.assert_unchanged(runtime, &format!("{name}: after the unlisted steps"));
        failures
    }
}

struct Stage<'a> {
    runtime: &'a Runtime,
    bundle: &'a Bundle,
    console: Option<&'a Path>,
    agent: &'a UnixListener,
    id: String,
}

impl Stage<'_> {
    fn call(&self, verb: &[&str], fail_at: Option<u32>, id: &str) -> Finished {
        let mut command = self.runtime.command(verb);
        command.arg("--bundle").arg(self.bundle.path());
        if let Some(code) = fail_at {
            command.args(["--fail-at", &code.to_string()]);
        }
        if let Some(socket) = self.console {
            command.arg("--console-socket").arg(socket);
        }
        command.arg(id);
        let finished = self.runtime.finish(command).unwrap();
        self.forget_introductions();
        finished
    }

    /// Closes what the agent was sent, whose calls nobody makes.
    fn forget_introductions(&self) {
        while self.agent.accept().is_ok() {}
    }

    /// `run` to the end.
    fn run(&self, fail_at: Option<u32>) -> Finished {
        self.call(&["run"], fail_at, &self.id)
    }

    fn steps(&self) -> Vec<Step> {
        let mut command = self.runtime.command(["plan", "--steps"]);
        command.arg("--bundle").arg(self.bundle.path()).arg(&self.id);
        let printed = self.runtime.finish(command).unwrap().success().unwrap().stdout;
        let step = |line: &str| {
            let (code, words) = line.trim().split_once(' ').unwrap();
            Step { code: code.parse().unwrap(), words: words.trim().to_owned() }
        };
        printed.lines().map(step).collect()
    }

    /// Removes what a step has left behind, so that the next one is judged for itself.
    fn clean_up(&self) {
        for entry in std::fs::read_dir(self.runtime.root()).into_iter().flatten().flatten() {
            let id = entry.file_name().into_string().unwrap();
            self.runtime.call(["delete", "--force", &id]).unwrap();
        }
        reap();
    }

    /// Fails a step of `run`, which has to name it, and of `create` and `start`, of which one has to fail.
    fn fail(&self, step: &Step) -> Result<(), String> {
        let ran = self.run(Some(step.code));
        if ran.exit.success() {
            return Err("run never reached it".into());
        }
        // The program is named in the words that clients look for.
        let is_program = [kind::FIND_PROGRAM, kind::EXEC].contains(&step.kind());
        let words = if is_program { "\"/bin/probe\"" } else { &step.words };
        if !ran.stderr.contains(words) || !ran.stderr.contains("injected fault") {
            return Err(format!("run: unnamed: {:?}", ran.stderr));
        }
        let leftovers = self.fail_in_two_calls(step)?;
        if leftovers.is_empty() { Ok(()) } else { Err(format!("left behind: {leftovers:?}")) }
    }

    fn fail_in_two_calls(&self, step: &Step) -> Result<Vec<std::path::PathBuf>, String> {
        let id = &self.id;
        let created = self.call(&["create"], Some(step.code), id);
        if created.exit.success() {
            let started = self.runtime.call(["start", id]).unwrap();
            self.forget_introductions();
            if started.exit.success() {
                return Err("neither create nor start reached it".into());
            }
            let fault = started.stderr.contains("injected fault");
            // Nobody listens when waiting for start fails, so start can only say that there is nothing to start.
            if !fault && step.kind() != kind::AWAIT_START {
                return Err(format!("start: unnamed: {:?}", started.stderr));
            }
            self.runtime
                .call(["delete", "--force", id])
                .unwrap()
                .success()
                .map_err(|error| error.to_string())?;
            reap();
        }
        Ok(self.runtime.leftovers(id))
    }

    /// Steps of which the first can be made to fail though the plan does not list them.
    fn unlisted(&self, listed: &[Step]) -> Vec<String> {
        let codes: BTreeSet<u32> = listed.iter().map(|step| step.code).collect();
        // Sources are opened by the runtime for some mounts only, so that the first is no example.
        let sources =
            (0..32).flat_map(|mount| [kind::OPEN_SOURCE << 16 | mount, kind::MAP_MOUNT << 16 | mount]);
        let all = (1..=kind::LAST).map(|kind| kind << 16).chain(sources);
        let mut found = Vec::new();
        for code in all.filter(|code| !codes.contains(code)) {
            let ran = self.run(Some(code));
            // That comes to pass on newer kernels alone, and no plan knows.
            if !ran.exit.success() && code >> 16 != kind::ENTER_ROOT {
                found.push(format!("{}: {}", code >> 16, ran.stderr.trim()));
            }
        }
        found
    }
}

/// Takes the exit status of containers that became ours, as a shim does.
fn reap() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
        // The pod's holder lives: only containers end here.
    }
}

/// One bundle for each way into the namespaces, all with as much in them as goes together.
fn bundles(pod: &Namespaces, agent: &Path) -> Vec<(&'static str, BundleBuilder)> {
    let id_map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let new = |kind: &str| json!({"type": kind});
    let join = |kind: &str, file: &str| json!({"type": kind, "path": pod.path(file)});
    let copied =
        json!({"destination": "/self", "source": "/proc/mounts", "options": ["bind", "copy-symlink"]});
    let private = rich().push("/mounts", mapped_by_itself()).push("/mounts", copied).set(
        "/linux/intelRdt",
        json!({"l3CacheSchema": "L3:0=f", "schemata": ["MB:0=20"], "enableMonitoring": true}),
    );
    let offsets = json!({"monotonic": {"secs": 100, "nanosecs": 1}, "boottime": {"secs": 7}});
    let userns = rich()
        .push("/linux/namespaces", new("user"))
        .set("/linux/uidMappings", id_map.clone())
        .set("/linux/gidMappings", id_map)
        .push("/mounts", idmapped())
        .push("/mounts", json!({"destination": "/mine", "type": "tmpfs", "options": ["idmap", "tmpcopyup"]}));
    let mapped_time =
        userns.clone().push("/linux/namespaces", new("time")).set("/linux/timeOffsets", offsets.clone());
    let time = rich()
        .push("/linux/namespaces", new("time"))
        .set("/linux/timeOffsets", offsets)
        .set("/linux/seccomp/listenerPath", json!(agent))
        .push("/linux/seccomp/syscalls", json!({"names": ["swapoff"], "action": "SCMP_ACT_NOTIFY"}))
        .set("/linux/intelRdt", json!({"closID": "/", "enableMonitoring": true}))
        .set("/process/terminal", json!(true))
        .set("/process/consoleSize", json!({"height": 20, "width": 70}));
    let member = rich().remove("/linux/sysctl").remove("/hostname").remove("/domainname").set(
        "/linux/namespaces",
        json!([
            new("pid"),
            new("mount"),
            new("cgroup"),
            join("network", "net"),
            join("ipc", "ipc"),
            join("uts", "uts"),
        ]),
    );
    vec![
        ("private", private),
        ("user namespace", userns),
        ("time and terminal", time),
        ("user and time", mapped_time),
        ("pod member", member),
    ]
}

fn mapped_by_itself() -> Value {
    let map = json!([{"containerID": 0, "hostID": 5000, "size": 100}]);
    let (uids, gids) = (map.clone(), map);
    json!({"destination": "/mapped", "source": "/usr/share", "options": ["rbind"], "uidMappings": uids, "gidMappings": gids})
}

fn idmapped() -> Value {
    json!({"destination": "/idmapped", "type": "bind", "source": "/usr/share", "options": ["bind", "ro", "idmap"]})
}

/// Everything of a config that makes steps.
fn rich() -> BundleBuilder {
    let hook = |path: &str| json!([{"path": path, "args": [path]}, {"path": path}]);
    let inside = json!([{"path": "/bin/probe", "args": ["probe", "exit", "0"]}]);
    Bundle::new()
        .set("/domainname", json!("domain"))
        .set("/annotations", json!({"run.oci.hooks.stderr": "/dev/null"}))
        .set("/process/args", json!(["/bin/probe", "exit", "0"]))
        .set("/process/oomScoreAdj", json!(500))
        .set("/process/user/umask", json!(0o27))
        .set("/process/user/additionalGids", json!([10, 20]))
        .set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 19}))
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}))
        .push("/process/rlimits", json!({"type": "RLIMIT_CORE", "hard": 0, "soft": 0}))
        .set("/linux/personality", json!({"domain": "LINUX32"}))
        .set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}))
        .set("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "9000"}))
        .set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                   "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}),
        )
        .set("/linux/devices", json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]))
        .set("/linux/resources/memory", json!({"limit": 64 << 20}))
        .set("/linux/resources/pids", json!({"limit": 50}))
        .set("/linux/resources/cpu", json!({"shares": 512}))
        .set(
            "/hooks",
            json!({
                "prestart": hook("/bin/true"), "createRuntime": hook("/bin/true"),
                "createContainer": hook("/bin/true"), "startContainer": inside,
                "poststart": hook("/bin/true"), "poststop": hook("/bin/true"),
            }),
        )
        .push(
            "/mounts",
            json!({"destination": "/data/deep", "type": "tmpfs", "source": "tmpfs", "options": ["rro"]}),
        )
        .push(
            "/mounts",
            json!({"destination": "/share", "source": "/usr/share", "options": ["rbind", "ro", "rprivate"]}),
        )
}
