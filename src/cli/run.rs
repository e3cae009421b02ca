//! `chatbench run`: scenarios one after another, each to a summary, a result and a verdict.

use std::ffi::OsString;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use humantime::format_duration;

use super::compare::TermsArgs;
use super::overrides::Overrides;
use super::progress::Progress;
use super::prometheus::PrometheusArgs;
use super::{EXIT_USAGE, fail, own_program, print};
use crate::driver::outcome::Outcome;
use crate::driver::run::{RunError, run};
use crate::report::compare::{self, Side};
use crate::report::{Report, RunResult, Style, Verdict, table, verdict};
use crate::scenario::plan::Plan;
use crate::signals::Signals;
use crate::terminal;
use crate::verify::trace::file::Recording;

mod board;
mod outputs;

use board::Board;
use outputs::Outputs;

/// Arguments of `chatbench run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
    0  pass: verified, and within the thresholds
    1  fail: at least one violation
    2  bad usage or an invalid scenario, and nothing was run; or an output could not be written
    3  inconclusive: nothing can be said, and why
   99  a threshold was crossed, for certain
  130  interrupted: Ctrl-C, SIGTERM or SIGHUP ends the load early, drains and reports; a second \
one reports at once")]
pub struct Args {
    /// Scenario files, or directories of them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    overrides: Overrides,

    #[command(flatten)]
    options: RunOptions,
}

/// The options of every verb that runs scenarios: what is shown, where results go, what they are
/// compared with.
#[derive(Debug, clap::Args)]
pub(super) struct RunOptions {
    /// Write everything into this directory (a directory each for several scenarios):
    /// result.json, report.html, summary.txt, junit.xml, latency.hlog and *.hgrm
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Write the result as JSON; `-` for standard output, in place of the summary
    #[arg(long, value_name = "FILE|-")]
    json: Option<OsString>,

    /// Record everything that is verified into this file, for `chatbench verify`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Write the HTML report: one file, no network needed to read it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the verdicts of all scenarios as JUnit XML, for CI systems
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Run each scenario N times, to know how far its figures vary; with --out, a numbered
    /// directory each
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    repeat: NonZero<usize>,

    /// Compare with an earlier result, or a directory of them; a regression exits 1. With --out,
    /// compare.html shows it
    #[arg(long, value_name = "RESULT")]
    baseline: Option<PathBuf>,

    #[command(flatten)]
    terms: TermsArgs,

    #[command(flatten)]
    prometheus: PrometheusArgs,

    /// Allow --prometheus on an address that other machines can reach
    #[arg(long, requires = "prometheus")]
    allow_remote: bool,

    /// Overwrite results that are there already, and an earlier trace
    #[arg(long)]
    force: bool,

    /// Show no progress
    #[arg(long)]
    no_progress: bool,

    /// Say nothing on standard error but what is wrong
    #[arg(short, long)]
    quiet: bool,

    /// Sum up in full: every percentile with its interval, groups, rooms, processes, coverage,
    /// each threshold
    #[arg(short, long)]
    verbose: bool,
}

/// Carries out the verb.
#[must_use]
#[allow(clippy::needless_pass_by_value)] // a verb owns its arguments
pub fn main(args: Args) -> ExitCode {
    let plans = match args.overrides.load_all(&args.paths) {
        Ok(plans) => plans,
        Err(scenarios) => {
            // The errors have been printed already.
            return match outputs::write_invalid(&args.options, &scenarios) {
                Ok(()) => ExitCode::from(EXIT_USAGE),
                Err(error) => fail(EXIT_USAGE, &error),
            };
        }
    };
    carry_out(&plans, &args.options, &|path, seed| {
        args.overrides.rerun("run", path, seed)
    })
}

impl RunOptions {
    /// Whether files that are there already are overwritten.
    pub(super) fn force(&self) -> bool {
        self.force
    }

    /// Whether only what is wrong is said on standard error.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }
}

