//! Where containers are remembered: a directory each, with a record, the config, and the start socket.
//!
//! The record is written before anything else exists, so that whatever happens to the runtime, `delete` knows
//! what to remove. Whether a container runs is never written down: it is looked up.

mod record;
mod reservation;

use std::ffi::CStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, renameat};
use nix::libc;
use nix::unistd::{UnlinkatFlags, unlinkat};

pub use record::{CgroupDirectory, Identity, Record, ResctrlGroup, VERSION};
pub use reservation::Reservation;

use crate::sys::pattern::Pattern;
use crate::sys::{contents, fs as sys_fs};

const RECORD: &CStr = c"record.json";
const RECORD_NEW: &CStr = c"record.new";
const CONFIG: &CStr = c"config.json";
/// The directory with the notification socket.
const NOTIFY: &str = "notify";
/// The directory itself, whose lock the runtime holds that is creating the container.
const DIRECTORY: &CStr = c".";
/// The socket over which init is told to start; it is there as long as the container is `created`.
pub const START: &str = "start";
const START_SOCKET: &CStr = c"start";

/// Why the store cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The id has a form that a file name or a cgroup cannot have.
    #[error("invalid container id {0:?}: use letters, digits, '_', '+', '-' and '.', at most 1024")]
    Id(String),
    /// There is a container of this id.
    #[error("container with id {0} already exists")]
    Exists(String),
    /// There is none.
    #[error("container {0} does not exist")]
    Missing(String),
    /// What is to match ids is no regular expression.
    #[error("pattern {pattern:?}: {why}; write an extended regular expression, see regex(7)")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the store cannot be used.
    #[error("{verb} {path}: {source}")]
    File {
        /// What was done.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The record does not read as one: cut short by a power loss, or written by a later version.
    #[error("record of container {id} is unreadable ({why}); delete --force removes it")]
    Record {
        /// The container.
        id: String,
        /// What is wrong with it.
        why: String,
    },
}

fn refused(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Refused {
    let path = path.into();
    move |source| Refused::File { verb, path, source }
}

/// The directory in which all containers of a root are remembered.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    /// Makes a directory for a new container, locked until it is dropped or committed.
    ///
    /// # Errors
    /// The id is taken or cannot be one, or the file system refuses.
    pub fn reserve(&self, id: &str) -> Result<Reservation, Refused> {
        check_id(id)?;
        self.make_root()?;
        let path = self.root.join(id);
        match DirBuilder::new().mode(0o711).create(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(Refused::Exists(id.into())),
            other => other.map_err(refused("create", &path))?,
        }
        let entry = Entry::open(id, path)?;
        // Somebody who looks whether it is being created may hold it for a moment.
        let lock = entry.lock(DIRECTORY, FlockArg::LockExclusive)?;
        Ok(Reservation::new(entry, lock))
    }

    /// Where a container of this id has the directory of its notification socket, if it has one.
    pub(crate) fn notify_directory(&self, id: &str) -> PathBuf {
        let path = self.root.join(id).join(NOTIFY);
        // It is going to be the source of a mount, and these count from the bundle.
        std::path::absolute(&path).unwrap_or(path)
    }

    /// Opens the directory of a container.
    ///
    /// # Errors
    /// [`Refused::Missing`] if there is none.
    pub fn open(&self, id: &str) -> Result<Entry, Refused> {
        check_id(id)?;
        Entry::open(id, self.root.join(id))
    }

    /// The ids of all containers, sorted.
    ///
    /// # Errors
    /// The directory cannot be read; that it does not exist is no error.
    pub fn ids(&self) -> Result<Vec<String>, Refused> {
        let entries = match fs::read_dir(&self.root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(refused("read", &self.root))?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter(|id| check_id(id).is_ok()).collect();
        ids.sort();
        Ok(ids)
    }

    /// The ids of all containers in which `pattern` is found, sorted. It is an extended regular expression as
    /// regex(7) has it.
    ///
    /// # Errors
    /// It is none, or the directory cannot be read.
    pub fn matching(&self, pattern: &str) -> Result<Vec<String>, Refused> {
        let compiled =
            Pattern::compile(pattern).map_err(|why| Refused::Pattern { pattern: pattern.to_owned(), why })?;
        let mut ids = self.ids()?;
        ids.retain(|id| compiled.is_in(id));
        Ok(ids)
    }

    /// Makes the root and its parents; clients name directories that do not exist yet.
    fn make_root(&self) -> Result<(), Refused> {
        let mut missing: Vec<&Path> = self.root.ancestors().take_while(|path| !path.exists()).collect();
        missing.reverse();
        for path in missing {
            match DirBuilder::new().mode(0o711).create(path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(refused("create", path))?,
            }
        }
        Ok(())
    }
}

pub(crate) fn check_id(id: &str) -> Result<(), Refused> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > 1024 || id == "." || id == ".." || !id.chars().all(fine) {
        return Err(Refused::Id(id.into()));
    }
    Ok(())
}

