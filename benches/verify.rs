//! What verification costs: a delivery on the matching path, a message that a shard sees for the
//! first time, an ack, and the judge's share of a message.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatbench::scenario::plan::{AckPromise, OrderPromise, Promises, RelayPromise};
use chatbench::verify::directory::{ClientId, Directory};
use chatbench::verify::ids::publish_id;
use chatbench::verify::judge::Judge;
use chatbench::verify::ledger::{Handle, Ledger, Terms};
use chatbench::wire::Dialect;
use chatbench::wire::line::LineBuffer;
use chatbench::wire::ndjson;
use chatbench::wire::payload::{self, Header};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const RECEIVERS: usize = 1000;
/// Relays that one read brings.
const BATCH: usize = 256;
/// Bytes of `message`.
const SIZE: usize = 100;

const TERMS: Terms = Terms {
    run: 1,
    seed: 42,
    late_after_ns: Some(u64::MAX),
    addresses_known: true,
    max_line_bytes: 65_536,
    promises: PROMISES,
    dialect: Dialect::Ndjson,
};

const PROMISES: Promises = Promises {
    ack: AckPromise::ExactlyOnce,
    relay: RelayPromise::ExactlyOnce,
    order: OrderPromise::Total,
    echo: false,
    use_seq: true,
    late_after: None,
};

struct Fleet {
    ledger: Ledger,
    judge: Judge,
    senders: Vec<Handle>,
    receivers: Vec<Handle>,
    head: u64,
}

/// What the target sends for one batch of messages.
struct Frames {
    relays: Vec<u8>,
    /// Each with the sender it goes to.
    acks: Vec<(usize, Vec<u8>)>,
}

impl Fleet {
    fn new(senders: usize, receivers: usize) -> Self {
        let directory = Arc::new(Directory::new(vec!["client".to_owned()]));
        let mut fleet = Self {
            ledger: Ledger::new(TERMS, Arc::clone(&directory)),
            judge: Judge::new(directory, 1, TERMS.late_after_ns),
            senders: Vec::new(),
            receivers: Vec::new(),
            head: 0,
        };
        fleet.senders = (0..senders).map(|i| fleet.join(i)).collect();
        fleet.receivers = (0..receivers).map(|i| fleet.join(senders + i)).collect();
        fleet
    }

    fn join(&mut self, session: usize) -> Handle {
        let handle = self.ledger.connecting(ClientId(0)).expect("few");
        let mut welcome = Vec::new();
        ndjson::encode_welcome(&mut welcome, &address(session), 0, 65_536);
        read(&mut self.ledger, handle, &welcome, 1);
        handle
    }

    /// Sends a batch, message by message from sender to sender.
    fn send(&mut self) -> Frames {
        let mut frames = Frames {
            relays: Vec::new(),
            acks: Vec::new(),
        };
        for _ in 0..BATCH {
            self.head += 1;
            let sender = self.head as usize % self.senders.len();
            let handle = self.senders[sender];
            let header: Header = self.ledger.sending(handle, 1, 1, false).expect("few");
            let mut text = Vec::new();
            payload::encode(&mut text, TERMS.seed, &header, SIZE);
            let text = String::from_utf8(text).expect("ASCII");
            ndjson::encode_relay(&mut frames.relays, self.head, &address(sender), &text);
            let mut ack = Vec::new();
            let id = publish_id(header.sender, header.k);
            ndjson::encode_ack(&mut ack, self.head, Some(id));
            frames.acks.push((sender, ack));
        }
        frames
    }

    /// Every receiver but the first reads the batch; the time of that alone.
    fn deliver(&mut self, frames: &Frames) -> Duration {
        let (first, others) = self.receivers.split_first().expect("some");
        read(&mut self.ledger, *first, &frames.relays, 2);
        let began = Instant::now();
        for &receiver in others {
            read(&mut self.ledger, receiver, &frames.relays, 2);
        }
        began.elapsed()
    }

    /// The senders read what the others sent, and their acks where they belong.
    fn acknowledge(&mut self, frames: &Frames) {
        let relays: Vec<&[u8]> = frames.relays.split_inclusive(|&b| b == b'\n').collect();
        for (i, &sender) in self.senders.iter().enumerate() {
            let mut stream = Vec::new();
            for (relay, (to, ack)) in relays.iter().zip(&frames.acks) {
                stream.extend_from_slice(if *to == i { ack } else { relay });
            }
            read(&mut self.ledger, sender, &stream, 2);
        }
    }
}

fn address(session: usize) -> String {
    format!("127.0.0.1:{}", 10_000 + session)
}

fn read(ledger: &mut Ledger, handle: Handle, bytes: &[u8], now_ns: u64) {
    let mut buffer = LineBuffer::new(65_536);
    let mut lines = buffer.feed(bytes);
    while let Some(event) = ledger.next(handle, &mut lines, now_ns) {
        black_box(event);
    }
}

fn delivery(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify/delivery");
    for senders in [1, 100] {
        let mut fleet = Fleet::new(senders, RECEIVERS);
        let frames = fleet.send();
        let bytes = frames.relays.len();
        fleet.deliver(&frames);
        fleet.acknowledge(&frames);
        let deliveries = (RECEIVERS - 1) * BATCH;
        group.throughput(Throughput::ElementsAndBytes {
            elements: deliveries as u64,
            bytes: ((RECEIVERS - 1) * bytes) as u64,
        });
        let name = BenchmarkId::new("senders", senders);
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let frames = fleet.send();
                    spent += fleet.deliver(&frames);
                    fleet.acknowledge(&frames);
                    let batch = fleet.ledger.take_batch();
                    fleet.judge.absorb(0, batch, |settled| {
                        black_box(settled);
                    });
                }
                spent
            });
        });
    }
    group.finish();
}

/// The first receiver of a shard: decoded, every byte checked, kept.
fn first_receiver(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify/first-receiver");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut fleet = Fleet::new(1, 1);
    group.bench_function("100-byte messages", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let frames = fleet.send();
                let began = Instant::now();
                read(&mut fleet.ledger, fleet.receivers[0], &frames.relays, 2);
                spent += began.elapsed();
                fleet.acknowledge(&frames);
                let batch = fleet.ledger.take_batch();
                fleet.judge.absorb(0, batch, |_| ());
            }
            spent
        });
    });
    group.finish();
}

fn ack(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify/ack");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut fleet = Fleet::new(1, 1);
    group.bench_function("in order", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let frames = fleet.send();
                let acks: Vec<u8> = frames.acks.iter().flat_map(|(_, a)| a.clone()).collect();
                let began = Instant::now();
                read(&mut fleet.ledger, fleet.senders[0], &acks, 2);
                spent += began.elapsed();
                read(&mut fleet.ledger, fleet.receivers[0], &frames.relays, 2);
                let batch = fleet.ledger.take_batch();
                fleet.judge.absorb(0, batch, |_| ());
            }
            spent
        });
    });
    group.finish();
}

fn judge(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify/judge");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut fleet = Fleet::new(100, 1);
    group.bench_function("a message", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let frames = fleet.send();
                read(&mut fleet.ledger, fleet.receivers[0], &frames.relays, 2);
                fleet.acknowledge(&frames);
                let batch = fleet.ledger.take_batch();
                let began = Instant::now();
                fleet.judge.absorb(0, batch, |settled| {
                    black_box(settled);
                });
                spent += began.elapsed();
            }
            spent
        });
    });
    group.finish();
}

criterion_group!(benches, delivery, first_receiver, ack, judge);
criterion_main!(benches);
