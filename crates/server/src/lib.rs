//! The reference broadcast server: one log, many cursors (`docs/PROTOCOL.md`, sections 1 to 6).
//!
//! Every accepted message is appended to [`log`] once, as its finished relay line. A session is a
//! [`cursor`] into that log with the few replies that are its own. So the protocol's promises
//! (S1 to S5) take no coordination between clients: they follow from reading one log in order.
//!
//! In reading order: [`log`] and [`cursor`] are sans-IO; `session` is the state of one
//! connection; `broadcast` is the log with all sessions: it handles a client's line, and makes the
//! pass that writes to everyone; [`pace`] decides which readers publishers wait for, [`turns`]
//! whose turn it is to publish, `flow` applies both, and `unfinished` bounds the memory of lines
//! that have not ended; `hub` is how the tasks of a server share it; `connection` is the life of
//! one connection from its welcome to its close; `accept` accepts connections or refuses them.
//! `rooms` are the rooms with a name, each a log with
//! cursors of its own; `classic` is the difference for clients of the original's dialect (section 7), and [`fault`]
//! makes a wrong server on purpose; `websocket` is the same dialect over WebSocket. All of a server runs on one thread: there is no lock, no
//! channel, no queue per client and no wake-up per message.
//!
//! Everything is bounded: the log by [`Config::backlog_bytes`], and those of all rooms together by
//! as much, clients by [`Config::max_clients`], rooms by [`Config::max_rooms`], their unfinished lines by [`Config::max_unfinished_bytes`], the unsent
//! replies of one client by not reading from it, a write by 256 KiB, and connections that are
//! being closed in time, bytes and number.

mod accept;
mod broadcast;
mod classic;
mod connection;
pub mod cursor;
pub mod fault;
mod flow;
mod hub;
pub mod log;
pub mod pace;
mod rooms;
mod session;
pub mod turns;
mod unfinished;
mod websocket;

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use chatbench_net as net;
use chatbench_wire::Dialect;
use chatbench_wire::line::DEFAULT_MAX_LINE_BYTES;

pub use accept::{Listener, listen};

/// The default of [`Config::max_clients`].
pub const DEFAULT_MAX_CLIENTS: usize = 65_536;

/// The default of [`Config::max_rooms`].
pub const DEFAULT_MAX_ROOMS: usize = 65_536;

/// The default of [`Config::max_rooms_per_client`].
pub const DEFAULT_MAX_ROOMS_PER_CLIENT: usize = 1024;

/// The default of [`Config::max_errors`].
pub const DEFAULT_MAX_ERRORS: u32 = 100;

/// The default of [`Config::backlog_bytes`].
pub const DEFAULT_BACKLOG_BYTES: usize = 16 * 1024 * 1024;

/// The default of [`Config::max_unfinished_bytes`]: a thousand of the longest lines.
pub const DEFAULT_MAX_UNFINISHED_BYTES: usize = 64 * 1024 * 1024;

/// The default of [`Config::drain`].
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

/// The least [`Config::max_line_bytes`]: the server's own lines, the longest of which is an error
/// that quotes some of what it got, must be lines too.
pub const MIN_MAX_LINE_BYTES: usize = 512;

/// How often a watcher is given new [`Stats`].
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Limits of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The longest line, in bytes with its LF (F2), in either direction; in the classic dialect
    /// the longest object.
    pub max_line_bytes: usize,
    /// Clients at a time; any more get `server-full`.
    pub max_clients: usize,
    /// Malformed lines in a row after which a session is closed.
    pub max_errors: u32,
    /// Rooms with a name, at a time; 0 for none.
    pub max_rooms: usize,
    /// Rooms with a name that one client may be in.
    pub max_rooms_per_client: usize,
    /// Bytes of relays kept for sessions that are behind, for all of a dialect together, and once
    /// more for all rooms with a name together. A session that is further behind is a slow consumer.
    pub backlog_bytes: usize,
    /// Bytes of lines that have begun and not ended, of all clients together. Past it the session
    /// whose line began first is closed.
    pub max_unfinished_bytes: usize,
    /// How long a shutdown waits for clients to take what they are owed.
    pub drain: Duration,
    /// The faults to commit.
    pub faults: Vec<fault::request::Request>,
    /// The seed for the draws of when faults are committed, and on which clients.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_line_bytes: DEFAULT_MAX_LINE_BYTES,
            max_clients: DEFAULT_MAX_CLIENTS,
            max_errors: DEFAULT_MAX_ERRORS,
            max_rooms: DEFAULT_MAX_ROOMS,
            max_rooms_per_client: DEFAULT_MAX_ROOMS_PER_CLIENT,
            backlog_bytes: DEFAULT_BACKLOG_BYTES,
            max_unfinished_bytes: DEFAULT_MAX_UNFINISHED_BYTES,
            drain: DEFAULT_DRAIN,
            faults: Vec::new(),
            seed: 0,
        }
    }
}

/// Why a [`Config`] cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The server's own lines would pass the limit.
    #[error(
        "a line limit of {max_line_bytes} bytes is too small for the server's own lines: \
         give at least {MIN_MAX_LINE_BYTES}"
    )]
    LinesTooShort {
        /// The limit asked for.
        max_line_bytes: usize,
    },
    /// Two lines of the greatest length must fit: one that is being sent, one that arrives.
    #[error(
        "a backlog of {backlog_bytes} bytes is too small for lines of up to {max_line_bytes}: \
         give at least twice the line limit, or lower that"
    )]
    BacklogTooSmall {
        /// The backlog asked for.
        backlog_bytes: usize,
        /// The line limit.
        max_line_bytes: usize,
    },
    /// One line of the greatest length must fit.
    #[error(
        "{max_unfinished_bytes} bytes for unfinished lines are too few for a line of up to \
         {max_line_bytes}: give at least the line limit, or lower that"
    )]
    UnfinishedTooSmall {
        /// The limit asked for.
        max_unfinished_bytes: usize,
        /// The line limit.
        max_line_bytes: usize,
    },
    /// A limit of zero, with which nobody could ever be served, or nobody could ever err.
    #[error("{what} must be at least 1")]
    Zero {
        /// The limit that is zero.
        what: &'static str,
    },
}

