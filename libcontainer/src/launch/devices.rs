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
const JUMP: u8 = 0x05;
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

/// Compiles rules into a program: each kind of access is decided by the last rule that names it, and what no
/// rule names is denied.
#[must_use]
pub(super) fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = Program::default();
    let mut left = rules;
    while let Some((last, before)) = left.split_last() {
        let (rule, rest) = match before.split_last() {
            // One rule for each kind: there are no more.
            Some((other, rest)) if is_counterpart(last, other) => (&DeviceRule { kind: None, ..*last }, rest),
            _ => (last, before),
        };
        if let Some(kind) = rule.kind {
            let alike = left.iter().rev().take(NEIGHBOURS_MAX).take_while(|other| other.kind == Some(kind));
            let (others, neighbours) = left.split_at(left.len() - alike.count());
            program.decide_kind(kind, neighbours);
            left = others;
        } else {
            if program.decide(rule) {
                return program.end(rule.allow);
            }
            left = rest;
        }
        program.bring_exits_near();
    }
    program.end(false)
}

/// The same rule for the other kind of device.
fn is_counterpart(one: &DeviceRule, other: &DeviceRule) -> bool {
    one.kind.is_some() && other.kind.is_some() && one.kind != other.kind && {
        (one.allow, one.major, one.minor, one.access) == (other.allow, other.major, other.minor, other.access)
    }
}

/// How many rules at most share one test of their kind: a jump reaches over 32767 instructions.
const NEIGHBOURS_MAX: usize = 1024;

/// A program in the making. It has few ends, to which everything jumps that decides: the kernel, which follows every path
/// when it checks a program, is done with one sooner that has been there before.
struct Program {
    code: Vec<Instruction>,
    /// Jumps that are to lead to the answer no, and to the answer yes.
    to_deny: Vec<usize>,
    to_allow: Vec<usize>,
}

impl Default for Program {
    fn default() -> Program {
        // struct bpf_cgroup_dev_ctx: access and kind in one word, then major and minor.
        let code = vec![
            instruction(MOVE, ANSWER, 0, 0, 1),
            instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
            instruction(MOVE_REGISTER, ACCESS, KIND, 0, 0),
            instruction(AND, KIND, 0, 0, 0xffff),
            instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
            instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
            instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
        ];
        Program { code, to_deny: Vec::new(), to_allow: Vec::new() }
    }
}

impl Program {
    fn push(&mut self, code: u8, to: u8, constant: i32) {
        self.code.push(instruction(code, to, 0, 0, constant));
    }

    /// Adds a jump to an answer.
    fn answer(&mut self, allow: bool, code: u8, to: u8, constant: i32) {
        let jumps = if allow { &mut self.to_allow } else { &mut self.to_deny };
        jumps.push(self.code.len());
        self.push(code, to, constant);
    }

    /// Lets these jumps lead to what comes next.
    fn land(&mut self, jumps: impl IntoIterator<Item = usize>) {
        let here = self.code.len();
        for jump in jumps {
            if let Some(instruction) = self.code.get_mut(jump) {
                instruction.offset = i16::try_from(here - jump - 1).unwrap_or(i16::MAX);
            }
        }
    }

    /// Decides about devices of one kind, by rules that are all about it.
    fn decide_kind(&mut self, kind: DeviceKind, rules: &[DeviceRule]) {
        let other_kind = self.code.len();
        self.push(JUMP_IF_NOT_EQUAL, KIND, if kind == DeviceKind::Char { CHAR } else { BLOCK });
        let mut left = rules;
        while let Some((rule, before)) = left.split_last() {
            let alike =
                left.iter().rev().take_while(|other| Numbered::of(other).is_some_and(|n| n.is_like(rule)));
            let alike = alike.count();
            if alike > 1 {
                let (others, list) = left.split_at(left.len() - alike);
                self.decide_list(list);
                left = others;
            } else {
                left = before;
                if self.decide(rule) {
                    // Nothing of this kind passes this rule.
                    self.answer(rule.allow, JUMP, 0, 0);
                    break;
                }
            }
        }
        self.land([other_kind]);
    }

    /// Decides by one rule, but for its kind. True if it says everything; then what becomes of it is the caller's.
    fn decide(&mut self, rule: &DeviceRule) -> bool {
        let numbers = [(MAJOR, rule.major), (MINOR, rule.minor)];
        let mut tests: Vec<(u8, i32)> = numbers
            .into_iter()
            .filter_map(|(register, number)| Some((register, number?.cast_signed())))
            .collect();
        let is_whole = rule.access == Access::ALL;
        // The last test decides, if there is nothing else to look at.
        let decisive = if is_whole { tests.pop() } else { None };
        let mut to_the_next = Vec::new();
        for (register, value) in tests {
            to_the_next.push(self.code.len());
            self.push(JUMP_IF_NOT_EQUAL, register, value);
        }
        let named = i32::from(rule.access.0);
        if is_whole {
            let Some((register, value)) = decisive else { return true };
            self.answer(rule.allow, JUMP_IF_EQUAL, register, value);
        } else if rule.allow {
            // What is left is for the rules before this one.
            self.push(AND, ACCESS, !named);
            self.answer(true, JUMP_IF_EQUAL, ACCESS, 0);
        } else {
            self.code.push(instruction(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0));
            self.push(AND, SCRATCH, named);
            self.answer(false, JUMP_IF_NOT_EQUAL, SCRATCH, 0);
        }
        self.land(to_the_next);
        false
    }

