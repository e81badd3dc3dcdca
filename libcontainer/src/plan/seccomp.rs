//! The system call filter, as typed rules; the filter itself is compiled by `launch/filter.rs`. Pure.

mod listener;

use oci_spec::runtime::{
    Arch, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
    Spec,
};
use serde::Serialize;

use super::invalid::Findings;
use listener::{TSYNC, WAIT_KILLABLE_RECV};

pub use listener::Listener;

const SPEC: &str = "config-linux.md#seccomp";
const AT: &str = "/linux/seccomp";

/// What a refused call fails with if the config does not say.
const EPERM: u16 = 1;

/// The kernel's largest errno (linux/err.h); it would lower a larger one without a word.
const MAX_ERRNO: u16 = 4095;

/// The flags with their bits in linux/seccomp.h.
const FLAGS: &[(LinuxSeccompFilterFlag, u32)] = &[
    (LinuxSeccompFilterFlag::SeccompFilterFlagTsync, TSYNC),
    (LinuxSeccompFilterFlag::SeccompFilterFlagLog, 2),
    (LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow, 4),
    (LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv, WAIT_KILLABLE_RECV),
];

/// The actions that are applied, for `features`.
pub const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// The comparisons, by name.
const OPERATORS: &[(LinuxSeccompOperator, Op)] = &[
    (LinuxSeccompOperator::ScmpCmpEq, Op::Eq),
    (LinuxSeccompOperator::ScmpCmpGe, Op::Ge),
    (LinuxSeccompOperator::ScmpCmpGt, Op::Gt),
    (LinuxSeccompOperator::ScmpCmpLe, Op::Le),
    (LinuxSeccompOperator::ScmpCmpLt, Op::Lt),
    (LinuxSeccompOperator::ScmpCmpMaskedEq, Op::MaskedEq),
    (LinuxSeccompOperator::ScmpCmpNe, Op::Ne),
];

/// The flags by name, for `features`.
#[must_use]
pub fn flag_names() -> Vec<String> {
    FLAGS.iter().map(|row| row.0.to_string()).collect()
}

/// The comparisons by name, for `features`.
#[must_use]
pub fn operator_names() -> Vec<String> {
    OPERATORS.iter().map(|row| row.0.to_string()).collect()
}

/// A system call filter. See seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    /// What happens to a call that no rule names.
    pub default: Action,
    /// Architectures beside the native one, by libseccomp's names: `SCMP_ARCH_X86`.
    pub architectures: Vec<String>,
    /// `SECCOMP_FILTER_FLAG_` bits.
    pub flags: u32,
    /// Rules, in listed order.
    pub rules: Vec<Rule>,
    /// Who decides about calls with the action [`Action::Notify`], if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
}

impl Seccomp {
    /// The call is allowed whatever its arguments, on every architecture that has it.
    #[must_use]
    pub fn always_allows(&self, call: &str) -> bool {
        let allows = |action| matches!(action, Action::Allow | Action::Log);
        let rules = || self.rules.iter().filter(|rule| rule.names.iter().any(|name| name == call));
        let settled = allows(self.default) || rules().any(|rule| rule.args.is_empty());
        settled && rules().all(|rule| allows(rule.action))
    }
}

/// A rule: the action for some system calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// System calls by name; names that an architecture does not have are skipped.
    pub names: Vec<String>,
    /// What happens.
    pub action: Action,
    /// Only when all of these hold for the arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Compare>,
}

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// The thread is killed.
    KillThread,
    /// The process is killed.
    KillProcess,
    /// SIGSYS is sent.
    Trap,
    /// It fails with this errno.
    Errno(u16),
    /// A tracer decides, and gets this value.
    Trace(u16),
    /// It is allowed and logged.
    Log,
    /// It is allowed.
    Allow,
    /// The agent at the listener's path decides.
    Notify,
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compare {
    /// Which argument, from 0 to 5.
    pub index: u8,
    /// How it is compared.
    pub op: Op,
    /// With what; the mask for `MaskedEq`.
    pub value: u64,
    /// With what under the mask, for `MaskedEq`.
    pub masked: u64,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq,
}

/// Reads the filter of `spec`.
pub fn compile(spec: &Spec, findings: &mut Findings) -> Option<Seccomp> {
    let seccomp = spec.linux().as_ref()?.seccomp().as_ref()?;
    let (default, ret) = (seccomp.default_action(), seccomp.default_errno_ret());
    let default = action(default, ret, format!("{AT}/defaultErrnoRet"), findings);
    let rules = seccomp.syscalls().iter().flatten().enumerate();
    let rules: Vec<Rule> =
        rules.filter_map(|(i, rule)| read_rule(rule, &format!("{AT}/syscalls/{i}"), findings)).collect();
    let asks = default.iter().chain(rules.iter().map(|rule| &rule.action)).any(|a| *a == Action::Notify);
    let listener = listener::compile(seccomp, spec, asks, findings);
    Some(Seccomp {
        default: default?,
        architectures: architectures(spec),
        flags: listener::complete(bits(seccomp.flags().as_deref().unwrap_or_default()), asks),
        rules,
        listener,
    })
}

