//! `chatbench load`: a load without a file. The options make a scenario, which is run as one out of
//! a file is.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::overrides::{self, quoted};
use super::protocol_args::{ProtocolArgs, string};
use super::run::{self, RunOptions};
use super::tls::TlsArgs;
use super::{EXIT_USAGE, complain, fail};
use crate::scenario;
use crate::terminal;

/// What a scenario without a file is called.
const NAME: &str = "load";

/// Arguments of `chatbench load`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything that is sent and received is verified, as in a run of a scenario. --save writes that \
scenario into a file, to begin one with; `chatbench run FILE` then does the same.

Exit codes:
    0  pass: verified, and within the thresholds
    1  fail: at least one violation
    2  bad usage, and nothing was run; or an output could not be written
    3  inconclusive: nothing can be said, and why
   99  a threshold was crossed, for certain
  130  interrupted")]
pub struct Args {
    /// The target: ndjson://HOST:PORT, ws://HOST:PORT/PATH, classic://HOST:PORT, nats://HOST:PORT,
    /// redis://HOST:PORT, embedded, embedded+ws or embedded+classic; over TLS ndjson+tls://, wss://,
    /// classic+tls://, tls+nats:// or rediss://. With --protocol or --publish an application of
    /// yours, at ws://, wss://, tcp:// or tls://
    #[arg(value_name = "URL")]
    url: String,

    /// Clients, all of which receive
    #[arg(long, value_name = "N", default_value_t = 10)]
    clients: u32,

    /// How many of them send [default: all]
    #[arg(long, value_name = "N")]
    talkers: Option<u32>,

    /// Messages a second, of all who send together
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10.0,
        allow_negative_numbers = true
    )]
    rate: f64,

    /// How long it is measured
    #[arg(long, value_name = "TIME", default_value = "10s")]
    duration: String,

    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    size: u32,

    /// Spread the clients evenly over so many rooms [default: 1 where an application's messages
    /// name a room, else none]
    #[arg(long, value_name = "N")]
    rooms: Option<u32>,

    /// What has to hold, for example 'relay p99 < 50ms' or 'rates delivered > 1000' (repeatable)
    #[arg(long = "threshold", value_name = "'METRIC FIGURE < LIMIT'", value_parser = threshold)]
    thresholds: Vec<(String, String)>,

    /// Set any other key of the scenario, e.g. run.warmup=0s (repeatable)
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,

    /// The seed of all randomness
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Write the scenario that this amounts to into a file, too
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    #[command(flatten)]
    protocol: ProtocolArgs,

    #[command(flatten)]
    tls: TlsArgs,

    #[command(flatten)]
    options: RunOptions,
}

/// Carries out the verb.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let text = match scenario_text(args) {
        Ok(text) => text,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let file = args.save.clone().unwrap_or_else(|| PathBuf::from(NAME));
    let checked = scenario::parse(&file.display().to_string(), &text, &args.set, None, None);
    let plan = match checked.and_then(overrides::with_readable_files) {
        Ok(plan) => plan,
        Err(diagnostics) => {
            complain(&diagnostics);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    complain(&plan.warnings);
    if let Some(path) = &args.save {
        if let Err(error) = save(path, &text, args.options.force()) {
            return fail(EXIT_USAGE, &error);
        }
        if !args.options.is_quiet() {
            terminal::tell(format_args!("the scenario is in {}", path.display()));
        }
    }
    run::carry_out(&[(file, plan)], &args.options, &|_, seed| again(args, seed))
}

/// The scenario that the options amount to.
fn scenario_text(args: &Args) -> Result<String, String> {
    let clients = args.clients;
    let talkers = args.talkers.unwrap_or(clients);
    if talkers > clients {
        return Err(format!(
            "--talkers {talkers}: they are some of the --clients, of which there are {clients}"
        ));
    }
    if talkers == 0 {
        return Err("--talkers 0: somebody has to send, or there is nothing to verify".to_owned());
    }
    let rooms = args.rooms;
    let rooms = rooms.or_else(|| args.protocol.needs_room(&args.url).then_some(1));
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{words}");
    };
    line(format_args!("seed = {}", args.seed));
    line(format_args!(""));
    line(format_args!("[target]"));
    line(format_args!("url = {}", string(&args.url)));
    let tls: Vec<String> = (args.tls.options().iter())
        .map(|option| match &option.value {
            serde_json::Value::String(value) => format!("{} = {}", option.key, string(value)),
            other => format!("{} = {other}", option.key),
        })
        .collect();
    if !tls.is_empty() {
        line(format_args!("tls = {{ {} }}", tls.join(", ")));
    }
    line(format_args!("{}", args.protocol.section()));
    line(format_args!("[run]"));
    line(format_args!("duration = {}", string(&args.duration)));
    let groups = [
        ("talkers", talkers, Some(args.rate)),
        ("listeners", clients - talkers, None),
    ];
    for (name, count, rate) in groups.into_iter().filter(|(_, count, _)| *count > 0) {
        line(format_args!(""));
        line(format_args!("[clients.{name}]"));
        line(format_args!("count = {count}"));
        if let Some(rate) = rate {
            line(format_args!("rate = {rate}"));
            line(format_args!("payload = {{ size = {} }}", args.size));
        }
        if let Some(rooms) = rooms {
            line(format_args!("rooms = {rooms}"));
        }
    }
    if !args.thresholds.is_empty() {
        line(format_args!(""));
        line(format_args!("[thresholds]"));
    }
    let mut metrics: Vec<(&str, Vec<String>)> = Vec::new();
    for (metric, expression) in &args.thresholds {
        let expression = string(expression);
        match metrics.iter_mut().find(|(known, _)| known == metric) {
            Some((_, expressions)) => expressions.push(expression),
            None => metrics.push((metric, vec![expression])),
        }
    }
    for (metric, expressions) in metrics {
        line(format_args!("{metric} = [{}]", expressions.join(", ")));
    }
    Ok(text)
}

