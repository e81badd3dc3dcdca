//! Looks at paths the way a program in the container would: lstat, a short read, and access for writing.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{AccessFlags, access};
use spec_conformance::report::{Content, Kind, PathFacts, PathReport};

use crate::collect::Try;
use crate::sys;

/// How much of a file is reported.
const FIRST_BYTES: u64 = 256;
/// How many names of a directory are reported.
const FIRST_NAMES: usize = 64;

pub(crate) fn look(path: &str) -> PathReport {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) => return PathReport::Absent(sys::errno_name(&error)),
    };
    let kind = kind(meta.file_type());
    let device = matches!(kind, Kind::Character | Kind::Block)
        .then(|| (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev())));
    let target = fs::read_link(path).ok().map(|target| target.to_string_lossy().into_owned());
    PathReport::Present(PathFacts {
        kind,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        device,
        size: meta.size(),
        target,
        content: content(path, kind).map_err(|error| sys::errno_name(&error)),
        write: access(path, AccessFlags::W_OK).map_err(|errno| format!("{errno:?}")),
    })
}

/// What was tried, in the words of the command line, and how it went.
pub(crate) fn attempt(attempt: &Try) -> (String, io::Result<()>) {
    match attempt {
        Try::Read(path) => (format!("read {path}"), File::open(path).map(drop)),
        Try::Write(path) => (format!("write {path}"), File::options().write(true).open(path).map(drop)),
        Try::Node(device) => (format!("node {device}"), node(device)),
    }
}

/// Makes a device in a place that every container has, and takes it away again.
fn node(device: &str) -> io::Result<()> {
    const PLACE: &str = "/dev/probe-node";
    let mut words = device.split_whitespace();
    let kind = if words.next() == Some("b") { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
    let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
    let numbers = makedev(number(), number());
    mknod(PLACE, kind, Mode::S_IRUSR, numbers)?;
    fs::remove_file(PLACE)
}

fn kind(file_type: FileType) -> Kind {
    match file_type {
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_symlink() => Kind::Symlink,
        kind if kind.is_char_device() => Kind::Character,
        kind if kind.is_block_device() => Kind::Block,
        kind if kind.is_fifo() => Kind::Fifo,
        kind if kind.is_socket() => Kind::Socket,
        _ => Kind::File,
    }
}

fn content(path: &str, kind: Kind) -> io::Result<Content> {
    match kind {
        Kind::File => {
            let mut first = Vec::new();
            File::open(path)?.take(FIRST_BYTES).read_to_end(&mut first)?;
            Ok(Content::Bytes(String::from_utf8_lossy(&first).into_owned()))
        }
        Kind::Directory => {
            let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
            let mut names: Vec<String> =
                entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names.truncate(FIRST_NAMES);
            Ok(Content::Names(names))
        }
        _ => Ok(Content::Unread),
    }
}