fn bits(flags: &[LinuxSeccompFilterFlag]) -> u32 {
    FLAGS.iter().filter(|row| flags.contains(&row.0)).fold(0, |bits, row| bits | row.1)
}

/// The architectures that the filter of `spec` names, each once. The native one always has a filter, so its alias
/// says nothing.
#[must_use]
pub fn architectures(spec: &Spec) -> Vec<String> {
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let listed = seccomp.and_then(|seccomp| seccomp.architectures().as_deref()).unwrap_or_default();
    let mut names: Vec<String> = Vec::with_capacity(listed.len());
    for name in listed.iter().filter(|arch| **arch != Arch::ScmpArchNative).map(ToString::to_string) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn read_rule(rule: &LinuxSyscall, at: &str, findings: &mut Findings) -> Option<Rule> {
    if rule.names().is_empty() {
        findings.error(format!("{at}/names"), "is empty; name at least one system call", SPEC);
    }
    for (i, name) in rule.names().iter().enumerate().filter(|(_, n)| n.is_empty() || n.contains('\0')) {
        findings.error(format!("{at}/names/{i}"), format!("{name:?} is not the name of a system call"), SPEC);
    }
    let action = action(rule.action(), rule.errno_ret(), format!("{at}/errnoRet"), findings);
    let args = rule.args().iter().flatten().enumerate();
    let args = args.filter_map(|(i, arg)| compare(*arg, &format!("{at}/args/{i}"), findings)).collect();
    Some(Rule { names: rule.names().clone(), action: action?, args })
}

/// An action with its number, which is in the config at `at_ret`.
fn action(
    action: LinuxSeccompAction,
    ret: Option<u32>,
    at_ret: String,
    findings: &mut Findings,
) -> Option<Action> {
    let number = ret.map_or(Some(EPERM), |ret| u16::try_from(ret).ok());
    let too_big = |limit: u16| format!("{} is more than {limit}", ret.unwrap_or_default());
    match action {
        LinuxSeccompAction::ScmpActErrno => {
            let number = number.filter(|n| *n <= MAX_ERRNO);
            if number.is_none() {
                findings.error(at_ret, too_big(MAX_ERRNO), SPEC);
            }
            return number.map(Action::Errno);
        }
        LinuxSeccompAction::ScmpActTrace => {
            if number.is_none() {
                findings.error(at_ret, too_big(u16::MAX), SPEC);
            }
            return number.map(Action::Trace);
        }
        _ => {}
    }
    if ret.is_some() {
        findings.error(at_ret, format!("{action} takes no errno; remove it, or use SCMP_ACT_ERRNO"), SPEC);
    }
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Some(Action::KillThread),
        LinuxSeccompAction::ScmpActKillProcess => Some(Action::KillProcess),
        LinuxSeccompAction::ScmpActTrap => Some(Action::Trap),
        LinuxSeccompAction::ScmpActLog => Some(Action::Log),
        LinuxSeccompAction::ScmpActAllow => Some(Action::Allow),
        LinuxSeccompAction::ScmpActNotify => Some(Action::Notify),
        LinuxSeccompAction::ScmpActErrno | LinuxSeccompAction::ScmpActTrace => None,
    }
}

