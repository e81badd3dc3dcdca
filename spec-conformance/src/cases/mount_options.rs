//! The options of mounts: what the kernel then says of the mount. Spec: config.md#linux-mount-options.

use serde_json::{Value, json};

use crate::case::{Case, Checks};
use crate::report::Report;
use crate::report::proc_text::Mount;
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[FLAGS, REMOUNT, DATA];

/// What mountinfo has to say of a mount.
#[derive(Clone, Copy)]
enum Look {
    /// This word.
    On(&'static str),
    /// Not this one.
    Off(&'static str),
    /// Nothing: the kernel does not tell. A file system would refuse the option if it got it.
    Made,
}

/// The clause, the options in order, and what is seen then. An option that undoes another comes after it.
#[rustfmt::skip]
const TABLE: [(&str, &[&str], Look); 28] = [
    ("config.linux-mount-options.async", &["sync", "async"], Look::Off("sync")),
    ("config.linux-mount-options.atime", &["noatime", "atime"], Look::Off("noatime")),
    ("config.linux-mount-options.defaults", &["defaults"], Look::Made),
    ("config.linux-mount-options.dev", &["nodev", "dev"], Look::Off("nodev")),
    ("config.linux-mount-options.diratime", &["nodiratime", "diratime"], Look::Off("nodiratime")),
    ("config.linux-mount-options.dirsync", &["dirsync"], Look::On("dirsync")),
    ("config.linux-mount-options.exec", &["noexec", "exec"], Look::Off("noexec")),
    ("config.linux-mount-options.iversion", &["iversion"], Look::Made),
    ("config.linux-mount-options.lazytime", &["lazytime"], Look::On("lazytime")),
    ("config.linux-mount-options.loud", &["silent", "loud"], Look::Made),
    ("config.linux-mount-options.noatime", &["noatime"], Look::On("noatime")),
    ("config.linux-mount-options.nodev", &["nodev"], Look::On("nodev")),
    ("config.linux-mount-options.nodiratime", &["nodiratime"], Look::On("nodiratime")),
    ("config.linux-mount-options.noexec", &["noexec"], Look::On("noexec")),
    ("config.linux-mount-options.noiversion", &["iversion", "noiversion"], Look::Made),
    ("config.linux-mount-options.nolazytime", &["lazytime", "nolazytime"], Look::Off("lazytime")),
    ("config.linux-mount-options.norelatime", &["norelatime"], Look::Made),
    ("config.linux-mount-options.nostrictatime", &["strictatime", "nostrictatime"], Look::On("relatime")),
    ("config.linux-mount-options.nosuid", &["nosuid"], Look::On("nosuid")),
    ("config.linux-mount-options.nosymfollow", &["nosymfollow"], Look::On("nosymfollow")),
    ("config.linux-mount-options.relatime", &["relatime"], Look::On("relatime")),
    ("config.linux-mount-options.ro", &["ro"], Look::On("ro")),
    ("config.linux-mount-options.rw", &["ro", "rw"], Look::Off("ro")),
    ("config.linux-mount-options.silent", &["silent"], Look::Made),
    ("config.linux-mount-options.strictatime", &["strictatime"], Look::Off("relatime")),
    ("config.linux-mount-options.suid", &["nosuid", "suid"], Look::Off("nosuid")),
    ("config.linux-mount-options.symfollow", &["nosymfollow", "symfollow"], Look::Off("nosymfollow")),
    ("config.linux-mount-options.sync", &["sync"], Look::On("sync")),
];

const IDS: [&str; TABLE.len()] = {
    let mut ids = [""; TABLE.len()];
    let mut at = 0;
    while at < ids.len() {
        ids[at] = TABLE[at].0;
        at += 1;
    }
    ids
};

const FLAGS: Case = Case { id: "mount-options-flags", proves: &IDS, run: flags };

/// All in one container; where that is refused, each in one of its own.
fn flags(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let rows: Vec<_> = TABLE.iter().enumerate().collect();
    if let Ok(seen) = observe(runtime, &rows) {
        for row in rows {
            check(checks, row, &seen);
        }
        return Ok(());
    }
    for row in rows {
        match observe(runtime, &[row]) {
            Ok(seen) => check(checks, row, &seen),
            Err(Error::Refused { stderr, .. }) => {
                let (_, (id, options, _)) = row;
                checks.fail(id, &format!("a mount with {options:?}"), stderr.trim());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

type Row<'a> = (usize, &'a (&'static str, &'static [&'static str], Look));

fn point(number: usize) -> String {
    format!("/mnt/{number}")
}

fn observe(runtime: &Runtime, rows: &[Row]) -> Result<Report, Error> {
    let mount = |(number, (_, options, _)): &Row| json!({"destination": point(*number), "type": "tmpfs", "source": "t", "options": options});
    let bundle = rows.iter().map(mount).fold(Bundle::new(), |bundle, mount| bundle.push("/mounts", mount));
    runtime.observe(&bundle.build()?)
}

fn check(checks: &mut Checks, (number, (id, options, look)): Row, seen: &Report) {
    let mount = seen.mount(&point(number));
    let shown = |word: &str| mount.is_some_and(|mount| shows(mount, word));
    let (expected, holds) = match look {
        Look::On(word) => (format!("{word} after {options:?}"), shown(word)),
        Look::Off(word) => (format!("no {word} after {options:?}"), mount.is_some() && !shown(word)),
        Look::Made => (format!("a mount with {options:?}"), mount.is_some()),
    };
    checks.holds(id, &expected, &mount.map(|mount| (&mount.options, &mount.super_options)), holds);
}

/// Whether the mount or its file system has the option. A file system that was made read-only stays writable below a
/// read-only mount, or the other way around.
fn shows(mount: &Mount, word: &str) -> bool {
    mount.has(word) || mount.super_options.iter().any(|own| own == word)
}

const REMOUNT: Case =
    Case { id: "mount-options-remount", proves: &["config.linux-mount-options.remount"], run: remount };

fn remount(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let entry =
        |options: Value| json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": options});
    let bundle = Bundle::new()
        .push("/mounts", entry(json!(["nosuid", "nodev"])))
        .push("/mounts", entry(json!(["remount", "ro", "nosuid", "nodev"])));
    let seen = runtime.observe(&bundle.build()?)?;
    let mounts: Vec<&Mount> = seen.mounts.iter().filter(|mount| mount.point == "/mnt").collect();
    let changed = matches!(mounts.as_slice(), [one] if shows(one, "ro"));
    checks.holds("config.linux-mount-options.remount", "one mount, and read-only", &mounts, changed);
    Ok(())
}

const DATA: Case = Case { id: "mount-options-data", proves: &["config.linux-mount-options.data"], run: data };

fn data(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config.linux-mount-options.data";
    let with = |options: Value| {
        Bundle::new().push(
            "/mounts",
            json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": options}),
        )
    };
    let seen = runtime.observe(&with(json!(["nosuid", "size=128k", "mode=711"])).build()?)?;
    let mount = seen.mount("/mnt");
    for option in ["size=128k", "mode=711"] {
        checks.holds(
            ID,
            &format!("{option} of the file system"),
            &mount,
            mount.is_some_and(|mount| shows(mount, option)),
        );
    }
    // The file system is asked, and says no.
    checks.refuses(
        ID,
        runtime,
        with(json!(["no-such-option"])),
        "an option that the file system does not know",
    )
}
