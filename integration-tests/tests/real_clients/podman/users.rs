//! User namespaces, and mounts that podman alone makes.

use crate::Scenario;

// With userns=container: podman itself is at times too early at its files, with every runtime.
pub(super) const SCENARIOS: &[Scenario] = &[
    (
        "ids: auto",
        r#"
        mapped() { run "$@" $I awk '{ print $1, $3 }' /proc/self/uid_map; }
        is "$(mapped --userns auto)" '0 1024'
        is "$(mapped --userns auto:size=500)" '0 500'
        "#,
    ),
    (
        "ids: auto, two at a time",
        r#"
        detached --userns auto
        mine=$(podman exec one awk '{ print $2 }' /proc/self/uid_map)
        other=$(run --userns auto $I awk '{ print $2 }' /proc/self/uid_map)
        [ "$mine" != "$other" ] || fail "both have $mine"
        "#,
    ),
    (
        "ids: given",
        r#"
        is "$(run --uidmap 0:200000:1000 --gidmap 0:300000:1000 $I sh -c 'cat /proc/self/uid_map /proc/self/gid_map' | xargs)" \
            '0 200000 1000 0 300000 1000'
        "#,
    ),
    (
        "ids: exec",
        r#"
        detached --uidmap 0:200000:1000
        is "$(podman exec one id -u)" 0
        is "$(podman exec -u 7:8 one sh -c 'id -u; id -g' | xargs)" '7 8'
        has "$(pty podman exec -t one tty)" /dev/pts/
        is "$(stat -c %u /proc/$(of State.Pid))" 200000
        "#,
    ),
    (
        "ids: tty",
        r#"has "$(pty podman run --rm --net none --uidmap 0:200000:1000 -t $I stat -c %u:%g /dev/pts/0)" 0:5"#,
    ),
    ("ids: network", r#"is "$(podman run --rm --userns auto $I ls /sys/class/net | xargs)" 'eth0 lo'"#),
    (
        "ids: sysctl",
        r#"is "$(run --userns auto --sysctl net.ipv4.ip_forward=1 $I cat /proc/sys/net/ipv4/ip_forward)" 1"#,
    ),
    (
        "ids: privileged",
        r#"is "$(may 21 run --userns auto --privileged $I)" 1; run --userns auto --privileged $I mount -t tmpfs none /tmp"#,
    ),
    (
        "ids: read-only",
        r#"refuses run --userns auto --read-only $I touch /x; run --userns auto --read-only --tmpfs /t $I touch /t/x"#,
    ),
    ("ids: devices", r#"run --userns auto $I sh -c 'echo >/dev/null; head -c 1 /dev/zero | wc -c'"#),
    (
        "ids: limits",
        r#"detached --userns auto -m 64m; is "$(cgroup memory/memory.limit_in_bytes memory.max)" 67108864"#,
    ),
    (
        "ids: stop, pause, kill",
        r#"
        trapping 'exit 3' --userns auto
        podman pause one; podman unpause one; podman stop one; is "$(of State.ExitCode)" 3
        "#,
    ),
    (
        "volume whose owner changes",
        r#"
        mkdir -p /run/owned; chown 0:0 /run/owned
        run --uidmap 0:200000:1000 -v /run/owned:/mnt:U $I touch /mnt/x
        is "$(stat -c %u /run/owned)" 200000
        rm -r /run/owned
        "#,
    ),
    (
        "volume with mapped ids",
        r#"
        mkdir -p /var/lib/owned; chown 0:0 /var/lib/owned
        run --uidmap 0:200000:1000 --gidmap 0:200000:1000 -v /var/lib/owned:/mnt:idmap $I touch /mnt/x
        is "$(stat -c %u /var/lib/owned/x)" 0
        rm -r /var/lib/owned
        "#,
    ),
    (
        "volume that is overlaid",
        r#"
        mkdir -p /var/lib/below; echo over >/var/lib/below/file
        is "$(run -v /var/lib/below:/mnt:O $I sh -c 'cat /mnt/file; rm /mnt/file')" over
        is "$(cat /var/lib/below/file)" over
        "#,
    ),
    (
        "image as a mount",
        r#"has "$(run --mount type=image,source=$I,destination=/mnt $I cat /mnt/etc/passwd)" root"#,
    ),
    (
        "devpts as a mount",
        r#"has "$(run --mount type=devpts,destination=/pts $I grep ' /pts ' /proc/mounts)" devpts"#,
    ),
    (
        "tmpfs with what is below it",
        r#"
        has "$(run --tmpfs /etc $I cat /etc/passwd)" root
        has "$(run --mount type=tmpfs,destination=/etc,tmpcopyup $I cat /etc/passwd)" root
        "#,
    ),
    (
        "options of a bind",
        r#"
        mkdir -p /run/shared
        has "$(run -v /run/shared:/mnt:nosuid,nodev,noexec $I grep ' /mnt ' /proc/mounts)" nosuid,nodev,noexec
        has "$(run -v /run/shared:/mnt:rw,exec,dev,suid $I grep ' /mnt ' /proc/mounts)" rw
        "#,
    ),
];
