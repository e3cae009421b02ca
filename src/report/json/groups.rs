//! Latencies by group, as JSON.

use serde::Serialize;

use super::measured::Latency;
use crate::measure::GroupLatencies;
use crate::report::Report;

/// One group of clients.
#[derive(Serialize)]
pub(super) struct Group<'a> {
    name: &'a str,
    clients: u64,
    latency_ns: Latencies,
}

/// `null` where there is no sample.
#[derive(Serialize)]
struct Latencies {
    ack: Option<Latency>,
    relay: Option<Latency>,
}

impl<'a> Group<'a> {
    pub(super) fn all(report: &'a Report) -> Vec<Self> {
        let measured = &report.outcome.measured;
        let messages = measured.last_relay.len();
        let groups = report.groups.iter().zip(&measured.groups);
        groups
            .map(|(group, GroupLatencies { ack, relay })| Self {
                name: &group.name,
                clients: group.clients,
                latency_ns: Latencies {
                    ack: ack.as_ref().map(|ack| Latency::of_group(ack, ack.len())),
                    relay: relay
                        .as_ref()
                        .map(|relay| Latency::of_group(relay, messages)),
                },
            })
            .collect()
    }
}
