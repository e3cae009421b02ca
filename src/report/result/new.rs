//! The result of a run that has just ended.

use hdrhistogram::Histogram;
use indexmap::IndexMap;

use super::{
    Counts, Generator, Group, GroupLatencies, Latency, Point, Process, Promised, Rates, Rooms,
    RunResult, SCHEMA, Scenario, Shard, Target, Threshold, Unread, Violations, Window,
};
use crate::driver::outcome::{Outcome, ProcessUse};
use crate::measure::drift::Drift;
use crate::measure::percentile::{min_samples, percentile};
use crate::measure::{self, Measured, TimelinePoint, histogram};
use crate::report::json::rfc3339;
use crate::report::thresholds::per_second;
use crate::report::verdict::Judgement;
use crate::report::{Environment, Verdict, groups};
use crate::scenario::plan::{AckPromise, Plan, Promises};
use crate::verify::findings::Findings;
use crate::verify::kind::Kind;

impl RunResult {
    /// The result of a run of `plan` that came to `outcome`, judged.
    pub(in crate::report) fn new(
        plan: &Plan,
        outcome: &Outcome,
        environment: Environment,
        judgement: Judgement,
        thresholds: Vec<Threshold>,
        notes: Vec<String>,
        drift: Option<Drift>,
    ) -> Self {
        let measured = &outcome.measured;
        let ran = outcome.error.is_none();
        Self {
            schema: SCHEMA,
            chatbench: env!("CARGO_PKG_VERSION").to_owned(),
            started: rfc3339(outcome.started),
            elapsed_ns: u64::try_from(outcome.elapsed.as_nanos()).unwrap_or(u64::MAX),
            scenario: Scenario {
                name: plan.name.clone(),
                description: plan.description.clone(),
                seed: plan.seed,
                resolved: plan.resolved.clone(),
            },
            target: Target {
                url: outcome.target_url.clone(),
                embedded: outcome.embedded,
                faults: outcome.faults.clone(),
            },
            environment,
            verdict: judgement.verdict.name().to_owned(),
            exit_code: judgement.verdict.exit_code(),
            reasons: judgement.reasons,
            notes,
            rerun: rerun(&plan.name, plan.seed),
            error: outcome.error.as_ref().map(|error| error.what.clone()),
            judged: Some(Promised::new(&plan.promises)),
            counts: ran.then_some(Counts {
                clients: outcome.clients,
                connected: outcome.connected,
                verified: outcome.findings.counts,
            }),
            violations: judgement.violations,
            coverage: ran.then_some(outcome.findings.coverage),
            window: Window::new(measured),
            latency_ns: latencies(&plan.promises, outcome),
            groups: groups(plan, measured),
            rooms: ran.then(|| Rooms::new(plan, outcome)).flatten(),
            rates: Rates::new(measured),
            generator: Generator::new(outcome),
            server: outcome.server.as_ref().map(Process::new),
            thresholds,
            drift,
            timeline: measured.timeline.iter().map(Point::new).collect(),
        }
    }
}

/// `chatbench run NAME.toml --seed N`, the name quoted for a shell where it needs to be.
fn rerun(name: &str, seed: u64) -> String {
    let safe = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    let file = if name.chars().all(safe) {
        format!("{name}.toml")
    } else {
        format!("'{}.toml'", name.replace('\'', r"'\''"))
    };
    format!("chatbench run {file} --seed {seed}")
}

impl Promised {
    /// The promises of a scenario.
    pub(in crate::report) fn new(promises: &Promises) -> Self {
        let by = if promises.use_seq {
            "numbers"
        } else {
            "outside"
        };
        Self {
            by: by.to_owned(),
            ack: promises.ack.word().to_owned(),
            relay: promises.relay.word().to_owned(),
            order: promises.order.word().to_owned(),
            echo: promises.echo,
        }
    }
}

impl Violations {
    /// The violations of each kind that occurred; late relays count as `late`.
    pub(in crate::report) fn all(findings: &Findings, late: Verdict) -> Vec<Self> {
        let kinds = findings.violations.iter();
        let kinds = kinds.filter(|(_, tally)| tally.count > 0);
        kinds
            .map(|(kind, tally)| {
                let counts_as = match kind {
                    Kind::LateRelay => late,
                    _ => Verdict::Fail,
                };
                Self {
                    kind: kind.name().to_owned(),
                    rule: kind.rule().to_owned(),
                    counts_as: counts_as.name().to_owned(),
                    count: tally.count,
                    examples: tally.examples.clone(),
                }
            })
            .collect()
    }
}

impl Window {
    fn new(measured: &Measured) -> Self {
        // A run that was cut short before it measured anything has no such phase.
        let window = Some(measured.window).filter(|window| window.length_ns() > 0);
        Self {
            start_ns: window.map(|window| window.start_ns),
            end_ns: window.map(|window| window.end_ns),
            offered: measured.offered,
            counts: measured.counts,
            saturated_latencies: measured.saturated,
            due_and_sent: measured.due_and_sent,
            unsent: measured.unsent,
        }
    }
}

