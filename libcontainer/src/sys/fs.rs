//! Files by descriptor: making, opening, reading and writing them.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::NixPath;
use nix::errno::Errno;
use nix::libc;

use super::{Call, Stop, check_int, retry};
use crate::path::PATH_MAX;

/// The working directory, for calls that take a directory; absolute paths do not use it.
pub const CWD: BorrowedFd<'static> = nix::fcntl::AT_FDCWD;

/// openat(2), close-on-exec. For paths of the host; those of a container go through [`super::Root`].
///
/// # Errors
/// Those of the call.
pub fn open(at: BorrowedFd<'_>, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd, Stop> {
    let fd = retry(|| {
        // SAFETY: `path` is NUL-terminated.
        check_int(Call::Open, unsafe {
            libc::openat(at.as_raw_fd(), path.as_ptr(), flags | libc::O_CLOEXEC, mode)
        })
    })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// openat(2) of a path of the host, close-on-exec. Allocates if it is long.
///
/// # Errors
/// Those of the call; ENAMETOOLONG or EINVAL for what is no path.
pub fn open_path(path: &Path, flags: i32) -> Result<OwnedFd, Stop> {
    path.with_nix_path(|path| open(CWD, path, flags, 0))
        .unwrap_or_else(|errno| Err(Stop::new(Call::Open, errno)))
}

/// What `fd` is open for, with O_PATH too, opened once more.
///
/// # Errors
/// Those of openat(2).
pub fn reopen(fd: BorrowedFd<'_>, flags: i32) -> Result<OwnedFd, Stop> {
    let path = super::own_descriptor(fd);
    open(CWD, CStr::from_bytes_until_nul(&path).unwrap_or_default(), flags, 0)
}

/// openat2(2), close-on-exec. Repeats when a rename on the way makes the kernel give up.
///
/// # Errors
/// Those of the call.
pub(super) fn openat2(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: i32,
    mode: u32,
    resolve: u64,
) -> Result<OwnedFd, Stop> {
    // SAFETY: all-zero is a valid open_how, which has only integers.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
    how.mode = u64::from(mode);
    how.resolve = resolve;
    let at = directory.as_raw_fd();
    let size = size_of::<libc::open_how>();
    for _ in 0..128 {
        let fd = retry(|| {
            // SAFETY: `path` is NUL-terminated, `how` is a struct of `size` bytes.
            super::check(Call::Openat2, unsafe {
                libc::syscall(libc::SYS_openat2, at, path.as_ptr(), &raw const how, size)
            })
        });
        match fd {
            Err(stop) if stop.is(Errno::EAGAIN) => {}
            // SAFETY: the descriptor is new and nobody else owns it.
            other => return other.map(|fd| unsafe { super::own(fd) }),
        }
    }
    Err(Stop::new(Call::Openat2, Errno::EAGAIN))
}

/// mkdirat(2)
///
/// # Errors
/// Those of the call.
pub fn make_directory(at: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<(), Stop> {
    // SAFETY: `name` is NUL-terminated.
    check_int(Call::Mkdir, unsafe { libc::mkdirat(at.as_raw_fd(), name.as_ptr(), mode) }).map(drop)
}

/// mknodat(2); `mode` has the kind of file in it.
///
/// # Errors
/// Those of the call.
pub fn make_node(at: BorrowedFd<'_>, name: &CStr, mode: u32, device: u64) -> Result<(), Stop> {
    // SAFETY: `name` is NUL-terminated.
    check_int(Call::Mknod, unsafe { libc::mknodat(at.as_raw_fd(), name.as_ptr(), mode, device) }).map(drop)
}

/// symlinkat(2)
///
/// # Errors
/// Those of the call.
pub fn make_link(at: BorrowedFd<'_>, name: &CStr, target: &CStr) -> Result<(), Stop> {
    // SAFETY: both strings are NUL-terminated.
    check_int(Call::Symlink, unsafe { libc::symlinkat(target.as_ptr(), at.as_raw_fd(), name.as_ptr()) })
        .map(drop)
}

/// unlinkat(2) of a file, or with `directory` of an empty directory.
///
/// # Errors
/// Those of the call.
pub fn remove(at: BorrowedFd<'_>, name: &CStr, directory: bool) -> Result<(), Stop> {
    let (call, flags) = if directory { (Call::Rmdir, libc::AT_REMOVEDIR) } else { (Call::Unlink, 0) };
    // SAFETY: `name` is NUL-terminated.
    check_int(call, unsafe { libc::unlinkat(at.as_raw_fd(), name.as_ptr(), flags) }).map(drop)
}

/// readlinkat(2) into `target`; the length of the link's text.
///
/// # Errors
/// EINVAL if it is no link.
pub fn read_link(at: BorrowedFd<'_>, name: &CStr, target: &mut [u8; PATH_MAX]) -> Result<usize, Stop> {
    // SAFETY: `target` is valid for writing PATH_MAX bytes, and `name` is NUL-terminated.
    let len =
        unsafe { libc::readlinkat(at.as_raw_fd(), name.as_ptr(), target.as_mut_ptr().cast(), PATH_MAX) };
    super::check(Call::Readlink, len as libc::c_long).map(super::size)
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its type and permissions, as `st_mode`.
    pub mode: u32,
    /// Its user and group.
    pub owner: (u32, u32),
    /// Major and minor number of a device node.
    pub device: (u32, u32),
    /// The file system and the file in it: the same pair is the same file.
    pub identity: (u64, u64),
}

impl Kind {
    fn of(stat: &libc::stat) -> Kind {
        let device = (libc::major(stat.st_rdev), libc::minor(stat.st_rdev));
        let (owner, identity) = ((stat.st_uid, stat.st_gid), (stat.st_dev, stat.st_ino));
        Kind { mode: stat.st_mode, owner, device, identity }
    }

    /// The type alone: `S_IFDIR`, `S_IFCHR` and so on.
    #[must_use]
    pub fn format(self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// It is a directory.
    #[must_use]
    pub fn is_directory(self) -> bool {
        self.format() == libc::S_IFDIR
    }
}

/// fstat(2)
///
/// # Errors
/// Those of the call.
pub fn kind(fd: BorrowedFd<'_>) -> Result<Kind, Stop> {
    // SAFETY: all-zero is a valid stat struct.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid for writing.
    check_int(Call::Stat, unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) })?;
    Ok(Kind::of(&stat))
}

/// fstatat(2) of `name`, and not of what a link of that name leads to.
///
/// # Errors
/// Those of the call.
pub fn kind_at(at: BorrowedFd<'_>, name: &CStr) -> Result<Kind, Stop> {
    stat_at(at, name, libc::AT_SYMLINK_NOFOLLOW)
}

pub(super) fn stat_at(at: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<Kind, Stop> {
    // SAFETY: all-zero is a valid stat struct.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is NUL-terminated and `stat` valid for writing.
    let ret = unsafe { libc::fstatat(at.as_raw_fd(), name.as_ptr(), &raw mut stat, flags) };
    check_int(Call::Stat, ret).map(|_| Kind::of(&stat))
}

/// The magic number of the file system that `fd` is on (statfs(2)).
///
/// # Errors
/// Those of fstatfs(2).
pub fn filesystem(fd: BorrowedFd<'_>) -> Result<i64, Stop> {
    // SAFETY: all-zero is a valid statfs struct.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid for writing.
    check_int(Call::Statfs, unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut stat) })?;
    // A signed number in glibc, an unsigned one in musl.
    Ok(i64::from_ne_bytes(stat.f_type.to_ne_bytes()))
}

