//! Programs that decide about the devices of a version 2 cgroup: attached, and replaced while it is in use.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libcontainer::sys::bpf::{self, Instruction};
use libcontainer::sys::{process, socket};

/// A cgroup that goes when it is dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Cgroup {
        let mut mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().map(Path::new);
        let mount = mounts.find(|path| path.join("cgroup.procs").exists()).unwrap();
        let path = mount.join(format!("ketch-{name}-{}", std::process::id()));
        fs::DirBuilder::new().create(&path).unwrap();
        Cgroup(path)
    }

    fn fd(&self) -> OwnedFd {
        fs::File::open(&self.0).unwrap().into()
    }

    /// A shell in it.
    fn shell(&self, script: &str) -> Command {
        let script = format!("echo $$ > {}/cgroup.procs; {script}", self.0.display());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
        shell
    }

    fn can_open(&self) -> bool {
        self.shell("exec < /dev/zero").status().unwrap().success()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

/// A program with one answer to everything.
fn answering(allow: bool) -> OwnedFd {
    let answer = Instruction { code: 0xb4, registers: 0, offset: 0, constant: i32::from(allow) };
    let exit = Instruction { code: 0x95, registers: 0, offset: 0, constant: 0 };
    bpf::load_device_program(&[answer, exit]).unwrap()
}

#[test]
fn c02_b27_the_programs_of_a_cgroup_are_replaced_by_one_however_many_there_were() {
    let cgroup = Cgroup::new("replace");
    let directory = cgroup.fd();
    let count = || bpf::attached_device_programs(directory.as_fd()).unwrap().len();
    assert!(cgroup.can_open() && count() == 0);
    bpf::replace_device_programs(answering(false).as_fd(), directory.as_fd()).unwrap();
    assert!(!cgroup.can_open() && count() == 1);
    bpf::replace_device_programs(answering(true).as_fd(), directory.as_fd()).unwrap();
    assert!(cgroup.can_open() && count() == 1);
    bpf::attach_device_program(answering(false).as_fd(), directory.as_fd()).unwrap();
    assert!(!cgroup.can_open() && count() == 2, "both have to agree");
    bpf::replace_device_programs(answering(true).as_fd(), directory.as_fd()).unwrap();
    assert!(cgroup.can_open() && count() == 1);
}

#[test]
fn c02_b27_at_no_moment_is_a_cgroup_open_while_its_program_is_replaced() {
    let cgroup = Cgroup::new("closed");
    let directory = cgroup.fd();
    bpf::replace_device_programs(answering(false).as_fd(), directory.as_fd()).unwrap();
    // It goes with this test, whatever becomes of that.
    let script = "echo ready; while [ -e $FILE ]; do (exec < /dev/zero) && echo open; done; true";
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut trying = cgroup.shell(script).env("FILE", file.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(trying.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    for _ in 0..300 {
        bpf::replace_device_programs(answering(false).as_fd(), directory.as_fd()).unwrap();
    }
    drop(file);
    assert_eq!(said.map(Result::unwrap).collect::<Vec<_>>(), Vec::<String>::new());
    assert!(trying.wait().unwrap().success());
}

#[test]
fn g09_a_process_is_born_in_its_cgroup() {
    let cgroup = Cgroup::new("born");
    let directory = cgroup.fd();
    let (ours, theirs) = socket::pair().unwrap();
    let child = process::spawn(0, Some(directory.as_fd()), || {
        // Its own copy of the other end keeps the connection open: this waits for ever.
        let _held = &theirs;
        i32::from(socket::receive(ours.as_fd(), &mut [0; 1]).is_err())
    });
    let child = child.unwrap();
    let listed = fs::read_to_string(cgroup.0.join("cgroup.procs")).unwrap();
    process::send_signal(child.pidfd.as_fd(), nix::libc::SIGKILL).unwrap();
    process::wait(child.pidfd.as_fd()).unwrap();
    assert_eq!(listed.trim(), child.pid.to_string());
}
