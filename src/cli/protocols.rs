//! `chatbench protocols`: the presets of `[protocol]`, listed and printed.

use std::io;
use std::process::ExitCode;

use super::{EXIT_USAGE, fail, printed};
use crate::report::Style;
use crate::scenario::protocol::{presets, systems};

/// Columns between names and titles.
const GAP: usize = 2;

/// Arguments of `chatbench protocols`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Use one:    [target]
            url = \"ws://127.0.0.1:3000\"
            [protocol]
            preset = \"socket.io\"
Change it:  further keys under [protocol] are over the preset's; docs/SCENARIO.md has them all")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the presets and the systems that need none, and what each was tried against
    List,
    /// Print a preset: TOML to be copied and changed
    Show {
        /// Its name
        name: String,
    },
}

/// Carries out the verb.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    match &args.verb {
        Verb::List => printed(&list(Style::detect(&io::stdout()))),
        Verb::Show { name } => match presets::find(name) {
            Some(preset) => printed(&format!(
                "{}\n# It was {}.\n",
                preset.text.trim_end(),
                preset.tried
            )),
            None => fail(EXIT_USAGE, &presets::unknown(name)),
        },
    }
}

fn list(style: Style) -> String {
    let widest = presets::ALL.iter().map(|preset| preset.name.len()).max();
    let column = widest.unwrap_or_default();
    let mut out = String::new();
    for preset in presets::ALL {
        let head = format!("{:column$}{:GAP$}", preset.name, "");
        let text = format!("{}; {}", preset.title(), preset.tried);
        style.paragraph(&mut out, &head, column + GAP, &text);
    }
    out.push_str("\nWithout a preset, by the scheme of the URL (docs/SYSTEMS.md):\n");
    for system in systems::ALL {
        let head = format!("{:column$}{:GAP$}", format!("{}://", system.scheme), "");
        let text = format!("{}; {}", system.title, system.tried);
        style.paragraph(&mut out, &head, column + GAP, &text);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_listed_with_what_it_was_tried_against() {
        let list = list(Style::FILE);
        for preset in presets::ALL {
            let line = list.lines().find(|line| line.starts_with(preset.name));
            assert!(
                line.is_some_and(|line| line.contains(&preset.title()[..6])),
                "{list}"
            );
        }
        for system in systems::ALL {
            assert!(list.contains(system.title), "{list}");
        }
        assert!(list.contains("tried against"));
    }
}
