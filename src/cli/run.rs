//! `chatbench run`.

use std::process::ExitCode;

/// Arguments of `chatbench run`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Carries out the verb.
#[must_use]
pub fn main(_args: Args) -> ExitCode {
    unimplemented!("run")
}
