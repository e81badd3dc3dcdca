//! Docker: `docker`, by dockerd, its containerd and containerd-shim-runc-v2. Contract: client-contract.md, section 2.

mod exec;
mod processes;

use crate::Client;

pub(crate) const CLIENT: Client = Client {
    name: "docker",
    start: r#"
        image_root
        dockerd >/run/dockerd.log 2>&1 &
        comes docker version
        tar -C /run/image -c . | docker import -c 'ENV PATH=/bin' -c 'CMD ["sh"]' - $I
    "#,
    words: r#"
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
        # cgroup FILE: of the container one, by its hierarchy and name, such as memory/memory.limit_in_bytes
        cgroup() { cat "/sys/fs/cgroup/${1%%/*}/docker/$(of Id)/${1#*/}"; }
    "#,
    clean: r#"
        docker ps -aq | xargs -r docker rm -f
        docker volume ls -q | xargs -r docker volume rm
        # The shim may still be at what docker has given up.
        comes empty /run/docker/runtime-runc/moby
        is '' "$(find /sys/fs/cgroup/*/docker -mindepth 1 -type d)"
    "#,
    peers: &["runc"],
    scenarios: &[processes::SCENARIOS, exec::SCENARIOS],
};
