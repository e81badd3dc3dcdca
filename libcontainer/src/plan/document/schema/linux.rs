//! The property `linux`. Pure.

use super::Need::{Key, May, Must};
use super::Shape::{self, Flag, List, Map, Of, Record, Text, Word};
use super::{I64, MAPPING, TEXTS, U16, U32, U64};

pub(super) const LINUX: Shape = Record(&[
    (
        "namespaces",
        Of(
            "config-linux.md#namespaces",
            &List(&Record(&[("type", Word(NAMESPACES), Key), ("path", Text, May)])),
        ),
        May,
    ),
    ("uidMappings", Of("config-linux.md#user-namespace-mappings", &List(&MAPPING)), May),
    ("gidMappings", Of("config-linux.md#user-namespace-mappings", &List(&MAPPING)), May),
    (
        "timeOffsets",
        Of(
            "config-linux.md#offset-for-time-namespace",
            &Map(&Record(&[("secs", I64, May), ("nanosecs", U32, May)])),
        ),
        May,
    ),
    (
        "devices",
        Of(
            "config-linux.md#devices",
            &List(&Record(&[
                ("type", Word("b c p u"), Must("\"c\"")),
                ("path", Text, Must("\"/dev/x\"")),
                ("major", I64, May),
                ("minor", I64, May),
                ("fileMode", U32, May),
                ("uid", U32, May),
                ("gid", U32, May),
            ])),
        ),
        May,
    ),
    ("netDevices", Of("config-linux.md#network-devices", &Map(&Record(&[("name", Text, May)]))), May),
    ("cgroupsPath", Of("config-linux.md#cgroups-path", &Text), May),
    ("resources", Of("config-linux.md#control-groups", &RESOURCES), May),
    (
        "intelRdt",
        Of(
            "config-linux.md#intelrdt",
            &Record(&[
                ("closID", Text, May),
                ("schemata", TEXTS, May),
                ("l3CacheSchema", Text, May),
                ("memBwSchema", Text, May),
                ("enableMonitoring", Flag, May),
            ]),
        ),
        May,
    ),
    (
        "memoryPolicy",
        Of(
            "config-linux.md#memory-policy",
            &Record(&[
                (
                    "mode",
                    Word(
                        "MPOL_DEFAULT MPOL_BIND MPOL_INTERLEAVE MPOL_WEIGHTED_INTERLEAVE MPOL_PREFERRED \
    MPOL_PREFERRED_MANY MPOL_LOCAL",
                    ),
                    Must("\"MPOL_DEFAULT\""),
                ),
                ("nodes", Text, May),
                (
                    "flags",
                    List(&Word("MPOL_F_NUMA_BALANCING MPOL_F_RELATIVE_NODES MPOL_F_STATIC_NODES")),
                    May,
                ),
            ]),
        ),
        May,
    ),
    ("sysctl", Of("config-linux.md#sysctl", &Map(&Text)), May),
    ("seccomp", Of("config-linux.md#seccomp", &SECCOMP), May),
    ("rootfsPropagation", Of("config-linux.md#rootfs-mount-propagation", &Text), May),
    ("maskedPaths", Of("config-linux.md#masked-paths", &TEXTS), May),
    ("readonlyPaths", Of("config-linux.md#readonly-paths", &TEXTS), May),
    ("mountLabel", Of("config-linux.md#mount-label", &Text), May),
    (
        "personality",
        Of(
            "config-linux.md#personality",
            &Record(&[("domain", Word("LINUX LINUX32"), Must("\"LINUX\"")), ("flags", TEXTS, May)]),
        ),
        May,
    ),
]);

/// The kinds of namespaces. The user namespace is last: it changes what the others mean.
pub(in crate::plan::document) const NAMESPACES: &str = "mount pid network ipc uts cgroup time user";

