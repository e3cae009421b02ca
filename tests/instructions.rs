//! The gate of `benches/instructions`: what is over its limit is named, with both figures.

#[allow(dead_code)] // it loads and saves besides
#[path = "../benches/instructions/baseline.rs"]
mod baseline;

use baseline::{Baseline, Count};

fn counts(made_by: &str, counts: &[(&str, f64)]) -> Baseline {
    Baseline {
        made_by: made_by.to_owned(),
        counts: counts
            .iter()
            .map(|&(name, instructions)| Count {
                name: name.to_owned(),
                instructions,
            })
            .collect(),
    }
}

/// What is said of `now` where 1,000 are the baseline.
fn complaints(now: f64) -> Vec<String> {
    let baseline = counts("rustc 1", &[("wire/decode", 1000.0)]);
    baseline.compare(&counts("rustc 1", &[("wire/decode", now)]))
}

#[test]
fn a_regression_over_5_percent_is_named_with_both_figures() {
    assert_eq!(complaints(1049.0), Vec::<String>::new());
    let [complaint] = &complaints(1051.0)[..] else {
        panic!("not one complaint")
    };
    for part in ["wire/decode", "1051.0", "1000.0", "regression"] {
        assert!(complaint.contains(part), "{complaint}");
    }
}

#[test]
fn an_improvement_over_5_percent_asks_for_the_new_baseline() {
    assert_eq!(complaints(951.0), Vec::<String>::new());
    let [complaint] = &complaints(949.0)[..] else {
        panic!("not one complaint")
    };
    for part in ["wire/decode", "949.0", "1000.0", "commit", "--save"] {
        assert!(complaint.contains(part), "{complaint}");
    }
}

#[test]
fn a_case_that_only_one_side_has_is_named() {
    let (old, new) = (counts("c", &[("old", 1.0)]), counts("c", &[("new", 1.0)]));
    let complaints = old.compare(&new);
    assert_eq!(complaints.len(), 2);
    assert!(complaints[0].contains("new") && complaints[1].contains("old"));
}

#[test]
fn another_compilers_counts_gate_nothing() {
    let baseline = counts("rustc 1", &[("wire/decode", 1000.0)]);
    let now = counts("rustc 2", &[("wire/decode", 2000.0)]);
    assert_eq!(baseline.compare(&now), Vec::<String>::new());
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    let baseline = counts("rustc 1, x86_64", &[("a/b-c", 12.5), ("d", 7.0)]);
    assert_eq!(baseline.to_string().parse(), Ok(baseline));
    assert_eq!(
        "a line of nothing".parse::<Baseline>(),
        Err("a line of nothing".to_owned())
    );
}

#[test]
fn the_committed_baseline_is_understood() {
    assert!(Baseline::load().counts.len() > 10);
}
