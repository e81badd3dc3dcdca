//! A process in namespaces of its own, such as a pod's, for containers to join.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// New namespaces, held by a process that does nothing else. They go when this is dropped.
#[derive(Debug)]
pub struct Namespaces {
    holder: Child,
}

impl Namespaces {
    /// Makes namespaces with flags of unshare(1), such as `--net`. Returns when they exist.
    ///
    /// # Panics
    /// unshare(1) cannot make them.
    pub fn new(flags: &[&str]) -> Namespaces {
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-c", "echo ready; exec cat"]);
        let holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut holder = holder.unwrap_or_else(|error| panic!("unshare(1): {error}"));
        let mut line = String::new();
        let read = holder.stdout.as_mut().map(|out| BufReader::new(out).read_line(&mut line));
        assert!(matches!(read, Some(Ok(_))) && line == "ready\n", "unshare {flags:?} failed");
        Namespaces { holder }
    }

    /// The file of a namespace, by its name in `/proc/PID/ns`.
    pub fn path(&self, kind: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/{kind}", self.holder.id()))
    }

    /// The number that tells this namespace from others.
    ///
    /// # Panics
    /// The holder is gone.
    pub fn inode(&self, kind: &str) -> u64 {
        let path = self.path(kind);
        let link = std::fs::read_link(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let number = link.to_str().and_then(spec_conformance::report::proc_text::namespace_inode);
        number.unwrap_or_else(|| panic!("{} is no namespace", path.display()))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // The end of its input ends it; a holder that is gone needs nothing.
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}
