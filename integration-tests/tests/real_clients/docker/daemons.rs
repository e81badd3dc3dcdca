//! Daemons and shims that end before their containers.

use crate::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    (
        "the daemon starts again",
        r#"
        detached
        before=$(of State.Pid)
        kill $(cat /run/docker.pid)
        comes bash -c '! pgrep -x dockerd'
        dockerd_starts
        is "$(of State.Pid)" "$before"
        is "$(docker exec one echo on)" on
        docker kill one; is "$(docker wait one)" 137
        "#,
    ),
    (
        "the daemon is killed",
        r#"
        trapping 'exit 3'
        kill -9 $(cat /run/docker.pid) $(cat /run/docker/containerd/containerd.pid)
        comes bash -c '! pgrep -x dockerd'
        rm -f /run/docker.pid
        dockerd_starts
        docker stop one; is "$(of State.ExitCode)" 3
        "#,
    ),
    (
        "the shim is killed",
        r"
        detached
        pid=$(of State.Pid)
        kill -9 $(pgrep -f ^/usr/bin/containerd-shim-runc-v2)
        comes bash -c '! docker ps -q | grep .'
        comes bash -c '! kill -0 '$pid
        ",
    ),
];
