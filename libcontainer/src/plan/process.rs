//! The container's program: user, rights, limits, arguments; and what belongs to its kernel. Pure.

use std::collections::HashSet;

use oci_spec::runtime::{LinuxPersonality, LinuxPersonalityDomain, Process as SpecProcess, Spec, User};
use serde::Serialize;

use super::capability::Capabilities;
use super::facts::Facts;
use super::ids::{IdRange, Ids};
use super::invalid::Findings;
use super::namespaces::{Entry, Namespace};
use super::rlimit::Rlimit;
use super::schedule::{MemoryPolicy, Scheduler};
use super::sysctl::Sysctl;
use super::{Choices, affinity, annotation, capability, rlimit, schedule, sysctl};
use crate::path::{KernelString, RootPath};

/// The annotation by which crun is told to leave the supplementary groups alone: Podman's `--group-add keep-groups`.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

const SPEC_PROCESS: &str = "config.md#process";
const SPEC_LINUX_PROCESS: &str = "config.md#linux-process";
const SPEC_USER: &str = "config.md#posix-platform-user";
const SPEC_HOSTNAME: &str = "config.md#hostname";
const SPEC_DOMAINNAME: &str = "config.md#domainname";
const SPEC_PERSONALITY: &str = "config-linux.md#personality";

/// Where programs are looked for when the container's environment has no PATH, as some images have it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The kernel's limit on both names (`__NEW_UTS_LEN`, linux/utsname.h).
const MAX_HOSTNAME: usize = 64;

/// Names and parameters that belong to the container's namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kernel {
    /// sethostname(2)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<KernelString>,
    /// setdomainname(2)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<KernelString>,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<Sysctl>,
    /// The name of the new session keyring. See session-keyring(7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyring: Option<KernelString>,
    /// A new network namespace gets its loopback device brought up.
    pub loopback: bool,
}

/// A program and the state in which it is executed. The same for create and exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its arguments, its name first.
    pub args: Vec<KernelString>,
    /// Its environment.
    pub env: Vec<KernelString>,
    /// HOME is not in the environment: it is looked up in the container's /etc/passwd.
    pub find_home: bool,
    /// Files to try in turn, as execvp(3) does; relative ones count from `cwd`.
    pub programs: Vec<KernelString>,
    /// Working directory.
    pub cwd: RootPath,
    /// A terminal, of this size if one is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, exactly; `None` if those of the runtime stay.
    pub groups: Option<Vec<u32>>,
    /// File mode creation mask; unchanged when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Capabilities; a config that says nothing about them gets none.
    pub capabilities: Capabilities,
    /// The no_new_privs bit.
    pub no_new_privileges: bool,
    /// Badness for the OOM killer; unchanged when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<KernelString>,
    /// What is written to the LSM's exec attribute: `exec PROFILE` for AppArmor, a context for SELinux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Scheduling policy. See sched_setattr(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// I/O priority as ioprio_set(2) takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<u32>,
    /// Execution domain. See personality(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<u32>,
    /// NUMA policy. See set_mempolicy(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<MemoryPolicy>,
}

/// The size of a terminal in characters; 0 by 0 when the config says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Terminal {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A label that takes effect when the program is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The attribute's file below /proc.
    pub file: KernelString,
    /// What is written.
    pub value: KernelString,
}

