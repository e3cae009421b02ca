//! `chatbench run`: scenarios one after another, each to a summary, a result and a verdict.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::progress::Progress;
use super::{EXIT_USAGE, complain};
use crate::driver::run::{RunError, run};
use crate::report::files::{Destination, Directory};
use crate::report::{Report, Style, Verdict, json, summary, table, verdict};
use crate::scenario::{self, plan::Plan};
use crate::verify::trace::file::Recording;

/// Arguments of `chatbench run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
    0  pass: verified, and within the thresholds
    1  fail: at least one violation
    2  bad usage or an invalid scenario; nothing was run
    3  inconclusive: nothing can be said, and why
   99  verified, but a threshold was crossed
  130  interrupted: Ctrl-C ends the load early, drains and reports; a second one ends at once")]
pub struct Args {
    /// Scenario files, or directories of them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,

    /// The target, over the file's: embedded, or ndjson://HOST:PORT
    #[arg(long, value_name = "URL")]
    target: Option<String>,

    /// Set a key over the file's, e.g. clients.talkers.rate=2000 (repeatable)
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,

    /// The seed of all randomness, over the file's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Write result.json and summary.txt into this directory (a directory each for several
    /// scenarios)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Write the result as JSON; `-` for standard output, in place of the summary
    #[arg(long, value_name = "FILE|-")]
    json: Option<OsString>,

    /// Record everything that is verified into this file, for `chatbench verify`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Overwrite results that stand in the output directory already, and an earlier trace
    #[arg(long)]
    force: bool,

    /// Show no progress
    #[arg(long)]
    no_progress: bool,

    /// Say nothing on standard error but what is wrong
    #[arg(short, long)]
    quiet: bool,
}

