//! The programs that are compared: the floor, ketch, and its peers where they are installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{At, Error};
use crate::stage::Stage;

/// What the others are set against; compiled here, so always found.
pub(crate) const FLOOR: &str = "floor";

/// All that are known, in the order of the table.
pub(crate) const NAMES: &[&str] = &[FLOOR, "ketch", "crun", "runc", "youki"];

/// One installed runtime.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// A copy of the program: how a file lies in the page cache depends on who has written it, a linker or cp(1), and
    /// makes a start a sixth slower or not.
    pub(crate) path: PathBuf,
    /// The first line of its `--version`.
    pub(crate) version: String,
}

/// Finds the `wanted` runtimes, all if that is empty; those that are not installed are left out.
pub(crate) fn find(stage: &Stage, wanted: &[String]) -> Result<Vec<Runtime>, Error> {
    if let Some(unknown) = wanted.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(Error::new(unknown, format!("no such runtime: {}", NAMES.join(", "))));
    }
    let named = NAMES.iter().filter(|name| wanted.is_empty() || wanted.iter().any(|want| want == *name));
    let copies = stage.directory("runtimes")?;
    named.filter_map(|name| Some(runtime(name, &locate(stage, name)?, &copies))).collect()
}

fn locate(stage: &Stage, name: &str) -> Option<PathBuf> {
    match name {
        FLOOR => Some(stage.floor()),
        "ketch" => ketch(),
        peer => in_directories(peer),
    }
}

/// `target/release/ketch` next to `target/debug/bench` or `target/release/bench`, unless $KETCH says another.
fn ketch() -> Option<PathBuf> {
    let named = env::var_os("KETCH").map(PathBuf::from);
    let built = || Some(env::current_exe().ok()?.parent()?.parent()?.join("release/ketch"));
    named.or_else(built).filter(|path| path.is_file())
}

fn in_directories(name: &str) -> Option<PathBuf> {
    let peers = env::var_os("PEERS").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    peers.into_iter().chain(env::split_paths(&path)).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn runtime(name: &'static str, program: &Path, copies: &Path) -> Result<Runtime, Error> {
    let path = copies.join(name);
    fs::copy(program, &path).at(program)?;
    let version = version(&path)?;
    Ok(Runtime { name, path, version })
}

/// Whether the program names an interpreter, which loads its shared libraries: an entry of type PT_INTERP (3) in
/// the program headers of elf(5), 64 bits, little-endian.
pub(crate) fn is_static(path: &Path) -> Option<bool> {
    let file = fs::read(path).ok()?;
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = file.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
    };
    let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let kinds: Option<Vec<usize>> = (0..count).map(|index| number(start + index * size, 4)).collect();
    Some(!kinds?.contains(&3))
}

fn version(path: &Path) -> Result<String, Error> {
    let output = Command::new(path).arg("--version").output().at(path)?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}
