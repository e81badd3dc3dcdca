//! The options of a mount: one table for the parser, for `features` and for the documentation. Pure.

use nix::libc;
use oci_spec::runtime::Mount as SpecMount;
use serde::Serialize;

use Change::{
    Bind, Choose, Clear, ClearSuper, CopyUp, MapIds, Nothing, Propagate, Remount, Set, SetSuper, Unchoose,
};
use Reach::{Top, Tree};
use libc::{
    MOUNT_ATTR_NOATIME as NOATIME, MOUNT_ATTR_NODEV as NODEV, MOUNT_ATTR_NODIRATIME as NODIRATIME,
    MOUNT_ATTR_NOEXEC as NOEXEC, MOUNT_ATTR_NOSUID as NOSUID, MOUNT_ATTR_NOSYMFOLLOW as NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY as RDONLY, MOUNT_ATTR_RELATIME as RELATIME, MOUNT_ATTR_STRICTATIME as STRICTATIME,
};

/// How mount events travel between mounts: one `MS_` flag, maybe with `MS_REC`. See mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Propagation {
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`, with `MS_REC` for all mounts below.
    pub flags: u64,
}

/// A change of mount attributes: `MOUNT_ATTR_` flags to set and to clear. See mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Attributes {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
}

impl Attributes {
    /// Nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Attributes::default()
    }
}

/// What an option changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it names the default.
    Nothing,
    /// Sets a `MOUNT_ATTR_` flag.
    Set(Reach, u64),
    /// Clears a `MOUNT_ATTR_` flag.
    Clear(Reach, u64),
    /// Chooses when access times are updated, by a value of `MOUNT_ATTR__ATIME`.
    Choose(Reach, u64),
    /// Takes that choice back: the kernel's default, relatime, holds unless another one was chosen.
    Unchoose(Reach, u64),
    /// Sets an `MS_` flag that belongs to the file system, not to the mount.
    SetSuper(u64),
    /// Clears such a flag.
    ClearSuper(u64),
    /// Adds a change of propagation: `MS_` flags.
    Propagate(u64),
    /// Binds a part of the host's file system.
    Bind(Reach),
    /// Changes what is mounted already.
    Remount,
    /// Maps the ids.
    MapIds(Reach),
    /// Copies what is at the destination into the new tmpfs.
    CopyUp,
}

/// How far a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The mount itself.
    Top,
    /// The mount and all mounts below it.
    Tree,
}

/// Every option that is not the file system's own, sorted. Spec: config.md#linux-mount-options.
pub const OPTIONS: &[(&str, Change)] = &[
    ("async", ClearSuper(ms(libc::MS_SYNCHRONOUS))),
    ("atime", Unchoose(Top, NOATIME)),
    ("bind", Bind(Top)),
    ("defaults", Nothing),
    ("dev", Clear(Top, NODEV)),
    ("diratime", Clear(Top, NODIRATIME)),
    ("dirsync", SetSuper(ms(libc::MS_DIRSYNC))),
    ("exec", Clear(Top, NOEXEC)),
    ("idmap", MapIds(Top)),
    ("iversion", SetSuper(ms(libc::MS_I_VERSION))),
    ("lazytime", SetSuper(ms(libc::MS_LAZYTIME))),
    ("loud", ClearSuper(ms(libc::MS_SILENT))),
    ("mand", SetSuper(ms(libc::MS_MANDLOCK))),
    ("noatime", Choose(Top, NOATIME)),
    ("nodev", Set(Top, NODEV)),
    ("nodiratime", Set(Top, NODIRATIME)),
    ("noexec", Set(Top, NOEXEC)),
    ("noiversion", ClearSuper(ms(libc::MS_I_VERSION))),
    ("nolazytime", ClearSuper(ms(libc::MS_LAZYTIME))),
    ("nomand", ClearSuper(ms(libc::MS_MANDLOCK))),
    ("norelatime", Unchoose(Top, RELATIME)),
    ("nostrictatime", Unchoose(Top, STRICTATIME)),
    ("nosuid", Set(Top, NOSUID)),
    ("nosymfollow", Set(Top, NOSYMFOLLOW)),
    ("private", Propagate(ms(libc::MS_PRIVATE))),
    ("ratime", Unchoose(Tree, NOATIME)),
    ("rbind", Bind(Tree)),
    ("rdev", Clear(Tree, NODEV)),
    ("rdiratime", Clear(Tree, NODIRATIME)),
    ("relatime", Choose(Top, RELATIME)),
    ("remount", Remount),
    ("rexec", Clear(Tree, NOEXEC)),
    ("ridmap", MapIds(Tree)),
    ("rnoatime", Choose(Tree, NOATIME)),
    ("rnodev", Set(Tree, NODEV)),
    ("rnodiratime", Set(Tree, NODIRATIME)),
    ("rnoexec", Set(Tree, NOEXEC)),
    ("rnorelatime", Unchoose(Tree, RELATIME)),
    ("rnostrictatime", Unchoose(Tree, STRICTATIME)),
    ("rnosuid", Set(Tree, NOSUID)),
    ("rnosymfollow", Set(Tree, NOSYMFOLLOW)),
    ("ro", Set(Top, RDONLY)),
    ("rprivate", Propagate(ms(libc::MS_PRIVATE | libc::MS_REC))),
    ("rrelatime", Choose(Tree, RELATIME)),
    ("rro", Set(Tree, RDONLY)),
    ("rrw", Clear(Tree, RDONLY)),
    ("rshared", Propagate(ms(libc::MS_SHARED | libc::MS_REC))),
    ("rslave", Propagate(ms(libc::MS_SLAVE | libc::MS_REC))),
    ("rstrictatime", Choose(Tree, STRICTATIME)),
    ("rsuid", Clear(Tree, NOSUID)),
    ("rsymfollow", Clear(Tree, NOSYMFOLLOW)),
    ("runbindable", Propagate(ms(libc::MS_UNBINDABLE | libc::MS_REC))),
    ("rw", Clear(Top, RDONLY)),
    ("shared", Propagate(ms(libc::MS_SHARED))),
    ("silent", SetSuper(ms(libc::MS_SILENT))),
    ("slave", Propagate(ms(libc::MS_SLAVE))),
    ("strictatime", Choose(Top, STRICTATIME)),
    ("suid", Clear(Top, NOSUID)),
    ("symfollow", Clear(Top, NOSYMFOLLOW)),
    ("sync", SetSuper(ms(libc::MS_SYNCHRONOUS))),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagate(ms(libc::MS_UNBINDABLE))),
];

/// The attributes of a mount as mount(2) spells them. Those of access times are a choice, see [`Changes::flags`].
const FLAGS: &[(u64, u64)] = &[
    (RDONLY, ms(libc::MS_RDONLY)),
    (NOSUID, ms(libc::MS_NOSUID)),
    (NODEV, ms(libc::MS_NODEV)),
    (NOEXEC, ms(libc::MS_NOEXEC)),
    (NODIRATIME, ms(libc::MS_NODIRATIME)),
    (NOSYMFOLLOW, ms(libc::MS_NOSYMFOLLOW)),
];

/// A flag of mount(2) in the width of a plan.
#[allow(clippy::unnecessary_cast, reason = "c_ulong has 32 bits on some architectures")]
pub(super) const fn ms(flag: libc::c_ulong) -> u64 {
    flag as u64
}

/// Whether the config asks for a bind mount: by its options; the type says nothing, unless it is `bind`.
pub(super) fn is_bind(mount: &SpecMount) -> bool {
    let names = mount.options().as_deref().unwrap_or_default();
    let options = Options::read(names.iter().map(String::as_str));
    !options.remount && (options.bind.is_some() || mount.typ().as_deref() == Some("bind"))
}

/// The names of all options that are applied, sorted, for `features`.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let applied = OPTIONS.iter().filter(|(_, change)| !matches!(change, Change::CopyUp));
    applied.map(|(name, _)| *name).collect()
}

/// What the option `name` changes; `None` if it is left to the file system.
#[must_use]
pub fn lookup(name: &str) -> Option<Change> {
    let i = OPTIONS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    OPTIONS.get(i).map(|(_, change)| *change)
}

/// The propagation that `name` stands for, by itself or in a list of options.
#[must_use]
pub fn propagation(name: &str) -> Option<Propagation> {
    match lookup(name) {
        Some(Propagate(flags)) => Some(Propagation { flags }),
        _ => None,
    }
}

/// The options of one mount, together. A later one wins over an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options<'a> {
    /// It is a bind mount.
    pub bind: Option<Reach>,
    /// It changes what is mounted.
    pub remount: bool,
    /// Attributes of the mount itself.
    pub top: Changes,
    /// Attributes of the mount and of all below it; they win over those of the mount itself.
    pub tree: Changes,
    /// `MS_` flags of the file system.
    pub superblock: u64,
    /// Propagation, in listed order.
    pub propagation: Vec<Propagation>,
    /// The ids are mapped.
    pub idmap: Option<Reach>,
    /// A tmpfs begins with a copy of the destination.
    pub copy_up: bool,
    /// Options of the file system, in listed order.
    pub data: Vec<&'a str>,
}

/// Changes of attributes, in the terms of options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    set: u64,
    clear: u64,
    atime: Option<u64>,
}

impl<'a> Options<'a> {
    /// Reads a list of options.
    pub fn read(list: impl IntoIterator<Item = &'a str>) -> Options<'a> {
        let mut options = Options::default();
        // Podman writes empty options.
        for name in list.into_iter().filter(|name| !name.is_empty()) {
            match lookup(name) {
                Some(change) => options.apply(change),
                None => options.data.push(name),
            }
        }
        options
    }

    fn apply(&mut self, change: Change) {
        match change {
            Nothing => {}
            Set(reach, bits) => self.reached(reach).add(Changes { set: bits, ..Changes::default() }),
            Clear(reach, bits) => self.reached(reach).add(Changes { clear: bits, ..Changes::default() }),
            Choose(reach, atime) => self.reached(reach).atime = Some(atime),
            Unchoose(reach, atime) => {
                let changes = self.reached(reach);
                // `noatime,nostrictatime` stays noatime; everything else ends at the kernel's default.
                if changes.atime.is_none_or(|chosen| chosen == atime) {
                    changes.atime = Some(RELATIME);
                }
            }
            SetSuper(flag) => self.superblock |= flag,
            ClearSuper(flag) => self.superblock &= !flag,
            Propagate(flags) => self.propagation.push(Propagation { flags }),
            Bind(reach) => self.bind = Some(reach),
            Remount => self.remount = true,
            MapIds(reach) => self.idmap = Some(reach),
            CopyUp => self.copy_up = true,
        }
    }

    fn reached(&mut self, reach: Reach) -> &mut Changes {
        match reach {
            Top => &mut self.top,
            Tree => &mut self.tree,
        }
    }

    /// All changes of attributes, for something that has no mounts below it.
    #[must_use]
    pub fn merged(&self) -> Changes {
        let mut merged = self.top;
        merged.add(self.tree);
        merged
    }

    /// The flags of mount(2) for a new file system.
    #[must_use]
    pub fn flags(&self) -> u64 {
        self.merged().flags() | self.superblock
    }

    /// Attributes of the top mount and of the whole tree. They never disagree, so their order does not matter.
    #[must_use]
    pub fn attributes(&self) -> (Attributes, Attributes) {
        (self.top.without(self.tree).attributes(), self.tree.attributes())
    }
}

impl Changes {
    fn add(&mut self, later: Changes) {
        self.set = self.set & !later.clear | later.set;
        self.clear = self.clear & !later.set | later.clear;
        self.atime = later.atime.or(self.atime);
    }

    /// What `other` leaves to these.
    fn without(self, other: Changes) -> Changes {
        let decided = other.set | other.clear;
        Changes {
            set: self.set & !decided,
            clear: self.clear & !decided,
            atime: self.atime.filter(|_| other.atime.is_none()),
        }
    }

    /// As mount_setattr(2) takes them: access times are one field, which is cleared to be set.
    #[must_use]
    pub fn attributes(self) -> Attributes {
        match self.atime {
            None => Attributes { set: self.set, clear: self.clear },
            Some(atime) => Attributes { set: self.set | atime, clear: self.clear | libc::MOUNT_ATTR__ATIME },
        }
    }

    /// The flags of mount(2) that are asked to be off.
    #[must_use]
    pub fn cleared_flags(self) -> u64 {
        FLAGS.iter().filter(|(attribute, _)| self.clear & attribute != 0).fold(0, |flags, (_, ms)| flags | ms)
    }

    /// As mount(2) takes them: everything that is set, and nothing else.
    #[must_use]
    pub fn flags(self) -> u64 {
        let atime = match self.atime {
            None => 0,
            Some(NOATIME) => ms(libc::MS_NOATIME),
            Some(STRICTATIME) => ms(libc::MS_STRICTATIME),
            Some(_) => ms(libc::MS_RELATIME),
        };
        FLAGS.iter().filter(|(bit, _)| self.set & bit != 0).fold(atime, |flags, (_, flag)| flags | flag)
    }
}

#[cfg(test)]
mod tests;
