//! Mounts, by descriptor. See mount(2), open_tree(2), move_mount(2), mount_setattr(2).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::fs::CWD;
use super::procfs::Proc;
use super::{Call, Stop, check, check_int, own_descriptor};

/// A detached copy of the mount at `path`, with `deep` of all mounts below it too.
///
/// # Errors
/// Those of open_tree(2).
pub fn clone_tree(at: BorrowedFd<'_>, path: &CStr, deep: bool) -> Result<OwnedFd, Stop> {
    open_tree(at, path, deep, libc::AT_EMPTY_PATH)
}

/// As [`clone_tree`], but of a symbolic link itself if `path` is one.
///
/// # Errors
/// Those of open_tree(2).
pub fn clone_unfollowed(at: BorrowedFd<'_>, path: &CStr, deep: bool) -> Result<OwnedFd, Stop> {
    open_tree(at, path, deep, libc::AT_SYMLINK_NOFOLLOW)
}

fn open_tree(at: BorrowedFd<'_>, path: &CStr, deep: bool, flags: i32) -> Result<OwnedFd, Stop> {
    let deep = if deep { libc::AT_RECURSIVE } else { 0 };
    open_copy(at, path, libc::OPEN_TREE_CLONE | (flags | deep).cast_unsigned())
}

fn open_copy(at: BorrowedFd<'_>, path: &CStr, flags: libc::c_uint) -> Result<OwnedFd, Stop> {
    let flags = flags | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: `path` is NUL-terminated.
    let fd = check(Call::OpenTree, unsafe {
        libc::syscall(libc::SYS_open_tree, at.as_raw_fd(), path.as_ptr(), flags)
    })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { super::own(fd) })
}

/// A new mount namespace that has nothing but `path` and what is mounted below it, as its root. None where the kernel has
/// no such thing (Linux < 7.0), or refuses it.
#[must_use]
pub fn namespace_of(path: &CStr) -> Option<OwnedFd> {
    /// Not in libc yet.
    const OPEN_TREE_NAMESPACE: libc::c_uint = 2;
    open_copy(CWD, path, OPEN_TREE_NAMESPACE | libc::AT_RECURSIVE.cast_unsigned()).ok()
}

/// A file system that is being configured. See fsopen(2).
#[derive(Debug)]
pub struct Context {
    fd: OwnedFd,
}

impl Context {
    /// Begins a new instance of a type of file system.
    ///
    /// # Errors
    /// Those of fsopen(2).
    pub fn open(fstype: &CStr) -> Result<Context, Stop> {
        const CLOEXEC: libc::c_uint = 1;
        // SAFETY: `fstype` is NUL-terminated.
        let fd = check(Call::Fsopen, unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), CLOEXEC) })?;
        // SAFETY: the descriptor is new and nobody else owns it.
        Ok(Context { fd: unsafe { super::own(fd) } })
    }

    /// Sets one option; without a value it is a flag.
    ///
    /// # Errors
    /// Those of fsconfig(2).
    pub fn set(&self, key: &CStr, value: Option<&CStr>) -> Result<(), Stop> {
        const SET_FLAG: libc::c_uint = 0;
        const SET_STRING: libc::c_uint = 1;
        let command = if value.is_some() { SET_STRING } else { SET_FLAG };
        let value = value.map_or(ptr::null(), CStr::as_ptr);
        let fd = self.fd.as_raw_fd();
        // SAFETY: `key` and `value` are NUL-terminated; a flag has no value.
        let ret = unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, key.as_ptr(), value, 0) };
        check(Call::Fsconfig, ret).map(drop)
    }

    /// Makes the file system, and a detached mount of it with these `MOUNT_ATTR_` flags.
    ///
    /// # Errors
    /// Those of fsconfig(2) and fsmount(2).
    pub fn mount(&self, attributes: u64) -> Result<OwnedFd, Stop> {
        const CREATE: libc::c_uint = 6;
        const CLOEXEC: libc::c_uint = 1;
        let (fd, none) = (self.fd.as_raw_fd(), ptr::null::<libc::c_char>());
        // SAFETY: this command takes neither key nor value.
        check(Call::Fsconfig, unsafe { libc::syscall(libc::SYS_fsconfig, fd, CREATE, none, none, 0) })?;
        // SAFETY: takes a live descriptor and integers.
        let tree = check(Call::Fsmount, unsafe {
            libc::syscall(libc::SYS_fsmount, fd, CLOEXEC, attributes as libc::c_uint)
        })?;
        // SAFETY: the descriptor is new and nobody else owns it.
        Ok(unsafe { super::own(tree) })
    }

    /// Writes what the kernel has to say about a failure into `buffer`, as far as it fits.
    pub fn complain(&self, buffer: &mut [u8]) {
        // Without a word there is ENODATA.
        let _silence = super::fs::read(self.fd.as_fd(), buffer);
    }
}

