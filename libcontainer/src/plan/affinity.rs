//! The CPUs that a program of exec runs on. Pure. Spec: config.md#linux-process.

use oci_spec::runtime::Process as SpecProcess;
use serde::Serialize;

use super::invalid::Findings;
use super::list;

/// Which CPUs a program that joins a container may use on its way there, and then. See sched_setaffinity(2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Affinity {
    /// CPUs of whoever makes the process, which it inherits, as a bit mask; until it is in the container's cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<Vec<u64>>,
    /// CPUs from then on.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub last: Option<Vec<u64>>,
}

impl Affinity {
    /// The config says nothing about it.
    #[must_use]
    pub fn is_unset(&self) -> bool {
        *self == Affinity::default()
    }
}

/// No kernel has more CPUs: `CONFIG_NR_CPUS` is at most 8192, on x86-64 and powerpc.
pub const MAX_CPUS: u32 = 8192;

/// Reads the two lists. Which of the CPUs this host has is for the kernel to say: it uses those, and refuses a
/// list without any.
pub(super) fn compile(process: &SpecProcess, findings: &mut Findings) -> Affinity {
    let Some(listed) = process.exec_cpu_affinity() else { return Affinity::default() };
    let mut read = |list: &Option<String>, name: &str| {
        let list = list.as_deref().filter(|list| !list.is_empty())?;
        check(list, name, findings)
    };
    Affinity { initial: read(listed.initial(), "initial"), last: read(listed.cpu_affinity_final(), "final") }
}

/// Reads one list, which is not empty.
pub(super) fn check(list: &str, name: &str, findings: &mut Findings) -> Option<Vec<u64>> {
    let at = format!("/process/execCPUAffinity/{name}");
    findings.check(list::mask(list, MAX_CPUS, "CPUs"), at, "config.md#linux-process")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn compiled(value: Value) -> Result<Affinity, Vec<String>> {
        let process = json!({"cwd": "/", "user": {}, "execCPUAffinity": value});
        let mut findings = Findings::default();
        let affinity = compile(&serde_json::from_value(process).unwrap(), &mut findings);
        let places = |e: super::super::invalid::Invalid| e.findings().iter().map(|f| f.at.clone()).collect();
        findings.finish().map(|_| affinity).map_err(places)
    }

    #[test]
    fn p18_both_lists_are_masks_and_either_may_be_left_out() {
        let affinity = compiled(json!({"initial": "7", "final": "0-3,7"})).unwrap();
        assert_eq!(affinity, Affinity { initial: Some(vec![0x80]), last: Some(vec![0x8f]) });
        assert_eq!(compiled(json!({"final": "64"})).unwrap().last, Some(vec![0, 1]));
        assert!(compiled(json!({})).unwrap().is_unset());
    }

    #[test]
    fn p18_any_cpu_that_a_kernel_can_have_may_be_named() {
        assert_eq!(compiled(json!({"final": "8191"})).unwrap().last.unwrap().len(), 128);
        assert_eq!(compiled(json!({"final": "8192"})).unwrap_err(), ["/process/execCPUAffinity/final"]);
        let backwards = json!({"initial": "3-1", "final": "9999999999"});
        let both = ["/process/execCPUAffinity/initial", "/process/execCPUAffinity/final"];
        assert_eq!(compiled(backwards).unwrap_err(), both);
    }
}
