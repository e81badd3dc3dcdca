//! A root file system and the strings of an image that try to get out; `racing` has those that need a race for it, and
//! `sealed` what keeps the runtime's own binary.
//!
//! The runtime is called in a mount namespace of its own, so that a hole costs a test and not the machine. Each
//! test has a canary directory on the host, which must not change.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod racing;
mod sealed;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use integration_tests::{ketch, runtime_of};
use serde_json::{Value, json};
use spec_conformance::report::Ids;
use spec_conformance::{Bundle, BundleBuilder, Exit, Finished, Report, Runtime};
use tempfile::TempDir;

/// A canary on the host, and the runtime behind a wall.
struct Trap {
    runtime: Runtime,
    canary: PathBuf,
    before: BTreeMap<PathBuf, String>,
    _directory: TempDir,
}

impl Trap {
    fn new() -> Trap {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let wrapper = directory.path().join("walled-ketch");
        let script =
            format!("#!/bin/sh\nexec unshare --mount --propagation private {} \"$@\"\n", ketch().display());
        let runtime = runtime_of(wrapper, &script);
        let canary = directory.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("file"), "untouched").unwrap();
        fs::write(canary.join("ptmx"), "untouched").unwrap();
        fs::create_dir(canary.join("empty")).unwrap();
        Trap { runtime, before: look(&canary), canary, _directory: directory }
    }

    /// Runs a bundle to its end. Whatever comes of it, the canary lives and nothing is left.
    fn spring(&self, bundle: &Bundle) -> Finished {
        let id = self.runtime.fresh_id();
        let finished = self.runtime.call(["run", "--bundle", bundle.path().to_str().unwrap(), &id]).unwrap();
        self.assert_untouched();
        assert_eq!(self.runtime.leftovers(&id), Vec::<PathBuf>::new());
        finished
    }

    fn assert_untouched(&self) {
        assert_eq!(look(&self.canary), self.before, "the canary on the host has changed");
    }
}

/// Every name below a directory, with all that can be told of it.
fn look(place: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut rest = vec![place.to_owned()];
    while let Some(path) = rest.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        let facts = (meta.mode(), meta.uid(), meta.gid(), meta.rdev(), meta.mtime_nsec(), meta.ctime_nsec());
        found.insert(path.clone(), format!("{facts:?} {content}"));
        if meta.is_dir() {
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

/// Puts a link to the host in the place of a directory or file of the root file system.
fn plant(bundle: &Bundle, name: &str, target: &Path) {
    let path = bundle.rootfs().join(name);
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path).unwrap(),
        Ok(_) => fs::remove_file(&path).unwrap(),
        Err(_) => {}
    }
    symlink(target, path).unwrap();
}

/// The default without the mounts on these points.
fn without(points: &[&str]) -> BundleBuilder {
    let config = spec_conformance::bundle::default_config();
    let mounts = config["mounts"].as_array().unwrap().iter();
    let kept: Vec<&Value> = mounts
        .filter(|mount| !points.iter().any(|point| mount["destination"].as_str().unwrap().starts_with(point)))
        .collect();
    Bundle::new().set("/mounts", json!(kept)).set("/root/readonly", json!(false))
}

fn ways_out(trap: &Trap) -> [PathBuf; 2] {
    // Absolute, and relative through more levels than there are.
    let relative = format!("../../../../../../../../../..{}", trap.canary.display());
    [trap.canary.clone(), PathBuf::from(relative)]
}

#[test]
fn x11_a_dev_that_is_a_link_is_not_followed_out_of_the_root() {
    let trap = Trap::new();
    for mounts in [without(&["/dev"]), Bundle::new()] {
        for target in ways_out(&trap) {
            let bundle = mounts
                .clone()
                .set("/linux/devices", json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]))
                .build()
                .unwrap();
            plant(&bundle, "dev", &target);
            let finished = trap.spring(&bundle);
            // Inside the root the link is dangling: followed there, its target is made there.
            if finished.exit.success() {
                assert!(finished.report().unwrap().pid == 1);
            }
        }
    }
}

#[test]
fn m40_x03_a_proc_or_sys_that_is_a_link_is_refused_by_name() {
    let trap = Trap::new();
    for name in ["proc", "sys"] {
        for target in
            [trap.canary.clone(), PathBuf::from("../canary"), PathBuf::from("/tmp"), PathBuf::from("bin")]
        {
            let bundle = Bundle::new().build().unwrap();
            plant(&bundle, name, &target);
            let finished = trap.spring(&bundle);
            assert_eq!(finished.exit, Exit::Code(1), "{name} -> {}", target.display());
            assert!(finished.stderr.contains(&format!("on /{name}")), "{finished:?}");
            assert!(fs::read_dir(bundle.rootfs().join("tmp")).unwrap().next().is_none());
        }
    }
}

