//! containerd's `ctr`, by containerd-shim-runc-v2.

use crate::{Client, Scenario};

pub(crate) const CLIENT: Client = Client {
    name: "ctr",
    start: &[r#"
        image_root
        containerd >/run/containerd.log 2>&1 &
        comes ctr version
        mkdir -p /run/layout/blobs/sha256
        cd /run/layout
        sum() { sha256sum <"$1" | cut -d ' ' -f 1; }
        blob() { echo "\"digest\":\"sha256:$(sum "$1")\",\"size\":$(stat -c %s "$1")"; cp "$1" "blobs/sha256/$(sum "$1")"; }
        tar -C /run/image -cf layer .
        echo '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sh"]},
            "rootfs":{"type":"layers","diff_ids":["sha256:'"$(sum layer)"'"]}}' >config
        kind=application/vnd.oci.image
        echo '{"schemaVersion":2,"mediaType":"'$kind'.manifest.v1+json",
            "config":{"mediaType":"'$kind'.config.v1+json",'"$(blob config)"'},
            "layers":[{"mediaType":"'$kind'.layer.v1.tar",'"$(blob layer)"'}]}' >manifest
        echo '{"schemaVersion":2,"manifests":[{"mediaType":"'$kind'.manifest.v1+json",'"$(blob manifest)"',
            "annotations":{"io.containerd.image.name":"localhost/test:latest"}}]}' >index.json
        echo '{"imageLayoutVersion":"1.0.0"}' >oci-layout
        tar -cf /run/image.tar oci-layout index.json blobs
        ctr images import /run/image.tar
    "#],
    words: &[r#"
        I=localhost/test:latest
        run() { ctr run --rm "$@"; }
        detached() { ctr run -d "$@" $I a sleep 1000; }
        task() { ctr tasks "$@"; }
    "#],
    clean: r#"
        for id in $(ctr tasks ls -q); do ctr tasks kill -a -s KILL $id; ctr tasks delete -f $id; done >/dev/null 2>&1 || true
        for id in $(ctr containers ls -q); do ctr containers delete $id; done
        comes empty /run/containerd/runc/default
        is '' "$(find /sys/fs/cgroup -type d -path '*/default/*')"
    "#,
    peers: &["runc"],
    scenarios: &[SCENARIOS],
};

