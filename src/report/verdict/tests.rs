//! Which verdict a run comes to, and what is said of it.

use std::time::Duration;

use super::*;
use crate::driver::outcome::Interruption;
use crate::driver::snapshot::Phase;
use crate::report::sample;
use crate::scenario::plan::{AckPromise, LateCounts, Leave, Load, Repeat, Stat, Step};
use crate::verify::kind::Kind;

fn verdict_of(change: impl FnOnce(&mut Plan, &mut Outcome)) -> (Verdict, Vec<String>) {
    let (mut plan, mut outcome) = (sample::plan(), sample::outcome());
    change(&mut plan, &mut outcome);
    let report = crate::report::Report::new(&plan, outcome);
    (report.verdict, report.result.reasons)
}

/// A script that waits to be turned away.
fn turned_away() -> Load {
    let code = "server-full".to_owned();
    let within = Duration::from_secs(1);
    Load::Script {
        steps: [Step::Connect, Step::ExpectError { code, within }].into(),
        repeat: Repeat::Times(1),
    }
}

fn violate(outcome: &mut Outcome) {
    outcome.findings.violation(Kind::LostRelay, sample::example);
}

#[test]
fn a_run_that_saw_it_all_and_found_nothing_passes_without_a_reason() {
    assert_eq!(verdict_of(|_, _| ()), (Verdict::Pass, vec![]));
}

#[test]
fn of_several_verdicts_the_weightiest_counts() {
    // Each row adds one reason to those above it.
    let table: [(Verdict, sample::Change); 4] = [
        (Verdict::Threshold, |plan, _| plan.thresholds[0].limit = 1.0),
        (Verdict::Inconclusive, |_, o| {
            o.inconclusive.push("target gone".into());
        }),
        (Verdict::Fail, |_, o| violate(o)),
        (Verdict::Interrupted, |_, o| {
            o.interrupted = Some(Interruption {
                signal: "Ctrl-C",
                phase: Phase::Measure,
                at_once: false,
            });
        }),
    ];
    for rows in 1..=table.len() {
        let (verdict, reasons) = verdict_of(|plan, outcome| {
            table[..rows]
                .iter()
                .for_each(|(_, change)| change(plan, outcome));
        });
        assert_eq!(verdict, table[rows - 1].0);
        assert_eq!(reasons.len(), rows, "{reasons:?}");
    }
    let codes = Verdict::ALL.map(Verdict::exit_code);
    assert_eq!(codes, [0, 99, 3, 1, 130]);
    assert!(Verdict::ALL.is_sorted());
}

#[test]
fn relays_late_by_the_clock_of_a_generator_without_time_accuse_nobody() {
    let late: sample::Change = |plan, o| {
        plan.promises.late_after = Some(Duration::from_secs(2));
        o.findings.violation(Kind::LateRelay, sample::example);
    };
    let never_idle: sample::Change = |_, o| o.health.shards[0].waited_ns = 9_500_000_000;
    let paused: sample::Change = |_, o| o.health.longest_pause_ns = 2_000_000_000;
    let hardly_paused: sample::Change = |_, o| o.health.longest_pause_ns = 1_900_000_000;
    let lost: sample::Change = |_, o| violate(o);
    let judged = |changes: &[sample::Change]| {
        verdict_of(|plan, outcome| changes.iter().for_each(|change| change(plan, outcome)))
    };
    let (verdict, reasons) = judged(&[late]);
    assert_eq!((verdict, reasons.len()), (Verdict::Fail, 1), "{reasons:?}");
    for busy in [never_idle, paused] {
        let (verdict, reasons) = judged(&[late, busy]);
        assert_eq!(verdict, Verdict::Inconclusive, "{reasons:?}");
        assert!(
            reasons[0].starts_with("late relays (1) cannot be held"),
            "{reasons:?}"
        );
    }
    let (verdict, reasons) = judged(&[late, hardly_paused]);
    assert_eq!(verdict, Verdict::Fail, "{reasons:?}");
    let (verdict, reasons) = judged(&[late, never_idle, lost]);
    assert_eq!(verdict, Verdict::Fail);
    assert!(reasons[0].contains("1 late-relay"), "{reasons:?}");
}

fn max(plan: &mut Plan, limit_s: f64) {
    plan.thresholds.truncate(1);
    plan.thresholds[0].stat = Stat::Max;
    plan.thresholds[0].limit = limit_s * 1e9;
    plan.thresholds[0].expr = format!("max < {limit_s}s");
}

/// The target hung, with a limit on how late a relay may be.
fn hung(limit_s: f64, outcome: &mut Outcome, plan: &mut Plan) {
    sample::hang(plan, outcome);
    max(plan, limit_s);
}

