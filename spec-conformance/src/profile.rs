//! What is particular to one runtime, as data: the spelling of its command line, and where it must be helped.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// How to drive one runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Name, as on the command line.
    pub name: &'static str,
    /// Arguments before the operation, besides `--root`.
    pub global_args: &'static [&'static str],
    /// Arguments before the operation that make the runtime as strict as the specification, where it would
    /// otherwise do what clients expect.
    pub strict_args: &'static [&'static str],
    /// Whether the runtime needs its `--root` to exist beforehand.
    pub root_must_exist: bool,
    /// Whether it takes hosts on which cgroup version 2 has controllers beside those of version 1.
    pub hybrid: bool,
    /// The operation that prints the features structure; empty if there is none. Spec: features.md.
    pub features: &'static [&'static str],
}

impl Profile {
    /// Any runtime with the command line that runc defined.
    pub const GENERIC: Profile = Profile {
        name: "generic",
        global_args: &[],
        strict_args: &[],
        root_must_exist: false,
        hybrid: true,
        features: &["features"],
    };
    /// This project's runtime.
    pub const KETCH: Profile = Profile { name: "ketch", strict_args: &["--strict"], ..Profile::GENERIC };
    /// opencontainers/runc.
    pub const RUNC: Profile = Profile { name: "runc", ..Profile::GENERIC };
    /// containers/crun. The cgroupfs manager is its default only when built without systemd.
    pub const CRUN: Profile = Profile {
        name: "crun",
        global_args: &["--cgroup-manager", "cgroupfs"],
        hybrid: false,
        ..Profile::GENERIC
    };
    /// youki-dev/youki, which resolves its root before it makes it.
    pub const YOUKI: Profile = Profile { name: "youki", root_must_exist: true, ..Profile::GENERIC };
    /// All of them.
    pub const ALL: [Profile; 5] =
        [Profile::KETCH, Profile::RUNC, Profile::CRUN, Profile::YOUKI, Profile::GENERIC];

    /// The profile of this name.
    pub fn named(name: &str) -> Option<&'static Profile> {
        const ALL: &[Profile] = &Profile::ALL;
        ALL.iter().find(|profile| profile.name == name)
    }

    /// The profile for a binary: told from its name, such as `/usr/bin/crun` or `runc-1.3`, else from the first word
    /// that it prints for `--version`; else [`Profile::GENERIC`].
    pub fn for_program(program: &Path) -> &'static Profile {
        let name = program.file_name().and_then(OsStr::to_str).unwrap_or_default();
        Profile::led_by(name).or_else(|| Profile::led_by(&version(program))).unwrap_or(&Profile::GENERIC)
    }

    fn led_by(text: &str) -> Option<&'static Profile> {
        let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        Profile::named(word)
    }
}

/// What a program prints for `--version`; nothing if it does not know that.
pub(crate) fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_profile_is_found_by_the_name_of_the_binary() {
        assert_eq!(Profile::for_program(Path::new("/usr/bin/crun")).name, "crun");
        assert_eq!(Profile::for_program(Path::new("./runc-1.3.6")).name, "runc");
        assert_eq!(Profile::for_program(Path::new("/bin/true")).name, "generic");
    }

    #[test]
    fn a_profile_is_found_by_what_the_binary_says_of_itself() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("oci-runtime");
        std::fs::write(&program, "#!/bin/sh\necho youki version: 0.0.1\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Profile::for_program(&program).name, "youki");
    }
}
