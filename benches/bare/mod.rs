//! Bare sockets: the least that a broadcast over TCP can cost, from plain system calls and no
//! protocol. What `floor.rs` prints, and what `fanout.rs` holds the server and the driver against.
//!
//! A *pump* is a child process that writes the same bytes to each of its sockets, a *round* at a
//! time, and reads its own CPU clock before and after, so that its figure is `send` and nothing
//! else: no waiting, no reading. The *receivers* are one thread with an epoll; what they time is
//! `recv` and nothing else. On loopback a `send` does the receiver's TCP work as well, so it is
//! far dearer than a `recv`; and it is dearer over many sockets than over one that stays in cache.

pub(crate) mod pump;
pub(crate) mod receivers;

use std::time::{Duration, Instant};

use pump::Pump;
use receivers::Receivers;
use rustix::time::{ClockId, clock_gettime};

/// What bare system calls cost, in ns of CPU time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    /// A `send` of so many bytes.
    pub(crate) send_ns: f64,
    /// A `recv`, as many bytes as the kernel gave at once.
    pub(crate) recv_ns: f64,
    /// Bytes that it gave, on average.
    pub(crate) recv_bytes: f64,
}

/// Sends `write_bytes` to each of `sockets` over and over for `time`, `in_flight` rounds ahead of
/// the slowest receiver at most.
pub(crate) fn measure(sockets: usize, write_bytes: usize, in_flight: u64, time: Duration) -> Floor {
    let mut pump = Pump::start(sockets, write_bytes);
    let mut receivers = Receivers::connect(pump.address(), sockets);
    let (mut begun, mut received) = (0_u64, 0_u64);
    let round_bytes = (sockets * write_bytes) as u64;
    let mut go = |pump: &mut Pump, receivers: &mut Receivers, time: Duration| {
        let until = Instant::now() + time;
        loop {
            let over = Instant::now() >= until;
            while !over && begun < received / round_bytes + in_flight {
                pump.round();
                begun += 1;
            }
            if over && received == begun * round_bytes {
                return;
            }
            receivers.read_ready(|_, bytes| received += bytes.len() as u64);
        }
    };
    go(&mut pump, &mut receivers, time / 4);
    let (sends_before, send_ns_before) = pump.report();
    let warm = receivers.spent;
    go(&mut pump, &mut receivers, time);
    let (sends, send_ns) = pump.report();
    let reads = (receivers.spent.reads - warm.reads) as f64;
    Floor {
        send_ns: (send_ns - send_ns_before) as f64 / (sends - sends_before) as f64,
        recv_ns: (receivers.spent.cpu_ns - warm.cpu_ns) as f64 / reads,
        recv_bytes: (receivers.spent.bytes - warm.bytes) as f64 / reads,
    }
}

/// CPU time of the calling thread, in ns.
pub(crate) fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Whether each measurement is only to be made once and briefly: `cargo bench -- --test`.
pub(crate) fn only_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