#[test]
fn a_target_that_hangs_for_good_crosses_what_its_silence_reaches() {
    let (verdict, reasons) = verdict_of(|plan, o| hung(1.0, o, plan));
    assert_eq!(verdict, Verdict::Threshold);
    assert_eq!(
        reasons,
        [
            "relay max < 1s: it was at least 10.0 s",
            "the target was silent since 6.0 s into the run, for 11.0 s, to the end: 104 \
             clients had not got to their end when the drain's 5 s were over, with 100 \
             deliveries outstanding"
        ]
    );
    // What it does not reach stays open, and is no reason of its own.
    let (verdict, reasons) = verdict_of(|plan, o| hung(60.0, o, plan));
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(
        reasons[0].starts_with("the target was silent since"),
        "{reasons:?}"
    );
    assert!(
        reasons[1].starts_with("relay max < 60s cannot be judged: it was at least 10.0 s"),
        "{reasons:?}"
    );
    // Nor does it outweigh what was proved, or undo a doubt.
    let (verdict, _) = verdict_of(|plan, o| {
        hung(1.0, o, plan);
        o.findings.violation(Kind::LateRelay, sample::example);
    });
    assert_eq!(verdict, Verdict::Fail);
    let (verdict, _) = verdict_of(|plan, o| {
        hung(1.0, o, plan);
        o.inconclusive.push("target gone".into());
    });
    assert_eq!(verdict, Verdict::Inconclusive);
    // A generator that stood still for as long may have been the reason.
    let (verdict, reasons) = verdict_of(|plan, o| {
        hung(1.0, o, plan);
        o.health.longest_pause_ns = 9_500_000_000;
    });
    assert_eq!(verdict, Verdict::Inconclusive, "{reasons:?}");
}

#[test]
fn who_waits_for_nothing_does_not_call_the_target_silent() {
    let (_, reasons) = verdict_of(|plan, o| {
        sample::hang(plan, o);
        o.measured.censored = Default::default();
        o.findings.outstanding.clear();
        o.unfinished.as_mut().unwrap().unanswered = 0;
    });
    assert_eq!(
        reasons,
        [
            "104 clients had not got to their end when the drain's 5 s were over; give run.drain \
          more time"
        ]
    );
}

#[test]
fn late_relays_count_as_what_the_scenario_says() {
    let late: sample::Change = |plan, o| {
        plan.promises.late_after = Some(Duration::from_secs(2));
        o.findings.violation(Kind::LateRelay, sample::example);
    };
    let (verdict, _) = verdict_of(late);
    assert_eq!(verdict, Verdict::Fail);
    let as_threshold = |more: sample::Change| {
        verdict_of(|plan, o| {
            late(plan, o);
            plan.late = LateCounts::AsThreshold;
            more(plan, o);
        })
    };
    let (verdict, reasons) = as_threshold(|_, _| ());
    assert_eq!(verdict, Verdict::Threshold);
    assert_eq!(
        reasons,
        ["1 relay came later than verify.late_after allows, 2 s"]
    );
    let (verdict, reasons) = as_threshold(|_, o| violate(o));
    assert_eq!(verdict, Verdict::Fail);
    assert_eq!(reasons[0], "1 violation: 1 lost-relay");
    let busy: sample::Change = |_, o| o.health.shards[0].waited_ns = 9_500_000_000;
    let (verdict, reasons) = as_threshold(busy);
    assert_eq!(verdict, Verdict::Inconclusive, "{reasons:?}");
}

#[test]
fn who_asks_nothing_of_a_target_has_verified_nothing() {
    let (verdict, reasons) = verdict_of(|plan, o| {
        plan.groups.remove(0);
        plan.thresholds.clear();
        o.findings.counts.sent = 0;
    });
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(
        reasons[0].contains("there was nothing to verify"),
        "{reasons:?}"
    );
    // Without an ack nothing is known of acks.
    let (verdict, reasons) = verdict_of(|_, o| o.findings.counts.acked = 0);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(
        reasons[0].starts_with("not one ack was seen"),
        "{reasons:?}"
    );
    let (verdict, _) = verdict_of(|plan, o| {
        plan.promises.ack = AckPromise::None;
        o.findings.counts.acked = 0;
    });
    assert_eq!(verdict, Verdict::Pass);
    // An error that a script waits for, and never got to.
    let expects = |o: &mut Outcome, plan: &mut Plan| {
        plan.groups[1].load = Load::Script {
            steps: [Step::ExpectError {
                code: "malformed".to_owned(),
                within: Duration::from_secs(1),
            }]
            .into(),
            repeat: Repeat::Times(1),
        };
        o.findings.counts.errors_received = 0;
    };
    let (verdict, reasons) = verdict_of(|plan, o| expects(o, plan));
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reasons[0].contains("to be told of an error"), "{reasons:?}");
    let (verdict, _) = verdict_of(|plan, o| {
        expects(o, plan);
        o.findings.counts.errors_received = 1;
    });
    assert_eq!(verdict, Verdict::Pass);
}

