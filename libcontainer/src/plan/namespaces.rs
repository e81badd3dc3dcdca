//! How the container's process gets into its namespaces: which are made, joined, and in what order. Pure.

use std::collections::BTreeMap;

use nix::libc;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use serde::{Serialize, Serializer};

use super::facts::Facts;
use super::invalid::Findings;
use crate::path::KernelString;

const SPEC: &str = "config-linux.md#namespaces";
const SPEC_OFFSETS: &str = "config-linux.md#offset-for-time-namespace";

/// A kind of namespace. See namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// network_namespaces(7)
    Network,
    /// ipc_namespaces(7)
    Ipc,
    /// uts_namespaces(7)
    Uts,
    /// cgroup_namespaces(7)
    Cgroup,
    /// time_namespaces(7)
    Time,
    /// pid_namespaces(7)
    Pid,
    /// mount_namespaces(7)
    Mount,
    /// user_namespaces(7)
    User,
}

/// Every namespace: its kind, its name in config.json, its file in /proc/PID/ns, and its clone(2) flag.
///
/// The order is the one in which a privileged runtime joins them: the mount namespace late, because paths
/// change with it, and the user namespace last, because rights are lost with it.
pub const NAMESPACES: &[(Namespace, &str, &str, i32)] = &[
    (Namespace::Network, "network", "net", libc::CLONE_NEWNET),
    (Namespace::Ipc, "ipc", "ipc", libc::CLONE_NEWIPC),
    (Namespace::Uts, "uts", "uts", libc::CLONE_NEWUTS),
    (Namespace::Cgroup, "cgroup", "cgroup", libc::CLONE_NEWCGROUP),
    (Namespace::Time, "time", "time", libc::CLONE_NEWTIME),
    (Namespace::Pid, "pid", "pid", libc::CLONE_NEWPID),
    (Namespace::Mount, "mount", "mnt", libc::CLONE_NEWNS),
    (Namespace::User, "user", "user", libc::CLONE_NEWUSER),
];

impl Namespace {
    fn row(self) -> &'static (Namespace, &'static str, &'static str, i32) {
        NAMESPACES.iter().find(|row| row.0 == self).unwrap_or(&NAMESPACES[0])
    }

    /// Its name in config.json.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The name of its file in `/proc/PID/ns`.
    #[must_use]
    pub fn file(self) -> &'static str {
        self.row().2
    }

    /// Its flag for clone(2), unshare(2) and setns(2).
    #[must_use]
    pub fn flag(self) -> i32 {
        self.row().3
    }
}

impl From<LinuxNamespaceType> for Namespace {
    fn from(kind: LinuxNamespaceType) -> Namespace {
        match kind {
            LinuxNamespaceType::Mount => Namespace::Mount,
            LinuxNamespaceType::Cgroup => Namespace::Cgroup,
            LinuxNamespaceType::Uts => Namespace::Uts,
            LinuxNamespaceType::Ipc => Namespace::Ipc,
            LinuxNamespaceType::User => Namespace::User,
            LinuxNamespaceType::Pid => Namespace::Pid,
            LinuxNamespaceType::Network => Namespace::Network,
            LinuxNamespaceType::Time => Namespace::Time,
        }
    }
}

/// A set of namespaces, as the kernel's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceSet(i32);

impl NamespaceSet {
    /// The set of these.
    #[must_use]
    pub fn of(kinds: &[Namespace]) -> NamespaceSet {
        NamespaceSet(kinds.iter().fold(0, |flags, kind| flags | kind.flag()))
    }

    /// The set as flags for clone(2), unshare(2) and setns(2).
    #[must_use]
    pub fn flags(self) -> i32 {
        self.0
    }

    /// Whether `kind` is in it.
    #[must_use]
    pub fn contains(self, kind: Namespace) -> bool {
        self.0 & kind.flag() != 0
    }

    /// The set with `kind`.
    #[must_use]
    pub fn with(self, kind: Namespace) -> NamespaceSet {
        NamespaceSet(self.0 | kind.flag())
    }

    /// The set without `kind`.
    #[must_use]
    pub fn without(self, kind: Namespace) -> NamespaceSet {
        NamespaceSet(self.0 & !kind.flag())
    }

