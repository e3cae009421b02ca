//! `chatbench completions`.

use std::process::ExitCode;

/// Arguments of `chatbench completions`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Carries out the verb.
#[must_use]
pub fn main(_args: Args) -> ExitCode {
    unimplemented!("completions")
}
