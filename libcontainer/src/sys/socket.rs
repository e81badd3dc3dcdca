//! Unix sockets: the pair between the processes, the start socket, and descriptors in messages.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::{Call, Stop, check, check_int, retry};

/// A connected pair that keeps message boundaries.
///
/// # Errors
/// Those of socketpair(2).
pub fn pair() -> Result<(OwnedFd, OwnedFd), Stop> {
    let mut fds: [RawFd; 2] = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for the two descriptors.
    check_int(Call::Socket, unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
    // SAFETY: the first descriptor is new and nobody else owns it.
    let first = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as the first.
    let second = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok((first, second))
}

/// A socket of rtnetlink(7), for the network namespace of the calling thread.
///
/// # Errors
/// Those of socket(2).
pub(super) fn route() -> Result<OwnedFd, Stop> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: takes integers only.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
    // SAFETY: the descriptor is new and nobody else owns it.
    check_int(Call::Socket, fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends one message. A peer that is gone is an error, never a signal.
///
/// # Errors
/// Those of send(2).
pub fn send(socket: BorrowedFd<'_>, message: &[u8]) -> Result<(), Stop> {
    retry(|| {
        // SAFETY: `message` is valid for its length.
        let ret = unsafe {
            libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), libc::MSG_NOSIGNAL)
        };
        check(Call::Send, ret as libc::c_long)
    })
    .map(drop)
}

/// Ends the stream of messages to the peer. See shutdown(2).
///
/// # Errors
/// Those of the call.
pub fn end_sending(socket: BorrowedFd<'_>) -> Result<(), Stop> {
    // SAFETY: takes a live descriptor and an integer.
    check_int(Call::Send, unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

/// Receives one message; its length, 0 when the peer is gone.
///
/// # Errors
/// Those of recv(2).
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Stop> {
    let mut receive = || {
        retry(|| {
            // SAFETY: `buffer` is valid for writing its length.
            let ret = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            check(Call::Recv, ret as libc::c_long)
        })
    };
    match receive() {
        // The peer died with a message of ours unread. This is told once, before its own last message.
        Err(stop) if stop.is(Errno::ECONNRESET) => receive().map(super::size),
        other => other.map(super::size),
    }
}

/// Sends `message` and with it a copy of the descriptor `fd`. See unix(7), SCM_RIGHTS.
///
/// # Errors
/// Those of sendmsg(2).
pub fn send_descriptor(socket: BorrowedFd<'_>, message: &[u8], fd: BorrowedFd<'_>) -> Result<(), Stop> {
    #[repr(C)]
    struct Control {
        header: libc::cmsghdr,
        fd: RawFd,
        // CMSG_SPACE rounds up to the alignment of the header.
        padding: u32,
    }
    let mut part = libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
    // SAFETY: all-zero is a valid cmsghdr.
    let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
    header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<RawFd>()) as _;
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    let mut control = Control { header, fd: fd.as_raw_fd(), padding: 0 };
    // SAFETY: all-zero is a valid msghdr.
    let mut envelope: libc::msghdr = unsafe { std::mem::zeroed() };
    envelope.msg_iov = &raw mut part;
    envelope.msg_iovlen = 1;
    envelope.msg_control = (&raw mut control).cast();
    envelope.msg_controllen = size_of::<Control>() as _;
    retry(|| {
        // SAFETY: every pointer of `envelope` is to a local that outlives the call; nothing is written.
        let ret = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const envelope, libc::MSG_NOSIGNAL) };
        check(Call::Send, ret as libc::c_long)
    })
    .map(drop)
}

fn unix_socket(kind: libc::c_int) -> Result<OwnedFd, Stop> {
    // SAFETY: takes integers only.
    let fd = check_int(Call::Socket, unsafe { libc::socket(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The address of the file `name` in `directory`, however long the directory's path is.
fn address(directory: BorrowedFd<'_>, name: &str) -> Result<libc::sockaddr_un, Stop> {
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    // SAFETY: all-zero is a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if path.len() >= address.sun_path.len() {
        return Err(Stop::new(Call::Bind, Errno::ENAMETOOLONG));
    }
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from.cast_signed();
    }
    Ok(address)
}

/// A socket that listens at the file `name` in `directory`, for one connection at a time. Allocates.
///
/// # Errors
/// Those of bind(2) and listen(2).
pub fn listen(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Stop> {
    let socket = unix_socket(libc::SOCK_SEQPACKET)?;
    let address = address(directory, name)?;
    let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: `address` is a sockaddr_un of `len` bytes.
    check_int(Call::Bind, unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    // SAFETY: takes a live descriptor and an integer.
    check_int(Call::Listen, unsafe { libc::listen(socket.as_raw_fd(), 1) })?;
    Ok(socket)
}

/// What kind of socket to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Keeps message boundaries.
    Packets,
    /// Does not.
    Stream,
}

/// Connects to the socket at the file `name` in `directory`. Allocates.
///
/// # Errors
/// ECONNREFUSED if nobody listens any more.
pub fn connect(directory: BorrowedFd<'_>, name: &str, kind: Kind) -> Result<OwnedFd, Stop> {
    let kind = if kind == Kind::Packets { libc::SOCK_SEQPACKET } else { libc::SOCK_STREAM };
    let socket = unix_socket(kind)?;
    let address = address(directory, name)?;
    let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    retry(|| {
        // SAFETY: `address` is a sockaddr_un of `len` bytes.
        check_int(Call::Connect, unsafe {
            libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len)
        })
    })?;
    Ok(socket)
}

/// accept4(2): waits for a connection.
///
/// # Errors
/// Those of the call.
pub fn accept(socket: BorrowedFd<'_>) -> Result<OwnedFd, Stop> {
    let fd = retry(|| {
        // SAFETY: the peer's address is not asked for.
        let ret = unsafe {
            libc::accept4(socket.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), libc::SOCK_CLOEXEC)
        };
        check_int(Call::Accept, ret)
    })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for a descriptor that somebody sends; `None` when the peer is gone without one.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive_descriptor(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Stop> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut byte = [0_u8; 64];
    let mut parts = [std::io::IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    let message = retry(|| {
        let received =
            recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
        super::from_nix(
            Call::Recv,
            received.map(|m| m.cmsgs().map(Iterator::collect::<Vec<_>>).unwrap_or_default()),
        )
    })?;
    let fds = message.into_iter().find_map(|control| match control {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has made the descriptor for this process, and nobody else owns it.
    Ok(fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}