/// Attaches the detached mount `tree` on top of the file that `target` is open for.
///
/// # Errors
/// Those of move_mount(2).
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Stop> {
    const FROM_EMPTY_PATH: libc::c_uint = 0x4;
    const TO_EMPTY_PATH: libc::c_uint = 0x40;
    let (from, to) = (tree.as_raw_fd(), target.as_raw_fd());
    let empty = c"".as_ptr();
    // SAFETY: both paths are empty strings, which the flags allow.
    let ret = unsafe {
        libc::syscall(libc::SYS_move_mount, from, empty, to, empty, FROM_EMPTY_PATH | TO_EMPTY_PATH)
    };
    check(Call::MoveMount, ret).map(drop)
}

/// What mount_setattr(2) is to change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'fd> {
    /// `MOUNT_ATTR_` flags to set.
    pub set: u64,
    /// `MOUNT_ATTR_` flags to clear.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`; 0 leaves it.
    pub propagation: u64,
    /// The user namespace by which ids are mapped.
    pub ids: Option<BorrowedFd<'fd>>,
}

/// Changes the mount that `fd` is the root of, and with `deep` every one below.
///
/// # Errors
/// Those of mount_setattr(2), which Linux has since 5.12. Before, attributes of one attached mount can be
/// changed all the same; anything else is ENOSYS.
pub fn change(fd: BorrowedFd<'_>, deep: bool, change: Change<'_>) -> Result<(), Stop> {
    let attr = libc::mount_attr {
        attr_set: change.set | if change.ids.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 },
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: change.ids.map_or(0, |ids| ids.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if deep { libc::AT_RECURSIVE } else { 0 };
    let (raw, size) = (fd.as_raw_fd(), size_of::<libc::mount_attr>());
    // SAFETY: the path is an empty string, which the flags allow; `attr` is a struct of `size` bytes.
    let ret =
        unsafe { libc::syscall(libc::SYS_mount_setattr, raw, c"".as_ptr(), flags, &raw const attr, size) };
    match check(Call::MountSetattr, ret) {
        Err(stop) if stop.is(Errno::ENOSYS) && change.ids.is_none() => change_by_remount(fd, deep, change),
        other => other.map(drop),
    }
}

/// Whether [`change`] takes no path to what it changes: Linux has mount_setattr(2) since 5.12.
#[must_use]
pub fn is_changed_by_descriptor() -> bool {
    let none: libc::c_long = 0;
    // SAFETY: no descriptor is -1, and a struct of no bytes is refused.
    let ret = unsafe { libc::syscall(libc::SYS_mount_setattr, none - 1, c"".as_ptr(), none, none, none) };
    check(Call::MountSetattr, ret).is_err_and(|stop| !stop.is(Errno::ENOSYS))
}

/// Each `MOUNT_ATTR_` flag with its `MS_` and `ST_` flag; the access time family is one choice and stands apart.
const ATTRIBUTES: &[(u64, u64, u64)] = &[
    (libc::MOUNT_ATTR_RDONLY, libc::MS_RDONLY, libc::ST_RDONLY),
    (libc::MOUNT_ATTR_NOSUID, libc::MS_NOSUID, libc::ST_NOSUID),
    (libc::MOUNT_ATTR_NODEV, libc::MS_NODEV, libc::ST_NODEV),
    (libc::MOUNT_ATTR_NOEXEC, libc::MS_NOEXEC, libc::ST_NOEXEC),
    (libc::MOUNT_ATTR_NODIRATIME, libc::MS_NODIRATIME, libc::ST_NODIRATIME),
    (libc::MOUNT_ATTR_NOSYMFOLLOW, libc::MS_NOSYMFOLLOW, ST_NOSYMFOLLOW),
];
/// Since Linux 5.10 (statfs(2)).
const ST_NOSYMFOLLOW: u64 = 0x2000;
/// musl lacks it.
const ST_RELATIME: u64 = 0x1000;

// Linux < 5.12 has no mount_setattr.
fn change_by_remount(fd: BorrowedFd<'_>, deep: bool, change: Change<'_>) -> Result<(), Stop> {
    let path = own_descriptor(fd);
    let target = CStr::from_bytes_until_nul(&path).unwrap_or_default();
    if change.propagation != 0 {
        change_at(target, change.propagation | if deep { libc::MS_REC } else { 0 })?;
    }
    if change.set == 0 && change.clear == 0 {
        return Ok(());
    }
    if deep {
        return Err(Stop::new(Call::MountSetattr, Errno::ENOSYS));
    }
    change_at(target, flags_after(fd, change)? | libc::MS_REMOUNT | libc::MS_BIND)
}

/// The flags of the mount that `fd` is the root of, as mount(2) takes them, once `change` is made.
fn flags_after(fd: BorrowedFd<'_>, change: Change<'_>) -> Result<u64, Stop> {
    // SAFETY: all-zero is a valid statfs struct.
    let mut stat: libc::statfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid for writing.
    super::check_int(Call::Statfs, unsafe { libc::fstatfs64(fd.as_raw_fd(), &raw mut stat) })?;
    // A signed number in glibc, an unsigned one in musl.
    let now = u64::from_ne_bytes(stat.f_flags.to_ne_bytes());
    let mut flags = 0;
    for (attribute, ms, st) in ATTRIBUTES {
        if change.set & attribute != 0 || change.clear & attribute == 0 && now & st != 0 {
            flags |= ms;
        }
    }
    let strict = now & (libc::ST_NOATIME | ST_RELATIME) == 0;
    Ok(flags
        | match change.set & libc::MOUNT_ATTR__ATIME {
            libc::MOUNT_ATTR_NOATIME => libc::MS_NOATIME,
            libc::MOUNT_ATTR_STRICTATIME => libc::MS_STRICTATIME,
            _ if change.clear & libc::MOUNT_ATTR__ATIME != 0 => libc::MS_RELATIME,
            _ if now & libc::ST_NOATIME != 0 => libc::MS_NOATIME,
            _ if strict => libc::MS_STRICTATIME,
            _ => libc::MS_RELATIME,
        })
}

/// Makes `change` to the mount that `fd` is the root of, and gives its file system the flags `superblock` and the
/// options `data`. See mount(2), MS_REMOUNT. The working directory is then `proc`, which names the mount for the call.
///
/// # Errors
/// Those of the call.
pub fn remount(
    proc: &Proc,
    fd: BorrowedFd<'_>,
    change: Change<'_>,
    superblock: u64,
    data: &CStr,
) -> Result<(), Stop> {
    let flags = flags_after(fd, change)? | superblock | libc::MS_REMOUNT;
    proc.mount_at(fd, c"none", flags, data).map_err(|stop| Stop { call: Call::Remount, ..stop })
}

/// mount(2) on `target`, a path of the present root; "." is the working directory.
///
/// # Errors
/// Those of the call.
pub fn mount(source: &CStr, target: &CStr, fstype: &CStr, flags: u64, data: &CStr) -> Result<(), Stop> {
    // SAFETY: all four strings are NUL-terminated.
    let ret = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, data.as_ptr().cast())
    };
    check_int(Call::Mount, ret).map(drop)
}

