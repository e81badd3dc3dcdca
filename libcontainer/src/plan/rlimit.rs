//! Resource limits: their names and numbers, and what a config sets them to. Pure.

use oci_spec::runtime::{PosixRlimit, PosixRlimitType};
use serde::Serialize;

use super::invalid::Findings;

/// One resource limit. See getrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE`.
    pub name: &'static str,
    /// Its number.
    #[serde(skip)]
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

const SPEC: &str = "config.md#posix-process";

/// The resource limits by their names and numbers in the kernel, as in include/uapi/asm-generic/resource.h.
/// Alpha, mips and sparc number some of them differently; ketch is not built for those.
const RLIMITS: &[(PosixRlimitType, &str, u32)] = &[
    (PosixRlimitType::RlimitCpu, "RLIMIT_CPU", 0),
    (PosixRlimitType::RlimitFsize, "RLIMIT_FSIZE", 1),
    (PosixRlimitType::RlimitData, "RLIMIT_DATA", 2),
    (PosixRlimitType::RlimitStack, "RLIMIT_STACK", 3),
    (PosixRlimitType::RlimitCore, "RLIMIT_CORE", 4),
    (PosixRlimitType::RlimitRss, "RLIMIT_RSS", 5),
    (PosixRlimitType::RlimitNproc, "RLIMIT_NPROC", 6),
    (PosixRlimitType::RlimitNofile, "RLIMIT_NOFILE", 7),
    (PosixRlimitType::RlimitMemlock, "RLIMIT_MEMLOCK", 8),
    (PosixRlimitType::RlimitAs, "RLIMIT_AS", 9),
    (PosixRlimitType::RlimitLocks, "RLIMIT_LOCKS", 10),
    (PosixRlimitType::RlimitSigpending, "RLIMIT_SIGPENDING", 11),
    (PosixRlimitType::RlimitMsgqueue, "RLIMIT_MSGQUEUE", 12),
    (PosixRlimitType::RlimitNice, "RLIMIT_NICE", 13),
    (PosixRlimitType::RlimitRtprio, "RLIMIT_RTPRIO", 14),
    (PosixRlimitType::RlimitRttime, "RLIMIT_RTTIME", 15),
];

/// Reads the resource limits of a process.
pub(super) fn compile(listed: &[PosixRlimit], findings: &mut Findings) -> Vec<Rlimit> {
    let mut rlimits: Vec<Rlimit> = Vec::new();
    for (i, limit) in listed.iter().enumerate() {
        let at = format!("/process/rlimits/{i}");
        // Every type that can be parsed has a row: there is a test.
        let Some((_, name, resource)) = RLIMITS.iter().find(|row| row.0 == limit.typ()) else { continue };
        if rlimits.iter().any(|other| other.resource == *resource) {
            findings.error(format!("{at}/type"), format!("{name} is listed twice"), SPEC);
        }
        let (soft, hard) = (limit.soft(), limit.hard());
        if soft > hard {
            let says = format!("the soft limit, {soft}, is above the hard limit, {hard}");
            findings.error(format!("{at}/soft"), says, SPEC);
        }
        rlimits.push(Rlimit { name, resource: *resource, soft, hard });
    }
    rlimits
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn compiled(limits: Value) -> Result<Vec<Rlimit>, Vec<String>> {
        let mut findings = Findings::default();
        let listed: Vec<PosixRlimit> = serde_json::from_value(limits).unwrap();
        let limits = compile(&listed, &mut findings);
        findings.finish().map(|_| limits).map_err(|e| e.findings().iter().map(|f| f.at.clone()).collect())
    }

    #[test]
    fn p07_every_type_has_a_row() {
        for (i, (kind, name, number)) in RLIMITS.iter().enumerate() {
            assert_eq!(usize::try_from(*number).unwrap(), i);
            assert_eq!(serde_json::to_value(kind).unwrap(), json!(name));
            let limits = compiled(json!([{"type": name, "soft": 1, "hard": u64::MAX}])).unwrap();
            assert_eq!(limits, [Rlimit { name, resource: *number, soft: 1, hard: u64::MAX }]);
        }
        assert_eq!(RLIMITS.len(), 16);
    }

    #[test]
    fn e14_a_type_that_is_listed_twice_is_refused() {
        let core = json!({"type": "RLIMIT_CORE", "soft": 0, "hard": 0});
        assert_eq!(compiled(json!([core, core])).unwrap_err(), ["/process/rlimits/1/type"]);
    }

    #[test]
    fn p07_a_soft_limit_above_the_hard_one_is_refused() {
        let upside_down = json!([{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]);
        assert_eq!(compiled(upside_down).unwrap_err(), ["/process/rlimits/0/soft"]);
    }
}
