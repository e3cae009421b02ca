//! The summary of each verdict, in full, and what must hold of all.

use console::measure_text_width;
use insta::assert_snapshot;

use super::*;
use crate::driver::outcome::{Interruption, Outcome};
use crate::driver::snapshot::Phase;
use crate::measure::{Collector, GroupLatencies, Window, histogram};
use crate::report::sample;
use crate::scenario::plan::{Group, Plan};
use crate::verify::findings::{Coverage, Example};
use crate::verify::kind::Kind;

const COLOUR: Style = Style {
    colour: true,
    ..Style::FILE
};
const ASCII: Style = Style {
    unicode: false,
    ..Style::FILE
};

fn lose(_: &mut Plan, outcome: &mut Outcome) {
    for i in 0..4 {
        outcome.findings.violation(Kind::LostRelay, || Example {
            at_ns: 4_211_000_000 + i * 1_000_000,
            ..sample::example()
        });
    }
    outcome
        .findings
        .violation(Kind::DuplicateRelay, || Example {
            text: "relayed twice".to_owned(),
            ..sample::example()
        });
    let counts = &mut outcome.findings.counts;
    (counts.delivered, counts.lost, counts.duplicated) = (514_996, 4, 1);
    // The generator stumbled as well, and the response times show it.
    outcome.measured.ack.record_n(3_000_000, 1_000).unwrap();
    outcome
        .measured
        .ack_service
        .record_n(400_000, 1_000)
        .unwrap();
}

fn silence(_: &mut Plan, outcome: &mut Outcome) {
    outcome.measured = Collector::new(Window::NEVER, 1).finish(None);
    outcome.findings = Default::default();
    outcome.connected = 0;
    outcome.server = None;
    outcome.inconclusive.push(
        "127.0.0.1:1253: connection refused; start the target, or \
         drop `url` to run against the embedded one"
            .to_owned(),
    );
}

fn interrupt(_: &mut Plan, outcome: &mut Outcome) {
    outcome.interrupted = Some(Interruption {
        signal: "Ctrl-C",
        phase: Phase::Measure,
        at_once: false,
    });
    outcome.measured.window.end_ns = outcome.measured.window.start_ns + 4_200_000_000;
}

fn cross(plan: &mut Plan, _: &mut Outcome) {
    plan.thresholds[0].limit = 1e6;
    plan.thresholds[0].expr = "p99 < 1ms".to_owned();
}

fn saturate(plan: &mut Plan, outcome: &mut Outcome) {
    outcome.health.offered = 5_000;
    outcome.health.behind = 700;
    outcome.measured.unsent = 700;
    outcome.measured.saturated = 3;
    outcome.measured.last_relay.reset();
    outcome.measured.last_relay.record_n(5_000, 100).unwrap();
    outcome.embedded = false;
    plan.name = "an-overload".to_owned();
}

/// All of the above: name, change.
const ALL: [(&str, sample::Change); 6] = [
    ("pass", |_, _| ()),
    ("fail", lose),
    ("threshold", cross),
    ("inconclusive", saturate),
    ("interrupted", interrupt),
    ("no-samples", silence),
];

#[test]
fn each_verdict_reads_as_expected() {
    for (name, change) in ALL {
        assert_snapshot!(
            name,
            render(&sample::report(change), Style::FILE, Detail::Full)
        );
    }
}

#[test]
fn colours_and_ascii_read_as_expected() {
    assert_snapshot!(
        "fail-in-colour",
        render(&sample::report(lose), COLOUR, Detail::Full)
    );
    assert_snapshot!(
        "fail-in-ascii",
        render(&sample::report(lose), ASCII, Detail::Full)
    );
    let wide = Style {
        width: 100,
        ..Style::FILE
    };
    assert_snapshot!(
        "pass-100-columns",
        render(&sample::report(|_, _| ()), wide, Detail::Full)
    );
}

