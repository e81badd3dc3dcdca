//! What Docker has not, or has otherwise.

use crate::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    (
        "missing program is named",
        r#"
        exits 127 run $I missing; has "$out" 'attempted to invoke a command that was not found'
        exits 127 run $I /missing; has "$out" 'attempted to invoke a command that was not found'
        exits 126 run $I /etc/passwd; has "$out" 'OCI permission denied'
        "#,
    ),
    (
        "--rm of a detached one",
        r"detached --rm; podman kill one; comes bash -c '! podman container exists one'",
    ),
    (
        "init, start",
        r#"
        podman create --name one --net none $I sh -c 'exit 6'
        podman init one; is "$(of State.Status)" initialized
        podman start one; is "$(podman wait one)" 6
        "#,
    ),
    (
        "rm of one that is made only",
        r#"podman create --name one --net none $I true; podman init one; remove one"#,
    ),
    (
        "health check",
        r#"
        detached --health-cmd 'test -e /tmp/good' --health-interval disable --health-retries 1
        refuses podman healthcheck run one; has "$out" unhealthy
        podman exec one touch /tmp/good
        podman healthcheck run one
        "#,
    ),
    // K-72: what cannot be done is said, and leaves the container as it was.
    (
        "checkpoint that cannot be made",
        r#"
        detached
        exits 125 podman container checkpoint one
        is "$(of State.Status)" running
        is "$(podman exec one echo on)" on
        "#,
    ),
    (
        "events",
        r#"
        exits 7 podman run --name one --net none $I sh -c 'exit 7'
        podman rm one
        seen=$(podman events --stream=false --since 1m --filter container=one --format '{{.Status}}' | xargs)
        for word in create init start died remove; do has "$seen" $word; done
        "#,
    ),
    (
        "timeout",
        r#"exits 255 podman run --name one --net none --timeout 1 $I sleep 1000; is "$(of State.Running)" false"#,
    ),
    (
        "files of the pids",
        r#"
        detached --pidfile /run/pid --conmon-pidfile /run/conmon
        is "$(cat /run/pid)" "$(of State.Pid)"
        has "$(cat /proc/$(cat /run/conmon)/cmdline | tr '\0' ' ')" conmon
        rm /run/pid /run/conmon
        "#,
    ),
    (
        "top with descriptors",
        r#"detached -u 7:8; is "$(podman top one pid user args | tail -n +2 | xargs)" '1 7 sleep 1000'"#,
    ),
    (
        "copy of a container",
        r#"detached --cpus 0.5; podman container clone --run one two; is "$(podman exec two echo on)" on"#,
    ),
    // K-27, K-53.
    (
        "files that are kept open",
        r#"
        echo over >/run/file
        is "$(run --preserve-fds 2 $I sh -c 'cat <&3; cat <&4' 3</run/file 4</run/file | xargs)" 'over over'
        detached
        is "$(podman exec --preserve-fds 1 one sh -c 'cat <&3' 3</run/file)" over
        "#,
    ),
    (
        "socket activation",
        r#"
        echo over >/run/file
        said=$(bash -c 'export LISTEN_PID=$$ LISTEN_FDS=1
            exec podman run --rm --net none $0 sh -c "echo \$LISTEN_PID \$LISTEN_FDS; cat <&3"' $I 3</run/file)
        is "$(echo $said)" '1 1 over'
        "#,
    ),
    // K-07.
    (
        "no cgroup",
        r#"
        detached --cgroups disabled
        is "$(podman exec one echo on)" on
        is "$(cat /proc/$(of State.Pid)/cgroup)" "$(cat /proc/self/cgroup)"
        podman kill one; is "$(podman wait one)" 137
        "#,
    ),
    ("cgroup for conmon too", r#"detached --cgroups no-conmon; is "$(podman exec one echo on)" on"#),
    ("umask", r#"is "$(run --umask 0077 $I sh -c umask)" 0077"#),
    ("time zone", r#"has "$(run --env TZ=UTC-3 $I date +%z)" 0300"#),
    ("directory as an image", r#"is "$(run --rootfs /run/image /bin/echo hello)" hello"#),
    ("directory as an image, overlaid", r#"run --rootfs /run/image:O /bin/touch /x; [ ! -e /run/image/x ]"#),
    (
        "user that is added",
        r#"
        has "$(run -u 1234 $I cat /etc/passwd)" ':1234:'
        exits 1 run -u 1234 --passwd=false $I grep :1234: /etc/passwd
        "#,
    ),
    (
        "groups of the caller",
        r#"run --group-add keep-groups $I id -G || has "$(run --group-add 9 $I id -G)" 9"#,
    ),
    (
        "capabilities: all",
        r#"is "$(may 21 run --cap-add ALL $I)" 1; is "$(may 21 run --cap-add all --cap-drop SYS_ADMIN $I)" 0"#,
    ),
    (
        "masks, more and none",
        r#"
        is "$(run --security-opt mask=/etc/passwd $I cat /etc/passwd)" ''
        has "$(run --security-opt unmask=ALL $I ls /sys/firmware)" acpi
        "#,
    ),
    (
        "hidepid",
        r#"has "$(run --security-opt proc-opts=hidepid=2 $I grep ' /proc proc ' /proc/mounts)" hidepid="#,
    ),
    (
        "read-only with temporary places",
        r#"run --read-only --read-only-tmpfs $I touch /tmp/x /run/x /var/tmp/x"#,
    ),
    (
        "systemd as init",
        r#"
        detached --systemd=always
        for place in /run /run/lock /tmp; do podman exec one grep " $place tmpfs " /proc/mounts; done
        is "$(of Config.StopSignal)" 37
        podman stop -t 1 one
        exits 1 run --systemd=false $I grep ' /run/lock tmpfs ' /proc/mounts
        "#,
    ),
    (
        "update: many at once",
        r#"
        detached -m 64m --pids-limit 33
        podman update --cpus 0.25 -m 32m --memory-swap 32m --cpuset-cpus 1 one
        has "$(cgroup cpu/cpu.cfs_quota_us cpu.max)" 25000
        is "$(cgroup memory/memory.limit_in_bytes memory.max)" 33554432
        is "$(cgroup cpuset/cpuset.cpus cpuset.cpus)" 1
        is "$(cgroup pids/pids.max pids.max)" 33
        podman exec one sh -c 'echo >/dev/null'
        "#,
    ),
    (
        "hooks",
        r#"
        mkdir -p /run/hooks
        printf '#!/bin/sh\ncat >/run/hooks/state\n' >/run/hooks/hook; chmod +x /run/hooks/hook
        echo '{"version":"1.0.0","hook":{"path":"/run/hooks/hook"},"when":{"always":true},"stages":["createRuntime"]}' \
            >/run/hooks/one.json
        podman --hooks-dir /run/hooks run --name one --net none $I true
        has "$(cat /run/hooks/state)" "$(of Id)"
        "#,
    ),
    (
        "a hook that fails",
        r#"
        mkdir -p /run/failing
        echo '{"version":"1.0.0","hook":{"path":"/bin/false"},"when":{"always":true},"stages":["createRuntime"]}' \
            >/run/failing/one.json
        refuses podman --hooks-dir /run/failing run --rm --net none $I true
        has "$out" hook
        "#,
    ),
    ("host names of another", r#"detached -h there; is "$(run --uts container:one $I hostname)" there"#),
    (
        "cgroup namespace of another",
        r#"
        detached --cgroupns private
        is "$(run --cgroupns container:one $I readlink /proc/self/ns/cgroup)" "$(podman exec one readlink /proc/self/ns/cgroup)"
        "#,
    ),
    (
        "ports",
        r#"
        echo over >/run/file
        podman run -d --name one -p 8080:80 -v /run/file:/site/file $I httpd -f -h /site
        comes busybox wget -qO- http://$(of NetworkSettings.IPAddress)/file
        is "$(podman port one)" '80/tcp -> 0.0.0.0:8080'
        "#,
    ),
    (
        "networks by name",
        r#"
        podman network create own
        is "$(podman run --rm --net own,podman $I ls /sys/class/net | xargs)" 'eth0 eth1 lo'
        podman network rm own
        "#,
    ),
];
