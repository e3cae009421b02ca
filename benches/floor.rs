//! The floor: what bare `send` and `recv` over N loopback sockets cost on this machine, in CPU
//! time, by bytes per call. No broadcast over TCP can be cheaper.
//!
//! `cargo bench --bench floor`. CPU time, never wall time, and the least of three: whatever else
//! runs can only add. The first table is of one round in flight, as where every message is waited
//! for, so most receivers sleep and a `send` wakes them; in the second the next round is there
//! already.

#[allow(dead_code)] // each bench uses its part of it
mod bare;

use std::time::Duration;

const SOCKETS: [usize; 4] = [10, 100, 1_000, 10_000];
const BYTES: [usize; 7] = [16, 128, 1 << 10, 4 << 10, 16 << 10, 32 << 10, 64 << 10];

/// What is on its way to all sockets together, at most: what a machine's TCP memory holds easily.
const MAX_BYTES_IN_FLIGHT: usize = 192 << 20;

/// Rounds in flight in the second table.
const ROUNDS: u64 = 4;

fn main() {
    bare::pump::serve_if_asked();
    bare::pump::raise_file_limit();
    table(
        "one round in flight, as where every message is waited for",
        1,
    );
    table(&format!("{ROUNDS} rounds in flight"), ROUNDS);
}

fn table(title: &str, in_flight: u64) {
    println!("\n{title}: ns of CPU time");
    print!("{:>9}", "sockets");
    for bytes in BYTES {
        print!("{:>14}", format!("{bytes} B"));
    }
    println!();
    for sockets in SOCKETS {
        let floors = BYTES.map(|bytes| {
            let fits = sockets * bytes * in_flight as usize <= MAX_BYTES_IN_FLIGHT;
            fits.then(|| least(sockets, bytes, in_flight))
        });
        let row = |name: &str, figure: fn(&bare::Floor) -> f64| {
            print!("{:>9}", format!("{name} {sockets}"));
            for floor in &floors {
                match floor {
                    Some(floor) => print!("{:>14.0}", figure(floor)),
                    None => print!("{:>14}", "–"),
                }
            }
            println!();
        };
        row("send", |floor| floor.send_ns);
        row("recv", |floor| floor.recv_ns);
    }
}

/// The least of three: whatever else the machine does only adds.
fn least(sockets: usize, bytes: usize, in_flight: u64) -> bare::Floor {
    let (times, time) = if bare::only_test() {
        (1, Duration::from_millis(10))
    } else {
        (3, Duration::from_millis(200))
    };
    let floors: Vec<_> = (0..times)
        .map(|_| bare::measure(sockets, bytes, in_flight, time))
        .collect();
    for floor in &floors {
        assert!(floor.send_ns > 0.0 && floor.recv_ns > 0.0, "{floor:?}");
        assert!(floor.recv_bytes > 0.0, "{floor:?}");
    }
    let least =
        |figure: fn(&bare::Floor) -> f64| floors.iter().map(figure).fold(f64::INFINITY, f64::min);
    bare::Floor {
        send_ns: least(|f| f.send_ns),
        recv_ns: least(|f| f.recv_ns),
        order_ns: least(|f| f.order_ns),
        recv_bytes: floors[0].recv_bytes,
    }
}
