//! `features`: what this runtime supports, from the tables that it works by. Spec: features.md.

use libcontainer::plan::namespaces::NAMESPACES;
use libcontainer::plan::{self, capability, hooks, options, schedule, seccomp, systemd, version};
use serde_json::{Value, json};

/// The version of libseccomp whose numbers and answers filters have: for clients, who look for it.
pub(crate) fn libseccomp_version() -> &'static str {
    libcontainer::filter_library_version()
}

/// The document. It describes the runtime, not the host.
pub(crate) fn document() -> Value {
    let mut namespaces: Vec<&str> = NAMESPACES.iter().map(|row| row.1).collect();
    namespaces.sort_unstable();
    json!({
        "ociVersionMin": version::OLDEST,
        "ociVersionMax": version::NEWEST,
        "hooks": hooks::KINDS,
        "mountOptions": options::names(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capability::names().collect::<Vec<_>>(),
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": seccomp::ACTIONS,
                "operators": seccomp::operator_names(),
                "archs": libcontainer::filter_architectures(),
                "knownFlags": seccomp::flag_names(),
                "supportedFlags": seccomp::flag_names(),
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": { "modes": schedule::memory_mode_names(), "flags": schedule::memory_flag_names() },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true },
        },
        "annotations": {
            "ketch.version": env!("CARGO_PKG_VERSION"),
            "ketch.commit": env!("KETCH_COMMIT"),
            "io.github.seccomp.libseccomp.version": libseccomp_version(),
            "org.opencontainers.runc.checkpoint.enabled": "false",
        },
        "potentiallyUnsafeConfigAnnotations": [systemd::ANNOTATIONS, plan::ANNOTATIONS],
    })
}
