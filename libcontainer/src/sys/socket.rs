//! Unix sockets: the pair between the processes, the start socket, and descriptors in messages.

use std::ffi::{CString, OsStr};
use std::mem::MaybeUninit;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::{Call, Stop, check, check_int, fs, retry};

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
    let len = buffer.len();
    // SAFETY: `buffer` is valid for writing its length, and only bytes are written.
    let room = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), len) };
    receive_into(socket, room)
}

/// As [`receive`], into memory that may hold nothing yet.
pub(super) fn receive_into(socket: BorrowedFd<'_>, room: &mut [MaybeUninit<u8>]) -> Result<usize, Stop> {
    let receive = || {
        // SAFETY: `room` is valid for writing its length.
        let ret = unsafe { libc::recv(socket.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
        check(Call::Recv, ret as libc::c_long)
    };
    to_the_last(receive).map(super::size)
}

/// Repeats `receive` while a signal interrupts it, and when the peer has died with a message of ours unread: this is
/// told once, before its own last message.
fn to_the_last<T>(mut receive: impl FnMut() -> Result<T, Stop>) -> Result<T, Stop> {
    match retry(&mut receive) {
        Err(stop) if stop.is(Errno::ECONNRESET) => retry(receive),
        other => other,
    }
}

/// How many descriptors go with one message at most.
pub const DESCRIPTORS_MAX: usize = 32;

/// The control part of a message with descriptors. See unix(7), SCM_RIGHTS.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    // An even number of them: CMSG_SPACE rounds up to the alignment of the header.
    fds: [RawFd; DESCRIPTORS_MAX],
}

impl Rights {
    fn new(count: usize) -> Rights {
        // SAFETY: all-zero is a valid cmsghdr.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = (size_of::<libc::cmsghdr>() + count * size_of::<RawFd>()) as _;
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        Rights { header, fds: [-1; DESCRIPTORS_MAX] }
    }
}

/// Sends `message` and with it a copy of the descriptor `fd`; gives how much of the message was taken, which a
/// stream may take in parts.
///
/// # Errors
/// Those of sendmsg(2).
pub fn send_descriptor(socket: BorrowedFd<'_>, message: &[u8], fd: BorrowedFd<'_>) -> Result<usize, Stop> {
    send_part(socket, message, &[fd])
}

/// Sends one message and with it copies of `fds`, at most [`DESCRIPTORS_MAX`].
///
/// # Errors
/// EINVAL for too many; those of sendmsg(2).
pub fn send_descriptors<F: AsFd>(socket: BorrowedFd<'_>, message: &[u8], fds: &[F]) -> Result<(), Stop> {
    if fds.len() > DESCRIPTORS_MAX {
        return Err(Stop::new(Call::Send, Errno::EINVAL));
    }
    send_part(socket, message, fds).map(drop)
}

/// Sends all of `message` over a stream, and with its first part a copy of the descriptor `fd`.
///
/// # Errors
/// Those of sendmsg(2); ETIMEDOUT if the peer takes nothing for [`PATIENCE`].
pub fn send_all(socket: BorrowedFd<'_>, message: &[u8], fd: BorrowedFd<'_>) -> Result<(), Stop> {
    let mut sent = send_descriptor(socket, message, fd)?;
    while let Some(rest) = message.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += send_part::<BorrowedFd<'_>>(socket, rest, &[])?;
    }
    Ok(())
}

fn send_part<F: AsFd>(socket: BorrowedFd<'_>, message: &[u8], fds: &[F]) -> Result<usize, Stop> {
    let sent = with_envelope(message, fds.iter().map(|fd| fd.as_fd().as_raw_fd()), |envelope| {
        retry(|| {
            // SAFETY: the envelope and what it points to live until the call returns; nothing is written.
            let ret = unsafe { libc::sendmsg(socket.as_raw_fd(), envelope, libc::MSG_NOSIGNAL) };
            check(Call::Send, ret as libc::c_long)
        })
    });
    sent.map(super::size).map_err(out_of_patience)
}

/// Lets `send` have `message`, and the descriptors if any go with it, as sendmsg(2) takes them.
pub(super) fn with_envelope<T>(
    message: &[u8],
    fds: impl Iterator<Item = RawFd>,
    send: impl FnOnce(*const libc::msghdr) -> T,
) -> T {
    let mut part = libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
    let mut rights = Rights::new(0);
    let mut count = 0;
    for (place, fd) in rights.fds.iter_mut().zip(fds) {
        *place = fd;
        count += 1;
    }
    rights.header = Rights::new(count).header;
    // SAFETY: all-zero is a valid msghdr.
    let mut envelope: libc::msghdr = unsafe { std::mem::zeroed() };
    envelope.msg_iov = &raw mut part;
    envelope.msg_iovlen = 1;
    if count > 0 {
        envelope.msg_control = (&raw mut rights).cast();
        envelope.msg_controllen = rights.header.cmsg_len;
    }
    send(&raw const envelope)
}

