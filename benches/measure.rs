//! What recording costs: a delivery (budget 15 ns, response and service time, of five groups in
//! turn), and the second's hand-over, which stops a shard for so long. A scrape's look at a run
//! stops the coordinator, once a second. `cargo bench --bench measure`.

#[path = "fixtures/measure.rs"]
mod fixtures;

use std::hint::black_box;
use std::time::Instant;

use chatbench::measure::{Collector, ShardRecorder};
use chatbench::scrape::buckets::Buckets;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fixtures::{WINDOW, deliveries};

fn record(c: &mut Criterion) {
    let deliveries = deliveries();
    let mut recorder = ShardRecorder::new(WINDOW);
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Elements(deliveries.len() as u64));
    group.bench_function("relay", |b| {
        b.iter(|| {
            for &(intended_ns, now_ns) in black_box(&deliveries) {
                recorder.relay(0, intended_ns, now_ns);
            }
        });
    });
    let mut groups = ShardRecorder::of_groups(WINDOW, 5);
    group.bench_function("delivery", |b| {
        b.iter(|| {
            for (i, &(intended_ns, now_ns)) in black_box(&deliveries).iter().enumerate() {
                // A read brings one client some 30 relays, then it is another's turn.
                groups.relay(i / 32 % 5, intended_ns, now_ns);
                groups.relay_service(intended_ns, intended_ns + 40_000, now_ns);
            }
        });
    });
    group.bench_function("delivery-of-one-group", |b| {
        b.iter(|| {
            for &(intended_ns, now_ns) in black_box(&deliveries) {
                recorder.relay(0, intended_ns, now_ns);
                recorder.relay_service(intended_ns, intended_ns + 40_000, now_ns);
            }
        });
    });
    group.bench_function("ack", |b| {
        b.iter(|| {
            for &(intended_ns, now_ns) in black_box(&deliveries) {
                recorder.ack(0, intended_ns, now_ns);
            }
        });
    });
    group.bench_function("sent", |b| {
        b.iter(|| {
            for &(intended_ns, now_ns) in black_box(&deliveries) {
                recorder.sent(intended_ns, now_ns, false, 100);
            }
        });
    });
    group.finish();
}

fn hand_over(c: &mut Criterion) {
    let deliveries = deliveries();
    let filled = || {
        let mut recorder = ShardRecorder::new(WINDOW);
        for &(intended_ns, now_ns) in &deliveries {
            recorder.relay(0, intended_ns, now_ns);
            recorder.relay_service(intended_ns, intended_ns + 40_000, now_ns);
            recorder.ack(0, intended_ns, now_ns);
            recorder.ack_service(intended_ns, intended_ns + 40_000, now_ns);
            recorder.heartbeat(intended_ns, now_ns);
            recorder.sent(intended_ns, now_ns, false, 100);
        }
        recorder
    };
    let mut group = c.benchmark_group("hand-over");
    group.bench_function("take_interval", |b| {
        b.iter_batched_ref(
            filled,
            ShardRecorder::take_interval,
            BatchSize::PerIteration,
        );
    });
    group.bench_function("absorb", |b| {
        b.iter_custom(|iterations| {
            let mut collector = Collector::new(WINDOW, 1);
            let intervals: Vec<_> = (0..iterations).map(|_| filled().take_interval()).collect();
            let start = Instant::now();
            for (second, interval) in (0..).zip(intervals) {
                collector.absorb(0, second, interval, 100);
            }
            start.elapsed()
        });
    });
    group.bench_function("buckets", |b| {
        let mut collector = Collector::new(WINDOW, 1);
        collector.absorb(0, 0, filled().take_interval(), 100);
        b.iter(|| Buckets::of_all(black_box(&collector).totals().relays()));
    });
    group.finish();
}

criterion_group!(benches, record, hand_over);
criterion_main!(benches);
