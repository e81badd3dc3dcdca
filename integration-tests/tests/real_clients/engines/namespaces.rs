//! Networks, host names, and namespaces of the host or of another container.

use crate::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("hostname", r#"is "$(run -h there $I hostname)" there"#),
    ("host names of the host", r#"is "$(run --uts host $I hostname)" "$(hostname)""#),
    (
        "sysctl",
        r#"is "$(run --sysctl net.ipv4.ip_forward=1 --sysctl kernel.shm_rmid_forced=1 $I cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced | xargs)" '1 1'"#,
    ),
    (
        "sysctl of the host is refused",
        r#"exits 125 run --sysctl kernel.panic=1 $I true; has "$out" 'kernel.panic'"#,
    ),
    ("no network", r#"is "$(run $I ls /sys/class/net)" lo"#),
    (
        "bridge",
        r#"
        echo over >/run/file
        $E run -d --name one -v /run/file:/site/file $I httpd -f -h /site
        address=$(of NetworkSettings.IPAddress)
        comes $E run --rm $I wget -qO- http://$address/file
        is "$($E run --rm $I wget -qO- http://$address/file)" over
        "#,
    ),
    (
        "networks come and go",
        r#"
        $E network create own
        $E run -d --name one $I sleep 1000
        $E network connect own one; is "$($E exec one ls /sys/class/net | xargs)" 'eth0 eth1 lo'
        $E network disconnect own one; is "$($E exec one ls /sys/class/net | xargs)" 'eth0 lo'
        remove one; $E network rm own
        "#,
    ),
    (
        "host network",
        r#"is "$($E run --rm --net host $I readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)""#,
    ),
    (
        "network of another",
        r#"
        $E run -d --name one $I sleep 1000
        is "$($E run --rm --net container:one $I ip address | grep inet)" "$($E exec one ip address | grep inet)"
        "#,
    ),
    (
        "processes of the host",
        r#"has "$(run --pid host $I ps)" timeout; exits 42 run --pid host $I sh -c 'exit 42'"#,
    ),
    (
        "processes of another",
        r#"
        detached
        has "$(run --pid container:one $I ps)" 'sleep 1000'
        $E run -d --name two --net none --pid container:one $I sleep 999
        has "$($E exec one ps)" 'sleep 999'
        $E kill two
        comes bash -c '! $E exec one pgrep -f "^sleep 999"'
        is "$(of State.Running)" true
        remove two
        "#,
    ),
    (
        "what init leaves on the host",
        r"
        $E run --rm --net none --pid host $I sh -c 'sleep 998 & exit 0'
        comes bash -c '! pgrep -f ^sleep.998'
        ",
    ),
    (
        "memory shared with another",
        r#"
        detached --ipc shareable
        $E exec one touch /dev/shm/x
        is "$(run --ipc container:one $I ls /dev/shm)" x
        is "$(run --ipc container:one $I readlink /proc/self/ns/ipc)" "$($E exec one readlink /proc/self/ns/ipc)"
        "#,
    ),
    (
        "memory shared with the host",
        r#"is "$(run --ipc host $I readlink /proc/self/ns/ipc)" "$(readlink /proc/self/ns/ipc)""#,
    ),
    ("no shared memory", r#"is "$(run --ipc none $I grep -c ' /dev/shm ' /proc/mounts || true)" 0"#),
    (
        "cgroup namespace",
        r#"
        is "$(run --cgroupns private $I sed 's/.*://' /proc/self/cgroup | sort -u)" /
        has "$(run --cgroupns host $I cat /proc/self/cgroup)" "$(cgroup_of_one)"
        "#,
    ),
    (
        "user namespace of the host",
        r#"is "$(run --userns host $I readlink /proc/self/ns/user)" "$(readlink /proc/self/ns/user)""#,
    ),
];
