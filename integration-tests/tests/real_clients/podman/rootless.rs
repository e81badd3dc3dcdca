//! Podman of a user without rights. What takes cgroups of the user's own is in `systemd_clients`.

use super::CONFIGURATION;
use crate::engines::{self, exec, processes, security};
use crate::{Client, Scenario};

pub(crate) const CLIENT: Client = Client {
    name: "podman-rootless",
    start: &[
        CONFIGURATION,
        r#"
        echo somebody:x:54321:54321:somebody:/run/somebody:/bin/sh >>/etc/passwd
        echo somebody:x:54321: >>/etc/group
        echo somebody:100000:65536 | tee /etc/subuid >/etc/subgid
        mkdir -p /run/somebody/run
        chown -R 54321:54321 /run/somebody
        # A command, for the shells that a scenario starts.
        echo '#!/bin/sh
            exec setpriv --reuid somebody --regid somebody --init-groups env -i HOME=/run/somebody \
                XDG_RUNTIME_DIR=/run/somebody/run PATH="$PATH" "$@"' >/run/bin/somebody
        chmod +x /run/bin/somebody
        # Where they may be.
        mount --make-rshared /
        cd /run/somebody
        "#,
        engines::IMAGE,
    ],
    words: &[
        engines::WORDS,
        r#"
        export E='somebody podman'
        remove() { $E rm -f -t 0 "$@"; }
        in_pod() { $E run -d --pod pod --net none --name "$1" $I "${@:2}"; }
        "#,
    ],
    clean: r#"
        comes $E pod rm -fa -t 0
        comes $E rm -fa -t 0
        $E volume prune -f
        for name in ketch crun runc; do is '' "$(find /run/somebody/run/$name -mindepth 1 2>/dev/null)"; done
    "#,
    peers: &["crun"],
    scenarios: &[OWN, processes::SCENARIOS, exec::SCENARIOS, security::SCENARIOS],
};

const OWN: &[Scenario] = &[
    (
        "ids",
        r#"
        is "$(run $I awk '{ print $1, $2, $3 }' /proc/self/uid_map | xargs)" '0 54321 1 1 100000 65536'
        is "$(run $I cat /proc/self/setgroups)" allow
        "#,
    ),
    (
        "ids: the user keeps its own",
        r#"
        is "$(run --userns keep-id $I sh -c 'id -u; id -g' | xargs)" '54321 54321'
        detached --userns keep-id
        is "$($E exec one id -u)" 54321
        "#,
    ),
    (
        "ids: auto",
        r#"is "$(run --userns auto:size=500 $I awk '{ print $1, $3 }' /proc/self/uid_map)" '0 500'"#,
    ),
    ("ids: given", r#"is "$(run --uidmap 0:1:1000 $I cat /proc/self/uid_map | xargs)" '0 1 1000'"#),
    (
        "process of the user",
        r#"
        detached; is "$(stat -c %u /proc/$(of State.Pid))" 54321
        is "$($E exec -u 7:8 one sh -c 'id -u; id -g' | xargs)" '7 8'
        "#,
    ),
    (
        "bind of what is the user's",
        r#"
        somebody mkdir -p /run/somebody/shared
        run -v /run/somebody/shared:/mnt $I touch /mnt/x
        is "$(stat -c %u /run/somebody/shared/x)" 54321
        run -v /run/somebody/shared:/mnt -u 7 --group-add keep-groups $I stat /mnt/x
        "#,
    ),
    ("volume", r#"run -v data:/data $I touch /data/x; is "$(run -v data:/data $I ls /data)" x"#),
    (
        "tmpfs",
        r#"
        has "$(run --tmpfs /t:size=64k $I grep ' /t ' /proc/mounts)" size=64k
        run --read-only --tmpfs /t $I touch /t/x
        "#,
    ),
    (
        "privileged in its namespace",
        r#"is "$(may 21 run --privileged $I)" 1; run --privileged $I mount -t tmpfs none /tmp"#,
    ),
    ("no network", r#"is "$(run $I ls /sys/class/net)" lo"#),
    (
        "host network",
        r#"is "$($E run --rm --net host $I readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)""#,
    ),
    ("sysctl", r#"is "$(run --sysctl net.ipv4.ip_forward=1 $I cat /proc/sys/net/ipv4/ip_forward)" 1"#),
    ("processes of another", r#"detached; has "$(run --pid container:one $I ps)" 'sleep 1000'"#),
    (
        "pod",
        r#"
        $E pod create --name pod --network none --share ipc,uts
        in_pod one sleep 1000; in_pod two sleep 999
        is "$($E exec one readlink /proc/self/ns/ipc)" "$($E exec two readlink /proc/self/ns/ipc)"
        "#,
    ),
    (
        "build: RUN",
        r#"
        printf '%s\n' "FROM $I" 'RUN echo over >/made; chown 7 /made' >/run/somebody/Containerfile
        for isolation in rootless oci chroot; do
            flags="--isolation $isolation"
            [ $isolation = chroot ] || flags="$flags --network none"
            $E build $flags --no-cache -t built -f /run/somebody/Containerfile /run/somebody
            is "$(run built stat -c %u /made)" 7
        done
        $E rmi -f built
        "#,
    ),
];
