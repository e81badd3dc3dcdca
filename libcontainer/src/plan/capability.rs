//! Capabilities: their names and numbers, and which of those that a config lists can be given. Pure.

use oci_spec::runtime::{Capabilities as Listed, Capability, LinuxCapabilities};
use serde::Serialize;

use super::facts::Facts;
use super::invalid::Findings;
use super::namespaces::Entry;

/// The five sets. Bit n stands for capability n. See capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs, reason = "the names are those of capabilities(7)")]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub inheritable: u64,
    pub permitted: u64,
    pub ambient: u64,
}

const SPEC: &str = "config.md#linux-process";

/// Every capability with its name and number, in the order of linux/capability.h. See capabilities(7).
const CAPABILITIES: &[(Capability, &str, u8)] = &[
    (Capability::Chown, "CAP_CHOWN", 0),
    (Capability::DacOverride, "CAP_DAC_OVERRIDE", 1),
    (Capability::DacReadSearch, "CAP_DAC_READ_SEARCH", 2),
    (Capability::Fowner, "CAP_FOWNER", 3),
    (Capability::Fsetid, "CAP_FSETID", 4),
    (Capability::Kill, "CAP_KILL", 5),
    (Capability::Setgid, "CAP_SETGID", 6),
    (Capability::Setuid, "CAP_SETUID", 7),
    (Capability::Setpcap, "CAP_SETPCAP", 8),
    (Capability::LinuxImmutable, "CAP_LINUX_IMMUTABLE", 9),
    (Capability::NetBindService, "CAP_NET_BIND_SERVICE", 10),
    (Capability::NetBroadcast, "CAP_NET_BROADCAST", 11),
    (Capability::NetAdmin, "CAP_NET_ADMIN", 12),
    (Capability::NetRaw, "CAP_NET_RAW", 13),
    (Capability::IpcLock, "CAP_IPC_LOCK", 14),
    (Capability::IpcOwner, "CAP_IPC_OWNER", 15),
    (Capability::SysModule, "CAP_SYS_MODULE", 16),
    (Capability::SysRawio, "CAP_SYS_RAWIO", 17),
    (Capability::SysChroot, "CAP_SYS_CHROOT", 18),
    (Capability::SysPtrace, "CAP_SYS_PTRACE", 19),
    (Capability::SysPacct, "CAP_SYS_PACCT", 20),
    (Capability::SysAdmin, "CAP_SYS_ADMIN", 21),
    (Capability::SysBoot, "CAP_SYS_BOOT", 22),
    (Capability::SysNice, "CAP_SYS_NICE", 23),
    (Capability::SysResource, "CAP_SYS_RESOURCE", 24),
    (Capability::SysTime, "CAP_SYS_TIME", 25),
    (Capability::SysTtyConfig, "CAP_SYS_TTY_CONFIG", 26),
    (Capability::Mknod, "CAP_MKNOD", 27),
    (Capability::Lease, "CAP_LEASE", 28),
    (Capability::AuditWrite, "CAP_AUDIT_WRITE", 29),
    (Capability::AuditControl, "CAP_AUDIT_CONTROL", 30),
    (Capability::Setfcap, "CAP_SETFCAP", 31),
    (Capability::MacOverride, "CAP_MAC_OVERRIDE", 32),
    (Capability::MacAdmin, "CAP_MAC_ADMIN", 33),
    (Capability::Syslog, "CAP_SYSLOG", 34),
    (Capability::WakeAlarm, "CAP_WAKE_ALARM", 35),
    (Capability::BlockSuspend, "CAP_BLOCK_SUSPEND", 36),
    (Capability::AuditRead, "CAP_AUDIT_READ", 37),
    (Capability::Perfmon, "CAP_PERFMON", 38),
    (Capability::Bpf, "CAP_BPF", 39),
    (Capability::CheckpointRestore, "CAP_CHECKPOINT_RESTORE", 40),
];

/// The names of all capabilities, in the order of their numbers; `features` lists them.
pub fn names() -> impl Iterator<Item = &'static str> {
    CAPABILITIES.iter().map(|row| row.1)
}

/// Whether there is a capability of this name. Its case and its prefix say nothing, as `oci-spec` reads them.
pub(super) fn is_known(name: &str) -> bool {
    let is = |name: &str| CAPABILITIES.iter().any(|row| row.1 == name);
    is(name) || is(&format!("CAP_{}", name.to_uppercase().trim_start_matches("CAP_")))
}

/// Decides the five sets. What cannot be given is left out with a warning, as the specification wants it.
///
/// A config without the property gets none at all, as from runc and crun: what it leaves open must not be the
/// runtime's own rights.
pub(super) fn compile(
    listed: Option<&LinuxCapabilities>,
    facts: &Facts,
    entry: &Entry,
    findings: &mut Findings,
) -> Capabilities {
    let Some(listed) = listed else { return Capabilities::default() };
    let known =
        CAPABILITIES.iter().filter(|row| row.2 <= facts.last_capability).fold(0, |set, row| set | bit(row.2));
    // Whoever enters a user namespace that is not the runtime's has every right in it.
    let ours = if entry.changes_user() { known } else { known & facts.capabilities };
    let mut read = |set: &Option<Listed>, name: &str, limit: u64, why: &str| {
        let set = set.iter().flatten().filter_map(number).fold(0, |set, n| set | bit(n));
        for (unfit, why) in [(set & !known, "this kernel does not know"), (set & known & !limit, why)] {
            if unfit != 0 {
                let says = format!("left out: {}, which {why}", spell(unfit));
                findings.warn(format!("/process/capabilities/{name}"), says, SPEC);
            }
        }
        set & limit
    };
    let lacks = "the runtime does not have itself";
    let bounding = read(listed.bounding(), "bounding", ours, lacks);
    let permitted = read(listed.permitted(), "permitted", ours, lacks);
    let inheritable = read(listed.inheritable(), "inheritable", ours, lacks);
    // The kernel's own rules, see capabilities(7): to ask for more would fail.
    let effective =
        read(listed.effective(), "effective", permitted, "cannot be effective without being permitted");
    let ambient = read(
        listed.ambient(),
        "ambient",
        permitted & inheritable,
        "cannot be ambient without being permitted and inheritable",
    );
    Capabilities { bounding, effective, inheritable, permitted, ambient }
}

