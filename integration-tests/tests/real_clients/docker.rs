//! Docker: `docker`, by dockerd, its containerd and containerd-shim-runc-v2.

mod build;
mod daemons;
mod own;
mod remapped;

use crate::Client;
use crate::engines::{self, exec, files, limits, namespaces, processes, security};

pub(crate) const CLIENT: Client = Client {
    name: "docker",
    start: &["dockerd_starts", engines::IMAGE],
    words: &[engines::WORDS, WORDS],
    clean: CLEAN,
    peers: &["runc"],
    scenarios: &[
        processes::SCENARIOS,
        exec::SCENARIOS,
        limits::SCENARIOS,
        security::SCENARIOS,
        files::SCENARIOS,
        namespaces::SCENARIOS,
        own::SCENARIOS,
        daemons::SCENARIOS,
        build::SCENARIOS,
    ],
};

/// With the user namespace that `userns-remap` makes the default.
pub(crate) const REMAPPED: Client = Client {
    name: "docker-remap",
    start: &[
        r#"
        echo nobody:100000:65536 | tee /etc/subuid >/etc/subgid
        echo '{"userns-remap":"nobody:nogroup"}' >/etc/docker/daemon.json
        # The layers are for another user to reach.
        chmod 711 /var/lib
        dockerd_starts
        "#,
        engines::IMAGE,
    ],
    words: &[engines::WORDS, WORDS],
    clean: CLEAN,
    peers: &["runc"],
    scenarios: &[remapped::SCENARIOS],
};

const WORDS: &str = r#"
    export E=docker
    remove() { docker rm -f "$@"; }
    cgroup_of_one() { echo "docker/$(of Id)"; }
    dockerd_starts() {
        dockerd --live-restore --experimental >>/run/dockerd.log 2>&1 &
        (comes docker version) || fail "$(tail /run/dockerd.log)"
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
    docker network prune -f
    docker volume ls -q | xargs -r docker volume rm
    # The shim may still be at what docker has given up.
    comes empty /run/docker/runtime-runc/moby*
    is '' "$(find /sys/fs/cgroup -type d -path '*/docker/*' ! -name buildkit)"
"#;