impl Config {
    /// Checks that the limits leave room for each other.
    ///
    /// # Errors
    /// [`ConfigError`] names the limit that is wrong, and what would do.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.max_line_bytes < MIN_MAX_LINE_BYTES {
            return Err(ConfigError::LinesTooShort {
                max_line_bytes: self.max_line_bytes,
            });
        }
        if self.backlog_bytes / 2 < self.max_line_bytes {
            return Err(ConfigError::BacklogTooSmall {
                backlog_bytes: self.backlog_bytes,
                max_line_bytes: self.max_line_bytes,
            });
        }
        if self.max_unfinished_bytes < self.max_line_bytes {
            return Err(ConfigError::UnfinishedTooSmall {
                max_unfinished_bytes: self.max_unfinished_bytes,
                max_line_bytes: self.max_line_bytes,
            });
        }
        if self.max_clients == 0 {
            return Err(ConfigError::Zero {
                what: "the number of clients",
            });
        }
        if self.max_errors == 0 {
            return Err(ConfigError::Zero {
                what: "the number of errors",
            });
        }
        Ok(())
    }
}

/// A server's counters so far; at its end, those of its whole life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Clients connected now.
    pub clients: u64,
    /// Connections that were welcomed.
    pub joined: u64,
    /// Connections that got `server-full`.
    pub refused: u64,
    /// Rooms with a name that have members now.
    pub rooms: u64,
    /// Memberships in them now.
    pub memberships: u64,
    /// Messages accepted: the last number given in the unnamed room, and those of all others.
    pub published: u64,
    /// Relays owed: one for each message accepted and each other client in its room at that moment.
    pub relays: u64,
    /// Reads that brought something.
    pub reads: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Writes of which a socket took something: nearly all of the server's cost
    /// (`benches/floor.rs`).
    pub writes: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
    /// Bytes of messages that are kept for clients that are behind.
    pub backlog_bytes: u64,
    /// Bytes of lines that have begun and not ended.
    pub unfinished_bytes: u64,
    /// Lines answered with an error.
    pub errors: u64,
    /// Sessions closed because they fell behind by more than the backlog.
    pub slow_consumers: u64,
    /// Sessions that ended without being sent all that they were owed: reset, or too slow.
    pub aborted: u64,
    /// The faults that were committed, [`fault::committed::KEPT`] of them at most.
    pub faults: Vec<fault::committed::Committed>,
    /// Faults committed beyond those.
    pub more_faults: u64,
}

/// Serves until `shutdown` completes, then drains (J4): accepts no more, lets every session leave
/// with all that it is owed, and returns once all have, or after [`Config::drain`].
///
/// Runs on the calling thread only; meant for a current-thread runtime of its own, with I/O and
/// time enabled.
///
/// # Panics
/// If `config` does not pass [`Config::check`], or asks for faults that do not pass
/// [`fault::request::check`] with the dialects of the listeners.
pub async fn run(
    listeners: Vec<Listener>,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Stats {
    run_watched(listeners, config, None, shutdown).await
}

/// As [`run`]; `watch` is given new [`Stats`] four times per second.
///
/// # Panics
/// As [`run`].
pub async fn run_watched(
    listeners: Vec<Listener>,
    config: Config,
    watch: Option<watch::Sender<Stats>>,
    shutdown: impl Future<Output = ()>,
) -> Stats {
    let checked = config.check();
    assert_eq!(checked, Ok(()), "checked by the caller");
    let drain = config.drain;
    let dialects: Vec<Dialect> = listeners.iter().map(Listener::dialect).collect();
    let committed = fault::request::check(&config.faults, &dialects);
    assert_eq!(committed, Ok(()), "checked by the caller");
    let hub = Rc::new(hub::Hub::new(config));
    if dialects.contains(&Dialect::Classic) {
        hub.expect_classic();
    }
    let tasks = LocalSet::new();
    let serving = async {
        tokio::task::spawn_local(connection::flush(Rc::clone(&hub)));
        tokio::task::spawn_local(connection::watch_stuck(Rc::clone(&hub)));
        if let Some(watch) = watch {
            tokio::task::spawn_local(tell(Rc::clone(&hub), watch));
        }
        let acceptors: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::task::spawn_local(accept::accept(Rc::clone(&hub), listener)))
            .collect();
        shutdown.await;
        for acceptor in acceptors {
            acceptor.abort();
            let _ = acceptor.await; // the listener is closed when this returns
        }
        hub.drain();
        // Sessions left after that are cut off when the tasks are dropped below.
        let _ = tokio::time::timeout(drain, hub.empty()).await;
        let (faults, more_faults) = hub.take_committed();
        Stats {
            faults,
            more_faults,
            ..hub.stats()
        }
    };
    tasks.run_until(serving).await
}

/// Publishes the [`Stats`], for ever. The cost depends on neither clients nor messages.
async fn tell(hub: Rc<hub::Hub<net::Stream>>, watch: watch::Sender<Stats>) {
    let mut tick = tokio::time::interval(TELL_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        watch.send_replace(hub.stats());
    }
}
