//! Room in which two processes note when each thing they do begins and ends.
//!
//! It is there only if it has been asked for: otherwise to note something is to look at one variable. It is shared
//! memory, made before the clone, so the container's process needs to allocate nothing. Each note has a place of its
//! own, so nobody waits for anybody.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use nix::libc;

use super::{Call, Stop};

/// How many notes there is room for.
const ROOM: usize = 8192;

/// When something began and ended, and what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// What it was, by a number of the caller's.
    pub code: u32,
    /// Who did it: 0 is the process that asked for the notes, 1 its child, 2 the child's.
    pub who: u32,
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub begin: u64,
    /// The same; 0 for what has not ended.
    pub end: u64,
}

#[derive(Debug, Default)]
struct Place {
    code: AtomicU32,
    who: AtomicU32,
    begin: AtomicU64,
    end: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    used: AtomicU32,
    places: [Place; ROOM],
}

static SHARED: OnceLock<&'static Shared> = OnceLock::new();
/// Each process has a value of its own: a child's copy is not the parent's.
static WHO: AtomicU32 = AtomicU32::new(0);

/// Notes are taken from now on, by this process and its children, for as long as it lives.
///
/// # Errors
/// Those of mmap(2).
pub fn start() -> Result<(), Stop> {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, of memory that nobody else has.
    let memory = unsafe { libc::mmap(ptr::null_mut(), size_of::<Shared>(), access, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(Stop::last(Call::Mmap));
    }
    // SAFETY: the mapping is page-aligned, large enough, never unmapped, and all-zero, which is a valid value of
    // these atomics.
    let shared = unsafe { &*memory.cast::<Shared>() };
    // One that is there already stays.
    let _first = SHARED.set(shared);
    Ok(())
}

/// Whether notes are taken.
#[must_use]
pub fn is_on() -> bool {
    SHARED.get().is_some()
}

/// This process is a child of the one that took notes before it.
pub fn be_child() {
    if is_on() {
        WHO.fetch_add(1, Relaxed);
    }
}

/// Something has begun.
#[derive(Debug)]
pub struct Begun(Option<&'static Place>);

/// Notes that something begins; `None` of room means that it is lost.
#[must_use]
pub fn begin(code: u32) -> Begun {
    let Some(shared) = SHARED.get() else { return Begun(None) };
    let place = shared.places.get(shared.used.fetch_add(1, Relaxed) as usize);
    if let Some(place) = place {
        place.code.store(code, Relaxed);
        place.who.store(WHO.load(Relaxed), Relaxed);
        place.begin.store(now(), Relaxed);
    }
    Begun(place)
}

impl Begun {
    /// Notes that it began earlier than that.
    pub fn since(self, begin: u64) -> Begun {
        if let Some(place) = self.0 {
            place.begin.store(begin, Relaxed);
        }
        self
    }

    /// Notes that it has ended.
    pub fn end(self) {
        if let Some(place) = self.0 {
            place.end.store(now(), Relaxed);
        }
    }
}

/// What has been noted by now, in the order of the beginnings, and how much there was no room for. Allocates.
#[must_use]
pub fn notes() -> (Vec<Note>, usize) {
    let Some(shared) = SHARED.get() else { return (Vec::new(), 0) };
    let used = shared.used.load(Relaxed) as usize;
    let read = |place: &Place| Note {
        code: place.code.load(Relaxed),
        who: place.who.load(Relaxed),
        begin: place.begin.load(Relaxed),
        end: place.end.load(Relaxed),
    };
    let mut notes: Vec<Note> = shared.places.iter().take(used).map(read).collect();
    // One that another process is just about to write has no beginning yet.
    notes.retain(|note| note.begin != 0);
    notes.sort_by_key(|note| note.begin);
    (notes, used.saturating_sub(ROOM))
}

/// Nanoseconds of CLOCK_MONOTONIC. See clock_gettime(2).
#[must_use]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
