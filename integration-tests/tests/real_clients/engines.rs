//! What Docker and Podman have in common: the scenarios say `$E` for the command, and the client says what that is.

pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod limits;
pub(crate) mod namespaces;
pub(crate) mod processes;
pub(crate) mod security;

/// Makes the image of all scenarios.
pub(crate) const IMAGE: &str = r#"
    image_root
    tar -C /run/image -c . | $E import -c 'ENV PATH=/bin' -c 'CMD ["sh"]' - $I
"#;

/// Beside these a client says `E`, `remove NAME`, which does not wait for anything to stop, and `cgroup_of_one`, its path.
pub(crate) const WORDS: &str = r#"
    run() { $E run --rm --net none "$@"; }
    detached() { $E run -d --name one --net none "$@" $I sleep 1000; }
    # trapping COMMANDS OPTIONS...: a container that is up, and does COMMANDS when a TERM comes
    trapping() {
        $E run -d --name one --net none "${@:2}" $I \
            sh -c "trap '$1' TERM USR1; echo up; while :; do sleep 0.1; done"
        comes said up $E logs one
    }
    # of FIELD: what is said of the container one, such as State.Pid
    of() { $E inspect -f "{{.$1}}" one; }
    # becomes FIELD VALUE: within a deadline
    becomes() { comes said "^$2\$" of "$1"; }
    # may BIT COMMAND...: 1 if what is run by COMMAND has the capability, such as 21, CAP_SYS_ADMIN
    may() { echo $((0x$("${@:2}" sed -n 's/^CapEff:.//p' /proc/self/status) >> $1 & 1)); }
    # cgroup FILE FILE: of the container one, as cgroup_at has it
    cgroup() { cgroup_at "$(cgroup_of_one)" "$@"; }
    # tree: /run/tree is shared with those who ask for it, and has something mounted below it
    tree() {
        umount -R /run/tree 2>/dev/null || true
        mkdir -p /run/tree
        mount -t tmpfs none /run/tree
        mount --make-shared /run/tree
        mkdir /run/tree/below
        mount -t tmpfs none /run/tree/below
        touch /run/tree/below/inside
    }
"#;