/// The latencies of all clients, by class.
fn latencies(promises: &Promises, outcome: &Outcome) -> IndexMap<String, Latency> {
    let measured = &outcome.measured;
    let censored = &measured.censored;
    let counts = &outcome.findings.counts;
    let without = |samples| measured.due_and_sent.saturating_sub(samples);
    let no_acks = match promises.ack {
        AckPromise::None => 0,
        AckPromise::ExactlyOnce | AckPromise::Echo => without(measured.ack.len()),
    };
    let no_relays = counts.lost + counts.unresolved.max(censored.relay.len());
    // Alone, a client has nobody to send to; nor has the only member of a room.
    let nobody = match outcome.clients {
        0 | 1 => 0,
        _ => without(measured.last_relay.len() + measured.to_nobody),
    };
    let messages = measured.last_relay.len();
    // Each sample is of a message of its own, but for deliveries.
    let each = |came: &Histogram<u64>, missing| Latency::new(came, came.len(), Some(missing));
    let relays = |came| Latency::new(came, messages, Some(no_relays));
    let classes = [
        ("ack", each(&measured.ack, no_acks).with(&censored.ack)),
        ("relay", relays(&measured.relay).with(&censored.relay)),
        (
            "last_relay",
            each(&measured.last_relay, nobody).with(&censored.last_relay),
        ),
        ("spread", each(&measured.spread, 0).with(&censored.spread)),
        ("send_lag", each(&measured.send_lag, measured.unsent)),
        ("connect", each(&measured.connect, 0)),
        ("ack_service", each(&measured.ack_service, no_acks)),
        ("relay_service", relays(&measured.relay_service)),
    ];
    let classes = classes.into_iter();
    classes
        .map(|(class, latency)| (class.to_owned(), latency))
        .collect()
}

/// The latencies of each group of clients.
fn groups(plan: &Plan, measured: &Measured) -> Vec<Group> {
    let messages = measured.last_relay.len();
    let nothing = histogram();
    let latency = |came: Option<&Histogram<u64>>, at_least: Option<&Histogram<u64>>, messages| {
        if came.is_none() && at_least.is_none() {
            return None;
        }
        let came = came.unwrap_or(&nothing);
        let messages = Option::unwrap_or(messages, came.len());
        Some(Latency::new(came, messages, None).with(at_least.unwrap_or(&nothing)))
    };
    let groups = groups::of(plan).into_iter().enumerate();
    groups
        .map(|(place, groups::Group { name, clients })| {
            type Share = fn(&measure::GroupLatencies) -> Option<&Histogram<u64>>;
            let of = |share: Share, messages| {
                let came = measured.groups.get(place).and_then(share);
                let at_least = measured.censored.groups.get(place).and_then(share);
                latency(came, at_least, messages)
            };
            let latency_ns = GroupLatencies {
                ack: of(|group| group.ack.as_ref(), None),
                relay: of(|group| group.relay.as_ref(), Some(messages)),
            };
            Group {
                name,
                clients,
                latency_ns,
            }
        })
        .collect()
}

impl Rates {
    fn new(measured: &Measured) -> Self {
        let counts = &measured.counts;
        let rate = |events| per_second(events, measured);
        Self {
            offered: measured.offered.and_then(rate),
            sent: rate(counts.sent),
            acked: rate(counts.acked),
            delivered: rate(counts.delivered),
            bytes_in: rate(counts.bytes_in),
            bytes_out: rate(counts.bytes_out),
        }
    }
}

impl Generator {
    fn new(outcome: &Outcome) -> Self {
        let measured = &outcome.measured;
        let health = &outcome.health;
        let unread = &measured.unread_bytes;
        let Process {
            cpu_s,
            max_rss_bytes,
        } = Process::new(&outcome.generator);
        let shards = health.shards.iter().map(|load| Shard {
            cpu_s: load.cpu_ns as f64 / 1e9,
            busy: load.busy(),
            waited: load.waited(),
        });
        Self {
            cpu_s,
            max_rss_bytes,
            saturated: health.is_saturated(),
            behind: health.behind,
            longest_pause_ns: health.longest_pause_ns,
            heartbeat_ns: Some(Latency::new(
                &measured.heartbeat,
                measured.heartbeat.len(),
                Some(0),
            )),
            unread_bytes: Unread {
                count: unread.len(),
                p50: percentile(unread, 50.0),
                p99: percentile(unread, 99.0),
                max: percentile(unread, 100.0),
            },
            shards: shards.collect(),
            doubts: health.doubts.clone(),
        }
    }
}

impl Process {
    fn new(used: &ProcessUse) -> Self {
        Self {
            cpu_s: used.cpu.as_secs_f64(),
            max_rss_bytes: used.max_rss_bytes,
        }
    }
}

impl Point {
    fn new(point: &TimelinePoint) -> Self {
        let carried = |percentile, ns| (point.delivered >= min_samples(percentile)).then_some(ns);
        Self {
            t_ns: point.t_ns,
            sent: point.sent,
            acked: point.acked,
            delivered: point.delivered,
            clients: point.clients,
            relay_p50_ns: carried(50.0, point.relay_p50_ns),
            relay_p99_ns: carried(99.0, point.relay_p99_ns),
            relay_max_ns: carried(100.0, point.relay_max_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_to_run_again_survives_a_shell() {
        let table = [
            ("fanout", "chatbench run fanout.toml --seed 7"),
            ("two words", "chatbench run 'two words.toml' --seed 7"),
            ("it's", r"chatbench run 'it'\''s.toml' --seed 7"),
            ("$(reboot)", "chatbench run '$(reboot).toml' --seed 7"),
        ];
        for (name, command) in table {
            assert_eq!(super::rerun(name, 7), command);
        }
    }
}
