//! A run to report in tests: four talkers, a hundred listeners, 5,000 messages, all delivered.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::driver::outcome::{Outcome, ProcessUse, Unfinished};
use crate::measure::health::{Health, ShardLoad};
use crate::measure::{Collector, Measured, ShardRecorder, Window};
use crate::report::{Environment, Report, RunResult};
use crate::scenario::plan::{
    AckPromise, Comparison, Group, LateCounts, Load, Metric, OrderPromise, PayloadSize, Plan,
    Promises, RelayPromise, Run, Stat, Target, TargetUrl, Threshold,
};
use crate::scenario::tls::Tls;
use crate::verify::findings::{Counts, Coverage, Example, Findings, RoomFindings};
use crate::verify::outstanding::{Outstanding, Waiting};
use crate::wire::protocol::Protocol;
use crate::wire::rooms::{RoomId, RoomNames};

/// A change that a test makes.
pub(crate) type Change = fn(&mut Plan, &mut Outcome);

const SECOND_NS: u64 = 1_000_000_000;

pub(crate) fn plan() -> Plan {
    let group = |name: &str, count, load| Group {
        name: name.to_owned(),
        count,
        load,
        claims: None,
        payload: PayloadSize { min: 64, max: 64 },
        rooms: None,
    };
    let threshold = |metric, percentile, limit_ms: f64, expr: &str| Threshold {
        metric,
        group: None,
        stat: Stat::Percentile(percentile),
        op: Comparison::Less,
        limit: limit_ms * 1e6,
        expr: expr.to_owned(),
    };
    Plan {
        name: "fanout".to_owned(),
        description: Some("Four talkers, a hundred listeners.".to_owned()),
        seed: 42,
        target: Target {
            url: TargetUrl::Embedded(Protocol::Ndjson),
            spoken: Protocol::Ndjson.into(),
            addresses: 1,
            faults: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            tls: Tls::default(),
        },
        run: Run {
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            connect_rate: 1_000.0,
            observers: 0,
            shards: None,
        },
        groups: vec![
            group("talkers", 4, Load::Closed { in_flight: 1 }),
            group("listeners", 100, Load::Listen),
        ],
        rooms: Default::default(),
        promises: Promises {
            ack: AckPromise::ExactlyOnce,
            relay: RelayPromise::ExactlyOnce,
            order: OrderPromise::Total,
            echo: false,
            use_seq: true,
            late_after: None,
        },
        late: LateCounts::AsViolations,
        thresholds: vec![
            threshold(Metric::Relay, 99.0, 50.0, "p99 < 50ms"),
            threshold(Metric::LastRelay, 99.0, 80.0, "p99 < 80ms"),
        ],
        warnings: Default::default(),
        resolved: serde_json::json!({ "seed": 42, "clients": { "talkers": { "count": 4 } } }),
    }
}

/// Figures of 500 messages per second for ten seconds, each class of latency stepping through two
/// milliseconds of its own.
fn measured() -> Measured {
    let window = Window {
        start_ns: 2 * SECOND_NS,
        end_ns: 12 * SECOND_NS,
    };
    let mut recorder = ShardRecorder::of_groups(window, 2);
    let mut collector = Collector::new(window, 1);
    for client in 1..=104 {
        recorder.connected(client * 2_000);
    }
    for second in 0..12 {
        for i in 0..if second < 2 { 0 } else { 500 } {
            let due = second * SECOND_NS + i * 2_000_000;
            recorder.sent(due, due + 15_000 + i * 100, false, 100);
            recorder.ack(0, due, due + 118_000 + i * 1_500);
            recorder.ack_service(due, due + 15_000 + i * 100, due + 118_000 + i * 1_500);
            for receiver in 0..103 {
                let now = due + 160_000 + i * 3_500 + receiver * 1_000;
                recorder.relay(usize::from(receiver >= 3), due, now);
                recorder.relay_service(due, due + 15_000 + i * 100, now);
            }
            recorder.heartbeat(due, due + 60_000 + i * 50);
            recorder.unread(due, i * 10);
            recorder.received_bytes(due, 10_300);
            collector.message(
                due,
                due + 160_000 + i * 3_500,
                due + 262_000 + i * 3_500,
                103,
            );
        }
        collector.absorb(0, second, recorder.take_interval(), 104);
    }
    collector.finish(Some(5_000))
}

