//! What is mounted on the host, for what is found in no other way. Runs in the runtime's process.

use nix::libc;

use super::{is, read};

/// Where resctrl is mounted, for the few configs that need it: not part of [`super::probe`], since the mount table is
/// long.
#[must_use]
pub(crate) fn resctrl() -> Option<String> {
    let mounts = read("/proc/self/mountinfo");
    mounts.lines().filter_map(resctrl_at).find(|path| is(path, libc::RDTGROUP_SUPER_MAGIC))
}

/// Where a line of /proc/PID/mountinfo shows resctrl, if it does, and from its root on. See proc_pid_mountinfo(5).
fn resctrl_at(line: &str) -> Option<String> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, place) = (fields.next()?, fields.next()?);
    let whole = filesystem.split(' ').next() == Some("resctrl") && root == "/";
    whole.then(|| unescape(place))
}

/// A path as the kernel writes it there: blanks and such as three octal digits.
fn unescape(text: &str) -> String {
    const ESCAPED: [(&str, &str); 5] =
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\043", "#"), ("\\134", "\\")];
    ESCAPED.into_iter().fold(text.to_owned(), |text, (octal, plain)| text.replace(octal, plain))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn i07_resctrl_is_found_by_its_type_and_from_its_root_on() {
        let line = "24 20 0:21 / /mnt/rdt rw,relatime shared:7 - resctrl resctrl rw,mba_MBps";
        assert_eq!(resctrl_at(line).as_deref(), Some("/mnt/rdt"));
        let odd = r"24 20 0:21 / /mnt/a\040b\134040\011c rw - resctrl resctrl rw";
        assert_eq!(resctrl_at(odd).as_deref(), Some("/mnt/a b\\040\tc"));
        assert_eq!(resctrl_at("25 20 0:21 /gold /mnt/gold rw,relatime - resctrl resctrl rw"), None);
        assert_eq!(resctrl_at("26 20 0:22 / /sys/fs/resctrl rw,relatime - tmpfs resctrl rw"), None);
        assert_eq!(resctrl_at("26 20"), None);
        // What another file system covers is not resctrl any more.
        assert!(resctrl().is_none_or(|path| Path::new(&path).join("schemata").exists()));
    }
}
