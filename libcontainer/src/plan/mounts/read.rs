//! Reads one entry of `mounts`. Pure.

use nix::libc;
use oci_spec::runtime::{Mount as SpecMount, Spec};

use super::cgroup::{named, own_cgroup, tree};
use super::idmap::idmap;
use super::instance::{self, Instance};
use super::{Detached, IdMap, Mount, What, is_inside_proc};
use crate::path::{KernelString, RootPath};
use crate::plan::Choices;
use crate::plan::cgroup::{self, Cgroup};
use crate::plan::facts::Facts;
use crate::plan::invalid::Findings;
use crate::plan::namespaces::Entry;
use crate::plan::namespaces::Namespace;
use crate::plan::options::{Attributes, Change, Options, Reach, SourceLink, is_bind, lookup, ms};

const SPEC: &str = "config.md#mounts";
const SPEC_OPTIONS: &str = "config.md#linux-mount-options";
const SPEC_POSIX: &str = "config.md#posix-platform-mounts";

/// mount(2) takes one page; what is longer would be cut off without an error.
const DATA_MAX: usize = 4095;

/// File systems that take no `context=` option: their files are labelled by the kernel's policy, and the mount
/// would fail.
const UNLABELLED: &[&str] = &["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

/// File systems that show the namespaces of whoever mounts them, and whose ids no kernel maps.
const NAMESPACED: &[&str] = &["proc", "sysfs", "mqueue"];

const CAP_SYS_ADMIN: u64 = 1 << 21;
/// The only files of procfs that may be covered: those which lxcfs and the like give a container of its own.
/// What else is mounted there makes /proc lie to everybody who believes it.
const COVERABLE: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// What a mount depends on beside its own entry.
pub(super) struct Around<'a> {
    pub(super) spec: &'a Spec,
    pub(super) choices: &'a Choices,
    pub(super) facts: &'a Facts,
    pub(super) entry: &'a Entry,
    pub(super) cgroup: &'a Cgroup,
    pub(super) label: Option<&'a str>,
}

/// Where the host has its sysfs.
const HOST_SYSFS: &str = "/sys";

impl Around<'_> {
    /// There may be no cgroup of the container's to show, and the runtime's own is not the container's to change
    /// (CVE-2023-25809).
    fn shows_own_cgroup(&self) -> bool {
        self.cgroup.optional && !self.entry.private(Namespace::Cgroup)
    }

    /// The version 1 hierarchy `name=systemd` is all that this cgroup mount is to show.
    fn shows_named(&self, destination: &RootPath) -> bool {
        cgroup::named::is_shown_at(self.spec, &destination.to_string())
    }

    /// The version 2 hierarchy as the host has it mounted, if the container sees cgroups as the host does. It is bound then: a
    /// new mount by the host's root would give the one file system its own options, and take `nsdelegate` and the like from
    /// the host.
    fn shared_hierarchy(&self) -> Option<&str> {
        let is_shared =
            self.facts.privileged && !self.entry.changes_user() && !self.entry.private(Namespace::Cgroup);
        self.facts.cgroup.version_2().filter(|_| is_shared).map(|host| host.mount.as_str())
    }

    /// The network namespace may belong to another user namespace than the container's.
    fn may_not_own_network(&self) -> bool {
        let user_changes = self.entry.changes_user() || !self.facts.privileged;
        user_changes && !self.entry.made().contains(Namespace::Network)
    }
}

/// One entry while it is read: what it says, and where it stands in the document.
pub(super) struct Listed<'a> {
    pub(super) mount: &'a SpecMount,
    names: &'a [String],
    pub(super) options: Options<'a>,
    at: &'a str,
}

/// A path of the config that counts from the bundle unless it is absolute.
pub(super) fn from_bundle(path: &str, choices: &Choices) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", choices.bundle) }
}