#[test]
fn what_a_run_did_not_see_it_cannot_pass() {
    let table: [(&str, sample::Change); 9] = [
        ("4 of 104 clients were never welcomed", |_, o| {
            o.connected = 100;
        }),
        ("nothing was sent", |_, o| o.findings.counts.sent = 0),
        ("not one delivery was seen", |_, o| {
            o.findings.counts.delivered = 0;
        }),
        ("nothing was sent", |plan, o| {
            plan.groups[1].load = turned_away();
            o.connected = 0;
            o.findings.counts = Default::default();
        }),
        ("not one delivery was seen", |plan, o| {
            plan.groups.truncate(1);
            plan.groups[0].count = 1;
            plan.run.observers = 0;
            plan.promises.echo = true;
            o.findings.counts.delivered = 0;
        }),
        ("the generator, not the target", |_, o| {
            o.health.offered = 5_000;
            o.health.behind = 51;
        }),
        (
            "relay p99 < 50ms cannot be judged: it was 60.0 ms, of which up to 20.1 ms",
            |_, o| {
                o.measured.relay.reset();
                o.measured.relay.record_n(59_999_999, 500).unwrap();
                o.measured.heartbeat.reset();
                o.measured.heartbeat.record_n(20_000_000, 500).unwrap();
            },
        ),
        ("no fence", |_, o| {
            o.findings.undecided.push("no fence".into());
        }),
        (
            "relay p99 < 50ms cannot be judged: 0 samples, it takes 368",
            |_, o| {
                o.measured.relay.reset();
            },
        ),
    ];
    for (reason, change) in table {
        let (verdict, reasons) = verdict_of(change);
        assert_eq!(verdict, Verdict::Inconclusive, "{reason}");
        assert!(
            reasons.len() == 1 && reasons[0].starts_with(reason),
            "{reasons:?}"
        );
    }
}

#[test]
fn what_a_script_never_got_to_was_not_verified() {
    let script = |steps: &[Step], repeat| Load::Script {
        steps: steps.into(),
        repeat,
    };
    let abort = [Step::Connect, Step::Disconnect(Leave::Abort)];
    let stay = [Step::Connect];
    let cases = [
        (
            "never abort",
            script(&abort, Repeat::Times(1)),
            Some("abort its connection"),
        ),
        (
            "never back",
            script(&stay, Repeat::Times(2)),
            Some("connect again"),
        ),
        ("nothing to miss", script(&stay, Repeat::Times(1)), None),
    ];
    for (case, load, said) in cases {
        let (verdict, reasons) = verdict_of(|plan, o| {
            plan.groups[1].load = load;
            o.findings.coverage.aborts = 0;
            o.findings.counts.sessions = o.clients;
        });
        let expected = if said.is_some() {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        };
        assert_eq!(verdict, expected, "{case}");
        assert!(
            said.is_none_or(|said| reasons[0].contains(said)),
            "{case}: {reasons:?}"
        );
    }
}

#[test]
fn where_nothing_was_to_be_seen_nothing_is_missed() {
    let table: [sample::Change; 4] = [
        // Listeners alone.
        |plan, o| {
            plan.groups.remove(0);
            o.findings.counts = Default::default();
        },
        // One talker with nobody to talk to.
        |plan, o| {
            plan.groups.truncate(1);
            plan.groups[0].count = 1;
            plan.run.observers = 0;
            o.findings.counts.delivered = 0;
        },
        // Some deliveries were optional, so some were seen.
        |_, o| {
            o.findings.counts.delivered = 0;
            o.findings.counts.optional = 1;
        },
        // Clients that are to be turned away.
        |plan, o| {
            plan.groups[1].load = turned_away();
            o.connected = 5;
        },
    ];
    for (row, change) in table.into_iter().enumerate() {
        assert_eq!(verdict_of(change), (Verdict::Pass, vec![]), "row {row}");
    }
}

#[test]
fn reasons_say_what_and_how_much() {
    let (_, reasons) = verdict_of(|plan, outcome| {
        violate(outcome);
        violate(outcome);
        plan.thresholds[0].limit = 1.0;
    });
    assert_eq!(
        reasons,
        [
            "2 violations: 2 lost-relay",
            "relay p99 < 50ms: it was 1.95 ms"
        ]
    );
}

