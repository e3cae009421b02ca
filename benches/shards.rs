//! What a server on many cores would cost: a model, sixteen shards in one process.
//!
//! `cargo bench --bench shards`. The plan (docs/PERFORMANCE.md) is that shards own sessions and
//! share what was published: the hub closes a chunk of the log at each pass and hands every shard
//! a pointer to it, so what crosses between cores is one hop a chunk and a shard, never one a
//! message or one per delivery. This measures that hop, and beside it the `send`s that it is for,
//! bare ones, to a thousand clients of all shards together.
//!
//! It models CPU time, not speed: on two cores sixteen threads take turns. A hop's cost on a
//! machine with sixteen is dearer where the shards' cores share no cache; the table says how much
//! dearer it may get before it matters.

#[allow(dead_code)] // each bench uses its part of it
mod bare;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use chatbench::server::log::Log;

const SHARDS: usize = 16;
const CLIENT_IP: &str = "127.0.0.1:50412";
const MESSAGE: &str = concat!(
    "0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123"
);

/// What was published between two passes.
type Chunk = Arc<[u8]>;

/// CPU time in ns.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// The hub's, a message: encode, append.
    append_ns: f64,
    /// The hub's, a chunk and shard: clone the pointer, send it.
    publish_ns: f64,
    /// A shard's, a chunk: be woken, take the pointer, let go of it.
    take_ns: f64,
}

fn main() {
    bare::pump::serve_if_asked();
    bare::pump::raise_file_limit();
    println!("\n{SHARDS} shards, 100-byte messages, CPU time in ns");
    println!(
        "{:>12} {:>10} {:>14} {:>14} {:>14} {:>14} {:>14}",
        "messages a",
        "append a",
        "publish a",
        "take a",
        "hops a relay,",
        "send a relay,",
        "hops' share"
    );
    println!(
        "{:>12} {:>10} {:>14} {:>14} {:>14} {:>14} {:>14}",
        "chunk", "message", "chunk, shard", "chunk", "1000 clients", "1000 clients", ""
    );
    let batches: &[usize] = if bare::only_test() {
        &[16]
    } else {
        &[1, 4, 16, 64, 256]
    };
    for &batch in batches {
        let cost = least(batch);
        let (time, receivers) = if bare::only_test() {
            (Duration::from_millis(10), 10)
        } else {
            (Duration::from_millis(300), 1000)
        };
        let line_bytes = relay_bytes();
        let floor = bare::measure(receivers, batch * line_bytes, 1, time);
        let relays = (batch * receivers) as f64;
        let hops = SHARDS as f64 * (cost.publish_ns + cost.take_ns) / relays;
        let send = floor.send_ns / batch as f64;
        println!(
            "{batch:>12} {:>10.0} {:>14.0} {:>14.0} {hops:>14.2} {send:>14.1} {:>13.1}%",
            cost.append_ns,
            cost.publish_ns,
            cost.take_ns,
            100.0 * hops / (hops + send),
        );
    }
}

fn relay_bytes() -> usize {
    let mut log = Log::new(65_536, 16 << 20);
    let entry = log.append(CLIENT_IP, MESSAGE).expect("there is room");
    entry.line_bytes as usize
}

/// The least of three: whatever else the machine does only adds.
fn least(batch: usize) -> Cost {
    let (times, chunks) = if bare::only_test() {
        (1, 100)
    } else {
        (3, 5_000)
    };
    let costs: Vec<Cost> = (0..times).map(|_| measure(batch, chunks)).collect();
    let least = |of: fn(&Cost) -> f64| costs.iter().map(of).fold(f64::INFINITY, f64::min);
    Cost {
        append_ns: least(|cost| cost.append_ns),
        publish_ns: least(|cost| cost.publish_ns),
        take_ns: least(|cost| cost.take_ns),
    }
}

/// Publishes so many chunks of `batch` messages; every shard says that it has one before the next
/// goes out, as where each pass has been written before more comes.
fn measure(batch: usize, chunks: usize) -> Cost {
    let (done, all_done) = mpsc::channel();
    let shards: Vec<_> = (0..SHARDS)
        .map(|_| {
            let (publish, published) = mpsc::channel::<Chunk>();
            let done = done.clone();
            let shard = thread::spawn(move || {
                let (mut spent_ns, mut bytes) = (0, 0);
                loop {
                    let before_ns = bare::thread_cpu_ns();
                    let Ok(chunk) = published.recv() else {
                        return (spent_ns, bytes);
                    };
                    bytes += chunk.len();
                    drop(chunk);
                    spent_ns += bare::thread_cpu_ns() - before_ns;
                    done.send(()).expect("the hub waits");
                }
            });
            (publish, shard)
        })
        .collect();
    let mut log = Log::new(65_536, 16 << 20);
    let (mut append_ns, mut publish_ns, mut sent_bytes) = (0, 0, 0);
    for _ in 0..chunks {
        let before_ns = bare::thread_cpu_ns();
        let from = log.end();
        for _ in 0..batch {
            log.append(CLIENT_IP, MESSAGE).expect("there is room");
        }
        let chunk: Chunk = log.run(from, log.end()).into();
        log.trim_to(log.end());
        let appended_ns = bare::thread_cpu_ns();
        for (publish, _) in &shards {
            publish.send(Arc::clone(&chunk)).expect("the shard lives");
        }
        publish_ns += bare::thread_cpu_ns() - appended_ns;
        append_ns += appended_ns - before_ns;
        sent_bytes += chunk.len() * SHARDS;
        for _ in 0..SHARDS {
            all_done.recv().expect("the shards live");
        }
    }
    let mut take_ns = 0;
    for (publish, shard) in shards {
        drop(publish);
        let (spent_ns, bytes) = shard.join().expect("it ends when there is no more");
        take_ns += spent_ns;
        sent_bytes -= bytes;
    }
    assert_eq!(sent_bytes, 0, "every shard got every byte");
    Cost {
        append_ns: append_ns as f64 / (chunks * batch) as f64,
        publish_ns: publish_ns as f64 / (chunks * SHARDS) as f64,
        take_ns: take_ns as f64 / (chunks * SHARDS) as f64,
    }
}
