//! `chatbench selftest`: every fault of the catalogue, over many seeds, in scenarios in which it
//! can be seen, against the verifier; and as many clean runs beside them, which must find nothing.
//!
//! Each is a real run: the driver over loopback against `chatbench serve --fault` as a child. The
//! server says at its end what it did wrong, and to whom; the verifier, which knows nothing of
//! that, says what it saw; `cell` compares the two. `system` does the same on a system of the user's.

pub mod cell;
mod system;
mod table;

use std::io::{self, IsTerminal};
use std::num::{NonZeroU64, NonZeroUsize};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use cell::{Cell, Judge, Ran, Verdict, carry_out, scenarios_of};
use system::System;

use super::{EXIT_USAGE, fail, print};
use crate::report::{self, Style};
use crate::server::fault::catalogue::Fault;
use crate::server::fault::request::BadRequest;
use crate::terminal;

/// Clean runs for each run with a fault of one seed and scenario.
const CLEAN_RUNS: u64 = 5;

/// Columns of the table with its longest verdict, and more.
const WIDEST: usize = 120;

/// Arguments of `chatbench selftest`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a target the reference server commits the faults. With --target or FILE it is your own \
system that is tried: a proxy between it and the clients commits them, one a run, and none in clean \
runs. Of FILE the sections [target], [protocol] and [verify] are taken; the load is the selftest's \
own.

Exit codes:
    0  every fault that could be seen was reported as what it is, and nothing else was
    1  one was missed, misnamed or imagined
    2  bad usage
    3  nothing was missed, misnamed or imagined, but some of it could not be judged
  130  interrupted")]
pub struct Args {
    /// Seeds for each fault and scenario, from 1 on
    #[arg(long, value_name = "N", default_value = "2")]
    seeds: NonZeroU64,

    /// Only this seed
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,

    /// Only this fault, or `none` for clean runs alone (repeatable)
    #[arg(long = "fault", value_name = "NAME", value_parser = parse_subject)]
    faults: Vec<Subject>,

    /// Only this scenario of the selftest
    #[arg(long, value_name = "NAME", value_parser = parse_scenario, conflicts_with = "system")]
    scenario: Option<&'static cell::Scenario>,

    /// Clean runs of each scenario [default: five times the seeds]
    #[arg(long, value_name = "N")]
    clean: Option<u64>,

    /// How the verifier judges the runs (repeatable)
    #[arg(
        long,
        value_name = "BY",
        value_enum,
        default_value = "numbers",
        conflicts_with = "system"
    )]
    judge: Vec<Judge>,

    /// Runs at a time [default: as many as there are cores]
    #[arg(long, value_name = "N", conflicts_with = "system")]
    jobs: Option<NonZeroUsize>,

    /// Print what was committed and what was reported in every run
    #[arg(short, long)]
    verbose: bool,

    /// Show no progress
    #[arg(long)]
    no_progress: bool,

    #[command(flatten)]
    system: System,
}

/// The name of a fault, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subject(Option<&'static str>);

fn parse_subject(name: &str) -> Result<Subject, BadRequest> {
    if name == "none" {
        return Ok(Subject(None));
    }
    if let Some(fault) = crate::proxy::Fault::by_name(name) {
        return Ok(Subject(Some(fault.name())));
    }
    let request: crate::server::fault::request::Request = name.parse()?;
    Ok(Subject(Some(request.fault.name())))
}

fn parse_scenario(name: &str) -> Result<&'static cell::Scenario, String> {
    let mut all = cell::SCENARIOS.iter();
    all.find(|scenario| scenario.name == name).ok_or_else(|| {
        let names: Vec<_> = cell::SCENARIOS.iter().map(|s| s.name).collect();
        format!("the scenarios are {}", names.join(", "))
    })
}

/// Carries out the verb.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    if args.system.is_given() {
        return system::main(args);
    }
    if args.system.tls.are_given() || args.system.protocol.are_given() {
        let error = "options for TLS, and for how an application talks, are about a system of \
                     yours: --target URL, or a scenario's FILE";
        return fail(EXIT_USAGE, error);
    }
    let beyond_it =
        |subject: &&Subject| subject.0.is_some_and(|name| Fault::by_name(name).is_none());
    if let Some(Subject(Some(name))) = args.faults.iter().find(beyond_it) {
        let error = format!(
            "--fault {name}: only the proxy commits it, between clients and a system of yours: \
             --target URL, or a scenario's FILE"
        );
        return fail(EXIT_USAGE, &error);
    }
    let cells = cells(args);
    if cells.is_empty() {
        terminal::complain(
            "no run is left: that fault cannot be seen in that scenario, or by that judge",
        );
        return ExitCode::from(EXIT_USAGE);
    }
    let jobs = args.jobs.map_or_else(
        || thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let (ran, interrupted) = run_all(&cells, jobs, &Progress::new(args, cells.len()));
    let text = table::render(&ran, args.verbose, style_of_table());
    if let Err(error) = print(&text) {
        return fail(EXIT_USAGE, &error.to_string());
    }
    let verdict = if interrupted {
        let (ran, all) = (ran.len(), cells.len());
        terminal::complain(format_args!("interrupted after {ran} of {all} runs"));
        report::Verdict::Interrupted
    } else {
        table::overall(&ran)
    };
    ExitCode::from(verdict.exit_code())
}

