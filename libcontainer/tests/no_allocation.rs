//! From clone to exec the container's process neither allocates nor frees, so that a caller may have threads.
//!
//! The process is a copy of one thread: whatever lock of the allocator another thread holds at that moment stays
//! held in it for ever. Here other threads keep the allocator busy, and the allocator tells who else uses it. A
//! hook's process between clone and exec is held to the same. Needs root and Debian's busybox-static.
#![allow(
    unsafe_code,
    reason = "an allocator, and memory shared with the processes that it watches, are unsafe"
)]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, Ordering};

use libcontainer::sys::process::{self, Exit};
use libcontainer::{Bundle, Container, ExecOptions, Options, Store};
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// How a process that used the allocator ends.
const CAUGHT: i32 = 99;

/// Uses of the allocator in processes other than [`OWNER`], in memory that they share with it.
static USES: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// The process that may use the allocator; 0 while nobody is watched.
static OWNER: AtomicI32 = AtomicI32::new(0);

#[global_allocator]
static WATCHED: Watched = Watched;

struct Watched;

impl Watched {
    fn look(&self) {
        let owner = OWNER.load(Ordering::Relaxed);
        if owner == 0 || owner == process::pid() {
            return;
        }
        // SAFETY: the pointer is null or to a counter that is mapped as long as anybody is watched.
        if let Some(uses) = unsafe { USES.load(Ordering::Relaxed).as_ref() } {
            uses.fetch_add(1, Ordering::Relaxed);
        }
        process::exit(CAUGHT);
    }
}

// SAFETY: everything is the system's allocator's.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.look();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.look();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.look();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.look();
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }
}

/// Starts to watch. The counter stays mapped until the test ends.
fn watch() -> &'static AtomicU32 {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: asks for a new page wherever the kernel likes.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    USES.store(page.cast(), Ordering::Relaxed);
    OWNER.store(process::pid(), Ordering::SeqCst);
    // SAFETY: the page is zeroed, aligned, and never unmapped; all access to it is atomic.
    unsafe { &*page.cast::<AtomicU32>() }
}

