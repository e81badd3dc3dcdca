//! What Podman has not, or has otherwise.

use crate::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    (
        "stop of a paused one",
        r#"trapping 'exit 3'; docker pause one; docker stop -t 5 one; is "$(of State.Running)" false"#,
    ),
    (
        "health check",
        r#"
        detached --health-cmd 'test -e /tmp/good' --health-interval 0.1s --health-retries 1
        becomes State.Health.Status unhealthy
        docker exec one touch /tmp/good
        becomes State.Health.Status healthy
        "#,
    ),
    (
        "health check: a timeout",
        r#"
        detached --health-cmd 'sleep 999' --health-interval 0.1s --health-timeout 0.2s --health-retries 1
        becomes State.Health.Status unhealthy
        has "$(docker inspect one)" 'exceeded timeout'
        "#,
    ),
    (
        "update: pids",
        r#"
        detached
        docker update --pids-limit 33 one; is "$(cgroup pids/pids.max pids.max)" 33
        docker update --pids-limit -1 one; is "$(cgroup pids/pids.max pids.max)" max
        "#,
    ),
    (
        "update: devices stay",
        r#"detached; docker update --pids-limit 33 one; docker exec one sh -c 'echo >/dev/null; head -c 1 /dev/zero'"#,
    ),
    (
        "update of a stopped one",
        r#"
        detached
        docker kill one; docker update --pids-limit 33 one; docker start one
        is "$(cgroup pids/pids.max pids.max)" 33
        "#,
    ),
    (
        "bind of a missing directory",
        r#"run -v /run/made/deep:/mnt/deep $I touch /mnt/deep/x; is "$(ls /run/made/deep)" x; rm -r /run/made"#,
    ),
    ("missing working directory", r#"is "$(run -w /new/place $I pwd)" /new/place"#),
    (
        "memory runs out, and is told of",
        r#"
        exits 137 docker run --name one --net none -m 16m --memory-swap 16m $I tail /dev/zero
        is "$(of State.OOMKilled)" true
        "#,
    ),
    (
        "seccomp: what is not allowed",
        r#"exits 1 run $I unshare -U true; has "$out" 'Operation not permitted'"#,
    ),
    ("tmpfs: empty", r#"is "$(run --tmpfs /etc:size=1m $I ls /etc | grep -c passwd || true)" 0"#),
    ("capabilities of Docker", r#"has "$(run $I grep CapEff: /proc/self/status)" 00000000a80425fb"#),
    (
        "missing program is named",
        r#"
        exits 127 run $I missing; has "$out" 'executable file not found'
        exits 127 run $I /missing; has "$out" 'no such file or directory'
        exits 126 run $I /etc/passwd; has "$out" 'permission denied'
        "#,
    ),
    ("domain name", r#"is "$(run --domainname net.example $I cat /proc/sys/kernel/domainname)" net.example"#),
    (
        "network with names",
        r#"
        docker network create own
        docker run -d --name one --net own $I sleep 1000
        docker run --rm --net own $I ping -c 1 one
        remove one; docker network rm own
        "#,
    ),
    (
        "events",
        r#"
        exits 7 docker run --name one --net none $I sh -c 'exit 7'
        docker rm one
        seen=$(docker events --since 0 --until "$(date +%s.%N)" --filter container=one --format '{{.Action}}' | xargs)
        has "$seen" 'create attach start die destroy'
        "#,
    ),
    (
        "update: policy of restart",
        r"
        detached
        docker update --restart always one
        kill -9 $(of State.Pid)
        becomes RestartCount 1; becomes State.Status running
        ",
    ),
    ("top with arguments of ps", r#"detached; is "$(docker top one -o pid,args | tail -n +2 | wc -l)" 1"#),
    // K-72: what cannot be done is said, and leaves the container as it was.
    (
        "checkpoint that cannot be made",
        r#"
        detached
        exits 1 docker checkpoint create one saved
        is "$(of State.Status)" running
        is "$(docker exec one echo on)" on
        "#,
    ),
];
