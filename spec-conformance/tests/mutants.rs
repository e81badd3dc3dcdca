//! Runtimes with one fault each: the harness finds exactly the clauses that the fault breaks. Needs root, and a build of
//! ketch to put the faults into: `cargo build -p ketch`, or its path in `KETCH`.
#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking, as tests do")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

/// A fault by its name in src/bin/mutant, the cases that are run, and the clauses that must then be found broken.
struct Mutant {
    fault: &'static str,
    cases: &'static [&'static str],
    broken: &'static [&'static str],
}

const fn mutant(
    fault: &'static str,
    cases: &'static [&'static str],
    broken: &'static [&'static str],
) -> Mutant {
    Mutant { fault, cases, broken }
}

/// The cases beside the one that finds a fault are there to find nothing.
#[rustfmt::skip]
const MUTANTS: &[Mutant] = &[
    mutant("nothing", &["hooks-order", "process-", "paths", "namespaces", "lifecycle"], &[]),
    mutant("no-hooks", &["hooks-order"], &[
        "config.createcontainer-hooks.after-create-runtime",
        "config.posix-platform-hooks.order",
        "config.posix-platform-hooks.path",
        "config.posix-platform-hooks.path-in-container",
        "config.posix-platform-hooks.path-in-runtime",
        "config.prestart.before-create-runtime",
        "config.startcontainer-hooks.moment",
        "runtime.lifecycle.create-container",
        "runtime.lifecycle.create-runtime",
        "runtime.lifecycle.poststart",
        "runtime.lifecycle.poststop",
        "runtime.lifecycle.prestart",
        "runtime.lifecycle.start-container",
    ]),
    mutant("no-poststop-hooks", &["hooks-order", "hooks-environment"], &[
        "config.posix-platform-hooks.order",
        "config.posix-platform-hooks.path",
        "config.posix-platform-hooks.path-in-runtime",
        "config.poststop.moment",
        "config.poststop.namespace",
        "config.poststop.path",
        "runtime.lifecycle.poststop",
    ]),
    mutant("hooks-reversed", &["hooks-order", "hooks-environment"], &[
        "config.posix-platform-hooks.order",
    ]),
    mutant("hooks-without-env", &["hooks-order", "hooks-environment"], &[
        "config.posix-platform-hooks.env",
    ]),
    mutant("no-masked-paths", &["paths"], &[
        "config-linux.masked-paths.absolute",
        "config-linux.masked-paths.masked",
    ]),
    mutant("no-readonly-paths", &["paths"], &[
        "config-linux.readonly-paths.absolute",
        "config-linux.readonly-paths.readonly",
    ]),
    mutant("root-writable", &["paths", "root-path"], &[
        "config.root.readonly",
    ]),
    mutant("root-always-private", &["root-propagation", "paths"], &[
        "config-linux.rootfs-mount-propagation.private",
        "config-linux.rootfs-mount-propagation.shared",
        "config-linux.rootfs-mount-propagation.unbindable",
    ]),
    mutant("cwd-ignored", &["process-program", "process-user"], &[
        "config.process.cwd",
    ]),
    mutant("env-ignored", &["process-program", "process-user"], &[
        "config.process.env",
    ]),
    mutant("args-added", &["process-program", "process-user"], &[
        "config.process.args",
    ]),
    mutant("uid-ignored", &["process-user", "process-program"], &[
        "config.posix-platform-user.uid",
    ]),
    mutant("umask-ignored", &["process-user", "process-program"], &[
        "config.posix-platform-user.umask",
    ]),
    mutant("groups-ignored", &["process-user", "process-program"], &[
        "config.posix-platform-user.additional-gids",
    ]),
    mutant("no-ambient-set", &["process-capabilities", "process-attributes"], &[
        "config.linux-process.capabilities",
    ]),
    mutant("no-rlimits", &["process-rlimits", "process-attributes"], &[
        "config.posix-process.hard",
        "config.posix-process.hard-value",
        "config.posix-process.rlimit-twice",
        "config.posix-process.rlimit-type",
        "config.posix-process.rlimit-unknown",
        "config.posix-process.soft",
        "config.posix-process.soft-value",
    ]),
    mutant("new-privileges", &["process-capabilities", "process-attributes"], &[
        "config.linux-process.no-new-privileges",
    ]),
    mutant("oom-score-ignored", &["process-attributes", "process-capabilities"], &[
        "config.linux-process.oom-score",
    ]),
    mutant("scheduler-ignored", &["process-scheduler", "process-io-priority"], &[
        "config.linux-process.nice",
        "config.linux-process.scheduler",
    ]),
    mutant("io-priority-ignored", &["process-scheduler", "process-io-priority"], &[
        "config.linux-process.io-class",
        "config.linux-process.io-priority",
    ]),
    mutant("console-size-ignored", &["terminal"], &[
        "config.process.height",
        "config.process.width",
    ]),
    mutant("personality-ignored", &["process-personality", "process-scheduler"], &[
        "config-linux.personality.domain",
    ]),
    mutant("hostname-ignored", &["uts-names", "sysctl"], &[
        "config.hostname.hostname",
    ]),
    mutant("domainname-ignored", &["uts-names", "sysctl"], &[
        "config.domainname.domainname",
    ]),
    mutant("sysctl-ignored", &["uts-names", "sysctl"], &[
        "config-linux.sysctl.value",
    ]),
    mutant("no-devices", &["devices"], &[
        "config-linux.devices.available",
        "config-linux.devices.mode",
        "config-linux.devices.numbers",
        "config-linux.devices.other-file",
        "config-linux.devices.owner",
        "config-linux.devices.path",
        "config-linux.devices.type",
    ]),
    mutant("device-rules-ignored", &["cgroups-devices", "devices"], &[
        "config-linux.allowed-device-list.access",
        "config-linux.allowed-device-list.allow",
        "config-linux.allowed-device-list.order",
        "config-linux.allowed-device-list.type",
    ]),
    mutant("last-device-rule-first", &["cgroups-devices"], &[
        "config-linux.allowed-device-list.order",
    ]),
    mutant("no-limits", &["cgroups-memory", "cgroups-cpu", "cgroups-block-io", "cgroups-limits", "cgroups-path"], &[
        "config-linux.block-io.bytes",
        "config-linux.block-io.device",
        "config-linux.block-io.operations",
        "config-linux.cpu.burst",
        "config-linux.cpu.cpus",
        "config-linux.cpu.idle",
        "config-linux.cpu.period",
        "config-linux.cpu.quota",
        "config-linux.cpu.shares",
        "config-linux.memory.limit",
        "config-linux.memory.oom-killer",
        "config-linux.memory.reservation",
        "config-linux.memory.swap",
        "config-linux.memory.swappiness",
        "config-linux.pids.limit",
        "config-linux.huge-page-limits.limit",
        "config-linux.huge-page-limits.size",
    ]),
    mutant("cgroups-path-ignored", &["cgroups-path"], &[
        "config-linux.cgroups-path.absolute",
        "config-linux.cgroups-path.same-place",
    ]),
    mutant("no-seccomp", &["seccomp-names", "seccomp-defaults", "process-program"], &[
        "config-linux.seccomp.default-action",
        "config-linux.seccomp.default-errno",
        "config-linux.seccomp.names",
    ]),
    mutant("namespace-paths-ignored", &["namespaces"], &[
        "config-linux.namespaces.path",
        "config-linux.namespaces.path-absolute",
        "config-linux.namespaces.wrong-type",
    ]),
    mutant("namespaces-deduplicated", &["namespaces"], &[
        "config-linux.namespaces.twice",
    ]),
    mutant("last-mounts-swapped", &["mounts-order", "mount-trees-bind"], &[
        "config.mounts.order",
    ]),
    mutant("nosuid-ignored", &["mount-options"], &[
        "config.linux-mount-options.nosuid",
    ]),
    mutant("rbind-is-bind", &["mount-trees-bind", "mounts-order"], &[
        "config.linux-mount-options.rbind",
    ]),
    mutant("annotations-ignored", &["lifecycle-state", "document-annotations"], &[
        "config.annotations.empty-key",
        "config.annotations.map",
        "config.annotations.values",
        "runtime.state.annotations",
    ]),
    mutant("time-offsets-ignored", &["namespaces-time", "namespaces-new"], &[
        "config-linux.offset-for-time-namespace.nanoseconds",
        "config-linux.offset-for-time-namespace.seconds",
    ]),
    mutant("network-devices-ignored", &["network-devices"], &[
        "config-linux.namespace-lifecycle-and-container-termination.not-moved-back",
        "config-linux.network-devices.addresses",
        "config-linux.network-devices.moved",
        "config-linux.network-devices.name",
        "config-linux.network-devices.name-taken",
        "config-linux.network-devices.possible",
        "config-linux.network-devices.template",
        "config-linux.network-devices.up",
    ]),
    mutant("propagation-ignored", &["mount-trees-propagation", "mounts-order"], &[
        "config.linux-mount-options.private",
        "config.linux-mount-options.rprivate",
        "config.linux-mount-options.rshared",
        "config.linux-mount-options.rslave",
        "config.linux-mount-options.runbindable",
        "config.linux-mount-options.shared",
        "config.linux-mount-options.slave",
        "config.linux-mount-options.unbindable",
    ]),
    mutant("recursive-read-only-ignored", &["mount-trees-recursive", "mount-options-flags"], &[
        "config.linux-mount-options.rro",
    ]),
    mutant("mount-mappings-ignored", &["mapped-mounts", "mount-trees-bind"], &[
        "config.linux-mount-options.idmap",
        "config.linux-mount-options.idmap-container",
        "config.linux-mount-options.idmap-none",
        "config.linux-mount-options.idmap-own",
        "config.linux-mount-options.ridmap",
        "config.posix-platform-mounts.gid-alone",
        "config.posix-platform-mounts.uid-alone",
    ]),
    mutant("id-mappings-swapped", &["namespaces-user", "namespaces-new"], &[
        "config-linux.user-namespace-mappings.container-id",
        "config-linux.user-namespace-mappings.host-id",
        "config-linux.user-namespace-mappings.size",
    ]),
    mutant("listener-metadata-ignored", &["seccomp-listener", "seccomp-names"], &[
        "config-linux.seccomp.metadata",
    ]),
    mutant("comparisons-ignored", &["seccomp-comparisons", "seccomp-names"], &[
        "config-linux.seccomp.index",
        "config-linux.seccomp.op",
        "config-linux.seccomp.value",
        "config-linux.seccomp.value-two",
    ]),
    mutant("errno-ignored", &["seccomp-actions", "seccomp-invalid", "seccomp-names"], &[
        "config-linux.seccomp.errno",
        "config-linux.seccomp.no-errno",
    ]),
    mutant("memory-policy-ignored", &["process-memory-policy", "process-scheduler"], &[
        "config-linux.memory-policy.flags",
        "config-linux.memory-policy.mode",
        "config-linux.memory-policy.nodes",
    ]),
    mutant("affinity-ignored", &["process-affinity", "process-memory-policy"], &[
        "config.linux-process.affinity-final",
    ]),
    mutant("unknown-refused", &["document-unknown", "document-place"], &[
        "config.extensibility.unknown",
    ]),
    mutant("state-without-pid", &["lifecycle-state", "lifecycle-kill"], &[
        "runtime.state.pid",
        "runtime.state.schema",
    ]),
    mutant("state-always-running", &["lifecycle-state", "lifecycle-kill"], &[
        "runtime.state.other-status",
        "runtime.state.status",
    ]),
    mutant("state-of-another-bundle", &["lifecycle-state", "lifecycle-kill"], &[
        "runtime.state.bundle",
    ]),
    mutant("state-without-annotations", &["lifecycle-state", "lifecycle-kill"], &[
        "runtime.state.annotations",
    ]),
    mutant("state-of-another-id", &["lifecycle-state", "lifecycle-kill"], &[
        "runtime.state.id",
    ]),
    mutant("state-of-anything", &["lifecycle-state", "lifecycle-no-id"], &[
        "runtime.query-state.no-id",
        "runtime.query-state.unknown",
    ]),
    mutant("features-undefined", &["features-versions", "features-hooks"], &[
        "features.specification-version.undefined",
    ]),
    mutant("features-of-more-hooks", &["features-versions", "features-hooks"], &[
        "features.hooks.hooks",
    ]),
    mutant("create-starts", &["lifecycle-create", "lifecycle-kill"], &[
        "runtime.create.args",
        "runtime.create.container",
        "runtime.lifecycle.not-run",
    ]),
    mutant("create-replaces", &["lifecycle-create", "lifecycle-kill"], &[
        "runtime.create.id-in-use",
    ]),
    mutant("create-leaves-things", &["lifecycle-rollback", "lifecycle-kill"], &[
        "runtime.errors.nothing-left",
    ]),
    mutant("start-always-succeeds", &["lifecycle-start", "lifecycle-no-id", "lifecycle-kill"], &[
        "runtime.start.no-id",
        "runtime.start.not-created",
    ]),
    mutant("start-does-nothing", &["lifecycle-start"], &[
        "runtime.lifecycle.program",
        "runtime.start.not-created",
        "runtime.start.program",
    ]),
    mutant("run-always-succeeds", &["document-version", "document-place"], &[
        "bundle.container-format.config-json",
        "config.specification-version.version",
    ]),
    mutant("kill-does-nothing", &["lifecycle-kill"], &[
        "runtime.kill.not-running",
        "runtime.kill.signal",
    ]),
    mutant("kill-always-terminates", &["lifecycle-kill", "lifecycle-delete"], &[
        "runtime.kill.signal",
    ]),
    mutant("delete-does-nothing", &["lifecycle-delete"], &[
        "runtime.delete.not-stopped",
        "runtime.delete.resources",
        "runtime.delete.reuse",
        "runtime.lifecycle.destroy",
    ]),
    mutant("delete-always-forces", &["lifecycle-delete"], &[
        "runtime.delete.not-stopped",
    ]),
    mutant("delete-takes-the-bundle", &["lifecycle-delete", "lifecycle-kill"], &[
        "runtime.delete.foreign",
    ]),
];

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_probe")).with_file_name(name)
}

