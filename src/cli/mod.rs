//! The command line: one file per verb.

pub mod chat;
pub mod compare;
pub mod completions;
pub mod faults;
pub mod load;
mod overrides;
pub mod progress;
mod prometheus;
mod protocol_args;
pub mod protocols;
pub mod report;
pub mod run;
pub mod search;
pub mod selftest;
pub mod serve;
mod tls;
pub mod r#try;
pub mod validate;
pub mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Style;
use crate::report::files::{self, Destination};
use crate::scenario::diagnostic::Diagnostics;
use crate::terminal;

/// Exit code of bad usage or an invalid scenario, when nothing was run; also of output that could
/// not be written.
pub const EXIT_USAGE: u8 = 2;

/// This program, which is the embedded server too; by name where the system does not say its path.
fn own_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "chatbench".into())
}

/// Does everyone get every message, exactly once, in order? How late? How much can it carry?
#[derive(Debug, Parser)]
#[command(
    name = "chatbench",
    version,
    about,
    arg_required_else_help = true,
    propagate_version = false
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run scenarios: load the target, verify every delivery, measure, report
    Run(run::Args),
    /// Load a target without a scenario file, and verify every delivery
    Load(load::Args),
    /// The reference broadcast server
    Serve(serve::Args),
    /// Talk to a server by hand: lines typed are published
    Chat(chat::Args),
    /// Check scenarios and print what they would do; nothing is run
    Validate(validate::Args),
    /// Play one client of an application and show every message, and what it was taken for
    Try(r#try::Args),
    /// Verify a recorded run, or what another program observed of its own system
    Verify(verify::Args),
    /// Find the highest load that still meets the thresholds, with nothing lost
    Search(search::Args),
    /// Compare results: what is worse, the same, or too noisy to tell; a regression exits 1
    Compare(compare::Args),
    /// Write the HTML report of a result again
    Report(report::Args),
    /// Commit every fault of the catalogue and see whether the verifier notices
    Selftest(selftest::Args),
    /// The known protocols of applications: list them, or print one
    Protocols(protocols::Args),
    /// List the faults that the server can be told to commit
    Faults(faults::Args),
    /// Print shell completions
    Completions(completions::Args),
}

/// Parses the command line and carries out the verb.
#[must_use]
pub fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    let parsed = Cli::try_parse_from(&given).unwrap_or_else(|error| refuse(error, &given));
    match parsed.verb {
        Verb::Run(args) => run::main(args),
        Verb::Load(args) => load::main(&args),
        Verb::Serve(args) => serve::main(args),
        Verb::Chat(args) => chat::main(args),
        Verb::Validate(args) => validate::main(args),
        Verb::Verify(args) => verify::main(&args),
        Verb::Search(args) => search::main(args),
        Verb::Compare(args) => compare::main(args),
        Verb::Report(args) => report::main(args),
        Verb::Selftest(args) => selftest::main(&args),
        Verb::Try(args) => r#try::main(&args),
        Verb::Protocols(args) => protocols::main(&args),
        Verb::Faults(args) => faults::main(&args),
        Verb::Completions(args) => completions::main(args),
    }
}

/// Says what is wrong with the command line, or the help that was asked for, and exits.
///
/// The arguments are repeated in what is said, and a file name may come from anywhere: what is said
/// is about [`terminal::visible`] ones.
fn refuse(error: clap::Error, given: &[OsString]) -> ! {
    let visible = given
        .iter()
        .map(|argument| terminal::visible(&argument.to_string_lossy()).into_owned());
    let error = Cli::try_parse_from(visible).err().unwrap_or(error);
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let (columns, style) = if error.use_stderr() {
        (terminal::columns(&stderr), Style::detect(&stderr))
    } else {
        (terminal::columns(&stdout), Style::detect(&stdout))
    };
    let Some(columns) = columns.filter(|columns| *columns > 0) else {
        error.exit();
    };
    // Clap breaks its descriptions between words, but not what is wrong, nor how to use it.
    let page = match style.colour {
        true => error.render().ansi().to_string(),
        false => error.render().to_string(),
    };
    let own_indent = |line: &str| line.len() - line.trim_start().len() + 4;
    let page = terminal::narrowed(&page, columns, own_indent);
    if error.use_stderr() {
        terminal::tell_page(&page);
    } else if let Err(lost) = print(&page) {
        terminal::complain(lost);
        std::process::exit(EXIT_USAGE.into());
    }
    std::process::exit(error.exit_code())
}

/// Prints to standard output. A reader that hangs up early (`| head`) has had enough, which is no
/// error of ours; what a full disk does not take is lost, and that is one.
fn print(text: &str) -> Result<(), files::Error> {
    Destination::Stdout.write(text.as_bytes())
}

/// The exit code of a verb that printed `text`, and had nothing else to say.
fn printed(text: &str) -> ExitCode {
    match print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(EXIT_USAGE, &error.to_string()),
    }
}

/// Says what is wrong, and ends with `code`.
fn fail(code: u8, error: &str) -> ExitCode {
    terminal::complain(error);
    ExitCode::from(code)
}

/// Prints what is wrong with a scenario.
fn complain(diagnostics: &Diagnostics) {
    if diagnostics.is_empty() {
        return;
    }
    let stderr = std::io::stderr();
    let colour = Style::detect(&stderr).colour;
    let text = match terminal::columns(&stderr) {
        None | Some(0) => diagnostics.render(colour),
        Some(columns) => diagnostics.render_within(colour, columns),
    };
    terminal::tell_page(&format!("{text}\n\n"));
}
