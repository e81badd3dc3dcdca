//! Limits, their changes while a container runs, what it uses, and devices.

use crate::Scenario;

// C-rows by way of config.json; K-65 for `$E update`.
pub(crate) const SCENARIOS: &[Scenario] = &[
    ("memory", r#"detached -m 64m; is "$(cgroup memory/memory.limit_in_bytes memory.max)" 67108864"#),
    (
        "memory: reservation",
        r#"
        detached -m 64m --memory-reservation 32m
        is "$(cgroup memory/memory.soft_limit_in_bytes memory.low)" 33554432
        "#,
    ),
    (
        "memory runs out",
        r#"
        exits 137 run -m 16m --memory-swap 16m $I tail /dev/zero
        "#,
    ),
    (
        "memory runs out below init",
        r#"
        detached -m 16m --memory-swap 16m
        exits 137 $E exec one tail /dev/zero
        is "$(of State.Running)" true
        "#,
    ),
    ("cpus", r#"detached --cpus 0.5; has "$(cgroup cpu/cpu.cfs_quota_us cpu.max)" 50000"#),
    ("cpu shares", r#"detached --cpu-shares 2048; has '2048 79' "$(cgroup cpu/cpu.shares cpu.weight)""#),
    (
        "cpu period, quota",
        r#"
        detached --cpu-period 50000 --cpu-quota 20000
        has "$(cgroup cpu/cpu.cfs_quota_us cpu.max)" 20000
        has "$(cgroup cpu/cpu.cfs_period_us cpu.max)" 50000
        "#,
    ),
    (
        "cpuset",
        r#"
        detached --cpuset-cpus 0 --cpuset-mems 0
        is "$(cgroup cpuset/cpuset.cpus cpuset.cpus)" 0
        is "$($E exec one nproc)" 1
        "#,
    ),
    (
        "pids",
        r#"
        detached --pids-limit 20
        is "$(cgroup pids/pids.max pids.max)" 20
        exits 2 $E exec one sh -c 'for n in $(seq 25); do sleep 9 & done'
        has "$out" 'fork'
        "#,
    ),
    (
        "rate of a block device",
        r#"
        detached --device-read-bps /dev/loop0:1mb --device-write-iops /dev/loop0:30
        has "$(cgroup blkio/blkio.throttle.read_bps_device io.max)" 1048576
        has "$(cgroup blkio/blkio.throttle.write_iops_device io.max)" 30
        "#,
    ),
    (
        "ulimits",
        r#"
        is "$(run --ulimit nofile=99:100 --ulimit nproc=999 $I sh -c 'ulimit -Sn; ulimit -Hn' | xargs)" '99 100'
        is "$(run --ulimit core=0 --ulimit nproc=999 --ulimit nofile=99 $I sh -c 'ulimit -c')" 0
        "#,
    ),
    ("oom score", r#"is "$(run --oom-score-adj 77 $I cat /proc/self/oom_score_adj)" 77"#),
    (
        "update: memory",
        r#"
        detached -m 64m
        $E update -m 32m --memory-swap 32m one
        is "$(cgroup memory/memory.limit_in_bytes memory.max)" 33554432
        "#,
    ),
    (
        "update: cpus",
        r#"
        detached -m 64m
        $E update --cpus 0.25 one
        has "$(cgroup cpu/cpu.cfs_quota_us cpu.max)" 25000
        is "$(cgroup memory/memory.limit_in_bytes memory.max)" 67108864
        "#,
    ),
    (
        "update: cpu shares, cpuset",
        r#"
        detached
        $E update --cpu-shares 2048 --cpuset-cpus 1 one
        has '2048 79' "$(cgroup cpu/cpu.shares cpu.weight)"
        is "$(cgroup cpuset/cpuset.cpus cpuset.cpus)" 1
        "#,
    ),
    (
        "stats",
        r#"
        detached -m 64m
        has "$($E stats --no-stream --format '{{.Name}} {{.MemUsage}}' one)" ' / 6'
        "#,
    ),
    (
        "parent cgroup",
        r#"
        detached --cgroup-parent /parent
        id=$(of Id)
        is "$(cat /sys/fs/cgroup/{pids/,}parent/*$id/cgroup.procs 2>/dev/null | wc -l)" 1
        remove one
        is "$(find /sys/fs/cgroup -path "*parent/*$id*")" ''
        parent_goes() { find /sys/fs/cgroup -depth -type d -path '*/parent*' -exec rmdir {} +; }
        comes parent_goes
        "#,
    ),
    (
        "devices",
        r#"
        exits 1 run --cap-add MKNOD $I sh -c 'mknod /tmp/x c 10 237; cat /tmp/x'
        has "$out" 'Operation not permitted'
        has "$(run --device /dev/loop-control:/dev/other $I ls -l /dev/other)" '10, 237'
        "#,
    ),
    (
        "devices: read only",
        r#"
        run --device /dev/loop-control:/dev/other:r $I sh -c ': </dev/other'
        exits 1 run --device /dev/loop-control:/dev/other:r $I sh -c ': >/dev/other'
        has "$out" 'Operation not permitted'
        "#,
    ),
    (
        "device rule",
        r#"
        exits 1 run --cap-add MKNOD $I sh -c 'mknod /tmp/x c 10 237; : </tmp/x'
        run --device-cgroup-rule 'c 10:237 rm' --cap-add MKNOD $I sh -c 'mknod /tmp/x c 10 237; : </tmp/x'
        "#,
    ),
    ("size of /dev/shm", r#"has "$(run --shm-size 1m $I grep ' /dev/shm ' /proc/mounts)" size=1024k"#),
    (
        "cgroups are read only",
        r#"exits 1 run $I sh -c 'mkdir /sys/fs/cgroup/x'; has "$out" 'Read-only file system'"#,
    ),
];
