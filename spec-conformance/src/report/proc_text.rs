//! Parsers for the text files of procfs. Pure: text in, values out. See proc(5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One line of `/proc/PID/mountinfo`. See proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Id of the mount.
    pub id: u64,
    /// Id of the mount that this one sits on.
    pub parent: u64,
    /// Device of the file system, `major:minor`.
    pub device: String,
    /// Which directory of the file system is the root of this mount.
    pub root: String,
    /// Mount point, relative to the process's root.
    pub point: String,
    /// Options of the mount.
    pub options: Vec<String>,
    /// Optional fields: `shared:N`, `master:N`, `propagate_from:N`, `unbindable`; none for a private mount.
    pub propagation: Vec<String>,
    /// Type of the file system.
    pub fstype: String,
    /// What is mounted; a free name for file systems without a device.
    pub source: String,
    /// Options of the file system.
    pub super_options: Vec<String>,
}

impl Mount {
    /// Whether the mount has this option, which is not the same as its file system having it.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }

    /// Whether writing is refused, by the mount or by its file system.
    pub fn read_only(&self) -> bool {
        self.has("ro") || self.super_options.iter().any(|option| option == "ro")
    }
}

/// Reads a whole mount table; `None` if a line is malformed.
pub fn mountinfo(text: &str) -> Option<Vec<Mount>> {
    text.lines().map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let mut words = line.split(' ');
    let id = words.next()?.parse().ok()?;
    let parent = words.next()?.parse().ok()?;
    let device = words.next()?.to_owned();
    let root = unescape(words.next()?);
    let point = unescape(words.next()?);
    let options = list(words.next()?);
    let propagation = words.by_ref().take_while(|word| *word != "-").map(str::to_owned).collect();
    let fstype = unescape(words.next()?);
    let source = unescape(words.next()?);
    let super_options = list(words.next()?);
    Some(Mount { id, parent, device, root, point, options, propagation, fstype, source, super_options })
}

fn list(word: &str) -> Vec<String> {
    word.split(',').filter(|option| !option.is_empty()).map(unescape).collect()
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(word: &str) -> String {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One line of `/proc/PID/uid_map` or `gid_map`. See user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id inside.
    pub inside: u32,
    /// First id outside, as seen from the reader's user namespace.
    pub outside: u32,
    /// How many ids.
    pub size: u32,
}

/// Reads an id map; `None` if a line is malformed.
pub fn id_map(text: &str) -> Option<Vec<IdMapping>> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        Some(IdMapping { inside: numbers.next()??, outside: numbers.next()??, size: numbers.next()?? })
    };
    text.lines().map(line).collect()
}

/// One line of `/proc/PID/cgroup`. See cgroups(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupMembership {
    /// Id of the hierarchy; 0 for cgroup v2.
    pub hierarchy: u32,
    /// Controllers of a v1 hierarchy, or its name; empty for cgroup v2.
    pub controllers: Vec<String>,
    /// The cgroup, relative to the root of the cgroup namespace.
    pub path: String,
}

/// Reads a cgroup membership file; `None` if a line is malformed.
pub fn cgroups(text: &str) -> Option<Vec<CgroupMembership>> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':');
        Some(CgroupMembership {
            hierarchy: fields.next()?.parse().ok()?,
            controllers: list(fields.next()?),
            path: fields.next()?.to_owned(),
        })
    };
    text.lines().map(line).collect()
}

/// The value of a field of `/proc/PID/status`, without the white space around it.
pub fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .map(|(_, v)| v.trim())
}

/// The numbers of `/proc/PID/stat` that the report needs. See proc_pid_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Parent's process id.
    pub ppid: i32,
    /// Process group.
    pub pgid: i32,
    /// Session.
    pub sid: i32,
    /// Controlling terminal.
    pub tty: i32,
}

