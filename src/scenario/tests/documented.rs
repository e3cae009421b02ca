//! docs/SCENARIO.md against the code: every key of a scenario, every step, every metric and figure.

use super::super::script::STEPS;
use super::super::section::KEYS;
use super::super::threshold::{FIGURES, METRICS, RATES};
use crate::wire::ndjson::ErrorCode;

const PAGE: &str = include_str!("../../../docs/SCENARIO.md");

/// What stands below a heading, up to the next one.
fn below(heading: &str) -> &'static str {
    let (_, rest) = PAGE
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("docs/SCENARIO.md has no heading {heading}"));
    rest.split("\n#").next().unwrap_or(rest)
}

/// What stands between the first backticks of each row of the table below a heading.
fn first_column(heading: &str) -> Vec<&'static str> {
    let rows = below(heading).lines().filter(|row| row.starts_with("| `"));
    let first = rows.filter_map(|row| row.split('|').nth(1));
    // `one`, `another`
    let names = first.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.collect()
}

fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable();
    names
}

#[test]
fn every_section_has_its_keys_and_no_others() {
    for (section, keys) in KEYS {
        let heading = match section {
            "" => {
                let tables = [
                    "target",
                    "protocol",
                    "run",
                    "clients",
                    "verify",
                    "thresholds",
                ];
                let own = keys.iter().copied().filter(|key| !tables.contains(key));
                assert_eq!(sorted(first_column("### The file itself")), sorted(own));
                continue;
            }
            "clients.*" => "### `[clients.NAME]`".to_owned(),
            "clients.*.payload" | "clients.*.rooms" => {
                let part = section.rsplit('.').next().unwrap_or(section);
                let row = below("### `[clients.NAME]`");
                let begin = format!("| `{part}`");
                let row = row.lines().find(|row| row.starts_with(&begin));
                for key in keys {
                    assert!(row.unwrap_or("").contains(key), "{part}'s {key}");
                }
                continue;
            }
            section => format!("### `[{section}]`"),
        };
        let told = first_column(&heading);
        assert_eq!(sorted(told), sorted(keys.iter().copied()), "{heading}");
    }
}

#[test]
fn every_step_of_a_script_and_every_error_that_it_can_expect() {
    let told = first_column("### Scripts").into_iter().map(|step| {
        let name = step.trim_start_matches("{ ");
        name.split(' ').next().unwrap_or(name)
    });
    assert_eq!(sorted(told), sorted(STEPS));
    for code in ErrorCode::ALL {
        let code = format!("`{}`", code.as_str());
        assert!(below("### Scripts").contains(&code), "{code}");
    }
}

#[test]
fn every_metric_and_figure_of_a_threshold() {
    let thresholds = below("### `[thresholds]`");
    let metrics = METRICS.iter().map(|(name, _)| *name);
    assert_eq!(sorted(first_column("### `[thresholds]`")), sorted(metrics));
    let figures = FIGURES.iter().map(|(name, _)| *name);
    for name in figures.chain(RATES.iter().map(|(name, _)| *name)) {
        assert!(thresholds.contains(&format!("`{name}`")), "{name}");
    }
}
