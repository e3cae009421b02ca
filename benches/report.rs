//! What it takes to write everything that `run --out` leaves behind, of a long and varied run: ten
//! minutes, a thousand clients in six groups, every histogram filled over five decades, a hundred
//! examples of each of five violations. Budget: one second; it takes a third of that on two busy
//! cores. `cargo bench --bench report`.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, SystemTime};

use chatbench::driver::outcome::{Outcome, ProcessUse};
use chatbench::measure::health::{Health, ShardLoad};
use chatbench::measure::{Collector, Measured, ShardRecorder, Window};
use chatbench::report::files::Directory;
use chatbench::report::summary::Detail;
use chatbench::report::{Rendered, Report, RunResult, Style, hdr, html, summary};
use chatbench::scenario;
use chatbench::verify::findings::{Example, Findings};
use chatbench::verify::kind::Kind;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const SECOND_NS: u64 = 1_000_000_000;

const SCENARIO: &str = r#"
[run]
warmup = "1s"
duration = "10m"
observers = 1
[clients.near]
count = 10
rate = 1000
[clients.far]
count = 10
rate = 1000
[clients.bursts]
count = 9
in_flight = 4
[clients.listeners]
count = 900
[clients.others]
count = 70
[thresholds]
relay = ["p99 < 50ms"]
"#;

fn measured() -> Measured {
    let window = Window {
        start_ns: SECOND_NS,
        end_ns: 601 * SECOND_NS,
    };
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let mut recorder = ShardRecorder::of_groups(window, 6);
    let mut collector = Collector::new(window, 1);
    for second in 0..602 {
        for i in 0..2_000 {
            let due_ns = second * SECOND_NS + i * 500_000;
            // Log-uniform from 10 µs to 1 s: every bucket of five decades gets some.
            let mut latency_ns = || (1e4 * 10_f64.powf(random.random_range(0.0..5.0))) as u64;
            let now_ns = due_ns + latency_ns();
            let sent_ns = due_ns + latency_ns() / 100;
            let group = (i % 6) as usize;
            recorder.sent(due_ns, sent_ns, false, 150);
            recorder.ack(group, due_ns, now_ns);
            recorder.ack_service(due_ns, sent_ns, now_ns);
            recorder.relay(group, due_ns, now_ns);
            recorder.relay_service(due_ns, sent_ns, now_ns);
            recorder.heartbeat(due_ns, due_ns + latency_ns());
            collector.message(due_ns, now_ns, now_ns + latency_ns(), 999);
        }
        recorder.connected(second * 1_000);
        collector.absorb(0, second, recorder.take_interval(), 1_000);
    }
    collector.finish(Some(1_200_000))
}

fn findings() -> Findings {
    let mut findings = Findings::default();
    for &kind in &Kind::ALL[..5] {
        for i in 0..1_000 {
            findings.violation(kind, || Example {
                text: "listeners-17 was owed near-3's message 88 and never got it: its number \
                       351 is missing between 350 and 352"
                    .to_owned(),
                room: None,
                sender: Some("near-3".to_owned()),
                receiver: Some("listeners-17".to_owned()),
                k: Some(i),
                seq: Some(i),
                at_ns: i * 500_000_000,
            });
        }
    }
    findings
}

fn report() -> Report {
    let plan = scenario::parse("ten-minutes.toml", SCENARIO, &[], None, None);
    let plan = plan.unwrap_or_else(|e| panic!("{e}"));
    let measured = measured();
    let load = ShardLoad {
        wall_ns: 600 * SECOND_NS,
        cpu_ns: 300 * SECOND_NS,
        waited_ns: SECOND_NS,
    };
    let used = ProcessUse {
        cpu: Duration::from_secs(300),
        max_rss_bytes: 30 << 20,
    };
    let outcome = Outcome {
        started: SystemTime::UNIX_EPOCH,
        epoch: tokio::time::Instant::now(),
        elapsed: Duration::from_secs(602),
        target_url: "ndjson://127.0.0.1:40123".to_owned(),
        embedded: true,
        clients: 1_000,
        connected: 1_000,
        reconnected: 0,
        sent_by_group: vec![1],
        interrupted: None,
        findings: findings(),
        health: Health::new(&measured, 0, vec![load]),
        by_room: Default::default(),
        measured,
        generator: used,
        server: Some(used),
        faults: Vec::new(),
        inconclusive: Vec::new(),
        error: None,
        unfinished: None,
    };
    Report::new(&plan, outcome)
}

fn write(c: &mut Criterion) {
    let report = report();
    let result = &report.result;
    let written = result.json();
    let directory = tempfile::tempdir().expect("there is a place for temporary files");
    let mut group = c.benchmark_group("report");
    group.sample_size(10);
    group.bench_function("everything", |b| {
        b.iter(|| {
            let directory = Directory::prepare(directory.path(), true).expect("it is writable");
            let rendered = Rendered::new(black_box(&report));
            directory.write(&rendered).expect("there is room");
        });
    });
    group.bench_function("json", |b| b.iter(|| black_box(result).json()));
    group.bench_function("read-back", |b| {
        b.iter(|| RunResult::parse(Path::new("result.json"), black_box(&written)));
    });
    group.bench_function("html", |b| b.iter(|| html::render(black_box(result))));
    group.bench_function("hlog", |b| {
        b.iter(|| hdr::hlog(black_box(result), &report.outcome.measured.stretches));
    });
    group.bench_function("summary", |b| {
        b.iter(|| summary::render(black_box(&report), Style::FILE, Detail::Full));
    });
    group.finish();
}

criterion_group!(benches, write);
criterion_main!(benches);
