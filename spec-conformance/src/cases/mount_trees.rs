//! Bind mounts, with what is mounted below them: what is seen, how it propagates, recursive options. The sources are
//! file systems of the stage. Spec: config.md#linux-mount-options.

use std::path::Path;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use crate::case::{Case, Checks};
use crate::report::proc_text::Mount;
use crate::report::{PathReport, Report};
use crate::runtime::Runtime;
use crate::stage;
use crate::{Bundle, BundleBuilder, Error};

pub(super) const CASES: &[Case] = &[BIND, PROPAGATION, RECURSIVE, RELATIVE];

/// A bundle beside whose root are two file systems, one mounted on a directory of the other, with these flags.
pub(super) fn bundle_with_tree(builder: BundleBuilder, flags: MsFlags) -> Result<Bundle, Error> {
    let bundle = builder.file_beside("tree/unmounted", "").build()?;
    let tree = bundle.path().join("tree");
    let make = |target: &Path, name: &str| {
        stage::mount(Some(Path::new(name)), target, Some("tmpfs"), MsFlags::empty(), "mode=755")
    };
    make(&tree, "outer")?;
    std::fs::write(tree.join("file"), "outer").map_err(Error::file(&tree))?;
    let below = tree.join("below");
    std::fs::create_dir(&below).map_err(Error::file(&below))?;
    make(&below, "inner")?;
    std::fs::write(below.join("file"), "inner").map_err(Error::file(&below))?;
    for target in [&tree, &below] {
        if !flags.is_empty() {
            stage::mount(None, target, None, flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND, "")?;
        }
        stage::mount(None, target, None, MsFlags::MS_SHARED, "")?;
    }
    Ok(bundle)
}

pub(super) fn bind(point: &str, options: &[&str]) -> Value {
    json!({"destination": point, "type": "bind", "source": format!("{}/tree", Bundle::HERE), "options": options})
}

const BIND: Case = Case {
    id: "mount-trees-bind",
    proves: &[
        "config.linux-mount-options.bind",
        "config.linux-mount-options.rbind",
        "config.mounts.bind-or-rbind",
        "config.mounts.destination",
    ],
    run: binds,
};

fn binds(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let typed = |point: &str, kind: Value| {
        let mut mount = bind(point, &["bind"]);
        mount["type"] = kind;
        mount
    };
    let places = ["/mnt/one", "/mnt/all", "/mnt/typed", "/mnt/named"];
    let bundle = Bundle::new()
        .looking_at(places.iter().flat_map(|place| [format!("{place}/file"), format!("{place}/below/file")]))
        .push("/mounts", bind("/mnt/one", &["bind"]))
        .push("/mounts", bind("/mnt/all", &["rbind"]))
        .push("/mounts", typed("/mnt/typed", json!("tmpfs")))
        .push("/mounts", typed("/mnt/named", json!("none")));
    let seen = runtime.observe(&bundle_with_tree(bundle, MsFlags::empty())?)?;
    let is_there = |path: String| seen.paths.get(&path).and_then(PathReport::present).is_some();
    for place in places {
        let file = is_there(format!("{place}/file"));
        let id = match place {
            "/mnt/one" => "config.linux-mount-options.bind",
            "/mnt/all" => "config.linux-mount-options.rbind",
            _ => "config.mounts.bind-or-rbind",
        };
        checks.holds(id, "the source's file", &(place, file), file);
        let mount = seen.mount(place).map(|mount| &mount.source);
        checks.holds(
            "config.mounts.destination",
            "a mount at its destination",
            &(place, mount),
            mount.is_some(),
        );
        let below = is_there(format!("{place}/below/file"));
        match id {
            "config.linux-mount-options.rbind" => checks.holds(id, "the mount below too", &below, below),
            _ => checks.holds(id, "not the mount below", &below, !below),
        }
    }
    Ok(())
}