/// A container's directory.
#[derive(Debug)]
pub struct Entry {
    id: String,
    path: PathBuf,
    directory: OwnedFd,
}

impl Entry {
    fn open(id: &str, path: PathBuf) -> Result<Entry, Refused> {
        match sys_fs::open_path(&path, libc::O_RDONLY | libc::O_DIRECTORY) {
            Ok(directory) => Ok(Entry { id: id.into(), path, directory }),
            Err(stop) if stop.is(Errno::ENOENT) => Err(Refused::Missing(id.into())),
            Err(stop) => Err(refused("open", path)(stop.into())),
        }
    }

    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory's descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Locks a file of the directory, or the directory itself.
    fn lock(&self, name: &CStr, how: FlockArg) -> Result<Flock<OwnedFd>, Refused> {
        // A second open file description: a lock belongs to one.
        let file = sys_fs::open(self.fd(), name, libc::O_RDONLY, 0)
            .map_err(|stop| refused("open", self.file(name))(stop.into()))?;
        Flock::lock(file, how).map_err(|(_, errno)| refused("lock", self.file(name))(errno.into()))
    }

    /// The path of a file of the directory.
    fn file(&self, name: &CStr) -> PathBuf {
        self.path.join(name.to_str().unwrap_or_default())
    }

    /// Whether a runtime is creating this container now.
    #[must_use]
    pub fn is_being_created(&self) -> bool {
        self.lock(DIRECTORY, FlockArg::LockSharedNonblock).is_err()
    }

