//! The generator in words: where it determined the figures, by how much, and what to do about it.

use super::figures;
use super::result::{self, Shard};
use crate::driver::outcome::Outcome;
use crate::measure::health::{Doubt, Health, NOTED_OWN_NS, OCCUPIED_SHARE, PAUSE_NS, own_ns};
use crate::scenario::plan::{Comparison, Metric, Stat, Threshold};

/// The share of the time from which on waiting for a core is the cause of lateness.
const WAITED_SHARE: f64 = 0.1;

/// Reasons why the run says more about the generator than about the target; empty if it does not.
pub(super) fn reasons(health: &Health, cpus: usize) -> Vec<String> {
    let mut reasons = Vec::new();
    if health.fell_behind() {
        reasons.push(format!(
            "the generator, not the target, set the rate: {} of {} messages that were due were \
             never sent; {}",
            figures::count(
                health
                    .behind
                    .max(health.unsent.saturating_sub(health.cut_off))
            ),
            figures::count(health.offered),
            cure(health, cpus),
        ));
    }
    if let Some(doubt) = health.worst_doubt() {
        reasons.push(format!(
            "the generator, not the target, set these figures: {} may be its own lateness{}; {}",
            of_which(doubt),
            pause(health),
            cure(health, cpus),
        ));
    }
    reasons
}

/// Notes on the generator that are worth knowing though they void nothing.
pub(super) fn notes(health: &Health, cpus: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if health.worst_doubt().is_none() {
        // Of each latency only the lowest percentile is named: those above it follow.
        let first = |metric| health.doubts.iter().find(|d| d.metric == metric);
        let doubts: Vec<_> = [first("ack"), first("relay")]
            .into_iter()
            .flatten()
            .map(of_which)
            .collect();
        if !doubts.is_empty() {
            notes.push(format!(
                "{} may be the generator's own lateness{}",
                doubts.join(" and "),
                pause(health)
            ));
        } else if health.longest_pause_ns >= PAUSE_NS {
            notes.push(format!(
                "the generator stood still for {}: the largest latencies may be its own",
                figures::latency(health.longest_pause_ns)
            ));
        }
    }
    if health.occupied() >= OCCUPIED_SHARE && !health.is_saturated() {
        notes.push(format!(
            "a shard of the generator was never idle ({}): how fast it goes is as much the \
             generator's doing as the target's; {}",
            occupied(health),
            cure(health, cpus),
        ));
    }
    if health.cut_off > 0 {
        notes.push(format!(
            "{} of the messages that were never sent were due from clients without a connection",
            figures::count(health.cut_off),
        ));
    }
    notes
}

/// The busiest shard's shares of time: running, and waiting for a core.
fn occupied(health: &Health) -> String {
    in_words(health.shards.iter().map(|s| (s.busy(), s.waited())))
}

/// The same of the shards of a result.
pub(super) fn occupied_of(shards: &[Shard]) -> String {
    in_words(shards.iter().map(|shard| (shard.busy, shard.waited)))
}

/// The shares of its time in which the busiest of some shards ran, and waited for a core.
fn in_words(shards: impl Iterator<Item = (f64, f64)>) -> String {
    let busiest = shards.max_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)));
    let Some((busy, waited)) = busiest else {
        return "busy 0 %".to_owned();
    };
    let never_idle = busy + waited >= OCCUPIED_SHARE && waited >= 0.005;
    let busy = format!("busy {}", figures::share(busy));
    if waited < WAITED_SHARE && !never_idle {
        return busy;
    }
    format!("{busy}, waiting for a core {}", figures::share(waited))
}

/// The generator's state in a word or two, by whether it is saturated, and the share of the time
/// that it had something to do.
pub(super) fn state_of(saturated: bool, occupied: f64) -> &'static str {
    if saturated {
        "SATURATED"
    } else if occupied >= OCCUPIED_SHARE {
        "never idle"
    } else {
        "not saturated"
    }
}