fn ketch() -> PathBuf {
    let program = std::env::var_os("KETCH").map_or_else(|| beside("ketch"), PathBuf::from);
    assert!(program.is_file(), "no runtime at {}: `cargo build -p ketch`", program.display());
    program
}

/// The clauses with this verdict in some finding of a run.
fn clauses(run: &Value, verdict: &str) -> BTreeSet<String> {
    let cases = run["cases"].as_array().unwrap();
    let findings = cases.iter().flat_map(|case| case["findings"].as_array().unwrap());
    let chosen = findings.filter(|finding| finding["verdict"] == verdict);
    chosen.map(|finding| finding["clause"].as_str().unwrap().to_owned()).collect()
}

/// What is wrong with the findings; nothing if they are as they should be.
fn differences(mutant: &Mutant, directory: &Path) -> Option<String> {
    let program = directory.join(mutant.fault);
    let (wrapper, ketch) = (beside("mutant"), ketch());
    let script =
        format!("#!/bin/sh\nexec {} {} {} \"$@\"\n", wrapper.display(), mutant.fault, ketch.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(beside("spec-conformance"));
    command.args(["--profile", "ketch", "--format", "json", "--jobs", "1", "--runtime"]).arg(&program);
    let output = command.args(mutant.cases).stdin(Stdio::null()).output().unwrap();
    let run: Value = match serde_json::from_slice(&output.stdout) {
        Ok(run) => run,
        Err(error) => return Some(format!("{}: {error}: {output:?}", mutant.fault)),
    };
    let (found, passed) = (clauses(&run, "fail"), clauses(&run, "pass"));
    // What this host cannot show at all is not found, whatever is wrong with it.
    let mut hidden = clauses(&run, "skip");
    hidden.retain(|clause| !passed.contains(clause) && !found.contains(clause));
    let mut expected: BTreeSet<String> = mutant.broken.iter().map(|clause| (*clause).to_owned()).collect();
    expected.retain(|clause| !hidden.contains(clause));
    let (missed, extra): (Vec<_>, Vec<_>) =
        (expected.difference(&found).collect(), found.difference(&expected).collect());
    let fine = missed.is_empty() && extra.is_empty();
    (!fine).then(|| format!("{}: not found: {missed:?}; found beside: {extra:?}", mutant.fault))
}

#[test]
fn each_fault_breaks_exactly_its_clauses() {
    let directory = tempfile::tempdir().unwrap();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some(mutant) = MUTANTS.get(next.fetch_add(1, Ordering::SeqCst)) {
            wrong.extend(differences(mutant, directory.path()));
        }
        wrong
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fault_is_tried() {
    let output = Command::new(beside("mutant")).arg("--list").output().unwrap();
    let listed: BTreeSet<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let tried: BTreeSet<String> = MUTANTS.iter().map(|mutant| mutant.fault.to_owned()).collect();
    assert_eq!(listed, tried);
}
