//! What the container sees of the file system. Spec: config.md#root, config.md#mounts, config-linux.md.

use nix::mount::MsFlags;
use serde_json::json;

use crate::case::{Case, Checks};
use crate::report::{Kind, PathFacts, Report};
use crate::runtime::Runtime;
use crate::stage;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] =
    &[MOUNT_ORDER, READONLY, MASKED, RELATIVE, DEVICES, FILE_SYSTEMS, PROPAGATION];

const MOUNT_ORDER: Case =
    Case { id: "mounts-order", proves: &["config.mounts.order", "config.mounts.relative"], run: mount_order };

/// A mount inside another one exists only if they were made in this order.
fn mount_order(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new()
        .push("/mounts", json!({"destination": "/tmp", "type": "tmpfs", "source": "outer"}))
        .push("/mounts", json!({"destination": "/tmp/a", "type": "tmpfs", "source": "inner"}))
        .push("/mounts", json!({"destination": "tmp/b", "type": "tmpfs", "source": "relative"}));
    let seen = runtime.observe(&bundle.build()?)?;
    let outer = seen.mount("/tmp").map(|mount| mount.id);
    checks.holds("config.mounts.order", "a mount on /tmp", &seen.mounts, outer.is_some());
    checks.equal("config.mounts.order", outer, seen.mount("/tmp/a").map(|mount| mount.parent));
    checks.equal(
        "config.mounts.relative",
        Some("relative"),
        seen.mount("/tmp/b").map(|mount| mount.source.as_str()),
    );
    Ok(())
}

const READONLY: Case = Case {
    id: "paths-readonly",
    proves: &["config.root.readonly", "config-linux.readonly-paths.readonly"],
    run: readonly,
};

fn readonly(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let seen = runtime.observe(&Bundle::new().set("/root/readonly", json!(true)).build()?)?;
    checks.equal("config.root.readonly", Some(true), seen.mount("/").map(|mount| mount.read_only()));
    let (fixed, free) = ("/data/fixed", "/data/free");
    let bundle = Bundle::new()
        .args(["/bin/probe", "report", "--stat", fixed, "--stat", free])
        .file(fixed, "")
        .file(free, "")
        .set("/root/readonly", json!(false))
        .set("/linux/readonlyPaths", json!([fixed]));
    let seen = runtime.observe(&bundle.build()?)?;
    checks.equal("config.root.readonly", Some(false), seen.mount("/").map(|mount| mount.read_only()));
    checks.equal(
        "config-linux.readonly-paths.readonly",
        Some(Err("EROFS".to_owned())),
        seen.facts(fixed).map(|facts| facts.write.clone()),
    );
    checks.equal(
        "config-linux.readonly-paths.readonly",
        Some(Ok(())),
        seen.facts(free).map(|facts| facts.write.clone()),
    );
    Ok(())
}

const MASKED: Case = Case { id: "paths-masked", proves: &["config-linux.masked-paths.masked"], run: masked };

fn masked(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let (file, directory, open) = ("/data/secret", "/data/hidden", "/data/open");
    let bundle = Bundle::new()
        .args(["/bin/probe", "report", "--stat", file, "--stat", directory, "--stat", open])
        .file(file, "secret")
        .file("/data/hidden/file", "secret")
        .file(open, "not secret")
        .set("/linux/maskedPaths", json!([file, directory, "/data/absent"]));
    let seen = runtime.observe(&bundle.build()?)?;
    for path in [file, directory] {
        let found = seen.facts(path);
        checks.holds(
            "config-linux.masked-paths.masked",
            "nothing to read",
            &(path, found),
            found.is_none_or(PathFacts::reveals_nothing),
        );
    }
    let found = seen.facts(open);
    checks.holds(
        "config-linux.masked-paths.masked",
        "only listed paths masked",
        &found,
        found.is_some_and(|facts| !facts.reveals_nothing()),
    );
    Ok(())
}

const DEVICES: Case = Case {
    id: "devices-default",
    proves: &["config-linux.default-devices.nodes", "runtime-linux.dev-symbolic-links.links"],
    run: devices,
};