/// The reason why a crossed threshold cannot be held against the target, if there is one: the words
/// after the figure.
pub(super) fn excuse(
    threshold: &Threshold,
    judged: &result::Threshold,
    outcome: &Outcome,
) -> Option<String> {
    let crossed = judged.ok == Some(false);
    let observed = judged.observed.as_ref().filter(|_| crossed)?.as_f64()?;
    let upper = matches!(threshold.op, Comparison::Less | Comparison::LessOrEqual);
    match threshold.metric {
        Metric::Ack | Metric::Relay | Metric::LastRelay | Metric::Rooms if upper => {
            let measured = &outcome.measured;
            // Bytes in a socket came late by as long as the generator stood still.
            let paused_ns = match judged.at_least {
                true => outcome.health.longest_pause_ns as f64,
                false => 0.0,
            };
            let own: f64 = match threshold.stat {
                Stat::Percentile(p) => own_ns(measured, p) as f64,
                Stat::Max => own_ns(measured, 100.0) as f64,
                Stat::Mean => measured.send_lag.mean() + measured.heartbeat.mean(),
                _ => return None,
            };
            let own = own.max(paused_ns);
            (own >= NOTED_OWN_NS as f64 && observed - own < threshold.limit).then(|| {
                format!(
                    "of which up to {} may be the generator's own lateness",
                    figures::latency(own.min(observed) as u64),
                )
            })
        }
        Metric::Rates if !upper && outcome.health.occupied() >= OCCUPIED_SHARE => Some(format!(
            "with a shard of the generator never idle ({})",
            occupied(&outcome.health),
        )),
        _ => None,
    }
}

fn of_which(doubt: &Doubt) -> String {
    format!(
        "up to {} of {} p{} ({})",
        figures::latency(doubt.own_ns),
        doubt.metric,
        doubt.percentile,
        figures::latency(doubt.figure_ns),
    )
}

fn pause(health: &Health) -> String {
    if health.longest_pause_ns < PAUSE_NS {
        return String::new();
    }
    let pause = figures::latency(health.longest_pause_ns);
    format!(" (it stood still for {pause})")
}

