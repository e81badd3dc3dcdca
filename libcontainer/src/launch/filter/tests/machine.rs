//! A machine for classic BPF as the kernel runs it on system calls, which also checks what the kernel checks.

use super::super::architecture::Architecture;
use crate::sys::creds::Instruction;

/// A system call as a filter sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) audit: u32,
    pub(super) args: [u64; 6],
    /// The architecture has the upper half of an argument first.
    pub(super) big_endian: bool,
}

impl Call {
    pub(super) fn of(architecture: &Architecture, number: u32, args: [u64; 6]) -> Call {
        let audit = architecture.audit;
        Call { number, audit, args, big_endian: audit & 0x4000_0000 == 0 }
    }

    /// The word at an offset of struct seccomp_data.
    fn word(&self, offset: u32) -> u32 {
        assert!(offset.is_multiple_of(4) && offset < 64, "a load from {offset}");
        match offset {
            0 => self.number,
            4 => self.audit,
            8 | 12 => 0,
            _ => {
                let argument = self.args[(offset as usize - 16) / 8];
                let first = offset.is_multiple_of(8);
                u32::try_from(if first == self.big_endian { argument >> 32 } else { argument & 0xffff_ffff })
                    .unwrap()
            }
        }
    }
}

/// What the filter returns for the call, and after how many instructions.
pub(super) fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut at, mut accumulator, mut steps) = (0, 0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        steps += 1;
        at += 1;
        let mut branch = |taken: bool| at += usize::from(if taken { jt } else { jf });
        match code {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => branch(accumulator == k),
            0x25 => branch(accumulator > k),
            0x35 => branch(accumulator >= k),
            0x45 => branch(accumulator & k != 0),
            0x06 => return (k, steps),
            _ => panic!("the instruction {code:#x}"),
        }
    }
}

/// The kernel's checks: nothing jumps outside, and the end is a return.
pub(super) fn check(program: &[Instruction]) {
    assert!(program.len() <= 4096, "{} instructions", program.len());
    for (at, Instruction { code, jt, jf, k }) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        match code {
            0x05 => assert!((*k as usize) < left, "{at}: a jump of {k}"),
            0x15 | 0x25 | 0x35 | 0x45 => {
                assert!(usize::from(*jt.max(jf)) < left, "{at}: a branch of {jt} or {jf}");
            }
            0x20 => assert!(k % 4 == 0 && *k < 64 && left > 0, "{at}: a load from {k}"),
            0x54 => assert!(left > 0),
            0x06 => {}
            _ => panic!("{at}: the instruction {code:#x}"),
        }
    }
}
