//! `chatbench selftest --target URL`: the verifier tried on a user's own system. A proxy stands
//! between driver and system and commits one fault a run; clean runs through a proxy that commits
//! none have to find nothing.

mod expected;
mod load;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use load::{Load, NoLoad};

use super::super::protocol_args::ProtocolArgs;
use super::super::tls::TlsArgs;
use super::super::{EXIT_USAGE, complain, fail, own_program, print};
use super::cell::Verdict;
use super::{Args, CLEAN_RUNS, style_of_table};
use crate::driver::outcome::Outcome;
use crate::driver::run::{RunError, run_by_proxy};
use crate::proxy::meddler::Task;
use crate::proxy::talk::{self, Talk};
use crate::proxy::{Committed, Fault};
use crate::report;
use crate::report::verdict::unfinished;
use crate::terminal;

/// The system, and the load that it gets.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("system").args(["file", "target"]).multiple(true)))]
pub(super) struct System {
    /// A scenario whose [target], [protocol] and [verify] say what your system is and promises
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,

    /// Your own system: a proxy commits the faults between it and the clients. The URL of a target,
    /// as `run` has it
    #[arg(long, value_name = "URL")]
    pub(super) target: Option<String>,

    /// Clients of each run
    #[arg(long, value_name = "N", default_value_t = 12, requires = "system")]
    pub(super) clients: u32,

    /// Messages a second of those who talk by a schedule, besides bursts and guests
    #[arg(long, value_name = "N", default_value_t = 200.0, requires = "system")]
    pub(super) rate: f64,

    /// Spread the clients evenly over so many rooms
    #[arg(long, value_name = "N", requires = "system", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rooms: Option<u32>,

    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 64, requires = "system")]
    pub(super) size: u32,

    /// Set any key of the scenario, e.g. verify.order="fifo" (repeatable)
    #[arg(long, value_name = "PATH=VALUE", requires = "system")]
    pub(super) set: Vec<String>,

    #[command(flatten)]
    pub(super) protocol: ProtocolArgs,

    #[command(flatten)]
    pub(super) tls: TlsArgs,
}

impl System {
    /// Whether a system of the user's is tried.
    pub(super) fn is_given(&self) -> bool {
        self.file.is_some() || self.target.is_some()
    }

    /// The words of the command line that name it.
    fn words(&self) -> String {
        let mut words = Vec::new();
        let quoted = super::super::overrides::quoted;
        words.extend(
            self.file
                .iter()
                .map(|file| quoted(&file.display().to_string())),
        );
        let mut option = |option: &str, value: String| {
            words.push(format!("{option} {}", quoted(&value)));
        };
        if let Some(target) = &self.target {
            option("--target", target.clone());
        }
        option("--clients", self.clients.to_string());
        option("--rate", self.rate.to_string());
        if let Some(rooms) = self.rooms {
            option("--rooms", rooms.to_string());
        }
        option("--size", self.size.to_string());
        for set in &self.set {
            option("--set", set.clone());
        }
        words.extend(self.protocol.words());
        words.extend(self.tls.options().into_iter().map(|option| option.given));
        words.join(" ")
    }
}

/// A run by proxy.
#[derive(Debug)]
struct Ran {
    fault: Option<Fault>,
    seed: u64,
    verdict: Verdict,
    /// Everything that was committed and that was reported, one line each.
    details: Vec<String>,
}

/// A fault and what it must be reported as, or why it has no place.
type Subject = (Fault, Result<&'static [&'static str], &'static str>);

