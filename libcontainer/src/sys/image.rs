//! The program that this process executes: where it lies in memory, and which file that is said to be.
//!
//! See PR_SET_MM_MAP in prctl(2), elf(5) and proc_pid_exe(5).

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::fs::{self, CWD};
use super::{Call, Stop, check, check_int, contents};

/// The program's own file by another mount, and all that it takes to execute that instead.
#[derive(Debug)]
pub struct Image {
    file: OwnedFd,
    segments: Vec<Segment>,
    /// What the start of the program has made read-only. See `PT_GNU_RELRO`.
    protected: Range<usize>,
    layout: Layout,
}

/// Pages that the kernel has mapped from the program's file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    pages: Range<usize>,
    offset: usize,
    access: libc::c_int,
}

impl Segment {
    fn is_writable(&self) -> bool {
        self.access & libc::PROT_WRITE != 0
    }
}

/// What the kernel knows of a process's memory beside its mappings: `struct prctl_mm_map` of linux/prctl.h.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Layout {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    /// An address; 0 leaves the vector as it is.
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

impl Image {
    /// `file` is the program's own. Allocates.
    ///
    /// # Errors
    /// Those of prctl(2): EPERM without CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN in the process's user namespace, EINVAL
    /// without the kernel's CONFIG_CHECKPOINT_RESTORE. EINVAL, too, if `file` is another one, or if the kernel does not
    /// tell where the program is; those of stat(2) and of reading /proc/self/stat.
    pub fn new(file: OwnedFd) -> Result<Image, Stop> {
        let invalid = Stop::new(Call::Prctl, Errno::EINVAL);
        if fs::stat_at(CWD, c"/proc/self/exe", 0)?.identity != fs::kind(file.as_fd())?.identity {
            return Err(invalid);
        }
        let layout = Layout::present(&file)?;
        match layout.apply() {
            // All is well, but that the other file is still mapped.
            Err(stop) if stop.is(Errno::EBUSY) => {}
            other => other?,
        }
        let (headers, base, page) = headers().ok_or(invalid)?;
        let protected = headers.iter().find(|header| header.p_type == libc::PT_GNU_RELRO);
        let protected = protected.map_or(0..0, |header| {
            let start = base + header.p_vaddr as usize;
            start / page * page..(start + header.p_memsz as usize) / page * page
        });
        Ok(Image { file, segments: segments(headers, base, page), protected, layout })
    }

    /// Makes the file what this process executes, which may be a child of the one that has made this: maps all of the
    /// program from it, and has /proc/self/exe name it. All memory has the same bytes afterwards. If it fails half-way,
    /// that is so too, and /proc/self/exe names what it named before.
    ///
    /// # Errors
    /// EINVAL if the process has threads; those of mmap(2) and prctl(2).
    pub fn take(&self) -> Result<(), Stop> {
        // Unsharing it from nobody does nothing; if another thread has it too, this fails.
        super::process::unshare(libc::CLONE_VM)?;
        for segment in &self.segments {
            if segment.is_writable() { segment.move_to_memory() } else { segment.map_from(&self.file) }?;
        }
        if !self.protected.is_empty() {
            let (start, len) = (self.protected.start, self.protected.len());
            // SAFETY: it was read-only before its pages were moved.
            let ret = unsafe { libc::mprotect(start as *mut libc::c_void, len, libc::PROT_READ) };
            check_int(Call::Mmap, ret)?;
        }
        Layout { brk: end_of_heap()?, ..self.layout }.apply()
    }

    /// Lets go of the program's pages, for a process that is going to wait: those of the file come back by themselves
    /// when they are needed.
    ///
    /// # Errors
    /// Those of madvise(2).
    pub fn rest(&self) -> Result<(), Stop> {
        for Segment { pages, .. } in self.segments.iter().filter(|segment| !segment.is_writable()) {
            // SAFETY: nobody writes to these pages, so that those of the file are the same.
            let ret =
                unsafe { libc::madvise(pages.start as *mut libc::c_void, pages.len(), libc::MADV_DONTNEED) };
            check_int(Call::Mmap, ret)?;
        }
        Ok(())
    }
}

