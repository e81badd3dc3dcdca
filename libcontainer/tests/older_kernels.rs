//! What a newer system call does is done where it is missing, too.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::fd::AsFd;

use libcontainer::sys::creds::{self, Instruction};
use libcontainer::sys::process::{self, Exit};
use libcontainer::sys::{copy, fs};
use nix::libc;

/// fchmodat2(2) and setxattrat(2).
const NEW_CALLS: [u32; 2] = [452, 463];

/// Runs `body` as it is, and in a child in which the new calls are missing.
fn with_and_without(body: impl Fn() -> bool) {
    assert!(body());
    let filter = missing(&NEW_CALLS);
    let child = process::spawn(0, None, || i32::from(creds::load_filter(&filter, 0).is_err() || !body()));
    assert_eq!(process::wait(child.unwrap().pidfd.as_fd()), Ok(Exit::Status(0)));
}

/// A filter that answers ENOSYS for `calls`, by their numbers on this machine.
fn missing(calls: &[u32]) -> Vec<Instruction> {
    let instruction = |code: u32, jf, k| Instruction { code: u16::try_from(code).unwrap(), jt: 0, jf, k };
    let is = |call| instruction(libc::BPF_JMP | libc::BPF_JEQ, 1, call);
    let answer = |action| instruction(libc::BPF_RET, 0, action);
    let refused = answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs());
    std::iter::once(instruction(libc::BPF_LD | libc::BPF_ABS, 0, 0))
        .chain(calls.iter().flat_map(|call| [is(*call), refused]))
        .chain([answer(libc::SECCOMP_RET_ALLOW)])
        .collect()
}

#[test]
fn m42_a_label_is_set_on_a_directory_that_is_open_as_a_path_only() {
    let place = tempfile::tempdir().unwrap();
    let directory = fs::open_path(place.path(), libc::O_PATH).unwrap();
    let readable = fs::open_path(place.path(), libc::O_RDONLY).unwrap();
    for label in [c"system_u:object_r:container_file_t:s0", c"system_u:object_r:other_t:s0"] {
        with_and_without(|| {
            let mut seen = [0; 64];
            let none = copy::set_attribute(readable.as_fd(), c"security.selinux", b"none");
            let set = fs::set_label(directory.as_fd(), label);
            let read = copy::attribute(readable.as_fd(), c"security.selinux", &mut seen);
            none.and(set).is_ok() && read == Ok(label.to_bytes_with_nul())
        });
    }
}

#[test]
fn d03_the_mode_of_a_file_that_is_open_as_a_path_only_is_changed_set_id_bits_included() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = fs::open_path(file.path(), libc::O_PATH).unwrap();
    for mode in [0o4751, 0o600, 0] {
        with_and_without(|| {
            let changed =
                fs::change_mode(path.as_fd(), 0o111).and_then(|()| fs::change_mode(path.as_fd(), mode));
            changed.is_ok() && fs::kind(path.as_fd()).is_ok_and(|kind| kind.mode & 0o7777 == mode)
        });
    }
}
