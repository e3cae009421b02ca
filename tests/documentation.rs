//! What README and docs/ promise, tried: each command parses, each file that is named is there, each
//! scenario is valid, each count and table is that of the code, and the samples use today's words.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/probe.rs"]
mod probe;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use binary::{chatbench, output, stderr};
use chatbench::cli::Cli;
use chatbench::server::fault::catalogue::Fault;
use chatbench::verify::kind::Kind;
use clap::{CommandFactory, Parser};
use probe::{Scenario, stdout};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// README and every page of docs/, by path.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let mut paths: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.push(root().join("README.md"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// The blocks of code of a page: what stands behind the fence, and the block.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let block: Vec<_> = lines
                .by_ref()
                .take_while(|line| !line.starts_with("```"))
                .collect();
            blocks.push((kind, block.join("\n") + "\n"));
        } else if let Some(code) = line.strip_prefix("    ") {
            blocks.push(("", code.to_owned()));
        }
    }
    blocks
}

/// Every command line of this program in a page: in blocks, and in the text between backticks.
fn commands(page: &str) -> Vec<String> {
    let in_blocks = blocks(page).into_iter().flat_map(|(_, block)| {
        let lines: Vec<_> = block.lines().map(str::to_owned).collect();
        lines
    });
    let in_text = page.lines().flat_map(|line| {
        let spans = line.split('`').skip(1).step_by(2);
        spans.map(str::to_owned).collect::<Vec<_>>()
    });
    in_blocks
        .chain(in_text)
        .filter_map(|line| {
            let line = line.trim().replace("cargo run --release -- ", "chatbench ");
            line.starts_with("chatbench ").then_some(line)
        })
        .collect()
}

