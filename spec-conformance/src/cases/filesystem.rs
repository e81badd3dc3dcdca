//! What the container sees of the file system. Spec: config.md#root, config.md#mounts, config-linux.md.

use serde_json::json;

use crate::case::{Case, Checks};
use crate::report::{Kind, PathFacts, PathReport, Report};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[MOUNT_ORDER, READONLY, MASKED, DEVICES];

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
        facts(&seen, fixed).map(|facts| facts.write.clone()),
    );
    checks.equal(
        "config-linux.readonly-paths.readonly",
        Some(Ok(())),
        facts(&seen, free).map(|facts| facts.write.clone()),
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
        let found = facts(&seen, path);
        checks.holds(
            "config-linux.masked-paths.masked",
            "nothing to read",
            &(path, found),
            found.is_none_or(PathFacts::reveals_nothing),
        );
    }
    let found = facts(&seen, open);
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
        let found = facts(&seen, path).map(|facts| (path, facts.kind, facts.device));
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
        facts(&seen, "/dev/ptmx").is_some(),
    );
    for (path, target) in LINKS {
        checks.equal(
            "runtime-linux.dev-symbolic-links.links",
            (path, Some(target)),
            (path, facts(&seen, path).and_then(|facts| facts.target.as_deref())),
        );
    }
    Ok(())
}

fn facts<'a>(seen: &'a Report, path: &str) -> Option<&'a PathFacts> {
    seen.paths.get(path).and_then(PathReport::present)
}
