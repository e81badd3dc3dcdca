//! Reads one entry of `mounts`. Pure.

use nix::libc;
use oci_spec::runtime::Mount as SpecMount;

use super::cgroup::{own_cgroup, tree};
use super::{IdMap, Mount, What};
use crate::path::{KernelString, RootPath};
use crate::plan::Choices;
use crate::plan::cgroup::Cgroup;
use crate::plan::facts::Facts;
use crate::plan::ids::{self, IdMaps};
use crate::plan::invalid::Findings;
use crate::plan::namespaces::Entry;
use crate::plan::namespaces::Namespace;
use crate::plan::options::{Attributes, Change, Options, Reach, is_bind, lookup, ms};

const SPEC: &str = "config.md#mounts";
const SPEC_OPTIONS: &str = "config.md#linux-mount-options";
const SPEC_POSIX: &str = "config.md#posix-platform-mounts";

/// mount(2) takes one page; what is longer would be cut off without an error.
const DATA_MAX: usize = 4095;

/// File systems that take no `context=` option: their files are labelled by the kernel's policy, and the mount
/// would fail.
const UNLABELLED: &[&str] = &["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

/// What a mount depends on beside its own entry.
pub(super) struct Around<'a> {
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

    /// The network namespace may belong to another user namespace than the container's.
    fn may_not_own_network(&self) -> bool {
        let user_changes = self.entry.changes_user() || !self.facts.privileged;
        user_changes && !self.entry.made().contains(Namespace::Network)
    }
}

/// One entry while it is read: what it says, and where it stands in the document.
struct Listed<'a> {
    mount: &'a SpecMount,
    names: &'a [String],
    options: Options<'a>,
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
        refuse_idmap(&listed, idmap.is_some(), "a remount", findings);
        remount(&listed, findings)?
    } else if is_bind(mount) {
        bind(&listed, idmap, around, findings)?
    } else {
        (new(&listed, idmap, destination.as_ref(), around, findings)?, Attributes::default())
    };
    warn_about_copy_up(&listed, &what, findings);
    Some(Mount { destination: destination?, what, propagation: listed.options.propagation, recursive })
}

fn destination(listed: &Listed<'_>, findings: &mut Findings) -> Option<RootPath> {
    let (text, at) = (listed.mount.destination().to_str().unwrap_or_default(), listed.at("destination"));
    if !text.is_empty() && !text.starts_with('/') {
        let says = format!("{text} is relative, which is deprecated; it is taken as /{text}");
        findings.warn(at.as_str(), says, SPEC);
    }
    findings.check(RootPath::new(text), at, SPEC)
}

fn remount(listed: &Listed<'_>, findings: &mut Findings) -> Option<(What, Attributes)> {
    let options = &listed.options;
    let mut flags = ms(libc::MS_REMOUNT) | options.superblock;
    let (top, tree) = (options.top, options.tree);
    if options.bind.is_some() {
        // Then it is about the one mount only; the file system keeps its options.
        flags = ms(libc::MS_REMOUNT | libc::MS_BIND);
        refuse_file_system_options(listed, findings);
    }
    let data = data(listed, None, findings)?;
    let cleared = top.cleared_flags();
    Some((What::Remount { flags: flags | top.flags(), data, cleared }, tree.attributes()))
}