/// Decides names, keyring and kernel parameters.
pub fn kernel(spec: &Spec, choices: &Choices, entry: &Entry, findings: &mut Findings) -> Kernel {
    let mut name = |name: Option<&String>, what: &str, clause| {
        let name = name.filter(|n| !n.is_empty())?;
        let at = format!("/{what}");
        if !entry.private(Namespace::Uts) {
            let says = format!(
                "unable to set {what} without a private UTS namespace: it would be the host's. \
                 Add {{\"type\": \"uts\"}} to /linux/namespaces"
            );
            findings.error(at.as_str(), says, clause);
        }
        if name.len() > MAX_HOSTNAME {
            findings.error(at.as_str(), format!("is longer than {MAX_HOSTNAME} bytes"), clause);
        }
        findings.check(KernelString::new(name.as_str()), at, clause)
    };
    let (hostname, domainname) = (
        name(spec.hostname().as_ref(), "hostname", SPEC_HOSTNAME),
        name(spec.domainname().as_ref(), "domainname", SPEC_DOMAINNAME),
    );
    let keyring = if choices.keyring { KernelString::new(format!("_ses.{}", choices.id)).ok() } else { None };
    let mut sysctls = sysctl::compile(spec, entry, findings);
    // Its file is the host's root's to write, also for the root of a user namespace; the system call is not.
    let domain = sysctls.iter().position(|sysctl| sysctl.file.as_str() == "sys/kernel/domainname");
    let domain = domain.map(|i| sysctls.remove(i).value);
    Kernel {
        hostname,
        domainname: domainname.or(domain),
        sysctls,
        keyring,
        loopback: entry.made().contains(Namespace::Network),
    }
}

/// Decides the program of `spec`, if it has one.
pub fn compile(
    spec: &Spec,
    facts: &Facts,
    entry: &Entry,
    ids: &Ids,
    findings: &mut Findings,
) -> Option<Process> {
    let process = spec.process().as_ref()?;
    // It is for exec, which takes it from here, and not for the container's own program.
    affinity::compile(process, findings);
    compile_process(process, spec, facts, entry, ids, findings)
}

/// Decides a program that is run in a container: its own, or one more by exec. Pointers begin with `/process`.
///
/// What `linux` says about every process of the container, personality and memory policy, is taken from `spec`.
pub fn compile_process(
    process: &SpecProcess,
    spec: &Spec,
    facts: &Facts,
    entry: &Entry,
    ids: &Ids,
    findings: &mut Findings,
) -> Option<Process> {
    let args = args(process, findings);
    let env = environment(process.env().as_deref().unwrap_or_default(), findings);
    let cwd = cwd(process, findings);
    let user = process.user();
    check_ids(process, ids, findings);
    let linux = spec.linux().as_ref();
    let compiled = Process {
        programs: args.first().map(|name| programs(name, &env)).unwrap_or_default(),
        args,
        find_home: value_of(&env, "HOME").is_none(),
        env,
        cwd: cwd?,
        terminal: terminal(process, findings),
        uid: user.uid(),
        gid: user.gid(),
        groups: groups(user, spec, findings),
        umask: umask(process, findings),
        rlimits: rlimit::compile(process.rlimits().as_deref().unwrap_or_default(), findings),
        capabilities: capability::compile(process.capabilities().as_ref(), facts, entry, findings),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        oom_score_adj: oom_score_adj(process, findings),
        label: label(process, facts, findings),
        scheduler: process.scheduler().as_ref().map(|s| schedule::scheduler(s, findings)),
        io_priority: process.io_priority().as_ref().and_then(|p| schedule::io_priority(*p, findings)),
        personality: linux.and_then(|l| l.personality().as_ref()).map(|p| personality(p, findings)),
        memory_policy: linux
            .and_then(|l| l.memory_policy().as_ref())
            .and_then(|p| schedule::memory_policy(p, findings)),
    };
    Some(compiled)
}

fn args(process: &SpecProcess, findings: &mut Findings) -> Vec<KernelString> {
    let args = process.args().as_deref().unwrap_or_default();
    match args.first() {
        None => {
            findings.error("/process/args", "args must not be empty: the first is the program", SPEC_PROCESS)
        }
        Some(name) if name.is_empty() => {
            findings.error(
                "/process/args/0",
                "is empty where the name of the program is needed",
                SPEC_PROCESS,
            );
        }
        Some(_) => {}
    }
    let check = |(i, arg): (usize, &String)| {
        findings.check(KernelString::new(arg.as_str()), format!("/process/args/{i}"), SPEC_PROCESS)
    };
    args.iter().enumerate().filter_map(check).collect()
}

