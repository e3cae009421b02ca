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

//!
//! Beside it the shards of the driver, where the order is inferred and no more than FIFO is
//! promised: what a delivery costs the ledgers and the judge, on one shard and on two, everything
//! included (sends, acks, notices, hand-overs). It is CPU time of one thread that plays all shards
//! in turns, so that it says what two cores would gain and not how busy they are otherwise.

#[allow(dead_code)] // each bench uses its part of it
mod bare;
#[allow(dead_code)]
#[path = "fixtures/verify.rs"]
mod verify;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use chatbench::scenario::plan::OrderPromise;
use chatbench::server::log::Log;
use chatbench::verify::directory::{ClientId, Directory};
use chatbench::verify::ids::publish_id;
use chatbench::verify::judge::Judge;
use chatbench::verify::ledger::{Handle, Ledger};
use chatbench::wire::ndjson;
use chatbench::wire::payload::{self, Header};
use rustix::time::{ClockId, clock_gettime};

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
    drive();
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

/// Clients of the driver's part, of which the first so many talk.
const CLIENTS: usize = 1000;
const TALKERS: usize = 16;

/// Rounds of the driver's part, each of a read for each client.
const ROUNDS: usize = 40;

/// The same clients, messages and reads, on one shard and on more.
fn drive() {
    println!(
        "\ninferred order, FIFO: {CLIENTS} clients, {TALKERS} of them talk; CPU time per delivery"
    );
    println!(
        "{:>7} {:>16} {:>10} {:>16} {:>10}",
        "shards", "talkers last", "gain", "talkers first", "gain"
    );
    let mut alone: Option<[f64; 2]> = None;
    for shards in [1, 2, 4] {
        let ns = [false, true].map(|first| Clients::new(shards).cost_ns(first));
        let alone = *alone.get_or_insert(ns);
        let gain = |at: usize| shards as f64 * alone[at] / ns[at];
        println!(
            "{shards:>7} {:>13.1} ns {:>9.2}x {:>13.1} ns {:>9.2}x",
            ns[0],
            gain(0),
            ns[1],
            gain(1)
        );
    }
}

/// Clients of a right target, without sockets, dealt over the ledgers of some shards.
struct Clients {
    ledgers: Vec<Ledger>,
    judge: Judge,
    /// The talkers first; each with its shard.
    sessions: Vec<(usize, Handle)>,
    sent: u64,
}

impl Clients {
    fn new(shards: usize) -> Self {
        let directory = Directory::new(vec!["client".to_owned()]).with_shards(shards);
        let directory = Arc::new(directory);
        let mut terms = verify::TERMS;
        (terms.promises.use_seq, terms.promises.order) = (false, OrderPromise::Fifo);
        let mut ledgers: Vec<Ledger> = (0..shards)
            .map(|shard| Ledger::of_shard(shard, terms, Arc::clone(&directory)))
            .collect();
        let sessions = (0..CLIENTS).map(|client| {
            let shard = client % shards;
            let handle = ledgers[shard].connecting(ClientId(0)).expect("few");
            let mut welcome = Vec::new();
            ndjson::encode_welcome(&mut welcome, &verify::address(client), 0, 65_536);
            verify::read(&mut ledgers[shard], handle, &welcome, 1);
            (shard, handle)
        });
        let sessions = sessions.collect();
        Self {
            ledgers,
            judge: Judge::new(directory, shards, None),
            sessions,
            sent: 0,
        }
    }

    /// The cost of a delivery; if `talkers_first`, the talkers read before the others, who get
    /// what they do not.
    fn cost_ns(&mut self, talkers_first: bool) -> f64 {
        self.round(talkers_first);
        let rounds = if bare::only_test() { 2 } else { ROUNDS };
        let mut spent = Duration::ZERO;
        for _ in 0..rounds {
            spent += self.round(talkers_first);
        }
        spent.as_nanos() as f64 / (rounds * verify::BATCH * (CLIENTS - 1)) as f64
    }

    fn round(&mut self, talkers_first: bool) -> Duration {
        let began = cpu_time();
        let headers: Vec<(usize, Header)> = (0..verify::BATCH)
            .map(|_| {
                // Some in a row of each, as a busy server takes them.
                let talker = self.sent as usize / 8 % TALKERS;
                self.sent += 1;
                let (shard, handle) = self.sessions[talker];
                let header = self.ledgers[shard].sending(handle, 1, 1, false);
                (talker, header.expect("few"))
            })
            .collect();
        let mut spent = cpu_time() - began;
        let relays: Vec<Vec<u8>> = headers
            .iter()
            .map(|(talker, header)| {
                let mut text = Vec::new();
                payload::encode(&mut text, verify::TERMS.seed, header, verify::SIZE);
                let text = String::from_utf8(text).expect("ASCII");
                let mut relay = Vec::new();
                ndjson::encode_relay(&mut relay, 1, &verify::address(*talker), &text);
                relay
            })
            .collect();
        let all = relays.concat();
        let to_talker = |talker: usize| {
            let mut stream = Vec::new();
            for ((by, header), relay) in headers.iter().zip(&relays) {
                match *by == talker {
                    true => {
                        let id = publish_id(header.sender, header.k);
                        ndjson::encode_ack(&mut stream, 1, Some(id));
                    }
                    false => stream.extend_from_slice(relay),
                }
            }
            stream
        };
        let own: Vec<Vec<u8>> = (0..TALKERS).map(to_talker).collect();
        let began = cpu_time();
        let (talkers, others) = (0..TALKERS, TALKERS..CLIENTS);
        let order: Vec<usize> = match talkers_first {
            true => talkers.chain(others).collect(),
            false => others.chain(talkers).collect(),
        };
        for client in order {
            let (shard, handle) = self.sessions[client];
            let stream = own.get(client).unwrap_or(&all);
            verify::read(&mut self.ledgers[shard], handle, stream, 2);
        }
        for (shard, ledger) in self.ledgers.iter_mut().enumerate() {
            let batch = ledger.take_batch();
            self.judge.absorb(shard, batch, |_| ());
        }
        spent += cpu_time() - began;
        spent
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