const RESOURCES: Shape = Record(&[
    (
        "devices",
        Of(
            "config-linux.md#allowed-device-list",
            &List(&Record(&[
                ("allow", Flag, Must("false")),
                ("type", Word("a b c p u"), May),
                ("major", I64, May),
                ("minor", I64, May),
                ("access", Text, May),
            ])),
        ),
        May,
    ),
    (
        "memory",
        Of(
            "config-linux.md#memory",
            &Record(&[
                ("limit", I64, May),
                ("reservation", I64, May),
                ("swap", I64, May),
                ("kernel", I64, May),
                ("kernelTCP", I64, May),
                ("swappiness", U64, May),
                ("disableOOMKiller", Flag, May),
                ("useHierarchy", Flag, May),
                ("checkBeforeUpdate", Flag, May),
            ]),
        ),
        May,
    ),
    (
        "cpu",
        Of(
            "config-linux.md#cpu",
            &Record(&[
                ("shares", U64, May),
                ("quota", I64, May),
                ("burst", U64, May),
                ("period", U64, May),
                ("realtimeRuntime", I64, May),
                ("realtimePeriod", U64, May),
                ("cpus", Text, May),
                ("mems", Text, May),
                ("idle", I64, May),
            ]),
        ),
        May,
    ),
    (
        "blockIO",
        Of(
            "config-linux.md#block-io",
            &Record(&[
                ("weight", U16, May),
                ("leafWeight", U16, May),
                (
                    "weightDevice",
                    List(&Record(&[
                        ("major", I64, Must("0")),
                        ("minor", I64, Must("0")),
                        ("weight", U16, May),
                        ("leafWeight", U16, May),
                    ])),
                    May,
                ),
                ("throttleReadBpsDevice", List(&THROTTLE), May),
                ("throttleWriteBpsDevice", List(&THROTTLE), May),
                ("throttleReadIOPSDevice", List(&THROTTLE), May),
                ("throttleWriteIOPSDevice", List(&THROTTLE), May),
            ]),
        ),
        May,
    ),
    (
        "hugepageLimits",
        Of(
            "config-linux.md#huge-page-limits",
            &List(&Record(&[("pageSize", Text, Must("\"\"")), ("limit", I64, Must("0"))])),
        ),
        May,
    ),
    (
        "network",
        Of(
            "config-linux.md#network",
            &Record(&[
                ("classID", U32, May),
                (
                    "priorities",
                    List(&Record(&[("name", Text, Must("\"\"")), ("priority", U32, Must("0"))])),
                    May,
                ),
            ]),
        ),
        May,
    ),
    ("pids", Of("config-linux.md#pids", &Record(&[("limit", I64, Must("-1"))])), May),
    (
        "rdma",
        Of("config-linux.md#rdma", &Map(&Record(&[("hcaHandles", U32, May), ("hcaObjects", U32, May)]))),
        May,
    ),
    ("unified", Of("config-linux.md#unified", &Map(&Text)), May),
]);

const THROTTLE: Shape =
    Record(&[("major", I64, Must("0")), ("minor", I64, Must("0")), ("rate", U64, Must("0"))]);

const SECCOMP: Shape = Record(&[
    ("defaultAction", ACTION, Must("\"SCMP_ACT_ERRNO\"")),
    ("defaultErrnoRet", U32, May),
    (
        "architectures",
        List(&Word(
            "SCMP_ARCH_NATIVE SCMP_ARCH_X86 SCMP_ARCH_X86_64 SCMP_ARCH_X32 SCMP_ARCH_ARM \
    SCMP_ARCH_AARCH64 SCMP_ARCH_MIPS SCMP_ARCH_MIPS64 SCMP_ARCH_MIPS64N32 \
    SCMP_ARCH_MIPSEL SCMP_ARCH_MIPSEL64 SCMP_ARCH_MIPSEL64N32 SCMP_ARCH_PPC \
    SCMP_ARCH_PPC64 SCMP_ARCH_PPC64LE SCMP_ARCH_S390 SCMP_ARCH_S390X SCMP_ARCH_PARISC \
    SCMP_ARCH_PARISC64 SCMP_ARCH_RISCV64 SCMP_ARCH_LOONGARCH64 SCMP_ARCH_M68K \
    SCMP_ARCH_SH SCMP_ARCH_SHEB",
        )),
        May,
    ),
    (
        "flags",
        List(&Word(
            "SECCOMP_FILTER_FLAG_TSYNC SECCOMP_FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_SPEC_ALLOW \
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        )),
        May,
    ),
    ("listenerPath", Text, May),
    ("listenerMetadata", Text, May),
    (
        "syscalls",
        List(&Record(&[
            ("names", TEXTS, Must("[\"read\"]")),
            ("action", ACTION, Must("\"SCMP_ACT_ERRNO\"")),
            ("errnoRet", U32, May),
            (
                "args",
                List(&Record(&[
                    ("index", U32, Must("0")),
                    ("value", U64, Must("0")),
                    ("valueTwo", U64, May),
                    (
                        "op",
                        Word(
                            "SCMP_CMP_NE SCMP_CMP_LT SCMP_CMP_LE SCMP_CMP_EQ SCMP_CMP_GE SCMP_CMP_GT \
    SCMP_CMP_MASKED_EQ",
                        ),
                        Must("\"SCMP_CMP_EQ\""),
                    ),
                ])),
                May,
            ),
        ])),
        May,
    ),
]);

const ACTION: Shape = Word(
    "SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD SCMP_ACT_TRAP \
    SCMP_ACT_ERRNO SCMP_ACT_TRACE SCMP_ACT_ALLOW SCMP_ACT_LOG SCMP_ACT_NOTIFY",
);