/// The metric and the expression of a threshold; whether there are such, the scenario says.
fn threshold(text: &str) -> Result<(String, String), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    match text.trim().split_once(char::is_whitespace) {
        Some((metric, expression)) if metric.chars().all(plain) => {
            Ok((metric.to_owned(), expression.trim().to_owned()))
        }
        _ => Err("use METRIC FIGURE < LIMIT, as in 'relay p99 < 50ms'".to_owned()),
    }
}

/// Writes the scenario into a file of its own.
fn save(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!(
                "--save {}: it exists already; --force overwrites it",
                path.display()
            )
        }
        _ => format!("--save {}: {error}", path.display()),
    })
}

/// The command that does the same with `seed` again.
fn again(args: &Args, seed: u64) -> String {
    let mut words = vec!["chatbench".to_owned(), "load".to_owned(), quoted(&args.url)];
    let mut option = |option: &str, value: String| {
        words.extend([option.to_owned(), quoted(&value)]);
    };
    option("--clients", args.clients.to_string());
    if let Some(talkers) = args.talkers {
        option("--talkers", talkers.to_string());
    }
    option("--rate", args.rate.to_string());
    option("--duration", args.duration.clone());
    option("--size", args.size.to_string());
    if let Some(rooms) = args.rooms {
        option("--rooms", rooms.to_string());
    }
    for (metric, expression) in &args.thresholds {
        option("--threshold", format!("{metric} {expression}"));
    }
    for set in &args.set {
        option("--set", set.clone());
    }
    option("--seed", seed.to_string());
    words.extend(args.protocol.words());
    words.extend(args.tls.options().into_iter().map(|option| option.given));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(words: &[&str]) -> Result<Args, clap::Error> {
        let all = [&["load"], words].concat();
        Alone::try_parse_from(all).map(|alone| alone.args)
    }

    #[test]
    fn every_option_is_a_key_of_the_scenario() {
        let args = parsed(&[
            "ndjson+tls://h:1",
            "--clients",
            "100",
            "--talkers",
            "5",
            "--rate",
            "12.5",
            "--duration",
            "3s",
            "--size",
            "200",
            "--rooms",
            "4",
            "--threshold",
            "relay p99 < 50ms",
            "--threshold",
            "relay max<1s",
            "--threshold",
            "rates delivered > 10",
            "--seed",
            "7",
            "--cacert",
            "a \"b\".pem",
            "--insecure",
        ]);
        let text = scenario_text(&args.unwrap()).unwrap();
        assert_eq!(
            text,
            "seed = 7\n\n[target]\nurl = \"ndjson+tls://h:1\"\n\
             tls = { cacert = 'a \"b\".pem', insecure = true }\n\n\
             [run]\nduration = \"3s\"\n\n\
             [clients.talkers]\ncount = 5\nrate = 12.5\npayload = { size = 200 }\nrooms = 4\n\n\
             [clients.listeners]\ncount = 95\nrooms = 4\n\n\
             [thresholds]\nrelay = [\"p99 < 50ms\", \"max<1s\"]\nrates = [\"delivered > 10\"]\n"
        );
        scenario::parse("load", &text, &[], None, None).unwrap_or_else(|e| panic!("{e}"));
    }

    #[test]
    fn an_address_alone_is_enough_and_everyone_talks() {
        let args = parsed(&["h:1"]).unwrap();
        let text = scenario_text(&args).unwrap();
        assert!(
            !text.contains("listeners") && !text.contains("thresholds"),
            "{text}"
        );
        let plan = scenario::parse("load", &text, &[], None, None).unwrap();
        assert_eq!((plan.groups.len(), plan.groups[0].count), (1, 10));
        assert_eq!(
            again(&args, 9),
            "chatbench load h:1 --clients 10 --rate 10 --duration 10s --size 64 --seed 9"
        );
    }

    #[test]
    fn what_makes_no_scenario_says_why() {
        let refused = |words: &[&str]| scenario_text(&parsed(words).unwrap()).unwrap_err();
        assert_eq!(
            refused(&["h:1", "--clients", "3", "--talkers", "4"]),
            "--talkers 4: they are some of the --clients, of which there are 3"
        );
        assert_eq!(
            refused(&["h:1", "--talkers", "0"]),
            "--talkers 0: somebody has to send, or there is nothing to verify"
        );
        for wrong in ["relay", "", "re=lay p99 < 1ms"] {
            let error = parsed(&["h:1", "--threshold", wrong])
                .unwrap_err()
                .to_string();
            assert!(error.contains("as in 'relay p99 < 50ms'"), "{error}");
        }
    }
}
