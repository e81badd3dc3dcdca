//! Finds out which interpreter a program names, when execve(2) says that something is missing. Runs in the
//! container's process.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc;

use crate::sys::fs::{self, CWD};

/// What the kernel reads of a script's first line (`BINPRM_BUF_SIZE`), which holds an ELF header too.
const HEAD: usize = 256;
/// The entry of an ELF program header table that names the interpreter.
const PT_INTERP: u64 = 3;
/// More program headers than a linker writes.
const HEADERS_MAX: u64 = 64;

/// Where an ELF file has what, by its class: offset and width.
struct Layout {
    table: (usize, usize),
    entry_size: (usize, usize),
    entries: (usize, usize),
    offset: (usize, usize),
    size: (usize, usize),
}

/// See elf(5), `Elf32_Ehdr` and `Elf32_Phdr`.
const ELF32: Layout =
    Layout { table: (28, 4), entry_size: (42, 2), entries: (44, 2), offset: (4, 4), size: (16, 4) };
const ELF64: Layout =
    Layout { table: (32, 8), entry_size: (54, 2), entries: (56, 2), offset: (8, 8), size: (32, 8) };

/// Hands the interpreter of `program` to `take`, if it names one that can be read.
// Its array is not to be on the stack of whoever may call it: see init/mod.rs.
#[inline(never)]
pub(super) fn find(program: &CStr, take: impl FnOnce(&[u8])) {
    // The image's file may be anything.
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let Ok(file) = fs::open(CWD, program, flags, 0) else { return };
    let mut head = [0; HEAD];
    let len = fs::read_at(file.as_fd(), &mut head, 0).unwrap_or(0);
    if let Some(line) = head[..len].strip_prefix(b"#!") {
        take(of_script(line));
        return;
    }
    let mut name = [0; HEAD];
    if let Some(len) = of_elf(file.as_fd(), &head, &mut name) {
        take(&name[..len]);
    }
}

fn of_script(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = line.iter().position(|byte| !is_blank(byte)).unwrap_or(line.len());
    let rest = &line[start..];
    let end = rest.iter().position(|byte| is_blank(byte) || *byte == b'\n').unwrap_or(rest.len());
    &rest[..end]
}

fn of_elf(file: BorrowedFd<'_>, head: &[u8; HEAD], name: &mut [u8; HEAD]) -> Option<usize> {
    // The kernel takes files of its own byte order only, which is the one of this program.
    let layout = match head.get(..5)? {
        b"\x7fELF\x01" => &ELF32,
        b"\x7fELF\x02" => &ELF64,
        _ => return None,
    };
    let (table, size) = (number(head, layout.table)?, number(head, layout.entry_size)?);
    for i in 0..number(head, layout.entries)?.min(HEADERS_MAX) {
        let mut entry = [0; 56];
        let at = table.checked_add(i.checked_mul(size)?)?;
        fs::read_at(file, &mut entry, at).ok()?;
        if number(&entry, (0, 4))? == PT_INTERP {
            let len = usize::try_from(number(&entry, layout.size)?).ok()?.min(HEAD);
            let len = fs::read_at(file, &mut name[..len], number(&entry, layout.offset)?).ok()?;
            return name[..len].iter().position(|byte| *byte == 0);
        }
    }
    None
}

/// The number of so many bytes at an offset, in this machine's order.
fn number(bytes: &[u8], (at, width): (usize, usize)) -> Option<u64> {
    let mut word = [0; 8];
    let start = if cfg!(target_endian = "little") { 0 } else { word.len().checked_sub(width)? };
    let (from, to) = (bytes.get(at..at + width)?, word.get_mut(start..start + width)?);
    to.copy_from_slice(from);
    Some(u64::from_ne_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::KernelString;

    fn interpreter(content: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let path = KernelString::path(file.path().to_str().unwrap()).unwrap();
        let mut found = String::new();
        find(path.as_c_str(), |name| found = String::from_utf8_lossy(name).into_owned());
        found
    }

    #[test]
    fn l10_the_interpreter_of_a_script_is_the_first_word_of_its_first_line() {
        assert_eq!(interpreter(b"#!/bin/sh\n"), "/bin/sh");
        assert_eq!(interpreter(b"#! \t/usr/bin/env python3 -s\nprint()"), "/usr/bin/env");
        assert_eq!(interpreter(b"#!/no/end"), "/no/end");
        assert_eq!(interpreter(b"#!\r\n"), "\r");
        assert_eq!(interpreter(b"#!"), "");
        assert_eq!(interpreter(b"text"), "");
    }

    #[test]
    fn l10_the_interpreter_of_an_elf_file_stands_in_its_program_headers() {
        assert!(interpreter(&std::fs::read("/bin/true").unwrap()).starts_with("/lib"));
        assert_eq!(interpreter(&std::fs::read("/bin/busybox").unwrap()), "");
        // 32 bits: one header at 52, of 32 bytes; the name follows.
        let mut small = vec![0; 84];
        small[..5].copy_from_slice(b"\x7fELF\x01");
        (small[28], small[42], small[44]) = (52, 32, 1);
        (small[52], small[56], small[68]) = (3, 84, 10);
        small.extend_from_slice(b"/lib/ld.1\0");
        assert_eq!(interpreter(&small), "/lib/ld.1");
    }

    #[test]
    fn l10_a_file_that_lies_about_itself_names_none() {
        let mut lie = vec![0xff; HEAD];
        lie[..5].copy_from_slice(b"\x7fELF\x02");
        assert_eq!(interpreter(&lie), "");
        assert_eq!(interpreter(b"\x7fELF\x02"), "");
        let mut endless = vec![0; HEAD];
        endless[..5].copy_from_slice(b"\x7fELF\x02");
        endless[56] = 0xff;
        assert_eq!(interpreter(&endless), "");
    }
}