/// As [`filesystem`], of a path of the host.
///
/// # Errors
/// Those of statfs(2).
pub fn path_filesystem(path: &CStr) -> Result<i64, Stop> {
    // SAFETY: all-zero is a valid statfs struct.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is NUL-terminated and `stat` valid for writing.
    check_int(Call::Statfs, unsafe { libc::statfs(path.as_ptr(), &raw mut stat) })?;
    Ok(i64::from_ne_bytes(stat.f_type.to_ne_bytes()))
}

/// fchownat(2) of `name` itself, not of what a link leads to.
///
/// # Errors
/// Those of the call.
pub fn change_owner(at: BorrowedFd<'_>, name: &CStr, uid: u32, gid: u32) -> Result<(), Stop> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    // SAFETY: `name` is NUL-terminated.
    check_int(Call::Chown, unsafe { libc::fchownat(at.as_raw_fd(), name.as_ptr(), uid, gid, flags) })
        .map(drop)
}

/// Sets the SELinux label of `directory`, which becomes the working directory. See setxattr(2).
///
/// # Errors
/// Those of fchdir(2) and setxattr(2).
pub fn set_label(directory: BorrowedFd<'_>, label: &CStr) -> Result<(), Stop> {
    change_directory(directory)?;
    // The NUL belongs to the label, as for setfilecon(3).
    let value = label.to_bytes_with_nul();
    let name = c"security.selinux";
    // SAFETY: both strings are NUL-terminated, and `value` is valid for its length.
    let ret = unsafe { libc::setxattr(c".".as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    check_int(Call::Setxattr, ret).map(drop)
}

/// Changes the owner of `name` itself and leaves its group.
///
/// # Errors
/// Those of fchownat(2).
pub fn change_user(at: BorrowedFd<'_>, name: &CStr, uid: u32) -> Result<(), Stop> {
    change_owner(at, name, uid, u32::MAX)
}

/// umask(2); the mask before.
pub fn set_umask(mask: u32) -> u32 {
    // SAFETY: takes an integer and cannot fail.
    unsafe { libc::umask(mask) }
}

/// Writes all of `bytes` in one call, as files of the kernel want it.
///
/// # Errors
/// Those of write(2); EIO if the kernel took only a part.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Stop> {
    let ret = retry(|| {
        // SAFETY: `bytes` is valid for its length.
        let ret = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        super::check(Call::Write, ret as libc::c_long)
    })?;
    if super::size(ret) == bytes.len() { Ok(()) } else { Err(Stop::new(Call::Write, Errno::EIO)) }
}

/// Opens the file `path` below `at` and writes `bytes` into it, in one call.
///
/// # Errors
/// Those of openat(2) and write(2).
pub fn write_file(at: BorrowedFd<'_>, path: &CStr, bytes: &[u8]) -> Result<(), Stop> {
    write(open(at, path, libc::O_WRONLY, 0)?.as_fd(), bytes)
}

/// read(2)
///
/// # Errors
/// Those of the call.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Stop> {
    retry(|| {
        // SAFETY: `buffer` is valid for writing its length.
        let ret = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        super::check(Call::Read, ret as libc::c_long).map(super::size)
    })
}

