//! `chatbench chat`.

use std::process::ExitCode;

/// Arguments of `chatbench chat`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Carries out the verb.
#[must_use]
pub fn main(_args: Args) -> ExitCode {
    unimplemented!("chat")
}
