//! `chatbench serve`: the reference server as a process.
//!
//! stdout carries one line a listener, once it accepts, so that whoever starts the server can ask
//! for port 0 and read the port from there, and with `--fault` a line a fault that was committed,
//! at the end. Everything else goes to stderr.

use std::fmt;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::EXIT_USAGE;
use super::prometheus::PrometheusArgs;
use crate::scenario::addresses::{self, BadAddresses};
use crate::scrape;
use crate::scrape::endpoint::{self, Endpoint};
use crate::server::fault::request::{self, Request};
use crate::server::{self, Config, ConfigError, Listener, Stats};
use crate::wire::Dialect;

/// The port of a `--listen` that names none, and of the original tutorial.
const DEFAULT_PORT: u16 = 1253;

/// Exit code after a second signal: ended without a drain.
const EXIT_INTERRUPTED: u8 = 130;

/// File descriptors kept for what is no client: connections being refused or closed, listeners,
/// the standard streams, the runtime.
const RESERVED_FILES: u64 = 320;

/// Arguments of `chatbench serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen, ndjson://HOST:PORT or, for clients of the original, classic://HOST:PORT;
    /// port 0 is any free one. Several addresses at once: 127.0.0.1-127.0.0.8:PORT, or with commas.
    /// Repeatable: all hear each other
    #[arg(long, value_name = "URL", default_value = "ndjson://127.0.0.1:1253")]
    listen: Vec<Listen>,

    /// Allow listening on an address that other machines can reach
    #[arg(long)]
    allow_remote: bool,

    #[command(flatten)]
    prometheus: PrometheusArgs,

    /// The longest line in bytes, its LF included; of a classic client the longest object
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "64KiB")]
    max_line: usize,

    /// Clients at a time; who comes after is refused [default: 65536, or what file descriptors allow]
    #[arg(long, value_name = "N")]
    max_clients: Option<usize>,

    /// Malformed lines in a row after which a client is disconnected
    #[arg(long, value_name = "N", default_value_t = server::DEFAULT_MAX_ERRORS)]
    max_errors: u32,

    /// Bytes of messages kept for clients that are behind, for all of a dialect together
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "16MiB")]
    backlog: usize,

    /// How long a shutdown waits for clients to take what they are owed
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5s")]
    drain: Duration,

    /// Do wrong on purpose, to prove a verifier: `chatbench faults` lists how. RATE is `once`, a
    /// probability, or `after=N`. Repeatable
    #[arg(long = "fault", value_name = "NAME[=RATE]")]
    faults: Vec<Request>,

    /// Decides when faults are committed, and on whom
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Say on stdout at the end what was done: clients, messages, writes, bytes
    #[arg(long)]
    stats: bool,

    /// Log what happens to stderr; twice for every connection. RUST_LOG overrides
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Shut down when stdin ends: a server started as a child then cannot outlive its parent
    #[arg(long, hide = true)]
    exit_on_stdin_eof: bool,
}

/// A `--listen` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listen {
    dialect: Dialect,
    /// As the resolver takes them: `HOST:PORT`, IPv6 in brackets.
    addresses: Vec<String>,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.dialect, self.addresses.join(","))
    }
}

/// Why a `--listen` is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum BadListen {
    #[error("no such dialect: use ndjson://HOST:PORT or classic://HOST:PORT")]
    Dialect,
    #[error("no host: use ndjson://HOST:PORT, as in ndjson://127.0.0.1:1253")]
    NoHost,
    #[error("the port is no number from 0 to 65535")]
    Port,
    #[error(transparent)]
    Addresses(#[from] BadAddresses),
}

impl FromStr for Listen {
    type Err = BadListen;

