//! What a frame costs on its way in and out: the codec alone, no socket.
//!
//! `cargo bench --bench wire`.

#[path = "fixtures/wire.rs"]
mod fixtures;

use std::hint::black_box;

use chatbench::wire::line::{DEFAULT_MAX_LINE_BYTES, LineBuffer};
use chatbench::wire::ndjson;
use chatbench::wire::payload;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use fixtures::{CLIENT_IP, HEADER, MESSAGE_BYTES, SEED, message, publish, relay_line};

/// What one read of a busy receiver returns.
const READ_BYTES: usize = 64 * 1024;

/// One line, timed through `work`, with its rate in lines and in bytes.
fn one_line(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    bytes: usize,
    mut work: impl FnMut(),
) {
    group.throughput(Throughput::ElementsAndBytes {
        elements: 1,
        bytes: bytes as u64,
    });
    group.bench_function(name, |b| b.iter(&mut work));
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    let decode_server = |line: &[u8]| {
        black_box(ndjson::decode_server(black_box(&line[..line.len() - 1]))).expect("a frame");
    };

    let mut line = Vec::new();
    ndjson::encode_publish(&mut line, &publish(&message()));
    one_line(&mut group, "publish", line.len(), || {
        black_box(ndjson::decode_publish(black_box(&line[..line.len() - 1]))).expect("a publish");
    });
    let line = relay_line();
    one_line(&mut group, "relay", line.len(), || decode_server(&line));

    let reordered = format!(
        "{{\"seq\":123456,\"type\":\"relay\",\"client_ip\":\"{CLIENT_IP}\",\"message\":\"{}\"}}\n",
        message()
    );
    let line = reordered.into_bytes();
    one_line(&mut group, "relay, type not first", line.len(), || {
        decode_server(&line);
    });

    let mut line = Vec::new();
    ndjson::encode_ack(&mut line, 123_456, Some(123_456));
    one_line(&mut group, "ack", line.len(), || decode_server(&line));

    let text = message();
    one_line(&mut group, "load message", text.len(), || {
        black_box(payload::decode(
            black_box(text.as_bytes()),
            SEED,
            HEADER.run,
        ))
        .expect("intact");
    });
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let text = message();
    let mut out = Vec::with_capacity(READ_BYTES);

    let publish = publish(&text);
    ndjson::encode_publish(&mut out, &publish);
    one_line(&mut group, "publish", out.len(), || {
        out.clear();
        ndjson::encode_publish(black_box(&mut out), black_box(&publish));
    });
    one_line(&mut group, "relay", relay_line().len(), || {
        out.clear();
        ndjson::encode_relay(black_box(&mut out), 123_456, CLIENT_IP, black_box(&text));
    });
    out.clear();
    ndjson::encode_ack(&mut out, 123_456, Some(123_456));
    one_line(&mut group, "ack", out.len(), || {
        out.clear();
        ndjson::encode_ack(black_box(&mut out), black_box(123_456), Some(123_456));
    });
    one_line(&mut group, "load message", MESSAGE_BYTES, || {
        out.clear();
        payload::encode(black_box(&mut out), SEED, black_box(&HEADER), MESSAGE_BYTES);
    });
}

/// The lines of one read of 64 KiB, the last one cut by its end as it is on a socket.
fn lines(c: &mut Criterion) {
    let line = relay_line();
    let read: Vec<u8> = line.iter().copied().cycle().take(READ_BYTES).collect();
    let whole = READ_BYTES / line.len();
    let mut group = c.benchmark_group("lines");
    group.throughput(Throughput::ElementsAndBytes {
        elements: whole as u64,
        bytes: READ_BYTES as u64,
    });

    group.bench_function("next", |b| {
        b.iter(|| {
            let mut buffer = LineBuffer::new(DEFAULT_MAX_LINE_BYTES);
            let mut lines = buffer.feed(black_box(&read));
            let mut seen = 0;
            while let Some(line) = lines.next() {
                black_box(line).expect("within the limit");
                seen += 1;
            }
            assert_eq!(seen, whole);
        });
    });
    group.bench_function("take_if", |b| {
        b.iter(|| {
            let mut buffer = LineBuffer::new(DEFAULT_MAX_LINE_BYTES);
            let mut lines = buffer.feed(black_box(&read));
            let mut seen = 0;
            while lines.take_if(black_box(&line)) {
                seen += 1;
            }
            assert_eq!(seen, whole);
            assert!(lines.next().is_none());
        });
    });
    group.bench_function("next and decode", |b| {
        b.iter(|| {
            let mut buffer = LineBuffer::new(DEFAULT_MAX_LINE_BYTES);
            let mut lines = buffer.feed(black_box(&read));
            while let Some(line) = lines.next() {
                let line = line.expect("within the limit");
                black_box(ndjson::decode_server(line)).expect("a frame");
            }
        });
    });
}

criterion_group!(benches, decode, encode, lines);
criterion_main!(benches);
