//! libseccomp's own compiler, which profiles are written for.

use std::io::{Read, Seek};
use std::os::fd::AsFd;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use super::super::architecture::Architecture;
use crate::plan::seccomp::{Action, Compare, Op, Rule, Seccomp};
use crate::sys::creds::Instruction;
use crate::sys::fs;

/// libseccomp's filter of these rules, optimised, for the native architecture and `architectures`. Those that cannot
/// be in one filter with the native one, because their bytes are the other way round, have to be alone.
pub(super) fn compile(
    plan: &Seccomp,
    architectures: &[&Architecture],
) -> Result<Vec<Instruction>, SeccompError> {
    let big_endian = architectures.iter().any(|architecture| architecture.audit & 0x4000_0000 == 0);
    let default = action(plan.default);
    let mut context = ScmpFilterContext::new(default)?;
    context.set_ctl_optimize(2)?;
    if big_endian {
        context.remove_arch(ScmpArch::Native)?;
    }
    for architecture in architectures {
        let token: ScmpArch = architecture.name.parse()?;
        if !context.is_arch_present(token)? {
            context.add_arch(token)?;
        }
    }
    for rule in plan.rules.iter().filter(|rule| action(rule.action) != default) {
        add(&mut context, rule)?;
    }
    let mut file = std::fs::File::from(fs::memory_file(&[]).unwrap());
    context.export_bpf(file.as_fd())?;
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    Ok(bytes.chunks_exact(8).map(|bytes| instruction(bytes, big_endian)).collect())
}

fn add(context: &mut ScmpFilterContext, rule: &Rule) -> Result<(), SeccompError> {
    let action = action(rule.action);
    let conditions: Vec<ScmpArgCompare> = rule.args.iter().map(condition).collect();
    let repeated = (0..6).any(|i| rule.args.iter().filter(|arg| arg.index == i).count() > 1);
    for name in &rule.names {
        let Ok(syscall) = ScmpSyscall::from_name(name) else { continue };
        if repeated {
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

/// Reads one struct sock_filter of linux/filter.h.
fn instruction(bytes: &[u8], big_endian: bool) -> Instruction {
    let [c0, c1, jt, jf, k0, k1, k2, k3] = *bytes.first_chunk().unwrap();
    let (code, k) = ([c0, c1], [k0, k1, k2, k3]);
    let (code, k) = if big_endian {
        let (code, k) = (u16::from_be_bytes(code), u32::from_be_bytes(k));
        // libseccomp repeats a return that is far away, and swaps the bytes of its value once more (2.5.4).
        let actions = [0x8000, 0x0003, 0x0005, 0x7ff0, 0x7ffc, 0x7fff];
        let twice = code == 0x06 && k != 0 && !actions.contains(&(k >> 16));
        (code, if twice { k.swap_bytes() } else { k })
    } else {
        (u16::from_le_bytes(code), u32::from_le_bytes(k))
    };
    Instruction { code, jt, jf, k }
}
