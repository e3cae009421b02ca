//! How close to the floor the server and the driver come, each by itself.
//!
//! `cargo bench --bench fanout`, or with `-- server` or `-- driver` for one half, or `-- switches`
//! for what the server's options cost while they have nothing to do, or `-- websocket` for what
//! WebSocket costs server and driver, beside lines. *Efficiency* is
//! what the bare system calls would have cost (`floor.rs`), over as many sockets and with as many
//! bytes per call, divided by all the CPU time that was used: 1 is a program that does nothing but
//! `send`, or nothing but `recv`. It is a ratio of CPU times measured one right after the other,
//! the median of three, so it means the same on a fast machine and, nearly, on a busy one. Bytes a
//! call stand beside it: who makes more calls than needed is not efficient, only busy.
//!
//! Single rows, of either half: `-- server receivers=10,100 talkers=16 payload=16384 load=full`,
//! and with `seconds=20` one long measurement of each, to attach a profiler to. `against=BINARY`
//! has another build of the server take turns with this one: what a change has brought.
//!
//! The server is a child process that bare sockets publish to and read from. The driver is
//! `chatbench run` against the embedded server, everything verified: what a longer run costs more
//! than a short one is what the load cost, connecting and leaving left out.

#[allow(dead_code)] // each bench uses its part of it
#[path = "../bare/mod.rs"]
mod bare;
mod driver;
mod framing;
mod selection;
mod server;
mod sides;
mod switches;
mod websocket;

use std::process::exit;

use selection::Selection;

const RECEIVERS: [usize; 4] = [10, 100, 1_000, 10_000];

/// How messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    /// One message in flight: each is a write of its own for every receiver.
    Unbatched,
    /// As many as fit [`FULL_BYTES`] and [`ALL_BYTES`], [`FULL_MESSAGES`] at most.
    Full,
}

/// What a full load has in flight.
const FULL_MESSAGES: usize = 256;
const FULL_BYTES: usize = 256 << 10;

/// What is on its way to all receivers together. A kernel gives TCP a tenth of a machine's memory;
/// past that it drops what it has, and what is measured is how long that takes to be sent again:
/// 16 messages of 16 KiB to 10,000 receivers are 2.7 GB, and were half a minute a run.
const ALL_BYTES: usize = 1 << 30;

impl Load {
    fn in_flight(self, payload: usize, receivers: usize) -> usize {
        match self {
            Self::Unbatched => 1,
            Self::Full => (FULL_BYTES / payload)
                .min(FULL_MESSAGES)
                .min(ALL_BYTES / payload / receivers)
                .max(1),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unbatched => "unbatched",
            Self::Full => "full",
        }
    }
}

fn main() {
    bare::pump::serve_if_asked();
    bare::pump::raise_file_limit();
    let asked = Selection::read(std::env::args().skip(1)).unwrap_or_else(|what| {
        eprintln!("{what}");
        exit(2)
    });
    if let Some(binary) = &asked.against {
        return server::compare(&asked, binary);
    }
    if asked.wants("server") {
        server::table(&asked);
    }
    if asked.wants("switches") {
        switches::table();
    }
    if asked.wants("driver") {
        driver::table(&asked);
    }
    if asked.wants("websocket") {
        websocket::table(&asked);
    }
}
