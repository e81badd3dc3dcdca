//! Containers from create to delete, what goes in and comes out, signals and endings.

use crate::Scenario;

// K-20, K-24, K-34, K-36 to K-41, K-58, K-59.
pub(crate) const SCENARIOS: &[Scenario] = &[
    ("run", r#"is "$(run $I echo hello)" hello; is "$($E ps -aq)" '' "#),
    ("exit status", "exits 42 run $I sh -c 'exit 42'"),
    ("missing program", r#"exits 127 run $I /missing"#),
    ("missing program in PATH", r#"exits 127 run $I missing"#),
    ("program that may not be run", r#"exits 126 run $I /etc/passwd; has "$out" 'permission denied'"#),
    ("a directory on a file", r#"refuses run -v /run:/bin/busybox $I true; has "$out" 'ot a directory'"#),
    ("missing user", r#"refuses run -u nobody $I true; exits 0 run $I true"#),
    ("stdin", r#"is "$(echo over | run -i $I sh -c 'read word; echo $word')" over"#),
    ("stdin: megabytes", r#"is "$(head -c 3000000 /dev/zero | run -i $I wc -c)" 3000000"#),
    ("stdin at its end", r#"is "$(run $I wc -c)" 0; is "$(run -i $I wc -c </dev/null)" 0"#),
    ("stdout: megabytes", r#"is "$(run $I head -c 3000000 /dev/zero | wc -c)" 3000000"#),
    (
        "stdout, stderr",
        r#"is "$(run $I sh -c 'echo out; echo error >&2' 2>/run/error)" out; is "$(cat /run/error)" error"#,
    ),
    ("tty", r#"has "$(pty $E run --rm --net none -t $I tty)" /dev/pts/0"#),
    (
        "tty: input",
        r#"
        said=$({ echo 'echo $((40 + 2))'; echo exit 0; } |
            script -qec "$E run --rm --net none -it $I sh" /dev/null)
        has "$said" 42
        "#,
    ),
    (
        "tty: size",
        r#"
        has "$(pty "stty rows 40 cols 100; $E run --rm --net none -t $I \
            sh -c 'until stty size | grep 40.100; do sleep 0.01; done'")" '40 100'
        "#,
    ),
    ("detached", r#"detached; is "$(of State.Status)" running; remove one; is "$($E ps -aq)" '' "#),
    (
        "create, start",
        r#"
        $E create --name one --net none $I echo hello
        is "$(of State.Status)" created
        is "$($E start -a one)" hello
        is "$($E start -a one)" hello
        "#,
    ),
    ("wait", r#"$E run -d --name one --net none $I sh -c 'exit 5'; is "$($E wait one)" 5"#),
    (
        "logs",
        r#"
        $E run -d --name one --net none $I sh -c 'echo one; echo two >&2; sleep 0.1; echo three'
        is "$($E logs -f one 2>/run/error | xargs)" 'one three'; is "$(cat /run/error)" two
        "#,
    ),
    (
        "attach",
        r#"
        $E run -d -i --name one --net none $I cat
        mkfifo /run/words
        $E attach one </run/words >/run/said &
        exec 8>/run/words
        echo over >&8
        comes grep over /run/said
        is "$($E logs one)" over
        rm /run/words
        "#,
    ),
    (
        "start -ai",
        r#"
        $E create -i --name one --net none $I sh -c 'read word; echo $word; exit 6'
        got=0
        said=$(echo over | $E start -ai one) || got=$?
        is "$said $got" 'over 6'
        "#,
    ),
    (
        "stop",
        r#"trapping 'exit 3'; $E stop one; is "$(of State.ExitCode)" 3; $E start one; is "$(of State.Running)" true"#,
    ),
    ("stop: TERM is ignored", r#"trapping ''; $E stop -t 1 one; is "$(of State.ExitCode)" 137"#),
    ("stop signal", r#"trapping 'exit 3' --stop-signal USR1; $E stop one; is "$(of State.ExitCode)" 3"#),
    ("kill", r#"detached; $E kill one; is "$($E wait one)" 137; is "$(of State.Status)" exited"#),
    ("kill -s", r#"trapping 'exit 4'; $E kill -s USR1 one; is "$($E wait one)" 4"#),
    (
        "kill: no such signal",
        r#"detached; refuses $E kill -s 99 one; has "$out" signal; is "$(of State.Running)" true"#,
    ),
    ("kill of a stopped one", r#"detached; $E kill one; refuses $E kill one; has "$out" running"#),
    (
        "rename",
        r#"
        detached
        $E rename one other
        is "$($E exec other echo on)" on
        $E rename other one; is "$(of Name | tr -d /)" one
        "#,
    ),
    (
        "restart",
        r#"
        detached
        before=$(of State.Pid)
        $E restart -t 0 one
        is "$(of State.Running)" true
        [ "$(of State.Pid)" != "$before" ] || fail 'it is the same process'
        "#,
    ),
    (
        "restart policy: on failure",
        r#"
        $E run -d --name one --net none --restart on-failure:2 $I sh -c 'echo run; exit 1'
        becomes RestartCount 2; becomes State.Status exited
        is "$($E logs one | xargs)" 'run run run'
        "#,
    ),
    (
        "restart policy: always",
        r"detached --restart always; kill -9 $(of State.Pid); becomes RestartCount 1; becomes State.Status running",
    ),
    (
        "pause, unpause",
        r#"
        $E run -d --name one --net none $I sh -c 'while :; do echo on; sleep 0.01; done'
        $E pause one; is "$(of State.Status)" paused
        lines=$($E logs one | wc -l)
        refuses $E exec one true
        is "$($E logs one | wc -l)" "$lines"
        $E unpause one; is "$(of State.Status)" running
        comes bash -c "[ \$($E logs one | wc -l) -gt $lines ]"
        "#,
    ),
    (
        "kill of a paused one",
        r#"detached; $E pause one; $E kill one; is "$($E wait one)" 137; is "$(of State.Paused)" false"#,
    ),
    ("rm -f of a paused one", r#"detached; $E pause one; remove one; is "$($E ps -aq)" '' "#),
    (
        "top",
        r#"
        detached
        $E exec -d one sleep 999
        comes said 'sleep 999' $E top one
        is "$($E top one | tail -n +2 | wc -l)" 2
        "#,
    ),
    (
        "processes that init leaves",
        r#"
        $E run --name one --net none $I sh -c 'sleep 999 & echo done'
        is "$(of State.Status)" exited
        exits 1 pgrep -f '^sleep 999'
        "#,
    ),
    (
        "--init",
        r#"
        has "$(run --init $I cat /proc/1/cmdline | tr '\0' ' ')" 'init -- cat'
        exits 42 run --init $I sh -c 'exit 42'
        "#,
    ),
    (
        "twenty in parallel",
        r#"
        for n in $(seq 20); do run $I true & pids="${pids-} $!"; done
        for pid in $pids; do wait $pid; done
        "#,
    ),
];