/// Carries out the verb.
#[must_use]
#[allow(clippy::needless_pass_by_value)] // a verb owns its arguments
pub fn main(args: Args) -> ExitCode {
    let Some(plans) = load(&args) else {
        return ExitCode::from(EXIT_USAGE);
    };
    let outputs = match Outputs::prepare(&args, &plans) {
        Ok(outputs) => outputs,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let mut trace = match recording(&args, plans.len()) {
        Ok(trace) => trace,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(Verdict::Inconclusive.exit_code(), &error.to_string()),
    };
    let mut worst = Verdict::Pass;
    let mut reports = Vec::new();
    for (index, (path, plan)) in plans.iter().enumerate() {
        let mut progress = Progress::new(args.quiet || args.no_progress);
        let result = runtime.block_on(run(plan, trace.as_ref(), &mut |snapshot| {
            progress.update(snapshot);
        }));
        progress.finish();
        match result {
            Ok(outcome) => {
                let mut report = Report::new(plan, outcome);
                let traced = match trace.take() {
                    Some(trace) => finish_trace(trace, plan, &report),
                    None => Ok(()),
                };
                report.rerun = rerun(&args, path, plan.seed);
                worst = worst.max(report.verdict);
                if let Err(error) = outputs.write(index, &report) {
                    return fail(EXIT_USAGE, &error);
                }
                if let Err(error) = traced {
                    return fail(EXIT_USAGE, &error);
                }
                reports.push(report);
            }
            // The shards' threads are not waited for.
            Err(RunError::Aborted) => std::process::exit(Verdict::Interrupted.exit_code().into()),
            Err(error) => {
                worst = worst.max(Verdict::Inconclusive);
                if let Some(trace) = trace.take() {
                    trace.discard();
                }
                eprintln!("chatbench: {}: {error}", plan.name);
            }
        }
        if worst == Verdict::Interrupted {
            break;
        }
    }
    if plans.len() > 1 && !outputs.json_on_stdout() {
        print(&table::render(&reports, Style::detect(&io::stdout())));
    }
    ExitCode::from(worst.exit_code())
}

/// The trace that was asked for.
fn recording(args: &Args, scenarios: usize) -> Result<Option<Recording>, String> {
    let Some(path) = &args.trace else {
        return Ok(None);
    };
    if scenarios > 1 {
        return Err(format!(
            "--trace records one run, not {scenarios}: name one scenario"
        ));
    }
    let recording = Recording::create(path, args.force);
    recording.map(Some).map_err(|e| e.to_string())
}

/// Ends the trace with what a replay of it could not know.
fn finish_trace(trace: Recording, plan: &Plan, report: &Report) -> Result<(), String> {
    let mut doubts = verdict::doubts(plan, &report.outcome, report.environment.cpus);
    if report.outcome.interrupted {
        doubts.insert(0, "the run was ended early by Ctrl-C".to_owned());
    }
    trace.finish(doubts).map(drop).map_err(|e| e.to_string())
}

/// All scenarios, or none if anything is wrong with any of them.
fn load(args: &Args) -> Option<Vec<(PathBuf, Plan)>> {
    let files = match scenario::files(&args.paths) {
        Ok(files) => files,
        Err(diagnostics) => {
            complain(&diagnostics);
            return None;
        }
    };
    let mut plans = Vec::new();
    let mut all_valid = true;
    for file in files {
        match scenario::load(&file, &args.set, args.seed, args.target.as_deref()) {
            Ok(plan) => {
                complain(&plan.warnings);
                plans.push((file, plan));
            }
            Err(diagnostics) => {
                complain(&diagnostics);
                all_valid = false;
            }
        }
    }
    all_valid.then_some(plans)
}

/// Where results go: found to be writable before anything runs.
struct Outputs {
    json: Option<Destination>,
    directories: Vec<Directory>,
    quiet: bool,
}

impl Outputs {
    fn prepare(args: &Args, plans: &[(PathBuf, Plan)]) -> Result<Self, String> {
        let json = args.json.clone().map(Destination::from);
        if json.is_some() && plans.len() > 1 {
            let count = plans.len();
            return Err(format!(
                "--json takes one result, not {count}: use --out DIR"
            ));
        }
        if let Some(json) = &json {
            json.check().map_err(|e| e.to_string())?;
        }
        let mut directories = Vec::new();
        if let Some(out) = &args.out {
            for (_, plan) in plans {
                let path = if plans.len() > 1 {
                    out.join(&plan.name)
                } else {
                    out.clone()
                };
                let directory = Directory::prepare(&path, args.force).map_err(|e| e.to_string())?;
                directories.push(directory);
            }
        }
        Ok(Self {
            json,
            directories,
            quiet: args.quiet,
        })
    }

    fn json_on_stdout(&self) -> bool {
        matches!(self.json, Some(Destination::Stdout))
    }

    fn write(&self, index: usize, report: &Report) -> Result<(), String> {
        if !self.json_on_stdout() {
            print(&summary::render(report, Style::detect(&io::stdout())));
        } else if !self.quiet {
            eprint!("{}", summary::render(report, Style::detect(&io::stderr())));
        }
        if let Some(json) = &self.json {
            json.write(&json::render(report))
                .map_err(|e| e.to_string())?;
        }
        if let Some(directory) = self.directories.get(index) {
            directory.write(report).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// A reader that hangs up early (`| head`) is no error of ours.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

fn fail(code: u8, error: &str) -> ExitCode {
    eprintln!("chatbench: {error}");
    ExitCode::from(code)
}

/// The command line that runs this scenario the same way again.
fn rerun(args: &Args, path: &Path, seed: u64) -> String {
    let mut words = vec![
        "chatbench".to_owned(),
        "run".to_owned(),
        quoted(&path.display().to_string()),
    ];
    words.extend(["--seed".to_owned(), seed.to_string()]);
    if let Some(target) = &args.target {
        words.extend(["--target".to_owned(), quoted(target)]);
    }
    for set in &args.set {
        words.extend(["--set".to_owned(), quoted(set)]);
    }
    words.join(" ")
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(
            quoted("clients.talkers.rate=2000"),
            "clients.talkers.rate=2000"
        );
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
