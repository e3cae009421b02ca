//! `chatbench completions`: what a shell needs to complete this command line.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::printed;

/// Arguments of `chatbench completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
bash: chatbench completions bash > ~/.local/share/bash-completion/completions/chatbench
zsh:  chatbench completions zsh > \"${fpath[1]}/_chatbench\"
fish: chatbench completions fish > ~/.config/fish/completions/chatbench.fish")]
pub struct Args {
    /// The shell to write them for
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Carries out the verb.
#[must_use]
#[allow(clippy::needless_pass_by_value)] // every verb takes its arguments whole
pub fn main(args: Args) -> ExitCode {
    // Written in one go: clap_complete panics where its reader has gone away.
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut super::Cli::command(),
        "chatbench",
        &mut script,
    );
    printed(&String::from_utf8_lossy(&script))
}