/// The environment, each name once: of several entries the last one wins, and its place is kept.
fn environment(entries: &[String], findings: &mut Findings) -> Vec<KernelString> {
    let mut env = Vec::with_capacity(entries.len());
    let mut names = HashSet::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate().rev() {
        let at = format!("/process/env/{i}");
        match entry.split_once('=') {
            None => {
                findings.error(at, format!("{entry:?} has no \"=\"; entries are NAME=value"), SPEC_PROCESS)
            }
            Some(("", _)) => {
                findings.error(at, format!("{entry:?} has no name; entries are NAME=value"), SPEC_PROCESS);
            }
            Some((name, _)) => {
                let entry = findings.check(KernelString::new(entry.as_str()), at, SPEC_PROCESS);
                env.extend(entry.filter(|_| names.insert(name)));
            }
        }
    }
    env.reverse();
    env
}

fn value_of<'a>(env: &'a [KernelString], name: &str) -> Option<&'a str> {
    env.iter().find_map(|entry| entry.as_str().strip_prefix(name)?.strip_prefix('='))
}

/// Where to look for the program: a name with a slash is a path, any other is looked up in the container's PATH.
fn programs(name: &KernelString, env: &[KernelString]) -> Vec<KernelString> {
    if name.as_str().contains('/') {
        return vec![name.clone()];
    }
    let path = value_of(env, "PATH").unwrap_or(DEFAULT_PATH);
    let mut seen = HashSet::new();
    path.split(':')
        .filter(|directory| seen.insert(*directory))
        .filter_map(|directory| {
            // An empty element is the working directory, see execvp(3).
            let directory = if directory.is_empty() { "." } else { directory };
            // What is longer than any path cannot be there.
            KernelString::path(&format!("{}/{name}", directory.trim_end_matches('/'))).ok()
        })
        .collect()
}

fn cwd(process: &SpecProcess, findings: &mut Findings) -> Option<RootPath> {
    let cwd = process.cwd().to_str().unwrap_or_default();
    if !cwd.is_empty() && !cwd.starts_with('/') {
        findings.error("/process/cwd", format!("{cwd:?} is not an absolute path"), SPEC_PROCESS);
    }
    findings.check(RootPath::new(cwd), "/process/cwd", SPEC_PROCESS)
}

/// The supplementary groups. Who is in a group of the host by his login alone keeps it with the annotation: a user may
/// not ask for it by number.
fn groups(user: &User, spec: &Spec, findings: &mut Findings) -> Option<Vec<u32>> {
    let listed = user.additional_gids().clone().unwrap_or_default();
    match annotation(spec, KEEP_GROUPS) {
        None | Some("0") => return Some(listed),
        Some("1") if listed.is_empty() => {}
        Some("1") => {
            let says =
                format!("are ignored: the annotation {KEEP_GROUPS} keeps those of the caller; remove one");
            findings.warn("/process/user/additionalGids", says, SPEC_USER);
        }
        Some(other) => {
            let at = format!("/annotations/{KEEP_GROUPS}");
            findings.error(at, format!("{other:?} is neither 1 nor 0"), "config.md#annotations");
        }
    }
    None
}

fn check_ids(process: &SpecProcess, ids: &Ids, findings: &mut Findings) {
    let user = process.user();
    let groups = user.additional_gids().as_deref().unwrap_or_default().iter().enumerate();
    let groups = groups.map(|(i, gid)| (*gid, format!("/process/user/additionalGids/{i}")));
    check_id(user.uid(), "uid", "/process/user/uid", ids.maps.as_ref().map(|m| &m.users), findings);
    for (gid, at) in std::iter::once((user.gid(), "/process/user/gid".to_owned())).chain(groups) {
        check_id(gid, "gid", &at, ids.maps.as_ref().map(|m| &m.groups), findings);
    }
}

fn check_id(id: u32, kind: &str, at: &str, map: Option<&Vec<IdRange>>, findings: &mut Findings) {
    if id == u32::MAX {
        // To setresuid(2) and setresgid(2) it means "leave it as it is".
        findings.error(at, format!("{id} is not a {kind}"), SPEC_USER);
    } else if map.is_some_and(|ranges| is_whole(ranges) && !ranges.iter().any(|r| r.contains(id))) {
        let says = format!(
            "{kind} {id} does not exist in the container's user namespace; \
             map it in /linux/{kind}Mappings, or use one that is"
        );
        findings.error(at, says, SPEC_USER);
    }
}

