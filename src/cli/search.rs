//! `chatbench search`: the highest load that still meets the thresholds, with nothing lost.

use std::cell::LazyCell;
use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::Value;

use super::overrides::{Overrides, quoted};
use super::progress::Progress;
use super::{EXIT_USAGE, complain, own_program, print};
use crate::driver::outcome::Outcome;
use crate::driver::run::{RunError, run};
use crate::report::files::{self, Destination, Directory, Places, SEARCH, SEARCH_HTML};
use crate::report::{Rendered, Report, Style, Verdict, json};
use crate::scenario::plan::{Metric, Plan};
use crate::search::{self, About, Found, Limit, Probe, Search};
use crate::signals::Signals;
use crate::terminal;

/// How often the value may double where no `--max` is given.
const DOUBLINGS: i32 = 12;

/// Arguments of `chatbench search`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each probe is a full run. The value is doubled from --from on until a run does not hold, then the \
gap is halved. A load holds if nothing is violated, no threshold is crossed and 95 % of what is \
offered is acked (but for ten messages, which may be under way when the run ends). \
Thresholds on rates are left out: they say what one load has to achieve.

Exit codes:
    0  found, or everything up to --max holds
    1  violations at --from already
    2  bad usage or an invalid scenario; nothing was run
    3  the generator was the limit, or nothing can be said
   99  a threshold is crossed at --from already
  130  interrupted: what is known is reported")]
pub struct Args {
    /// The scenario
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The key to vary; the rate of the only group that has one unless given
    #[arg(long, value_name = "PATH")]
    vary: Option<String>,

    /// The lowest value; the file's own unless given
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    from: Option<f64>,

    /// The highest value; 4096 times the lowest unless given
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    max: Option<f64>,

    /// How near the limit is to be known, percent
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = positive)]
    precision: f64,

    /// Runs that a load gets to hold in; more than one where the machine is noisy
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,

    #[command(flatten)]
    overrides: Overrides,

    /// Write search.json, its page search.html, and every probe's results in a directory of its
    /// own into this one
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Write what was found as JSON; `-` for standard output, in place of the table
    #[arg(long, value_name = "FILE|-")]
    json: Option<OsString>,

    /// Write the curves as a page; no network needed to read it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Overwrite results that are there already
    #[arg(long)]
    force: bool,

    /// Show no progress
    #[arg(long)]
    no_progress: bool,

    /// Say nothing on standard error but what is wrong
    #[arg(short, long)]
    quiet: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

/// The reason why a verb ended before it could answer: printed already, or in words.
enum Refusal {
    Said,
    Usage(String),
}