    /// Nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn kinds(self) -> impl Iterator<Item = Namespace> {
        NAMESPACES.iter().map(|row| row.0).filter(move |kind| self.contains(*kind))
    }
}

impl Serialize for NamespaceSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.kinds())
    }
}

/// A namespace that exists and is joined by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Join {
    /// Its kind; a file of another kind is an error.
    #[serde(rename = "type")]
    pub kind: Namespace,
    /// Its file, in the runtime's mount namespace.
    pub path: KernelString,
}

/// The way into the namespaces, see the table in ARCHITECTURE.md.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Made by clone3(2) itself.
    pub clone: NamespaceSet,
    /// The runtime enters this pid namespace before the clone, and leaves it after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_in: Option<Join>,
    /// Joined by the child, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub join: Vec<Join>,
    /// The child makes a new user namespace by unshare(2) after the joins, before everything else.
    pub unshare_user: bool,
    /// Made by the child, after it became root of its user namespace.
    pub unshare: NamespaceSet,
    /// Offsets of the new time namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<TimeOffset>,
    /// A second process is needed: the pid or time namespace takes effect for children only.
    pub refork: bool,
}

/// An offset of a clock in a new time namespace. See time_namespaces(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeOffset {
    /// The clock and its offset, as a line of `/proc/PID/timens_offsets`.
    pub line: KernelString,
}

impl Entry {
    /// Everything that the container does not share with the runtime because it is new.
    #[must_use]
    pub fn made(&self) -> NamespaceSet {
        let user = if self.unshare_user { Namespace::User.flag() } else { 0 };
        NamespaceSet(self.clone.flags() | self.unshare.flags() | user)
    }

    /// Every namespace that is not the runtime's, as flags of setns(2).
    #[must_use]
    pub fn private_flags(&self) -> i32 {
        let joined = self.join.iter().chain(&self.step_in).fold(0, |flags, join| flags | join.kind.flag());
        self.made().flags() | joined
    }

    /// The container has a user namespace that is not the runtime's.
    #[must_use]
    pub fn changes_user(&self) -> bool {
        self.made().contains(Namespace::User) || self.joins(Namespace::User)
    }

    /// A namespace of this kind is joined by path.
    #[must_use]
    pub fn joins(&self, kind: Namespace) -> bool {
        self.join.iter().chain(&self.step_in).any(|join| join.kind == kind)
    }

    /// The container's namespace of this kind is not the runtime's.
    #[must_use]
    pub fn private(&self, kind: Namespace) -> bool {
        self.made().contains(kind) || self.joins(kind)
    }
}

/// What a config asks for, one namespace at a time: `None` is a new one.
type Wanted = BTreeMap<Namespace, Option<KernelString>>;

/// Decides how to enter the namespaces of `spec`.
pub fn compile(spec: &Spec, facts: &Facts, findings: &mut Findings) -> Entry {
    let wanted = wanted(spec, findings);
    let offsets = offsets(spec, &wanted, findings);
    if !wanted.contains_key(&Namespace::Mount) {
        findings.error(
            "/linux/namespaces",
            "no mount namespace is listed; the container's mounts would be made on the host. Add {\"type\": \"mount\"}",
            SPEC,
        );
    }
    if !facts.privileged && facts.uid != 0 && !wanted.contains_key(&Namespace::User) {
        findings.error(
            "/linux/namespaces",
            "no user namespace is listed, and the runtime is not root. Add {\"type\": \"user\"} with id mappings",
            SPEC,
        );
    }
    entry(&wanted, offsets, facts)
}

fn wanted(spec: &Spec, findings: &mut Findings) -> Wanted {
    let mut wanted = Wanted::new();
    let listed = spec.linux().as_ref().and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    for (i, namespace) in listed.iter().enumerate() {
        let kind = Namespace::from(namespace.typ());
        let at = format!("/linux/namespaces/{i}");
        let path = match namespace.path().as_deref().and_then(|p| p.to_str()).filter(|p| !p.is_empty()) {
            None => None,
            Some(path) => {
                if !path.starts_with('/') {
                    findings.error(format!("{at}/path"), format!("{path} is not absolute"), SPEC);
                }
                findings.check(KernelString::path(path), format!("{at}/path"), SPEC)
            }
        };
        if wanted.insert(kind, path).is_some() {
            findings.error(format!("{at}/type"), format!("namespace {} is listed twice", kind.name()), SPEC);
        }
    }
    wanted
}

