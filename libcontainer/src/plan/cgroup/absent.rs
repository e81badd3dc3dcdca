//! A container without a cgroup: what that takes away. Pure.

use oci_spec::runtime::Spec;

use super::{Cgroup, allows_everything, hierarchies};
use crate::plan::devices;
use crate::plan::facts::Facts;
use crate::plan::invalid::Findings;
use crate::plan::limits;

/// Decides for [`super::Driver::Nobody`]: nothing is made, and what only a cgroup can do is refused by name.
pub(super) fn compile(spec: &Spec, facts: &Facts, findings: &mut Findings) -> Cgroup {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|l| l.resources().as_ref());
    let listed = resources.and_then(|r| r.devices().as_ref()).is_some_and(|list| !list.is_empty());
    let rules = devices::effective(&devices::rules(spec, findings));
    if listed && facts.privileged && !allows_everything(&rules) {
        // Every config has them, written by hand or not. Without CAP_MKNOD they keep little away.
        findings.tolerate(
            "/linux/resources/devices",
            "is not applied without a cgroup (--cgroup-manager=disabled): nothing but missing device nodes keeps \
             the container from devices; leave CAP_MKNOD out of the bounding set",
            "config-linux.md#allowed-device-list",
        );
    }
    let Some(resources) = resources else { return none() };
    let mut asked: Vec<String> = Vec::new();
    for write in
        limits::compile(resources, &hierarchies(&facts.cgroup, None), &facts.cgroup.huge_page_sizes, findings)
    {
        if !asked.contains(&write.at) {
            asked.push(write.at);
        }
    }
    for at in asked {
        let says = "needs a cgroup, and --cgroup-manager=disabled makes none; remove the limit, or leave the flag out";
        findings.error(at, says, "config-linux.md#control-groups");
    }
    none()
}

fn none() -> Cgroup {
    // What is shown of cgroups in there is the runtime's own, as for a user who cannot make any.
    Cgroup { optional: true, ..Cgroup::default() }
}

#[cfg(test)]
mod tests {
    use super::super::Driver;
    use super::*;
    use crate::plan::Choices;
    use crate::plan::tests::{FACTS, choices, spec};
    use serde_json::{Value, json};

    fn compiled(resources: Value) -> Result<(Cgroup, Vec<String>), Vec<String>> {
        let mut findings = Findings::default();
        let choices = Choices { driver: Driver::Nobody, ..choices() };
        let spec = spec(json!({"linux": {"resources": resources}}));
        let cgroup = super::super::compile(&spec, &choices, &FACTS, &mut findings);
        let at = |found: &[crate::plan::invalid::Finding]| found.iter().map(|f| f.at.clone()).collect();
        findings.finish().map(|warnings| (cgroup, at(&warnings))).map_err(|invalid| at(invalid.findings()))
    }

    #[test]
    fn b30_without_a_cgroup_every_limit_is_refused_by_name_and_once() {
        let limits = json!({"memory": {"limit": 5, "swap": 6}, "cpu": {"shares": 2}, "pids": {"limit": 0}});
        let pointer = |at: &str| format!("/linux/resources/{at}");
        assert_eq!(
            compiled(limits).unwrap_err(),
            ["cpu/shares", "memory/limit", "memory/swap", "pids/limit"].map(pointer)
        );
    }

    #[test]
    fn b30_what_asks_for_nothing_is_no_limit_and_device_rules_are_a_warning() {
        let nothing = json!({"memory": {"limit": 0}, "cpu": {"shares": 0}});
        assert_eq!(compiled(nothing).unwrap(), (none(), Vec::new()));
        let (cgroup, warnings) = compiled(json!({"devices": [{"allow": false, "access": "rwm"}]})).unwrap();
        assert!(cgroup.hierarchies.is_empty() && cgroup.writes.is_empty() && cgroup.devices.is_empty());
        assert_eq!(warnings, ["/linux/resources/devices"]);
        let everything = compiled(json!({"devices": [{"allow": true, "access": "rwm"}]})).unwrap();
        assert_eq!(everything.1, Vec::<String>::new());
    }
}
