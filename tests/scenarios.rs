//! The scenarios that ship, and what a scenario that is wrong is told.

#![allow(clippy::unwrap_used)] // in the tests' own functions, too

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use chatbench::scenario;
use predicates::prelude::{PredicateBooleanExt as _, predicate};
use predicates::str::contains;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn chatbench(arguments: &[&str]) -> assert_cmd::assert::Assert {
    Command::cargo_bin("chatbench")
        .unwrap()
        .current_dir(repository())
        .args(arguments)
        .assert()
}

fn scenarios(directory: &str) -> Vec<PathBuf> {
    scenario::files(&[repository().join(directory)]).unwrap()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_scenario_that_ships_is_valid_and_asks_its_question_first() {
    let files = scenarios("scenarios");
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let plan = scenario::load(&file, &[], None, None).unwrap_or_else(|e| panic!("{e}"));
        assert!(plan.warnings.is_empty(), "{}", plan.warnings);
        assert!(plan.description.is_some(), "{}", file.display());
        let text = std::fs::read_to_string(&file).unwrap();
        let opening: String = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .collect();
        let asks = opening.contains('?') && opening.contains("Expect");
        assert!(asks, "{} opens with {opening}", file.display());
    }
}

#[test]
fn every_scenario_that_ships_can_be_cut_short() {
    for file in scenarios("scenarios") {
        let overrides = ["run.duration=2s".to_owned()];
        let plan = scenario::load(&file, &overrides, None, None).unwrap_or_else(|e| panic!("{e}"));
        let staged = plan.resolved.to_string().contains("stages");
        assert_eq!(plan.warnings.is_empty(), !staged, "{}", plan.warnings);
        assert_eq!(plan.run.duration.as_secs(), 2);
    }
}

#[test]
fn every_bad_scenario_is_told_what_is_wrong_with_it() {
    for file in scenarios("tests/bad-scenarios") {
        let relative = file.strip_prefix(repository()).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let diagnostics = match scenario::parse(relative, &text, &[], None, None) {
            Ok(plan) => plan.warnings,
            Err(errors) => errors,
        };
        assert_eq!(diagnostics.has_errors(), stem(&file) != "warnings");
        insta::assert_snapshot!(stem(&file), diagnostics.to_string());
    }
}

#[test]
fn validate_prints_a_plan() {
    let output = chatbench(&["validate", "scenarios/fanout.toml"]).success();
    let plan = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    insta::assert_snapshot!("validate-fanout", plan);
    let output = chatbench(&["validate", "scenarios/churn.toml"]).success();
    let plan = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    insta::assert_snapshot!("validate-churn", plan);
}

#[test]
fn validate_of_a_directory_counts_its_scenarios() {
    chatbench(&["validate", "scenarios", "--set", "run.duration=2s"])
        .success()
        .stderr(contains("they are cut there"))
        .stdout(contains(
            "\n11 scenarios: 11 valid (1 with warnings), 0 invalid\n",
        ));
    chatbench(&["validate", "tests/bad-scenarios", "scenarios/ack.toml"])
        .code(2)
        .stdout(contains(
            "16 scenarios: 2 valid (1 with warnings), 14 invalid\n",
        ));
}

#[test]
fn validate_of_one_file_counts_nothing() {
    chatbench(&["validate", "scenarios/ack.toml"])
        .success()
        .stdout(contains("scenarios:").not());
}

#[test]
fn validate_refuses_what_it_cannot_read() {
    let empty = tempfile::tempdir().unwrap();
    chatbench(&["validate", "scenarios/missing.toml"])
        .code(2)
        .stderr(contains("cannot read scenarios/missing.toml"));
    chatbench(&["validate", empty.path().to_str().unwrap()])
        .code(2)
        .stderr(contains("holds no scenario"));
    chatbench(&["validate"]).code(2);
    chatbench(&[
        "validate",
        "scenarios/ack.toml",
        "--set",
        "run.durration=1s",
    ])
    .code(2)
    .stdout(predicate::str::is_empty())
    .stderr(contains("did you mean `duration`?"));
}

fn documentation() -> String {
    std::fs::read_to_string(repository().join("docs/SCENARIO.md")).unwrap()
}

#[test]
fn the_documentation_states_the_defaults() {
    let text = documentation();
    let plan = scenario::parse("least.toml", "[clients.a]", &[], None, None).unwrap();
    for section in ["target", "run", "verify"] {
        let (_, described) = text.split_once(&format!("### `[{section}]`")).unwrap();
        for (key, default) in plan.resolved[section].as_object().unwrap() {
            let row = described
                .lines()
                .find(|line| line.starts_with(&format!("| `{key}` |")))
                .unwrap_or_else(|| panic!("{section}.{key} is not described"));
            let column = row.split('|').nth(2).unwrap();
            assert!(column.contains(&default.to_string()), "{row} of {default}");
        }
    }
}

#[test]
fn the_documentation_shows_scenarios_and_steps_that_are_valid() {
    let text = documentation();
    let example = text.split("```toml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    if let Err(errors) = scenario::parse("docs/SCENARIO.md", example, &[], None, None) {
        panic!("{errors}");
    }
    let steps: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `{ "))
        .map(|line| line.split("` |").next().unwrap())
        .collect();
    assert_eq!(steps.len(), 9);
    for step in steps {
        let script = format!("[clients.a]\ncount = 2\nscript = [{{ {step}]");
        if let Err(errors) = scenario::parse("step.toml", &script, &[], None, None) {
            panic!("{errors}");
        }
    }
}
