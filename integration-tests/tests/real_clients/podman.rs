//! Podman: `podman`, by conmon.

mod own;
mod pods;
mod rootless;
mod users;

pub(crate) use rootless::CLIENT as ROOTLESS;

use crate::Client;
use crate::engines::{self, exec, files, limits, namespaces, processes, security};

pub(crate) const CLIENT: Client = Client {
    name: "podman",
    start: &[CONFIGURATION, engines::IMAGE],
    words: &[
        engines::WORDS,
        r#"
        export E=podman
        remove() { podman rm -f -t 0 "$@"; }
        in_pod() { podman run -d --pod pod --name "$1" $I "${@:2}"; }
        cgroup_of_one() { echo "libpod_parent/libpod-$(of Id)"; }
        "#,
    ],
    clean: r#"
        # Again, if one joins another's namespaces, or if the process that cleans up is still at the same mounts: EBUSY.
        comes podman pod rm -fa -t 0
        comes podman rm -fa -t 0
        podman network prune -f
        podman volume prune -f
        is '' "$(find /run/ketch /run/crun /run/runc -mindepth 1 2>/dev/null)"
        is '' "$(find /sys/fs/cgroup -type d -name 'libpod-[0-9a-f]*')"
    "#,
    peers: &["crun"],
    scenarios: &[
        processes::SCENARIOS,
        exec::SCENARIOS,
        limits::SCENARIOS,
        security::SCENARIOS,
        files::SCENARIOS,
        namespaces::SCENARIOS,
        own::SCENARIOS,
        users::SCENARIOS,
        pods::SCENARIOS,
    ],
};

/// What Podman and Buildah read.
pub(crate) const CONFIGURATION: &str = r#"
    # crun runs on no hybrid of cgroups' versions that has controllers in both.
    if umount /sys/fs/cgroup/unified 2>/dev/null; then rmdir /sys/fs/cgroup/unified; fi
    # What podman may ask of a runtime it decides by this name.
    echo '[engine]
        runtime = "crun"
        cgroup_manager = "cgroupfs"
        events_logger = "file"
        stop_timeout = 2
        [engine.runtimes]
        crun = ["/run/bin/runc"]' >/etc/containers/containers.conf
    echo containers:100000:1000000 | tee /etc/subuid >/etc/subgid
"#;
