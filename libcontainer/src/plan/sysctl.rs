//! Kernel parameters, and whose they are: only those of the container's own namespaces may be set. Pure.

use oci_spec::runtime::Spec;
use serde::Serialize;

use super::invalid::{Findings, pointer_token};
use super::namespaces::{Entry, Namespace};
use crate::path::KernelString;

/// One kernel parameter. See sysctl(8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sysctl {
    /// As the config spells it: `net.ipv4.ip_forward`.
    pub key: String,
    /// Whose it is.
    #[serde(skip)]
    pub owner: Namespace,
    /// Its file below /proc: `sys/net/ipv4/ip_forward`.
    pub file: KernelString,
    /// What is written.
    pub value: KernelString,
}

const SPEC: &str = "config-linux.md#sysctl";

/// Which namespace has a parameter to itself: by its whole path, or by a directory, which ends in a slash.
const OWNERS: &[(&str, Namespace)] = &[
    ("kernel/msgmax", Namespace::Ipc),
    ("kernel/msgmnb", Namespace::Ipc),
    ("kernel/msgmni", Namespace::Ipc),
    ("kernel/sem", Namespace::Ipc),
    ("kernel/shmall", Namespace::Ipc),
    ("kernel/shmmax", Namespace::Ipc),
    ("kernel/shmmni", Namespace::Ipc),
    ("kernel/shm_rmid_forced", Namespace::Ipc),
    ("fs/mqueue/", Namespace::Ipc),
    ("kernel/domainname", Namespace::Uts),
    ("net/", Namespace::Network),
    ("user/", Namespace::User),
];

/// Reads the kernel parameters of `spec`, sorted by key.
pub(super) fn compile(spec: &Spec, entry: &Entry, findings: &mut Findings) -> Vec<Sysctl> {
    let Some(listed) = spec.linux().as_ref().and_then(|l| l.sysctl().as_ref()) else { return Vec::new() };
    let mut sorted: Vec<_> = listed.iter().collect();
    sorted.sort();
    sorted.into_iter().filter_map(|(key, value)| read(spec, key, value, entry, findings)).collect()
}

fn read(spec: &Spec, key: &str, value: &str, entry: &Entry, findings: &mut Findings) -> Option<Sysctl> {
    let at = format!("/linux/sysctl/{}", pointer_token(key));
    let Some(path) = path(key) else {
        findings.error(at, format!("{key:?} is not the name of a kernel parameter"), SPEC);
        return None;
    };
    let owner = OWNERS.iter().find(|(name, _)| {
        // A directory itself is not a parameter; its `strip_prefix` leaves something.
        if name.ends_with('/') {
            path.strip_prefix(name).is_some_and(|rest| !rest.is_empty())
        } else {
            path == *name
        }
    });
    if let Some(says) = refusal(key, &path, owner.map(|o| o.1), entry) {
        findings.error(at.as_str(), says, SPEC);
    }
    let domain = spec.domainname().as_deref().filter(|domain| !domain.is_empty());
    if let Some(domain) = domain.filter(|domain| path == "kernel/domainname" && *domain != value) {
        let says = format!("is {value:?}, and the property domainname is {domain:?}; remove one of them");
        findings.error(at.as_str(), says, SPEC);
    }
    let file = findings.check(KernelString::path(&format!("sys/{path}")), at.as_str(), SPEC);
    let value = findings.check(KernelString::new(value), at, SPEC);
    Some(Sysctl { key: key.to_owned(), owner: owner?.1, file: file?, value: value? })
}

fn refusal(key: &str, path: &str, owner: Option<Namespace>, entry: &Entry) -> Option<String> {
    if path == "kernel/hostname" {
        return Some("use the property hostname instead".into());
    }
    let Some(owner) = owner else {
        return Some(format!("{key} is not namespaced: to set it would change the host"));
    };
    (!entry.private(owner)).then(|| {
        format!(
            "{key} needs a private {0} namespace: to set it would change the host. \
             Add {{\"type\": \"{0}\"}} to /linux/namespaces",
            owner.name()
        )
    })
}