impl Segment {
    /// Maps the same bytes from `file`, the program's.
    fn map_from(&self, file: &OwnedFd) -> Result<(), Stop> {
        let (address, flags) = (self.pages.start as *mut libc::c_void, libc::MAP_PRIVATE | libc::MAP_FIXED);
        let (fd, offset) = (file.as_raw_fd(), self.offset as libc::off_t);
        // SAFETY: what is there has the same bytes, which nobody writes to; the kernel replaces it as a whole.
        let at = unsafe { libc::mmap(address, self.pages.len(), self.access, flags, fd, offset) };
        if at == libc::MAP_FAILED { Err(Stop::last(Call::Mmap)) } else { Ok(()) }
    }

    /// Has the same bytes in memory that belongs to no file.
    fn move_to_memory(&self) -> Result<(), Stop> {
        let (flags, len) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, self.pages.len());
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, of memory that nobody else has.
        let copy = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, -1, 0) };
        if copy == libc::MAP_FAILED {
            return Err(Stop::last(Call::Mmap));
        }
        let address = self.pages.start as *mut libc::c_void;
        // SAFETY: both have `len` bytes and are different ones; this is the only thread, so nobody writes meanwhile.
        unsafe { ptr::copy_nonoverlapping(address.cast::<u8>(), copy.cast(), len) };
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: the bytes are the same, and the kernel puts them there as a whole.
        let at = unsafe { libc::mremap(copy, len, len, flags, address) };
        if at == libc::MAP_FAILED { Err(Stop::last(Call::Mmap)) } else { Ok(()) }
    }
}

/// The pages of each program header that is loaded; those that can be written to and touch each other as one.
fn segments(headers: &[libc::Elf64_Phdr], base: usize, page: usize) -> Vec<Segment> {
    let access = |header: &libc::Elf64_Phdr| {
        [(libc::PF_R, libc::PROT_READ), (libc::PF_W, libc::PROT_WRITE), (libc::PF_X, libc::PROT_EXEC)]
            .iter()
            .filter(|(flag, _)| header.p_flags & flag != 0)
            .fold(libc::PROT_NONE, |access, (_, word)| access | word)
    };
    let mut segments: Vec<Segment> = Vec::new();
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        let start = base + header.p_vaddr as usize;
        // Beyond what the file has, the kernel has given memory that is no file's.
        let pages = start / page * page..(start + header.p_filesz as usize).next_multiple_of(page);
        let offset = header.p_offset as usize / page * page;
        let segment = Segment { pages, offset, access: access(header) };
        match segments.last_mut() {
            Some(last)
                if last.is_writable() && segment.is_writable() && last.pages.end == segment.pages.start =>
            {
                last.pages.end = segment.pages.end;
            }
            _ => segments.push(segment),
        }
    }
    segments
}

/// The program headers, what is to be added to their addresses, and how large a page is; `None` if the kernel has not
/// told. See getauxval(3).
fn headers() -> Option<(&'static [libc::Elf64_Phdr], usize, usize)> {
    // SAFETY: takes an integer.
    let told = |what| unsafe { libc::getauxval(what) } as usize;
    let (at, count, page) = (told(libc::AT_PHDR), told(libc::AT_PHNUM), told(libc::AT_PAGESZ));
    if at == 0 || page == 0 {
        return None;
    }
    // SAFETY: they are part of the program, which is never unmapped, and the kernel has read as many.
    let headers = unsafe { std::slice::from_raw_parts(at as *const libc::Elf64_Phdr, count) };
    let own = headers.iter().find(|header| header.p_type == libc::PT_PHDR)?;
    Some((headers, at.checked_sub(own.p_vaddr as usize)?, page))
}

impl Layout {
    /// As it is, but for the program's file. Allocates.
    fn present(file: &OwnedFd) -> Result<Layout, Stop> {
        let text = contents::read_record(Path::new("/proc/self/stat"))?;
        let layout = Layout::parse(&text, end_of_heap()?).ok_or(Stop::new(Call::Prctl, Errno::EINVAL))?;
        Ok(Layout { exe_fd: file.as_raw_fd().cast_unsigned(), ..layout })
    }

    /// From /proc/PID/stat. See proc_pid_stat(5).
    fn parse(stat: &[u8], brk: u64) -> Option<Layout> {
        // The name before is what anybody wants it to be. The state behind it is field 3.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let mut fields = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().skip(26 - 3);
        let mut next = |skipped: usize| fields.nth(skipped)?.parse().ok();
        Some(Layout {
            start_code: next(0)?,
            end_code: next(0)?,
            start_stack: next(0)?,
            start_data: next(45 - 29)?,
            end_data: next(0)?,
            start_brk: next(0)?,
            arg_start: next(0)?,
            arg_end: next(0)?,
            env_start: next(0)?,
            env_end: next(0)?,
            brk,
            auxv: 0,
            auxv_size: 0,
            exe_fd: u32::MAX,
        })
    }

