//! `$E exec` and health checks.

use crate::Scenario;

// K-43 to K-46, K-57.
pub(crate) const SCENARIOS: &[Scenario] = &[
    ("exec", r#"detached; is "$($E exec one echo inside)" inside"#),
    (
        "exec: exit status",
        "detached; exits 7 $E exec one sh -c 'exit 7'; exits 143 $E exec one sh -c 'kill $$'",
    ),
    ("exec of a missing program", r#"detached; refuses $E exec one missing; has "$out" 'not found'"#),
    ("exec -i", r#"detached; is "$(head -c 100000 /dev/zero | $E exec -i one wc -c)" 100000"#),
    ("exec -t", r#"detached; has "$(pty $E exec -t one tty)" /dev/pts/"#),
    (
        "exec -it",
        r#"
        detached
        said=$({ echo 'echo $((40 + 2))'; echo exit 0; } | script -qec "$E exec -it one sh" /dev/null)
        has "$said" 42
        "#,
    ),
    (
        "exec -u, -w, -e",
        r#"
        detached
        is "$($E exec -u guest -w /tmp -e A=b one sh -c 'id -u; id -g; pwd; echo $A' | xargs)" '1000 1000 /tmp b'
        is "$($E exec -u 7:8 one sh -c 'id -u; id -g' | xargs)" '7 8'
        "#,
    ),
    (
        "exec -d",
        r#"
        detached
        $E exec -d one sh -c 'echo up >/tmp/up; exec sleep 999'
        comes $E exec one cat /tmp/up
        is "$($E top one | grep -c 'sleep 999')" 1
        "#,
    ),
    (
        "exec: environment, user, cwd",
        r#"
        detached -e A=b -w /tmp -u 7:8
        is "$($E exec one sh -c 'echo $A; pwd; id -u; id -g' | xargs)" 'b /tmp 7 8'
        "#,
    ),
    (
        "exec: rights of the container",
        r#"
        detached --cap-drop ALL --cap-add CHOWN --security-opt no-new-privileges --ulimit nofile=99 --ulimit nproc=999 --oom-score-adj 77
        same() { is "$($E exec one $1)" "$($E exec one $2)"; }
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
        is "$(may 21 $E exec one)" 0
        is "$(may 21 $E exec --privileged one)" 1
        "#,
    ),
    ("exec in a stopped one", r#"detached; $E kill one; refuses $E exec one true; has "$out" running"#),
    (
        "exec ends with the container",
        r#"
        detached
        $E exec one sleep 999 & pid=$!
        comes said 'sleep 999' $E top one
        $E kill one
        got=0; wait $pid || got=$?
        is $got 137
        "#,
    ),
    (
        "exec: twenty in parallel",
        r#"
        detached
        for n in $(seq 20); do $E exec one true & pids="${pids-} $!"; done
        for pid in $pids; do wait $pid; done
        "#,
    ),
];