    fn from_str(url: &str) -> Result<Self, BadListen> {
        let (dialect, address) = match url.split_once("://") {
            Some(("ndjson", address)) => (Dialect::Ndjson, address),
            Some(("classic", address)) => (Dialect::Classic, address),
            _ => return Err(BadListen::Dialect),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        // The colons of a bracketed IPv6 address are no port's.
        let after_host = address.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match address[after_host..].rsplit_once(':') {
            Some((_, port)) => (
                &address[..address.len() - port.len() - 1],
                port.parse().map_err(|_| BadListen::Port)?,
            ),
            None => (address, DEFAULT_PORT),
        };
        if host.is_empty() {
            return Err(BadListen::NoHost);
        }
        Ok(Self {
            dialect,
            addresses: addresses::expand(&format!("{host}:{port}"), 0)?,
        })
    }
}

/// Why the server did not start.
#[derive(Debug, Error)]
enum ServeError {
    #[error(transparent)]
    Limits(#[from] ConfigError),
    #[error("--fault: {0}")]
    Faults(#[from] request::Uncommitted),
    #[error("cannot resolve {listen}: {source}")]
    Resolve { listen: Listen, source: io::Error },
    #[error(
        "{address} can be reached from other machines, and the server authenticates nobody: \
         add --allow-remote if that is meant, or listen on 127.0.0.1"
    )]
    Remote { address: SocketAddr },
    #[error("cannot listen on {address}: {source}")]
    Bind {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Prometheus(#[from] endpoint::Error),
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Carries out the verb.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    log_to_stderr(args.verbose);
    match start(args) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn log_to_stderr(verbose: u8) {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

fn start(args: Args) -> Result<ExitCode, ServeError> {
    let config = Config {
        max_line_bytes: args.max_line,
        max_clients: max_clients(args.max_clients, raise_file_limit()),
        max_errors: args.max_errors,
        backlog_bytes: args.backlog,
        drain: args.drain,
        faults: args.faults,
        seed: args.seed,
    };
    config.check()?;
    let dialects: Vec<Dialect> = args.listen.iter().map(|listen| listen.dialect).collect();
    request::check(&config.faults, &dialects)?;
    let mut addresses = Vec::new();
    for listen in args.listen {
        for address in resolve(&listen, args.allow_remote)? {
            addresses.push((listen.dialect, address));
        }
    }
    let endpoint = args.prometheus.bind(args.allow_remote)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let served = serve(&addresses, config, endpoint, args.exit_on_stdin_eof).await?;
        let Some(stats) = served else {
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        };
        tell_faults(&stats);
        if args.stats {
            tell_stats(&stats);
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Serves until told to stop: a first signal drains; a second one ends at once, and then there is
/// nothing to tell.
async fn serve(
    addresses: &[(Dialect, SocketAddr)],
    config: Config,
    endpoint: Option<Endpoint>,
    exit_on_stdin_eof: bool,
) -> Result<Option<Stats>, ServeError> {
    // Before anyone can know that the server is up, so that no signal finds it unprepared.
    let mut signals = Signals::catch()?;
    let stdin_eof = exit_on_stdin_eof.then(stdin_eof);
    let listeners = listen_on(addresses)?;
    announce(&listeners, endpoint.as_ref())?;
    let watch = endpoint.map(tell_scrapers).transpose()?;

    let (stop, stopped) = oneshot::channel();
    let serving = server::run_watched(listeners, config, watch, async {
        let _ = stopped.await;
    });
    let told_twice = async {
        match stdin_eof {
            Some(eof) => tokio::select! { () = signals.next() => {}, _ = eof => {} },
            None => signals.next().await,
        }
        info!("shutting down");
        let _ = stop.send(());
        signals.next().await;
    };
    tokio::select! {
        stats = serving => {
            info!(?stats, "shut down");
            Ok(Some(stats))
        }
        () = told_twice => Ok(None),
    }
}

fn listen_on(addresses: &[(Dialect, SocketAddr)]) -> Result<Vec<Listener>, ServeError> {
    addresses
        .iter()
        .map(|&(dialect, address)| {
            server::listen(dialect, address).map_err(|source| ServeError::Bind { address, source })
        })
        .collect()
}

/// Serves the latest of what is sent to scrapers.
fn tell_scrapers(endpoint: Endpoint) -> io::Result<watch::Sender<Stats>> {
    let (sender, latest) = watch::channel(Stats::default());
    endpoint.serve(move || scrape::server::page(&latest.borrow()))?;
    Ok(sender)
}

/// One line a listener. Who started the server may not care to read: that is no reason to stop.
fn announce(listeners: &[Listener], endpoint: Option<&Endpoint>) -> Result<(), ServeError> {
    let mut stdout = io::stdout().lock();
    for listener in listeners {
        let (dialect, address) = (listener.dialect(), listener.local_addr()?);
        let _ = writeln!(stdout, "listening on {dialect}://{address}");
    }
    if let Some(endpoint) = endpoint {
        let _ = writeln!(stdout, "metrics on {}", endpoint.url());
    }
    let _ = stdout.flush();
    Ok(())
}

/// One line a fault that was committed, for whoever started a server that is to be wrong.
fn tell_faults(stats: &Stats) {
    let mut stdout = io::stdout().lock();
    for told in &stats.faults {
        let _ = writeln!(stdout, "{told}");
    }
    if stats.more_faults > 0 {
        let _ = writeln!(stdout, "and {} faults more", stats.more_faults);
    }
    let _ = stdout.flush();
}

/// What the server did in its life, a line of `key=value`. Bytes a write tells how well it batched.
fn tell_stats(stats: &Stats) {
    let Stats {
        joined,
        refused,
        published,
        errors,
        slow_consumers,
        aborted,
        reads,
        bytes_in,
        writes,
        bytes_out,
        ..
    } = stats;
    let bytes_a_write = bytes_out.checked_div(*writes).unwrap_or(0);
    let _ = writeln!(
        io::stdout(),
        "stats joined={joined} refused={refused} published={published} errors={errors} \
         slow_consumers={slow_consumers} aborted={aborted} reads={reads} bytes_in={bytes_in} \
         writes={writes} bytes_out={bytes_out} bytes_a_write={bytes_a_write}"
    );
}

/// The addresses of a URL, of each host the first, if they may be listened on.
fn resolve(listen: &Listen, allow_remote: bool) -> Result<Vec<SocketAddr>, ServeError> {
    let resolve_one = |host_port: &String| {
        let found = host_port.to_socket_addrs().and_then(|mut found| {
            let none = || io::Error::other("it has no address");
            found.next().ok_or_else(none)
        });
        let address = found.map_err(|source| ServeError::Resolve {
            listen: listen.clone(),
            source,
        })?;
        if !allow_remote && !address.ip().to_canonical().is_loopback() {
            return Err(ServeError::Remote { address });
        }
        Ok(address)
    };
    listen.addresses.iter().map(resolve_one).collect()
}

/// The two signals that ask a server to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Completes when stdin ends. On a thread of its own, that the process does not wait for: tokio's
/// stdin would keep its runtime from stopping until the read returns.
fn stdin_eof() -> oneshot::Receiver<()> {
    let (ended, eof) = oneshot::channel();
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut ignored = [0; 512];
        while !matches!(stdin.read(&mut ignored), Ok(0)) {}
        let _ = ended.send(());
    });
    eof
}

/// Raises the limit of open files as far as it goes. Returns it; `None` is none.
fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            warn!(%error, "cannot raise the limit of open files");
            limit.current
        }
    }
}

/// How many clients to admit: as many as asked for, but no more than there are files for, so that
/// one too many is told so and not left waiting for a descriptor.
fn max_clients(asked: Option<usize>, files: Option<u64>) -> usize {
    let wanted = asked.unwrap_or(server::DEFAULT_MAX_CLIENTS);
    let Some(files) = files else { return wanted };
    let possible = (files - RESERVED_FILES.min(files / 2)) as usize;
    if possible < wanted && asked.is_some() {
        warn!("{files} open files allow {possible} clients: raise `ulimit -Hn` for more");
    }
    wanted.min(possible)
}

/// Bytes as people write them: `64`, `4KiB`, `16MiB`, `1GiB`.
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_bytes: usize = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("give bytes, or KiB, MiB, GiB: 64, 4KiB, 16MiB".to_owned()),
    };
    number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(unit_bytes))
        .ok_or_else(|| "give a number of bytes: 64, 4KiB, 16MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("64", Some(64)),
            ("4KiB", Some(4096)),
            ("16 MiB", Some(16 << 20)),
            ("1GiB", Some(1 << 30)),
            ("", None),
            ("KiB", None),
            ("-1", None),
            ("1.5KiB", None),
            ("4kb", None),
            ("99999999999999999999", None),
            ("99999999999999GiB", None),
        ] {
            assert_eq!(parse_size(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn listen_urls_name_a_dialect_a_host_and_perhaps_a_port() {
        use Dialect::{Classic, Ndjson};
        for (url, listen) in [
            ("ndjson://127.0.0.1:0", Ok((Ndjson, &["127.0.0.1:0"][..]))),
            ("ndjson://localhost/", Ok((Ndjson, &["localhost:1253"]))),
            ("ndjson://[::1]:5", Ok((Ndjson, &["[::1]:5"]))),
            ("ndjson://[::1]", Ok((Ndjson, &["[::1]:1253"]))),
            (
                "ndjson://127.0.0.1-127.0.0.2:0",
                Ok((Ndjson, &["127.0.0.1:0", "127.0.0.2:0"])),
            ),
            ("ndjson://a:1,[::1]:2", Ok((Ndjson, &["a:1", "[::1]:2"]))),
            (
                "ndjson://127.0.0.2-127.0.0.1:0",
                Err(BadListen::Addresses(BadAddresses::Wide {
                    part: "127.0.0.2-127.0.0.1:0".to_owned(),
                })),
            ),
            ("classic://127.0.0.1:1", Ok((Classic, &["127.0.0.1:1"]))),
            ("classic://localhost", Ok((Classic, &["localhost:1253"]))),
            ("ndjson://:5", Err(BadListen::NoHost)),
            ("ndjson://", Err(BadListen::NoHost)),
            ("ndjson://h:65536", Err(BadListen::Port)),
            ("classic://h:", Err(BadListen::Port)),
            ("127.0.0.1:1", Err(BadListen::Dialect)),
            ("ws://127.0.0.1:1", Err(BadListen::Dialect)),
        ] {
            let expected = listen.map(|(dialect, addresses)| Listen {
                dialect,
                addresses: addresses.iter().map(|&a| a.to_owned()).collect(),
            });
            assert_eq!(url.parse(), expected, "{url}");
        }
    }

    #[test]
    fn clients_are_bounded_by_what_is_asked_and_by_open_files() {
        assert_eq!(max_clients(None, None), server::DEFAULT_MAX_CLIENTS);
        assert_eq!(max_clients(None, Some(20_000)), 20_000 - 320);
        assert_eq!(max_clients(Some(10), Some(20_000)), 10);
        assert_eq!(max_clients(Some(30_000), Some(20_000)), 20_000 - 320);
        assert_eq!(max_clients(None, Some(40)), 20);
    }
}
