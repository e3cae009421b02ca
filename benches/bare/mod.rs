//! Bare sockets: the least that a broadcast over TCP can cost, from plain system calls and no
//! protocol. What `floor.rs` prints, and what `fanout.rs` holds the server and the driver against.
//!
//! A *pump* is a child process that writes the same bytes to each of its sockets, a *round* for so
//! many bytes that it has read, and reads its own CPU clock before and after its calls, so that its
//! figures are `send` and `recv` and nothing else: no waiting, no looking at what was read. The
//! *receivers* are one thread with an epoll; what they time is `recv` and nothing else. On loopback
//! a `send` does the receiver's TCP work as well, so it is far dearer than a `recv`; and it is
//! dearer over many sockets than over one that stays in cache.
//!
//! It is dearer, too, the more bytes wait to be read: 64 KiB to each of 116 sockets cost 4.6 µs
//! where the receivers keep up and 11.5 µs where they begin to read after four such rounds, since
//! then the kernel copies into memory that is in no cache. So what a program is compared with has
//! to be driven as the program was: by the same talkers' same bytes, from the same thread that
//! reads ([`Orders`]).

pub(crate) mod pump;
pub(crate) mod receivers;

use std::time::{Duration, Instant};

use pump::{Pump, Task};
use receivers::Receivers;
use rustix::time::{ClockId, clock_gettime};

/// What bare system calls cost, in ns of CPU time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    /// A `send` of so many bytes.
    pub(crate) send_ns: f64,
    /// A `recv` of the orders.
    pub(crate) order_ns: f64,
    /// A `recv`, as many bytes as the kernel gave at once.
    pub(crate) recv_ns: f64,
    /// Bytes that it gave, on average.
    pub(crate) recv_bytes: f64,
}

/// How a pump is driven: what makes it write.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    /// Who orders, by turns: the last so many of the sockets.
    pub(crate) talkers: usize,
    /// Bytes of one order, which makes one round.
    pub(crate) order_bytes: usize,
    /// What a talker sends at once: part of an order, one, or several.
    pub(crate) batch: Vec<u8>,
    /// Bytes that may be ordered beyond the rounds that have arrived everywhere.
    pub(crate) window_bytes: usize,
}

/// Sends `write_bytes` to each of `sockets` over and over for `time`, `in_flight` rounds ahead of
/// the slowest receiver at most.
pub(crate) fn measure(sockets: usize, write_bytes: usize, in_flight: u64, time: Duration) -> Floor {
    let orders = Orders {
        talkers: 1,
        order_bytes: 1,
        batch: b"r".to_vec(),
        window_bytes: in_flight as usize,
    };
    measure_ordered(sockets, write_bytes, &orders, time)
}

/// The same, where rounds are ordered as `orders` say.
pub(crate) fn measure_ordered(
    sockets: usize,
    write_bytes: usize,
    orders: &Orders,
    time: Duration,
) -> Floor {
    let mut pump = Pump::start(Task {
        sockets,
        talkers: orders.talkers,
        order_bytes: orders.order_bytes,
        write_bytes,
    });
    let mut receivers = Receivers::connect(pump.address(), sockets);
    let round_bytes = (sockets * write_bytes) as u64;
    let order_bytes = orders.order_bytes as u64;
    let batch_bytes = orders.batch.len() as u64;
    // However few: of an order that is not whole yet, nothing comes.
    let window_bytes = (orders.window_bytes as u64).max(order_bytes + batch_bytes - 1);
    let (mut ordered_bytes, mut received, mut turn) = (0_u64, 0_u64, 0);
    let mut go = |receivers: &mut Receivers, time: Duration| {
        let until = Instant::now() + time;
        loop {
            let over = Instant::now() >= until;
            let arrived_bytes = received / round_bytes * order_bytes;
            while !over && ordered_bytes + batch_bytes <= arrived_bytes + window_bytes {
                receivers.send(sockets - orders.talkers + turn, &orders.batch);
                turn = (turn + 1) % orders.talkers;
                ordered_bytes += batch_bytes;
            }
            if over && received == ordered_bytes / order_bytes * round_bytes {
                return;
            }
            receivers.read_ready(|_, bytes| received += bytes.len() as u64);
        }
    };
    go(&mut receivers, time / 4);
    let (before, warm) = (pump.report(), receivers.spent);
    go(&mut receivers, time);
    let pumped = pump.report();
    let reads = (receivers.spent.reads - warm.reads) as f64;
    let each = |ns: u64, calls: u64| ns as f64 / calls as f64;
    Floor {
        send_ns: each(pumped.send_ns - before.send_ns, pumped.sends - before.sends),
        order_ns: each(pumped.read_ns - before.read_ns, pumped.reads - before.reads),
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