/// Runs `plans`, each of which is of a path; `rerun` is the command that runs that of a path with a
/// seed again.
pub(super) fn carry_out(
    plans: &[(PathBuf, Plan)],
    args: &RunOptions,
    rerun: &dyn Fn(&Path, u64) -> String,
) -> ExitCode {
    let prepared =
        baseline(args, plans).and_then(|baseline| Ok((baseline, Outputs::prepare(args, plans)?)));
    let (baseline, outputs) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let mut trace = match recording(args, plans.len() * args.repeat.get()) {
        Ok(trace) => trace,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let mut board = match Board::open(args) {
        Ok(board) => board,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(Verdict::Inconclusive.exit_code(), &error.to_string()),
    };
    let signals = {
        let _context = runtime.enter();
        Signals::catch()
    };
    let mut signals = match signals {
        Ok(signals) => signals,
        Err(error) => return fail(Verdict::Inconclusive.exit_code(), &error.to_string()),
    };
    if plans.len() * args.repeat.get() > 1 && !args.quiet {
        announce(plans, args.repeat.get());
    }
    let mut worst = Verdict::Pass;
    let mut results = Vec::new();
    // An output that could not be written; the others still are.
    let mut lost = None;
    let repeats = args.repeat.get();
    let runs: Vec<_> = plans
        .iter()
        .flat_map(|plan| std::iter::repeat_n(plan, repeats))
        .collect();
    for (index, (path, plan)) in runs.iter().enumerate() {
        let started = SystemTime::now();
        let which = which(plan, index, plans.len(), repeats);
        let mut progress = Progress::new(args.quiet, args.no_progress, &which);
        if let Some(board) = &mut board {
            board.show(plan);
        }
        let result = runtime.block_on(run(
            plan,
            &own_program(),
            trace.as_ref(),
            &mut |snapshot, collector| {
                progress.update(snapshot);
                if let Some(board) = &mut board {
                    board.update(snapshot, collector);
                }
            },
        ));
        progress.finish();
        let aborted = matches!(result, Err(RunError::Aborted));
        let outcome = result.unwrap_or_else(|error| {
            terminal::complain(format_args!("{}: {error}", plan.name));
            Outcome::of_error(plan, started, &error)
        });
        let mut report = Report::new(plan, outcome);
        report.result.rerun = rerun(path, plan.seed);
        worst = worst.max(report.verdict);
        lost = lost.or(outputs.write(index, &report).err());
        match trace.take() {
            // The trace would end in the middle of the run.
            Some(trace) if report.outcome.error.is_some() => trace.discard(),
            Some(trace) => lost = lost.or(finish_trace(trace, plan, &report).err()),
            None => (),
        }
        results.push(report.result);
        // Between two runs nothing else handles signals.
        if runtime.block_on(signals.came()) {
            worst = Verdict::Interrupted;
        }
        if worst == Verdict::Interrupted || lost.is_some() {
            if aborted {
                let not_run = not_run(&runs, results.len());
                lost = lost.or(outputs.write_junit(&results, &not_run).err());
                if let Some(error) = lost {
                    terminal::complain(&error);
                }
                // The shards' threads are not waited for.
                std::process::exit(Verdict::Interrupted.exit_code().into());
            }
            break;
        }
    }
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    let not_run = not_run(&runs, results.len());
    lost = lost.or(outputs.write_junit(&results, &not_run).err());
    if runs.len() > 1 && !outputs.json_on_stdout() {
        let text = table::render(&results, Style::detect(&io::stdout()));
        lost = lost.or(print(&format!("\n{text}")).err().map(|e| e.to_string()));
    }
    if let Some(baseline) = baseline {
        match compared(args, &baseline, results, &outputs) {
            Ok(verdict) => worst = worst.max(verdict),
            Err(error) => lost = lost.or(Some(error)),
        }
    }
    match lost {
        Some(error) => fail(EXIT_USAGE, &error),
        None => ExitCode::from(worst.exit_code()),
    }
}

/// The names of the scenarios whose turn did not come.
fn not_run<'a>(runs: &[&'a (PathBuf, Plan)], done: usize) -> Vec<&'a str> {
    let left = runs.iter().skip(done);
    left.map(|(_, plan)| plan.name.as_str()).collect()
}

