//! Changes that count, and how they read.

mod simulated;

use insta::assert_snapshot;
use serde_json::json;

use std::fs;

use super::*;
use crate::report::result::{ByRoom, Rooms, Spread};
use crate::report::{Style, sample};
use crate::verify::kind::Kind;

/// Runs whose relays are all `us` µs late.
fn side(name: &str, runs_us: &[u64]) -> Side {
    let runs = runs_us.iter().map(|us| {
        sample::result(|_, outcome| {
            let relays = &mut outcome.measured.relay;
            relays.reset();
            relays.record_n(us * 1_000, 50_000).unwrap();
        })
    });
    Side {
        name: name.to_owned(),
        runs: runs.collect(),
    }
}

fn relay_p99(base: &[u64], new: &[u64]) -> Outcome {
    let (base, new) = (side("base", base), side("new", new));
    let terms = Terms::default();
    let comparison = compare(&base, &new, &terms);
    let row = comparison.rows.into_iter().find(|r| r.name == "relay p99");
    row.unwrap().judged.outcome
}

/// The worst of the rooms is compared where both sides have rooms, and only there.
#[test]
fn the_room_with_the_longest_latencies_is_compared() {
    let with_rooms = |name: &str, longest_ms: u64| {
        let mut side = side(name, &[100, 100, 100]);
        for run in &mut side.runs {
            run.rooms = Some(Rooms {
                count: 2,
                memberships: 4,
                deliveries: ByRoom {
                    min: 1,
                    mean: 1.5,
                    max: 2,
                },
                spread: Some(Spread {
                    rooms: 2,
                    relay_p99_min_ns: 1_000_000,
                    relay_p99_median_ns: 1_000_000,
                    relay_p99_max_ns: longest_ms * 1_000_000,
                }),
                worst: Vec::new(),
                each: Vec::new(),
            });
        }
        side
    };
    let outcome = |base: &Side, new: &Side| {
        let terms = Terms::default();
        let comparison = compare(base, new, &terms);
        let row = comparison
            .rows
            .into_iter()
            .find(|row| row.name == "rooms p99");
        row.map(|row| row.judged.outcome)
    };
    let (base, same, slower) = (
        with_rooms("base", 5),
        with_rooms("same", 5),
        with_rooms("new", 9),
    );
    assert_eq!(outcome(&base, &same), Some(Outcome::Same));
    assert_eq!(outcome(&base, &slower), Some(Outcome::Worse));
    let without = side("without", &[100, 100, 100]);
    assert_eq!(outcome(&without, &without), None);
}

#[test]
fn a_figure_is_worse_the_same_better_or_too_noisy_to_tell() {
    let table: [(&str, &[u64], &[u64], Outcome); 14] = [
        (
            "the same",
            &[100, 101, 102],
            &[100, 101, 102],
            Outcome::Same,
        ),
        (
            "changed, but within the tolerance",
            &[100, 100, 100],
            &[104, 104, 104],
            Outcome::Same,
        ),
        (
            "beyond it, without noise",
            &[100, 100, 100],
            &[107, 107, 107],
            Outcome::Worse,
        ),
        (
            "and the other way",
            &[100, 100, 100],
            &[80, 80, 80],
            Outcome::Better,
        ),
        (
            "every new run is worse than every base run, however wide they range",
            &[80, 100, 120],
            &[130, 150, 170],
            Outcome::Worse,
        ),
        (
            "and the wider they range",
            &[50, 100, 120],
            &[130, 140, 200],
            Outcome::Worse,
        ),
        (
            "one base run is like the new ones",
            &[80, 100, 150],
            &[130, 140, 150],
            Outcome::TooNoisy,
        ),
        (
            "the new side is anything",
            &[100, 100, 100],
            &[70, 130, 140],
            Outcome::TooNoisy,
        ),
        (
            "the same medians, but nobody knows how far apart",
            &[50, 100, 200],
            &[60, 100, 190],
            Outcome::TooNoisy,
        ),
        (
            "five against two can tell",
            &[99, 100, 101, 100, 99],
            &[120, 121],
            Outcome::Worse,
        ),
        (
            "three against two cannot",
            &[99, 100, 101],
            &[120, 121],
            Outcome::TooNoisy,
        ),
        ("nor can one", &[99, 100, 101], &[110], Outcome::TooNoisy),
        (
            "without repeats half is assumed",
            &[100],
            &[140],
            Outcome::TooNoisy,
        ),
        (
            "and more is a change on that assumption",
            &[100],
            &[160],
            Outcome::Worse,
        ),
    ];
    for (says, base, new, outcome) in table {
        assert_eq!(relay_p99(base, new), outcome, "{says}");
    }
}

