//! What the server's log costs without a socket: appending a relay, and listing for a session
//! what it is owed. The second must stay far below the 2.7 µs of the `send` that it feeds.

#[path = "fixtures/log.rs"]
mod fixtures;

use std::hint::black_box;

use chatbench::server::cursor::Gather;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fixtures::{BATCH, CLIENT_IP, append_batch, joined, log, said, write_all};

fn append(c: &mut Criterion) {
    let mut log = log();
    let line_bytes = u64::from(append_batch(&mut log)[0].line_bytes);
    for (name, throughput) in [
        ("append/relays", Throughput::Elements(BATCH as u64)),
        ("append/bytes", Throughput::Bytes(BATCH as u64 * line_bytes)),
    ] {
        let mut group = c.benchmark_group("log");
        group.throughput(throughput);
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..BATCH {
                    black_box(log.append(CLIENT_IP, said()).is_ok());
                }
                log.trim_to(log.end());
            });
        });
        group.finish();
    }
}

/// One pass: a batch is appended, every session is offered it, the log is trimmed.
fn pass(c: &mut Criterion) {
    let mut group = c.benchmark_group("pass");
    for receivers in [1, 100, 1000] {
        let (mut log, mut gather) = (log(), Gather::default());
        let mut cursors: Vec<_> = (0..receivers).map(|_| joined(&log, &mut gather)).collect();
        group.throughput(Throughput::Elements((receivers * BATCH) as u64));
        group.bench_function(format!("{receivers} receivers"), |b| {
            b.iter(|| {
                for _ in 0..BATCH {
                    black_box(log.append(CLIENT_IP, said()).is_ok());
                }
                for cursor in &mut cursors {
                    write_all(cursor, &log, &mut gather);
                }
                log.trim_to(log.end());
            });
        });
    }
    group.finish();
}

/// A session that sent every fourth message of a batch: its acks stand between the relays.
fn own_spans(c: &mut Criterion) {
    let (mut log, mut gather) = (log(), Gather::default());
    let mut talker = joined(&log, &mut gather);
    let mut group = c.benchmark_group("talker");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("every fourth its own", |b| {
        b.iter(|| {
            for k in 0..BATCH {
                let entry = log.append(CLIENT_IP, said()).expect("it was trimmed");
                if k % 4 == 0 {
                    talker.ack(entry, Some(k as u64));
                }
            }
            while talker.is_behind(&log) {
                write_all(&mut talker, &log, &mut gather);
            }
            log.trim_to(log.end());
        });
    });
    group.finish();
}

criterion_group!(benches, append, pass, own_spans);
criterion_main!(benches);