/// Carries out the verb.
#[must_use]
#[allow(clippy::needless_pass_by_value)] // a verb owns its arguments
pub fn main(args: Args) -> ExitCode {
    match Hunt::prepare(&args).and_then(|mut hunt| {
        hunt.go()?;
        hunt.report()
    }) {
        Ok(code) => ExitCode::from(code),
        Err(Refusal::Said) => ExitCode::from(EXIT_USAGE),
        Err(Refusal::Usage(error)) => {
            terminal::complain(error);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// A search being carried out.
struct Hunt<'a> {
    args: &'a Args,
    vary: String,
    search: Search,
    probes: Vec<Probe>,
    json: Option<Destination>,
    html: Option<Destination>,
    about: About,
    interrupted: bool,
}

impl<'a> Hunt<'a> {
    /// Checks everything that can be wrong before the first run.
    fn prepare(args: &'a Args) -> Result<Self, Refusal> {
        let plan = load(args, None)?;
        let vary = match &args.vary {
            Some(path) => path.clone(),
            None => only_rate(&plan).map_err(Refusal::Usage)?,
        };
        let own = number_at(&plan.resolved, &vary);
        let from = args.from.or(own).ok_or_else(|| {
            let file = args.file.display();
            Refusal::Usage(format!(
                "`{vary}` is no number in {file}: say where to begin, with --from"
            ))
        })?;
        let max = args.max.unwrap_or_else(|| from * 2_f64.powi(DOUBLINGS));
        if from <= 0.0 || max < from {
            let (from, max) = (search::shown(from), search::shown(max));
            return Err(Refusal::Usage(format!(
                "nothing lies between --from {from} and --max {max}"
            )));
        }
        // Both ends have to be scenarios.
        for value in [from, max] {
            load(args, Some((&vary, value)))?;
        }
        let json = args.json.clone().map(Destination::from);
        let html = args.html.clone().map(Destination::File);
        let mut places = Places::new();
        places.input("the scenario", &args.file);
        for (option, destination) in [("--json", &json), ("--html", &html)] {
            if let Some(destination) = destination {
                destination.claim(option, &mut places).map_err(usage)?;
                destination.check(args.force).map_err(usage)?;
            }
        }
        if let Some(out) = &args.out {
            for name in [SEARCH, SEARCH_HTML] {
                places.output("--out", &out.join(name)).map_err(usage)?;
            }
            prepare_directory(out, args.force).map_err(usage)?;
        }
        let started = json::rfc3339(SystemTime::now());
        let about = About::new(&plan, started, rerun(args, &vary, from, max, plan.seed));
        Ok(Self {
            args,
            about,
            html,
            vary,
            search: Search::new(from, max, args.precision / 100.0),
            probes: Vec::new(),
            json,
            interrupted: false,
        })
    }

    /// Probes until the answer is known, or the user interrupts.
    fn go(&mut self) -> Result<(), Refusal> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(usage)?;
        let mut signals = {
            let _context = runtime.enter();
            Signals::catch().map_err(usage)?
        };
        while let Some(value) = self.search.next() {
            let mut held = false;
            for attempt in 1..=self.args.attempts {
                let probe = match self.probe(&runtime, value, attempt)? {
                    Some(probe) if !self.interrupted => probe,
                    _ => return Ok(()),
                };
                held = probe.held();
                self.say(&probe);
                self.probes.push(probe);
                // Between two runs nothing else handles signals.
                if runtime.block_on(signals.came()) {
                    self.interrupted = true;
                    break;
                }
                if held {
                    break;
                }
            }
            self.search.record(value, held);
            if self.interrupted {
                break;
            }
        }
        Ok(())
    }

    /// One run at `value`; `None` if it was given up.
    fn probe(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        value: f64,
        attempt: u32,
    ) -> Result<Option<Probe>, Refusal> {
        let args = self.args;
        let plan = load(args, Some((&self.vary, value)))?;
        let mut progress = Progress::new(
            args.quiet,
            args.no_progress,
            &format!("{}={}", self.vary, search::shown(value)),
        );
        let started = SystemTime::now();
        let result = runtime.block_on(run(&plan, &own_program(), None, &mut |snapshot, _| {
            progress.update(snapshot);
        }));
        progress.finish();
        match result {
            Ok(outcome) => {
                let report = Report::new(&plan, outcome);
                if report.verdict == Verdict::Interrupted {
                    self.interrupted = true;
                    return Ok(None);
                }
                self.keep(value, attempt, &report)?;
                Ok(Some(Probe::new(value, &report)))
            }
            Err(RunError::Aborted | RunError::NotBegun(_)) => {
                self.interrupted = true;
                Ok(None)
            }
            Err(error) => {
                let outcome = Outcome::of_error(&plan, started, &error);
                self.keep(value, attempt, &Report::new(&plan, outcome))?;
                let limit = match error {
                    RunError::Shortage(_) => Limit::Generator,
                    _ => Limit::Inconclusive,
                };
                Ok(Some(Probe::failed(value, limit, error.to_string())))
            }
        }
    }

    /// Writes a probe's results, if they are to be kept.
    fn keep(&self, value: f64, attempt: u32, report: &Report) -> Result<(), Refusal> {
        let Some(out) = &self.args.out else {
            return Ok(());
        };
        let name = match attempt {
            1 => search::shown(value),
            n => format!("{}-{n}", search::shown(value)),
        };
        Directory::prepare(&out.join(name), self.args.force)
            .and_then(|directory| directory.write(&Rendered::new(report)))
            .map_err(usage)
    }

    /// Prints a line of progress.
    fn say(&self, probe: &Probe) {
        if self.args.quiet {
            return;
        }
        let style = Style::detect(&io::stderr());
        let what = match (&probe.limit, &probe.reason) {
            (Some(limit), Some(reason)) => format!("does not hold: {}: {reason}", limit.name()),
            _ => "holds".to_owned(),
        };
        let value = search::shown(probe.value);
        terminal::tell(style.text(&format!("{} = {value} {what}", self.vary)));
    }

    /// Says what was found.
    fn report(&self) -> Result<u8, Refusal> {
        let found = Found::new(
            self.about.clone(),
            &self.vary,
            &self.search,
            &self.probes,
            self.interrupted,
        );
        let text = |style| search::render(&found, style);
        // Whatever cannot be written, the rest still is.
        let mut lost = None;
        if self.json == Some(Destination::Stdout) {
            if !self.args.quiet {
                terminal::tell_page(&text(Style::detect(&io::stderr())));
            }
        } else {
            let gap = if io::stdout().is_terminal() { "\n" } else { "" };
            let text = text(Style::detect(&io::stdout()));
            lost = print(&format!("{gap}{text}")).err();
        }
        // Each is made once, and by whoever asks first.
        let json = LazyCell::new(|| found.json());
        let page = LazyCell::new(|| search::page(&found));
        if let Some(destination) = &self.json {
            lost = lost.or(destination.write(&json).err());
        }
        if let Some(destination) = &self.html {
            lost = lost.or(destination.write(page.as_bytes()).err());
        }
        if let Some(out) = &self.args.out {
            lost = lost.or(files::write(&out.join(SEARCH), &json).err());
            lost = lost.or(files::write(&out.join(SEARCH_HTML), page.as_bytes()).err());
        }
        lost.map_or_else(|| Ok(self.exit_code()), |error| Err(usage(error)))
    }

    fn exit_code(&self) -> u8 {
        if self.interrupted {
            return Verdict::Interrupted.exit_code();
        }
        let met = self
            .probes
            .iter()
            .rfind(|probe| Some(probe.value) == self.search.fails())
            .and_then(|probe| probe.limit);
        let verdict = match (met, self.search.holds()) {
            (Some(Limit::Generator | Limit::Inconclusive), _) => Verdict::Inconclusive,
            (Some(Limit::Loss), None) => Verdict::Fail,
            (Some(_), None) => Verdict::Threshold,
            (_, Some(_)) => Verdict::Pass,
            (None, None) => Verdict::Inconclusive,
        };
        verdict.exit_code()
    }
}

/// The command that searches the same again.
fn rerun(args: &Args, vary: &str, from: f64, max: f64, seed: u64) -> String {
    let (from, max) = (search::shown(from), search::shown(max));
    let run = args.overrides.rerun("search", &args.file, seed);
    let vary = quoted(vary);
    let (precision, attempts) = (args.precision, args.attempts);
    format!(
        "{run} --vary {vary} --from {from} --max {max} --precision {precision} --attempts {attempts}"
    )
}

/// The scenario, with the key that is varied set to a value.
fn load(args: &Args, vary: Option<(&str, f64)>) -> Result<Plan, Refusal> {
    let varied = vary.map(|(path, value)| format!("{path}={}", search::shown(value)));
    match args.overrides.load(&args.file, varied.as_slice()) {
        Ok(mut plan) => {
            if vary.is_none() && !args.quiet {
                complain(&plan.warnings);
            }
            plan.thresholds.retain(|t| t.metric != Metric::Rates);
            Ok(plan)
        }
        Err(diagnostics) => {
            complain(&diagnostics);
            Err(Refusal::Said)
        }
    }
}

/// The path of the rate of the only group that has one.
fn only_rate(plan: &Plan) -> Result<String, String> {
    let groups = plan.resolved.get("clients").and_then(Value::as_object);
    let mut paths: Vec<_> = groups
        .into_iter()
        .flatten()
        .filter(|(_, group)| group.get("rate").is_some_and(Value::is_number))
        .map(|(name, _)| format!("clients.{name}.rate"))
        .collect();
    match (paths.pop(), paths.is_empty()) {
        (Some(path), true) => Ok(path),
        (Some(path), false) => Err(format!(
            "several groups have a rate: say which to vary, --vary {path} or {}",
            paths.join(" or ")
        )),
        (None, _) => Err(
            "no group has a rate: say what to vary, for example --vary clients.NAME.count"
                .to_owned(),
        ),
    }
}

/// The number at a dotted path of the resolved scenario, if one stands there.
fn number_at(resolved: &Value, path: &str) -> Option<f64> {
    let pointer = format!("/{}", path.replace('"', "").replace('.', "/"));
    resolved.pointer(&pointer).and_then(Value::as_f64)
}

/// Makes the directory, if it holds nothing that would be lost or mixed up.
fn prepare_directory(path: &Path, force: bool) -> Result<(), files::Error> {
    let io_error = |source| files::Error::Io {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(path).map_err(io_error)?;
    let occupied = fs::read_dir(path).map_err(io_error)?.next().is_some();
    if occupied && !force {
        return Err(files::Error::HasResult(path.to_owned()));
    }
    files::check_writable(&path.join(SEARCH))
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err takes
fn usage(error: impl std::fmt::Display) -> Refusal {
    Refusal::Usage(error.to_string())
}