fn offsets(spec: &Spec, wanted: &Wanted, findings: &mut Findings) -> Vec<TimeOffset> {
    let Some(offsets) = spec.linux().as_ref().and_then(|l| l.time_offsets().as_ref()) else {
        return Vec::new();
    };
    if !offsets.is_empty() && wanted.get(&Namespace::Time) != Some(&None) {
        findings.error("/linux/timeOffsets", "needs a new time namespace in /linux/namespaces", SPEC_OFFSETS);
    }
    let mut sorted: Vec<_> = offsets.iter().collect();
    sorted.sort_by_key(|(clock, _)| *clock);
    let mut lines = Vec::new();
    for (clock, offset) in sorted {
        if !["monotonic", "boottime"].contains(&clock.as_str()) {
            let at = format!("/linux/timeOffsets/{}", super::invalid::pointer_token(clock));
            findings.error(at, "no such clock; there are monotonic and boottime", SPEC_OFFSETS);
            continue;
        }
        if offset.nanosecs().is_some_and(|n| n >= 1_000_000_000) {
            findings.error(
                format!("/linux/timeOffsets/{clock}/nanosecs"),
                "must be below 1000000000",
                SPEC_OFFSETS,
            );
        }
        let line = format!("{clock} {} {}\n", offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        lines.extend(KernelString::new(line).ok().map(|line| TimeOffset { line }));
    }
    lines
}

/// The table of design and ARCHITECTURE.md: one child where the kernel allows it.
fn entry(wanted: &Wanted, offsets: Vec<TimeOffset>, facts: &Facts) -> Entry {
    let mut new: NamespaceSet =
        NamespaceSet::of(&wanted.iter().filter(|(_, p)| p.is_none()).map(|(k, _)| *k).collect::<Vec<_>>());
    let mut join: Vec<Join> = wanted
        .iter()
        .filter_map(|(kind, path)| path.clone().map(|path| Join { kind: *kind, path }))
        .collect();
    let joins = |kind| join.iter().any(|j: &Join| j.kind == kind);
    let joins_user = joins(Namespace::User);
    let new_user = new.contains(Namespace::User);
    // Without host rights, rights come from the user namespace, so it is joined first.
    if joins_user && !facts.privileged {
        join.sort_by_key(|j| j.kind != Namespace::User);
    }
    new = new.without(Namespace::User);

    let mut entry = Entry { offsets, ..Entry::default() };
    // Offsets can be written until the first process lives in the namespace, so not after clone3(NEWTIME).
    entry.refork = !entry.offsets.is_empty();
    if new_user && join.is_empty() {
        entry.clone = entry.clone.with(Namespace::User);
    } else if new_user {
        entry.unshare_user = true;
    }
    // A pid namespace is entered by children only. It belongs to the user namespace in which it is made.
    let late_user = entry.unshare_user || joins_user;
    if new.contains(Namespace::Pid) {
        if late_user || entry.refork {
            entry.refork = true;
        } else {
            entry.clone = entry.clone.with(Namespace::Pid);
            new = new.without(Namespace::Pid);
        }
    }
    if let Some(i) = join.iter().position(|j| j.kind == Namespace::Pid) {
        if facts.privileged && !entry.refork {
            entry.step_in = Some(join.remove(i));
        } else {
            entry.refork = true;
        }
    }
    if new.contains(Namespace::Time) && entry.offsets.is_empty() && !late_user {
        entry.clone = entry.clone.with(Namespace::Time);
        new = new.without(Namespace::Time);
    } else if new.contains(Namespace::Time) {
        entry.refork = true;
    }
    entry.unshare = new;
    entry.join = join;
    entry
}

#[cfg(test)]
mod tests {
    use super::super::tests::{FACTS, spec};
    use super::*;
    use serde_json::json;

    fn entry_of(namespaces: serde_json::Value) -> Entry {
        compile(&spec(json!({"linux": {"namespaces": namespaces}})), &FACTS, &mut Findings::default())
    }

    #[test]
    fn new_namespaces_cost_one_child_and_only_pid_is_cloned() {
        let entry =
            entry_of(json!([{"type": "pid"}, {"type": "network"}, {"type": "mount"}, {"type": "cgroup"}]));
        assert_eq!(entry.clone, NamespaceSet::of(&[Namespace::Pid]));
        assert_eq!(
            entry.unshare,
            NamespaceSet::of(&[Namespace::Network, Namespace::Mount, Namespace::Cgroup])
        );
        assert!(!entry.refork);
    }

    #[test]
    fn a_new_userns_makes_net_after_the_map() {
        let entry =
            entry_of(json!([{"type": "user"}, {"type": "pid"}, {"type": "network"}, {"type": "mount"}]));
        assert_eq!(entry.clone, NamespaceSet::of(&[Namespace::User, Namespace::Pid]));
        assert!(entry.unshare.contains(Namespace::Network));
        assert!(!entry.refork);
    }

    #[test]
    fn a_pod_member_joins_by_path_with_the_mount_namespace_last() {
        let entry = entry_of(json!([
            {"type": "mount", "path": "/m"}, {"type": "pid"}, {"type": "ipc", "path": "/i"}, {"type": "network", "path": "/n"}
        ]));
        assert_eq!(entry.clone, NamespaceSet::of(&[Namespace::Pid]));
        let order: Vec<_> = entry.join.iter().map(|j| j.kind).collect();
        assert_eq!(order, [Namespace::Network, Namespace::Ipc, Namespace::Mount]);
        assert!(!entry.refork);
    }

    #[test]
    fn a_new_userns_beside_joined_ones_is_unshared_after_the_joins() {
        let entry = entry_of(
            json!([{"type": "user"}, {"type": "pid"}, {"type": "network", "path": "/n"}, {"type": "mount"}]),
        );
        assert!(entry.clone.is_empty() && entry.unshare_user && entry.refork);
        assert!(entry.unshare.contains(Namespace::Pid));
    }

    #[test]
    fn a_privileged_runtime_steps_into_a_joined_pid_namespace() {
        let entry = entry_of(json!([{"type": "pid", "path": "/p"}, {"type": "mount"}]));
        assert_eq!(entry.step_in.map(|j| j.kind), Some(Namespace::Pid));
        assert!(!entry.refork);
    }

    #[test]
    fn a_joined_userns_is_joined_last_with_host_rights_and_first_without() {
        let namespaces = json!([{"type": "user", "path": "/u"}, {"type": "network", "path": "/n"}, {"type": "pid"}, {"type": "mount"}]);
        let entry = entry_of(namespaces.clone());
        assert_eq!(entry.join.last().map(|j| j.kind), Some(Namespace::User));
        assert!(entry.refork && entry.unshare.contains(Namespace::Pid));
        let facts = Facts { privileged: false, uid: 1000, ..FACTS.clone() };
        let spec = spec(json!({"linux": {"namespaces": namespaces}}));
        let entry = compile(&spec, &facts, &mut Findings::default());
        assert_eq!(entry.join.first().map(|j| j.kind), Some(Namespace::User));
    }

    #[test]
    fn time_offsets_need_a_second_process_and_a_new_time_namespace() {
        let time = json!({"linux": {"namespaces": [{"type": "time"}, {"type": "mount"}], "timeOffsets": {"boottime": {"secs": 5}}}});
        let entry = compile(&spec(time), &FACTS, &mut Findings::default());
        assert!(entry.refork && entry.unshare.contains(Namespace::Time));
        assert_eq!(entry.offsets[0].line.as_str(), "boottime 5 0\n");
        let mut findings = Findings::default();
        compile(
            &spec(json!({"linux": {"namespaces": [{"type": "mount"}], "timeOffsets": {"boottime": {}}}})),
            &FACTS,
            &mut findings,
        );
        assert!(findings.finish().is_err());
    }

    #[test]
    fn a_namespace_listed_twice_or_by_a_relative_path_is_refused() {
        let mut findings = Findings::default();
        let twice = json!({"linux": {"namespaces": [{"type": "mount"}, {"type": "mount"}, {"type": "uts", "path": "x"}]}});
        compile(&spec(twice), &FACTS, &mut findings);
        let found = findings.finish().unwrap_err();
        let at: Vec<_> = found.findings().iter().map(|f| f.at.as_str()).collect();
        assert_eq!(at, ["/linux/namespaces/1/type", "/linux/namespaces/2/path"]);
    }
}
