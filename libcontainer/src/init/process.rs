//! Makes the process what its program is to be, and executes it. Runs in the container's process.
//!
//! The same code for the container's own program and for one that is run in it by exec.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use crate::channel::{At, Channel, Failure, Message, Milestone};
use crate::fault::Fault;
use crate::hooks::{LastWords, Stage};
use crate::path::PATH_MAX;
use crate::plan::capability::Capabilities;
use crate::plan::process::{Process, Terminal};
use crate::plan::step::Step;
use crate::sys::attributes::{self, SchedAttr};
use crate::sys::creds::{self, Instruction};
use crate::sys::fs::{self, CWD};
use crate::sys::listener::Pass;
use crate::sys::process::{self, Strings};
use crate::sys::{Call, Proc, Root, Stop, mount, signal, socket, terminal};

use super::{Build, listener};

/// Capability 21: what loading a filter without no_new_privs takes.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// A program, ready to be executed.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// What was decided.
    pub(crate) process: &'a Process,
    /// Its arguments.
    pub(crate) args: Strings<'a>,
    /// Its environment.
    pub(crate) env: Strings<'a>,
    /// Its system call filter.
    pub(crate) filter: Option<Filter>,
    /// Where the terminal's master is sent.
    pub(crate) console: Option<OwnedFd>,
    /// Room for `HOME=` and a directory, looked up in the container.
    pub(crate) home: Box<[u8; PATH_MAX]>,
    /// Which of the programs to try is the one, once it has been looked up.
    pub(crate) found: usize,
}

/// A system call filter as the kernel takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The program, or room for it.
    pub(crate) instructions: Vec<Instruction>,
    /// The runtime compiles it meanwhile, and sends it when everything else is done.
    pub(crate) comes: bool,
    /// `SECCOMP_FILTER_FLAG_` bits.
    pub(crate) flags: u32,
    /// Loading it gives a listener, which has to be handed out.
    pub(crate) listens: bool,
    /// What lets calls through that the filter is about to refuse, or to ask an agent about who is not there yet.
    pub(crate) pass: Option<Pass>,
}

impl Program<'_> {
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.console.iter().map(AsRawFd::as_raw_fd)
    }
}

/// Sets everything up to the point where only `start` is missing. The container's own terminal is its console
/// too, so `bind_console` puts it at /dev/console.
pub(super) fn prepare(
    program: &mut Program<'_>,
    proc: &Proc,
    bind_console: bool,
    fault: Fault,
) -> Result<(), Failure> {
    let plan = program.process;
    let root = fs::open(CWD, c"/", libc::O_PATH | libc::O_DIRECTORY, 0).map(Root::new).at(Step::Cwd)?;
    process::setsid().at(Step::Console)?;
    if let (Some(size), Some(socket)) = (plan.terminal, &program.console) {
        fault.attempt(Step::Console, || set_up_terminal(&root, size, socket, plan.uid, bind_console))?;
    } else {
        give_streams(plan.uid).at(Step::Console)?;
    }
    set_limits(plan, fault)?;
    let arrived = fault.attempt(Step::Cwd, || change_to_cwd(&root, plan))?;
    if plan.find_home {
        find_home(&root, plan.uid, &mut program.home);
    }
    set_label(plan, proc, fault)?;
    become_user(plan, program.filter.is_some(), fault)?;
    if !arrived {
        fault.attempt(Step::Cwd, || enter_cwd(&root, plan))?;
    }
    fault.attempt(Step::Cwd, check_cwd)?;
    if let Some(mask) = plan.umask {
        fs::set_umask(mask);
    }
    program.found = fault.attempt(Step::FindProgram, || find_program(plan))?;
    Ok(())
}

/// Runs the last hooks, loads the filter and executes the program. Returns only if something failed.
pub(super) fn execute(
    program: &mut Program<'_>,
    build: Option<&mut Build<'_>>,
    preserved: u32,
    channel: &Channel,
    words: &mut LastWords,
    fault: Fault,
) -> Failure {
    let ready = || -> Result<(), Failure> {
        if let Some(build) = build {
            run_start_hooks(build, words, fault)?;
        }
        // Without this word the end of the channel means that the process died, not that it executes.
        channel.send(Message::Reached(Milestone::Start)).at(Step::Channel)?;
        fault.attempt(Step::CloseFiles, || process::close_on_exec_from(3 + preserved))?;
        fault.attempt(Step::Signals, signal::unblock_all)?;
        match &program.filter {
            Some(filter) => load_filter(filter, channel, fault),
            None => Ok(()),
        }
    };
    if let Err(failure) = ready() {
        return failure;
    }
    let failure = match fault.attempt(Step::Exec, || Ok(())) {
        Ok(()) => execute_program(program, words),
        Err(failure) => failure,
    };
    match program.filter.as_ref().and_then(|filter| filter.pass) {
        Some(pass) => listener::give_up(failure, words.as_bytes(), pass, channel),
        None => failure,
    }
}

