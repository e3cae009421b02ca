//! The lines beneath the latencies, one label each: throughput, connecting, the processes,
//! coverage.

use super::Page;
use crate::report::result::{Latency, RunResult};
use crate::report::{figures, generator};
use crate::verify::findings::Coverage;

/// Faults shown of those that the embedded server was told to commit; the JSON result has more.
const FAULTS_SHOWN: usize = 5;

impl Page {
    /// Writes rates, connections, processes, and coverage.
    pub(super) fn figures(&mut self, result: &RunResult) {
        self.labelled("throughput", throughput(result));
        self.labelled("connecting", connecting(result));
        if let Some(server) = &result.server {
            let mut items = vec![cpu(server.cpu_s)];
            if let Some(each_ns) = result.server_cpu_per_delivery() {
                let each = figures::latency(each_ns.round() as u64);
                items.push(format!("{each} per delivery"));
            }
            items.push(rss(server.max_rss_bytes));
            self.labelled("server", items);
        }
        self.committed(result);
        let generator = &result.generator;
        let p99 = |latency: Option<&Latency>| {
            figures::known(latency.and_then(|l| l.p99), figures::latency)
        };
        self.labelled(
            "generator",
            [
                cpu(generator.cpu_s),
                rss(generator.max_rss_bytes),
                format!("send lag p99 {}", p99(result.latency_ns.get("send_lag"))),
                format!("wake-up p99 {}", p99(generator.heartbeat_ns.as_ref())),
                generator::occupied_of(&generator.shards),
                generator.state().to_owned(),
            ],
        );
        let exercised = result.coverage.as_ref().map(exercised);
        if let Some(exercised) = exercised.filter(|exercised| !exercised.is_empty()) {
            self.labelled("exercised", exercised);
        }
        if let Some(judged) = result.judged.as_ref().filter(|judged| judged.is_inferred()) {
            self.labelled("judged", judged.in_words());
        }
        let saturated = result.window.saturated_latencies;
        if saturated > 0 {
            let n = figures::count(saturated);
            self.labelled(
                "beyond",
                [format!("{n} latencies over an hour, shown as one hour")],
            );
        }
    }

    /// Writes what a faulty server says that it did.
    pub(super) fn committed(&mut self, result: &RunResult) {
        if !result.target.faults.is_empty() {
            self.labelled("committed", committed(&result.target.faults));
        }
    }
}

fn throughput(result: &RunResult) -> Vec<String> {
    let (window, rates) = (&result.window, &result.rates);
    let shown = |what: &str, rate| format!("{what} {}", figures::known(rate, figures::rate));
    let mut items = Vec::new();
    if window.offered.is_some() {
        items.push(shown("offered", rates.offered));
    }
    items.push(shown("sent", rates.sent));
    let held = window.counts.held_by_target;
    if held > 0 {
        let held = figures::count(held);
        items.push(format!("{held} held by the target"));
    }
    items.push(shown("delivered", rates.delivered));
    for (what, rate) in [("in", rates.bytes_in), ("out", rates.bytes_out)] {
        items.push(format!("{what} {}", figures::known(rate, figures::volume)));
    }
    items
}

fn connecting(result: &RunResult) -> Vec<String> {
    let mut items = Vec::new();
    if let Some(counts) = &result.counts {
        items.push(format!(
            "{} of {} clients",
            figures::count(counts.connected),
            figures::count(counts.clients)
        ));
        let sessions = counts.verified.sessions;
        if sessions > counts.connected {
            items.push(format!("{} sessions", figures::count(sessions)));
        }
    }
    if let Some(connect) = result.latency_ns.get("connect") {
        items.push(format!(
            "p50 {}",
            figures::known(connect.p50, figures::latency)
        ));
        items.push(format!(
            "max {}",
            figures::known(connect.max, figures::latency)
        ));
    }
    items
}

/// The counts of what was really exercised, in words.
pub(in crate::report) fn exercised(of: &Coverage) -> Vec<String> {
    let some = coverage(of).into_iter().filter(|(n, _)| *n > 0);
    some.map(|(n, what)| format!("{} {what}", figures::count(n)))
        .collect()
}

/// Everything that a run may exercise, with how often it did.
pub(in crate::report) fn coverage(of: &Coverage) -> [(u64, &'static str); 7] {
    [
        (of.overlapping_sends, "overlapping sends"),
        (of.joins_during_traffic, "joins during traffic"),
        (of.polite_leaves, "polite leaves"),
        (of.aborts, "aborts"),
        (of.split_frames, "split frames"),
        (of.joined_frames, "joined frames"),
        (of.fences_seen, "ends proved"),
    ]
}

/// The faults that a faulty server said that it committed.
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

fn rss(bytes: u64) -> String {
    format!("rss {}", figures::bytes(bytes as f64))
}