/// The file of a parameter below /proc/sys. As for sysctl(8), the first separator that occurs is the one that
/// separates, and the other one is the dot of a name such as `eth0.100`.
fn path(key: &str) -> Option<String> {
    let dotted = key.chars().find(|c| ['.', '/'].contains(c)) == Some('.');
    let swapped = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if dotted { key.chars().map(swapped).collect() } else { key.to_owned() };
    let odd = |component: &str| matches!(component, "" | "." | "..");
    (!path.split('/').any(odd)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::super::tests::spec;
    use super::*;
    use crate::plan::namespaces::NamespaceSet;
    use serde_json::{Value, json};

    fn compiled(sysctl: Value, own: &[Namespace]) -> Result<Vec<Sysctl>, Vec<String>> {
        let entry = Entry { unshare: NamespaceSet::of(own), ..Entry::default() };
        let mut findings = Findings::default();
        let sysctls = compile(&spec(json!({"linux": {"sysctl": sysctl}})), &entry, &mut findings);
        let errors = |e: super::super::invalid::Invalid| e.findings().iter().map(|f| f.at.clone()).collect();
        findings.finish().map(|_| sysctls).map_err(errors)
    }

    #[test]
    fn n13_a_parameter_needs_the_namespace_that_owns_it() {
        let cases = [
            ("net.ipv4.ip_forward", Namespace::Network),
            ("kernel.msgmax", Namespace::Ipc),
            ("kernel.sem", Namespace::Ipc),
            ("kernel.shm_rmid_forced", Namespace::Ipc),
            ("fs.mqueue.msg_max", Namespace::Ipc),
            ("kernel.domainname", Namespace::Uts),
            ("user.max_net_namespaces", Namespace::User),
        ];
        for (key, owner) in cases {
            assert_eq!(compiled(json!({key: "1"}), &[owner]).unwrap().len(), 1, "{key}");
            assert_eq!(compiled(json!({key: "1"}), &[Namespace::Mount]).unwrap_err().len(), 1, "{key}");
        }
    }

    #[test]
    fn n13_what_is_not_namespaced_is_refused_whatever_there_is() {
        let all = [Namespace::Ipc, Namespace::Network, Namespace::Uts, Namespace::User];
        let keys = [
            "kernel.hostname",
            "kernel.core_pattern",
            "vm.overcommit_memory",
            "fs.mqueue",
            "net",
            "kernel.semx",
        ];
        for key in keys {
            assert_eq!(compiled(json!({key: "1"}), &all).unwrap_err(), [format!("/linux/sysctl/{key}")]);
        }
    }

    #[test]
    fn n13_dots_and_slashes_mean_what_they_mean_to_sysctl() {
        let cases = [
            ("net.ipv4.ip_forward", "sys/net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "sys/net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/100.rp_filter", "sys/net/ipv4/conf/eth0.100/rp_filter"),
            ("net/ipv4/conf/eth0.100/rp_filter", "sys/net/ipv4/conf/eth0.100/rp_filter"),
        ];
        for (key, file) in cases {
            assert_eq!(compiled(json!({key: "1"}), &[Namespace::Network]).unwrap()[0].file.as_str(), file);
        }
    }

    #[test]
    fn n13_a_key_cannot_leave_its_directory() {
        for key in [
            "net/../kernel/core_pattern",
            "net.//.x",
            "net..x",
            "",
            ".net.x",
            "/net/x",
            "net/./x",
            "net.a\0b",
        ] {
            assert!(compiled(json!({key: "1"}), &[Namespace::Network]).is_err(), "{key:?}");
        }
    }

    #[test]
    fn n13_parameters_are_written_in_the_order_of_their_keys() {
        let sysctls = json!({"net.b": "2 3", "net.a": "1", "kernel.sem": "0"});
        let sysctls = compiled(sysctls, &[Namespace::Network, Namespace::Ipc]).unwrap();
        let keys: Vec<_> = sysctls.iter().map(|s| (s.key.as_str(), s.value.as_str())).collect();
        assert_eq!(keys, [("kernel.sem", "0"), ("net.a", "1"), ("net.b", "2 3")]);
    }
}