#[test]
fn equal_single_runs_say_nothing_of_the_noise() {
    let one = side("one", &[100]);
    let terms = Terms::default();
    let comparison = compare(&one, &one, &terms);
    assert_eq!(comparison.verdict(), Verdict::Inconclusive);
    assert!(
        comparison
            .rows
            .iter()
            .all(|row| row.judged.change.is_none_or(|c| c.p.is_none()))
    );
    let said = comparison.caveats.join("\n");
    for says in [
        "1 against 1 runs",
        "50.0 % is an assumption",
        "at least 3 runs of each side",
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
    // Whoever knows that two runs of the same agree to a hundredth may say so.
    let known = Terms {
        assumed_noise: 0.01,
        ..Terms::default()
    };
    assert_eq!(compare(&one, &one, &known).verdict(), Verdict::Pass);
    // What is seen to be an error is not assumed all the same.
    let two = side("two", &[100, 140]);
    assert_eq!(compare(&two, &two, &known).verdict(), Verdict::Inconclusive);
}

#[test]
fn runs_that_would_do_are_said() {
    let (five, one) = (side("base", &[99, 100, 101, 100, 99]), side("new", &[100]));
    let terms = Terms::default();
    let said = compare(&five, &one, &terms).caveats.join("\n");
    assert!(said.contains("at least 2 runs of the new side"), "{said}");
    let (base, new) = (side("base", &[80, 100, 120]), side("new", &[80, 100, 110]));
    let comparison = compare(&base, &new, &terms);
    let said = comparison.caveats.join("\n");
    let row = comparison.undecided().next().unwrap();
    let runs = row.judged.runs_needed.unwrap();
    assert!((50..500).contains(&runs), "{runs}");
    let says = format!("relay p99.9 (about {runs} runs of each side would do)");
    assert!(said.contains(&says), "{said}");
}

#[test]
fn what_was_not_asked_for_is_not_judged() {
    let (base, new) = (side("base", &[80, 100, 120]), side("new", &[80, 100, 110]));
    let judged = |figures: &[&str]| {
        let terms = Terms {
            figures: figures.iter().map(|name| named(name).unwrap()).collect(),
            ..Terms::default()
        };
        let comparison = compare(&base, &new, &terms);
        let names = comparison.rows.iter().map(|row| row.name.clone());
        (names.collect::<Vec<_>>(), comparison.verdict())
    };
    let (names, verdict) = judged(&["ack p50", "delivered"]);
    assert_eq!(names, ["violations", "ack p50", "delivered"]);
    assert_eq!(verdict, Verdict::Pass);
    let (names, verdict) = judged(&["relay"]);
    assert_eq!(
        names,
        [
            "violations",
            "relay p50",
            "relay p90",
            "relay p99",
            "relay p99.9"
        ]
    );
    assert_eq!(verdict, Verdict::Inconclusive);
    let error = named("relay p95").unwrap_err();
    assert!(error.contains("did you mean \"relay p9"), "{error}");
    assert!(named("rel").is_err());
}

#[test]
fn a_violation_is_never_noise() {
    let base = side("base", &[100, 100, 100]);
    let mut new = side("new", &[100, 100, 100]);
    let report = sample::report(|_, outcome| {
        outcome.findings.violation(Kind::LostRelay, sample::example);
    });
    new.runs[1] = report.result;
    let terms = Terms::default();
    let comparison = compare(&base, &new, &terms);
    let worse: Vec<_> = comparison.regressions().map(|r| r.name.as_str()).collect();
    assert!(worse.contains(&"violations"), "{worse:?}");
    let back = compare(&new, &base, &terms);
    assert_eq!(back.rows[0].judged.outcome, Outcome::Better);
}

#[test]
fn a_lower_rate_is_worse() {
    let base = side("base", &[100, 100, 100]);
    let mut new = side("new", &[100, 100, 100]);
    for run in &mut new.runs {
        run.rates.delivered = Some(40_000.0);
    }
    let terms = Terms::default();
    let comparison = compare(&base, &new, &terms);
    let worse: Vec<_> = comparison.regressions().map(|r| r.name.as_str()).collect();
    assert_eq!(worse, ["delivered"]);
}

#[test]
fn a_figure_that_one_side_lacks_is_no_pass_and_one_that_both_lack_is_not_shown() {
    let base = side("base", &[100]);
    let mut new = side("new", &[100]);
    new.runs[0].server = None;
    new.runs[0].latency_ns.shift_remove("ack");
    let terms = Terms::default();
    let comparison = compare(&base, &new, &terms);
    let outcome = |name: &str| {
        let row = comparison.rows.iter().find(|row| row.name == name);
        row.map(|row| row.judged.outcome)
    };
    assert_eq!(outcome("server rss"), Some(Outcome::OneSided));
    assert_eq!(outcome("ack p50"), Some(Outcome::OneSided));
    let said = comparison.caveats.join("\n");
    assert!(said.contains("on one side only: ack p50"), "{said}");
    let both = compare(&new, &new, &terms);
    assert!(both.rows.iter().all(|row| row.name != "server rss"));
}

#[test]
fn other_loads_are_named_key_by_key_and_other_seeds_are_no_other_load() {
    let base = json!({ "seed": 1, "run": { "duration": "1s" }, "clients": { "a": { "rate": 5 } } });
    let mut new = base.clone();
    new["seed"] = 2.into();
    new["description"] = "other words".into();
    new["thresholds"] = json!({ "ack": ["p99 < 1s"] });
    assert_eq!(differences(&base, &new), [""; 0]);
    new["clients"]["a"]["rate"] = 6.into();
    new["clients"]["b"] = json!({ "count": 1 });
    assert_eq!(
        differences(&base, &new),
        [
            "clients.a.rate was 5, is 6",
            r#"clients.b was absent, is {"count":1}"#
        ]
    );
}

#[test]
fn repeats_of_one_side_must_be_of_one_scenario_too() {
    let base = side("base", &[100]);
    let mut new = side("new", &[100, 100]);
    new.runs[1].scenario.resolved["seed"] = 7.into();
    check_same(&base, &new).unwrap();
    new.runs[1].scenario.resolved["clients"]["talkers"]["count"] = 9.into();
    let error = check_same(&base, &new).unwrap_err().to_string();
    assert!(
        error.contains("clients.talkers.count was 4, is 9"),
        "{error}"
    );
    assert!(error.contains("--allow-different"), "{error}");
}

#[test]
fn what_limits_a_comparison_is_said() {
    let base = side("base", &[100]);
    let mut new = side("new", &[100]);
    new.runs[0].environment.host = "elsewhere".to_owned();
    new.runs[0].verdict = "inconclusive".to_owned();
    new.runs[0].reasons = vec!["the target was gone".to_owned()];
    let terms = Terms::default();
    let comparison = compare(&base, &new, &terms);
    assert!(comparison.is_inconclusive());
    let caveats = comparison.caveats.join("\n");
    for says in [
        "50.0 % is an assumption",
        "elsewhere",
        "the target was gone",
    ] {
        assert!(caveats.contains(says), "{says}: {caveats}");
    }
}

#[test]
fn the_tables_read_as_expected() {
    let base = side("out/base", &[100, 104, 108]);
    let new = side("out/new", &[190, 200, 210]);
    let terms = Terms::default();
    let comparison = compare(&base, &new, &terms);
    assert_snapshot!("worse", render(&comparison, Style::FILE));
    let ascii = Style {
        unicode: false,
        ..Style::FILE
    };
    let text = render(&comparison, ascii);
    assert!(text.is_ascii() && !text.contains("\\u{"), "{text}");
    assert!(text.contains("+76...+110 %"), "the interval: {text}");
    assert_snapshot!("worse-markdown", markdown(&comparison));
    let same = compare(&base, &base, &terms);
    assert_snapshot!("same", render(&same, Style::FILE));
    let noisy = side("out/noisy", &[70, 120, 140]);
    let noisy = compare(&base, &noisy, &terms);
    assert_snapshot!("noisy", render(&noisy, Style::FILE));
}

#[test]
fn a_name_cannot_break_out_of_the_markdown() {
    let base = side("a|b`\n# c", &[100]);
    let text = markdown(&compare(&base, &base, &Terms::default()));
    assert!(text.contains(r"`a|b'\n# c`"), "{text}");
}

#[test]
fn a_directory_of_results_is_one_side() {
    let directory = tempfile::tempdir().unwrap();
    let error = Side::load(directory.path()).unwrap_err().to_string();
    assert!(error.contains("no result.json in it"), "{error}");
    let report = sample::report(|_, _| ());
    for repeat in ["1", "2", "3"] {
        let out = directory.path().join(repeat);
        let out = crate::report::files::Directory::prepare(&out, false).unwrap();
        out.write(&crate::report::Rendered::new(&report)).unwrap();
    }
    assert_eq!(Side::load(directory.path()).unwrap().runs.len(), 3);
    // The tenth run comes last.
    let tenth = directory.path().join("10");
    fs::create_dir(&tenth).unwrap();
    let mut result: Value = serde_json::from_slice(&report.result.json()).unwrap();
    result["scenario"]["seed"] = 10.into();
    fs::write(tenth.join("result.json"), result.to_string()).unwrap();
    let runs = Side::load(directory.path()).unwrap().runs;
    let seeds: Vec<_> = runs.iter().map(|run| run.scenario.seed).collect();
    assert_eq!(seeds, [42, 42, 42, 10]);
    let one = Side::load(&directory.path().join("2")).unwrap();
    assert_eq!(one.runs.len(), 1);
    // The runs of a search look the same, and are of different loads.
    let search = directory.path().join("search.json");
    fs::write(search, r#"{"schema": 1, "kind": "search"}"#).unwrap();
    let error = Side::load(directory.path()).unwrap_err().to_string();
    assert!(error.contains("what a search found"), "{error}");
}

#[test]
fn another_scenario_is_said_where_it_was_allowed() {
    let (base, mut new) = (side("base", &[100]), side("new", &[100]));
    let says = |new: &Side| compare(&base, new, &Terms::default()).caveats.join("\n");
    assert!(!says(&new).contains("scenario"));
    new.runs[0].scenario.resolved["clients"]["listeners"]["count"] = 7.into();
    let said = says(&new);
    assert!(
        said.contains("not the same scenario: clients.listeners was absent"),
        "{said}"
    );
}

/// Whatever a comparison comes to is what the published schema says.
#[test]
fn every_outcome_is_valid() {
    let schema = include_str!("../../../docs/compare.schema.json");
    let schema = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut none = side("none", &[100]);
    none.runs[0].latency_ns.clear();
    let sides = [
        side("base", &[100, 100, 100]),
        side("worse", &[150, 160, 170]),
        side("better", &[50, 60, 70]),
        side("noisy", &[50, 100, 200]),
        side("one", &[100]),
        hung("hung", &[(100, 5_000)]),
        none,
    ];
    let terms = Terms::default();
    let mut outcomes = std::collections::BTreeSet::new();
    for base in &sides {
        let all: Vec<_> = sides.iter().map(|new| compare(base, new, &terms)).collect();
        let written: Value = serde_json::from_slice(&json(&all)).unwrap();
        let errors: Vec<_> = validator.iter_errors(&written).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        for comparison in written["comparisons"].as_array().unwrap() {
            for figure in comparison["figures"].as_array().unwrap() {
                outcomes.insert(figure["outcome"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(
        outcomes.iter().collect::<Vec<_>>(),
        [
            "better",
            "one-sided",
            "same",
            "too-noisy",
            "undecided",
            "worse"
        ]
    );
}

/// Runs whose relays that came were `us` µs late, and of which so many more had been outstanding
/// for ten seconds when they stopped listening.
fn hung(name: &str, runs: &[(u64, u64)]) -> Side {
    let runs = runs.iter().map(|&(us, outstanding)| {
        sample::result(|_, outcome| {
            let measured = &mut outcome.measured;
            measured.relay.reset();
            measured.relay.record_n(us * 1_000, 50_000).unwrap();
            let relays = &mut measured.censored.relay;
            relays.record_n(10_000_000_000, outstanding).unwrap();
        })
    });
    Side {
        name: name.to_owned(),
        runs: runs.collect(),
    }
}

#[test]
fn what_had_not_come_is_worse_where_that_is_certain_and_undecided_where_it_is_not() {
    type Runs<'a> = &'a [(u64, u64)];
    let table: [(&str, Runs<'_>, Runs<'_>, Outcome); 9] = [
        (
            "the new target hung, and what came was fast",
            &[(100, 0), (101, 0), (102, 0)],
            &[(50, 5_000), (50, 5_000), (50, 5_000)],
            Outcome::Worse,
        ),
        (
            "so does a single run, on the strength of what is assumed",
            &[(100, 0)],
            &[(50, 5_000)],
            Outcome::Worse,
        ),
        (
            "the base hung: better, however late it would have come",
            &[(100, 5_000), (100, 5_000), (100, 5_000)],
            &[(100, 0), (101, 0), (102, 0)],
            Outcome::Better,
        ),
        (
            "both hung",
            &[(100, 5_000), (100, 5_000), (100, 5_000)],
            &[(100, 5_000), (100, 5_000), (100, 5_000)],
            Outcome::Undecided,
        ),
        (
            "the new one hung, and is at least as late as the base was",
            &[(10_000_000, 0), (10_000_000, 0), (10_000_000, 0)],
            &[(100, 5_000), (100, 5_000), (100, 5_000)],
            Outcome::Undecided,
        ),
        (
            "or was it better? Nobody knows",
            &[(20_000_000, 0), (20_000_000, 0), (20_000_000, 0)],
            &[(100, 5_000), (100, 5_000), (100, 5_000)],
            Outcome::Undecided,
        ),
        (
            "the base hung, and may have been as late as the new one is",
            &[(100, 5_000), (100, 5_000), (100, 5_000)],
            &[(20_000_000, 0), (20_000_000, 0), (20_000_000, 0)],
            Outcome::Undecided,
        ),
        (
            "so few were outstanding that p99 does not depend on them",
            &[(100, 0), (100, 0), (100, 0)],
            &[(100, 5), (100, 5), (100, 5)],
            Outcome::Same,
        ),
        (
            "one run of three hung",
            &[(100, 0), (100, 0), (100, 0)],
            &[(100, 5_000), (100, 0), (100, 0)],
            Outcome::TooNoisy,
        ),
    ];
    let terms = Terms::default();
    for (says, base, new, outcome) in table {
        let (base, new) = (hung("base", base), hung("new", new));
        let comparison = compare(&base, &new, &terms);
        let row = comparison.rows.iter().find(|r| r.name == "relay p99");
        assert_eq!(row.unwrap().judged.outcome, outcome, "{says}: {row:?}");
        let p50 = comparison.rows.iter().find(|r| r.name == "relay p50");
        let p50 = p50.unwrap();
        assert!(
            !p50.judged.base_at_least && !p50.judged.new_at_least,
            "{says}: the median came"
        );
        let text = render(&comparison, Style::FILE);
        let judged = &row.unwrap().judged;
        let at_least = judged.new_at_least || judged.base_at_least;
        assert_eq!(text.contains("≥10.0 s"), at_least, "{says}: {text}");
        assert_eq!(text.contains("at least what is shown"), at_least, "{says}");
        if outcome == Outcome::Undecided {
            assert_ne!(comparison.verdict(), Verdict::Pass, "{says}");
        }
    }
}