/// The way to raise the limit, by what the limit was.
fn cure(health: &Health, cpus: usize) -> String {
    let (busiest, waited) = (health.busiest(), health.longest_wait());
    if waited >= WAITED_SHARE {
        return format!(
            "its threads waited {} of the time for a core: free some, or drive the target from \
             another machine",
            figures::share(waited)
        );
    }
    let shards = health.shards.len();
    if busiest >= OCCUPIED_SHARE && shards < cpus {
        return format!(
            "give it more threads, --set run.shards={}, or lower the load",
            (shards * 2).min(cpus)
        );
    }
    if busiest < OCCUPIED_SHARE && health.longest_pause_ns >= PAUSE_NS {
        return "something stopped it, since it was not busy: run again, undisturbed".to_owned();
    }
    "lower the rate, or give it more cores".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::health::ShardLoad;
    use crate::report::sample;
    use crate::report::thresholds::judge;
    use crate::scenario::plan::RateName;

    fn load(busy: u64, waited: u64) -> ShardLoad {
        ShardLoad {
            wall_ns: 100,
            cpu_ns: busy,
            waited_ns: waited,
        }
    }

    fn doubt(percentile: f64, own_ms: u64) -> Doubt {
        Doubt {
            metric: "ack".into(),
            percentile,
            figure_ns: own_ms * 1_100_000,
            own_ns: own_ms * 1_000_000,
        }
    }

    #[test]
    fn a_saturated_generator_says_why_and_what_to_do() {
        let behind = Health {
            offered: 10_000,
            behind: 700,
            shards: vec![load(99, 0)],
            ..Health::default()
        };
        let stopped = Health {
            doubts: vec![doubt(99.0, 180)],
            longest_pause_ns: 203_000_000,
            shards: vec![load(5, 0)],
            ..Health::default()
        };
        let starved = Health {
            doubts: vec![doubt(50.0, 60)],
            shards: vec![load(40, 45)],
            ..Health::default()
        };
        let table = [
            (
                &behind,
                4,
                "set the rate: 700 of 10 000 messages that were due were never sent; give \
                          it more threads, --set run.shards=2, or lower the load",
            ),
            (&behind, 1, "lower the rate, or give it more cores"),
            (
                &stopped,
                2,
                "up to 180 ms of ack p99 (198 ms) may be its own lateness (it stood still for 203 ms); something stopped it",
            ),
            (
                &starved,
                2,
                "its threads waited 45 % of the time for a core",
            ),
        ];
        for (health, cpus, said) in table {
            assert!(health.is_saturated());
            let reasons = reasons(health, cpus);
            assert!(
                reasons.len() == 1 && reasons[0].contains(said),
                "{reasons:#?}"
            );
            assert!(reasons[0].starts_with("the generator, not the target, set the"));
        }
    }

    #[test]
    fn a_healthy_generator_says_nothing() {
        let outcome = sample::outcome();
        assert_eq!(reasons(&outcome.health, 2), Vec::<String>::new());
        assert_eq!(notes(&outcome.health, 2), Vec::<String>::new());
    }

    #[test]
    fn what_voids_nothing_is_noted_once() {
        let tail = Health {
            doubts: vec![doubt(99.9, 30), doubt(99.99, 30)],
            ..Health::default()
        };
        let paused = Health {
            longest_pause_ns: 150_000_000,
            ..Health::default()
        };
        let busy = Health {
            shards: vec![load(10, 0), load(97, 0)],
            ..Health::default()
        };
        let table = [
            (
                &tail,
                "up to 30.0 ms of ack p99.9 (33.0 ms) may be the generator's",
            ),
            (&paused, "stood still for 150 ms"),
            (&busy, "never idle (busy 97 %)"),
        ];
        for (health, said) in table {
            let notes = notes(health, 2);
            assert!(notes.len() == 1 && notes[0].contains(said), "{notes:#?}");
        }
    }

    fn excused(
        metric: Metric,
        stat: Stat,
        op: Comparison,
        limit: f64,
        change: impl FnOnce(&mut Outcome),
    ) -> bool {
        let mut outcome = sample::outcome();
        change(&mut outcome);
        let threshold = Threshold {
            metric,
            group: None,
            stat,
            op,
            limit,
            expr: "as written".to_owned(),
        };
        let judged = judge(&threshold, &outcome.measured, 0);
        excuse(&threshold, &judged, &outcome).is_some()
    }

    #[test]
    fn a_crossed_threshold_is_excused_where_the_generator_explains_it() {
        use Comparison::{GreaterOrEqual, Less};
        const MS: f64 = 1e6;
        // 5,000 beats, all 5 ms late; relay p99 is 1.95 ms in the sample.
        let late = |o: &mut Outcome| {
            o.measured.heartbeat.reset();
            o.measured.heartbeat.record_n(5_000_000, 5_000).unwrap();
        };
        let busy = |o: &mut Outcome| o.health.shards = vec![load(97, 0)];
        let healthy = |_: &mut Outcome| ();
        let p99 = Stat::Percentile(99.0);
        let rate = Stat::Rate(RateName::Delivered);
        assert!(excused(Metric::Relay, p99, Less, MS, late));
        assert!(excused(Metric::Relay, Stat::Max, Less, MS, late));
        assert!(excused(Metric::Ack, Stat::Mean, Less, 0.1 * MS, late));
        assert!(
            !excused(Metric::Relay, p99, Less, MS, healthy),
            "it is the target's"
        );
        assert!(
            !excused(Metric::Relay, p99, Less, 50.0 * MS, late),
            "it holds"
        );
        assert!(
            !excused(Metric::Relay, p99, GreaterOrEqual, 50.0 * MS, late),
            "too fast"
        );
        assert!(
            !excused(Metric::SendLag, p99, Less, 1.0, late),
            "that is the generator's"
        );
        assert!(excused(Metric::Rates, rate, GreaterOrEqual, 1e9, busy));
        assert!(!excused(Metric::Rates, rate, GreaterOrEqual, 1e9, healthy));
    }
}
