//! `docker exec` and health checks.

use crate::Scenario;

// K-43 to K-46, K-57.
pub(super) const SCENARIOS: &[Scenario] = &[
    ("exec", r#"detached; is "$(docker exec one echo inside)" inside"#),
    (
        "exec: exit status",
        "detached; exits 7 docker exec one sh -c 'exit 7'; exits 143 docker exec one sh -c 'kill $$'",
    ),
    (
        "exec of a missing program",
        r#"detached; exits 126 docker exec one missing; has "$out" 'executable file not found'"#,
    ),
    ("exec -i", r#"detached; is "$(head -c 100000 /dev/zero | docker exec -i one wc -c)" 100000"#),
    ("exec -t", r#"detached; has "$(pty docker exec -t one tty)" /dev/pts/"#),
    (
        "exec -it",
        r#"
        detached
        said=$({ echo 'echo $((40 + 2))'; echo exit 0; } | script -qec "docker exec -it one sh" /dev/null)
        has "$said" 42
        "#,
    ),
    (
        "exec -u, -w, -e",
        r#"
        detached
        is "$(docker exec -u guest -w /tmp -e A=b one sh -c 'id -u; id -g; pwd; echo $A' | xargs)" '1000 1000 /tmp b'
        is "$(docker exec -u 7:8 one sh -c 'id -u; id -g' | xargs)" '7 8'
        "#,
    ),
    (
        "exec -d",
        r#"
        detached
        docker exec -d one sh -c 'echo up >/tmp/up; exec sleep 999'
        comes docker exec one cat /tmp/up
        is "$(docker top one | grep -c 'sleep 999')" 1
        "#,
    ),
    (
        "exec: environment, user, cwd",
        r#"
        detached -e A=b -w /tmp -u 7:8
        is "$(docker exec one sh -c 'echo $A; pwd; id -u; id -g' | xargs)" 'b /tmp 7 8'
        "#,
    ),
    (
        "exec: rights of the container",
        r#"
        detached --cap-drop ALL --cap-add CHOWN --security-opt no-new-privileges --ulimit nofile=99 --oom-score-adj 77
        same() { is "$(docker exec one $1)" "$(docker exec one $2)"; }
        for line in CapEff CapPrm CapBnd CapInh NoNewPrivs Seccomp; do
            same "grep ^$line: /proc/self/status" "grep ^$line: /proc/1/status"
        done
        same 'cat /proc/self/limits' 'cat /proc/1/limits'
        same 'cat /proc/self/cgroup' 'cat /proc/1/cgroup'
        same 'cat /proc/self/oom_score_adj' 'cat /proc/1/oom_score_adj'
        "#,
    ),
    (
        "exec --privileged",
        r#"
        detached
        is "$(may 21 docker exec one)" 0
        is "$(may 21 docker exec --privileged one)" 1
        "#,
    ),
    (
        "exec in a stopped one",
        r#"detached; docker kill one; exits 1 docker exec one true; has "$out" 'is not running'"#,
    ),
    (
        "exec ends with the container",
        r#"
        detached
        docker exec one sleep 999 & pid=$!
        comes said 'sleep 999' docker top one
        docker kill one
        got=0; wait $pid || got=$?
        is $got 137
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
];