/// A clause, the kind of bind mount, the option, and a check of the words that mountinfo has for propagation.
type Propagation = (&'static str, &'static str, &'static str, fn(&Mount) -> bool);

fn is_private(mount: &Mount) -> bool {
    mount.propagation.is_empty()
}

fn is_shared(mount: &Mount) -> bool {
    mount.propagation.iter().any(|word| word.starts_with("shared:"))
}

fn is_slave(mount: &Mount) -> bool {
    mount.propagation.iter().any(|word| word.starts_with("master:")) && !is_shared(mount)
}

fn is_unbindable(mount: &Mount) -> bool {
    mount.propagation.iter().any(|word| word == "unbindable")
}

#[rustfmt::skip]
const PROPAGATIONS: [Propagation; 8] = [
    ("config.linux-mount-options.private", "bind", "private", is_private),
    ("config.linux-mount-options.shared", "bind", "shared", is_shared),
    ("config.linux-mount-options.slave", "bind", "slave", is_slave),
    ("config.linux-mount-options.unbindable", "bind", "unbindable", is_unbindable),
    ("config.linux-mount-options.rprivate", "rbind", "rprivate", is_private),
    ("config.linux-mount-options.rshared", "rbind", "rshared", is_shared),
    ("config.linux-mount-options.rslave", "rbind", "rslave", is_slave),
    ("config.linux-mount-options.runbindable", "rbind", "runbindable", is_unbindable),
];

const PROPAGATION: Case = Case {
    id: "mount-trees-propagation",
    proves: &[
        "config.linux-mount-options.private",
        "config.linux-mount-options.shared",
        "config.linux-mount-options.slave",
        "config.linux-mount-options.unbindable",
        "config.linux-mount-options.rprivate",
        "config.linux-mount-options.rshared",
        "config.linux-mount-options.rslave",
        "config.linux-mount-options.runbindable",
    ],
    run: propagation,
};

/// Where the root is a slave, what comes from the host still has a master: otherwise it could not be made a slave. What
/// is made a slave must be one where it would otherwise be shared, too.
fn propagation(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let (slaves, all): (Vec<_>, Vec<_>) = (
        PROPAGATIONS.iter().filter(|entry| entry.2.ends_with("slave")).collect(),
        PROPAGATIONS.iter().collect(),
    );
    for (root, options) in [("slave", all), ("shared", slaves)] {
        let point = |option: &str| format!("/mnt/{option}");
        let mut bundle = Bundle::new().set("/linux/rootfsPropagation", json!(root));
        for (_, kind, option, _) in &options {
            bundle = bundle.push("/mounts", bind(&point(option), &[kind, option]));
        }
        let seen = runtime.observe(&bundle_with_tree(bundle, MsFlags::empty())?)?;
        for (id, kind, option, is_so) in options {
            let below = format!("{}/below", point(option));
            for place in [point(option), below].iter().take(if *kind == "rbind" { 2 } else { 1 }) {
                let mount = seen.mount(place);
                let words = mount.map(|mount| &mount.propagation);
                checks.holds(
                    id,
                    &format!("{place} is {option} in a {root} root"),
                    &words,
                    mount.is_some_and(is_so),
                );
            }
        }
    }
    Ok(())
}

/// A clause, the option, whether the source is strict, the word to look for, and whether it is there.
type Recursion = (&'static str, &'static str, bool, &'static str, bool);

/// `rnorelatime` and `rnostrictatime` leave what the kernel does anyway.
#[rustfmt::skip]
const RECURSIONS: [Recursion; 17] = [
    ("config.linux-mount-options.ratime", "ratime", true, "noatime", false),
    ("config.linux-mount-options.rdev", "rdev", true, "nodev", false),
    ("config.linux-mount-options.rdiratime", "rdiratime", true, "nodiratime", false),
    ("config.linux-mount-options.rexec", "rexec", true, "noexec", false),
    ("config.linux-mount-options.rnoatime", "rnoatime", false, "noatime", true),
    ("config.linux-mount-options.rnodiratime", "rnodiratime", false, "nodiratime", true),
    ("config.linux-mount-options.rnoexec", "rnoexec", false, "noexec", true),
    ("config.linux-mount-options.rnorelatime", "rnorelatime", false, "noatime", false),
    ("config.linux-mount-options.rnostrictatime", "rnostrictatime", false, "noatime", false),
    ("config.linux-mount-options.rnosuid", "rnosuid", false, "nosuid", true),
    ("config.linux-mount-options.rnosymfollow", "rnosymfollow", false, "nosymfollow", true),
    ("config.linux-mount-options.rrelatime", "rrelatime", true, "relatime", true),
    ("config.linux-mount-options.rro", "rro", false, "ro", true),
    ("config.linux-mount-options.rrw", "rrw", true, "ro", false),
    ("config.linux-mount-options.rstrictatime", "rstrictatime", false, "relatime", false),
    ("config.linux-mount-options.rsuid", "rsuid", true, "nosuid", false),
    ("config.linux-mount-options.rsymfollow", "rsymfollow", true, "nosymfollow", false),
];

const RECURSIVE_IDS: [&str; RECURSIONS.len()] = {
    let mut ids = [""; RECURSIONS.len()];
    let mut at = 0;
    while at < ids.len() {
        ids[at] = RECURSIONS[at].0;
        at += 1;
    }
    ids
};

const RECURSIVE: Case = Case { id: "mount-trees-recursive", proves: &RECURSIVE_IDS, run: recursive };

/// MS_NOSYMFOLLOW, which nix does not name. See mount(2).
const NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);

fn recursive(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let strictest = [
        MsFlags::MS_RDONLY,
        MsFlags::MS_NOSUID,
        MsFlags::MS_NODEV,
        MsFlags::MS_NOEXEC,
        MsFlags::MS_NOATIME,
        MsFlags::MS_NODIRATIME,
        NOSYMFOLLOW,
    ];
    let strict = strictest.into_iter().fold(MsFlags::empty(), MsFlags::union);
    for (is_strict, flags) in [(false, MsFlags::empty()), (true, strict)] {
        let rows: Vec<&Recursion> = RECURSIONS.iter().filter(|row| row.2 == is_strict).collect();
        if let Ok(seen) = observe(runtime, &rows, flags) {
            rows.iter().for_each(|row| check(checks, row, &seen));
            continue;
        }
        for row in rows {
            match observe(runtime, &[row], flags) {
                Ok(seen) => check(checks, row, &seen),
                Err(Error::Refused { stderr, .. }) => {
                    checks.fail(row.0, &format!("a mount with {}", row.1), stderr.trim());
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn observe(runtime: &Runtime, rows: &[&Recursion], flags: MsFlags) -> Result<Report, Error> {
    let mount = |row: &&Recursion| bind(&format!("/mnt/{}", row.1), &["rbind", row.1]);
    let bundle = rows.iter().map(mount).fold(Bundle::new(), |bundle, mount| bundle.push("/mounts", mount));
    runtime.observe(&bundle_with_tree(bundle, flags)?)
}

fn check(checks: &mut Checks, (id, option, _, word, wanted): &Recursion, seen: &Report) {
    for place in [format!("/mnt/{option}"), format!("/mnt/{option}/below")] {
        let mount = seen.mount(&place);
        let expected = format!("{} {word} on {place}", if *wanted { "with" } else { "without" });
        let options = mount.map(|mount| &mount.options);
        checks.holds(id, &expected, &options, mount.is_some_and(|mount| mount.has(word) == *wanted));
    }
}

const RELATIVE: Case =
    Case { id: "mount-trees-relative", proves: &["config.mounts.relative-source"], run: relative };

fn relative(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let mount = json!({"destination": "/mnt", "type": "bind", "source": "beside", "options": ["rbind"]});
    let bundle =
        Bundle::new().file_beside("beside/file", "").push("/mounts", mount).looking_at(["/mnt/file"]);
    let seen = runtime.observe(&bundle.build()?)?;
    let found = seen.paths.get("/mnt/file").and_then(PathReport::present);
    checks.holds(
        "config.mounts.relative-source",
        "a file of the bundle's directory",
        &found,
        found.is_some(),
    );
    Ok(())
}