#[test]
fn x08_a_null_device_that_is_something_else_does_not_mask_anything() {
    let trap = Trap::new();
    let target = trap.canary.join("file");
    let cases: [&dyn Fn(&Bundle); 3] = [
        &|bundle| plant(bundle, "dev/null", &target),
        &|bundle| fs::write(bundle.rootfs().join("dev/null"), "a file").unwrap(),
        &|bundle| plant(bundle, "dev/null", Path::new("/proc/sys/kernel/core_pattern")),
    ];
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for prepare in cases {
        let bundle = without(&["/dev"]).set("/linux/maskedPaths", json!(["/proc/version"])).build().unwrap();
        prepare(&bundle);
        let finished = trap.spring(&bundle);
        assert_eq!(finished.exit, Exit::Code(1), "{finished:?}");
        assert!(finished.stderr.contains("/dev/null"), "{finished:?}");
        assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), pattern);
    }
}

#[test]
fn x09_a_console_that_is_a_link_is_not_followed_out_of_the_root() {
    let trap = Trap::new();
    let (_master, socket) = console_socket();
    for target in [trap.canary.join("new"), trap.canary.join("file")] {
        let bundle = without(&["/nothing"])
            .set("/process/terminal", json!(true))
            .push("/mounts", json!({"destination": "/dev", "source": "/nonexistent", "options": ["bind"]}))
            .build()
            .unwrap();
        // A /dev of the image's making, with a devpts below it as the config wants it.
        let dev = bundle.path().join("dev");
        fs::create_dir(&dev).unwrap();
        fs::create_dir(dev.join("pts")).unwrap();
        symlink(&target, dev.join("console")).unwrap();
        let mut config = bundle.config().clone();
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| ["/proc"].contains(&mount["destination"].as_str().unwrap()));
        mounts.push(json!({"destination": "/dev", "source": dev, "options": ["bind"]}));
        mounts.push(
            json!({"destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "ptmxmode=0666"]}),
        );
        let mut bundle = bundle;
        bundle.write(config).unwrap();
        let mut command = trap.runtime.command(["run", "--detach", "--bundle"]);
        let id = trap.runtime.fresh_id();
        command.arg(bundle.path()).arg("--console-socket").arg(&socket).arg(&id);
        let _either_way = trap.runtime.finish(command).unwrap();
        trap.assert_untouched();
        trap.runtime.call(["delete", "--force", &id]).unwrap().success().unwrap();
        trap.assert_untouched();
    }
}

fn console_socket() -> ((std::os::unix::net::UnixListener, TempDir), PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("console");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    ((listener, place), path)
}

#[test]
fn x06_a_working_directory_in_a_leaked_descriptor_is_refused() {
    let trap = Trap::new();
    for number in 3..=16 {
        for cwd in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/../../..")] {
            let bundle = Bundle::new().set("/process/cwd", json!(cwd)).build().unwrap();
            let finished = trap.spring(&bundle);
            assert_ne!(finished.exit, Exit::Code(0), "{cwd}: {}", finished.stdout);
        }
        let linked = Bundle::new().set("/process/cwd", json!("/way/out")).build().unwrap();
        fs::create_dir(linked.rootfs().join("way")).unwrap();
        plant(&linked, "way/out", Path::new(&format!("/proc/self/fd/{number}")));
        assert_ne!(trap.spring(&linked).exit, Exit::Code(0));
    }
}

#[test]
fn x06_a_program_in_a_leaked_descriptor_is_not_the_hosts() {
    let trap = Trap::new();
    for number in 3..=16 {
        let path = format!("/proc/self/fd/{number}/../../../../../../../../bin/sh");
        let bundle = Bundle::new().args([path.as_str(), "-c", "echo outside"]).build().unwrap();
        let finished = trap.spring(&bundle);
        assert_ne!(finished.exit, Exit::Code(0), "{path}: {}", finished.stdout);
        assert!(!finished.stdout.contains("outside"));
    }
}