/// Of a map that is itself wrong it cannot be said what is missing in it.
fn is_whole(ranges: &[IdRange]) -> bool {
    !ranges.is_empty() && ranges.iter().all(|range| range.count > 0)
}

/// The size counts only with a terminal.
fn terminal(process: &SpecProcess, findings: &mut Findings) -> Option<Terminal> {
    if !process.terminal().unwrap_or(false) {
        return None;
    }
    let Some(size) = process.console_size() else { return Some(Terminal::default()) };
    let mut side = |characters: u64, name: &str| {
        u16::try_from(characters).unwrap_or_else(|_| {
            let at = format!("/process/consoleSize/{name}");
            findings.error(at, format!("{characters} is more than a terminal can have, 65535"), SPEC_PROCESS);
            0
        })
    };
    Some(Terminal { rows: side(size.height(), "height"), columns: side(size.width(), "width") })
}

fn umask(process: &SpecProcess, findings: &mut Findings) -> Option<u32> {
    let umask = process.user().umask()?;
    if umask > 0o777 {
        let says = format!("{umask} is more than 511, octal 777: a mask has permission bits only");
        findings.error("/process/user/umask", says, SPEC_USER);
    }
    Some(umask)
}

fn oom_score_adj(process: &SpecProcess, findings: &mut Findings) -> Option<KernelString> {
    let value = process.oom_score_adj()?;
    if !(-1000..=1000).contains(&value) {
        let says = format!("{value} is not between -1000 and 1000");
        findings.error("/process/oomScoreAdj", says, SPEC_LINUX_PROCESS);
    }
    KernelString::new(value.to_string()).ok()
}

/// The label of whichever security module is in force: both write the same attribute.
fn label(process: &SpecProcess, facts: &Facts, findings: &mut Findings) -> Option<Label> {
    const FILE: &str = "self/attr/exec";
    let apparmor = process.apparmor_profile().as_deref().filter(|p| !p.is_empty());
    // Without AppArmor every process is unconfined.
    let apparmor = apparmor.filter(|p| *p != "unconfined" || facts.apparmor);
    let selinux = process.selinux_label().as_deref().filter(|l| !l.is_empty());
    for (value, enabled, at, module) in [
        (apparmor, facts.apparmor, "/process/apparmorProfile", "AppArmor"),
        (selinux, facts.selinux, "/process/selinuxLabel", "SELinux"),
    ] {
        if let Some(value) = value
            && !enabled
        {
            let says = format!("{value:?} cannot be applied: {module} is not enabled on this host");
            findings.error(at, says, SPEC_LINUX_PROCESS);
        }
    }
    let (value, at) = match (apparmor, selinux) {
        (None, None) => return None,
        (Some(profile), None) => (format!("exec {profile}"), "/process/apparmorProfile"),
        (None, Some(label)) => (label.to_owned(), "/process/selinuxLabel"),
        (Some(_), Some(_)) => {
            let says = "ketch applies one security label, and apparmorProfile is set too; remove one of them";
            findings.error("/process/selinuxLabel", says, SPEC_LINUX_PROCESS);
            return None;
        }
    };
    let value = findings.check(KernelString::new(value), at, SPEC_LINUX_PROCESS)?;
    Some(Label { file: KernelString::new(FILE).ok()?, value })
}

/// The execution domain. The specification defines no flag.
fn personality(personality: &LinuxPersonality, findings: &mut Findings) -> u32 {
    for (i, flag) in personality.flags().iter().flatten().enumerate() {
        let at = format!("/linux/personality/flags/{i}");
        findings.error(at, format!("{flag:?} is not supported; there are no flags"), SPEC_PERSONALITY);
    }
    // PER_LINUX and PER_LINUX32 of linux/personality.h
    match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    }
}

#[cfg(test)]
mod tests;
