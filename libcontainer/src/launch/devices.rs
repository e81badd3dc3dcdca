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
const SHIFT_LEFT_BY_REGISTER: u8 = 0x6c;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_GREATER: u8 = 0x25;
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
    let mut left = rules;
    while let Some((rule, before)) = left.split_last() {
        let alike =
            left.iter().rev().take_while(|other| Numbered::of(other).is_some_and(|n| n.is_like(rule)));
        let alike = alike.count();
        if alike > 1 {
            let (others, list) = left.split_at(left.len() - alike);
            program.extend(decide_list(list));
            left = others;
            continue;
        }
        left = before;
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

/// A rule about one device, for all that can be done with it. Neighbours of this kind with the same answer have no
/// order: they are decided together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbered {
    allow: bool,
    kind: DeviceKind,
    major: u32,
    minor: u32,
}

impl Numbered {
    /// `None` for any other rule, and for a minor number that has no bit in a word.
    fn of(rule: &DeviceRule) -> Option<Numbered> {
        let (kind, major, minor) = (rule.kind?, rule.major?, rule.minor?);
        let fits = rule.access == Access::ALL && minor < u32::BITS;
        fits.then_some(Numbered { allow: rule.allow, kind, major, minor })
    }

    fn is_like(self, rule: &DeviceRule) -> bool {
        Numbered::of(rule).is_some_and(|other| (other.allow, other.kind) == (self.allow, self.kind))
    }
}

/// A branch for each major number, with its minor ones as a bit mask: the kernel, which follows every path when it
/// checks a program, takes half the time that it takes for a branch for each device.
fn decide_list(list: &[DeviceRule]) -> Vec<Instruction> {
    let numbered: Vec<Numbered> = list.iter().filter_map(Numbered::of).collect();
    let Some(first) = numbered.first().copied() else { return Vec::new() };
    let mut masks: Vec<(u32, u32)> = Vec::new();
    for Numbered { major, minor, .. } in numbered {
        match masks.iter_mut().find(|(of, _)| *of == major) {
            Some((_, mask)) => *mask |= 1 << minor,
            None => masks.push((major, 1 << minor)),
        }
    }
    // Its bit, if the minor number has one.
    let mut body =
        vec![instruction(MOVE, SCRATCH, 0, 0, 1), instruction(SHIFT_LEFT_BY_REGISTER, SCRATCH, MINOR, 0, 0)];
    for (major, mask) in masks {
        body.push(instruction(JUMP_IF_NOT_EQUAL, MAJOR, 0, 4, major.cast_signed()));
        body.push(instruction(AND, SCRATCH, 0, 0, mask.cast_signed()));
        body.push(instruction(JUMP_IF_EQUAL, SCRATCH, 0, 2, 0));
        body.extend(answer(first.allow));
    }
    let over = i16::try_from(body.len()).unwrap_or(i16::MAX);
    let kind = if first.kind == DeviceKind::Char { CHAR } else { BLOCK };
    let mut program = vec![
        instruction(JUMP_IF_NOT_EQUAL, KIND, 0, over + 1, kind),
        instruction(
            JUMP_IF_GREATER,
            MINOR,
            0,
            over,
            i32::from(u8::try_from(u32::BITS - 1).unwrap_or(u8::MAX)),
        ),
    ];
    program.extend(body);
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
                SHIFT_LEFT_BY_REGISTER => registers[to] <<= registers[from] & 31,
                JUMP_IF_GREATER => {
                    at += if registers[to].cast_unsigned() > i.constant.cast_unsigned() { jump } else { 0 };
                }
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

    /// What the rules say, one after the other.
    fn by_rules(rules: &[DeviceRule], kind: i32, access: u8, major: i32, minor: i32) -> bool {
        let of_kind = |wanted: Option<DeviceKind>| {
            wanted.is_none_or(|wanted| kind == if wanted == DeviceKind::Char { CHAR } else { BLOCK })
        };
        let about = |rule: &DeviceRule, way: u8| {
            let number =
                |wanted: Option<u32>, is: i32| wanted.is_none_or(|wanted| wanted.cast_signed() == is);
            of_kind(rule.kind)
                && number(rule.major, major)
                && number(rule.minor, minor)
                && rule.access.0 & way != 0
        };
        let allowed = |way| rules.iter().rev().find(|rule| about(rule, way)).is_some_and(|rule| rule.allow);
        [1, 2, 4].into_iter().filter(|way| access & way != 0).all(allowed)
    }

    #[test]
    fn c02_neighbours_that_are_decided_together_mean_what_they_mean_one_by_one() {
        // Any numbers will do, and the same ones each time.
        let mut seed = 7_u32;
        let mut any = |most: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % most
        };
        let kinds = [None, Some(DeviceKind::Char), Some(DeviceKind::Block), Some(DeviceKind::Char)];
        let mut together = 0;
        for _ in 0..400 {
            let rules: Vec<DeviceRule> = (0..any(12))
                .map(|_| {
                    let number = |n: u32| n.checked_sub(1);
                    let minors = [number(any(6)), Some(31), Some(32), number(any(6))];
                    let (kind, minor) = (kinds[any(4) as usize], minors[any(4) as usize]);
                    let access = if any(3) == 0 { u8::try_from(any(7)).unwrap_or(0) + 1 } else { 7 };
                    rule(any(3) > 0, kind, number(any(4)), minor, access)
                })
                .collect();
            let program = compile(&rules);
            together += program.iter().filter(|i| i.code == SHIFT_LEFT_BY_REGISTER).count();
            for kind in [CHAR, BLOCK] {
                for (major, minor) in
                    (0..4).flat_map(|major| [0, 1, 2, 4, 31, 32, 33, 300].map(|n| (major, n)))
                {
                    for access in 1..8 {
                        let wanted = by_rules(&rules, kind, access, major, minor);
                        let says = run(&program, kind, access, major, minor);
                        assert_eq!(says, wanted, "{kind} {access} {major}:{minor} {rules:?}");
                    }
                }
            }
        }
        assert!(together > 20, "{together}");
    }

    #[test]
    fn what_no_rule_names_is_denied() {
        assert!(!run(&compile(&[]), CHAR, 1, 1, 3));
    }
}