#[test]
fn x02_the_hosts_binary_cannot_be_written_from_inside() {
    let trap = Trap::new();
    let binary = ketch();
    let identity = |meta: fs::Metadata| (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    let (before, bytes) = (identity(fs::metadata(&binary).unwrap()), fs::read(&binary).unwrap());
    // What a container that executes the runtime again can do to it: it is told to, as root with all rights.
    let all = json!(
        spec_conformance::report::CAPABILITIES
            .iter()
            .filter(|name| **name != "CAP_SYS_RESOURCE")
            .collect::<Vec<_>>()
    );
    let privileged = || {
        Bundle::new()
            .set("/process/capabilities", json!({"bounding": all, "permitted": all, "effective": all}))
            .set("/process/noNewPrivileges", json!(false))
            .set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]))
    };
    let itself = privileged().args(["/proc/self/exe", "--version"]).build().unwrap();
    let script = privileged()
        .args(["/bin/script"])
        .file("/bin/script", "#!/proc/self/exe --version\n")
        .build()
        .unwrap();
    fs::set_permissions(script.rootfs().join("bin/script"), fs::Permissions::from_mode(0o755)).unwrap();
    for bundle in [&itself, &script] {
        trap.spring(bundle);
    }
    // While an exec waits in the container as the runtime still, its binary is opened for writing.
    let waiting = privileged().with_busybox().args(["/bin/probe", "wait"]).build().unwrap();
    let mut container = trap.runtime.create(&waiting).unwrap();
    let created = open_init(&trap.runtime, container.id());
    assert!(["EROFS", "ETXTBSY", "EACCES", "EPERM", "ENOENT"].contains(&created.trim()), "{created}");
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    let again = container.exec(["/proc/self/exe", "--version"]).unwrap();
    assert!(!again.stdout.contains("probe"), "{again:?}");
    drop(container);
    assert_eq!(identity(fs::metadata(&binary).unwrap()), before);
    assert!(fs::read(&binary).unwrap() == bytes, "the runtime's binary has changed");
    trap.assert_untouched();
}

/// Opens the executable of the container's init, which still is the runtime, for writing from inside.
fn open_init(runtime: &Runtime, id: &str) -> String {
    let call = runtime.call(["exec", id, "/bin/probe", "open-write", "/proc/1/exe"]).unwrap();
    assert_ne!(call.exit, Exit::Code(0), "the runtime's binary can be opened for writing: {call:?}");
    call.stdout
}

#[test]
fn m06_x04_mount_points_behind_links_land_inside_the_root() {
    let trap = Trap::new();
    let mounted = |link: &dyn Fn(&Bundle), destination: &str| {
        let tmpfs =
            json!({"destination": destination, "type": "tmpfs", "source": "mark", "options": ["mode=711"]});
        let bind = json!({"destination": format!("{destination}-file"), "source": "/etc/hostname", "options": ["bind"]});
        let bundle = Bundle::new().push("/mounts", tmpfs).push("/mounts", bind).build().unwrap();
        link(&bundle);
        (trap.spring(&bundle), bundle)
    };
    let point = |report: &Report| report.mounts.iter().find(|m| m.source == "mark").map(|m| m.point.clone());
    let canary = trap.canary.clone();
    // The whole path of the canary is made inside the root.
    for target in ways_out(&trap) {
        let (finished, bundle) = mounted(&|bundle| plant(bundle, "link", &target), "/link/empty");
        let report = finished.success().unwrap().report().unwrap();
        assert_eq!(point(&report), Some(format!("{}/empty", canary.display())));
        assert!(bundle.rootfs().join(canary.strip_prefix("/").unwrap()).join("empty-file").exists());
    }
    let (finished, _) =
        mounted(&|bundle| plant(bundle, "dangling", Path::new("nowhere/at/all")), "/dangling/x");
    assert_eq!(point(&finished.success().unwrap().report().unwrap()).as_deref(), Some("/nowhere/at/all/x"));
    let (finished, _) = mounted(&|_| {}, "/../../../../up/here");
    assert_eq!(point(&finished.success().unwrap().report().unwrap()).as_deref(), Some("/up/here"));
    let looping = |bundle: &Bundle| {
        plant(bundle, "one", Path::new("two"));
        plant(bundle, "two", Path::new("/one"));
    };
    let (finished, _) = mounted(&looping, "/one/x");
    assert_eq!(finished.exit, Exit::Code(1));
    assert!(finished.stderr.contains("too many"), "{finished:?}");
    // The links of procfs lead anywhere: they are not followed.
    let (finished, _) = mounted(&|_| {}, "/proc/self/root/tmp");
    assert_ne!(finished.exit, Exit::Code(0));
}

