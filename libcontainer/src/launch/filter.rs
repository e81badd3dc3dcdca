//! Compiles the system call filter, by libseccomp. Runs in the runtime's process.

use std::io::{Read, Seek};
use std::os::fd::AsFd;

use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, ScmpVersion,
};
use nix::errno::Errno;

use crate::init::Filter;
use crate::plan::seccomp::{Action, Compare, Op, Rule, Seccomp};
use crate::sys::creds::Instruction;
use crate::sys::{Call, Stop, fs};

/// Compiles `plan` into a program for the kernel.
///
/// # Errors
/// libseccomp refuses: an architecture or a combination of rules that it does not know.
pub(crate) fn compile(plan: &Seccomp) -> Result<Filter, Stop> {
    let mut context = context(plan).map_err(|_| Stop::new(Call::Seccomp, Errno::EINVAL))?;
    let instructions = export(&mut context)?;
    Ok(Filter { instructions, flags: plan.flags, pass: None })
}

/// The architectures that the library can make filters for, among those that the specification names.
#[must_use]
pub fn architectures() -> Vec<&'static str> {
    let supported = |name: &&&str| {
        let Ok(arch) = name.parse::<ScmpArch>() else { return false };
        ScmpFilterContext::new(ScmpAction::Allow).is_ok_and(|mut context| {
            context.is_arch_present(arch).is_ok_and(|there| there) || context.add_arch(arch).is_ok()
        })
    };
    ARCHITECTURES.iter().filter(supported).copied().collect()
}

/// The version of the library.
#[must_use]
pub fn library_version() -> String {
    ScmpVersion::current().map_or_else(|_| "unknown".to_owned(), |version| version.to_string())
}

/// Every architecture that the specification names. Spec: config-linux.md#seccomp.
const ARCHITECTURES: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

fn context(plan: &Seccomp) -> Result<ScmpFilterContext, SeccompError> {
    let default = action(plan.default);
    let mut context = ScmpFilterContext::new(default)?;
    // A binary search over the numbers instead of a list. Libraries before 2.5 do not know it.
    let _slower = context.set_ctl_optimize(2);
    for name in &plan.architectures {
        let arch: ScmpArch = name.parse()?;
        if !context.is_arch_present(arch)? {
            context.add_arch(arch)?;
        }
    }
    // An action that is the default is refused by libseccomp as of no use.
    for rule in plan.rules.iter().filter(|rule| action(rule.action) != default) {
        add(&mut context, rule)?;
    }
    Ok(context)
}

fn add(context: &mut ScmpFilterContext, rule: &Rule) -> Result<(), SeccompError> {
    let action = action(rule.action);
    let conditions: Vec<ScmpArgCompare> = rule.args.iter().map(condition).collect();
    // Conditions on the same argument cannot stand in one rule of libseccomp: any of them is enough then,
    // which is how Docker writes "one of these values".
    let repeated = (0..6).any(|i| rule.args.iter().filter(|arg| arg.index == i).count() > 1);
    for name in &rule.names {
        // Names differ by architecture and kernel: one that is not known here cannot be called either.
        let Ok(syscall) = ScmpSyscall::from_name(name) else { continue };
        if conditions.is_empty() {
            context.add_rule(action, syscall)?;
        } else if repeated {
            for condition in &conditions {
                context.add_rule_conditional(action, syscall, &[*condition])?;
            }
        } else {
            context.add_rule_conditional(action, syscall, &conditions)?;
        }
    }
    Ok(())
}

fn action(action: Action) -> ScmpAction {
    match action {
        Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
        Action::Trap => ScmpAction::Trap,
        Action::Errno(errno) => ScmpAction::Errno(i32::from(errno)),
        Action::Trace(value) => ScmpAction::Trace(value),
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
        Action::Notify => ScmpAction::Notify,
    }
}

fn condition(arg: &Compare) -> ScmpArgCompare {
    let (op, value) = match arg.op {
        Op::Ne => (ScmpCompareOp::NotEqual, arg.value),
        Op::Lt => (ScmpCompareOp::Less, arg.value),
        Op::Le => (ScmpCompareOp::LessOrEqual, arg.value),
        Op::Eq => (ScmpCompareOp::Equal, arg.value),
        Op::Ge => (ScmpCompareOp::GreaterEqual, arg.value),
        Op::Gt => (ScmpCompareOp::Greater, arg.value),
        Op::MaskedEq => (ScmpCompareOp::MaskedEqual(arg.value), arg.masked),
    };
    ScmpArgCompare::new(u32::from(arg.index), op, value)
}

fn export(context: &mut ScmpFilterContext) -> Result<Vec<Instruction>, Stop> {
    let refused = || Stop::new(Call::Seccomp, Errno::EINVAL);
    let mut file = std::fs::File::from(fs::memory_file(&[])?);
    context.export_bpf(file.as_fd()).map_err(|_| refused())?;
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(|_| refused())?;
    Ok(bytes.chunks_exact(8).filter_map(instruction).collect())
}

/// Reads one struct sock_filter of linux/filter.h.
fn instruction(bytes: &[u8]) -> Option<Instruction> {
    let (code, rest) = bytes.split_first_chunk::<2>()?;
    let ([jt, jf], rest) = rest.split_first_chunk::<2>()?;
    let k = rest.first_chunk::<4>()?;
    Some(Instruction { code: u16::from_ne_bytes(*code), jt: *jt, jf: *jf, k: u32::from_ne_bytes(*k) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(rules: Vec<Rule>) -> Seccomp {
        Seccomp { default: Action::Errno(1), architectures: vec![], flags: 0, rules, listener: None }
    }

    #[test]
    fn s10_a_name_that_no_kernel_knows_is_skipped() {
        let rule = |names: &[&str]| Rule {
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            action: Action::Allow,
            args: vec![],
        };
        let with = compile(&profile(vec![rule(&["read", "no_such_call"])])).unwrap();
        let without = compile(&profile(vec![rule(&["read"])])).unwrap();
        assert_eq!(with, without);
        assert!(!with.instructions.is_empty());
    }

    #[test]
    fn several_values_for_one_argument_are_alternatives() {
        let arg = |value| Compare { index: 0, op: Op::Eq, value, masked: 0 };
        let args = vec![arg(0), arg(8)];
        let rule = Rule { names: vec!["personality".into()], action: Action::Allow, args };
        assert!(compile(&profile(vec![rule])).is_ok());
    }
}
