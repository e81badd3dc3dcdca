//! What architectures there are, and which numbers their system calls have. Runs in the runtime's process.

use super::table::{self, Named};

/// The bit that marks a call of the x32 ABI, which shares its architecture with x86-64.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// The bit of `AUDIT_ARCH_` that says so.
const LITTLE_ENDIAN: u32 = 0x4000_0000;

/// An architecture as libseccomp names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Architecture {
    pub(super) name: &'static str,
    /// Its column of the table: those that differ in their byte order alone share one.
    pub(super) calls: &'static str,
    /// Where that is; nothing for one that the table does not have.
    column: Option<usize>,
    /// `AUDIT_ARCH_`, which is what a filter sees. See linux/audit.h.
    pub(super) audit: u32,
}

const fn row(name: &'static str, calls: &'static str, audit: u32) -> Architecture {
    Architecture { name, calls, column: table::column(calls), audit }
}

/// Every architecture that the specification names. Spec: config-linux.md#seccomp.
pub(super) const ARCHITECTURES: &[Architecture] = &[
    row("SCMP_ARCH_AARCH64", "aarch64", 0xc000_00b7),
    row("SCMP_ARCH_ARM", "arm", 0x4000_0028),
    row("SCMP_ARCH_LOONGARCH64", "loongarch64", 0xc000_0102),
    row("SCMP_ARCH_M68K", "m68k", 0x0000_0004),
    row("SCMP_ARCH_MIPS", "mips", 0x0000_0008),
    row("SCMP_ARCH_MIPS64", "mips64", 0x8000_0008),
    row("SCMP_ARCH_MIPS64N32", "mips64n32", 0xa000_0008),
    row("SCMP_ARCH_MIPSEL", "mips", 0x4000_0008),
    row("SCMP_ARCH_MIPSEL64", "mips64", 0xc000_0008),
    row("SCMP_ARCH_MIPSEL64N32", "mips64n32", 0xe000_0008),
    row("SCMP_ARCH_PARISC", "parisc", 0x0000_000f),
    row("SCMP_ARCH_PARISC64", "parisc64", 0x8000_000f),
    row("SCMP_ARCH_PPC", "ppc", 0x0000_0014),
    row("SCMP_ARCH_PPC64", "ppc64", 0x8000_0015),
    row("SCMP_ARCH_PPC64LE", "ppc64", 0xc000_0015),
    row("SCMP_ARCH_RISCV64", "riscv64", 0xc000_00f3),
    row("SCMP_ARCH_S390", "s390", 0x0000_0016),
    row("SCMP_ARCH_S390X", "s390x", 0x8000_0016),
    row("SCMP_ARCH_SH", "sh", 0x4000_002a),
    row("SCMP_ARCH_SHEB", "sh", 0x0000_002a),
    row("SCMP_ARCH_X32", "x32", 0xc000_003e),
    row("SCMP_ARCH_X86", "x86", 0x4000_0003),
    row("SCMP_ARCH_X86_64", "x86_64", 0xc000_003e),
];

/// A system call on one architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syscall {
    /// Its number.
    pub(super) number: u32,
    /// For one that goes through socketcall(2) or ipc(2): what must be their first argument.
    pub(super) subcall: Option<u32>,
}