#[test]
fn what_crossed_a_threshold_for_certain_is_not_softened_by_what_was_not_seen() {
    let cross: sample::Change = |plan, _| {
        plan.thresholds[0].limit = 1.0;
        plan.thresholds[0].expr = "p99 < 1ns".to_owned();
    };
    // Doubts of what was seen leave what was measured as it is.
    let seen: [(&str, sample::Change); 7] = [
        ("not one delivery was seen", |_, o| {
            o.findings.counts.delivered = 0;
        }),
        ("not one ack was seen", |_, o| o.findings.counts.acked = 0),
        ("no client of `listeners` got a message", |_, o| {
            o.measured.groups[1].relay = None;
        }),
        ("no fence", |_, o| {
            o.findings.undecided.push("no fence".into());
        }),
        ("2 sessions ended without a bye", |_, o| {
            o.findings.unfinished = 2;
        }),
        ("the target was silent", sample::hang),
        ("last_relay p99 < 80ms cannot be judged", |_, o| {
            o.measured.last_relay.reset();
        }),
    ];
    for (reason, change) in seen {
        let (verdict, reasons) = verdict_of(|plan, o| {
            cross(plan, o);
            change(plan, o);
        });
        assert_eq!(verdict, Verdict::Threshold, "{reasons:?}");
        assert!(reasons[0].starts_with("relay p99 < 1ns"), "{reasons:?}");
        assert!(reasons[1].starts_with(reason), "{reasons:?}");
        // Without the threshold they are what the run comes to.
        let (verdict, reasons) = verdict_of(change);
        assert_eq!(verdict, Verdict::Inconclusive, "{reasons:?}");
        assert!(reasons[0].starts_with(reason), "{reasons:?}");
    }
    // Doubts of the load are doubts of what was measured.
    let load: [(&str, sample::Change); 5] = [
        ("4 of 104 clients were never welcomed", |_, o| {
            o.connected = 100;
        }),
        ("nothing was sent", |_, o| o.findings.counts.sent = 0),
        ("no client of `talkers` sent a message", |_, o| {
            o.sent_by_group = vec![0, 0];
        }),
        ("the generator, not the target", |_, o| {
            o.health.offered = 5_000;
            o.health.behind = 51;
        }),
        ("target gone", |_, o| {
            o.inconclusive.push("target gone".into());
        }),
    ];
    for (reason, change) in load {
        let (verdict, reasons) = verdict_of(|plan, o| {
            cross(plan, o);
            change(plan, o);
        });
        assert_eq!(verdict, Verdict::Inconclusive, "{reasons:?}");
        assert!(reasons[0].starts_with(reason), "{reasons:?}");
    }
    // What is proved counts more than either.
    let (verdict, _) = verdict_of(|plan, o| {
        cross(plan, o);
        o.findings.counts.delivered = 0;
        violate(o);
    });
    assert_eq!(verdict, Verdict::Fail);
}

#[test]
fn a_group_that_did_not_do_its_part_is_named() {
    let another = |plan: &mut Plan, load: Load| {
        let mut group = plan.groups[0].clone();
        (group.name, group.load) = ("others".to_owned(), load);
        plan.groups.push(group);
    };
    let publishes = |steps: &[Step]| Load::Script {
        steps: steps.into(),
        repeat: Repeat::Times(1),
    };
    let publish = Step::Publish {
        count: 1,
        every: Duration::ZERO,
        room: None,
    };
    for load in [
        Load::Closed { in_flight: 1 },
        publishes(&[Step::Connect, publish]),
    ] {
        let (verdict, reasons) = verdict_of(|plan, _| another(plan, load.clone()));
        assert_eq!(verdict, Verdict::Inconclusive, "{load:?}");
        assert!(
            reasons[0].starts_with("no client of `others` sent a message"),
            "{reasons:?}"
        );
        let (verdict, _) = verdict_of(|plan, o| {
            another(plan, load.clone());
            o.sent_by_group.push(1);
        });
        assert_eq!(verdict, Verdict::Pass, "{load:?}");
    }
    let (verdict, reasons) = verdict_of(|plan, _| another(plan, Load::Listen));
    assert_eq!(verdict, Verdict::Inconclusive);
    assert_eq!(
        reasons,
        [
            "no client of `others` got a message of the measured phase, though others did: that they \
          get everything was not verified"
        ]
    );
    // Who does not publish, and is not there to listen, has its own reasons.
    let (verdict, _) = verdict_of(|plan, o| {
        another(plan, publishes(&[Step::Connect]));
        o.findings.counts.sessions = o.clients;
    });
    assert_eq!(verdict, Verdict::Pass);
    // Observers only listen.
    let (verdict, reasons) = verdict_of(|plan, _| plan.run.observers = 1);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reasons[0].contains("`observers`"), "{reasons:?}");
}
