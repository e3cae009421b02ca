//! A search that tests can change: it doubles from 500 to 4,000, where the limit is met.

use super::{About, Found, Limit, Probe, Scenario, Search};
use crate::report::Environment;
use crate::report::result::Target;
use crate::search::Kept;

fn probe(value: f64, p99_ns: u64, limit: Option<Limit>) -> Probe {
    Probe {
        value,
        limit,
        reason: limit.map(|_| "relay p99 < 50ms: it was 73.9 ms".to_owned()),
        verdict: "pass".to_owned(),
        offered_per_s: Some(value),
        acked_per_s: Some(value),
        delivered_per_s: Some(value * 100.0),
        ack_p99_ns: Some(p99_ns / 2),
        relay_p50_ns: Some(p99_ns / 4),
        relay_p99_ns: Some(p99_ns),
        last_relay_p99_ns: Some(p99_ns * 2),
        at_least: Vec::new(),
    }
}

/// A change that a test makes.
pub(super) type Change = fn(&mut Found);

/// 3,000 holds, 3,500 does not.
pub(super) fn found(limit: Limit) -> Found {
    let mut search = Search::new(500.0, 1e5, 0.1);
    let probes = [
        probe(500.0, 900_000, None),
        probe(1_000.0, 1_300_000, None),
        probe(2_000.0, 4_000_000, None),
        probe(4_000.0, 900_000_000, Some(limit)),
        probe(3_000.0, 20_000_000, None),
        probe(3_500.0, 73_900_000, Some(limit)),
    ];
    for probe in &probes {
        search.record(probe.value, probe.held());
    }
    let about = About {
        scenario: Scenario {
            name: "fanout".to_owned(),
            description: Some("Four talkers: how late is a relay?".to_owned()),
            seed: 42,
        },
        target: Target {
            url: "embedded".to_owned(),
            embedded: true,
            faults: Vec::new(),
        },
        started: "2026-01-01T12:00:00Z".to_owned(),
        environment: Some(Environment {
            os: "linux x86_64".to_owned(),
            kernel: "6.18.0".to_owned(),
            cpus: 2,
            host: "bench".to_owned(),
        }),
        rerun: "chatbench search fanout.toml --seed 42".to_owned(),
        thresholds: vec![Kept {
            metric: "relay".to_owned(),
            expr: "p99 < 50ms".to_owned(),
            limit_ns: 50e6,
        }],
    };
    Found::new(about, "clients.talkers.rate", &search, &probes, false)
}