fn number(capability: &Capability) -> Option<u8> {
    CAPABILITIES.iter().find(|row| row.0 == *capability).map(|row| row.2)
}

fn bit(number: u8) -> u64 {
    1_u64.checked_shl(u32::from(number)).unwrap_or(0)
}

fn spell(set: u64) -> String {
    let names: Vec<_> = CAPABILITIES.iter().filter(|row| set & bit(row.2) != 0).map(|row| row.1).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::FACTS;
    use super::*;
    use crate::plan::namespaces::{Namespace, NamespaceSet};
    use serde_json::{Value, json};

    const NET_RAW: u64 = 1 << 13;
    const CHOWN: u64 = 1;

    fn compiled(listed: Value, facts: &Facts, entry: &Entry) -> (Capabilities, Vec<String>) {
        let mut findings = Findings::default();
        let listed = serde_json::from_value(listed).unwrap();
        let sets = compile(Some(&listed), facts, entry, &mut findings);
        (sets, findings.finish().unwrap().into_iter().map(|f| format!("{} {}", f.at, f.says)).collect())
    }

    #[test]
    fn p10_the_table_is_complete_and_in_the_kernels_order() {
        assert_eq!(names().count(), 41);
        for (i, (capability, name, number)) in CAPABILITIES.iter().enumerate() {
            assert_eq!(usize::from(*number), i);
            assert_eq!(serde_json::to_value(capability).unwrap(), json!(name));
        }
    }

    #[test]
    fn p10_the_sets_are_exactly_the_listed_ones() {
        let both = json!(["CAP_CHOWN", "CAP_NET_RAW"]);
        let listed = json!({"bounding": both, "permitted": both, "effective": ["CAP_CHOWN"],
            "inheritable": ["CAP_NET_RAW"], "ambient": ["CAP_NET_RAW"]});
        let (sets, warnings) = compiled(listed, &FACTS, &Entry::default());
        let both = CHOWN | NET_RAW;
        let (effective, inheritable, ambient) = (CHOWN, NET_RAW, NET_RAW);
        assert_eq!(sets, Capabilities { bounding: both, permitted: both, effective, inheritable, ambient });
        assert!(warnings.is_empty());
    }

    #[test]
    fn e15_what_the_runtime_lacks_is_left_out_with_a_warning() {
        let facts = Facts { capabilities: CHOWN, ..FACTS.clone() };
        let listed = json!({"bounding": ["CAP_SYS_TIME", "CAP_CHOWN", "CAP_NET_RAW"]});
        let (sets, warnings) = compiled(listed, &facts, &Entry::default());
        assert_eq!(sets.bounding, CHOWN);
        let says = "left out: CAP_NET_RAW, CAP_SYS_TIME, which the runtime does not have itself";
        assert_eq!(warnings, [format!("/process/capabilities/bounding {says}")]);
    }

    #[test]
    fn p11_what_the_kernel_does_not_know_is_left_out_with_a_warning() {
        let facts = Facts { last_capability: 37, ..FACTS.clone() };
        let (sets, warnings) =
            compiled(json!({"bounding": ["CAP_BPF", "CAP_CHOWN"]}), &facts, &Entry::default());
        assert_eq!(sets.bounding, CHOWN);
        assert!(warnings[0].contains("CAP_BPF, which this kernel does not know"));
    }

    #[test]
    fn p10_a_user_namespace_gives_what_the_runtime_lacks() {
        let facts = Facts { capabilities: 0, ..FACTS.clone() };
        let entry = Entry { clone: NamespaceSet::of(&[Namespace::User]), ..Entry::default() };
        let (sets, warnings) = compiled(json!({"bounding": ["CAP_NET_RAW"]}), &facts, &entry);
        assert_eq!(sets.bounding, NET_RAW);
        assert!(warnings.is_empty());
    }

    #[test]
    fn p10_effective_and_ambient_stay_within_what_the_kernel_takes() {
        let listed = json!({"permitted": ["CAP_CHOWN", "CAP_NET_RAW"], "inheritable": ["CAP_CHOWN"],
            "effective": ["CAP_KILL", "CAP_CHOWN"], "ambient": ["CAP_CHOWN", "CAP_NET_RAW"]});
        let (sets, warnings) = compiled(listed, &FACTS, &Entry::default());
        assert_eq!((sets.effective, sets.ambient), (CHOWN, CHOWN));
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn p10_a_config_without_capabilities_gets_none() {
        let sets = compile(None, &FACTS, &Entry::default(), &mut Findings::default());
        assert_eq!(sets, Capabilities::default());
    }
}