/// Reads a stat line. The command name may hold anything, so fields count from its last parenthesis.
pub fn stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut numbers = fields.split_whitespace().skip(1).map(|word| word.parse().ok());
    let mut next = || numbers.next()?;
    Some(Stat { ppid: next()?, pgid: next()?, sid: next()?, tty: next()? })
}

/// Reads `/proc/PID/timens_offsets`: seconds and nanoseconds by clock. `None` if a line is malformed. See
/// time_namespaces(7).
pub fn time_offsets(text: &str) -> Option<BTreeMap<String, (i64, i64)>> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), (words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
    };
    text.lines().map(line).collect()
}

/// The inode in a namespace link such as `mnt:[4026531841]`.
pub fn namespace_inode(link: &str) -> Option<u64> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// Splits what procfs separates with NUL bytes (`environ`, `cmdline`).
pub fn nul_separated(bytes: &[u8]) -> Vec<String> {
    let trimmed = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    trimmed.split(|byte| *byte == 0).map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_line_splits_at_the_dash_whatever_the_number_of_optional_fields() {
        let table = mountinfo(
            "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:3 - ext3 /dev/root rw,errors=continue\n\
             37 36 0:5 / /a\\040b ro - tmpfs none rw\n",
        )
        .unwrap();
        assert_eq!(table[0].propagation, ["master:1", "shared:3"]);
        assert_eq!(table[0].super_options, ["rw", "errors=continue"]);
        assert_eq!((table[1].point.as_str(), table[1].parent), ("/a b", 36));
        assert!(table[1].propagation.is_empty() && table[1].read_only());
    }

    #[test]
    fn a_malformed_mount_line_is_not_skipped() {
        assert_eq!(mountinfo("36 35 98:0 / / rw\n"), None);
        assert_eq!(mountinfo("x 35 98:0 / / rw - a b c\n"), None);
    }

    #[test]
    fn a_backslash_that_is_no_escape_stays() {
        assert_eq!(unescape("a\\b\\134\\12"), "a\\b\\\\12");
    }

    #[test]
    fn the_full_id_map_fits() {
        let full = IdMapping { inside: 0, outside: 0, size: u32::MAX };
        assert_eq!(id_map("         0          0 4294967295\n"), Some(vec![full]));
        assert_eq!(id_map("0 0\n"), None);
    }

    #[test]
    fn a_cgroup_path_may_hold_colons() {
        let memberships = cgroups("4:cpu,cpuacct:/a:b\n0::/c\n").unwrap();
        assert_eq!(memberships[0].path, "/a:b");
        assert_eq!(memberships[0].controllers, ["cpu", "cpuacct"]);
        assert!(memberships[1].controllers.is_empty());
    }

    #[test]
    fn offsets_of_clocks_may_be_negative() {
        let offsets = time_offsets("monotonic       -7         5\nboottime 0 0\n").unwrap();
        assert_eq!(offsets["monotonic"], (-7, 5));
        assert_eq!(time_offsets("monotonic 1\n"), None);
    }

    #[test]
    fn a_stat_line_survives_a_hostile_command_name() {
        let found = stat("7 (a) R 9 9) S 1 7 7 34816 -1 4194560").unwrap();
        assert_eq!(found, Stat { ppid: 1, pgid: 7, sid: 7, tty: 34816 });
    }

    #[test]
    fn status_fields_are_found_by_their_whole_name() {
        let status = "Name:\tprobe\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(status_field(status, "Seccomp"), Some("2"));
        assert_eq!(status_field(status, "Seccomp_filters"), Some("1"));
        assert_eq!(status_field(status, "NoNewPrivs"), None);
    }

    #[test]
    fn an_environment_keeps_empty_entries() {
        assert_eq!(nul_separated(b"A=1\0\0B\0"), ["A=1", "", "B"]);
        assert!(nul_separated(b"").is_empty());
        assert_eq!(namespace_inode("mnt:[4026531841]"), Some(4026531841));
    }
}
