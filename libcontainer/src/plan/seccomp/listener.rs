//! The agent that decides about system calls with the action NOTIFY. Pure.

use std::path::Path;

use oci_spec::runtime::{LinuxSeccomp, Spec};
use serde::{Deserialize, Serialize};

use super::{AT, SPEC};
use crate::path::KernelString;
use crate::plan::annotation;
use crate::plan::invalid::Findings;

/// Every thread of the process gets the filter.
pub(super) const TSYNC: u32 = 1;

/// Loading the filter gives a listener.
const NEW_LISTENER: u32 = 8;

/// Says in another way that a thread could not get the filter: the usual one is the listener's number.
const TSYNC_ESRCH: u32 = 16;

/// Once the agent has been asked, only a fatal signal ends the wait.
pub(super) const WAIT_KILLABLE_RECV: u32 = 32;

/// The annotation by which crun was told of the agent before the specification had a way.
const RECEIVER: &str = "run.oci.seccomp.receiver";

/// How to reach the agent that decides about system calls. Spec: config-linux.md#containerprocessstate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its socket; a relative path counts from the bundle.
    pub path: KernelString,
    /// What it is told beside the container's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

/// The agent, if it is asked anything; otherwise its path means nothing.
pub(super) fn compile(
    seccomp: &LinuxSeccomp,
    spec: &Spec,
    asks: bool,
    findings: &mut Findings,
) -> Option<Listener> {
    let own = seccomp.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty());
    let annotated = annotation(spec, RECEIVER).map(Path::new);
    let path = own.or(annotated);
    let at = if path == own { format!("{AT}/listenerPath") } else { format!("/annotations/{RECEIVER}") };
    let metadata = seccomp.listener_metadata();
    if path.is_none() && metadata.as_ref().is_some_and(|m| !m.is_empty()) {
        let says = "is for the listener, and there is no listenerPath; add it, or remove this";
        findings.error(format!("{AT}/listenerMetadata"), says, SPEC);
    }
    if !asks {
        return None;
    }
    let Some(path) = path else {
        let says =
            "is missing: SCMP_ACT_NOTIFY asks the agent that listens there; add it, or take another action";
        findings.error(at, says, SPEC);
        return None;
    };
    match KernelString::path(path.to_str().unwrap_or_default()) {
        Ok(path) => Some(Listener { path, metadata: metadata.clone() }),
        Err(unusable) => {
            findings.error(at, unusable.to_string(), SPEC);
            None
        }
    }
}

/// The bits of the config, and those without which the kernel would refuse them.
pub(super) fn complete(bits: u32, asks: bool) -> u32 {
    match (asks, bits & TSYNC != 0) {
        // Nobody is waited for.
        (false, _) => bits & !WAIT_KILLABLE_RECV,
        (true, false) => bits | NEW_LISTENER,
        (true, true) => bits | NEW_LISTENER | TSYNC_ESRCH,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Seccomp, compile};
    use super::*;
    use crate::plan::tests::spec;

    fn compiled(seccomp: Value) -> Result<Seccomp, Vec<String>> {
        let mut findings = Findings::default();
        let filter = compile(&spec(json!({"linux": {"seccomp": seccomp}})), &mut findings);
        let found = |e: crate::plan::invalid::Invalid| e.findings().iter().map(|f| f.at.clone()).collect();
        findings.finish().map(|_| filter.unwrap()).map_err(found)
    }

    #[test]
    fn s07_a_rule_or_the_default_that_asks_makes_a_listener_and_nothing_else_does() {
        let rule = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
        let listener = |seccomp| compiled(seccomp).unwrap().listener;
        let expected = Some(Listener { path: KernelString::new("/l").unwrap(), metadata: Some("m".into()) });
        let by_rule = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule, "listenerPath": "/l", "listenerMetadata": "m"});
        assert_eq!(listener(by_rule), expected);
        let by_default =
            json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/l", "listenerMetadata": "m"});
        assert_eq!(listener(by_default), expected);
        let unused =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/l", "listenerMetadata": "m"});
        assert_eq!(listener(unused), None);
    }

    #[test]
    fn s07_who_asks_needs_a_path() {
        for path in [json!(null), json!(""), json!("x".repeat(5000)), json!("a\0b")] {
            let seccomp = json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": path});
            assert_eq!(compiled(seccomp).unwrap_err(), ["/linux/seccomp/listenerPath"], "{path}");
        }
    }

    #[test]
    fn a03_an_annotation_names_the_agent_where_the_config_does_not() {
        let listener = |own: Value, receiver: &str| {
            let seccomp = json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": own});
            let config = json!({"linux": {"seccomp": seccomp}, "annotations": {(RECEIVER): receiver}});
            let mut findings = Findings::default();
            let filter = compile(&spec(config), &mut findings);
            let path = filter.and_then(|filter| Some(filter.listener?.path.to_string()));
            findings.finish().map(|_| path).map_err(|invalid| invalid.findings()[0].at.clone())
        };
        assert_eq!(listener(json!(null), "/annotated"), Ok(Some("/annotated".to_owned())));
        assert_eq!(listener(json!("/own"), "/annotated"), Ok(Some("/own".to_owned())));
        assert_eq!(listener(json!(null), &"x".repeat(5000)), Err(format!("/annotations/{RECEIVER}")));
        assert_eq!(listener(json!(null), ""), Err("/linux/seccomp/listenerPath".to_owned()));
    }

    #[test]
    fn s08_e32_metadata_without_a_listener_is_refused() {
        for path in [json!(null), json!("")] {
            let seccomp =
                json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "m"});
            assert_eq!(compiled(seccomp).unwrap_err(), ["/linux/seccomp/listenerMetadata"], "{path}");
        }
    }

    #[test]
    fn s05_a_listener_has_the_flags_that_the_kernel_wants_with_it_and_no_others() {
        assert_eq!(complete(0, true), NEW_LISTENER);
        assert_eq!(complete(TSYNC, true), TSYNC | NEW_LISTENER | TSYNC_ESRCH);
        assert_eq!(complete(WAIT_KILLABLE_RECV, true), WAIT_KILLABLE_RECV | NEW_LISTENER);
        assert_eq!(complete(TSYNC | WAIT_KILLABLE_RECV, false), TSYNC);
    }
}
