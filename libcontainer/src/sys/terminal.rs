//! Pseudo terminals. See pty(7) and ioctl_tty(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;

use super::{Call, Stop, check_int};

/// Unlocks the other side of the pseudo terminal `master`.
///
/// # Errors
/// ENOTTY if it is none.
pub fn unlock(master: BorrowedFd<'_>) -> Result<(), Stop> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int.
    check_int(Call::Ioctl, unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })
        .map(drop)
}

/// Opens the other side of `master`, without a path that something else could be put at.
///
/// # Errors
/// Those of ioctl_tty(2), TIOCGPTPEER.
pub fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Stop> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes the flags as an integer.
    let fd = check_int(Call::Ioctl, unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes `terminal` the controlling terminal of this session leader.
///
/// # Errors
/// EPERM if the process leads no session or has a terminal.
pub fn take_control(terminal: BorrowedFd<'_>) -> Result<(), Stop> {
    // SAFETY: TIOCSCTTY takes an integer.
    check_int(Call::Ioctl, unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Sets the size of a terminal, in characters.
///
/// # Errors
/// ENOTTY if it is none.
pub fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<(), Stop> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize.
    check_int(Call::Ioctl, unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
        .map(drop)
}

/// The size of a terminal: rows and columns.
///
/// # Errors
/// ENOTTY if it is none.
pub fn size(terminal: BorrowedFd<'_>) -> Result<(u16, u16), Stop> {
    // SAFETY: all-zero is a valid winsize.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes a winsize.
    check_int(Call::Ioctl, unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}
