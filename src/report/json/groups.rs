//! Latencies by group, as JSON.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::measured::Latency;
use crate::measure::{GroupLatencies, histogram};
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
        let nothing = histogram();
        let part = |came: &Option<Histogram<u64>>, at_least: Option<&Histogram<u64>>, messages| {
            if came.is_none() && at_least.is_none() {
                return None;
            }
            let came = came.as_ref().unwrap_or(&nothing);
            let messages = Option::unwrap_or(messages, came.len());
            let latency = Latency::of_group(came, messages);
            Some(latency.with(came, at_least.unwrap_or(&nothing)))
        };
        let censored = &measured.censored.groups;
        let none = GroupLatencies::default();
        let groups = report.groups.iter().enumerate();
        groups
            .map(|(place, group)| {
                let GroupLatencies { ack, relay } = measured.groups.get(place).unwrap_or(&none);
                let censored = censored.get(place);
                let acks = censored.and_then(|c| c.ack.as_ref());
                let relays = censored.and_then(|c| c.relay.as_ref());
                Self {
                    name: &group.name,
                    clients: group.clients,
                    latency_ns: Latencies {
                        ack: part(ack, acks, None),
                        relay: part(relay, relays, Some(messages)),
                    },
                }
            })
            .collect()
    }
}