pub(crate) fn outcome() -> Outcome {
    let measured = measured();
    let load = ShardLoad {
        wall_ns: 10 * SECOND_NS,
        cpu_ns: 290_000_000,
        waited_ns: 110_000_000,
    };
    Outcome {
        epoch: Instant::now(),
        health: Health::new(&measured, 0, vec![load]),
        measured,
        by_room: Default::default(),
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_268_800_250),
        elapsed: Duration::from_millis(12_345),
        target_url: "ndjson://127.0.0.1:40123".to_owned(),
        embedded: true,
        clients: 104,
        connected: 104,
        reconnected: 0,
        sent_by_group: vec![5_000, 0],
        interrupted: None,
        findings: Findings {
            counts: Counts {
                sessions: 104,
                sent: 5_000,
                acked: 5_000,
                owed: 515_000,
                delivered: 515_000,
                ..Counts::default()
            },
            coverage: Coverage {
                overlapping_sends: 4_711,
                polite_leaves: 104,
                split_frames: 12,
                joined_frames: 400_123,
                fences_seen: 104,
                ..Coverage::default()
            },
            ..Findings::default()
        },
        generator: ProcessUse {
            cpu: Duration::from_millis(310),
            max_rss_bytes: 14_000_000,
        },
        server: Some(ProcessUse {
            cpu: Duration::from_millis(420),
            max_rss_bytes: 6_400_000,
        }),
        faults: Vec::new(),
        inconclusive: Vec::new(),
        error: None,
        unfinished: None,
    }
}

pub(crate) fn example() -> Example {
    Example {
        text: "listeners-17 was owed talkers-3's message 88 and never got it: its number 351 is \
               missing between 350 and 352"
            .to_owned(),
        room: None,
        sender: Some("talkers-3".to_owned()),
        receiver: Some("listeners-17".to_owned()),
        k: Some(88),
        seq: Some(351),
        at_ns: 4_211_000_000,
    }
}

/// The target fell silent 6 s into the sample, the run waited for it for 5 s after its load, and a
/// hundred relays of one message had been outstanding for ten seconds by then.
pub(crate) fn hang(_: &mut Plan, outcome: &mut Outcome) {
    outcome.unfinished = Some(Unfinished {
        clients: 104,
        unanswered: 104,
        drain: Some(Duration::from_secs(5)),
        heard_ns: 6 * SECOND_NS,
        ended_ns: 17 * SECOND_NS,
    });
    let findings = &mut outcome.findings;
    findings.unfinished = 104;
    findings.undecided = Vec::from_iter(findings.unproved());
    findings.outstanding.push(Outstanding {
        intended_ns: 7 * SECOND_NS,
        first_ns: None,
        ack: None,
        relays: vec![Waiting {
            group: 1,
            clients: 100,
            until_ns: 17 * SECOND_NS,
        }],
    });
    let relays = &mut outcome.measured.censored.relay;
    relays.record_n(10 * SECOND_NS, 100).unwrap();
}

/// The sample with two rooms: five hundred deliveries in one, of 1 to 500 µs, and five of 7 ms in
/// the other, one of whose violations it is.
pub(crate) fn rooms(plan: &mut Plan, outcome: &mut Outcome) {
    plan.rooms = Arc::new(RoomNames::new(["lobby", "hall"]));
    for n in 1..=500 {
        outcome.by_room.relay(RoomId(1), n * 1_000);
    }
    for _ in 0..5 {
        outcome.by_room.relay(RoomId(2), 7_000_000);
    }
    for (room, name, delivered, violations) in [(1, "lobby", 500, 0), (2, "hall", 5, 1)] {
        outcome.findings.rooms.push(RoomFindings {
            room: RoomId(room),
            name: name.to_owned(),
            counts: Counts {
                sessions: 60,
                sent: 10,
                delivered,
                ..Counts::default()
            },
            coverage: Coverage::default(),
            violations,
        });
    }
}

/// The sample, changed by `change`, and judged as on another machine.
pub(crate) fn report(change: impl FnOnce(&mut Plan, &mut Outcome)) -> Report {
    let (mut plan, mut outcome) = (plan(), outcome());
    change(&mut plan, &mut outcome);
    let bench = Environment {
        os: "linux x86_64".to_owned(),
        kernel: "6.18.0".to_owned(),
        cpus: 2,
        host: "bench".to_owned(),
    };
    Report::on(bench, &plan, outcome)
}

/// The result of that.
pub(crate) fn result(change: impl FnOnce(&mut Plan, &mut Outcome)) -> RunResult {
    report(change).result
}