#[test]
fn from_clone_to_exec_nothing_is_allocated_or_freed() {
    let uses = watch();
    // The alarm works: a child that allocates is caught.
    let guilty = process::spawn(0, None, || {
        drop(std::hint::black_box(Box::new(1)));
        0
    });
    assert_eq!(process::wait(guilty.unwrap().pidfd.as_fd()), Ok(Exit::Status(CAUGHT)));
    assert_eq!(uses.swap(0, Ordering::SeqCst), 1);
    let busy = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for size in [24, 900, 70_000] {
            let busy = &busy;
            scope.spawn(move || {
                while busy.load(Ordering::Relaxed) {
                    drop(std::hint::black_box(vec![1_u8; size]));
                }
            });
        }
        // Whatever fails, the threads must end.
        let outcome = std::panic::catch_unwind(|| {
            for (name, config) in configs() {
                live(name, &config);
                assert_eq!(
                    uses.load(Ordering::SeqCst),
                    0,
                    "{name}: a process used the allocator before its exec"
                );
            }
        });
        busy.store(false, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Creates and starts a container, runs another program in it, and runs one in the foreground.
fn live(name: &str, config: &Value) {
    let place = tempfile::tempdir().unwrap();
    let bundle = bundle(place.path(), config);
    let store = Store::new(place.path().join("store"));
    let (_master, console) = UnixStream::pair().unwrap();
    let _agent = UnixListener::bind(place.path().join("agent.sock")).unwrap();
    let terminal = config["process"]["terminal"] == true;
    let console = || terminal.then(|| console.try_clone().unwrap().into());
    let unique = place.path().file_name().unwrap().to_str().unwrap();
    let options = |kind: &str| Options { console: console(), ..Options::new(format!("{kind}{unique}")) };

    fail(name, &place.path().join("failing"), config, &options);
    let created =
        libcontainer::create(&store, &bundle, &options("created")).unwrap_or_else(|e| panic!("{name}: {e}"));
    let pid = created.state().pid;
    created.start().unwrap_or_else(|e| panic!("{name}: {e}"));
    execute(&created, &console);
    created.kill(libc::SIGKILL, false).unwrap();
    assert!(matches!(waitpid(Pid::from_raw(pid), None), Ok(WaitStatus::Signaled(..))), "{name}");
    created.delete(false).unwrap();

    let (container, running) =
        libcontainer::run(&store, &bundle, &options("run")).unwrap_or_else(|e| panic!("{name}: {e}"));
    running.signal(libc::SIGKILL).unwrap();
    assert_eq!(running.wait(), Ok(Exit::Signal(libc::SIGKILL)), "{name}");
    container.delete(true).unwrap();
}

/// Fails at a hook, which prints, and at the program, whose interpreter is missing: both are told without the heap.
fn fail(name: &str, place: &Path, config: &Value, options: &dyn Fn(&str) -> Options) {
    let store = Store::new(place.join("store"));
    let mut noisy = config.clone();
    noisy["hooks"]["startContainer"][1]["args"] = json!(["ls", "/absent"]);
    let mut lost = config.clone();
    lost["process"]["args"] = json!(["/bin/script"]);
    // Under a listener's filter init makes no call to look for the interpreter.
    let interpreter = if name == "listener" { "/bin/script" } else { "its interpreter /absent/sh" };
    for (config, words) in [(noisy, "ls: /absent: No such file"), (lost, interpreter)] {
        fs::create_dir(place).unwrap();
        let bundle = bundle(place, &config);
        let _agent = UnixListener::bind(place.join("agent.sock")).unwrap();
        let error =
            libcontainer::run(&store, &bundle, &options("failing")).map(drop).unwrap_err().to_string();
        assert!(error.contains(words), "{name}: {error}");
        fs::remove_dir_all(place).unwrap();
    }
}

fn execute(container: &Container, console: &dyn Fn() -> Option<std::os::fd::OwnedFd>) {
    let mut program = container.process().unwrap();
    program.set_args(Some(vec!["true".into()]));
    let options = ExecOptions { console: console(), ..ExecOptions::default() };
    let running = container.exec(&program, options).unwrap();
    assert_eq!(running.wait(), Ok(Exit::Status(0)));
}

fn bundle(place: &Path, config: &Value) -> Bundle {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    let root = place.join("rootfs");
    for directory in ["", "bin", "etc", "proc", "sys", "dev"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))
        .expect("this test needs busybox-static in /bin/busybox");
    for applet in ["sleep", "true"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("bin/script"), "#!/absent/sh\n").unwrap();
    fs::set_permissions(root.join("bin/script"), fs::Permissions::from_mode(0o755)).unwrap();
    for directory in ["copied", "copied/a", "copied/a/b"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    fs::write(root.join("copied/a/file"), "x".repeat(100_000)).unwrap();
    symlink("nowhere", root.join("copied/a/link")).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    if config["linux"].get("uidMappings").is_some() {
        for path in ["", "bin", "etc", "proc", "sys", "dev"] {
            std::os::unix::fs::chown(root.join(path), Some(100_000), Some(100_000)).unwrap();
        }
    }
    fs::write(place.join("config.json"), config.to_string()).unwrap();
    Bundle::load(place).unwrap()
}

/// A config for each way into the namespaces, with everything that the container's process has to do.
fn configs() -> Vec<(&'static str, Value)> {
    let mut userns = rich();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    userns["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    userns["linux"]["uidMappings"] = map.clone();
    userns["linux"]["gidMappings"] = map;
    let mut time = rich();
    time["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
    time["linux"]["timeOffsets"] = json!({"boottime": {"secs": 5}});
    let mut terminal = rich();
    terminal["process"]["terminal"] = json!(true);
    terminal["process"]["consoleSize"] = json!({"height": 30, "width": 100});
    let mut listener = rich();
    // Nobody is asked anything, so the agent may leave its connections alone.
    listener["linux"]["seccomp"]["syscalls"][0]["action"] = json!("SCMP_ACT_NOTIFY");
    listener["linux"]["seccomp"]["listenerPath"] = json!("agent.sock");
    vec![
        ("private", rich()),
        ("user namespace", userns),
        ("time namespace", time),
        ("terminal", terminal),
        ("listener", listener),
    ]
}

fn rich() -> Value {
    let hooks = json!([{"path": "/bin/true", "args": ["true"], "env": ["A=b"]}, {"path": "/bin/true"}]);
    let inside = json!([{"path": "/bin/busybox", "args": ["true"]}, {"path": "/bin/busybox", "args": ["echo", "words"]}]);
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "box",
        "domainname": "domain",
        "process": {
            // A name to look up, and a home directory to find: neither is in the environment.
            "args": ["sleep", "1000"], "cwd": "/dev/made/for/it", "env": ["A=b"],
            "user": {"uid": 0, "gid": 0, "umask": 0o27, "additionalGids": [10]},
            "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
                             "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]},
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
            "oomScoreAdj": 500, "noNewPrivileges": true,
            "scheduler": {"policy": "SCHED_BATCH", "nice": 19},
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
            "execCPUAffinity": {"initial": "0-8191", "final": "0-8191"},
        },
        "hooks": {
            "prestart": hooks, "createRuntime": hooks, "createContainer": inside, "startContainer": inside,
            "poststart": hooks, "poststop": hooks,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
            {"destination": "/deep/down", "type": "tmpfs", "source": "tmpfs", "options": ["rro", "rprivate"]},
            {"destination": "/copied", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro", "size=8m"]},
            {"destination": "/share", "source": "/usr/share", "options": ["rbind", "ro"]},
            {"destination": "/linked", "source": "/proc/mounts", "options": ["bind", "copy-symlink"]},
            {"destination": "/unfollowed", "source": "/etc/hosts", "options": ["bind", "src-nofollow", "dest-nofollow"]},
            {"destination": "/etc/hosts", "source": "/etc/hosts", "options": ["bind", "nosuid"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                           {"type": "mount"}, {"type": "cgroup"}],
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}],
            "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"},
            "maskedPaths": ["/proc/kcore", "/proc/acpi", "/proc/scsi", "/sys/firmware", "/proc/absent"],
            "readonlyPaths": ["/proc/sys", "/proc/bus", "/proc/absent"],
            "resources": {"memory": {"limit": 64 << 20}, "devices": [{"allow": false, "access": "rwm"}]},
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]},
        },
    })
}
