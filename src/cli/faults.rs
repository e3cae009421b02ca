//! `chatbench faults`: the catalogue, as text.

use std::io;
use std::process::ExitCode;

use super::printed;
use crate::report::Style;
use crate::server::fault::catalogue::Fault;
use crate::wire::Dialect;

/// With fewer columns than this, names have no column of their own.
const NARROW: usize = 64;

/// Arguments of `chatbench faults`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Commit one:         chatbench serve --fault drop-relay
See it caught:      chatbench run FILE --set 'target.faults=[\"drop-relay\"]'
A rate, if given:   drop-relay=once (the default), drop-relay=0.001, drop-relay=after=500")]
pub struct Args {}

/// Carries out the verb.
#[must_use]
pub fn main(_: &Args) -> ExitCode {
    printed(&render(Style::detect(&io::stdout())))
}

/// One paragraph per fault.
fn render(style: Style) -> String {
    let widest = Fault::ALL.iter().map(|f| f.name().len()).max().unwrap_or(0);
    let (column, indent) = if style.width < NARROW {
        (0, 4)
    } else {
        (widest, widest + 2)
    };
    let mut out = String::new();
    for fault in Fault::ALL {
        let entry = fault.entry();
        let mut text = format!("{}: {}", entry.reported_as.join(" or "), entry.breaks);
        text.push_str(&match entry.needs {
            "" => format!("; one chance per {}", entry.chance.words()),
            needs => format!("; one chance per {}; needs {needs}", entry.chance.words()),
        });
        for (dialect, alone) in [
            (Dialect::Ndjson, Dialect::Classic),
            (Dialect::Classic, Dialect::Ndjson),
        ] {
            if !fault.is_committed_in(dialect) {
                text.push_str(&format!("; in the {alone} dialect alone"));
            }
        }
        let head = format!("{:column$}  ", fault.name());
        style.paragraph(&mut out, &head, indent, &text);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::kind::Kind;

    #[test]
    fn every_fault_is_listed_and_reported_as_a_kind_that_there_is() {
        let text = render(Style::FILE);
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        for fault in Fault::ALL {
            assert!(text.contains(fault.name()), "{fault}");
            for kind in fault.entry().reported_as {
                assert!(kinds.contains(kind), "{fault}: {kind}");
            }
        }
    }

    #[test]
    fn every_kind_but_those_of_scripts_has_its_fault() {
        let of_scripts = [Kind::MissingError, Kind::MissingAnswer];
        for kind in Kind::ALL.iter().filter(|kind| !of_scripts.contains(kind)) {
            let mut faults = Fault::ALL.iter();
            let has = faults.any(|fault| fault.entry().reported_as.contains(&kind.name()));
            assert!(has, "nothing proves that {kind} is ever reported");
        }
    }
}
