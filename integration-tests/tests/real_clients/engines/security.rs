//! Users, capabilities, seccomp and what may not be read or written.

use crate::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("user", r#"is "$(run -u 7:8 $I sh -c 'id -u; id -G' | xargs)" '7 8'"#),
    ("user by name", r#"is "$(run -u guest $I sh -c 'id -u; id -g; echo $HOME' | xargs)" '1000 1000 /'"#),
    ("more groups", r#"is "$(run -u 7:8 --group-add 9 --group-add guest $I id -G)" '8 9 1000'"#),
    ("capabilities", r#"is "$(may 0 run $I)" 1; is "$(may 21 run $I)" 0"#),
    (
        "capabilities added and dropped",
        r#"
        some="--cap-add SYS_ADMIN --cap-drop CHOWN"
        is "$(may 21 run $some $I) $(may 0 run $some $I) $(may 7 run $some $I)" '1 0 1'
        "#,
    ),
    (
        "capabilities: none",
        r#"
        is "$(run --cap-drop ALL $I sed -n 's/^Cap...:.0*//p' /proc/self/status | xargs)" ''
        exits 1 run --cap-drop ALL $I chown 7 /tmp
        "#,
    ),
    ("capabilities: another user", r#"has "$(run -u 7 $I grep CapEff: /proc/self/status)" 0000000000000000"#),
    (
        "privileged",
        r#"
        is "$(may 21 run --privileged $I)" 1
        has "$(run --privileged $I grep Seccomp: /proc/self/status)" 0
        run --privileged $I sh -c 'mount -t tmpfs none /tmp; test -c /dev/loop-control; : >/proc/sys/kernel/domainname'
        "#,
    ),
    (
        "no new privileges",
        r#"has "$(run --security-opt no-new-privileges $I grep NoNewPrivs: /proc/self/status)" 1"#,
    ),
    (
        "seccomp",
        r#"
        has "$(run $I grep Seccomp: /proc/self/status)" 2
        "#,
    ),
    (
        "seccomp: unconfined",
        r#"has "$(run --security-opt seccomp=unconfined $I grep Seccomp: /proc/self/status)" 0"#,
    ),
    (
        "seccomp: a profile",
        r#"
        echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}' >/run/profile
        exits 1 run --security-opt seccomp=/run/profile $I mkdir /tmp/x
        has "$out" 'No space left'
        "#,
    ),
    (
        "seccomp: a profile that kills",
        r#"
        echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["sethostname"],"action":"SCMP_ACT_KILL_PROCESS"}]}' >/run/profile
        exits 159 run --security-opt seccomp=/run/profile --cap-add SYS_ADMIN $I hostname x
        "#,
    ),
    (
        "read-only",
        r#"
        exits 1 run --read-only $I touch /x
        has "$out" 'Read-only file system'
        run --read-only --tmpfs /tmp $I touch /tmp/x /dev/shm/x
        "#,
    ),
    (
        "masked paths",
        r#"
        is "$(run $I sh -c 'cat /proc/timer_list; ls /sys/firmware')" ''
        has "$(run --security-opt systempaths=unconfined $I ls /sys/firmware)" acpi
        "#,
    ),
    (
        "paths that are read only",
        r#"
        exits 1 run $I sh -c 'echo x >/proc/sys/kernel/domainname'
        has "$out" 'Read-only file system'
        exits 1 run $I sh -c 'echo x >/proc/irq/default_smp_affinity'
        has "$out" 'Read-only file system'
        "#,
    ),
    ("umask", r#"is "$(run $I sh -c umask)" 0022"#),
];