/// Says how long several runs will take.
fn announce(plans: &[(PathBuf, Plan)], repeats: usize) {
    let once: Duration = plans.iter().map(|(_, plan)| plan.planned()).sum();
    let drains: Duration = plans.iter().map(|(_, plan)| plan.run.drain).sum();
    let times = repeats as u32;
    let shown =
        |time: Duration| format_duration(Duration::from_secs(time.as_secs_f64().ceil() as u64));
    terminal::complain(format_args!(
        "{} runs, about {} in all, and up to {} more while they drain",
        plans.len() * repeats,
        shown(once.saturating_mul(times)),
        shown(drains.saturating_mul(times)),
    ));
}

/// Which of several runs it is: `churn, 2 of 5`, `fanout, repeat 3 of 5`; empty where there is one.
fn which(plan: &Plan, index: usize, plans: usize, repeats: usize) -> String {
    let place = |what: &str, at: usize, of: usize| match of {
        1 => String::new(),
        of => format!(", {what}{} of {of}", at + 1),
    };
    match plans * repeats {
        1 => String::new(),
        _ => {
            let repeat = place("repeat ", index % repeats, repeats);
            plan.name.clone() + &place("", index / repeats, plans) + &repeat
        }
    }
}

fn at_least_one(text: &str) -> Result<NonZero<usize>, String> {
    text.parse()
        .map_err(|_| "expected a whole number from 1 on".to_owned())
}

/// The trace that was asked for.
fn recording(args: &RunOptions, runs: usize) -> Result<Option<Recording>, String> {
    let Some(path) = &args.trace else {
        return Ok(None);
    };
    if runs > 1 {
        return Err(format!(
            "--trace records one run, not {runs}: name one scenario, without --repeat"
        ));
    }
    let recording = Recording::create(path, args.force);
    recording.map(Some).map_err(|e| e.to_string())
}

/// Ends the trace with the facts that a replay could not derive from it.
fn finish_trace(trace: Recording, plan: &Plan, report: &Report) -> Result<(), String> {
    let mut doubts = verdict::doubts(plan, &report.outcome, report.result.environment.cpus);
    if report.outcome.findings.unfinished == 0 {
        // A replay comes to the other reasons for that by itself.
        doubts.extend(verdict::unfinished(&report.outcome));
    }
    if let Some(interruption) = &report.outcome.interrupted {
        doubts.insert(0, format!("the run was {interruption}"));
    }
    trace.finish(doubts).map(drop).map_err(|e| e.to_string())
}

/// The results to compare with, if any are asked for: of the same scenario, or nothing is run.
fn baseline(args: &RunOptions, plans: &[(PathBuf, Plan)]) -> Result<Option<Side>, String> {
    let Some(path) = &args.baseline else {
        return Ok(None);
    };
    let [(_, plan)] = plans else {
        let count = plans.len();
        return Err(format!("--baseline takes one scenario, not {count}"));
    };
    let side = Side::load(path).map_err(|e| e.to_string())?;
    if !args.terms.allow_different {
        for run in &side.runs {
            let differences = compare::differences(&run.scenario.resolved, &plan.resolved);
            if !differences.is_empty() {
                let different = compare::Error::Different {
                    base: side.name,
                    new: plan.name.clone(),
                    differences,
                };
                return Err(different.to_string());
            }
        }
    }
    Ok(Some(side))
}

/// Says what changed since the baseline; a regression is a failure.
fn compared(
    args: &RunOptions,
    baseline: &Side,
    results: Vec<RunResult>,
    outputs: &Outputs,
) -> Result<Verdict, String> {
    let new = Side {
        name: "this run".to_owned(),
        runs: results,
    };
    let terms = args.terms.terms();
    let comparison = compare::compare(baseline, &new, &terms);
    if outputs.json_on_stdout() {
        if !args.quiet {
            let text = compare::render(&comparison, Style::detect(&io::stderr()));
            terminal::tell_page(&format!("\n{text}"));
        }
    } else {
        let text = compare::render(&comparison, Style::detect(&io::stdout()));
        print(&format!("\n{text}")).map_err(|e| e.to_string())?;
    }
    let verdict = comparison.verdict();
    outputs.write_compared(comparison)?;
    Ok(verdict)
}
