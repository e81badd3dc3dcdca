//! Network devices of the host that the container gets. Pure.

use nix::libc;
use oci_spec::runtime::Spec;
use serde::Serialize;

use super::facts::Facts;
use super::invalid::{Findings, pointer_token};
use super::namespaces::{Entry, Namespace};
use crate::path::KernelString;

/// A network device that is moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetDevice {
    /// Its name in the runtime's network namespace.
    pub host: KernelString,
    /// Its name in the container's. One that ends in `%d` stands for the first number that is free.
    pub name: KernelString,
}

const SPEC: &str = "config-linux.md#network-devices";
/// Stands for a number at the end of a name.
pub const NUMBER: &str = "%d";
/// See capabilities(7).
const CAP_NET_ADMIN: u64 = 1 << 12;

/// Reads the network devices of `spec`, sorted by their names on the host.
pub(super) fn compile(spec: &Spec, entry: &Entry, facts: &Facts, findings: &mut Findings) -> Vec<NetDevice> {
    let Some(listed) = spec.linux().as_ref().and_then(|l| l.net_devices().as_ref()) else {
        return Vec::new();
    };
    let mut error = |at: &str, says: &str| findings.error(at, says, SPEC);
    if listed.is_empty() {
        return Vec::new();
    }
    if !entry.private(Namespace::Network) {
        error(
            "/linux/netDevices",
            "devices are moved into the container's network namespace, and it has the runtime's. \
             Add {\"type\": \"network\"} to /linux/namespaces",
        );
    }
    if facts.capabilities & CAP_NET_ADMIN == 0 {
        error(
            "/linux/netDevices",
            "to move a device takes CAP_NET_ADMIN, which the runtime does not have; \
             run it as root, or have the device made in the container's namespace",
        );
    }
    if listed.len() > usize::from(u16::MAX) {
        error("/linux/netDevices", "more than 65535 devices");
    }
    let mut sorted: Vec<_> = listed.iter().collect();
    sorted.sort_by_key(|(host, _)| host.as_str());
    let mut devices: Vec<NetDevice> = Vec::with_capacity(sorted.len());
    for (host, device) in sorted {
        let at = format!("/linux/netDevices/{}", pointer_token(host));
        if let Some(wrong) = wrong_with(host, false) {
            error(&at, &format!("{host:?} is not the name of a network device: it {wrong}"));
        }
        let name = device.name().as_deref().filter(|name| !name.is_empty()).unwrap_or(host);
        let at_name = format!("{at}/name");
        if let Some(wrong) = wrong_with(name, true).filter(|_| name != host) {
            error(&at_name, &format!("{name:?} cannot be the name of a network device: it {wrong}"));
        }
        let taken = devices.iter().find(|d| d.name.as_str() == name && !name.ends_with(NUMBER));
        if let Some(other) = taken {
            let says =
                format!("{} gets the name {name} too; give each another, or one that ends in %d", other.host);
            error(&at_name, &says);
        }
        if let (Ok(host), Ok(name)) = (KernelString::new(host.as_str()), KernelString::new(name)) {
            devices.push(NetDevice { host, name });
        }
    }
    devices
}

/// What the kernel has against a name (`dev_valid_name` and `dev_alloc_name`, net/core/dev.c).
fn wrong_with(name: &str, may_be_template: bool) -> Option<&'static str> {
    let stem = if may_be_template { name.strip_suffix(NUMBER).unwrap_or(name) } else { name };
    let forbidden = |c: char| c.is_ascii_whitespace() || matches!(c, '/' | ':' | '\0' | '\x0b');
    match name {
        "" => Some("is empty"),
        "." | ".." => Some("is the name of a directory"),
        _ if name.len() >= libc::IFNAMSIZ => Some("is longer than 15 bytes"),
        _ if name.contains(forbidden) => Some("has a blank, a slash, a colon or a NUL byte in it"),
        _ if stem.contains('%') && may_be_template => Some("has a % that is not that of a %d at its end"),
        _ if stem.contains('%') => Some("has a % in it"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{FACTS, spec};
    use super::*;
    use crate::plan::namespaces::NamespaceSet;
    use serde_json::{Value, json};

    fn compiled(devices: Value) -> Result<Vec<(String, String)>, Vec<String>> {
        let entry = Entry { unshare: NamespaceSet::of(&[Namespace::Network]), ..Entry::default() };
        let mut findings = Findings::default();
        let spec = spec(json!({"linux": {"netDevices": devices}}));
        let devices = compile(&spec, &entry, &FACTS, &mut findings);
        let names = devices.into_iter().map(|d| (d.host.to_string(), d.name.to_string())).collect();
        let errors = |e: super::super::invalid::Invalid| e.findings().iter().map(|f| f.at.clone()).collect();
        findings.finish().map(|_| names).map_err(errors)
    }

    #[test]
    fn d08_a_device_keeps_its_name_unless_it_gets_another() {
        let devices = compiled(json!({"eth1": {"name": "box0"}, "eth0": {}, "eth2": {"name": ""}})).unwrap();
        let names = [("eth0", "eth0"), ("eth1", "box0"), ("eth2", "eth2")];
        assert_eq!(devices, names.map(|(host, name)| (host.to_owned(), name.to_owned())));
    }

    #[test]
    fn d09_two_devices_have_one_name_only_as_a_template() {
        let both = |name: &str| json!({"a": {"name": name}, "b": {"name": name}});
        assert_eq!(compiled(both("net")), Err(vec!["/linux/netDevices/b/name".into()]));
        assert_eq!(compiled(both("net%d")).unwrap().len(), 2);
        assert_eq!(compiled(json!({"a": {}, "b": {"name": "a"}})).unwrap_err(), ["/linux/netDevices/b/name"]);
    }

    #[test]
    fn d08_names_are_those_that_the_kernel_takes() {
        for name in ["a", "eth0.100", "fifteen-letters", "wlan%d", "%d", "veth@x"] {
            assert!(compiled(json!({"eth0": {"name": name}})).is_ok(), "{name}");
        }
        for name in [
            ".",
            "..",
            "a/b",
            "a b",
            "a\tb",
            "a\x0bb",
            "a:b",
            "sixteen-letters-",
            "a%db",
            "a%s",
            "a%",
            "%d%d",
            "a\0b",
        ] {
            assert!(compiled(json!({"eth0": {"name": name}})).is_err(), "{name:?}");
        }
        for host in ["", ".", "a/b", "eth%d", "sixteen-letters-"] {
            assert!(compiled(json!({host: {"name": "a"}})).is_err(), "{host:?}");
        }
    }
}