fn compare(arg: LinuxSeccompArg, at: &str, findings: &mut Findings) -> Option<Compare> {
    let Some(index) = u8::try_from(arg.index()).ok().filter(|index| *index <= 5) else {
        let says = format!("{} is not between 0 and 5: a system call has six arguments", arg.index());
        findings.error(format!("{at}/index"), says, SPEC);
        return None;
    };
    let op = OPERATORS.iter().find(|row| row.0 == arg.op()).map(|row| row.1)?;
    Some(Compare { index, op, value: arg.value(), masked: arg.value_two().unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::spec;
    use super::*;
    use serde_json::{Value, json};

    fn compiled(seccomp: Value) -> Result<Seccomp, Vec<String>> {
        let mut findings = Findings::default();
        let filter = compile(&spec(json!({"linux": {"seccomp": seccomp}})), &mut findings);
        let errors = |e: super::super::invalid::Invalid| {
            e.findings().iter().map(|f| f.at.trim_start_matches(AT).to_owned()).collect()
        };
        findings.finish().map(|_| filter.unwrap()).map_err(errors)
    }

    fn rule(rule: Value) -> Result<Rule, Vec<String>> {
        let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        compiled(seccomp).map(|mut s| s.rules.remove(0))
    }

    #[test]
    fn s01_s06_a_config_without_seccomp_has_no_filter_and_one_without_rules_or_flags_has_none_of_them() {
        assert_eq!(compile(&spec(json!({"linux": {}})), &mut Findings::default()), None);
        let seccomp = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW"})).unwrap();
        assert_eq!((seccomp.default, seccomp.flags, seccomp.rules.len()), (Action::Allow, 0, 0));
    }

    #[test]
    fn s01_every_action_of_features_compiles() {
        for action in ACTIONS {
            assert!(compiled(json!({"defaultAction": action, "listenerPath": "/l"})).is_ok(), "{action}");
        }
    }

    #[test]
    fn s01_every_action_has_its_meaning() {
        let cases = [
            ("KILL", Action::KillThread),
            ("KILL_THREAD", Action::KillThread),
            ("KILL_PROCESS", Action::KillProcess),
            ("TRAP", Action::Trap),
            ("ERRNO", Action::Errno(1)),
            ("TRACE", Action::Trace(1)),
            ("LOG", Action::Log),
            ("ALLOW", Action::Allow),
            ("NOTIFY", Action::Notify),
        ];
        for (name, action) in cases {
            let config = json!({"defaultAction": format!("SCMP_ACT_{name}"), "listenerPath": "/l"});
            assert_eq!(compiled(config).unwrap().default, action);
        }
    }

    #[test]
    fn s02_an_errno_is_taken_from_the_rule_or_the_default() {
        let seccomp = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38});
        assert_eq!(compiled(seccomp).unwrap().default, Action::Errno(38));
        let errno = |ret: u32| rule(json!({"names": ["x"], "action": "SCMP_ACT_ERRNO", "errnoRet": ret}));
        assert_eq!(errno(0).unwrap().action, Action::Errno(0));
        assert_eq!(errno(4095).unwrap().action, Action::Errno(4095));
        assert_eq!(errno(4096).unwrap_err(), ["/syscalls/0/errnoRet"]);
        let trace = |ret: u32| rule(json!({"names": ["x"], "action": "SCMP_ACT_TRACE", "errnoRet": ret}));
        assert_eq!(trace(0xffff).unwrap().action, Action::Trace(0xffff));
        assert_eq!(trace(0x10000).unwrap_err(), ["/syscalls/0/errnoRet"]);
    }

    #[test]
    fn e30_an_errno_for_an_action_that_takes_none_is_refused() {
        let allow = json!({"names": ["x"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1});
        assert_eq!(rule(allow).unwrap_err(), ["/syscalls/0/errnoRet"]);
        let kill = json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1});
        assert_eq!(compiled(kill).unwrap_err(), ["/defaultErrnoRet"]);
    }

    #[test]
    fn s04_architectures_keep_libseccomps_names() {
        let names = "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE \
                     S390 S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB";
        let names: Vec<String> = names.split_whitespace().map(|n| format!("SCMP_ARCH_{n}")).collect();
        assert_eq!(names.len(), 23);
        let seccomp = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": names})).unwrap();
        assert_eq!(seccomp.architectures, names);
        let twice = json!(["SCMP_ARCH_NATIVE", "SCMP_ARCH_X86", "SCMP_ARCH_X86"]);
        let seccomp = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": twice})).unwrap();
        assert_eq!(seccomp.architectures, ["SCMP_ARCH_X86"]);
    }

    #[test]
    fn s05_flags_are_bits() {
        let flags = ["TSYNC", "LOG", "SPEC_ALLOW"];
        for (flag, bit) in flags.into_iter().zip([1, 2, 4]) {
            let flag = format!("SECCOMP_FILTER_FLAG_{flag}");
            let seccomp = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [flag]})).unwrap();
            assert_eq!(seccomp.flags, bit);
        }
    }

    #[test]
    fn s09_conditions_keep_their_operator_and_values() {
        let arg = json!({"index": 1, "value": 0xff, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"});
        let read = rule(json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [arg]})).unwrap();
        assert_eq!(read.args, [Compare { index: 1, op: Op::MaskedEq, value: 0xff, masked: 2 }]);
        let ops = ["NE", "LT", "LE", "EQ", "GE", "GT"].into_iter();
        for (name, op) in ops.zip([Op::Ne, Op::Lt, Op::Le, Op::Eq, Op::Ge, Op::Gt]) {
            let arg = json!({"index": 5, "value": u64::MAX, "op": format!("SCMP_CMP_{name}")});
            let read = rule(json!({"names": ["x"], "action": "SCMP_ACT_LOG", "args": [arg]})).unwrap();
            assert_eq!(read.args[0], Compare { index: 5, op, value: u64::MAX, masked: 0 });
        }
    }

    #[test]
    fn s09_a_seventh_argument_or_a_rule_about_nothing_is_refused() {
        let arg = json!({"index": 6, "value": 0, "op": "SCMP_CMP_EQ"});
        let seventh = json!({"names": ["x"], "action": "SCMP_ACT_LOG", "args": [arg]});
        assert_eq!(rule(seventh).unwrap_err(), ["/syscalls/0/args/0/index"]);
        assert_eq!(rule(json!({"names": [], "action": "SCMP_ACT_LOG"})).unwrap_err(), ["/syscalls/0/names"]);
    }

    #[test]
    fn s10_names_that_nobody_knows_stay_for_the_compiler_to_skip() {
        let names = ["read", "no_such_call"];
        assert_eq!(rule(json!({"names": names, "action": "SCMP_ACT_LOG"})).unwrap().names, names);
    }
}