const SCENARIOS: &[Scenario] = &[
    ("run", r#"is "$(run $I a echo hello)" hello; is "$(ctr containers ls -q)" '' "#),
    ("exit status", "exits 42 run $I a sh -c 'exit 42'"),
    ("missing program", r#"exits 1 run $I a /missing; has "$out" 'no such file or directory'"#),
    ("missing program in PATH", r#"exits 1 run $I a missing; has "$out" 'executable file not found'"#),
    ("program that may not be run", r#"exits 1 run $I a /etc/passwd; has "$out" 'permission denied'"#),
    ("stdin", r#"is "$(echo over | run $I a sh -c 'read word; echo $word')" over"#),
    ("tty", r#"has "$(pty ctr run --rm -t $I a tty)" /dev/pts/0"#),
    (
        "detached",
        "detached; has \"$(task ls)\" RUNNING; task kill -s KILL a; comes said STOPPED ctr tasks ls; task delete a || true",
    ),
    ("create, start", "ctr containers create $I a sleep 1000; task start -d a; has \"$(task ls)\" RUNNING"),
    ("exec", r#"detached; is "$(task exec --exec-id e a echo inside)" inside"#),
    ("exec: exit status", "detached; exits 7 task exec --exec-id e a sh -c 'exit 7'"),
    ("exec -t", r#"detached; has "$(pty ctr tasks exec -t --exec-id e a tty)" /dev/pts/0"#),
    (
        "exec --user, --cwd",
        r#"detached; is "$(task exec --user 1000:1000 --cwd /tmp --exec-id e a sh -c 'id -u; pwd' | xargs)" '1000 /tmp'"#,
    ),
    (
        "exec of a missing program",
        r#"detached; exits 1 task exec --exec-id e a missing; has "$out" 'executable file not found'"#,
    ),
    (
        "kill --exec-id",
        r"
        detached
        task exec -d --exec-id e a sleep 999
        task kill -s KILL --exec-id e a
        comes bash -c '! ctr tasks exec --exec-id f a pgrep -f 999'
        ",
    ),
    (
        "kill: TERM that is caught",
        r#"
        ctr run -d $I a sh -c 'trap exit\ 3 TERM; echo up >/tmp/up; while :; do sleep 0.1; done'
        comes ctr tasks exec --exec-id e$RANDOM a cat /tmp/up
        task kill -s TERM a
        comes said STOPPED ctr tasks ls
        exits 0 task delete a; has "$out" 'exit code 3'
        "#,
    ),
    ("kill: no such signal", r#"detached; exits 1 task kill -s 99 a; has "$out" 'invalid'"#),
    (
        "kill -a",
        "detached; task exec -d --exec-id e a sleep 999; task kill -a -s KILL a; comes said STOPPED ctr tasks ls",
    ),
    ("delete -f", "detached; task delete -f a || true; is \"$(task ls -q)\" ''"),
    (
        "pause, resume",
        r#"
        detached
        task pause a; has "$(task ls)" PAUSED
        task resume a; has "$(task ls)" RUNNING
        is "$(task exec --exec-id e a echo on)" on
        "#,
    ),
    (
        "kill of a paused task",
        "detached; task pause a; task kill -s KILL a; task resume a || true; comes said STOPPED ctr tasks ls",
    ),
    ("ps", r#"detached; task exec -d --exec-id e a sleep 999; is "$(task ps a | tail -n +2 | wc -l)" 2"#),
    ("metrics", r#"detached; has "$(task metrics a)" memory.usage"#),
    (
        "memory, cpu",
        r#"
        detached --memory-limit 67108864 --cpus 0.5
        is "$(cgroup_at default/a memory/memory.limit_in_bytes memory.max)" 67108864
        has "$(cgroup_at default/a cpu/cpu.cfs_quota_us cpu.max)" 50000
        "#,
    ),
    (
        "cgroup",
        "detached --cgroup /mine/deep; is \"$(cgroup_at mine/deep pids/cgroup.procs cgroup.procs | wc -l)\" 1",
    ),
    ("read-only", r#"exits 1 run --read-only $I a touch /x; has "$out" 'Read-only file system'"#),
    ("cwd, env", r#"is "$(run --cwd /tmp --env A=b $I a sh -c 'pwd; echo $A' | xargs)" '/tmp b'"#),
    (
        "privileged",
        r#"has "$(run --privileged $I a sh -c 'mount -t tmpfs none /tmp && grep CapEff /proc/self/status')" fff"#,
    ),
    ("capabilities", r#"has "$(run $I a grep CapEff /proc/self/status)" 00000000a80425fb"#),
    (
        "capabilities added and dropped",
        r#"
        has "$(run --cap-add CAP_SYS_ADMIN --cap-drop CAP_CHOWN $I a grep CapEff /proc/self/status)" a82425fa
        "#,
    ),
    ("no new privileges unset", r#"has "$(run --allow-new-privs $I a grep NoNewPrivs /proc/self/status)" 0"#),
    ("seccomp", r#"has "$(run --seccomp $I a grep Seccomp: /proc/self/status)" 2"#),
    (
        "bind",
        r#"
        mkdir -p /run/shared; echo shared >/run/shared/file
        is "$(run --mount type=bind,src=/run/shared,dst=/mnt,options=rbind:ro $I a cat /mnt/file)" shared
        exits 1 run --mount type=bind,src=/run/shared,dst=/mnt,options=rbind:ro $I a touch /mnt/x
        "#,
    ),
    (
        "tmpfs",
        r#"has "$(run --mount type=tmpfs,dst=/t,options=size=64k:nosuid $I a grep ' /t ' /proc/mounts)" size=64k"#,
    ),
    ("device", r#"has "$(run --device /dev/loop-control $I a ls -l /dev/loop-control)" 'c'"#),
    (
        "host network",
        r#"is "$(run --net-host $I a readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)""#,
    ),
    (
        "pid namespace of another",
        r#"
        detached
        pid=$(task ls | awk '$1 == "a" { print $2 }')
        has "$(run --with-ns pid:/proc/$pid/ns/pid $I b ps)" 'sleep 1000'
        "#,
    ),
    ("no pivot", r#"is "$(run --no-pivot $I a echo hello)" hello"#),
    (
        "the shim is killed",
        r"
        detached
        kill -9 $(pgrep containerd-shim)
        comes bash -c '! ctr tasks ls | grep RUNNING'
        ",
    ),
    ("systemd cgroups are refused", r#"exits 1 run --runc-systemd-cgroup $I a true; has "$out" systemd"#),
    (
        "twenty in parallel",
        r#"
        for n in $(seq 20); do run $I p$n true & pids="${pids-} $!"; done
        for pid in $pids; do wait $pid; done
        "#,
    ),
];
