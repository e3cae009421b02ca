//! `chatbench verify`: the verdict on a trace, recorded by `chatbench run --trace` or written by
//! another program about its own system.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::EXIT_USAGE;
use crate::report::Style;
use crate::report::files::Destination;
use crate::report::verification::Verification;
use crate::verify::trace::{self, TraceError, Verified};

/// Arguments of `chatbench verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Both kinds of file are specified in docs/TRACE.md.

Exit codes:
    0  pass: everything owed came, once, in order and as it was sent
    1  fail: at least one violation
    2  bad usage, or no readable trace: cut off, damaged, out of order, from a newer version
    3  inconclusive: nothing can be said, and why; so for a trace whose run was killed")]
pub struct Args {
    /// A trace of `chatbench run --trace`, or observations as NDJSON; `-` for standard input
    #[arg(value_name = "FILE|-")]
    trace: PathBuf,

    /// Write the result as JSON; `-` for standard output, in place of the summary
    #[arg(long, value_name = "FILE|-")]
    json: Option<OsString>,

    /// Overwrite a result that is there already
    #[arg(long)]
    force: bool,
}

/// Carries out the verb.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let json = args.json.clone().map(Destination::from);
    if let Some(Err(error)) = json.as_ref().map(|json| json.check(args.force)) {
        return fail(&error.to_string());
    }
    let verified = match read(&args.trace) {
        Ok(verified) => verified,
        Err(error) => return fail(&format!("{}: {error}", args.trace.display())),
    };
    let verification = Verification::new(verified);
    if json != Some(Destination::Stdout) {
        let text = verification.render(Style::detect(&io::stdout()));
        let _ = io::stdout().lock().write_all(text.as_bytes()); // `| head` is no error
    }
    if let Some(json) = json
        && let Err(error) = json.write(&verification.json())
    {
        return fail(&error.to_string());
    }
    ExitCode::from(verification.verdict.exit_code())
}

fn read(path: &Path) -> Result<Verified, TraceError> {
    if path == Path::new("-") {
        trace::verify(BufReader::new(io::stdin().lock()))
    } else {
        let file = File::open(path)?;
        trace::verify(BufReader::with_capacity(1 << 20, file))
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("chatbench: {error}");
    ExitCode::from(EXIT_USAGE)
}