fn load_filter(filter: &Filter, channel: &Channel, fault: Fault) -> Result<(), Failure> {
    match filter.pass {
        Some(pass) if filter.listens => listener::load(filter, pass, channel, fault),
        _ => fault.attempt(Step::LoadFilter, || creds::load_filter(&filter.instructions, filter.flags)),
    }
}

fn execute_program(program: &mut Program<'_>, words: &mut LastWords) -> Failure {
    let home = CStr::from_bytes_until_nul(program.home.as_slice()).ok().filter(|home| !home.is_empty());
    let file = program.process.programs.get(program.found).map_or(c"", |file| file.as_c_str());
    let stop = process::exec(file, &program.args, &mut program.env, home);
    words.clear();
    words.add(file.to_bytes());
    let may_look = program.filter.as_ref().is_none_or(|filter| filter.pass.is_none());
    if stop.is(Errno::ENOENT) && may_look {
        // The file was there a moment ago: what it wants to be run by may not be.
        super::interpreter::find(file, |name| {
            words.add(b"\0");
            words.add(name);
        });
    }
    Failure { step: Step::Exec, stop }
}

fn run_start_hooks(build: &mut Build<'_>, words: &mut LastWords, fault: Fault) -> Result<(), Failure> {
    if build.start_container.is_empty() {
        return Ok(());
    }
    let directory = fs::open(CWD, c".", libc::O_PATH, 0).at(Step::StartContainer(0))?;
    let (state, streams) = (&build.start_state, &build.streams);
    let stage = Stage { directory: directory.as_fd(), state, pid: process::pid(), streams };
    for (hook, i) in build.start_container.iter_mut().zip(0..) {
        fault.attempt(Step::StartContainer(i), || hook.run(stage, words))?;
    }
    words.clear();
    Ok(())
}

/// Makes a terminal in the container, sends its master out, and becomes its session's leader.
fn set_up_terminal(
    root: &Root,
    size: Terminal,
    out: &OwnedFd,
    uid: u32,
    bind_console: bool,
) -> Result<(), Stop> {
    let devices = root.open_known(c"/dev/pts", libc::O_PATH | libc::O_DIRECTORY)?;
    if fs::filesystem(devices.as_fd())? != libc::DEVPTS_SUPER_MAGIC {
        return Err(Stop::new(Call::Open, Errno::ENODEV));
    }
    let master = fs::open(devices.as_fd(), c"ptmx", libc::O_RDWR | libc::O_NOCTTY | libc::O_NOFOLLOW, 0)?;
    terminal::unlock(master.as_fd())?;
    let peer = terminal::peer(master.as_fd())?;
    if size != Terminal::default() {
        terminal::set_size(peer.as_fd(), size.rows, size.columns)?;
    }
    fs::change_owner(peer.as_fd(), c"", uid, u32::MAX)?;
    if bind_console {
        // Bound by descriptor: whatever a hostile image puts at the name is not looked at (CVE-2025-52565).
        let console = root.make_known_file(c"/dev/console")?;
        let tree = mount::clone_tree(peer.as_fd(), c"", false)?;
        mount::attach(tree.as_fd(), console.as_fd())?;
    }
    socket::send_descriptor(out.as_fd(), b"/dev/ptmx", master.as_fd())?;
    terminal::take_control(peer.as_fd())?;
    (0..3).try_for_each(|stream| process::install(peer.as_fd(), stream))
}

