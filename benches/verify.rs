//! What verification costs: per delivery on the matching path, a message that a shard sees for the
//! first time, an ack, and the judge's share of a message.

#[path = "fixtures/verify.rs"]
mod fixtures;

use std::hint::black_box;
use std::time::{Duration, Instant};

use chatbench::scenario::plan::OrderPromise;
use chatbench::verify::ledger::{Ending, Terms};
use chatbench::wire::ndjson;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fixtures::{BATCH, Fleet, Frames, TERMS, read};

const RECEIVERS: usize = 1000;

/// Every receiver but the first reads the batch; the time of that alone.
fn deliver(fleet: &mut Fleet, frames: &Frames) -> Duration {
    let (first, others) = fleet.receivers.split_first().expect("some");
    read(&mut fleet.ledger, *first, &frames.relays, 2);
    let began = Instant::now();
    for &receiver in others {
        read(&mut fleet.ledger, receiver, &frames.relays, 2);
    }
    began.elapsed()
}

fn delivery(c: &mut Criterion) {
    deliveries(c, "verify/delivery", TERMS);
    let mut inferred_order = TERMS;
    inferred_order.promises.use_seq = false;
    deliveries(c, "verify/delivery-inferred-order", inferred_order);
}

fn deliveries(c: &mut Criterion, name: &str, terms: Terms) {
    let mut group = c.benchmark_group(name);
    for senders in [1, 100] {
        let mut fleet = Fleet::held_to(terms, senders, RECEIVERS);
        let frames = fleet.send();
        let bytes = frames.relays.len();
        deliver(&mut fleet, &frames);
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
                    spent += deliver(&mut fleet, &frames);
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

/// One sender's messages come to a receiver so many later than the other's: the cost per delivery of those.
/// It must not cost more the more of them there are.
fn late(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify/late");
    group.sample_size(10);
    for order in [OrderPromise::None, OrderPromise::Fifo] {
        let mut terms = TERMS;
        terms.promises.order = order;
        for batches in [10, 100] {
            let late = batches * BATCH / 2;
            group.throughput(Throughput::Elements(late as u64));
            let name = BenchmarkId::new(format!("{order:?}"), late);
            group.bench_function(name, |b| {
                b.iter_custom(|rounds| (0..rounds).map(|_| deliver_late(terms, batches)).sum());
            });
        }
    }
    group.finish();
}

fn deliver_late(terms: Terms, batches: usize) -> Duration {
    let mut fleet = Fleet::held_to(terms, 2, 2);
    let (in_time, behind) = (fleet.receivers[0], fleet.receivers[1]);
    let mut late = Vec::new();
    for _ in 0..batches {
        let frames = fleet.send();
        read(&mut fleet.ledger, in_time, &frames.relays, 2);
        let lines = frames.relays.split_inclusive(|&b| b == b'\n');
        for (line, (sender, _)) in lines.zip(&frames.acks) {
            if *sender == 0 {
                read(&mut fleet.ledger, behind, line, 2);
            } else {
                late.extend_from_slice(line);
            }
        }
        fleet.acknowledge(&frames);
        fleet.ledger.take_batch();
    }
    let began = Instant::now();
    read(&mut fleet.ledger, behind, &late, 3);
    black_box(fleet.ledger.take_batch());
    began.elapsed()
}

/// A target that sends every receiver everything, and each in an order of its own: the cost per delivery.
/// It must not cost more the more of them there are.
fn disordered(c: &mut Criterion) {
    const SESSIONS: usize = 20;
    let mut group = c.benchmark_group("verify/disordered");
    group.sample_size(10);
    let mut inferred_order = TERMS;
    inferred_order.promises.use_seq = false;
    for (name, terms) in [("inferred order", inferred_order), ("numbered", TERMS)] {
        for messages in [512, 1024, 2048, 8192, 32_768] {
            group.throughput(Throughput::Elements((SESSIONS * messages) as u64));
            let shuffle: fn(&mut [&[u8]], u64) = shuffled;
            let name = BenchmarkId::new(name, messages);
            group.bench_function(name, |b| {
                b.iter_custom(|rounds| {
                    let one = |_| deliver_in_order(terms, messages, SESSIONS, shuffle);
                    (0..rounds).map(one).sum()
                });
            });
        }
    }
    let reversed: fn(&mut [&[u8]], u64) = |lines, _| lines.reverse();
    group.throughput(Throughput::Elements(100_096));
    group.bench_function("numbered, in reverse/100096", |b| {
        b.iter_custom(|rounds| {
            let one = |_| deliver_in_order(TERMS, 100_096, 1, reversed);
            (0..rounds).map(one).sum()
        });
    });
    group.finish();
}

/// In an order that `seed` draws.
fn shuffled(lines: &mut [&[u8]], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for last in (1..lines.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        lines.swap(last, (state >> 33) as usize % (last + 1));
    }
}

/// All is sent and acked; then each receiver gets it in the order that `arrange` makes.
fn deliver_in_order(
    terms: Terms,
    messages: usize,
    sessions: usize,
    arrange: fn(&mut [&[u8]], u64),
) -> Duration {
    let mut fleet = Fleet::held_to(terms, 1, sessions);
    let mut relays = Vec::new();
    for _ in 0..messages / BATCH {
        let frames = fleet.send();
        fleet.acknowledge(&frames);
        relays.extend_from_slice(&frames.relays);
    }
    let lines: Vec<&[u8]> = relays.split_inclusive(|&b| b == b'\n').collect();
    let mut orders: Vec<Vec<&[u8]>> = vec![lines; sessions];
    (0..)
        .zip(&mut orders)
        .for_each(|(seed, lines)| arrange(lines, seed));
    let began = Instant::now();
    for at in (0..messages).step_by(BATCH) {
        for (&receiver, lines) in fleet.receivers.iter().zip(&orders) {
            read(
                &mut fleet.ledger,
                receiver,
                &lines[at..at + BATCH].concat(),
                2,
            );
        }
        let batch = fleet.ledger.take_batch();
        fleet.judge.absorb(0, batch, |_| ());
    }
    for &receiver in &fleet.receivers {
        fleet.ledger.leaving(receiver, 0);
        let mut bye = Vec::new();
        ndjson::encode_bye(&mut bye, messages as u64);
        read(&mut fleet.ledger, receiver, &bye, 3);
        fleet.ledger.ended(receiver, Ending::Eof, b"", 3);
    }
    let batch = fleet.ledger.take_batch();
    fleet.judge.absorb(0, batch, |_| ());
    black_box(fleet.judge.finish(false, |_| ()));
    began.elapsed()
}

criterion_group!(
    benches,
    delivery,
    first_receiver,
    ack,
    judge,
    late,
    disordered
);
criterion_main!(benches);
