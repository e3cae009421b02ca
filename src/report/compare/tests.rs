//! What counts as a change, and how it reads.

use insta::assert_snapshot;
use serde_json::json;

use super::*;
use crate::report::Style;
use crate::report::sample;
use crate::verify::kind::Kind;

const TERMS: Terms = Terms {
    tolerance: 0.05,
    assumed_noise: 0.5,
};

/// Runs whose relays are all `us` µs late.
fn side(name: &str, runs_us: &[u64]) -> Side {
    let runs = runs_us.iter().map(|us| {
        let mut report = sample::report(|_, _| ());
        report.outcome.measured.relay.reset();
        report
            .outcome
            .measured
            .relay
            .record_n(us * 1_000, 50_000)
            .unwrap();
        RunResult::of(&report)
    });
    Side {
        name: name.to_owned(),
        runs: runs.collect(),
    }
}

fn relay_p99(base: &[u64], new: &[u64]) -> Change {
    let (base, new) = (side("base", base), side("new", new));
    let comparison = compare(&base, &new, TERMS);
    let row = comparison.rows.into_iter().find(|r| r.name == "relay p99");
    row.unwrap().change
}

#[test]
fn a_change_is_what_exceeds_noise_and_tolerance() {
    let table: [(&str, &[u64], &[u64], Change); 9] = [
        ("the same", &[100, 101, 102], &[100, 101, 102], Change::None),
        (
            "within the tolerance",
            &[100, 100, 100],
            &[104, 104, 104],
            Change::None,
        ),
        (
            "beyond it, without noise",
            &[100, 100, 100],
            &[107, 107, 107],
            Change::Worse,
        ),
        (
            "and the other way",
            &[100, 100, 100],
            &[80, 80, 80],
            Change::Better,
        ),
        (
            "within the base's noise",
            &[80, 100, 120],
            &[130, 130, 130],
            Change::None,
        ),
        (
            "within the new side's noise",
            &[100, 100, 100],
            &[70, 130, 140],
            Change::None,
        ),
        (
            "beyond both",
            &[80, 100, 120],
            &[180, 200, 220],
            Change::Worse,
        ),
        (
            "without repeats half is assumed",
            &[100],
            &[140],
            Change::None,
        ),
        (
            "and more is a change all the same",
            &[100],
            &[160],
            Change::Worse,
        ),
    ];
    for (says, base, new, change) in table {
        assert_eq!(relay_p99(base, new), change, "{says}");
    }
}

#[test]
fn one_side_with_repeats_is_enough_to_know_the_noise() {
    assert_eq!(relay_p99(&[99, 100, 101], &[110]), Change::Worse);
    let (base, new) = (side("base", &[99, 100, 101]), side("new", &[110]));
    assert_eq!(compare(&base, &new, TERMS).caveats, [""; 0]);
}

#[test]
fn a_violation_is_never_noise() {
    let base = side("base", &[100, 100, 100]);
    let mut new = side("new", &[100, 100, 100]);
    let report = sample::report(|_, outcome| {
        outcome.findings.violation(Kind::LostRelay, sample::example);
    });
    new.runs[1] = RunResult::of(&report);
    let comparison = compare(&base, &new, TERMS);
    let worse: Vec<_> = comparison.regressions().map(|r| r.name.as_str()).collect();
    assert!(worse.contains(&"violations"), "{worse:?}");
    let back = compare(&new, &base, TERMS);
    assert_eq!(back.rows[0].change, Change::Better);
}

#[test]
fn a_lower_rate_is_worse() {
    let base = side("base", &[100, 100, 100]);
    let mut new = side("new", &[100, 100, 100]);
    for run in &mut new.runs {
        run.rates.insert("delivered".to_owned(), Some(40_000.0));
    }
    let comparison = compare(&base, &new, TERMS);
    let worse: Vec<_> = comparison.regressions().map(|r| r.name.as_str()).collect();
    assert_eq!(worse, ["delivered"]);
}

#[test]
fn a_figure_that_one_side_lacks_is_unknown_and_one_that_both_lack_is_not_shown() {
    let base = side("base", &[100]);
    let mut new = side("new", &[100]);
    new.runs[0].server = None;
    new.runs[0].latency_ns.remove("ack");
    let comparison = compare(&base, &new, TERMS);
    let change = |name: &str| {
        let row = comparison.rows.iter().find(|row| row.name == name);
        row.map(|row| row.change)
    };
    assert_eq!(change("server rss"), Some(Change::Unknown));
    assert_eq!(change("ack p50"), Some(Change::Unknown));
    let both = compare(&new, &new, TERMS);
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
    let comparison = compare(&base, &new, TERMS);
    assert!(comparison.is_inconclusive());
    let caveats = comparison.caveats.join("\n");
    for says in ["±50.0 % is assumed", "elsewhere", "the target was gone"] {
        assert!(caveats.contains(says), "{says}: {caveats}");
    }
}

#[test]
fn the_tables_read_as_expected() {
    let base = side("out/base", &[100, 104, 108]);
    let new = side("out/new", &[190, 200, 210]);
    let comparison = compare(&base, &new, TERMS);
    assert_snapshot!("worse", render(&comparison, Style::FILE));
    let ascii = Style {
        unicode: false,
        ..Style::FILE
    };
    let text = render(&comparison, ascii);
    assert!(text.is_ascii() && !text.contains("\\u{"), "{text}");
    assert!(text.contains(" +-"), "the band: {text}");
    assert_snapshot!("worse-markdown", markdown(&comparison));
    let same = compare(&base, &base, TERMS);
    assert_snapshot!("same", render(&same, Style::FILE));
}

#[test]
fn a_name_cannot_break_out_of_the_markdown() {
    let base = side("a|b`\n# c", &[100]);
    let text = markdown(&compare(&base, &base, TERMS));
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
    let mut result: Value = serde_json::from_slice(&crate::report::json::render(&report)).unwrap();
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
    let says = |new: &Side| compare(&base, new, TERMS).caveats.join("\n");
    assert!(!says(&new).contains("scenario"));
    new.runs[0].scenario.resolved["clients"]["listeners"]["count"] = 7.into();
    let said = says(&new);
    assert!(
        said.contains("not the same scenario: clients.listeners was absent"),
        "{said}"
    );
}