/// Gives pipes and sockets among the standard streams to the program's user, who could not open
/// /dev/stdout again otherwise. Devices are the host's: their owner stays.
fn give_streams(uid: u32) -> Result<(), Stop> {
    for stream in process::standard_streams() {
        let device = match fs::kind(stream) {
            Ok(kind) => [libc::S_IFCHR, libc::S_IFBLK].contains(&kind.format()),
            // Closed by the caller.
            Err(_) => true,
        };
        if !device {
            match fs::change_owner(stream, c"", uid, u32::MAX) {
                // The file system is read-only, or the stream belongs to someone this user namespace does
                // not know: it stays as it is, and the program may not mind.
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(())
}

fn set_limits(plan: &Process, fault: Fault) -> Result<(), Failure> {
    if let Some(persona) = plan.personality {
        fault.attempt(Step::Personality, || attributes::set_personality(persona))?;
    }
    if let Some(policy) = &plan.memory_policy {
        fault.attempt(Step::MemoryPolicy, || attributes::set_memory_policy(policy.mode, &policy.nodes))?;
    }
    if let Some(s) = plan.scheduler {
        let (policy, flags, nice, priority) = (s.policy, s.flags, s.nice, s.priority);
        let (runtime, deadline, period) = (s.runtime, s.deadline, s.period);
        let attr =
            SchedAttr { policy, flags, nice, priority, runtime, deadline, period, ..SchedAttr::default() };
        fault.attempt(Step::Scheduler, || attributes::set_scheduler(attr))?;
    }
    if let Some(priority) = plan.io_priority {
        fault.attempt(Step::IoPriority, || attributes::set_io_priority(priority))?;
    }
    for (limit, i) in plan.rlimits.iter().zip(0..) {
        fault.attempt(Step::Rlimit(i), || attributes::set_rlimit(limit.resource, limit.soft, limit.hard))?;
    }
    Ok(())
}

/// Changes to the working directory with the rights of root, making it if need be; false if root may not
/// enter it, as on a network file system, but the program's user perhaps may.
fn change_to_cwd(root: &Root, plan: &Process) -> Result<bool, Stop> {
    let directory = match root.make_directory(&plan.cwd) {
        Err(stop) if stop.is(Errno::EACCES) => return Ok(false),
        other => other?,
    };
    match fs::change_directory(directory.as_fd()) {
        Err(stop) if stop.is(Errno::EACCES) => Ok(false),
        other => other.map(|()| true),
    }
}

fn enter_cwd(root: &Root, plan: &Process) -> Result<(), Stop> {
    fs::change_directory(root.open(&plan.cwd, libc::O_PATH | libc::O_DIRECTORY)?.as_fd())
}

/// A working directory outside the root would be a way out (CVE-2024-21626).
fn check_cwd() -> Result<(), Stop> {
    if fs::working_directory_is_inside()? { Ok(()) } else { Err(Stop::new(Call::Getcwd, Errno::ENOENT)) }
}

fn set_label(plan: &Process, proc: &Proc, fault: Fault) -> Result<(), Failure> {
    match &plan.label {
        Some(label) => fault
            .attempt(Step::Label, || proc.write(label.file.as_c_str(), label.value.as_c_str().to_bytes())),
        None => Ok(()),
    }
}

/// Takes the program's ids, groups and capabilities.
fn become_user(plan: &Process, filtered: bool, fault: Fault) -> Result<(), Failure> {
    let Capabilities { bounding, mut effective, inheritable, mut permitted, ambient } = plan.capabilities;
    // Execve takes it away again: what is permitted afterwards comes from the other sets.
    if filtered && !plan.no_new_privileges {
        effective |= CAP_SYS_ADMIN;
        permitted |= CAP_SYS_ADMIN;
    }
    fault.attempt(Step::Capabilities, || {
        // What is not in the bounding set any more cannot become inheritable, but stays so.
        if inheritable & !bounding != 0 {
            creds::set_inheritable(inheritable)?;
        }
        creds::limit_bounding_set(bounding)?;
        // Root's stay.
        if plan.uid != 0 { creds::keep_capabilities(true) } else { Ok(()) }
    })?;
    fault.attempt(Step::Groups, || match plan.groups.as_deref().map(creds::set_groups) {
        None => Ok(()),
        // Denied where an unprivileged user made the map; there are none to drop then.
        Some(Err(stop)) if stop.is(Errno::EPERM) && plan.groups == Some(Vec::new()) => Ok(()),
        Some(other) => other,
    })?;
    fault.attempt(Step::User, || {
        creds::set_group(plan.gid)?;
        creds::set_user(plan.uid)
    })?;
    fault.attempt(Step::Capabilities, || {
        if plan.uid != 0 {
            creds::keep_capabilities(false)?;
        }
        creds::set_capabilities(effective, permitted, inheritable)?;
        // What is not both permitted and inheritable has left the ambient set by that. See capabilities(7).
        if ambient | permitted & inheritable == 0 { Ok(()) } else { creds::set_ambient(ambient) }
    })?;
    if plan.no_new_privileges {
        fault.attempt(Step::NoNewPrivileges, creds::set_no_new_privileges)?;
    }
    Ok(())
}

/// The first of the programs to try that can be executed, as execvp(3) looks for it.
fn find_program(plan: &Process) -> Result<usize, Stop> {
    let mut worst = Stop::new(Call::Access, Errno::ENOENT);
    for (i, program) in plan.programs.iter().enumerate() {
        let path = program.as_c_str();
        let found = fs::may_execute(path).and_then(|()| fs::path_kind(path));
        match found {
            Ok(kind) if kind.is_directory() => worst = Stop::new(Call::Execve, Errno::EISDIR),
            Ok(_) => return Ok(i),
            Err(stop) if stop.is(Errno::ENOENT) || stop.is(Errno::ENOTDIR) && plan.programs.len() > 1 => {}
            Err(stop) => worst = stop,
        }
    }
    Err(worst)
}

/// Looks the user's home directory up in the container's passwd(5) and writes `HOME=` and it into `home`.
// Its array is not to be on the stack of whoever may call it: see init/mod.rs.
#[inline(never)]
fn find_home(root: &Root, uid: u32, home: &mut [u8; PATH_MAX]) {
    const NAME: &[u8] = b"HOME=";
    home[..NAME.len()].copy_from_slice(NAME);
    let room = &mut home[NAME.len()..PATH_MAX - 1];
    let found = open_passwd(root).and_then(|file| {
        // A line that does not fit the buffer is nobody's: the file is the image's, and may be anything.
        let mut lines = Lines::new(file);
        while let Some(line) = lines.next_line()? {
            if let Some(directory) = home_in(line, uid) {
                let len = directory.len().min(room.len());
                room[..len].copy_from_slice(&directory[..len]);
                return Ok(true);
            }
        }
        Ok(false)
    });
    if found != Ok(true) {
        room[0] = b'/';
    }
}

/// Opens /etc/passwd, if it is a plain file: a fifo, say, would never end.
fn open_passwd(root: &Root) -> Result<OwnedFd, Stop> {
    let file = root.open_known(c"/etc/passwd", libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)?;
    let plain = fs::kind(file.as_fd())?.format() == libc::S_IFREG;
    if plain { Ok(file) } else { Err(Stop::new(Call::Open, Errno::EINVAL)) }
}

/// The home directory in a line of passwd(5), if it is this user's.
fn home_in(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|byte| *byte == b':');
    let number = fields.nth(2)?;
    let value = number.iter().try_fold(0_u32, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    let directory = (!number.is_empty() && value == uid).then(|| fields.nth(2))??;
    (!directory.is_empty()).then_some(directory)
}

/// Lines of a file, through a buffer on the stack.
struct Lines {
    file: OwnedFd,
    buffer: [u8; PATH_MAX],
    start: usize,
    end: usize,
    done: bool,
}

impl Lines {
    fn new(file: OwnedFd) -> Lines {
        Lines { file, buffer: [0; PATH_MAX], start: 0, end: 0, done: false }
    }

    fn next_line(&mut self) -> Result<Option<&[u8]>, Stop> {
        loop {
            let held = &self.buffer[self.start..self.end];
            if let Some(len) = held.iter().position(|byte| *byte == b'\n') {
                let from = self.start;
                self.start += len + 1;
                return Ok(Some(&self.buffer[from..from + len]));
            }
            if self.done {
                let from = std::mem::replace(&mut self.start, self.end);
                return Ok((from < self.end).then(|| &self.buffer[from..self.end]));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.end == self.buffer.len() {
                self.end = 0;
            }
            let read = fs::read(self.file.as_fd(), &mut self.buffer[self.end..])?;
            self.end += read;
            self.done = read == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_found_by_number_and_never_by_name() {
        let line = b"1000:x:0:0:trap:/root:/bin/sh";
        assert_eq!(home_in(line, 1000), None);
        assert_eq!(home_in(line, 0), Some(&b"/root"[..]));
        assert_eq!(home_in(b"user:x:1000:1000::/home/user:/bin/sh", 1000), Some(&b"/home/user"[..]));
        assert_eq!(home_in(b"user:x:1000:1000:::/bin/sh", 1000), None);
        assert_eq!(home_in(b"user:x:+1000:1000::/h:/bin/sh", 1000), None);
        assert_eq!(home_in(b"user:x:18446744073709552616:1000::/h:/bin/sh", 1000), None);
        assert_eq!(home_in(b"", 0), None);
    }

    #[test]
    fn long_lines_are_read_past_and_a_last_line_needs_no_end() {
        let long = vec![b'x'; 3 * PATH_MAX];
        let file = fs::memory_file(&[b"a:b\n", &long, b"\nlast"]).unwrap();
        let mut lines = Lines::new(file);
        assert_eq!(lines.next_line(), Ok(Some(&b"a:b"[..])));
        let mut last = None;
        while let Ok(Some(line)) = lines.next_line() {
            last = Some(line.to_vec());
        }
        assert_eq!(last.as_deref(), Some(&b"last"[..]));
    }
}