/// Receives one message, and the descriptors with it into the first places of `fds`; the others become empty. Its
/// length, 0 when the peer is gone.
///
/// # Errors
/// Those of recvmsg(2); EMFILE when there were more descriptors than this process may have.
#[allow(clippy::unnecessary_cast, reason = "the lengths have 32 bits with some libraries")]
pub fn receive_descriptors(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut [Option<OwnedFd>; DESCRIPTORS_MAX],
) -> Result<usize, Stop> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut rights = Rights::new(0);
    // SAFETY: all-zero is a valid msghdr.
    let mut envelope: libc::msghdr = unsafe { std::mem::zeroed() };
    envelope.msg_iov = &raw mut part;
    envelope.msg_iovlen = 1;
    let length = to_the_last(|| {
        envelope.msg_control = (&raw mut rights).cast();
        envelope.msg_controllen = size_of::<Rights>() as _;
        // SAFETY: every pointer of `envelope` is to a local of the length that it says.
        let ret = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut envelope, libc::MSG_CMSG_CLOEXEC) };
        check(Call::Recv, ret as libc::c_long).map(super::size)
    })?;
    let sent = envelope.msg_controllen as usize > size_of::<libc::cmsghdr>();
    let bytes = (rights.header.cmsg_len as usize).saturating_sub(size_of::<libc::cmsghdr>());
    let count = if sent { bytes / size_of::<RawFd>() } else { 0 };
    for (i, (place, fd)) in fds.iter_mut().zip(rights.fds).enumerate() {
        // SAFETY: the kernel has made the first `count` descriptors for this process, and nobody else owns them.
        *place = (i < count).then(|| unsafe { OwnedFd::from_raw_fd(fd) });
    }
    if envelope.msg_flags & libc::MSG_CTRUNC != 0 {
        Err(Stop::new(Call::Recv, Errno::EMFILE))
    } else {
        Ok(length)
    }
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

/// How long a peer may take nothing: a connection, or what is sent.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to the socket at the file `name` in `directory`. Allocates.
///
/// # Errors
/// ECONNREFUSED if nobody listens any more, ETIMEDOUT if who listens does not accept for [`PATIENCE`].
pub fn connect(directory: BorrowedFd<'_>, name: &str, kind: Kind) -> Result<OwnedFd, Stop> {
    let kind = if kind == Kind::Packets { libc::SOCK_SEQPACKET } else { libc::SOCK_STREAM };
    let socket = unix_socket(kind)?;
    limit_sending(socket.as_fd())?;
    let address = address(directory, name)?;
    let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    let connected = retry(|| {
        // SAFETY: `address` is a sockaddr_un of `len` bytes.
        check_int(Call::Connect, unsafe {
            libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len)
        })
    });
    connected.map_err(out_of_patience)?;
    Ok(socket)
}

/// Connects to the socket at `path`, by its directory and name: an address has room for 107 bytes only. Allocates.
///
/// # Errors
/// Those of [`connect`]; EINVAL for a path without a name, or that is not UTF-8 or has a NUL.
pub fn connect_to(path: &Path, kind: Kind) -> Result<OwnedFd, Stop> {
    let unusable = Stop::new(Call::Connect, Errno::EINVAL);
    let name = path.file_name().and_then(OsStr::to_str).ok_or(unusable)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = CString::new(parent.as_os_str().as_bytes()).map_err(|_| unusable)?;
    let directory = fs::open(fs::CWD, &parent, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    connect(directory.as_fd(), name, kind)
}

/// The kernel says EAGAIN when the time of SO_SNDTIMEO is over, which reads as if nobody had waited.
fn out_of_patience(stop: Stop) -> Stop {
    if stop.is(Errno::EAGAIN) { Stop::new(stop.call, Errno::ETIMEDOUT) } else { stop }
}

/// Connecting and sending give up after [`PATIENCE`]. See socket(7), SO_SNDTIMEO.
fn limit_sending(socket: BorrowedFd<'_>) -> Result<(), Stop> {
    let limit = libc::timeval { tv_sec: PATIENCE.as_secs() as _, tv_usec: 0 };
    let len = size_of::<libc::timeval>() as libc::socklen_t;
    let limit = (&raw const limit).cast();
    // SAFETY: the option takes a timeval, which lives until the call returns.
    let ret =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDTIMEO, limit, len) };
    check_int(Call::Socket, ret).map(drop)
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
    let mut fds = [const { None }; DESCRIPTORS_MAX];
    receive_descriptors(socket, &mut [0; 64], &mut fds)?;
    Ok(fds.into_iter().next().flatten())
}
