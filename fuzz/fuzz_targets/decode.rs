//! Bytes off a socket, through framing and codec, held against the rules of `docs/PROTOCOL.md`.
//!
//! The oracles are in `fuzz/oracles`, and `cargo test` replays the corpus through the very same
//! ones (`tests/wire_corpus.rs`). What is here and not there is the limit on memory, which needs
//! an allocator that counts.

#![no_main]

#[path = "../oracles/mod.rs"]
mod oracles;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use libfuzzer_sys::fuzz_target;

/// Decoding may hold so many times its input, and [`SPARE_BYTES`]. Most is taken by an error that
/// quotes a string of characters that Rust's `Debug` writes with six for one: twice that while
/// the text grows, and it stands there once more as it is cut.
const HELD_PER_BYTE: usize = 24;

/// What decoding may hold however short its input.
const SPARE_BYTES: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let before = HELD.get();
    PEAK.set(before);
    oracles::decode_only(data);
    let peak = PEAK.get() - before;
    let limit = HELD_PER_BYTE * data.len() + SPARE_BYTES;
    assert!(peak <= limit, "{peak} bytes held over {}", data.len());

    oracles::check(data);
});

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what this thread holds and the most it ever held.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn grow(bytes: usize) {
        let held = HELD.get().wrapping_add(bytes);
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
    }

    fn shrink(bytes: usize) {
        HELD.set(HELD.get().wrapping_sub(bytes));
    }
}

// SAFETY: every call goes to `System` as it came, and the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::grow(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        Self::shrink(layout.size());
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Old and new may stand side by side while the bytes are moved.
        Self::grow(new_size);
        let moved = unsafe { System.realloc(at, layout, new_size) };
        Self::shrink(layout.size());
        moved
    }
}