    /// A branch for each major number, with its minor ones as a bit mask: it takes the kernel half the time that a branch
    /// for each device takes.
    fn decide_list(&mut self, list: &[DeviceRule]) {
        let numbered: Vec<Numbered> = list.iter().filter_map(Numbered::of).collect();
        let mut masks: Vec<(u32, u32)> = Vec::new();
        for Numbered { major, minor, .. } in &numbered {
            match masks.iter_mut().find(|(of, _)| of == major) {
                Some((_, mask)) => *mask |= 1 << minor,
                None => masks.push((*major, 1 << minor)),
            }
        }
        let too_high = self.code.len();
        self.push(JUMP_IF_GREATER, MINOR, i32::from(u8::try_from(u32::BITS - 1).unwrap_or(u8::MAX)));
        self.push(MOVE, SCRATCH, 1);
        self.code.push(instruction(SHIFT_LEFT_BY_REGISTER, SCRATCH, MINOR, 0, 0));
        for (major, mask) in masks {
            let another = self.code.len();
            self.push(JUMP_IF_NOT_EQUAL, MAJOR, major.cast_signed());
            self.push(AND, SCRATCH, mask.cast_signed());
            let allow = numbered.first().is_some_and(|first| first.allow);
            self.answer(allow, JUMP_IF_NOT_EQUAL, SCRATCH, 0);
            self.land([another]);
        }
        self.land([too_high]);
    }

    /// Gives jumps an end that they reach, if there are so many rules that they would not reach the last one.
    fn bring_exits_near(&mut self) {
        let oldest = self.to_deny.first().into_iter().chain(self.to_allow.first()).min();
        if oldest.is_some_and(|oldest| self.code.len() - oldest > usize::from(i16::MAX.unsigned_abs()) / 2) {
            let past = self.code.len();
            self.push(JUMP, 0, 0);
            self.exit();
            self.land([past]);
        }
    }

    /// The ends that are jumped to: yes comes after no, whose answer it takes then.
    fn exit(&mut self) {
        if !self.to_deny.is_empty() {
            let jumps = std::mem::take(&mut self.to_deny);
            self.land(jumps);
            self.push(MOVE, ANSWER, 0);
        }
        let jumps = std::mem::take(&mut self.to_allow);
        self.land(jumps);
        self.push(EXIT, 0, 0);
    }

    /// Answers what is not decided yet.
    fn end(mut self, allow: bool) -> Vec<Instruction> {
        if allow && !self.to_deny.is_empty() {
            self.answer(true, JUMP, 0, 0);
        } else if !allow && self.to_deny.is_empty() {
            self.push(MOVE, ANSWER, 0);
        }
        self.exit();
        self.code
    }
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
                JUMP => at += jump,
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
    fn c02_as_many_rules_as_a_config_may_have_are_within_the_reach_of_jumps() {
        let numbered = |i: u32| rule(!i.is_multiple_of(3), Some(DeviceKind::Char), Some(i), Some(40), 7);
        let rules: Vec<DeviceRule> = (0..65_535).map(numbered).collect();
        let program = compile(&rules);
        for major in (0..65_535).step_by(1009).chain([1, 2, 3, 65_533, 65_534, 65_535]) {
            let allowed = major % 3 > 0 && major < 65_535;
            assert_eq!(run(&program, CHAR, 7, major, 40), allowed, "{major}");
            assert!(!run(&program, CHAR, 7, major, 41) && !run(&program, BLOCK, 7, major, 40), "{major}");
        }
    }

    #[test]
    fn c02_a_rule_for_each_kind_is_one_for_both() {
        let [char, block] =
            [DeviceKind::Char, DeviceKind::Block].map(|kind| rule(true, Some(kind), None, None, 1));
        let both = compile(&[rule(true, None, None, None, 1)]);
        assert_eq!(compile(&[char, block]), both);
        assert_eq!(compile(&[block, char]), both);
        assert!(compile(&[char, char]).len() > both.len());
    }

    #[test]
    fn what_no_rule_names_is_denied() {
        assert!(!run(&compile(&[]), CHAR, 1, 1, 3));
    }
}