/// Reads the entry at `at`. Nothing is returned for one that cannot be understood; the findings say why.
pub(super) fn mount(
    mount: &SpecMount,
    at: &str,
    around: &Around<'_>,
    findings: &mut Findings,
) -> Option<Mount> {
    let names = mount.options().as_deref().unwrap_or_default();
    let listed = Listed { mount, names, options: Options::read(names.iter().map(String::as_str)), at };
    let destination = destination(&listed, findings);
    let idmap = idmap(&listed, around, findings);
    let (what, recursive) = if listed.options.remount {
        let why =
            "a remount cannot map ids: what is mounted keeps those that it has; map them where it is mounted";
        refuse_idmap(&listed, idmap.is_some(), why, findings);
        remount(&listed, findings)?
    } else if is_bind(mount) {
        bind(&listed, idmap, around, findings)?
    } else {
        (new(&listed, idmap, destination.as_ref(), around, findings)?, Attributes::default())
    };
    warn_about_no_effect(&listed, &what, findings);
    let label = root_label(&what, around);
    let Options { nofollow, propagation, .. } = listed.options;
    Some(Mount { destination: destination?, nofollow, what, propagation, label, recursive })
}

/// The queues of an ipc namespace are labelled like files, one by one, and so is the directory that shows them.
fn root_label(what: &What, around: &Around<'_>) -> Option<KernelString> {
    match what {
        What::Filesystem { fstype, .. } if fstype.as_str() == "mqueue" => {
            KernelString::new(around.label?).ok()
        }
        _ => None,
    }
}

fn destination(listed: &Listed<'_>, findings: &mut Findings) -> Option<RootPath> {
    let (text, at) = (listed.mount.destination().to_str().unwrap_or_default(), listed.at("destination"));
    if !text.is_empty() && !text.starts_with('/') {
        let says = format!("{text} is relative, which is deprecated; it is taken as /{text}");
        // The specification deprecates it and says how to take it, so a strict reader takes it too.
        findings.warn(at.as_str(), says, SPEC);
    }
    let path = findings.check(RootPath::new(text), at.as_str(), SPEC)?;
    if is_inside_proc(&path) && !listed.options.remount && !COVERABLE.contains(&path.as_str()) {
        let says = format!(
            "\"{path}\" cannot be mounted because it is inside /proc, where only what lxcfs provides may be \
             covered ({}); remove the mount",
            COVERABLE.join(", ")
        );
        findings.error(at, says, SPEC);
    }
    Some(path)
}

fn remount(listed: &Listed<'_>, findings: &mut Findings) -> Option<(What, Attributes)> {
    let options = &listed.options;
    let (attributes, recursive) = options.attributes();
    let superblock = if options.bind.is_some() {
        // Then it is about the one mount only; the file system keeps its options.
        refuse_file_system_options(listed, findings);
        None
    } else {
        Some(options.superblock)
    };
    let data = data(listed, None, findings)?;
    Some((What::Remount { attributes, superblock, data }, recursive))
}

fn bind(
    listed: &Listed<'_>,
    idmap: Option<IdMap>,
    around: &Around<'_>,
    findings: &mut Findings,
) -> Option<(What, Attributes)> {
    refuse_file_system_options(listed, findings);
    if listed.options.bind.is_none() {
        findings.tolerate(
            listed.at("options"),
            "type is bind, but neither bind nor rbind is among the options; it is taken as bind. Add one of them",
            SPEC_POSIX,
        );
    }
    let source = listed.source();
    if source.is_empty() {
        findings.error(listed.at("source"), "a bind mount needs a source", SPEC);
        return None;
    }
    let source = KernelString::path(&from_bundle(source, around.choices));
    let source = findings.check(source, listed.at("source"), SPEC)?;
    let deep = listed.options.bind == Some(Reach::Tree);
    let (attributes, recursive) = if deep {
        listed.options.attributes()
    } else {
        // Nothing is below it.
        (listed.options.merged().attributes(), Attributes::default())
    };
    // An id-mapped mount, and a source that only the host's root can reach, are beyond the container's process.
    let by_runtime = idmap.is_some() || around.entry.changes_user() && around.facts.privileged;
    let link = listed.options.link;
    refuse_two_links(listed, findings);
    Some((What::Bind { source, deep, attributes, link, by_runtime, idmap }, recursive))
}

