//! One probe: the outcome of a run at one load, and the limit that it met.

use serde::{Deserialize, Serialize};

use crate::measure::censored::AtLeast;
use crate::report::{Report, Verdict, figures};

/// The share of the offered rate that has to be acked for a target to keep up.
const KEEPS_UP: f64 = 0.95;

/// Messages that may be under way when the measured phase ends, however short it was.
const UNDER_WAY: f64 = 10.0;

/// The limit that a load ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A threshold was crossed.
    Latency,
    /// A promise was broken.
    Loss,
    /// The target fell behind what was offered.
    Throughput,
    /// chatbench itself was too slow; the target may carry more.
    Generator,
    /// The run said nothing.
    Inconclusive,
}

impl Limit {
    /// Its name in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Loss => "loss",
            Self::Throughput => "throughput",
            Self::Generator => "generator",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// The outcome of a run at one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Probe {
    /// The value that was tried.
    #[cfg_attr(test, schemars(extend("exclusiveMinimum" = 0)))]
    pub value: f64,
    /// The limit that the run met; null if it held.
    pub limit: Option<Limit>,
    /// Why it did not hold, in words; null if it held.
    pub reason: Option<String>,
    /// The run's verdict. A run that kept the thresholds and fell behind what was offered passed,
    /// and did not hold.
    #[cfg_attr(test, schemars(with = "Verdict"))]
    pub verdict: String,
    /// Messages due a second; null without schedules.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub offered_per_s: Option<f64>,
    /// Acks a second.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub acked_per_s: Option<f64>,
    /// Deliveries a second.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub delivered_per_s: Option<f64>,
    /// 99th percentile of ack latency.
    pub ack_p99_ns: Option<u64>,
    /// Median relay latency.
    pub relay_p50_ns: Option<u64>,
    /// 99th percentile of relay latency.
    pub relay_p99_ns: Option<u64>,
    /// 99th percentile of the latency of each message's last receiver.
    pub last_relay_p99_ns: Option<u64>,
    /// The keys of those latencies that may be more, by what had not come when the run stopped
    /// listening.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        test,
        schemars(extend("items" = { "enum": [ACK_P99, RELAY_P50, RELAY_P99, LAST_RELAY_P99] }))
    )]
    pub at_least: Vec<String>,
}

/// The keys of a probe's latencies.
pub(super) const ACK_P99: &str = "ack_p99_ns";
pub(super) const RELAY_P50: &str = "relay_p50_ns";
pub(super) const RELAY_P99: &str = "relay_p99_ns";
pub(super) const LAST_RELAY_P99: &str = "last_relay_p99_ns";

impl Probe {
    /// Reads a run at `value`.
    #[must_use]
    pub fn new(value: f64, report: &Report) -> Self {
        let result = &report.result;
        let (limit, reason) = match limit(report) {
            Some((limit, reason)) => (Some(limit), Some(reason)),
            None => (None, None),
        };
        let at = |class: &str, percentile| {
            let latency = result.latency_ns.get(class);
            latency.and_then(|latency| latency.at(percentile))
        };
        let latencies = [
            (ACK_P99, at("ack", 99.0)),
            (RELAY_P50, at("relay", 50.0)),
            (RELAY_P99, at("relay", 99.0)),
            (LAST_RELAY_P99, at("last_relay", 99.0)),
        ];
        let open = latencies.iter().filter(|(_, l)| l.is_some_and(|l| l.open));
        let at_least = open.map(|(key, _)| (*key).to_owned()).collect();
        let [ack_p99, relay_p50, relay_p99, last_relay_p99] =
            latencies.map(|(_, latency)| latency.map(|latency| latency.ns));
        Self {
            value,
            limit,
            reason,
            at_least,
            verdict: result.verdict.clone(),
            offered_per_s: result.rates.offered,
            acked_per_s: result.rates.acked,
            delivered_per_s: result.rates.delivered,
            ack_p99_ns: ack_p99,
            relay_p50_ns: relay_p50,
            relay_p99_ns: relay_p99,
            last_relay_p99_ns: last_relay_p99,
        }
    }

    /// The latency under `key` as it is shown: `≥5.20 s` where it may be more.
    pub(super) fn latency(&self, key: &str) -> String {
        let ns = match key {
            ACK_P99 => self.ack_p99_ns,
            RELAY_P50 => self.relay_p50_ns,
            RELAY_P99 => self.relay_p99_ns,
            _ => self.last_relay_p99_ns,
        };
        let open = self.at_least.iter().any(|open| open == key);
        figures::at_least(ns.map(|ns| AtLeast { ns, open }))
    }

