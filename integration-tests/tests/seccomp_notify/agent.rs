//! A seccomp agent as hosts run them: listens, is introduced to containers, and answers for their system calls.
#![expect(
    unsafe_code,
    reason = "nix has neither the ioctls of a listener nor another word for a received descriptor"
)]

use std::io::IoSliceMut;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// What an agent says about a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// Let the kernel do it.
    Continue,
    /// It fails with this errno.
    Errno(i32),
    /// It is done, and has given this.
    Value(i64),
    /// Nothing, for ever.
    Silence,
}

/// What becomes of a listener that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is used until nobody is under its filter any more.
    Listener,
    /// It is closed at once.
    Nothing,
}

/// How a container was introduced.
#[derive(Debug, Clone)]
pub(crate) struct Introduction {
    /// The message, up to the end of the connection.
    pub(crate) message: Value,
    /// How many descriptors came with each part of the message.
    pub(crate) descriptors: Vec<usize>,
}

#[derive(Debug, Default)]
struct Seen {
    introductions: Vec<Introduction>,
    calls: Vec<i32>,
}

#[derive(Debug, Default)]
struct Log {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Log {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }

    fn await_that(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let seen = self.seen.lock().unwrap();
        let (seen, waited) = self.changed.wait_timeout_while(seen, PATIENCE, |seen| !holds(seen)).unwrap();
        assert!(!waited.timed_out(), "the agent waits in vain for {what}: {seen:?}");
    }
}

/// An agent that works in a thread of its own until it is dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    place: TempDir,
    log: Arc<Log>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// One that answers every call by `decide`, which gets the call's number.
    pub(crate) fn new(keep: Keep, decide: impl FnMut(i32) -> Answer + Send + 'static) -> Agent {
        let place = tempfile::tempdir().unwrap();
        let socket = UnixListener::bind(place.path().join("agent.sock")).unwrap();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let log = Arc::new(Log::default());
        let of_thread = Arc::clone(&log);
        let thread = std::thread::spawn(move || work(&socket, &stopped, keep, &of_thread, decide));
        Agent { place, log, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> PathBuf {
        self.place.path().join("agent.sock")
    }

    /// The directory of its socket.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    /// The containers and programs that it was introduced to, of which there are so many by now or soon.
    pub(crate) fn introductions(&self, count: usize) -> Vec<Introduction> {
        self.log.await_that("introductions", |seen| seen.introductions.len() >= count);
        let seen = self.log.seen.lock().unwrap();
        assert_eq!(seen.introductions.len(), count, "{seen:?}");
        seen.introductions.clone()
    }

    /// Waits until it was asked so often.
    pub(crate) fn await_questions(&self, count: usize) {
        self.log.await_that("questions", |seen| seen.calls.len() >= count);
    }

    /// The numbers of the calls that it was asked about.
    pub(crate) fn calls(&self) -> Vec<i32> {
        self.log.seen.lock().unwrap().calls.clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            thread.join().unwrap();
        }
    }
}

fn work(
    socket: &UnixListener,
    stopped: &UnixStream,
    keep: Keep,
    log: &Log,
    mut decide: impl FnMut(i32) -> Answer,
) {
    let mut listeners: Vec<OwnedFd> = Vec::new();
    loop {
        let mut fds = vec![
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(listeners.iter().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.unwrap(),
        };
        let events: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap()).collect();
        if !events[0].is_empty() {
            return;
        }
        for (listener, events) in listeners.iter().zip(&events[2..]) {
            if events.contains(PollFlags::POLLIN) {
                answer(listener, log, &mut decide);
            }
        }
        let mut events_of = events[2..].iter();
        listeners.retain(|_| !events_of.next().unwrap().contains(PollFlags::POLLHUP));
        if !events[1].is_empty() {
            let (introduction, listener) = meet(&socket.accept().unwrap().0);
            listeners.extend(listener.filter(|_| keep == Keep::Listener));
            log.note(|seen| seen.introductions.push(introduction));
        }
    }
}

/// Reads one connection to its end.
fn meet(stream: &UnixStream) -> (Introduction, Option<OwnedFd>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut bytes, mut descriptors, mut listener) = (Vec::new(), Vec::new(), None);
    loop {
        let mut part = [0; 4096];
        let mut parts = [IoSliceMut::new(&mut part)];
        let mut space = nix::cmsg_space!([i32; 4]);
        let message =
            recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
                .unwrap();
        let mut fds = Vec::new();
        for control in message.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(sent) = control {
                // SAFETY: the kernel has made them for this process in the message that was just received.
                fds.extend(sent.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let len = message.bytes;
        if len == 0 {
            let message = serde_json::from_slice(&bytes).unwrap();
            return (Introduction { message, descriptors }, listener);
        }
        bytes.extend_from_slice(&part[..len]);
        descriptors.push(fds.len());
        listener = listener.or(fds.into_iter().next());
    }
}

/// Answers one call.
fn answer(listener: &OwnedFd, log: &Log, decide: &mut impl FnMut(i32) -> Answer) {
    const RECV: u32 = 0xc050_2100;
    const SEND: u32 = 0xc018_2101;
    const CONTINUE: u32 = 1;
    assert_eq!((size_of::<libc::seccomp_notif>(), size_of::<libc::seccomp_notif_resp>()), (0x50, 0x18));
    // SAFETY: all-zero is a valid seccomp_notif, and the one that the call wants.
    let mut asked: libc::seccomp_notif = unsafe { zeroed() };
    // SAFETY: RECV writes a seccomp_notif.
    if unsafe { libc::ioctl(listener.as_raw_fd(), RECV as _, &raw mut asked) } < 0 {
        // Who asked was killed.
        assert_eq!(Errno::last(), Errno::ENOENT);
        return;
    }
    log.note(|seen| seen.calls.push(asked.data.nr));
    let (id, mut val, mut error, mut flags) = (asked.id, 0, 0, 0);
    match decide(asked.data.nr) {
        Answer::Continue => flags = CONTINUE,
        Answer::Errno(errno) => error = -errno,
        Answer::Value(value) => val = value,
        Answer::Silence => return,
    }
    let response = libc::seccomp_notif_resp { id, val, error, flags };
    // SAFETY: SEND reads a seccomp_notif_resp.
    let sent = unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const response) };
    assert!(sent == 0 || Errno::last() == Errno::ENOENT, "{}", Errno::last());
}

/// Lets the command run under a filter that has a listener, which it inherits, and allows everything.
pub(crate) fn put_under_a_listener(command: &mut Command) {
    const NEW_LISTENER: libc::c_ulong = 8;
    /// BPF_RET | BPF_K
    const RETURN: u16 = 6;
    let load = || {
        let mut allow = libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
        let program = libc::sock_fprog { len: 1, filter: &raw mut allow };
        let operation = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: the program is one instruction, which lives until the call returns.
        let fd = unsafe { libc::syscall(libc::SYS_seccomp, operation, NEW_LISTENER, &raw const program) };
        // SAFETY: takes integers only; a bad descriptor is an error.
        let kept = unsafe { libc::fcntl(i32::try_from(fd).unwrap_or(-1), libc::F_SETFD, 0) };
        if kept == 0 { Ok(()) } else { Err(Errno::last().into()) }
    };
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(load) };
}
