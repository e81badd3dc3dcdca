//! Containers from create to delete, what goes in and comes out, signals and endings.

use crate::Scenario;

// K-20, K-24, K-34, K-36 to K-41, K-58, K-59.
pub(super) const SCENARIOS: &[Scenario] = &[
    ("run", r#"is "$(run $I echo hello)" hello; is "$(docker ps -aq)" '' "#),
    ("exit status", "exits 42 run $I sh -c 'exit 42'"),
    ("missing program", r#"exits 127 run $I /missing; has "$out" 'no such file or directory'"#),
    ("missing program in PATH", r#"exits 127 run $I missing; has "$out" 'executable file not found'"#),
    ("program that may not be run", r#"exits 126 run $I /etc/passwd; has "$out" 'permission denied'"#),
    (
        "a directory on a file",
        r#"exits 125 run -v /run:/etc/passwd $I true; has "$out" 'mount a directory onto a file'"#,
    ),
    ("missing user", r#"exits 125 run -u nobody $I true; exits 0 run $I true"#),
    ("stdin", r#"is "$(echo over | run -i $I sh -c 'read word; echo $word')" over"#),
    ("stdin: megabytes", r#"is "$(head -c 3000000 /dev/zero | run -i $I wc -c)" 3000000"#),
    ("stdin at its end", r#"is "$(run $I wc -c)" 0; is "$(run -i $I wc -c </dev/null)" 0"#),
    ("stdout: megabytes", r#"is "$(run $I head -c 3000000 /dev/zero | wc -c)" 3000000"#),
    (
        "stdout, stderr",
        r#"is "$(run $I sh -c 'echo out; echo error >&2' 2>/run/error)" out; is "$(cat /run/error)" error"#,
    ),
    ("tty", r#"has "$(pty docker run --rm --net none -t $I tty)" /dev/pts/0"#),
    (
        "tty: input",
        r#"
        said=$({ echo 'echo $((40 + 2))'; echo exit 0; } |
            script -qec "docker run --rm --net none -it $I sh" /dev/null)
        has "$said" 42
        "#,
    ),
    (
        "tty: size",
        r#"
        has "$(pty "stty rows 40 cols 100; docker run --rm --net none -t $I \
            sh -c 'until stty size | grep 40.100; do sleep 0.01; done'")" '40 100'
        "#,
    ),
    ("detached", r#"detached; is "$(of State.Status)" running; docker rm -f one; is "$(docker ps -aq)" '' "#),
    (
        "create, start",
        r#"
        docker create --name one --net none $I echo hello
        is "$(of State.Status)" created
        is "$(docker start -a one)" hello
        is "$(docker start -a one)" hello
        "#,
    ),
    ("wait", r#"docker run -d --name one --net none $I sh -c 'exit 5'; is "$(docker wait one)" 5"#),
    (
        "logs",
        r#"
        docker run -d --name one --net none $I sh -c 'echo one; echo two >&2; sleep 0.1; echo three'
        is "$(docker logs -f one 2>/run/error | xargs)" 'one three'; is "$(cat /run/error)" two
        "#,
    ),
    (
        "attach",
        r#"
        docker run -d -i --name one --net none $I cat
        mkfifo /run/words
        docker attach one </run/words >/run/said &
        exec 8>/run/words
        echo over >&8
        comes grep over /run/said
        is "$(docker logs one)" over
        rm /run/words
        "#,
    ),
    (
        "start -ai",
        r#"
        docker create -i --name one --net none $I sh -c 'read word; echo $word; exit 6'
        got=0
        said=$(echo over | docker start -ai one) || got=$?
        is "$said $got" 'over 6'
        "#,
    ),
    (
        "stop",
        r#"trapping 'exit 3'; docker stop one; is "$(of State.ExitCode)" 3; docker start one; is "$(of State.Running)" true"#,
    ),
    ("stop: TERM is ignored", r#"trapping ''; docker stop -t 1 one; is "$(of State.ExitCode)" 137"#),
    ("stop signal", r#"trapping 'exit 3' --stop-signal USR1; docker stop one; is "$(of State.ExitCode)" 3"#),
    ("kill", r#"detached; docker kill one; is "$(docker wait one)" 137; is "$(of State.Status)" exited"#),
    ("kill -s", r#"trapping 'exit 4'; docker kill -s USR1 one; is "$(docker wait one)" 4"#),
    (
        "kill: no such signal",
        r#"detached; exits 1 docker kill -s 99 one; has "$out" 'signal 99'; is "$(of State.Running)" true"#,
    ),
    (
        "kill of a stopped one",
        r#"detached; docker kill one; exits 1 docker kill one; has "$out" 'is not running'"#,
    ),
    (
        "restart",
        r#"
        detached
        before=$(of State.Pid)
        docker restart -t 0 one
        is "$(of State.Running)" true
        [ "$(of State.Pid)" != "$before" ] || fail 'it is the same process'
        "#,
    ),
    (
        "restart policy: on failure",
        r#"
        docker run -d --name one --net none --restart on-failure:2 $I sh -c 'echo run; exit 1'
        becomes RestartCount 2; becomes State.Status exited
        is "$(docker logs one | xargs)" 'run run run'
        "#,
    ),
    (
        "restart policy: always",
        r"detached --restart always; kill -9 $(of State.Pid); becomes RestartCount 1; becomes State.Status running",
    ),
    (
        "pause, unpause",
        r#"
        docker run -d --name one --net none $I sh -c 'while :; do echo on; sleep 0.01; done'
        docker pause one; is "$(of State.Status)" paused
        lines=$(docker logs one | wc -l)
        exits 1 docker exec one true; has "$out" paused
        is "$(docker logs one | wc -l)" "$lines"
        docker unpause one; is "$(of State.Status)" running
        comes bash -c "[ \$(docker logs one | wc -l) -gt $lines ]"
        "#,
    ),
    (
        "kill of a paused one",
        r#"detached; docker pause one; docker kill one; is "$(docker wait one)" 137; is "$(of State.Paused)" false"#,
    ),
    (
        "stop of a paused one",
        r#"trapping 'exit 3'; docker pause one; docker stop -t 5 one; is "$(of State.Running)" false"#,
    ),
    ("rm -f of a paused one", r#"detached; docker pause one; docker rm -f one; is "$(docker ps -aq)" '' "#),
    (
        "top",
        r#"
        detached
        docker exec -d one sleep 999
        comes said 'sleep 999' docker top one
        is "$(docker top one -o pid,args | tail -n +2 | wc -l)" 2
        "#,
    ),
    (
        "processes that init leaves",
        r#"
        docker run --name one --net none $I sh -c 'sleep 999 & echo done'
        is "$(of State.Status)" exited
        exits 1 pgrep -f '^sleep 999'
        "#,
    ),
    (
        "--init",
        r#"
        has "$(run --init $I cat /proc/1/cmdline | tr '\0' ' ')" 'docker-init -- cat'
        exits 42 run --init $I sh -c 'exit 42'
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
        "twenty in parallel",
        r#"
        for n in $(seq 20); do run $I true & pids="${pids-} $!"; done
        for pid in $pids; do wait $pid; done
        "#,
    ),
];
