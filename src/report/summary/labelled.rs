//! The lines beneath the latencies, a label each: throughput, connecting, the processes, what was
//! exercised.

use super::{Page, latency};
use crate::measure::percentile::percentile;
use crate::report::thresholds::per_second;
use crate::report::{Report, figures, generator};
use crate::verify::findings::Coverage;

/// Faults shown of those that the embedded server was told to commit; the JSON result has more.
const FAULTS_SHOWN: usize = 5;

impl Page {
    /// Rates, connections, processes, and what was exercised.
    pub(super) fn figures(&mut self, report: &Report) {
        self.labelled("throughput", throughput(report));
        self.labelled("connecting", connecting(report));
        let outcome = &report.outcome;
        if let Some(server) = &outcome.server {
            let mut items = vec![cpu(server.cpu.as_secs_f64())];
            let relays = outcome.findings.counts.delivered + outcome.findings.counts.optional;
            if relays > 0 {
                let each_ns = server.cpu.as_nanos() as f64 / relays as f64;
                items.push(format!(
                    "{} per delivery",
                    figures::latency(each_ns.round() as u64)
                ));
            }
            items.push(format!(
                "rss {}",
                figures::bytes(server.max_rss_bytes as f64)
            ));
            self.labelled("server", items);
        }
        if !outcome.faults.is_empty() {
            self.labelled("committed", committed(&outcome.faults));
        }
        let lag = latency(percentile(&outcome.measured.send_lag, 99.0));
        let wake = latency(percentile(&outcome.measured.heartbeat, 99.0));
        self.labelled(
            "generator",
            [
                cpu(outcome.generator.cpu.as_secs_f64()),
                format!(
                    "rss {}",
                    figures::bytes(outcome.generator.max_rss_bytes as f64)
                ),
                format!("send lag p99 {lag}"),
                format!("wake-up p99 {wake}"),
                generator::occupied(&outcome.health),
                generator::state(&outcome.health).to_owned(),
            ],
        );
        let exercised = exercised(&outcome.findings.coverage);
        if !exercised.is_empty() {
            self.labelled("exercised", exercised);
        }
        if !report.promises.use_seq {
            self.labelled("judged", report.promises.in_words());
        }
        if outcome.measured.saturated > 0 {
            let n = figures::count(outcome.measured.saturated);
            self.labelled(
                "beyond",
                [format!("{n} latencies over an hour, shown as one hour")],
            );
        }
    }
}

fn throughput(report: &Report) -> Vec<String> {
    let measured = &report.outcome.measured;
    let counts = &measured.counts;
    let rate = |events| per_second(events, measured);
    let shown = |what: &str, rate: Option<f64>| {
        format!("{what} {}", rate.map_or("–".to_owned(), figures::rate))
    };
    let mut items = Vec::new();
    if let Some(offered) = measured.offered {
        items.push(shown("offered", rate(offered)));
    }
    items.push(shown("sent", rate(counts.sent)));
    if counts.held_by_target > 0 {
        items.push(format!(
            "{} held by the target",
            figures::count(counts.held_by_target)
        ));
    }
    items.push(shown("delivered", rate(counts.delivered)));
    for (what, bytes) in [("in", counts.bytes_in), ("out", counts.bytes_out)] {
        let rate = rate(bytes).map(|bytes| format!("{}/s", figures::bytes(bytes)));
        items.push(format!("{what} {}", rate.as_deref().unwrap_or("–")));
    }
    items
}

fn connecting(report: &Report) -> Vec<String> {
    let outcome = &report.outcome;
    let connect = &outcome.measured.connect;
    let mut items = vec![format!(
        "{} of {} clients",
        figures::count(outcome.connected),
        figures::count(outcome.clients)
    )];
    let sessions = outcome.findings.counts.sessions;
    if sessions > outcome.connected {
        items.push(format!("{} sessions", figures::count(sessions)));
    }
    for (name, quantile) in [("p50", 50.0), ("max", 100.0)] {
        items.push(format!("{name} {}", latency(percentile(connect, quantile))));
    }
    items
}

/// What was really exercised.
pub(in crate::report) fn exercised(coverage: &Coverage) -> Vec<String> {
    let all = [
        (coverage.overlapping_sends, "overlapping sends"),
        (coverage.joins_during_traffic, "joins during traffic"),
        (coverage.polite_leaves, "polite leaves"),
        (coverage.aborts, "aborts"),
        (coverage.split_frames, "split frames"),
        (coverage.joined_frames, "joined frames"),
        (coverage.fences_seen, "ends proved"),
    ];
    let some = all.into_iter().filter(|(n, _)| *n > 0);
    some.map(|(n, what)| format!("{} {what}", figures::count(n)))
        .collect()
}

/// What a faulty server said that it did wrong.
fn committed(faults: &[String]) -> Vec<String> {
    let told = faults.iter().take(FAULTS_SHOWN);
    let mut items: Vec<String> = told.cloned().collect();
    if faults.len() > FAULTS_SHOWN {
        let more = figures::count((faults.len() - FAULTS_SHOWN) as u64);
        items.push(format!("and {more} more"));
    }
    items
}

fn cpu(seconds: f64) -> String {
    format!("cpu {seconds:.2} s")
}