#[test]
fn a_narrow_terminal_gets_whole_words_and_figures() {
    for width in 40..=80 {
        let style = Style {
            width,
            ..Style::FILE
        };
        for (name, change) in ALL {
            let text = render(&sample::report(change), style, Detail::Full);
            // A word that is too long for any line is not broken.
            for line in text.lines().filter(|line| line.trim().contains(' ')) {
                assert!(
                    measure_text_width(line) <= width,
                    "{name} at {width}: {line}"
                );
            }
            let words = text.split_whitespace().filter(|word| *word != "\\");
            let text = words.collect::<Vec<_>>().join(" ");
            assert!(!text.replace("… and", "").contains('…'), "{name}: {text}");
            if name == "pass" {
                for figure in ["867 µs", "1.95 ms", "515 000"] {
                    assert!(text.contains(figure), "{figure} at {width}: {text}");
                }
            }
        }
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for (name, change) in ALL {
        let report = sample::report(change);
        for width in 60..=200 {
            let style = Style { width, ..COLOUR };
            for detail in [Detail::Brief, Detail::Full] {
                for line in render(&report, style, detail).lines() {
                    assert!(measure_text_width(line) <= width, "{name}: {line}");
                }
            }
        }
    }
}

#[test]
fn each_verdict_reads_as_expected_in_brief() {
    for (name, change) in ALL {
        let name = format!("brief-{name}");
        let report = sample::report(change);
        assert_snapshot!(name, render(&report, Style::FILE, Detail::Brief));
    }
    let rooms = sample::report(sample::rooms);
    assert_snapshot!("brief-rooms", render(&rooms, Style::FILE, Detail::Brief));
}

#[test]
fn a_pass_is_a_dozen_lines_whatever_there_is_to_say() {
    let change: sample::Change = |plan, outcome| {
        sample::rooms(plan, outcome);
        outcome.findings.violations.clear();
    };
    for width in 80..=200 {
        let style = Style {
            width,
            ..Style::FILE
        };
        let mut report = sample::report(change);
        for notes in 0..4 {
            assert_eq!(report.verdict, Verdict::Pass);
            let text = render(&report, style, Detail::Brief);
            assert!(text.lines().count() <= 12, "{text}");
            let counted = [
                "",
                "figures and a note on them",
                "figures and 2 notes",
                "and 3 notes",
            ];
            assert!(text.contains(counted[notes]), "{text}");
            let note = "a note, which takes more than one line, as most that there are do, ";
            report.result.notes.push(note.repeat(3));
        }
    }
}

#[test]
fn without_colour_there_is_no_escape_and_without_unicode_only_ascii() {
    for (name, change) in ALL {
        let report = sample::report(change);
        assert!(
            !render(&report, Style::FILE, Detail::Full).contains('\x1b'),
            "{name}"
        );
        let ascii = render(&report, ASCII, Detail::Full);
        assert!(
            ascii.is_ascii() && !ascii.contains("\\u{"),
            "{name}: {ascii}"
        );
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    for (name, change) in ALL {
        let report = sample::report(change);
        let plain = console::strip_ansi_codes(&render(&report, COLOUR, Detail::Full)).into_owned();
        assert_eq!(plain, render(&report, Style::FILE, Detail::Full), "{name}");
    }
}

/// The listeners are served two milliseconds later than the talkers.
fn tell_apart(_: &mut Plan, outcome: &mut Outcome) {
    let listeners = outcome.measured.groups[1].relay.as_mut().unwrap();
    let late = listeners.clone();
    listeners.reset();
    for step in late.iter_recorded() {
        let ns = step.value_iterated_to() + 2_000_000;
        listeners.record_n(ns, step.count_at_value()).unwrap();
    }
}

#[test]
fn groups_that_differ_have_a_line_each() {
    let rows = |report: &Report| -> Vec<String> {
        let text = render(report, Style::FILE, Detail::Full);
        let lines = text
            .lines()
            .filter(|l| l.starts_with("  to ") || l.starts_with("  from "));
        lines
            .map(|l| l.split("  ").nth(1).unwrap().to_owned())
            .collect()
    };
    assert_eq!(rows(&sample::report(|_, _| ())), Vec::<String>::new());
    let apart = sample::report(tell_apart);
    assert_eq!(rows(&apart), ["to talkers", "to listeners"]);
    let text = render(&apart, Style::FILE, Detail::Full);
    let listeners = text.lines().find(|l| l.contains("to listeners")).unwrap();
    assert!(
        listeners.contains("3.09 ms") && listeners.ends_with("500 000"),
        "{listeners}"
    );
    // Of many, each; no name is too long.
    let many = sample::report(|plan, outcome| {
        tell_apart(plan, outcome);
        let groups = &mut outcome.measured.groups;
        let (fast, slow) = (groups[0].clone(), groups[1].clone());
        *groups = vec![fast.clone(), fast, slow.clone(), slow];
        let long = "l".repeat(100);
        let group = |name: &str| Group {
            name: name.to_owned(),
            ..plan.groups[0].clone()
        };
        plan.groups = vec![group("a"), group("b"), group("c"), group(&long)];
    });
    let rows = rows(&many);
    assert_eq!(rows[..3], ["to a", "to b", "to c"]);
    assert_eq!(rows[3].len(), 80 - 2 + "…".len() - 1, "{rows:?}");
    assert_eq!(rows.len(), 4, "{rows:?}");
}

#[test]
fn rooms_have_their_lines_and_only_where_there_are_any() {
    let summary = render(&sample::report(sample::rooms), Style::FILE, Detail::Full);
    for line in [
        "rooms        2 · 120 memberships · 5 to 500 deliveries, 253 on average\n",
        "by room      relay p99 500 µs · half up to 500 µs (of 1 with enough samples)\n",
        "             lobby · p50 250 µs · p99 500 µs · max 500 µs · 500 delivered\n",
        "             hall · max 7.00 ms · 5 delivered · 60 memberships · 1 violation\n",
        "or altered, and nothing in a wrong room\n",
    ] {
        assert!(summary.contains(line), "{line}{summary}");
    }
    let without = render(&sample::report(|_, _| ()), Style::FILE, Detail::Full);
    assert!(!without.contains("room"), "{without}");
}

#[test]
fn a_group_that_got_nothing_and_waits_for_something_has_its_line() {
    let hung = sample::report(|plan, outcome| {
        sample::hang(plan, outcome);
        let measured = &mut outcome.measured;
        measured.groups.truncate(1);
        let nothing = GroupLatencies::default();
        let mut waits = GroupLatencies::default();
        let relays = waits.relay.insert(histogram());
        relays.record_n(10_000_000_000, 100).unwrap();
        measured.censored.groups = vec![nothing, waits];
    });
    let text = render(&hung, Style::FILE, Detail::Full);
    let line = text.lines().find(|line| line.starts_with("  to listeners"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("≥10.0 s") && line.ends_with("100"), "{line}");
    let line = text.lines().find(|line| line.starts_with("  to talkers"));
    assert!(line.is_some_and(|line| !line.contains('≥')), "{text}");
    // Nor is it missing in the result.
    let result = &hung.result;
    let relay = result.groups[1].latency_ns.relay.as_ref().unwrap();
    let outstanding = relay.outstanding.as_ref().unwrap();
    assert_eq!((relay.count, outstanding.count), (0, 100));
}

#[test]
fn no_more_is_claimed_than_was_promised() {
    let table = [
        (
            RelayPromise::ExactlyOnce,
            OrderPromise::Total,
            "lost, doubled, reordered or altered",
        ),
        (
            RelayPromise::AtMostOnce,
            OrderPromise::Fifo,
            "doubled, reordered or altered",
        ),
        (
            RelayPromise::AtLeastOnce,
            OrderPromise::None,
            "lost or altered",
        ),
    ];
    for (relay, order, claimed) in table {
        let report = sample::report(|plan, _| {
            plan.promises.relay = relay;
            plan.promises.order = order;
        });
        let claims = counts(&report).pop();
        assert_eq!(claims, Some(format!("nothing {claimed}")));
    }
}

#[test]
fn a_hostile_server_cannot_write_to_the_terminal_through_an_example() {
    let report = sample::report(|_, outcome| {
        outcome.findings.violation(Kind::PhantomRelay, || Example {
            text: "came \x1b[2J\x07".to_owned(),
            ..sample::example()
        });
    });
    let text = render(&report, Style::FILE, Detail::Full);
    assert!(text.contains(r"came \u{1b}[2J\u{7}"), "{text}");
}

/// Its first column, by row.
fn glossary() -> Vec<&'static str> {
    let rows = include_str!("../../../docs/GLOSSARY.md").lines();
    let terms = rows.filter_map(|row| row.strip_prefix("| ")?.split(" | ").next());
    terms.flat_map(|terms| terms.split(", ")).collect()
}

#[test]
fn the_glossary_has_every_term_that_a_summary_counts_by() {
    let mut counts = Counts::default();
    for count in [
        &mut counts.optional,
        &mut counts.unresolved,
        &mut counts.lost,
        &mut counts.duplicated,
        &mut counts.errors_received,
        &mut counts.unexpected_closes,
        &mut counts.unknown_frames,
    ] {
        *count = 1;
    }
    let coverage = Coverage {
        overlapping_sends: 1,
        joins_during_traffic: 1,
        polite_leaves: 1,
        aborts: 1,
        split_frames: 1,
        joined_frames: 1,
        fences_seen: 1,
    };
    let mut terms = counted(&counts, &[], false);
    terms.extend(exercised(&coverage));
    assert_eq!(terms.len(), 18);
    let glossary = glossary();
    for term in terms {
        let (_, term) = term.split_once(' ').unwrap();
        let term = term.split(" (").next().unwrap();
        assert!(
            glossary.contains(&term),
            "`{term}` is not in docs/GLOSSARY.md"
        );
    }
}