fn new(
    listed: &Listed<'_>,
    idmap: Option<IdMap>,
    destination: Option<&RootPath>,
    around: &Around<'_>,
    findings: &mut Findings,
) -> Option<What> {
    let fstype = listed.mount.typ().as_deref().unwrap_or_default();
    if matches!(fstype, "" | "none") {
        let says = "a mount without the option bind or rbind needs the type of a file system; add the option or a type";
        findings.error(listed.at("type"), says, SPEC_POSIX);
        return None;
    }
    let mut flags = listed.options.flags();
    if matches!(fstype, "cgroup" | "cgroup2") && around.shows_own_cgroup() {
        flags |= ms(libc::MS_RDONLY);
    }
    let unified = around.facts.cgroup.unified() && !around.facts.cgroup.hierarchies.is_empty();
    let named_alone =
        matches!(fstype, "cgroup" | "cgroup2") && destination.is_some_and(|path| around.shows_named(path));
    let is_version_2 = fstype == "cgroup2" || fstype == "cgroup" && unified;
    let is_plain = idmap.is_none() && listed.options.data.is_empty() && !named_alone;
    if let Some(mount) = around.shared_hierarchy().filter(|_| is_version_2 && is_plain) {
        let source = KernelString::path(mount);
        let source = findings.check(source, listed.at("type"), "config-linux.md#control-groups")?;
        let Attributes { set, .. } = Attributes::of_flags(flags);
        // The host's may be read-only.
        let attributes = Attributes { set, clear: libc::MOUNT_ATTR_RDONLY & !set };
        let link = SourceLink::Followed;
        return Some(What::Bind { source, deep: false, attributes, link, by_runtime: false, idmap: None });
    }
    match fstype {
        "cgroup" | "cgroup2" if unified && !named_alone => {
            refuse_idmap(listed, idmap.is_some(), &no_idmap(fstype), findings);
            let data = data(listed, None, findings)?;
            let fallback = findings.check(
                KernelString::path(&own_cgroup(around.cgroup, around.facts)),
                listed.at("type"),
                "config-linux.md#control-groups",
            )?;
            Some(What::Cgroup { flags, data, fallback })
        }
        "cgroup" | "cgroup2" if fstype == "cgroup" || named_alone => {
            refuse_idmap(listed, idmap.is_some(), &no_idmap(fstype), findings);
            for (i, name) in listed.matching(|change| change.is_none()) {
                let says =
                    format!("{name} has no effect: a cgroup mount on this host is several file systems");
                findings.tolerate(listed.at(&format!("options/{i}")), says, SPEC_OPTIONS);
            }
            let tree = if named_alone { named } else { tree };
            let private = around.entry.private(Namespace::Cgroup);
            let hierarchies = tree(destination?, around.cgroup, around.facts, private);
            Some(What::CgroupTree { flags, hierarchies })
        }
        _ => filesystem(listed, fstype, flags, idmap, around, findings),
    }
}

/// A new instance of a file system.
fn filesystem(
    listed: &Listed<'_>,
    fstype: &str,
    flags: u64,
    idmap: Option<IdMap>,
    around: &Around<'_>,
    findings: &mut Findings,
) -> Option<What> {
    refuse_idmap(listed, idmap.is_some() && NAMESPACED.contains(&fstype), &no_idmap(fstype), findings);
    let data = data(listed, around.label.filter(|_| !UNLABELLED.contains(&fstype)), findings)?;
    let source = if listed.source().is_empty() { fstype } else { listed.source() };
    let source = findings.check(KernelString::path(source), listed.at("source"), SPEC)?;
    if fstype == "sysfs" && around.may_not_own_network() {
        return Some(What::Sysfs { source, flags, data, fallback: KernelString::path(HOST_SYSFS).ok()? });
    }
    let tmpfs = fstype == "tmpfs";
    let inherits_mode = tmpfs && !data.as_str().split(',').any(|option| option.starts_with("mode="));
    let copy_up = tmpfs && listed.options.copy_up;
    let fstype = findings.check(KernelString::path(fstype), listed.at("type"), SPEC_POSIX)?;
    // Mounted by a process of the container's, a file system has the container's ids anyway: all that a runtime
    // without the right to mount can do, and enough.
    let idmap = idmap.filter(|map| map.maps.is_some() || around.facts.capabilities & CAP_SYS_ADMIN != 0);
    if idmap.is_none() && !copy_up {
        return Some(What::Filesystem { fstype, source, flags, data, inherits_mode });
    }
    let instance = Instance { fstype, source, idmap, data: &data, inherits_mode, copy_up };
    instance::compile(instance, listed, findings).map(What::Detached)
}

