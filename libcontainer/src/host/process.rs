//! Who a process is. Runs in the runtime's process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::read as text_of;
use crate::sys::contents;

/// A process as /proc/PID/stat tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// When it started, in clock ticks since boot.
    pub(crate) start_time: u64,
    /// It has ended, and waits to be reaped.
    pub(crate) is_zombie: bool,
    /// It is ending: nothing of its program runs any more. The first process of a pid namespace stays so until
    /// all others in there have been reaped, also by parents outside.
    pub(crate) is_ending: bool,
}

/// What is used of /proc/PID/stat. See proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    flags: u32,
    start_time: u64,
}

impl Stat {
    /// `None` if there is no process of this number.
    fn of(pid: i32) -> Option<Stat> {
        Stat::parse(&contents::read_record(Path::new(&format!("/proc/{pid}/stat"))).ok()?)
    }

    /// The name is what its program wants it to be, parentheses and blanks too, and not text in any encoding.
    fn parse(line: &[u8]) -> Option<Stat> {
        let (open, close) =
            (line.iter().position(|byte| *byte == b'(')?, line.iter().rposition(|byte| *byte == b')')?);
        let name = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
        let mut fields = std::str::from_utf8(&line[close + 1..]).ok()?.split_ascii_whitespace();
        // Counted as in the manual, where the state is field 3.
        let state = fields.next()?.chars().next()?;
        let flags = fields.nth(9 - 4)?.parse().ok()?;
        let start_time = fields.nth(22 - 10)?.parse().ok()?;
        Some(Stat { name, state, flags, start_time })
    }
}

/// Looks at a process; `None` if there is none of this number.
#[must_use]
pub(crate) fn look_at(pid: i32) -> Option<Seen> {
    /// PF_EXITING of include/linux/sched.h.
    const ENDING: u32 = 4;
    let stat = Stat::of(pid)?;
    let is_zombie = matches!(stat.state, 'Z' | 'X' | 'x');
    Some(Seen { start_time: stat.start_time, is_zombie, is_ending: is_zombie || stat.flags & ENDING != 0 })
}

/// A process for an error that names it: its number, its name and what keeps it; `None` if it is gone.
#[must_use]
pub(crate) fn describe(pid: i32) -> Option<String> {
    let stat = Stat::of(pid)?;
    let state = match stat.state {
        'R' => "running",
        'S' => "sleeping",
        'D' => "waiting in the kernel for a device or file system",
        'T' => "stopped",
        't' => "stopped by a debugger",
        'Z' => "dead and not reaped",
        _ => "in a state of its own",
    };
    Some(format!("{pid} ({}: {}, {state})", stat.name, stat.state))
}

/// The process that a thread belongs to.
#[must_use]
pub(crate) fn process_of_thread(thread: i32) -> Option<i32> {
    let status = text_of(format!("/proc/{thread}/status"));
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// The living processes of the pid namespace whose first process is `pid`. `None` if it is not such a one, or if
/// the namespace is the runtime's own: then others are in there too.
#[must_use]
pub(crate) fn pid_namespace_of(pid: i32) -> Option<Vec<i32>> {
    let namespace = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|file| file.ino());
    let status = text_of(format!("/proc/{pid}/status"));
    let mut numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace();
    let wanted = namespace(&pid.to_string())?;
    if numbers.next_back() != Some("1") || namespace("self") == Some(wanted) {
        return None;
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let inside = names.filter(|name| name.parse::<i32>().is_ok() && namespace(name) == Some(wanted));
    let pids = inside.filter_map(|name| name.parse().ok());
    Some(pids.filter(|pid| look_at(*pid).is_some_and(|seen| !seen.is_zombie)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_and_no_process_is_not() {
        let own = look_at(std::process::id().cast_signed()).unwrap();
        assert!(own.start_time > 0 && !own.is_zombie);
        assert_eq!(look_at(i32::MAX), None);
    }

    #[test]
    fn every_process_of_this_host_is_read_as_procfs_reads_it() {
        let mut seen = 0;
        for process in procfs::process::all_processes().unwrap().flatten() {
            // It may end in between, or change its state: the first and the last look have to agree.
            let (Ok(before), own, Ok(after)) = (process.stat(), Stat::of(process.pid), process.stat()) else {
                continue;
            };
            if (before.state, before.flags) == (after.state, after.flags) && before.comm == after.comm {
                let (name, state, flags) = (before.comm, before.state, before.flags);
                assert_eq!(own, Some(Stat { name, state, flags, start_time: before.starttime }));
                seen += 1;
            }
        }
        assert!(seen > 0);
    }

    #[test]
    fn a_name_may_be_anything() {
        let line = b"7 (a) R (b \xff) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 0 0\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.state), ("a) R (b \u{fffd}", 'S'));
        assert_eq!((stat.flags, stat.start_time), (4_194_560, 12345));
        for line in [&b""[..], b"7 (a", b"7 )a(", b"7 (a) S 1 7", b"7 (a)"] {
            assert_eq!(Stat::parse(line), None);
        }
    }
}
