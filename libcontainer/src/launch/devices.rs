//! The program that decides about devices in a version 2 cgroup. Runs in the runtime's process.

use crate::plan::devices::{Access, DeviceKind, DeviceRule};
use crate::sys::bpf::Instruction;

// Registers: what the kernel asks about, and the answer.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

// Operations of linux/bpf.h: class, source and code in one byte.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const JUMP_IF_EQUAL: u8 = 0x15;
const EXIT: u8 = 0x95;

// `BPF_DEVCG_DEV_*`
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

fn instruction(code: u8, to: u8, from: u8, offset: i16, constant: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, constant }
}

fn answer(allow: bool) -> [Instruction; 2] {
    [instruction(MOVE, ANSWER, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// Compiles rules into a program: each kind of access is decided by the last rule that names it, and what no
/// rule names is denied.
#[must_use]
pub(super) fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx: access and kind in one word, then major and minor.
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let body = decide(rule);
        let mut tests = Vec::new();
        if let Some(kind) = rule.kind {
            tests.push((KIND, if kind == DeviceKind::Char { CHAR } else { BLOCK }));
        }
        tests.extend(rule.major.map(|major| (MAJOR, major.cast_signed())));
        tests.extend(rule.minor.map(|minor| (MINOR, minor.cast_signed())));
        let count = tests.len();
        for (i, (register, value)) in tests.into_iter().enumerate() {
            // To the rule before, past the other tests and the body.
            let over = i16::try_from(count - i - 1 + body.len()).unwrap_or(i16::MAX);
            program.push(instruction(JUMP_IF_NOT_EQUAL, register, 0, over, value));
        }
        program.extend(body);
        if rule.access == Access::ALL && count == 0 {
            // Nothing passes this rule.
            return program;
        }
    }
    program.extend(answer(false));
    program
}

/// What a rule does to the accesses that are still to be decided.
fn decide(rule: &DeviceRule) -> Vec<Instruction> {
    let named = i32::from(rule.access.0);
    if rule.access == Access::ALL {
        return answer(rule.allow).to_vec();
    }
    let mut body = if rule.allow {
        vec![instruction(AND, ACCESS, 0, 0, !named), instruction(JUMP_IF_NOT_EQUAL, ACCESS, 0, 2, 0)]
    } else {
        vec![
            instruction(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0),
            instruction(AND, SCRATCH, 0, 0, named),
            instruction(JUMP_IF_EQUAL, SCRATCH, 0, 2, 0),
        ]
    };
    body.extend(answer(rule.allow));
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would: a device, an access, allowed or not.
    fn run(program: &[Instruction], kind: i32, access: u8, major: i32, minor: i32) -> bool {
        let mut registers = [0_i32; 7];
        let mut at = 0_usize;
        loop {
            let i = program[at];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let jump = usize::try_from(i.offset).unwrap_or(0);
            at += 1;
            match i.code {
                LOAD_WORD => registers[to] = [i32::from(access) << 16 | kind, major, minor][jump / 4],
                MOVE => registers[to] = i.constant,
                MOVE_REGISTER => registers[to] = registers[from],
                AND => registers[to] &= i.constant,
                SHIFT_RIGHT => registers[to] >>= i.constant,
                JUMP_IF_NOT_EQUAL => at += if registers[to] == i.constant { 0 } else { jump },
                JUMP_IF_EQUAL => at += if registers[to] == i.constant { jump } else { 0 },
                EXIT => return registers[0] == 1,
                other => panic!("operation {other:#x}"),
            }
        }
    }

    fn rule(
        allow: bool,
        kind: Option<DeviceKind>,
        major: Option<u32>,
        minor: Option<u32>,
        access: u8,
    ) -> DeviceRule {
        DeviceRule { allow, kind, major, minor, access: Access(access) }
    }

    #[test]
    fn c02_the_last_rule_decides_each_kind_of_access() {
        let char = Some(DeviceKind::Char);
        let rules = [
            rule(false, None, None, None, 7),
            rule(true, char, None, None, 1),
            rule(true, char, Some(1), Some(3), 7),
            rule(true, char, Some(136), None, 7),
            rule(false, char, Some(136), Some(9), 4),
            rule(true, Some(DeviceKind::Block), Some(8), Some(0), 2),
        ];
        let program = compile(&rules);
        assert!(run(&program, CHAR, 7, 1, 3));
        assert!(run(&program, CHAR, 1, 77, 77));
        assert!(!run(&program, CHAR, 2, 77, 77));
        assert!(run(&program, CHAR, 6, 136, 5));
        assert!(run(&program, CHAR, 2, 136, 9));
        assert!(!run(&program, CHAR, 6, 136, 9));
        assert!(run(&program, BLOCK, 2, 8, 0));
        assert!(!run(&program, BLOCK, 6, 8, 0));
        assert!(!run(&program, BLOCK, 1, 8, 0));
    }

    #[test]
    fn what_no_rule_names_is_denied() {
        assert!(!run(&compile(&[]), CHAR, 1, 1, 3));
    }
}