fn no_idmap(fstype: &str) -> String {
    format!("the kernel has no id-mapped mounts of {fstype}; remove idmap and the mappings")
}

/// Options of the file system as one text, with the label unless the config gives one itself.
fn data(listed: &Listed<'_>, label: Option<&str>, findings: &mut Findings) -> Option<KernelString> {
    let mut text = listed.options.data.join(",");
    // The kernel refuses a second one, and `context=` beside `fscontext=` or the like may contradict it.
    let labelled =
        text.split(',').filter_map(|o| o.split_once('=')).any(|(name, _)| name.ends_with("context"));
    if let Some(label) = label.filter(|_| !labelled) {
        let comma = if text.is_empty() { "" } else { "," };
        // Quoted, because categories are separated by commas.
        text.push_str(&format!("{comma}context=\"{label}\""));
    }
    if text.len() > DATA_MAX {
        let says = format!(
            "the file system's options are {} bytes long, and the kernel takes {DATA_MAX}",
            text.len()
        );
        findings.error(listed.at("options"), says, SPEC_OPTIONS);
        return None;
    }
    findings.check(KernelString::new(text), listed.at("options"), SPEC_OPTIONS)
}

fn refuse_idmap(listed: &Listed<'_>, mapped: bool, why: &str, findings: &mut Findings) {
    if mapped {
        findings.error(listed.at, why, SPEC_OPTIONS);
    }
}

fn refuse_two_links(listed: &Listed<'_>, findings: &mut Findings) {
    let copied = listed.matching(|change| change == Some(Change::Link(SourceLink::Copied))).count() > 0;
    let others = |change| matches!(change, Some(Change::Link(SourceLink::Bound) | Change::OnLink));
    for (i, name) in listed.matching(others).filter(|_| copied) {
        let says = format!("{name} contradicts copy-symlink, which mounts no link; remove one of them");
        findings.error(listed.at(&format!("options/{i}")), says, SPEC_OPTIONS);
    }
}

/// A bind mount shows a file system that is mounted already, so options of that have nobody to go to.
fn refuse_file_system_options(listed: &Listed<'_>, findings: &mut Findings) {
    for (i, name) in listed.matching(|change| matches!(change, Some(Change::SetSuper(_)))) {
        let says = format!("{name} has no effect on a bind mount: it belongs to the file system. Remove it");
        findings.tolerate(listed.at(&format!("options/{i}")), says, SPEC_OPTIONS);
    }
    for (i, name) in listed.matching(|change| change.is_none()) {
        let says = format!(
            "{name:?} is not a known option, so it is the file system's own, and a bind mount takes none of those; \
             check the spelling or remove it"
        );
        findings.error(listed.at(&format!("options/{i}")), says, SPEC_OPTIONS);
    }
}

/// Options that are known, and are about something else than this mount.
fn warn_about_no_effect(listed: &Listed<'_>, what: &What, findings: &mut Findings) {
    let mut warn = |like: fn(Option<Change>) -> bool, why: &str| {
        for (i, name) in listed.matching(like) {
            findings.tolerate(
                listed.at(&format!("options/{i}")),
                format!("{name} has no effect: {why}"),
                SPEC_OPTIONS,
            );
        }
    };
    if !matches!(what, What::Detached(Detached { copy_up: Some(_), .. })) {
        warn(|change| change == Some(Change::CopyUp), "this is no new tmpfs");
    }
    if !matches!(what, What::Bind { .. }) {
        warn(|change| matches!(change, Some(Change::Link(_))), "this is no bind mount");
    }
}

impl<'a> Listed<'a> {
    pub(super) fn at(&self, property: &str) -> String {
        format!("{}/{property}", self.at)
    }

    fn source(&self) -> &'a str {
        self.mount.source().as_deref().and_then(|source| source.to_str()).unwrap_or_default()
    }

    /// The options whose change is like this, with their places in the list.
    pub(super) fn matching(
        &self,
        like: fn(Option<Change>) -> bool,
    ) -> impl Iterator<Item = (usize, &'a str)> {
        let names = self.names.iter().map(String::as_str).enumerate();
        names.filter(move |(_, name)| !name.is_empty() && like(lookup(name)))
    }
}