impl Architecture {
    /// Those that the table has numbers of.
    pub(super) fn known() -> impl Iterator<Item = &'static Architecture> {
        ARCHITECTURES.iter().filter(|architecture| architecture.column.is_some())
    }

    /// The one with this name, if the table has its numbers.
    pub(super) fn named(name: &str) -> Option<&'static Architecture> {
        Architecture::known().find(|architecture| architecture.name == name)
    }

    /// The one of this program.
    pub(super) fn native() -> Option<&'static Architecture> {
        let calls = match std::env::consts::ARCH {
            "powerpc" => "ppc",
            "powerpc64" => "ppc64",
            same => same,
        };
        let wrong_order = if cfg!(target_endian = "little") { 0 } else { LITTLE_ENDIAN };
        Architecture::known().find(|one| one.calls == calls && one.audit & LITTLE_ENDIAN != wrong_order)
    }

    pub(super) fn is_x32(&self) -> bool {
        self.calls == "x32"
    }

    /// Arguments have 64 bits, or 32.
    pub(super) fn is_wide(&self) -> bool {
        // The n32 ABI of MIPS has a bit in the audit number, beside that for 64 bits.
        self.audit & 0xa000_0000 == 0x8000_0000 && !self.is_x32()
    }

    /// Where struct seccomp_data has the lower half of an argument, and the upper one.
    pub(super) fn halves(&self, argument: u8) -> (u32, u32) {
        let at = 16 + 8 * u32::from(argument);
        if self.audit & LITTLE_ENDIAN == 0 { (at + 4, at) } else { (at, at + 4) }
    }

    /// Number 0 stands for all calls that the kernel does not know; it was setup(2).
    pub(super) fn hides_unknown_calls(&self) -> bool {
        matches!(self.calls, "s390" | "s390x")
    }

    /// The first number that is not in the table of system calls proper.
    pub(super) fn end(&self) -> u32 {
        match self.calls {
            // Private calls of ARM, such as cacheflush. See arch/arm/include/uapi/asm/unistd.h.
            "arm" => 0x000f_0000,
            "x86_64" => X32_BIT,
            _ => u32::MAX,
        }
    }

    /// libseccomp's number: negative for a call that does not exist here by itself.
    pub(super) fn lookup(&self, name: &str) -> Option<i32> {
        Named::find(name)?.number(self.column?)
    }

    /// All ways to make a call: none, one, or two where it has a number beside socketcall(2) or ipc(2).
    pub(super) fn resolve(&self, call: Named) -> impl Iterator<Item = Syscall> {
        let number = self.column.and_then(|column| call.number(column)).unwrap_or(-1);
        let direct = if number < 0 { self.direct(number) } else { u32::try_from(number).ok() };
        let through = match number {
            -120..=-100 => self.lookup("socketcall"),
            -224..=-200 => self.lookup("ipc"),
            _ => None,
        };
        let through = through.and_then(|through| u32::try_from(through).ok());
        let subcall = number.unsigned_abs() % 100;
        let direct = direct.map(|number| Syscall { number, subcall: None });
        let through = through.map(|number| Syscall { number, subcall: Some(subcall) });
        direct.into_iter().chain(through)
    }

    /// The number of its own of a call that libseccomp takes for a part of socketcall(2) or ipc(2).
    fn direct(&self, pseudo: i32) -> Option<u32> {
        let (first, numbers): (u32, &[u16]) = match (self.calls, pseudo) {
            ("mips", -120..=-101) => (101, &SOCKET_MIPS),
            ("ppc" | "ppc64", -120..=-101) => (101, &SOCKET_PPC),
            ("s390" | "s390x", -120..=-101) => (101, &SOCKET_S390),
            (_, -120..=-101) => (101, &SOCKET_X86),
            // Only where arguments are wide is this call not one of 32-bit times, which has no number.
            (_, -204) if !self.is_wide() => return None,
            (_, -224..=-201) => (201, &IPC),
            _ => return None,
        };
        let base = if self.calls == "mips" { 4000 } else { 0 };
        let at = usize::try_from(pseudo.unsigned_abs() - first).ok()?;
        numbers.get(at).filter(|number| **number != 0).map(|number| base + u32::from(*number))
    }
}

// In the order of the subcalls of socketcall(2): socket, bind, connect, listen, accept, getsockname, getpeername,
// socketpair, send, recv, sendto, recvfrom, shutdown, setsockopt, getsockopt, sendmsg, recvmsg, accept4, recvmmsg,
// sendmmsg.
const SOCKET_X86: [u16; 20] =
    [359, 361, 362, 363, 0, 367, 368, 360, 0, 0, 369, 371, 373, 366, 365, 370, 372, 364, 337, 345];
const SOCKET_S390: [u16; 20] =
    [359, 361, 362, 363, 0, 367, 368, 360, 0, 0, 369, 371, 373, 366, 365, 370, 372, 364, 357, 358];
const SOCKET_PPC: [u16; 20] =
    [326, 327, 328, 329, 330, 331, 332, 333, 334, 336, 335, 337, 338, 339, 340, 341, 342, 344, 343, 349];
const SOCKET_MIPS: [u16; 20] =
    [183, 169, 170, 174, 168, 172, 171, 184, 178, 175, 180, 176, 182, 181, 173, 179, 177, 334, 335, 343];

// In the order of ipc(2): semop, semget, semctl, semtimedop; from 11, msgsnd, msgrcv, msgget, msgctl; from 21, shmat,
// shmdt, shmget, shmctl.
const IPC: [u16; 24] =
    [0, 393, 394, 392, 0, 0, 0, 0, 0, 0, 400, 401, 399, 402, 0, 0, 0, 0, 0, 0, 397, 398, 395, 396];

/// The version of libseccomp whose numbers and answers these filters have.
#[must_use]
pub fn library_version() -> &'static str {
    table::VERSION
}

/// Names of the architectures that filters can be made for, among those that the specification names.
#[must_use]
pub fn architectures() -> Vec<&'static str> {
    Architecture::known().map(|architecture| architecture.name).collect()
}
