//! The version 1 hierarchy `name=systemd`, for a payload whose systemd knows no other. Pure.
//!
//! `run.oci.systemd.force_cgroup_v1` names a cgroup mount of the config that shows this hierarchy and nothing else.
//! It has no controllers, so that what it is trusted with is nobody's but the container's.

use oci_spec::runtime::Spec;

use super::Driver;
use crate::plan::annotation;
use crate::plan::facts::{Facts, HierarchyFacts};
use crate::plan::invalid::{Findings, pointer_token};

/// The annotation.
pub const ANNOTATION: &str = "run.oci.systemd.force_cgroup_v1";
const SPEC: &str = "config.md#annotations";

/// The destination of the mount that is to show it.
#[must_use]
pub fn asked(spec: &Spec) -> Option<&str> {
    annotation(spec, ANNOTATION)
}

/// This mount of the config is the one.
pub(in crate::plan) fn is_shown_at(spec: &Spec, destination: &str) -> bool {
    asked(spec).is_some_and(|asked| names(asked).eq(names(destination)))
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    super::components(path)
}

/// The hierarchy, if the config asks for it.
pub(super) fn compile(
    spec: &Spec,
    driver: Driver,
    facts: &Facts,
    findings: &mut Findings,
) -> Option<HierarchyFacts> {
    let asked = asked(spec)?;
    let at = format!("/annotations/{}", pointer_token(ANNOTATION));
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let is_cgroup = |kind: &Option<String>| matches!(kind.as_deref(), Some("cgroup" | "cgroup2"));
    let shows = mounts.iter().any(|mount| {
        is_cgroup(mount.typ()) && mount.destination().to_str().is_some_and(|at| is_shown_at(spec, at))
    });
    if !shows {
        let says = format!(
            "names {asked:?}, where the config mounts no file system of type cgroup; \
             give the destination of such a mount, as in /sys/fs/cgroup"
        );
        findings.error(&at, says, SPEC);
    }
    if driver == Driver::Nobody {
        let says =
            "needs a cgroup, and --cgroup-manager=disabled makes none; remove it, or leave the flag out";
        findings.error(&at, says, SPEC);
    }
    if facts.named.is_none() {
        let says = "needs the version 1 hierarchy name=systemd at /sys/fs/cgroup/systemd; make that directory, and \
                    mount it: mount -t cgroup -o none,name=systemd,xattr cgroup /sys/fs/cgroup/systemd";
        findings.error(&at, says, SPEC);
    }
    facts.named.clone()
}

#[cfg(test)]
mod tests {
    use super::super::{Cgroup, tests::facts_of};
    use super::*;
    use crate::plan::Choices;
    use crate::plan::facts::CgroupVersion;
    use crate::plan::tests::{choices, spec};
    use serde_json::{Value, json};

    const NAME: &str = "name=systemd";

    fn named() -> HierarchyFacts {
        let (mount, own) = ("/sys/fs/cgroup/systemd".into(), "/".into());
        HierarchyFacts { version: CgroupVersion::V1, mount, controllers: vec![NAME.into()], own }
    }

    fn compiled(driver: Driver, facts: &Facts, path: &str, mounts: Value) -> Result<Cgroup, String> {
        let mut findings = Findings::default();
        let spec = spec(json!({"annotations": {(ANNOTATION): path}, "mounts": mounts}));
        let cgroup = super::super::compile(&spec, &Choices { driver, ..choices() }, facts, &mut findings);
        findings.finish().map(|_| cgroup).map_err(|invalid| invalid.to_string())
    }

    fn mounted() -> Value {
        json!([{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}])
    }

    #[test]
    fn b33_a09_the_container_is_in_the_named_hierarchy_too_wherever_it_is() {
        for hierarchies in [vec!["v2"], vec!["memory", "v2"], vec![NAME, "memory"]] {
            let facts = Facts { named: Some(named()), ..facts_of(&hierarchies) };
            let cgroup = compiled(Driver::Files, &facts, "/sys/fs/cgroup/", mounted()).unwrap();
            let with_name = cgroup.hierarchies.iter().filter(|h| h.controllers == [NAME]);
            assert_eq!(with_name.count(), 1, "{hierarchies:?}");
            // Version 2 stays the last.
            assert!(cgroup.hierarchies.is_sorted_by_key(|h| h.version == CgroupVersion::V2));
        }
        let facts = Facts { named: Some(named()), ..facts_of(&["v2"]) };
        assert_eq!(compiled(Driver::Files, &facts, "", mounted()).unwrap().hierarchies.len(), 1);
    }

    #[test]
    fn b33_what_cannot_be_shown_is_refused_with_the_fix() {
        let facts = Facts { named: Some(named()), ..facts_of(&["v2"]) };
        let says = |driver, facts: &Facts, path, mounts| compiled(driver, facts, path, mounts).unwrap_err();
        let elsewhere = says(Driver::Files, &facts, "/sys/fs/cgroup/systemd", mounted());
        assert!(elsewhere.contains("mounts no file system of type cgroup"), "{elsewhere}");
        let bound = json!([{"destination": "/sys/fs/cgroup", "source": "/a", "options": ["bind"]}]);
        let bound = says(Driver::Files, &facts, "/sys/fs/cgroup", bound);
        assert!(bound.contains("mounts no file system of type cgroup"), "{bound}");
        let missing = says(Driver::Files, &facts_of(&["v2"]), "/sys/fs/cgroup", mounted());
        assert!(missing.contains("mount -t cgroup -o none,name=systemd,xattr cgroup"), "{missing}");
        let nobody = says(Driver::Nobody, &facts, "/sys/fs/cgroup", mounted());
        assert!(nobody.contains("--cgroup-manager=disabled makes none"), "{nobody}");
    }
}