fn devices(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const NODES: [(&str, u64, u64); 6] = [
        ("/dev/null", 1, 3),
        ("/dev/zero", 1, 5),
        ("/dev/full", 1, 7),
        ("/dev/random", 1, 8),
        ("/dev/urandom", 1, 9),
        ("/dev/tty", 5, 0),
    ];
    const LINKS: [(&str, &str); 4] = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ];
    let paths = NODES.iter().map(|node| node.0).chain(LINKS.iter().map(|link| link.0)).chain(["/dev/ptmx"]);
    let questions = paths.flat_map(|path| ["--stat", path]);
    let seen = runtime
        .observe(&Bundle::new().args(["/bin/probe", "report"].into_iter().chain(questions)).build()?)?;
    for (path, major, minor) in NODES {
        let found = seen.facts(path).map(|facts| (path, facts.kind, facts.device));
        checks.equal(
            "config-linux.default-devices.nodes",
            Some((path, Kind::Character, Some((major, minor)))),
            found,
        );
    }
    // A bind mount or a link to the devpts instance: either will do.
    checks.holds(
        "config-linux.default-devices.nodes",
        "/dev/ptmx",
        &seen.paths.get("/dev/ptmx"),
        seen.facts("/dev/ptmx").is_some(),
    );
    for (path, target) in LINKS {
        checks.equal(
            "runtime-linux.dev-symbolic-links.links",
            (path, Some(target)),
            (path, seen.facts(path).and_then(|facts| facts.target.as_deref())),
        );
    }
    Ok(())
}

const RELATIVE: Case = Case {
    id: "paths-relative",
    proves: &["config-linux.masked-paths.absolute", "config-linux.readonly-paths.absolute"],
    run: relative,
};

fn relative(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let with = |list: &str, path: &str| Bundle::new().file("/data/file", "").set(list, json!([path]));
    for (id, list) in RELATIVE.proves.iter().zip(["/linux/maskedPaths", "/linux/readonlyPaths"]) {
        checks.accepts(id, runtime, with(list, "/data/file"), "an absolute path")?;
        checks.refuses(id, runtime, with(list, "data/file"), &format!("a relative path in {list}"))?;
    }
    Ok(())
}

const FILE_SYSTEMS: Case = Case {
    id: "default-file-systems",
    proves: &["config-linux.default-filesystems.available"],
    run: file_systems,
};

fn file_systems(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config-linux.default-filesystems.available";
    let seen = runtime.observe(&Bundle::new().build()?)?;
    for (point, kind) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")]
    {
        checks.equal(ID, (point, Some(kind)), (point, seen.mount(point).map(|mount| mount.fstype.as_str())));
    }
    Ok(())
}

const PROPAGATION: Case = Case {
    id: "root-propagation",
    proves: &[
        "config-linux.rootfs-mount-propagation.shared",
        "config-linux.rootfs-mount-propagation.slave",
        "config-linux.rootfs-mount-propagation.private",
        "config-linux.rootfs-mount-propagation.unbindable",
    ],
    run: propagation,
};

/// The root file system is a shared mount of the host, as engines have it. Once the container is there, the host mounts something in its root.
fn propagation(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    for (id, name) in PROPAGATION.proves.iter().zip(["shared", "slave", "private", "unbindable"]) {
        let bundle = Bundle::new()
            .args(["/bin/probe", "report", "--out", "/report.json"])
            .set("/root/readonly", json!(false))
            .set("/linux/rootfsPropagation", json!(name))
            .file("/late/under", "")
            .build()?;
        let rootfs = bundle.rootfs();
        stage::mount(Some(&rootfs), &rootfs, None, MsFlags::MS_BIND, "")?;
        stage::mount(None, &rootfs, None, MsFlags::MS_SHARED, "")?;
        let mut container = runtime.create(&bundle)?;
        stage::mount(Some("late".as_ref()), &rootfs.join("late"), Some("tmpfs"), MsFlags::empty(), "")?;
        container.start()?.success()?;
        container.wait()?;
        let path = bundle.rootfs().join("report.json");
        let seen = Report::parse(&std::fs::read_to_string(&path).map_err(Error::file(&path))?)?;
        let root = seen.mount("/");
        let has = |word: &str| {
            root.is_some_and(|root| root.propagation.iter().any(|own| own.split(':').next() == Some(word)))
        };
        let late = seen.mount("/late").is_some();
        match name {
            "shared" => checks.holds(id, "a peer group", &root, has("shared")),
            "slave" => {
                checks.holds(id, "a slave, and no peer", &root, has("master") && !has("shared"));
                checks.holds(id, "what the host mounts later", &late, late);
            }
            "private" => {
                let private = root.is_some_and(|root| root.propagation.is_empty());
                checks.holds(id, "neither slave nor peer", &root, private);
                checks.holds(id, "nothing that the host mounts later", &late, !late);
            }
            _ => checks.holds(id, "unbindable", &root, has("unbindable")),
        }
    }
    Ok(())
}
