//! `chatbench compare`: results side by side, and whether anything got worse.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use super::EXIT_USAGE;
use crate::report::Style;
use crate::report::compare::{self, Side, Terms};
use crate::report::files::Destination;
use crate::report::html::compared;
use crate::terminal;

/// Arguments of `chatbench compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A RESULT is a result.json, a directory that `run --out` wrote, or one with several such directories \
in it, as `run --repeat N --out` writes them: several runs are one side, and tell its noise.

A figure is the median of a side's runs. Its noise is the range of the runs, the larger of both \
sides'. What differs by more than the noise and the tolerance has changed.

Exit codes:
    0  no regression
    1  a figure got worse by more than the noise, or there are more violations
    2  a result cannot be read, or the scenarios differ
    3  a run was inconclusive or interrupted")]
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

    /// Write a page with the sides drawn over each other; no network needed to read it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Overwrite a page that is there already
    #[arg(long)]
    force: bool,
}

/// What counts as a change; `run --baseline` takes the same.
#[derive(Debug, clap::Args)]
pub(super) struct TermsArgs {
    /// Differences up to this are of no interest, percent
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = percent)]
    tolerance: f64,

    /// The noise to assume where no side has three runs, percent
    #[arg(long, value_name = "PERCENT", default_value = "50", value_parser = percent)]
    noise: f64,

    /// Compare results of different scenarios
    #[arg(long)]
    pub(super) allow_different: bool,
}

impl TermsArgs {
    pub(super) const fn terms(&self) -> Terms {
        Terms {
            tolerance: self.tolerance,
            assumed_noise: self.noise,
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
    let page = args.html.clone().map(Destination::File);
    if let Some(page) = &page {
        page.check(args.force).map_err(|e| e.to_string())?;
    }
    let (base, sides) = load(args).map_err(|e| e.to_string())?;
    let terms = args.terms.terms();
    let comparisons: Vec<_> = sides
        .iter()
        .map(|side| compare::compare(&base, side, terms))
        .collect();
    let mut worst = 0;
    for (i, comparison) in comparisons.iter().enumerate() {
        let text = if args.markdown {
            compare::markdown(comparison)
        } else {
            compare::render(comparison, Style::detect(&io::stdout()))
        };
        let gap = if i > 0 { "\n" } else { "" };
        // A reader that hangs up early (`| head`) is no error of ours.
        let _ = write!(io::stdout().lock(), "{gap}{text}");
        worst = heavier(worst, comparison.verdict().exit_code());
    }
    if let (Some(page), Some(path)) = (&page, &args.html) {
        page.write(compared::render(&comparisons).as_bytes())
            .map_err(|e| e.to_string())?;
        terminal::tell(format_args!("wrote {}", path.display()));
    }
    Ok(worst)
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

/// The code that counts of two: a regression, then what cannot be said.
const fn heavier(one: u8, other: u8) -> u8 {
    match (one, other) {
        (1, _) | (_, 1) => 1,
        (0, other) => other,
        (one, _) => one,
    }
}