/// pread(2)
///
/// # Errors
/// Those of the call.
pub fn read_at(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, Stop> {
    let offset = i64::try_from(offset).map_err(|_| Stop::new(Call::Read, Errno::EOVERFLOW))?;
    retry(|| super::from_nix(Call::Read, nix::sys::uio::pread(fd, buffer, offset)))
}

/// Sets the status flags of an open file, such as `O_APPEND`, and clears the others. See fcntl(2), F_SETFL.
///
/// # Errors
/// Those of the call.
pub fn set_status(fd: BorrowedFd<'_>, flags: i32) -> Result<(), Stop> {
    // SAFETY: takes a live descriptor and integers.
    check_int(Call::Open, unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }).map(drop)
}

/// fchdir(2)
///
/// # Errors
/// Those of the call.
pub fn change_directory(fd: BorrowedFd<'_>) -> Result<(), Stop> {
    // SAFETY: takes a live descriptor.
    check_int(Call::Chdir, unsafe { libc::fchdir(fd.as_raw_fd()) }).map(drop)
}

/// Whether the working directory lies below the root. See getcwd(3), "(unreachable)".
///
/// # Errors
/// Those of the call.
// Its array is not to be on the stack of whoever may call it: see init/mod.rs.
#[inline(never)]
pub fn working_directory_is_inside() -> Result<bool, Stop> {
    let mut path = [0_u8; PATH_MAX];
    // SAFETY: `path` is valid for writing PATH_MAX bytes. The call itself, because libc's looks elsewhere
    // when the kernel says "(unreachable)".
    let ret = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), PATH_MAX) };
    super::check(Call::Getcwd, ret)?;
    Ok(path[0] == b'/')
}

/// Whether this process may execute `path`. See faccessat(2) with AT_EACCESS.
///
/// # Errors
/// ENOENT, EACCES and so on.
pub fn may_execute(path: &CStr) -> Result<(), Stop> {
    // SAFETY: `path` is NUL-terminated.
    let ret = unsafe {
        libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS)
    };
    super::check(Call::Access, ret).map(drop)
}

/// stat(2) of a path in the present root.
///
/// # Errors
/// Those of the call.
pub fn path_kind(path: &CStr) -> Result<Kind, Stop> {
    stat_at(CWD, path, 0)
}

/// An anonymous file with `bytes` in it, ready to be read from the start. See memfd_create(2).
///
/// # Errors
/// Those of memfd_create(2) and write(2).
pub fn memory_file(bytes: &[&[u8]]) -> Result<OwnedFd, Stop> {
    let fd = create_memory_file(0)?;
    for part in bytes {
        write(fd.as_fd(), part)?;
    }
    // SAFETY: takes a live descriptor and integers.
    super::check(Call::Read, unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_SET) })?;
    Ok(fd)
}

/// memfd_create(2), close-on-exec.
pub(super) fn create_memory_file(flags: libc::c_uint) -> Result<OwnedFd, Stop> {
    // SAFETY: the name is NUL-terminated.
    let fd = unsafe { libc::memfd_create(c"ketch".as_ptr(), flags | libc::MFD_CLOEXEC) };
    // SAFETY: the descriptor is new and nobody else owns it.
    check_int(Call::Memfd, fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A pipe: the end to read from, then the end to write to. See pipe(2).
///
/// # Errors
/// Those of the call.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Stop> {
    super::from_nix(Call::Open, nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC))
}
