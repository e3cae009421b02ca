//! `chatbench report`: the HTML page of a result or a search, made again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::EXIT_USAGE;
use crate::input;
use crate::report::files::{Destination, HTML, Places, RESULT, SEARCH, SEARCH_HTML};
use crate::report::result::{Error, MAX_FILE_BYTES};
use crate::report::{RunResult, html};
use crate::search::{self, Found};
use crate::terminal;

/// Arguments of `chatbench report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
    0  written
    2  the result cannot be read, or the report not be written")]
pub struct Args {
    /// A result.json or search.json, or a directory that `run --out` or `search --out` wrote
    #[arg(value_name = "RESULT")]
    result: PathBuf,

    /// Where to write it; report.html or search.html beside the result unless given
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
            terminal::complain(error);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn write(args: &Args) -> Result<(), String> {
    let (page, name) = page(&args.result).map_err(|e| e.to_string())?;
    let path = args.html.clone().unwrap_or_else(|| {
        let beside = if args.result.is_dir() {
            Some(args.result.as_path())
        } else {
            args.result.parent()
        };
        beside.map_or_else(|| PathBuf::from(name), |directory| directory.join(name))
    });
    let shown = path.display().to_string();
    let destination = Destination::File(path);
    let mut places = Places::new();
    for read in [RunResult::file(&args.result), args.result.join(SEARCH)] {
        places.input("the result", &read);
    }
    destination
        .claim("--html", &mut places)
        .map_err(|e| e.to_string())?;
    destination.check(args.force).map_err(|e| e.to_string())?;
    destination
        .write(page.as_bytes())
        .map_err(|e| e.to_string())?;
    terminal::tell(format_args!("wrote {shown}"));
    Ok(())
}

/// The page of what is at `path`, and what such a page is called.
fn page(path: &Path) -> Result<(String, &'static str), Error> {
    let search = if path.is_dir() && !path.join(RESULT).exists() {
        path.join(SEARCH)
    } else {
        path.to_owned()
    };
    // What cannot be read is the result's business to say.
    match input::read(&search, MAX_FILE_BYTES) {
        Ok(bytes) if Found::is_search(&bytes) => {
            let found = Found::parse(&search, &bytes)?;
            Ok((search::page(&found), SEARCH_HTML))
        }
        _ => Ok((html::render(&RunResult::load(path)?), HTML)),
    }
}
