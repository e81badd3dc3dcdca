//! What a daemon runs in a user namespace unless it is told otherwise.

use crate::Scenario;

// N-rows: ids are mapped, and what is the host's is not the container's to change.
pub(super) const SCENARIOS: &[Scenario] = &[
    (
        "run",
        r#"is "$(run $I id -u)" 0; is "$(run $I awk '{ print $1, $2, $3 }' /proc/self/uid_map)" '0 100000 65536'"#,
    ),
    ("exit status", "exits 42 run $I sh -c 'exit 42'"),
    ("missing program", r#"exits 127 run $I missing; has "$out" 'executable file not found'"#),
    ("process of the mapped user", r#"detached; is "$(stat -c %u /proc/$(of State.Pid))" 100000"#),
    ("tty", r#"has "$(pty docker run --rm --net none -t $I stat -c %u:%g /dev/pts/0)" 0:5"#),
    (
        "exec",
        r#"
        detached
        is "$(docker exec one id -u)" 0
        is "$(docker exec -u 7:8 one sh -c 'id -u; id -g' | xargs)" '7 8'
        is "$(docker exec one readlink /proc/self/ns/user)" "$(docker exec one readlink /proc/1/ns/user)"
        has "$(pty docker exec -t one tty)" /dev/pts/
        "#,
    ),
    (
        "exec: twenty in parallel",
        r#"
        detached
        for n in $(seq 20); do docker exec one true & pids="${pids-} $!"; done
        for pid in $pids; do wait $pid; done
        "#,
    ),
    ("stop", r#"trapping 'exit 3'; docker stop one; is "$(of State.ExitCode)" 3"#),
    (
        "pause, unpause, kill",
        r#"
        detached
        docker pause one; docker unpause one; is "$(docker exec one echo on)" on
        docker kill one; is "$(docker wait one)" 137
        "#,
    ),
    (
        "bind",
        r#"
        mkdir -p /run/shared; chmod 777 /run/shared
        run -v /run/shared:/mnt $I touch /mnt/x
        is "$(stat -c %u /run/shared/x)" 100000
        exits 1 run -v /run/shared:/mnt:ro $I touch /mnt/y
        "#,
    ),
    ("volume", r#"run -v data:/data $I touch /data/x; is "$(run -v data:/data $I stat -c %u /data/x)" 0"#),
    ("tmpfs", r#"run --read-only --tmpfs /tmp $I sh -c 'touch /tmp/x /dev/shm/x; chown 7 /tmp/x'"#),
    (
        "limits, update",
        r#"
        detached -m 64m --pids-limit 9
        docker update --pids-limit 33 one
        is "$(cgroup pids/pids.max pids.max)" 33
        is "$(cgroup memory/memory.limit_in_bytes memory.max)" 67108864
        "#,
    ),
    ("devices", r#"run $I sh -c 'echo >/dev/null; head -c 1 /dev/zero | wc -c; test -c /dev/urandom'"#),
    ("sysctl", r#"is "$(run --sysctl net.ipv4.ip_forward=1 $I cat /proc/sys/net/ipv4/ip_forward)" 1"#),
    ("bridge", r#"has "$(docker run --rm $I ls /sys/class/net | xargs)" 'eth0 lo'"#),
    (
        "network, processes of another",
        r#"
        docker run -d --name one $I sleep 1000
        is "$(docker run --rm --net container:one $I ip address | grep inet)" "$(docker exec one ip address | grep inet)"
        has "$(run --pid container:one $I ps)" 'sleep 1000'
        "#,
    ),
    (
        "user namespace of the host",
        r#"is "$(run --userns host $I readlink /proc/self/ns/user)" "$(readlink /proc/self/ns/user)""#,
    ),
    ("privileged is refused", r#"exits 125 run --privileged $I true; has "$out" 'user namespaces'"#),
    (
        "build: RUN",
        r#"
        old 'RUN chown 7 /tmp' 'RUN stat -c %u /tmp >/made'; is "$(run built cat /made)" 7
        kit 'RUN chown 8 /tmp' 'RUN stat -c %u /tmp >/made'; is "$(run built cat /made)" 8
        "#,
    ),
];