    /// The runtime that took the id died before it wrote the record, so nothing else was made.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        !self.is_being_created() && !self.file(RECORD).exists()
    }

    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write_record(&self, record: &Record) -> Result<(), Refused> {
        self.draft_record(record)?;
        self.publish_record()
    }

    /// Writes a record that is not yet the container's.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn draft_record(&self, record: &Record) -> Result<(), Refused> {
        let text = serde_json::to_vec(record)
            .map_err(|e| Refused::Record { id: self.id.clone(), why: e.to_string() })?;
        self.write(RECORD_NEW, &text)
    }

    /// Makes the draft be the container's record.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn publish_record(&self) -> Result<(), Refused> {
        renameat(&self.directory, RECORD_NEW, &self.directory, RECORD)
            .map_err(|errno| refused("rename", self.file(RECORD_NEW))(errno.into()))
    }

    /// Keeps a copy of the config.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write_config(&self, text: &[u8]) -> Result<(), Refused> {
        self.write(CONFIG, text)
    }

    fn write(&self, name: &CStr, text: &[u8]) -> Result<(), Refused> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
        let file = sys_fs::open(self.fd(), name, flags, 0o600).map_err(io::Error::from);
        file.and_then(|file| File::from(file).write_all(text)).map_err(refused("write", self.file(name)))
    }

    /// Makes the directory of the notification socket; the container's processes may enter it, whoever they are.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn make_notify_directory(&self) -> Result<(), Refused> {
        let path = self.path.join(NOTIFY);
        let made = DirBuilder::new().create(&path);
        // Whatever the umask.
        let open = made.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        open.map_err(refused("create", path))
    }

    /// The directory of the notification socket, if it was made.
    pub(crate) fn notify_directory(&self) -> Option<PathBuf> {
        Some(self.path.join(NOTIFY)).filter(|path| path.is_dir())
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`Refused::Record`] if it cannot be understood; [`Refused::Missing`] if the container is gone.
    pub fn record(&self) -> Result<Record, Refused> {
        let unreadable = |why: String| Refused::Record { id: self.id.clone(), why };
        let text = match contents::read_record_at(self.fd(), RECORD) {
            Err(stop) if stop.is(Errno::ENOENT) && !self.path.exists() => {
                return Err(Refused::Missing(self.id.clone()));
            }
            other => other.map_err(|stop| unreadable(io::Error::from(stop).to_string()))?,
        };
        let record: Record = serde_json::from_slice(&text).map_err(|e| unreadable(e.to_string()))?;
        if record.version != VERSION {
            return Err(unreadable(format!("version {}, this runtime knows {VERSION}", record.version)));
        }
        Ok(record)
    }

    /// The config as it was when the container was created.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn config(&self) -> Result<Vec<u8>, Refused> {
        contents::read_record_at(self.fd(), CONFIG)
            .map_err(|stop| refused("read", self.file(CONFIG))(stop.into()))
    }

    /// The start socket is there: nobody has started the container.
    #[must_use]
    pub fn awaits_start(&self) -> bool {
        self.path.join(START).exists()
    }

    /// Keeps everybody else from starting the container as long as the lock is held.
    ///
    /// # Errors
    /// EWOULDBLOCK if somebody else has it.
    pub fn lock_start(&self) -> Result<Flock<OwnedFd>, Refused> {
        // Of the files here, the config is the one that is never replaced.
        self.lock(CONFIG, FlockArg::LockExclusiveNonblock)
    }

    /// Waits until nobody else changes or freezes the container, and keeps others from it.
    pub(crate) fn lock_changes(&self) -> Result<Flock<OwnedFd>, Refused> {
        // Not of the cgroup, whose lock the container could hold.
        self.lock(RECORD, FlockArg::LockExclusive)
    }

    /// Takes the start socket away: the container is not `created` any more.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn take_start(&self) -> Result<(), Refused> {
        let path = self.path.join(START);
        fs::remove_file(&path).map_err(refused("remove", path))
    }

    fn remove_files(&self, names: &[&CStr]) -> Result<(), Refused> {
        names.iter().try_for_each(|name| match unlinkat(&self.directory, *name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(refused("remove", self.file(name))(errno.into())),
        })
    }

    /// Removes the directory with everything in it. Its files are named through its own descriptor, so that a
    /// new container of the same name is not touched.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(&self) -> Result<(), Refused> {
        self.remove_files(&[CONFIG, RECORD])?;
        let removed = match fs::remove_dir(&self.path) {
            // What not every container has, or not at its end.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                self.remove_files(&[START_SOCKET, RECORD_NEW])?;
                let notify = format!("/proc/self/fd/{}/{NOTIFY}", self.directory.as_raw_fd());
                match fs::remove_dir_all(notify) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                    _ => fs::remove_dir(&self.path),
                }
            }
            other => other,
        };
        match removed {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(refused("remove", &self.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l04_ids_are_file_names_and_cgroup_names() {
        for id in ["a", "A_b+c-d.e", "0", &"x".repeat(1024)] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(1025)] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn l03_an_id_in_use_is_refused_and_free_again_after_a_failure() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path().join("not/yet/there"));
        let first = store.reserve("box").unwrap();
        assert!(matches!(store.reserve("box"), Err(Refused::Exists(_))));
        assert!(first.entry().is_being_created());
        drop(first);
        assert!(matches!(store.open("box"), Err(Refused::Missing(_))));
        let entry = store.reserve("box").unwrap().commit();
        assert!(!entry.is_being_created());
        assert_eq!(store.ids().unwrap(), ["box"]);
        entry.remove().unwrap();
        assert!(store.ids().unwrap().is_empty());
    }

    #[test]
    fn r58_a_truncated_record_is_an_error_that_says_so() {
        let root = tempfile::tempdir().unwrap();
        let entry = Store::new(root.path()).reserve("box").unwrap().commit();
        assert!(matches!(entry.record(), Err(Refused::Record { .. })));
        fs::write(root.path().join("box/record.json"), b"{\"version\": 1, \"id\"").unwrap();
        assert!(matches!(entry.record(), Err(Refused::Record { .. })));
    }
}