    /// A probe whose run ended with an error, without a result.
    #[must_use]
    pub fn failed(value: f64, limit: Limit, reason: String) -> Self {
        Self {
            value,
            limit: Some(limit),
            reason: Some(reason),
            verdict: Verdict::Inconclusive.name().to_owned(),
            offered_per_s: None,
            acked_per_s: None,
            delivered_per_s: None,
            ack_p99_ns: None,
            relay_p50_ns: None,
            relay_p99_ns: None,
            last_relay_p99_ns: None,
            at_least: Vec::new(),
        }
    }

    /// Whether the load held.
    #[must_use]
    pub const fn held(&self) -> bool {
        self.limit.is_none()
    }
}

fn limit(report: &Report) -> Option<(Limit, String)> {
    let result = &report.result;
    let reason = || result.reasons.first().cloned().unwrap_or_default();
    match report.verdict {
        Verdict::Fail => Some((Limit::Loss, reason())),
        Verdict::Inconclusive if report.by_generator => Some((Limit::Generator, reason())),
        Verdict::Inconclusive | Verdict::Interrupted => Some((Limit::Inconclusive, reason())),
        Verdict::Threshold => {
            let mut crossed = result.thresholds.iter().filter(|t| t.ok == Some(false));
            // Send lag is the generator's own: what it delays says nothing about the target.
            let limit = if crossed.any(|t| t.metric == "send_lag") {
                Limit::Generator
            } else {
                Limit::Latency
            };
            Some((limit, result.reasons.join("; ")))
        }
        Verdict::Pass => {
            let window = &result.window;
            let (offered, acked) = (window.offered? as f64, window.counts.acked as f64);
            // A target that promises no acks cannot be seen falling behind by them.
            let behind = acked > 0.0 && acked + UNDER_WAY < offered * KEEPS_UP;
            behind.then(|| {
                let percent = acked / offered * 100.0;
                let reason = format!("only {percent:.0} % of what was offered was acked");
                (Limit::Throughput, reason)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::scenario::plan::Metric;
    use crate::verify::kind::Kind;

    #[test]
    fn a_load_holds_or_names_the_limit_it_met() {
        let table: [(sample::Change, Option<Limit>); 7] = [
            (|_, _| (), None),
            (
                |plan, _| plan.thresholds[0].limit = 1.0,
                Some(Limit::Latency),
            ),
            (
                |plan, _| {
                    plan.thresholds[0].limit = 1.0;
                    plan.thresholds[1].limit = 1.0;
                    plan.thresholds[1].metric = Metric::SendLag;
                },
                Some(Limit::Generator),
            ),
            (
                |_, o| o.findings.violation(Kind::LostRelay, sample::example),
                Some(Limit::Loss),
            ),
            (
                |_, o| o.measured.offered = Some(5_300),
                Some(Limit::Throughput),
            ),
            (
                |plan, o| {
                    // Relays are 1.95 ms late, sends up to as much.
                    plan.thresholds[0].limit = 1_000_000.0;
                    o.measured.send_lag.record_n(1_900_000, 1_000).unwrap();
                },
                Some(Limit::Generator),
            ),
            (
                |_, o| o.inconclusive.push("gone".to_owned()),
                Some(Limit::Inconclusive),
            ),
        ];
        for (change, limit) in table {
            let report = sample::report(change);
            let probe = Probe::new(500.0, &report);
            assert_eq!(probe.limit, limit, "{:?}", report.result.reasons);
            assert_eq!(probe.reason.is_some(), limit.is_some());
            assert_eq!(probe.held(), limit.is_none());
        }
    }

    #[test]
    fn what_had_not_come_is_in_the_figures_as_late_as_it_is_at_least() {
        let hung: sample::Change = |_, o| {
            let relays = &mut o.measured.censored.relay;
            relays.record_n(5_000_000_000, 50_000).unwrap();
            o.findings.unfinished = 104;
        };
        let probe = Probe::new(500.0, &sample::report(hung));
        assert!(!probe.held(), "{probe:?}");
        assert_eq!(probe.relay_p99_ns.map(|ns| ns / 1_000_000_000), Some(5));
        assert_eq!(probe.at_least, [RELAY_P99], "the median came");
        assert_eq!(probe.latency(RELAY_P99), "≥5.00 s");
        assert_eq!(probe.latency(RELAY_P50).chars().next(), Some('1'));
    }

    #[test]
    fn the_figures_are_the_runs() {
        let probe = Probe::new(500.0, &sample::report(|_, _| ()));
        assert_eq!(
            (probe.offered_per_s, probe.acked_per_s),
            (Some(500.0), Some(500.0))
        );
        assert_eq!(probe.relay_p99_ns.map(|ns| ns / 10_000), Some(195));
    }
}
