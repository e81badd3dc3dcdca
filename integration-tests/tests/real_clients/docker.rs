//! Docker: `docker`, by dockerd, its containerd and containerd-shim-runc-v2. Contract: client-contract.md, section 2.

mod build;
mod daemons;
mod exec;
mod files;
mod limits;
mod namespaces;
mod processes;
mod remapped;
mod security;

use crate::Client;

/// With the user namespace that `userns-remap` makes the default.
pub(crate) const REMAPPED: Client = Client {
    name: "docker-remap",
    start: r#"
        image_root
        echo nobody:100000:65536 | tee /etc/subuid >/etc/subgid
        echo '{"userns-remap":"nobody:nogroup"}' >/etc/docker/daemon.json
        # The layers are for another user to reach.
        chmod 711 /var/lib
        dockerd_starts
        tar -C /run/image -c . | docker import -c 'ENV PATH=/bin' -c 'CMD ["sh"]' - $I
    "#,
    words: WORDS,
    clean: CLEAN,
    peers: &["runc"],
    scenarios: &[remapped::SCENARIOS],
};

pub(crate) const CLIENT: Client = Client {
    name: "docker",
    start: r#"
        image_root
        dockerd_starts
        tar -C /run/image -c . | docker import -c 'ENV PATH=/bin' -c 'CMD ["sh"]' - $I
    "#,
    words: WORDS,
    clean: CLEAN,
    peers: &["runc"],
    scenarios: &[
        processes::SCENARIOS,
        exec::SCENARIOS,
        limits::SCENARIOS,
        security::SCENARIOS,
        files::SCENARIOS,
        namespaces::SCENARIOS,
        daemons::SCENARIOS,
        build::SCENARIOS,
    ],
};

const WORDS: &str = r#"
    run() { docker run --rm --net none "$@"; }
    detached() { docker run -d --name one --net none "$@" $I sleep 1000; }
    # trapping COMMANDS OPTIONS...: a container that is up, and does COMMANDS when a TERM comes
    trapping() {
        docker run -d --name one --net none "${@:2}" $I \
            sh -c "trap '$1' TERM USR1; echo up; while :; do sleep 0.1; done"
        comes said up docker logs one
    }
    # of FIELD: what `docker inspect` says of the container one, such as State.Pid
    of() { docker inspect -f "{{.$1}}" one; }
    # becomes FIELD VALUE: within a deadline
    becomes() { comes said "^$2\$" of "$1"; }
    # may BIT COMMAND...: 1 if what is run by COMMAND has the capability, such as 21, CAP_SYS_ADMIN
    may() { echo $((0x$("${@:2}" sed -n 's/^CapEff:.//p' /proc/self/status) >> $1 & 1)); }
    # cgroup FILE FILE: of the container one, what it is in version 1, with its hierarchy, and in version 2
    cgroup() {
        local place=/sys/fs/cgroup/docker/$(of Id)/$2
        [ -e "$place" ] || place=/sys/fs/cgroup/${1%%/*}/docker/$(of Id)/${1#*/}
        cat "$place"
    }
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
    dockerd_starts() {
        dockerd --live-restore --experimental >>/run/dockerd.log 2>&1 &
        comes docker version
    }
    # old LINES, kit LINES: the old builder, or BuildKit, builds an image with them
    old() { DOCKER_BUILDKIT=0 build "$@"; }
    kit() { DOCKER_BUILDKIT=1 build --progress plain "$@"; }
    build() {
        local flags=()
        while [[ $1 == --* ]]; do flags+=("$1" "$2"); shift 2; done
        mkdir -p /run/context; echo context >/run/context/file
        local from="FROM $I"
        if [[ $1 == AS* ]]; then from="$from $1"; shift; fi
        printf '%s\n' "$from" "$@" >/run/context/Dockerfile
        docker build --no-cache -t built "${flags[@]}" /run/context
    }
"#;

const CLEAN: &str = r#"
    docker ps -aq | xargs -r docker rm -f
    docker volume ls -q | xargs -r docker volume rm
    # The shim may still be at what docker has given up.
    comes empty /run/docker/runtime-runc/moby*
    is '' "$(find /sys/fs/cgroup/*/docker -mindepth 1 -type d ! -name buildkit)"
"#;
