//! `chatbench report`: the HTML report of a result, made again.

use std::path::PathBuf;
use std::process::ExitCode;

use super::EXIT_USAGE;
use crate::report::files::{Destination, HTML};
use crate::report::{RunResult, html};

/// Arguments of `chatbench report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
    0  written
    2  the result cannot be read, or the report not be written")]
pub struct Args {
    /// A result.json, or a directory that `run --out` wrote
    #[arg(value_name = "RESULT")]
    result: PathBuf,

    /// Where to write it; report.html beside the result unless given
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Overwrite a report that is there already
    #[arg(long)]
    force: bool,
}

/// Carries out the verb.
#[must_use]
#[allow(clippy::needless_pass_by_value)] // a verb owns its arguments
pub fn main(args: Args) -> ExitCode {
    match write(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chatbench: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn write(args: &Args) -> Result<(), String> {
    let result = RunResult::load(&args.result).map_err(|e| e.to_string())?;
    let path = args.html.clone().unwrap_or_else(|| {
        let beside = if args.result.is_dir() {
            Some(args.result.as_path())
        } else {
            args.result.parent()
        };
        beside.map_or_else(|| PathBuf::from(HTML), |directory| directory.join(HTML))
    });
    let shown = path.display().to_string();
    let destination = Destination::File(path);
    destination.check(args.force).map_err(|e| e.to_string())?;
    destination
        .write(html::render(&result).as_bytes())
        .map_err(|e| e.to_string())?;
    eprintln!("wrote {shown}");
    Ok(())
}