/// The words of a command as a shell has them, up to where the command ends.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            ('#', None) if word.is_none() => break,
            (';' | '|' | '>' | '&', None) if word.is_none() => break,
            (';', None) => break,
            ('\\', None) => word.get_or_insert_default().extend(chars.next()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn words_are_a_shells() {
    assert_eq!(words("a 'b c' # d"), ["a", "b c"]);
    assert_eq!(words("a --x='[\"y\"]' | b"), ["a", "--x=[\"y\"]"]);
    assert_eq!(words("a b; done"), ["a", "b"]);
}

/// Stands for the placeholders that the pages have for an address, such as `HOST:PORT`.
const ADDRESS: &str = "127.0.0.1:1253";

#[test]
fn every_command_parses_and_every_file_that_it_names_is_there() {
    let mut seen = 0;
    for (path, page) in pages() {
        for command in commands(&page) {
            // Patterns, not commands: they name what may be given.
            if command.contains(['…', '*', '<']) {
                continue;
            }
            let command = command
                .replace("HOST:PORT", ADDRESS)
                .replace("[ADDR]", ADDRESS)
                .replace("SHELL", "bash");
            let words = words(&command);
            let parsed = Cli::try_parse_from(&words);
            // Spoken of, without all that it takes: what is there of it is right.
            let spoken_of = clap::error::ErrorKind::MissingRequiredArgument;
            if let Err(error) = parsed
                && error.kind() != spoken_of
            {
                panic!("{}: `{command}`: {error}", path.display());
            }
            for file in words
                .iter()
                .filter(|word| word.contains("scenarios") && !word.contains('$'))
            {
                assert!(root().join(file).exists(), "{}: {command}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} commands: are they still found?");
}

#[test]
fn every_scenario_of_the_pages_is_valid() {
    let mut seen = 0;
    for (path, page) in pages() {
        for (_, block) in blocks(&page).iter().filter(|(kind, _)| *kind == "toml") {
            let scenario = Scenario::new(block);
            let mut validate = chatbench(&["validate", scenario.path()]);
            // What a scenario takes out of the environment is there, as its page asks for.
            let variables = block.split("{env.").skip(1);
            let names = variables.filter_map(|rest| rest.split_once('}'));
            validate.envs(names.map(|(name, _)| (name, "a secret")));
            let checked = validate.output().unwrap();
            assert!(
                checked.status.success(),
                "{}: {}",
                path.display(),
                stderr(&checked)
            );
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} scenarios: are they still found?");
}

/// Links to files of the repository, and to headings in them.
#[test]
fn every_link_leads_somewhere() {
    for (path, page) in pages() {
        for link in page
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
        {
            let (target, anchor) = link.0.split_once('#').unwrap_or((link.0, ""));
            if target.contains("://") {
                continue;
            }
            let there = match target {
                "" => path.clone(),
                target => path.parent().unwrap().join(target),
            };
            assert!(there.exists(), "{}: {}", path.display(), link.0);
            if !anchor.is_empty() {
                let found = read(&there).lines().any(|line| {
                    let slug: String = line
                        .trim_start_matches('#')
                        .trim()
                        .to_lowercase()
                        .chars()
                        .filter_map(|c| match c {
                            ' ' => Some('-'),
                            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                            _ => None,
                        })
                        .collect();
                    line.starts_with('#') && slug == anchor
                });
                assert!(found, "{}: no heading for {}", path.display(), link.0);
            }
        }
    }
}

/// The rows of the table below `heading`, their cells trimmed.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, below) = page
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"));
    let rows = below
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2);
    rows.map(|row| {
        let row = row.replace("\\|", "\u{1}");
        let cells = row.trim_matches('|').split('|');
        cells
            .map(|cell| cell.trim().replace('\u{1}', "|"))
            .collect()
    })
    .collect()
}

/// What stands between backticks.
fn code(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_contract_has_every_verb_every_option_and_every_exit_code() {
    let page = read(&root().join("docs/SCENARIO.md"));
    let rows = table(&page, "## Verbs");
    let cli = Cli::command();
    let verbs: Vec<_> = cli.get_subcommands().map(clap::Command::get_name).collect();
    let documented: Vec<_> = rows
        .iter()
        .map(|row| row[0].trim_matches('`').split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(documented, verbs, "the verbs, in the order of --help");
    let options = table(&page, "### Options");
    for (row, verb) in options.iter().zip(cli.get_subcommands()) {
        let name = verb.get_name();
        assert_eq!(
            row[0],
            format!("`{name}`"),
            "the options of each verb in order"
        );
        let known: BTreeSet<_> = verb
            .get_arguments()
            .filter(|option| !option.is_hide_set())
            .filter_map(clap::Arg::get_long)
            .map(|long| format!("--{long}"))
            .collect();
        let told = code(&row[1])
            .into_iter()
            .filter(|word| word.starts_with("--"));
        assert_eq!(told.collect::<BTreeSet<_>>(), known, "options of {name}");
        let help = verb
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let codes: Vec<_> = help
            .lines()
            .filter_map(|line| line.trim_start().split_once("  "))
            .map(|(code, _)| code)
            .filter(|code| code.parse::<u8>().is_ok())
            .collect();
        assert_eq!(row[2], codes.join(", "), "exit codes of {name}");
    }
    assert_eq!(options.len(), verbs.len());
}

#[test]
fn the_exit_codes_of_verdicts_are_the_codes() {
    use chatbench::report::Verdict;
    for page in ["README.md", "docs/SCENARIO.md"] {
        let text = read(&root().join(page));
        let (_, below) = text
            .split_once("| code | verdict |")
            .or_else(|| text.split_once("| exit code | verdict |"))
            .unwrap();
        for verdict in Verdict::ALL {
            let row = format!("| {} | {} |", verdict.exit_code(), verdict.name());
            assert!(below.contains(&row), "{page} lacks {row}");
        }
    }
}

#[test]
fn the_counts_are_those_of_the_code() {
    let readme = read(&root().join("README.md"));
    let faults = format!("lists {} ways", Fault::ALL.len());
    assert!(readme.contains(&faults), "README does not say: {faults}");
    let kinds = format!("{} kinds of violation", Kind::ALL.len());
    assert!(readme.contains(&kinds), "README does not say: {kinds}");
    let verification = read(&root().join("docs/VERIFICATION.md"));
    for kind in Kind::ALL {
        assert!(
            verification.contains(&format!("`{kind}`")),
            "VERIFICATION.md lacks {kind}"
        );
    }
    let catalogue = read(&root().join("docs/FAULTS.md"));
    for fault in Fault::ALL {
        assert!(
            catalogue.contains(&format!("`{fault}`")),
            "FAULTS.md lacks {fault}"
        );
    }
    let scenarios = table(&readme, "[thresholds]\nrelay = [\"p99 < 50ms\"]\n```");
    let mut told: Vec<_> = scenarios.iter().flat_map(|row| code(&row[0])).collect();
    told.sort();
    let all = fs::read_dir(root().join("scenarios")).unwrap();
    let files = all.map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|one| one == "toml"));
    let mut there: Vec<_> = files
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    there.sort();
    assert_eq!(told, there, "the scenarios that README lists");
}

/// The words of a summary, without numbers, units and marks.
fn vocabulary(summary: &str) -> BTreeSet<String> {
    summary
        .to_lowercase()
        .split(|c: char| !(c.is_alphabetic() || c == '_' || c == '-'))
        .map(|word| word.trim_matches('-').to_owned())
        .filter(|word| word.chars().count() > 3)
        .collect()
}

/// README shows what a run says: each word of its samples is one that a run says today, or that
/// stands in the texts that the tests of the summary expect.
#[test]
fn the_samples_of_the_readme_use_todays_words() {
    let readme = read(&root().join("README.md"));
    let samples: Vec<_> = blocks(&readme)
        .into_iter()
        .filter(|(kind, block)| *kind == "text" && block.starts_with("fanout · "))
        .map(|(_, block)| block)
        .collect();
    assert_eq!(samples.len(), 2, "a pass and a fail");
    let scenario = root().join("scenarios/fanout.toml");
    let sets = ["run.duration=1s", "target.faults=[\"drop-relay\"]"];
    let mut args = vec!["run", scenario.to_str().unwrap(), "--no-progress", "-v"];
    for set in sets {
        args.extend(["--set", set]);
    }
    let said = stdout(&output(&args));
    let mut known = vocabulary(&said);
    let expected = fs::read_dir(root().join("src/report/summary/snapshots")).unwrap();
    for text in expected {
        known.extend(vocabulary(&read(&text.unwrap().path())));
    }
    known.extend(vocabulary(&read(&scenario)));
    for sample in samples {
        let words = vocabulary(&sample);
        let stale: Vec<_> = words.difference(&known).collect();
        assert!(stale.is_empty(), "no run says {stale:?}, but:\n{said}");
    }
}