/// The style of a table on standard output.
fn style_of_table() -> Style {
    match io::stdout() {
        // A table that a program reads has one line per row.
        stdout if !stdout.is_terminal() => Style {
            width: WIDEST,
            ..Style::detect(&stdout)
        },
        stdout => Style::detect(&stdout),
    }
}

/// The cells to run, for each way of judging: each fault in its scenarios, then clean runs in all
/// of them.
fn cells(args: &Args) -> Vec<Cell> {
    let mut judges = Vec::new();
    for judge in &args.judge {
        if !judges.contains(judge) {
            judges.push(*judge);
        }
    }
    judges
        .into_iter()
        .flat_map(|judge| cells_of(args, judge))
        .collect()
}

fn cells_of(args: &Args, judge: Judge) -> Vec<Cell> {
    let seeds = |count: u64| match args.seed {
        Some(seed) => seed..=seed,
        None => 1..=count,
    };
    let is_asked = |fault: Option<Fault>| {
        let subject = Subject(fault.map(Fault::name));
        args.faults.is_empty() || args.faults.contains(&subject)
    };
    let here = |scenario: &&'static cell::Scenario| {
        judge.runs(scenario) && args.scenario.is_none_or(|s| s == *scenario)
    };
    let cells_in = |scenario, fault, count| {
        seeds(count).map(move |seed| Cell {
            fault,
            scenario,
            seed,
            judge,
        })
    };
    let mut cells = Vec::new();
    let asked = |fault: &&Fault| is_asked(Some(**fault)) && judge.sees(**fault);
    for &fault in Fault::ALL.iter().filter(asked) {
        for scenario in scenarios_of(fault).iter().filter(here) {
            cells.extend(cells_in(scenario, Some(fault), args.seeds.get()));
        }
    }
    if is_asked(None) {
        let clean = args.clean.unwrap_or(args.seeds.get() * CLEAN_RUNS);
        for scenario in cell::SCENARIOS.iter().filter(here) {
            cells.extend(cells_in(scenario, None, clean));
        }
    }
    cells
}

/// Runs all cells, `jobs` at a time. Returns what ran, in order, and whether it was interrupted.
fn run_all(cells: &[Cell], jobs: usize, progress: &Progress) -> (Vec<Ran>, bool) {
    let next = AtomicUsize::new(0);
    let interrupted = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    let mut ran: Vec<(usize, Ran)> = thread::scope(|scope| {
        for _ in 0..jobs.min(cells.len()) {
            let sender = sender.clone();
            let (next, interrupted) = (&next, &interrupted);
            scope.spawn(move || {
                while !interrupted.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(cell) = cells.get(index) else { break };
                    match carry_out(*cell) {
                        Some(ran) => drop(sender.send((index, ran))),
                        None => interrupted.store(true, Ordering::Relaxed),
                    }
                }
            });
        }
        drop(sender);
        receiver
            .iter()
            .inspect(|(_, ran)| progress.ran(ran))
            .collect()
    });
    progress.clear();
    ran.sort_by_key(|(index, _)| *index);
    let ran = ran.into_iter().map(|(_, ran)| ran).collect();
    (ran, interrupted.into_inner())
}

/// A bar on a terminal; wherever it is, a line for each run that went wrong.
struct Progress {
    bar: indicatif::ProgressBar,
}

impl Progress {
    fn new(args: &Args, runs: usize) -> Self {
        let hidden = args.no_progress || !io::stderr().is_terminal();
        let bar = if hidden {
            indicatif::ProgressBar::hidden()
        } else {
            indicatif::ProgressBar::new(runs as u64)
        };
        let template = match terminal::columns(&io::stderr()) {
            Some(1..80) => "{pos}/{len} runs · {wide_msg}",
            _ => "{bar:30} {pos}/{len} runs · {eta} left · {wide_msg}",
        };
        if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// A run is over.
    fn passed(&self, subject: &str) {
        self.bar.inc(1);
        self.bar.set_message(subject.to_owned());
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn ran(&self, ran: &Ran) {
        self.passed(&table::subject(ran.cell));
        let wrong = [Verdict::Missed, Verdict::Misnamed, Verdict::Imagined];
        if wrong.contains(&ran.verdict) {
            self.bar.suspend(|| {
                let subject = table::subject(ran.cell);
                let word = table::word(&ran.verdict);
                terminal::tell(format_args!(
                    "{subject}: {word}: {}",
                    table::rerun(ran.cell)
                ));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Selftest {
        #[command(flatten)]
        args: Args,
    }

    fn runs(judges: &[&str]) -> usize {
        let judges = judges.iter().flat_map(|judge| ["--judge", judge]);
        let selftest = Selftest::parse_from(["selftest"].into_iter().chain(judges));
        cells(&selftest.args).len()
    }

    #[test]
    fn each_way_of_judging_is_carried_out_once() {
        let (numbers, outside) = (runs(&["numbers"]), runs(&["outside"]));
        assert_eq!(runs(&[]), numbers);
        assert_eq!(runs(&["numbers", "outside", "numbers"]), numbers + outside);
    }

    #[test]
    fn the_help_says_of_each_way_of_judging_what_it_goes_by() {
        let help = Selftest::command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for said in [
            "How the verifier judges the runs (repeatable)",
            "- numbers: By the numbers that the server gives to messages",
            "- outside: Without them, by what each client sends and receives",
            "- classic: The same with clients of the classic dialect",
            "- fifo: As outside, on two shards, as a target that keeps each sender's own order",
            "- websocket: By the numbers, with clients over WebSocket",
        ] {
            assert!(help.contains(said), "{said}: {help}");
        }
    }
}
