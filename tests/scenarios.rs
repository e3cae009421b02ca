//! The scenarios that ship, and what a scenario that is wrong is told.

#![allow(clippy::unwrap_used)] // in the tests' own functions, too

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use chatbench::scenario::{self, Options};
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
        let plan = scenario::load(&file, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
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
        let plan = scenario::load(
            &file,
            &Options {
                set: &overrides,
                ..Options::default()
            },
        )
        .unwrap_or_else(|e| panic!("{e}"));
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
            "\n16 scenarios: 16 valid (1 with warnings), 0 invalid\n",
        ));
    chatbench(&["validate", "tests/bad-scenarios", "scenarios/ack.toml"])
        .code(2)
        .stdout(contains(
            "17 scenarios: 2 valid (1 with warnings), 15 invalid\n",
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

/// `chatbench validate` of a file of these bytes; what it says on standard error, which is bounded
/// whatever the file holds.
fn refused(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("case.toml");
    std::fs::write(&file, bytes).unwrap();
    let output = chatbench(&["validate", file.to_str().unwrap()])
        .code(2)
        .stdout(predicate::str::is_empty());
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(said.contains("case.toml"), "{said}");
    assert!(said.len() < 100_000, "{} bytes", said.len());
    said
}

#[test]
fn what_is_no_scenario_is_refused_in_a_few_words() {
    let elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let said = refused(&elf[..100_000]);
    assert!(said.contains("it is no text: byte "), "{said}");
    assert!(refused(&vec![b'#'; 17 << 20]).contains("longer than 16 MiB"));
    let readme = std::fs::read(repository().join("README.md")).unwrap();
    let said = refused(&readme);
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(said.contains("is this a scenario?"), "{said}");
    assert!(refused(b"\0\0\0").contains("not TOML"));
    let deep = [b"x = ".to_vec(), vec![b'['; 100_000]].concat();
    assert!(refused(&deep).contains("not TOML"));
    let device = chatbench(&["validate", "/dev/zero"]).code(2);
    device.stderr(contains("cannot read /dev/zero: it is longer than 16 MiB"));
    chatbench(&["report", "/dev/zero"])
        .code(2)
        .stderr(contains("/dev/zero").and(contains("longer than")));
}

#[test]
fn every_verb_reads_what_is_no_trace_no_further_than_it_must() {
    for file in ["/dev/zero", "src"] {
        chatbench(&["verify", file])
            .code(2)
            .stderr(contains("chatbench:"));
    }
}

#[test]
fn names_and_values_of_any_length_are_told_in_part() {
    let long = "n".repeat(70_000);
    let said = refused(format!("[clients.{long}]\nrate = 1\n").as_bytes());
    assert!(said.contains("64 at most"), "{}", &said[..300]);
    let said = refused(format!("[clients.a]\nrate = \"{long}\"\n").as_bytes());
    assert!(said.contains("nnn…\""), "{}", &said[..300]);
    let many: String = (0..10_000).map(|n| format!("unknown{n} = 1\n")).collect();
    let said = refused(format!("{many}[clients.a]\n").as_bytes());
    assert!(
        said.contains("9950 more of these"),
        "{}",
        &said[said.len() - 300..]
    );
}

#[test]
fn a_hundred_thousand_stages_are_a_scenario_like_any_other() {
    let stages: Vec<String> = (0..100_000)
        .map(|n| format!("{{ duration = '1ms', rate = {} }}", n % 1000))
        .collect();
    let text = format!("[clients.a]\nstages = [\n{}]\n", stages.join(",\n"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("case.toml");
    std::fs::write(&file, text).unwrap();
    chatbench(&["validate", file.to_str().unwrap()])
        .success()
        .stdout(contains("→ … → 999/s"));
}

/// Marks and line ends of other systems' editors.
#[test]
fn a_byte_order_mark_and_crlf_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("case.toml");
    let of = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = chatbench(&["validate", file.to_str().unwrap()]).success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    };
    let plain = of("[clients.a]\nrate = 5\n");
    assert_eq!(of("\u{feff}[clients.a]\r\nrate = 5\r\n"), plain);
}

/// `--duration`, `--rate` and `--clients` stand for the key that they can only mean.
#[test]
fn options_stand_for_keys_where_they_can_mean_only_one() {
    let options = ["--duration", "2s", "--rate", "70"];
    let args = [&["validate", "scenarios/fanout.toml"][..], &options].concat();
    chatbench(&args)
        .success()
        .stdout(contains(" · 2s ").and(contains("70/s")));
    // What is set by its path is said more exactly, and holds.
    let set = ["--set", "run.duration=3s"];
    chatbench(&[&args[..], &set].concat())
        .success()
        .stdout(contains(" · 3s "));
    for verb in ["validate", "run", "search"] {
        chatbench(&[verb, "scenarios/fanout.toml", "--clients", "7"])
            .code(2)
            .stderr(contains(
                "--set clients.talkers.count=7, or --set clients.listeners.count=7",
            ));
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("case.toml");
    std::fs::write(&file, "[clients.a]\n").unwrap();
    let file = file.to_str().unwrap();
    chatbench(&["validate", file, "--clients", "7"])
        .success()
        .stdout(contains("8 clients"));
    chatbench(&["validate", file, "--rate", "7"])
        .code(2)
        .stderr(contains("no group has a `rate`"));
    chatbench(&["validate", file, "--clients", "-1"])
        .code(2)
        .stderr(contains("`clients.a.count`: expected a whole number"));
}

#[test]
fn validate_says_what_a_scenario_may_take_in_memory() {
    let set = ["clients.talkers.rate=1", "clients.talkers.count=4"];
    chatbench(&[
        "validate",
        "scenarios/fanout.toml",
        "--set",
        set[0],
        "--set",
        set[1],
    ])
    .success()
    .stdout(contains("memory ").and(contains("MiB, at most ")));
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
    assert_eq!(steps.len(), 12);
    for step in steps {
        let rooms = match step.starts_with("leave") {
            true => "rooms = { names = ['lobby'] }\n",
            false => "",
        };
        let protocol = match step.starts_with("send") {
            true => "[target]\nurl = 'ws://127.0.0.1:1'\n[protocol]\npublish = '{payload}'\n",
            false => "",
        };
        let step = step
            .replace("TEMPLATE", "'who'")
            .replace("MATCH", "'here: *'");
        let script = format!("{protocol}[clients.a]\ncount = 2\n{rooms}script = [{{ {step}]");
        if let Err(errors) = scenario::parse("step.toml", &script, &[], None, None) {
            panic!("{errors}");
        }
    }
}
