//! Cgroups below the one that a config names: those that its annotations ask for, as crun has them. Pure.
//!
//! `run.oci.systemd.subgroup` names the container's cgroup below its unit: limits are there, and systemd, which knows
//! of it nothing but that it is delegated, leaves it alone. `run.oci.delegate-cgroup` names one below that, in which
//! the container's processes are: what they do there does not touch the limits above.

use oci_spec::runtime::Spec;

use super::{Driver, wrong_with_names};
use crate::plan::annotation;
use crate::plan::facts::{CgroupFacts, Facts};
use crate::plan::invalid::{Findings, pointer_token};

/// The annotations that are read here.
pub const ANNOTATIONS: &[&str] = &[SUBGROUP, DELEGATED];
const SUBGROUP: &str = "run.oci.systemd.subgroup";
const DELEGATED: &str = "run.oci.delegate-cgroup";
const SPEC: &str = "config.md#annotations";

/// Paths that go behind another, such as `/payload`; empty for none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Below {
    /// From the unit to the container's cgroup.
    pub(super) subgroup: String,
    /// From the container's cgroup to that of its processes.
    pub(super) delegated: String,
}

/// Reads what the annotations of `spec` ask for.
pub(super) fn compile(spec: &Spec, driver: Driver, facts: &Facts, findings: &mut Findings) -> Below {
    let mut read = |name: &str, impossible: Option<&str>| {
        let asked = annotation(spec, name)?;
        let at = || format!("/annotations/{}", pointer_token(name));
        let names = super::components(asked).map(|name| format!("/{name}")).collect::<String>();
        let empty = names.is_empty().then_some("names no cgroup; give a name, such as payload, or remove it");
        if let Some(wrong) = impossible.or(wrong_with_names(asked)).or(empty) {
            findings.error(at(), wrong, SPEC);
        }
        Some(names)
    };
    // Without systemd there is no unit that it could be below, and nothing that it would have to be kept from.
    let subgroup = if driver == Driver::Systemd { read(SUBGROUP, None) } else { None };
    let delegated = read(DELEGATED, not_delegated(driver, &facts.cgroup));
    Below { subgroup: subgroup.unwrap_or_default(), delegated: delegated.unwrap_or_default() }
}

/// Why no cgroup can be handed to the payload, if none can.
fn not_delegated(driver: Driver, facts: &CgroupFacts) -> Option<&'static str> {
    if driver == Driver::Nobody {
        Some("needs a cgroup, and --cgroup-manager=disabled makes none; remove it, or leave the flag out")
    } else if facts.unified() && !facts.hierarchies.is_empty() {
        None
    } else {
        Some(
            "needs cgroup version 2 alone: whoever may write a controller of version 1 is trusted with the host; \
             remove it",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cgroup, tests::facts_of};
    use super::*;
    use crate::plan::Choices;
    use crate::plan::facts::SystemdFacts;
    use crate::plan::systemd::Manager;
    use crate::plan::tests::{choices, spec};
    use serde_json::{Value, json};

    fn compiled(driver: Driver, facts: &Facts, annotations: Value) -> Result<Cgroup, String> {
        let mut findings = Findings::default();
        let spec = spec(json!({"annotations": annotations}));
        let cgroup = super::super::compile(&spec, &Choices { driver, ..choices() }, facts, &mut findings);
        findings.finish().map(|_| cgroup).map_err(|invalid| invalid.to_string())
    }

    fn on_systemd(names: &[&str]) -> Facts {
        let systemd = SystemdFacts { manager: Manager::System, root: "/".into() };
        Facts { systemd: Some(systemd), ..facts_of(names) }
    }

    const UNIT: &str = "/system.slice/ketch-box.scope";

    #[test]
    fn b28_a09_a_subgroup_is_below_the_unit_and_means_nothing_without_systemd() {
        let places = |driver, name: &str| {
            let cgroup = compiled(driver, &on_systemd(&["v2"]), json!({ (SUBGROUP): name })).unwrap();
            (cgroup.top(0), cgroup.directory(0), cgroup.home(0))
        };
        let place = |below: &str| format!("/sys/fs/cgroup{UNIT}{below}");
        for (name, below) in [("", ""), ("container", "/container"), ("/a//./b/", "/a/b")] {
            assert_eq!(places(Driver::Systemd, name), (place(""), place(below), place(below)), "{name}");
        }
        let plain = "/sys/fs/cgroup/box".to_owned();
        assert_eq!(places(Driver::Files, "container"), (plain.clone(), plain.clone(), plain));
    }

    #[test]
    fn b29_a09_a_delegated_cgroup_is_below_the_one_with_the_limits_with_either_driver() {
        let both = json!({ (SUBGROUP): "app", (DELEGATED): "/init" });
        for (driver, path) in [(Driver::Files, "/box".to_owned()), (Driver::Systemd, format!("{UNIT}/app"))] {
            let cgroup = compiled(driver, &on_systemd(&["v2"]), both.clone()).unwrap();
            assert_eq!(cgroup.path, path);
            assert_eq!(cgroup.directory(0), format!("/sys/fs/cgroup{path}"));
            assert_eq!(cgroup.home(0), format!("/sys/fs/cgroup{path}/init"));
        }
    }

    #[test]
    fn b28_b29_names_that_no_cgroup_has_are_refused_and_version_1_is_not_delegated() {
        for name in ["..", "a/../b", "a\nb", "/", &"x".repeat(256)] {
            for annotation in ANNOTATIONS {
                let annotations = json!({ (*annotation): name });
                let wrong = compiled(Driver::Systemd, &on_systemd(&["v2"]), annotations).unwrap_err();
                assert!(wrong.contains(&format!("/annotations/{annotation}")), "{wrong}");
            }
        }
        let delegated = || json!({ (DELEGATED): "payload" });
        for hierarchies in [vec!["memory", "v2"], vec!["memory"], vec![]] {
            let wrong = compiled(Driver::Files, &facts_of(&hierarchies), delegated()).unwrap_err();
            assert!(wrong.contains("needs cgroup version 2 alone"), "{wrong}");
        }
        let wrong = compiled(Driver::Nobody, &facts_of(&["v2"]), delegated()).unwrap_err();
        assert!(wrong.contains("--cgroup-manager=disabled makes none"), "{wrong}");
        // What is empty asks for nothing.
        assert!(compiled(Driver::Nobody, &facts_of(&["memory"]), json!({ (DELEGATED): "" })).is_ok());
    }

    #[test]
    fn b29_who_asks_for_a_delegated_cgroup_does_not_do_without_one() {
        let facts = Facts { privileged: false, uid: 1000, ..facts_of(&["v2"]) };
        let optional = |annotations| compiled(Driver::Files, &facts, annotations).unwrap().optional;
        assert!(optional(json!({})) && !optional(json!({ (DELEGATED): "payload" })));
    }
}