    /// Tells the kernel.
    fn apply(self) -> Result<(), Stop> {
        let size = size_of::<Layout>();
        // SAFETY: the kernel reads the struct, which is as large as said. Nothing is mapped or unmapped.
        let ret = unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, &raw const self, size, 0) };
        check_int(Call::Prctl, ret).map(drop)
    }
}

fn end_of_heap() -> Result<u64, Stop> {
    // SAFETY: without an address that it could take, the call changes nothing and answers where the heap ends.
    check(Call::Mmap, unsafe { libc::syscall(libc::SYS_brk, 0) }).map(libc::c_long::cast_unsigned)
}

/// An empty anonymous file that can be sealed, and executed.
///
/// # Errors
/// Those of memfd_create(2).
pub fn sealable_memory_file() -> Result<OwnedFd, Stop> {
    // Linux < 6.3 does not know the flag, and its files can be executed anyway.
    match fs::create_memory_file(libc::MFD_ALLOW_SEALING | libc::MFD_EXEC) {
        Err(stop) if stop.is(Errno::EINVAL) => fs::create_memory_file(libc::MFD_ALLOW_SEALING),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(
        kind: u32,
        flags: u32,
        (offset, address): (u64, u64),
        (file, memory): (u64, u64),
    ) -> libc::Elf64_Phdr {
        libc::Elf64_Phdr {
            p_type: kind,
            p_flags: flags,
            p_offset: offset,
            p_vaddr: address,
            p_paddr: address,
            p_filesz: file,
            p_memsz: memory,
            p_align: 0x1000,
        }
    }

    #[test]
    fn x02_the_pages_of_a_program_are_those_that_its_headers_load() {
        let (read, write, run) = (libc::PF_R, libc::PF_W, libc::PF_X);
        let found = segments(
            &[
                header(libc::PT_PHDR, read, (0x40, 0x40), (0x1c0, 0x1c0)),
                header(libc::PT_LOAD, read, (0, 0), (0x59d3a, 0x59d3a)),
                header(libc::PT_LOAD, read | run, (0x59d40, 0x5ad40), (0x10, 0x10)),
                header(libc::PT_LOAD, read | write, (0x5a760, 0x5c760), (0x7a8, 0x8a0)),
                header(libc::PT_LOAD, read | write, (0x5af20, 0x5df20), (0x260, 0x9b60)),
                header(libc::PT_GNU_STACK, read | write, (0, 0), (0, 0)),
            ],
            0x100_0000,
            0x1000,
        );
        let segment = |pages, offset, access| Segment { pages, offset, access };
        let (reads, runs) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_EXEC);
        assert_eq!(
            found,
            [
                segment(0x100_0000..0x105_a000, 0, reads),
                segment(0x105_a000..0x105_b000, 0x59000, runs),
                segment(0x105_c000..0x105_f000, 0x5a000, reads | libc::PROT_WRITE),
            ]
        );
    }

    #[test]
    fn x02_what_a_program_is_called_does_not_hide_where_it_is() {
        let numbers: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let layout =
            Layout::parse(format!("7 (a) R 1 (b)) R {}\n", numbers.join(" ")).as_bytes(), 99).unwrap();
        assert_eq!((layout.start_code, layout.end_code, layout.start_stack), (26, 27, 28));
        assert_eq!((layout.start_data, layout.end_data, layout.start_brk, layout.brk), (45, 46, 47, 99));
        assert_eq!((layout.arg_start, layout.arg_end, layout.env_start, layout.env_end), (48, 49, 50, 51));
        assert!(Layout::parse(b"7 (a) R 1 2", 0).is_none());
    }

    #[test]
    fn x02_another_file_is_not_taken() {
        assert!(Image::new(tempfile::tempfile().unwrap().into()).is_err());
    }

    #[test]
    fn x02_threads_keep_their_program() {
        let image = Image::new(std::fs::File::open("/proc/self/exe").unwrap().into()).unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        assert_eq!(image.take(), Err(Stop::new(Call::Unshare, Errno::EINVAL)));
        drop(stop);
        assert!(thread.join().unwrap().is_err());
    }
}
