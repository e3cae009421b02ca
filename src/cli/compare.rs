//! `chatbench compare`: results side by side, and whether anything got worse.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{EXIT_USAGE, print};
use crate::report::Style;
use crate::report::compare::{self, Side, Terms};
use crate::report::files::{Destination, Places};
use crate::report::html::compared;
use crate::terminal;

/// Arguments of `chatbench compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A RESULT is a result.json, a directory that `run --out` wrote, or one with several such directories \
in it, as `run --repeat N --out` writes them: several runs are one side, and tell its noise.

A figure is the median of a side's runs. What is said of it is
    worse      a permutation test over the runs says that it changed, and by more than --tolerance
    better     the same, the other way
    same       its whole interval lies within --tolerance
    too noisy  these runs cannot tell; how many would is said
    undecided  it depends on when that would have come which was outstanding when a run ended
The test takes all figures together: if nothing changed, one comparison of twenty or fewer finds
something worse, however many figures there are. It needs at least 3 runs against 3, or 5 against 2;
fewer say nothing of the noise, and --noise is assumed in its place.

Exit codes:
    0  no regression: every figure is the same, or better
    1  a figure is worse, or there are more violations
    2  a result cannot be read, or the scenarios differ
    3  a figure is too noisy, undecided or on one side only, or a run was inconclusive or \
interrupted")]
pub struct Args {
    /// What to compare with
    #[arg(value_name = "BASE")]
    base: PathBuf,

    /// What to compare
    #[arg(value_name = "NEW", required = true)]
    new: Vec<PathBuf>,

    #[command(flatten)]
    terms: TermsArgs,

    /// Print Markdown, for pull requests
    #[arg(long)]
    markdown: bool,

    /// Write the comparison as JSON; `-` for standard output, in place of the table
    #[arg(long, value_name = "FILE|-", conflicts_with = "markdown")]
    json: Option<OsString>,

    /// Write a page with the sides drawn over each other; no network needed to read it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Overwrite files that are there already
    #[arg(long)]
    force: bool,
}

/// What counts as a change; `run --baseline` takes the same.
#[derive(Debug, clap::Args)]
pub(super) struct TermsArgs {
    /// Differences up to this are of no interest: what is within it is the same, percent
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = percent)]
    tolerance: f64,

    /// How far two runs of the same may lie apart, where there are too few to tell, percent
    #[arg(long, value_name = "PERCENT", default_value = "50", value_parser = percent)]
    noise: f64,

    /// Judge these figures alone, by the names in the table: "relay p99", or "relay" for all of
    /// relay's; violations are always judged
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = compare::named)]
    figures: Vec<String>,

    /// Compare results of different scenarios
    #[arg(long)]
    pub(super) allow_different: bool,
}

impl TermsArgs {
    pub(super) fn terms(&self) -> Terms {
        Terms {
            tolerance: self.tolerance,
            assumed_noise: self.noise,
            figures: self.figures.clone(),
        }
    }
}

/// A share, from its percentage.
fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(percent) if (0.0..=1e6).contains(&percent) => Ok(percent / 100.0),
        _ => Err("expected a percentage from 0 to 1000000".to_owned()),
    }
}

/// Carries out the verb.
#[must_use]
#[allow(clippy::needless_pass_by_value)] // a verb owns its arguments
pub fn main(args: Args) -> ExitCode {
    match compared(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            terminal::complain(error);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn compared(args: &Args) -> Result<u8, String> {
    let json = args.json.clone().map(Destination::from);
    let page = args.html.clone().map(Destination::File);
    let mut places = Places::new();
    for side in std::iter::once(&args.base).chain(&args.new) {
        for file in Side::files(side).map_err(|e| e.to_string())? {
            places.input("the result", &file);
        }
    }
    for (option, file) in [("--json", &json), ("--html", &page)] {
        if let Some(file) = file {
            file.claim(option, &mut places).map_err(|e| e.to_string())?;
            file.check(args.force).map_err(|e| e.to_string())?;
        }
    }
    let (base, sides) = load(args).map_err(|e| e.to_string())?;
    let terms = args.terms.terms();
    let comparisons: Vec<_> = sides
        .iter()
        .map(|side| compare::compare(&base, side, &terms))
        .collect();
    // Whatever cannot be written, the rest still is.
    let mut lost = None;
    if json != Some(Destination::Stdout) {
        for (i, comparison) in comparisons.iter().enumerate() {
            let text = if args.markdown {
                compare::markdown(comparison)
            } else {
                compare::render(comparison, Style::detect(&io::stdout()))
            };
            let gap = if i > 0 { "\n" } else { "" };
            lost = lost.or(print(&format!("{gap}{text}")).err());
        }
    }
    if let Some(json) = &json {
        lost = lost.or(json.write(&compare::json(&comparisons)).err());
    }
    if let Some(page) = &page {
        let drawn = compared::render(&comparisons);
        lost = lost.or(page.write(drawn.as_bytes()).err());
    }
    if let Some(error) = lost {
        return Err(error.to_string());
    }
    for file in [&json, &page].into_iter().flatten() {
        if let Destination::File(path) = file {
            terminal::tell(format_args!("wrote {}", path.display()));
        }
    }
    let codes = comparisons.iter().map(|c| c.verdict().exit_code());
    Ok(codes.fold(0, heavier))
}

/// The base, and everything that is compared with it.
fn load(args: &Args) -> Result<(Side, Vec<Side>), compare::Error> {
    let base = Side::load(&args.base)?;
    let mut sides = Vec::new();
    for path in &args.new {
        let side = Side::load(path)?;
        if !args.terms.allow_different {
            compare::check_same(&base, &side)?;
        }
        sides.push(side);
    }
    Ok((base, sides))
}

/// The exit code that takes precedence: that of a regression, then that of an undecided comparison.
const fn heavier(one: u8, other: u8) -> u8 {
    match (one, other) {
        (1, _) | (_, 1) => 1,
        (0, other) => other,
        (one, _) => one,
    }
}
