//! `chatbench serve`: the reference server as a process.
//!
//! stdout carries one line per listener, once it accepts, so that whoever starts the server can ask
//! for port 0 and read the port from there, and with `--fault` one line per committed fault, at the
//! end. Everything else goes to stderr.

use std::io::{self, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tracing::info;
use tracing_subscriber::EnvFilter;

use super::EXIT_USAGE;
use super::prometheus::PrometheusArgs;
use crate::scenario::addresses::Url;
use crate::scrape;
use crate::scrape::endpoint::{self, Endpoint};
use crate::server::fault::request::{self, Request};
use crate::server::{self, Config, ConfigError, Listener, Stats};
use crate::signals::Signals;
use crate::terminal;
use crate::wire::Dialect;

mod limits;
mod listen;
mod tls;

use limits::{max_clients, parse_size, raise_file_limit};
use listen::{Place, Unfit, listen_url, resolve};
use tls::{BadTls, acceptor};

/// Exit code after a second signal: ended without a drain.
const EXIT_INTERRUPTED: u8 = 130;

/// Arguments of `chatbench serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One signal (Ctrl-C, SIGTERM, SIGHUP) shuts down: nobody new comes in, everyone gets what is owed, then a \
goodbye. A second one ends at once.

Exit codes:
    0  shut down after a signal
    2  bad usage, or it cannot listen there
  130  ended at once by a second signal")]
pub struct Args {
    /// Where to listen, ndjson://HOST:PORT, ws://HOST:PORT for clients over WebSocket, browsers among
    /// them, or classic://HOST:PORT for those of the original; with TLS ndjson+tls://, wss:// or
    /// classic+tls://; port 0 is any free one. Several addresses at once: 127.0.0.1-127.0.0.8:PORT, or with commas.
    /// Repeatable: all hear each other
    #[arg(long, value_name = "URL", default_value = "ndjson://127.0.0.1:1253", value_parser = listen_url)]
    listen: Vec<Url>,

    /// Allow listening on an address that other machines can reach
    #[arg(long)]
    allow_remote: bool,

    /// The server's certificate for TLS, and those of intermediate authorities: a PEM file
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, if it is not in the same file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

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

    /// Rooms with a name, at a time, in all
    #[arg(long, value_name = "N", default_value_t = server::DEFAULT_MAX_ROOMS)]
    max_rooms: usize,

    /// Rooms with a name that one client may be in
    #[arg(long, value_name = "N", default_value_t = server::DEFAULT_MAX_ROOMS_PER_CLIENT)]
    max_rooms_per_client: usize,

    /// Bytes of messages kept for clients that are behind, for all of a dialect together, and once
    /// more for all rooms with a name
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "16MiB")]
    backlog: usize,

    /// Bytes of lines that have begun and not ended, of all clients together; past it the client
    /// whose line began first is disconnected
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "64MiB")]
    max_unfinished: usize,

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

/// Why the server did not start.
#[derive(Debug, Error)]
enum ServeError {
    #[error(transparent)]
    Limits(#[from] ConfigError),
    #[error("--fault: {0}")]
    Faults(#[from] request::Uncommitted),
    #[error(transparent)]
    Address(#[from] Unfit),
    #[error(transparent)]
    Tls(#[from] BadTls),
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
            terminal::complain(error);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn log_to_stderr(verbose: u8) {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(terminal::Log::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

fn start(args: Args) -> Result<ExitCode, ServeError> {
    let config = Config {
        max_line_bytes: args.max_line,
        max_clients: max_clients(args.max_clients, raise_file_limit()),
        max_errors: args.max_errors,
        max_rooms: args.max_rooms,
        max_rooms_per_client: args.max_rooms_per_client,
        backlog_bytes: args.backlog,
        max_unfinished_bytes: args.max_unfinished,
        drain: args.drain,
        faults: args.faults,
        seed: args.seed,
    };
    config.check()?;
    let dialects: Vec<Dialect> = (args.listen.iter())
        .map(|listen| listen.protocol.dialect())
        .collect();
    request::check(&config.faults, &dialects)?;
    let acceptor = acceptor(&args.listen, args.tls_cert, args.tls_key)?;
    let mut places = Vec::new();
    for listen in args.listen {
        for address in resolve(&listen, args.allow_remote)? {
            places.push(Place {
                protocol: listen.protocol,
                tls: acceptor.as_ref().filter(|_| listen.tls).cloned(),
                address,
            });
        }
    }
    let endpoint = args.prometheus.bind(args.allow_remote)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let served = serve(places, config, endpoint, args.exit_on_stdin_eof).await?;
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

/// Serves until told to stop: a first signal drains; a second one ends at once, without statistics.
async fn serve(
    places: Vec<Place>,
    config: Config,
    endpoint: Option<Endpoint>,
    exit_on_stdin_eof: bool,
) -> Result<Option<Stats>, ServeError> {
    // Before the server announces itself, so that no signal finds it unprepared.
    let mut signals = Signals::catch()?;
    let stdin_eof = exit_on_stdin_eof.then(stdin_eof);
    let listeners = listen_on(places)?;
    announce(&listeners, endpoint.as_ref())?;
    let watch = endpoint.map(tell_scrapers).transpose()?;

    let (stop, stopped) = oneshot::channel();
    let serving = server::run_watched(listeners, config, watch, async {
        let _ = stopped.await;
    });
    let told_twice = async {
        match stdin_eof {
            Some(eof) => tokio::select! { _ = signals.next() => {}, _ = eof => {} },
            None => drop(signals.next().await),
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

fn listen_on(places: Vec<Place>) -> Result<Vec<Listener>, ServeError> {
    let listen = |place: Place| {
        let address = place.address;
        let listener = server::listen(place.protocol, address);
        let listener = listener.map_err(|source| ServeError::Bind { address, source })?;
        Ok(match place.tls {
            Some(acceptor) => listener.with_tls(acceptor),
            None => listener,
        })
    };
    places.into_iter().map(listen).collect()
}

/// Serves the latest of what is sent to scrapers.
fn tell_scrapers(endpoint: Endpoint) -> io::Result<watch::Sender<Stats>> {
    let (sender, latest) = watch::channel(Stats::default());
    endpoint.serve(move || scrape::server::page(&latest.borrow()))?;
    Ok(sender)
}

/// Prints one line per listener. That nobody reads them is no reason to stop.
fn announce(listeners: &[Listener], endpoint: Option<&Endpoint>) -> Result<(), ServeError> {
    let mut stdout = io::stdout().lock();
    for listener in listeners {
        let (protocol, address) = (listener.protocol(), listener.local_addr()?);
        let scheme = match listener.is_tls() {
            true => protocol.tls_scheme(),
            false => protocol.scheme(),
        };
        let _ = writeln!(stdout, "listening on {scheme}://{address}");
    }
    if let Some(endpoint) = endpoint {
        let _ = writeln!(stdout, "metrics on {}", endpoint.url());
    }
    let _ = stdout.flush();
    Ok(())
}

/// Prints one line per fault that was committed, for the parent process of a faulty server.
fn tell_faults(stats: &Stats) {
    let mut stdout = io::stdout().lock();
    for told in &stats.faults {
        let _ = writeln!(stdout, "{}", terminal::visible(&told.to_string()));
    }
    if stats.more_faults > 0 {
        let _ = writeln!(stdout, "and {} faults more", stats.more_faults);
    }
    let _ = stdout.flush();
}

/// Prints the server's totals as a line of `key=value`. Bytes per write tell how well it batched.
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