/// Carries out the verb.
pub(super) fn main(args: &Args) -> ExitCode {
    let system = &args.system;
    let asked = match asked(args) {
        Ok(asked) => asked,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let prepared = Load::of(system).and_then(|load| {
        let plan = load.plan(system, None, 1).map_err(NoLoad::Scenario)?;
        Ok((load, plan))
    });
    let (load, plan) = match prepared {
        Ok(prepared) => prepared,
        Err(NoLoad::Usage(error)) => return fail(EXIT_USAGE, &error),
        Err(NoLoad::Scenario(diagnostics)) => {
            complain(&diagnostics);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    complain(&plan.warnings);
    let talk = talk::of(&plan.target.spoken);
    let subjects: Vec<Subject> = asked
        .iter()
        .filter_map(|fault| *fault)
        .map(|fault| (fault, expected::of(fault, &plan, &*talk)))
        .collect();
    let seeds: Vec<u64> = match args.seed {
        Some(seed) => vec![seed],
        None => (1..=args.seeds.get()).collect(),
    };
    let clean = match asked.contains(&None) {
        true => args.clean.unwrap_or(args.seeds.get() * CLEAN_RUNS),
        false => 0,
    };
    let mut runs: Vec<(Option<Fault>, u64)> = (1..=clean).map(|seed| (None, seed)).collect();
    for (fault, expected) in &subjects {
        if expected.is_ok() {
            runs.extend(seeds.iter().map(|seed| (Some(*fault), *seed)));
        }
    }
    let progress = super::Progress::new(args, runs.len());
    let mut ran: Vec<Ran> = Vec::new();
    let mut ended = None;
    for (fault, seed) in runs {
        let of_clean_run = ran.last().filter(|last| last.fault.is_none());
        let is_first_fault = fault.is_some() && of_clean_run.is_some();
        if is_first_fault && ran.iter().any(|ran| ran.verdict == Verdict::Imagined) {
            ended = Some(Ended::NotClean);
            break;
        }
        match carry_out(&load, system, &talk, fault, seed) {
            Ok(Some(one)) => {
                progress.passed(&subject(one.fault, one.seed));
                ran.push(one);
            }
            Ok(None) => {
                ended = Some(Ended::Interrupted);
                break;
            }
            Err(error) => {
                progress.clear();
                return fail(report::Verdict::Inconclusive.exit_code(), &error);
            }
        }
    }
    progress.clear();
    let again = |ran: &Ran| rerun(system, ran);
    let style = style_of_table();
    let text = table::render(&subjects, &ran, args.verbose, &again, style);
    if let Err(error) = print(&text) {
        return fail(EXIT_USAGE, &error.to_string());
    }
    let verdict = match ended {
        Some(Ended::Interrupted) => {
            terminal::complain(format_args!("interrupted after {} runs", ran.len()));
            report::Verdict::Interrupted
        }
        Some(Ended::NotClean) => {
            terminal::complain(
                "violations were reported though the proxy did nothing, so no fault could be told \
                 from them: `chatbench run` against the system without the proxy says whether they \
                 are its own",
            );
            report::Verdict::Fail
        }
        None => table::overall(&subjects, &ran),
    };
    ExitCode::from(verdict.exit_code())
}

/// Why not all was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Interrupted,
    NotClean,
}

/// The faults that are asked for, and `None` for clean runs.
fn asked(args: &Args) -> Result<Vec<Option<Fault>>, String> {
    if args.faults.is_empty() {
        let all = Fault::ALL.iter().copied().map(Some);
        return Ok(all.chain([None]).collect());
    }
    let names = args.faults.iter().map(|subject| subject.0);
    names
        .map(|name| match name {
            None => Ok(None),
            Some(name) => Fault::by_name(name).map(Some).ok_or_else(|| {
                let names: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
                format!(
                    "--fault {name}: only the reference server commits it; the proxy commits {}",
                    names.join(", ")
                )
            }),
        })
        .collect()
}

/// Makes one run; `None` if the user interrupted it.
fn carry_out(
    load: &Load,
    system: &System,
    talk: &Arc<dyn Talk>,
    fault: Option<Fault>,
    seed: u64,
) -> Result<Option<Ran>, String> {
    let plan = load.plan(system, fault, seed);
    let plan = plan.map_err(|diagnostics| diagnostics.render(false))?;
    let task = fault.map(|fault| Task {
        fault,
        after: after(system, seed),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let program = own_program();
    let ran = run_by_proxy(&plan, &program, Arc::clone(talk), task);
    let ran = runtime.block_on(ran);
    runtime.shutdown_background();
    let (outcome, served) = match ran {
        Ok(ran) => ran,
        Err(RunError::Aborted | RunError::NotBegun(_)) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if outcome.interrupted.is_some() {
        return Ok(None);
    }
    let right = fault.map(|fault| expected::of(fault, &plan, &**talk).unwrap_or_default());
    let excused = fault.is_some_and(|fault| expected::may_stay_unseen(fault, &plan));
    let committed = served.committed.as_ref();
    let verdict = verdict(right, excused, committed, &outcome);
    let mut details: Vec<String> = committed.iter().map(ToString::to_string).collect();
    for (kind, tally) in &outcome.findings.violations {
        details.push(format!("{kind}, {} in all", tally.count));
        let texts = tally.examples.iter().take(3);
        details.extend(texts.map(|example| format!("  {}", example.text)));
    }
    let mut ran = Ran {
        fault,
        seed,
        verdict,
        details,
    };
    if ran.verdict == Verdict::Right && fault.is_none() {
        let doubts = outcome.inconclusive.iter().map(String::as_str);
        let doubts = outcome.findings.undecided_before_the_end().chain(doubts);
        ran.details.extend(doubts.map(str::to_owned));
        ran.details.extend(unfinished(&outcome));
        ran.details.extend(served.trouble);
        if !ran.details.is_empty() {
            ran.verdict = Verdict::Inconclusive;
        }
    }
    Ok(Some(ran))
}

/// The number of messages after which a fault is committed: within the first half of a run, drawn
/// by its seed.
fn after(system: &System, seed: u64) -> u64 {
    let in_all = system.rate.max(1.0) as u64;
    let drawn = crate::scenario::pace::derive_seed(seed, in_all);
    in_all / 5 + drawn % (in_all / 3).max(1)
}

/// The verdict of a run on the verifier: `right` are the kinds that its fault must be reported as,
/// `None` of a clean run.
fn verdict(
    right: Option<&[&str]>,
    excused: bool,
    committed: Option<&Committed>,
    outcome: &Outcome,
) -> Verdict {
    let findings = &outcome.findings;
    let reported = findings.violation_count();
    let (Some(right), Some(committed)) = (right, committed) else {
        return match (reported, right) {
            (0, None) => Verdict::Right,
            (0, Some(_)) => Verdict::NotApplied,
            _ => Verdict::Imagined,
        };
    };
    let counts = findings.violations.iter();
    let counts = counts.filter(|(kind, _)| right.contains(&kind.name()));
    let rightly: u64 = counts.map(|(_, tally)| tally.count).sum();
    match rightly {
        0 if reported == 0 && (excused || !committed.seen) => Verdict::NotObservable,
        0 if reported == 0 => Verdict::Missed,
        _ if rightly < reported => Verdict::Misnamed,
        n if n > 1 && expected::is_counted(committed.fault) => Verdict::Misnamed,
        _ => Verdict::Right,
    }
}

/// The name of a run: `drop-relay, seed 3`.
fn subject(fault: Option<Fault>, seed: u64) -> String {
    format!("{}, seed {seed}", fault.map_or("clean", Fault::name))
}

/// The command that makes a run again.
fn rerun(system: &System, ran: &Ran) -> String {
    let fault = ran.fault.map_or("none", Fault::name);
    let words = system.words();
    let seed = ran.seed;
    match ran.fault {
        Some(_) => format!("chatbench selftest {words} --fault {fault} --seed {seed} --verbose"),
        None => format!("chatbench selftest {words} --fault {fault} --clean {seed} --verbose"),
    }
}