fn bind(
    listed: &Listed<'_>,
    idmap: Option<IdMap>,
    around: &Around<'_>,
    findings: &mut Findings,
) -> Option<(What, Attributes)> {
    refuse_file_system_options(listed, findings);
    if listed.options.bind.is_none() {
        findings.warn(
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
    Some((What::Bind { source, deep, attributes, by_runtime, idmap }, recursive))
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
    match fstype {
        "cgroup" | "cgroup2" if unified => {
            refuse_idmap(listed, idmap.is_some(), "a cgroup mount", findings);
            let data = data(listed, None, findings)?;
            let fallback = findings.check(
                KernelString::path(&own_cgroup(around.cgroup, around.facts)),
                listed.at("type"),
                "config-linux.md#control-groups",
            )?;
            Some(What::Cgroup { flags, data, fallback })
        }
        "cgroup" => {
            refuse_idmap(listed, idmap.is_some(), "a cgroup mount", findings);
            for (i, name) in listed.matching(|change| change.is_none()) {
                let says =
                    format!("{name} has no effect: a cgroup mount on this host is several file systems");
                findings.warn(listed.at(&format!("options/{i}")), says, SPEC_OPTIONS);
            }
            Some(What::CgroupTree {
                flags,
                hierarchies: tree(
                    destination?,
                    around.cgroup,
                    around.facts,
                    around.entry.private(Namespace::Cgroup),
                ),
            })
        }
        "sysfs" if around.may_not_own_network() => {
            refuse_idmap(listed, idmap.is_some(), "a mount that is not a bind mount", findings);
            let data = data(listed, None, findings)?;
            let source = if listed.source().is_empty() { fstype } else { listed.source() };
            let source = findings.check(KernelString::path(source), listed.at("source"), SPEC)?;
            Some(What::Sysfs { source, flags, data, fallback: KernelString::path(HOST_SYSFS).ok()? })
        }
        _ => {
            let label = around.label.filter(|_| !UNLABELLED.contains(&fstype));
            let data = data(listed, label, findings)?;
            let source = if listed.source().is_empty() { fstype } else { listed.source() };
            let source = findings.check(KernelString::path(source), listed.at("source"), SPEC)?;
            refuse_idmap(listed, idmap.is_some(), "a mount that is not a bind mount", findings);
            if listed.options.copy_up {
                findings.error(listed.at("options"), "ketch does not apply tmpcopyup yet", SPEC_OPTIONS);
            }
            let fstype = findings.check(KernelString::path(fstype), listed.at("type"), SPEC_POSIX)?;
            Some(What::Filesystem { fstype, source, flags, data })
        }
    }
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

fn idmap(listed: &Listed<'_>, around: &Around<'_>, findings: &mut Findings) -> Option<IdMap> {
    let users = listed.mount.uid_mappings().as_deref().unwrap_or_default();
    let groups = listed.mount.gid_mappings().as_deref().unwrap_or_default();
    let deep = listed.options.idmap == Some(Reach::Tree);
    match (users.is_empty(), groups.is_empty()) {
        (false, false) => {
            let users = ids::ranges(users, &listed.at("uidMappings"), findings);
            let groups = ids::ranges(groups, &listed.at("gidMappings"), findings);
            Some(IdMap { maps: Some(IdMaps { users, groups }), deep })
        }
        (true, true) => {
            listed.options.idmap?;
            if !around.entry.changes_user() {
                let (i, name) = listed.matching(|change| matches!(change, Some(Change::MapIds(_)))).last()?;
                let says = format!(
                    "{name} without uidMappings and gidMappings takes those of the container's user namespace, \
                     and it has none; add the mappings here or a user namespace"
                );
                findings.error(listed.at(&format!("options/{i}")), says, SPEC_OPTIONS);
            }
            Some(IdMap { maps: None, deep })
        }
        (no_users, _) => {
            let (missing, other) =
                if no_users { ("uidMappings", "gidMappings") } else { ("gidMappings", "uidMappings") };
            let says = format!("is missing; it goes together with {other}");
            findings.error(listed.at(missing), says, SPEC_POSIX);
            None
        }
    }
}

fn refuse_idmap(listed: &Listed<'_>, mapped: bool, what: &str, findings: &mut Findings) {
    if mapped {
        findings.error(listed.at, format!("ketch does not map the ids of {what} yet"), SPEC_OPTIONS);
    }
}

/// A bind mount shows a file system that is mounted already, so options of that have nobody to go to.
fn refuse_file_system_options(listed: &Listed<'_>, findings: &mut Findings) {
    for (i, name) in listed.matching(|change| matches!(change, Some(Change::SetSuper(_)))) {
        let says = format!("{name} has no effect on a bind mount: it belongs to the file system. Remove it");
        findings.warn(listed.at(&format!("options/{i}")), says, SPEC_OPTIONS);
    }
    for (i, name) in listed.matching(|change| change.is_none()) {
        let says = format!(
            "{name:?} is not a known option, so it is the file system's own, and a bind mount takes none of those; \
             check the spelling or remove it"
        );
        findings.error(listed.at(&format!("options/{i}")), says, SPEC_OPTIONS);
    }
}

fn warn_about_copy_up(listed: &Listed<'_>, what: &What, findings: &mut Findings) {
    if listed.options.copy_up && !matches!(what, What::Filesystem { .. }) {
        findings.warn(listed.at("options"), "tmpcopyup has no effect: this is no new tmpfs", SPEC_OPTIONS);
    }
}

impl<'a> Listed<'a> {
    fn at(&self, property: &str) -> String {
        format!("{}/{property}", self.at)
    }

    fn source(&self) -> &'a str {
        self.mount.source().as_deref().and_then(|source| source.to_str()).unwrap_or_default()
    }

    /// The options whose change is like this, with their places in the list.
    fn matching(&self, like: fn(Option<Change>) -> bool) -> impl Iterator<Item = (usize, &'a str)> {
        let names = self.names.iter().map(String::as_str).enumerate();
        names.filter(move |(_, name)| !name.is_empty() && like(lookup(name)))
    }
}
