//! `chatbench verify`: the verdict on a trace, recorded by `chatbench run --trace` or written by
//! another program about its own system.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;
use serde::de::IntoDeserializer;

use super::{EXIT_USAGE, fail, print};
use crate::report::Style;
use crate::report::files::{Destination, Places};
use crate::report::verification::Verification;
use crate::scenario::plan::{AckPromise, OrderPromise, Promises, RelayPromise};
use crate::verify::trace::{self, TraceError, Verified};

/// Arguments of `chatbench verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Both kinds of file are specified in docs/TRACE.md. Observations without numbers are judged by \
inferred order; so are any for which one of the promises is given, the others as if they were numbered.

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

    /// What order an observed system promises: total, causal, fifo or none
    #[arg(long, value_parser = promised_order)]
    order: Option<OrderPromise>,

    /// How often it relays: exactly-once, at-least-once or at-most-once
    #[arg(long, value_parser = promised_relay)]
    relay: Option<RelayPromise>,

    /// Whether it acks: exactly-once, echo (a sender's own message back is the ack) or none
    #[arg(long, value_parser = promised_ack)]
    ack: Option<AckPromise>,

    /// A sender gets its own messages, too
    #[arg(long)]
    echo: bool,
}

impl Args {
    /// The promises of the observed system, if any of the options was given.
    fn promises(&self) -> Option<Promises> {
        let Self {
            order,
            relay,
            ack,
            echo,
            ..
        } = *self;
        let said = order.is_some() || relay.is_some() || ack.is_some() || echo;
        let usual = Promises::default();
        said.then(|| Promises {
            ack: ack.unwrap_or(usual.ack),
            relay: relay.unwrap_or(usual.relay),
            order: order.unwrap_or(usual.order),
            echo: echo || ack == Some(AckPromise::Echo),
            use_seq: false,
            late_after: None,
        })
    }
}

// Promises by the names that scenarios have for them.

fn promised_order(name: &str) -> Result<OrderPromise, serde::de::value::Error> {
    OrderPromise::deserialize(name.into_deserializer())
}

fn promised_relay(name: &str) -> Result<RelayPromise, serde::de::value::Error> {
    RelayPromise::deserialize(name.into_deserializer())
}

fn promised_ack(name: &str) -> Result<AckPromise, serde::de::value::Error> {
    AckPromise::deserialize(name.into_deserializer())
}

/// Carries out the verb.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let json = args.json.clone().map(Destination::from);
    let mut places = Places::new();
    places.input("the trace", &args.trace);
    let checked = json.as_ref().map_or(Ok(()), |json| {
        json.claim("--json", &mut places)?;
        json.check(args.force)
    });
    if let Err(error) = checked {
        return fail(EXIT_USAGE, &error.to_string());
    }
    let verified = match read(&args.trace, args.promises()) {
        Ok(verified) => verified,
        Err(error) => return fail(EXIT_USAGE, &format!("{}: {error}", args.trace.display())),
    };
    let verification = Verification::new(verified);
    if json != Some(Destination::Stdout) {
        let text = verification.render(Style::detect(&io::stdout()));
        if let Err(error) = print(&text) {
            return fail(EXIT_USAGE, &error.to_string());
        }
    }
    if let Some(json) = json
        && let Err(error) = json.write(&verification.json())
    {
        return fail(EXIT_USAGE, &error.to_string());
    }
    ExitCode::from(verification.verdict.exit_code())
}

fn read(path: &Path, promises: Option<Promises>) -> Result<Verified, TraceError> {
    if path == Path::new("-") {
        trace::verify_against(BufReader::new(io::stdin().lock()), promises)
    } else {
        let file = File::open(path)?;
        trace::verify_against(BufReader::with_capacity(1 << 20, file), promises)
    }
}
