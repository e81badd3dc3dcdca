//! config-linux.md#control-groups to config-linux.md#intelrdt: resources.

use super::reasons::{RDMA, RDT};
use super::{Requirement, must, should};

/// In the order of the text.
#[rustfmt::skip]
pub(super) const CLAUSES: &[Requirement] = &[
    must("config-linux.control-groups.unfit", 0x030be621590d63b4,
        "a cgroup that is found unfit is an error")
        .waived("no runtime has to look, and which cgroup is unfit is its choice"),

    must("config-linux.cgroups-path.path-form", 0xbcbaa049376326ab,
        "cgroupsPath is a path")
        .waived("any text is an absolute or a relative path"),
    must("config-linux.cgroups-path.absolute", 0x88f9c5e26e7d087e,
        "an absolute cgroupsPath counts from the cgroup mounts"),
    must("config-linux.cgroups-path.same-place", 0x543890ea9ecff4b1,
        "the same cgroupsPath is the same cgroup"),
    must("config-linux.cgroups-path.invalid", 0xa8b2f3e919370f8d,
        "a cgroupsPath that the runtime holds invalid is an error")
        .waived("which paths are invalid is for each runtime to say, and none has to be"),

    should("config-linux.cgroup-ownership.v1", 0x04f6ef4700e48d71,
        "the owner of a cgroup of version 1 is left as it is"),
    should("config-linux.cgroup-ownership.no-namespace", 0xa5b40926856a6326,
        "without a new cgroup namespace the owner is left as it is"),
    should("config-linux.cgroup-ownership.read-write", 0x8e54117e603560f2,
        "with a writable cgroup mount the user owns the cgroup"),
    should("config-linux.cgroup-ownership.no-mount", 0xa4a12a7846bb8342,
        "without such a mount the owner is left as it is"),
    should("config-linux.cgroup-ownership.delegated-files", 0x40b51b0e6af2b298,
        "only the files that the kernel delegates change owner"),
    must("config-linux.cgroup-ownership.missing-files", 0x9d144d40917baeda,
        "a delegated file that is missing is no error"),
    must("config-linux.cgroup-ownership.fallback", 0xa04991dff65b0d4e,
        "without the kernel's list, three files change owner")
        .waived("needs a kernel without /sys/kernel/cgroup/delegate, before Linux 4.15"),
    should("config-linux.cgroup-ownership.other-files", 0xbf70114ff7c6dd28,
        "no other file changes owner"),

    must("config-linux.allowed-device-list.order", 0x8b31c422b1884dca,
        "rules for devices apply in the listed order"),
    must("config-linux.allowed-device-list.allow", 0xa16f3c9bfdcb795b,
        "a rule allows or denies"),
    must("config-linux.allowed-device-list.type", 0x6444d57a80922703,
        "a rule is for one type of device"),
    must("config-linux.allowed-device-list.access", 0xe35c4f7b33211625,
        "a rule is for reading, writing or making"),

    must("config-linux.memory.limit", 0x0844963e9f0ae8fc,
        "memory.limit is the cgroup's limit"),
    must("config-linux.memory.reservation", 0x14f42a845b1092bf,
        "memory.reservation is the cgroup's soft limit"),
    must("config-linux.memory.swap", 0x585d0cbae7dc0ab6,
        "memory.swap limits memory and swap together"),
    should("config-linux.memory.kernel", 0xd5681c166056556d,
        "memory.kernel is not used")
        .waived("a recommendation to authors: kernels since Linux 5.16 have no such limit"),
    should("config-linux.memory.kernel-tcp", 0x9540cd0826959205,
        "memory.kernelTCP is not used")
        .waived("a recommendation to authors: cgroup version 2 has no such limit"),
    must("config-linux.memory.swappiness", 0x47faba97b7f66199,
        "memory.swappiness is the cgroup's"),
    must("config-linux.memory.oom-killer", 0xead6330a1b0915dc,
        "memory.disableOOMKiller turns the OOM killer off"),
    must("config-linux.memory.below-usage", 0xd86741e69c31e1c7,
        "with checkBeforeUpdate a limit below the usage is an error"),

    must("config-linux.cpu.shares", 0x86fbac8638ee77ff,
        "cpu.shares is the cgroup's weight"),
    must("config-linux.cpu.quota", 0xf048b7c79c22c647,
        "cpu.quota is the cgroup's"),
    must("config-linux.cpu.burst", 0x29ba98ce809c8426,
        "cpu.burst is the cgroup's"),
    must("config-linux.cpu.period", 0x0163145eead8d57a,
        "cpu.period is the cgroup's"),
    must("config-linux.cpu.cpus", 0x232d124eb108b2b3,
        "the container runs on cpu.cpus"),
    must("config-linux.cpu.mems", 0xa5c8cd8879d619e5,
        "the container has the memory of cpu.mems"),
    must("config-linux.cpu.idle", 0xe332d5deb16dbd49,
        "cpu.idle is the cgroup's"),

    must("config-linux.block-io.group-weight", 0x0dbb503fcd3b01eb,
        "blockIO.weight is the cgroup's"),
    must("config-linux.block-io.device", 0xf8cfb689c5f84a72,
        "a block device is told by its numbers"),
    must("config-linux.block-io.weight", 0xc0e3775f4f5d6779,
        "an entry for a device has a weight"),
    must("config-linux.block-io.bytes", 0x55aa65e6a79e73bf,
        "bytes a second are limited for a device"),
    must("config-linux.block-io.operations", 0x02214916ea3dfb39,
        "operations a second are limited for a device"),

    must("config-linux.huge-page-limits.size", 0x838a38b69cfa16a4,
        "a limit is for pages of one size"),
    must("config-linux.huge-page-limits.limit", 0xdd19bdc8b9a41a2e,
        "huge pages are limited"),

    must("config-linux.network.class", 0x8afeb7b9e4eb3650,
        "network.classID is the cgroup's"),
    must("config-linux.network.name", 0x952c4856855be547,
        "a priority is for one interface"),
    must("config-linux.network.priority", 0x665ffb0f5e17273b,
        "an interface has the priority"),

    must("config-linux.pids.limit", 0x6fb9036328cebc5a,
        "pids.limit is the cgroup's"),
    should("config-linux.pids.zero", 0xabf6a7952e572f15,
        "a limit of zero is a limit"),

    must("config-linux.rdma.handles", 0xe0e1246802e3480f,
        "RDMA handles are limited")
        .waived(RDMA),
    must("config-linux.rdma.limits", 0x6154a2d23014f769,
        "an entry for an RDMA device has a limit")
        .waived(RDMA),

    must("config-linux.unified.file", 0x08044b13cfb6cc73,
        "each key of unified is a file of the cgroup"),
    must("config-linux.unified.controllers", 0xf9ff8509cb7c146d,
        "the controllers of unified are enabled"),
    must("config-linux.unified.unknown", 0x088452b155e664f3,
        "unknown files of unified are written"),
    must("config-linux.unified.absent", 0x9858194f12442e47,
        "a controller that is not there is an error"),
    must("config-linux.unified.conversion", 0x2cd1f02f8d24d375,
        "settings of version 1 that version 2 has not are an error"),

    must("config-linux.intelrdt.tasks", 0xb8c799daef745fc0,
        "the program is in the class of closID")
        .waived(RDT),
    must("config-linux.intelrdt.no-resctrl", 0x5342ca780610cd6a,
        "intelRdt without a mounted resctrl is an error"),
    must("config-linux.intelrdt.unset", 0x5ff22f281817c1fc,
        "without intelRdt no resctrl is touched")
        .waived(RDT),
    must("config-linux.intelrdt.root-class", 0x42e9ec0c87dfda0a,
        "closID / is the default class")
        .waived(RDT),
    should("config-linux.intelrdt.l3-form", 0x219de5a5d5dc99a9,
        "l3CacheSchema begins with L3: and is one line")
        .waived(RDT),
    must("config-linux.intelrdt.mb-form", 0x99054966fc47f61f,
        "memBwSchema begins with MB: and is one line")
        .waived(RDT),
    must("config-linux.intelrdt.line-form", 0x7a1aa204f9d9d1f6,
        "an entry of schemata is one line")
        .waived(RDT),
    must("config-linux.intelrdt.rules", 0xfcebf47289630e56,
        "the rules on parameters apply")
        .waived("introduces a list: each entry is a clause of its own"),
    must("config-linux.intelrdt.both", 0x1b1829ed04b3f497,
        "l3CacheSchema and memBwSchema are written")
        .waived(RDT),
    must("config-linux.intelrdt.both-order", 0xc5536838e7d32b9d,
        "l3CacheSchema is written first")
        .waived(RDT),
    must("config-linux.intelrdt.either", 0x195ceb3156be0dcd,
        "one of l3CacheSchema and memBwSchema is written")
        .waived(RDT),
    must("config-linux.intelrdt.schemata", 0xce9e077ff9ceb1b2,
        "schemata is written, last")
        .waived(RDT),
    must("config-linux.intelrdt.no-schemata", 0x74efdcc7eb7a28c0,
        "without schemata nothing is written")
        .waived(RDT),
    must("config-linux.intelrdt.own-class", 0xd18a8fac90ebac82,
        "without closID the class has the container's id")
        .waived(RDT),
    must("config-linux.intelrdt.class-made", 0x528eeadf11d39077,
        "a class that is missing is made")
        .waived(RDT),
    must("config-linux.intelrdt.class-differs", 0xfccfe31ca111a69f,
        "a class whose schemata differ is an error")
        .waived(RDT),
    must("config-linux.intelrdt.class-looked-up", 0xa2c5c69174032511,
        "without schemata the class has to be there")
        .waived(RDT),
    must("config-linux.intelrdt.class-used", 0xb2e90783669926ec,
        "without schemata the class is used as it is, and is an error if missing")
        .waived(RDT),
    must("config-linux.intelrdt.own-removed", 0x09781bf9f5c174aa,
        "delete removes the class that the runtime made")
        .waived(RDT),
    must("config-linux.intelrdt.other-kept", 0xea3de7bd3aa26a6b,
        "delete keeps every other class")
        .waived(RDT),
    must("config-linux.intelrdt.monitoring", 0x055831647fa106ed,
        "enableMonitoring makes a monitoring group")
        .waived(RDT),
    must("config-linux.intelrdt.monitoring-id", 0x9715a7c2f099acba,
        "the monitoring group has the container's id")
        .waived(RDT),
    must("config-linux.intelrdt.monitoring-removed", 0xbe50b57ea688703d,
        "delete removes the monitoring group")
        .waived(RDT),
    must("config-linux.intelrdt.monitoring-fails", 0xe5312b5d847ab0de,
        "a monitoring group that cannot be made is an error")
        .waived(RDT),
];