/// Changes flags or propagation of the mount at `target`, a path of the present root.
///
/// # Errors
/// Those of mount(2).
pub fn change_at(target: &CStr, flags: u64) -> Result<(), Stop> {
    // SAFETY: `target` is NUL-terminated; with these flags the kernel does not look at the null pointers.
    let ret = unsafe { libc::mount(ptr::null(), target.as_ptr(), ptr::null(), flags, ptr::null()) };
    check_int(Call::Mount, ret).map(drop)
}

/// umount2(2) with MNT_DETACH of what is mounted on `target`.
///
/// # Errors
/// Those of the call.
pub fn detach(target: &CStr) -> Result<(), Stop> {
    // SAFETY: `target` is NUL-terminated.
    check_int(Call::Umount, unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// Makes the working directory, a mount, the root, and puts the old root on top of it. See pivot_root(2),
/// `pivot_root(".", ".")`.
///
/// # Errors
/// Those of pivot_root(2).
pub fn pivot_here() -> Result<(), Stop> {
    // SAFETY: both strings are NUL-terminated.
    let ret = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
    check(Call::PivotRoot, ret).map(drop)
}

/// chroot(2) into the working directory.
///
/// # Errors
/// Those of the call.
pub fn chroot_here() -> Result<(), Stop> {
    // SAFETY: the string is NUL-terminated.
    check_int(Call::Chroot, unsafe { libc::chroot(c".".as_ptr()) }).map(drop)
}
