//! A heap for programs that live for a moment: small, and quick as long as no two threads want it at once.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;

/// dlmalloc behind a lock. That of its crate is a mutex of the C library's, which takes as long as the work inside; musl's
/// own heap asks the kernel for every few allocations.
pub struct Heap {
    memory: Mutex<Dlmalloc>,
}

impl Heap {
    /// An empty one, for a static.
    #[must_use]
    pub const fn new() -> Heap {
        Heap { memory: Mutex::new(Dlmalloc::new()) }
    }

    fn memory(&self) -> MutexGuard<'_, Dlmalloc> {
        // Nothing panics while it is held.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Heap {
    fn default() -> Heap {
        Heap::new()
    }
}

impl std::fmt::Debug for Heap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heap")
    }
}

// SAFETY: dlmalloc keeps the contract of malloc(3), and one thread at a time is in there. It does not unwind.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for this function.
        unsafe { self.memory().malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for this function.
        unsafe { self.memory().calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as for this function.
        unsafe { self.memory().free(memory, layout.size(), layout.align()) };
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for this function.
        unsafe { self.memory().realloc(memory, layout.size(), layout.align(), size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_it_and_nobody_gets_anybodys_memory() {
        let heap = Heap::new();
        let work = |mark: u8| {
            for size in (1..2000).step_by(7) {
                let layout = Layout::from_size_align(size, 16).unwrap();
                // SAFETY: the size is not zero.
                let memory = unsafe { heap.alloc_zeroed(layout) };
                assert!(!memory.is_null() && memory.cast::<u128>().is_aligned());
                // SAFETY: `memory` has `size` bytes.
                let bytes = unsafe { std::slice::from_raw_parts_mut(memory, size) };
                assert!(bytes.iter().all(|byte| *byte == 0));
                bytes.fill(mark);
                // SAFETY: allocated above, with this layout.
                let memory = unsafe { heap.realloc(memory, layout, 2 * size) };
                // SAFETY: it has twice `size` bytes, of which the first half was filled.
                let bytes = unsafe { std::slice::from_raw_parts(memory, size) };
                assert!(bytes.iter().all(|byte| *byte == mark));
                // SAFETY: allocated above, of this size by now.
                unsafe { heap.dealloc(memory, Layout::from_size_align(2 * size, 16).unwrap()) };
            }
        };
        std::thread::scope(|scope| {
            for mark in 1..=4 {
                scope.spawn(move || work(mark));
            }
        });
    }
}