#[test]
fn x04_masked_and_read_only_paths_behind_links_stay_inside_the_root() {
    let trap = Trap::new();
    let bundle = Bundle::new()
        .set("/linux/maskedPaths", json!(["/way/file", "/way/empty"]))
        .set("/linux/readonlyPaths", json!(["/way"]))
        .build()
        .unwrap();
    plant(&bundle, "way", &trap.canary);
    trap.spring(&bundle).success().unwrap();
}

#[test]
fn p05_p19_cve_2016_3697_a_user_named_like_a_number_is_not_taken_for_it() {
    let trap = Trap::new();
    let passwd = "root:x:0:0::/root:/bin/sh\n1000:x:0:0::/trap:/bin/sh\n";
    let bundle = Bundle::new()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .file("/etc/passwd", passwd)
        .build()
        .unwrap();
    let report = trap.spring(&bundle).success().unwrap().report().unwrap();
    assert_eq!((report.uid, report.gid), (Ids::all(1000), Ids::all(1000)));
    assert_eq!(report.variable("HOME"), Some("/"));
}

#[test]
fn r55_a_passwd_that_is_a_fifo_or_a_link_to_the_host_neither_hangs_nor_tells() {
    let trap = Trap::new();
    let fifo = Bundle::new().file("/etc/other", "").build().unwrap();
    nix::unistd::mkfifo(&fifo.rootfs().join("etc/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let report = trap.spring(&fifo).success().unwrap().report().unwrap();
    assert_eq!(report.variable("HOME"), Some("/"));
    let secret = trap.canary.join("file");
    let linked = Bundle::new().set("/process/user", json!({"uid": 7, "gid": 7})).build().unwrap();
    plant(&linked, "etc/passwd", &secret);
    let report = trap.spring(&linked).success().unwrap().report().unwrap();
    assert_eq!(report.variable("HOME"), Some("/"));
    let long = format!("{}\nuser:x:7:7::/home/user:/bin/sh\n", "x".repeat(1 << 20));
    let long = Bundle::new()
        .set("/process/user", json!({"uid": 7, "gid": 7}))
        .file("/etc/passwd", long)
        .build()
        .unwrap();
    let report = trap.spring(&long).success().unwrap().report().unwrap();
    assert_eq!(report.variable("HOME"), Some("/home/user"));
}

#[test]
fn hooks_of_the_runtimes_namespace_do_not_see_the_images_environment_or_directory() {
    let trap = Trap::new();
    let place = tempfile::tempdir().unwrap();
    let hook = |kind: &str| {
        let out = place.path().join(kind);
        let script = format!(
            "(env; echo cwd=$(readlink /proc/self/cwd); ls /proc/self/fd | tr '\\n' ' ') > {}",
            out.display()
        );
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let mut builder =
        Bundle::new().set("/process/env", json!(["LD_PRELOAD=/proc/self/cwd/evil.so", "PATH=/evil"]));
    for kind in kinds {
        builder = builder.set(&format!("/hooks/{kind}"), hook(kind));
    }
    let bundle = builder.args(["/bin/probe", "exit", "0"]).build().unwrap();
    trap.spring(&bundle).success().unwrap();
    for kind in kinds {
        let seen = fs::read_to_string(place.path().join(kind)).unwrap();
        assert!(!seen.contains("LD_PRELOAD") && !seen.contains("evil"), "{kind}: {seen}");
        // Where the hook is must be no place of the container's choosing, unless it is in the container's root.
        assert!(seen.contains("cwd=/"), "{kind}: {seen}");
        // ls has one of its own, the lowest that is free.
        assert_eq!(seen.lines().last(), Some("0 1 2 3 "), "{kind}");
    }
}

#[test]
fn ghsa_g54h_a_device_that_is_not_allowed_cannot_be_opened() {
    let trap = Trap::new();
    for resources in [json!({}), json!({"devices": [{"allow": false, "access": "rwm"}]})] {
        let caps = json!(["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
        let bundle = Bundle::new()
            .with_busybox()
            .args(["/bin/sh", "-c", "mknod /dev/disk b 254 0 && probe open-write /dev/disk"])
            .set("/process/capabilities", json!({"bounding": caps, "permitted": caps, "effective": caps}))
            .set("/linux/resources", resources.clone())
            .build()
            .unwrap();
        let finished = trap.spring(&bundle);
        assert_ne!(finished.exit, Exit::Code(0), "{resources}: {finished:?}");
        assert_eq!(finished.stdout.trim(), "EPERM", "{resources}: {finished:?}");
    }
}
