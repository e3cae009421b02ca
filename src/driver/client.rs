//! The tasks of a connection: connecting until the welcome, reading to the end, and writing what
//! a full socket did not take.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use memchr::memmem;
use thiserror::Error;
use tokio::task::spawn_local;

use super::fleet::{ConnId, Read};
use super::shard::Shard;
use crate::verify::ledger::{Ending, MAX_SEQ};
use crate::wire::line::{DEFAULT_MAX_LINE_BYTES, SERVER_EXTRA_BYTES};
use crate::wire::ndjson::welcome::{self, NotAWelcome};
use crate::wire::ndjson::{ServerFrame, decode_server};
use crate::wire::{Dialect, classic};

/// Why a client did not get as far as its welcome.
#[derive(Debug, Clone, Error)]
pub(super) enum ConnectError {
    /// The system refused, or the other side did.
    #[error("{0}")]
    Io(Arc<io::Error>),
    /// Nothing came in time.
    #[error(
        "no welcome within {0} (a server of the classic dialect says none: classic://HOST:PORT)"
    )]
    NoWelcome(humantime::Duration),
    /// It could not be reached in time.
    #[error("no connection within {0}")]
    TimedOut(humantime::Duration),
    /// The target complained in place of a welcome.
    #[error("it answered with the error `{code}`: {detail}")]
    Refused {
        /// The error's code.
        code: String,
        /// What it said.
        detail: String,
    },
    /// It speaks, but something else.
    #[error("it is no ndjson broadcast server: {what}, got `{got}`")]
    NotThisProtocol {
        /// Why it is none.
        what: NotAWelcome,
        /// The beginning of what came.
        got: String,
    },
    /// It means to welcome, and does it wrong.
    #[error("{what}, got `{got}`")]
    WrongWelcome {
        /// What is wrong with it.
        what: NotAWelcome,
        /// The beginning of what came.
        got: String,
    },
    /// Its welcome is right, and its numbers cannot be followed.
    #[error("its welcome stands at number {0}, and numbers are followed up to {MAX_SEQ}")]
    NumbersTooLarge(u64),
    /// Its first line has no end.
    #[error("its first line has no end: {bytes} bytes, which begin `{got}`")]
    NoLine {
        /// So far.
        bytes: usize,
        /// The beginning of what came.
        got: String,
    },
    /// It speaks the other dialect.
    #[error("it speaks the {0} dialect: name it {0}://HOST:PORT")]
    OtherDialect(Dialect),
    /// It speaks, but not as a classic server does.
    #[error(
        "it is no classic broadcast server: what it says begins with an address, and this said \
         `{got}`"
    )]
    NotClassic {
        /// The beginning of what came.
        got: String,
    },
    /// It hung up.
    #[error("it closed the connection before the welcome")]
    Closed,
    /// Session numbers are used up.
    #[error("a run can tell {max} sessions apart and has opened them all", max = crate::verify::ids::MAX_SESSIONS)]
    SessionsUsedUp,
}

/// Connects `client` and waits for its welcome, if the dialect has one; from then on its
/// connection is read by a task of its own.
pub(super) async fn connect(shard: &Rc<Shard>, client: usize) -> Result<(), ConnectError> {
    let clock = shard.clock;
    let started_ns = clock.now_ns();
    let handle = shard
        .fleet()
        .connecting(client)
        .ok_or(ConnectError::SessionsUsedUp)?;
    let attempt = async {
        let stream = shard.host_for(client).connect().await.map_err(io_error)?;
        let id = shard.fleet().connected(client, handle, stream);
        if shard.dialect == Dialect::Ndjson {
            welcome(shard, id).await?;
        }
        Ok(id)
    };
    let outcome = match shard.within(shard.connect_timeout, attempt).await {
        Some(outcome) => outcome,
        // Where others were welcomed this is the right protocol, and a broken promise.
        None => {
            let unwelcomed = shard.fleet().connected_without_welcome(client);
            unwelcomed.ok_or_else(|| {
                let within = shard.connect_timeout.into();
                if shard.is_connected(client) {
                    ConnectError::NoWelcome(within)
                } else {
                    ConnectError::TimedOut(within)
                }
            })
        }
    };
    match outcome {
        Ok(id) => {
            let took_ns = clock.now_ns() - started_ns;
            let reader = spawn_local(read_on(shard.clone(), client, id));
            shard.fleet().reads(id, reader.abort_handle(), took_ns);
            Ok(())
        }
        Err(error) => {
            shard.fleet().abandon(client, handle);
            Err(error)
        }
    }
}

fn io_error(error: io::Error) -> ConnectError {
    ConnectError::Io(Arc::new(error))
}

/// Reads until the welcome is there.
async fn welcome(shard: &Rc<Shard>, id: ConnId) -> Result<(), ConnectError> {
    // A first line may come in any number of reads.
    let mut heard = Vec::new();
    loop {
        match read(shard, id).await {
            Read::Frames => {
                let mut fleet = shard.fleet();
                if fleet.is_welcomed(id) {
                    return Ok(());
                }
                heard.extend_from_slice(fleet.last_read());
                let too_long = heard.len() > DEFAULT_MAX_LINE_BYTES + SERVER_EXTRA_BYTES;
                if first_line(&heard).is_some() || too_long {
                    return Err(not_a_welcome(&heard));
                }
            }
            Read::Ended(Ending::Ours) => return Err(ConnectError::Closed),
            Read::Ended(_) if heard.is_empty() => return Err(ConnectError::Closed),
            Read::Ended(_) => return Err(not_a_welcome(&heard)),
        }
    }
}

/// The first line that is not blank, if it is at its end.
fn first_line(read: &[u8]) -> Option<&[u8]> {
    let (whole, _) = read.split_at(memchr::memrchr(b'\n', read)?);
    let mut lines = whole.split(|&b| b == b'\n').map(<[u8]>::trim_ascii_end);
    lines.find(|line| !line.is_empty())
}

/// What came instead of a welcome.
fn not_a_welcome(read: &[u8]) -> ConnectError {
    if [classic::ACK, classic::RELAY]
        .iter()
        .any(|phrase| memmem::find(read, phrase.as_bytes()).is_some())
    {
        return ConnectError::OtherDialect(Dialect::Classic);
    }
    let Some(line) = first_line(read) else {
        return ConnectError::NoLine {
            bytes: read.len(),
            got: quoted(read),
        };
    };
    match decode_server(line) {
        Ok(ServerFrame::Error { code, detail, .. }) => {
            return ConnectError::Refused {
                code: code.into_owned(),
                detail: detail.into_owned(),
            };
        }
        Ok(ServerFrame::Welcome { seq, .. }) if seq > MAX_SEQ => {
            return ConnectError::NumbersTooLarge(seq);
        }
        _ => {}
    }
    let got = quoted(line);
    match welcome::not_a_welcome(line) {
        Some(
            what @ (NotAWelcome::NoObject(_) | NotAWelcome::NoType | NotAWelcome::AnotherType(_)),
        ) => ConnectError::NotThisProtocol { what, got },
        Some(what) => ConnectError::WrongWelcome { what, got },
        // A right welcome came behind something that is none.
        None => ConnectError::NoLine {
            bytes: read.len(),
            got,
        },
    }
}

/// The first thing that a target said to any client: why it is no classic server's, if it is not.
/// An address stands first in whatever such a server says, right or wrong.
fn not_classic(read: &[u8]) -> Option<ConnectError> {
    match read.first()? {
        b'0'..=b'9' | b'[' => None,
        _ => {
            let line = read.split(|&b| b == b'\n').next().unwrap_or(read);
            Some(match decode_server(line) {
                Ok(ServerFrame::Welcome { .. }) => ConnectError::OtherDialect(Dialect::Ndjson),
                _ => ConnectError::NotClassic { got: quoted(line) },
            })
        }
    }
}

/// The beginning of what came, as one line of a terminal takes it.
fn quoted(line: &[u8]) -> String {
    const QUOTED_BYTES: usize = 60;
    line[..line.len().min(QUOTED_BYTES)]
        .escape_ascii()
        .to_string()
}

async fn read(shard: &Rc<Shard>, id: ConnId) -> Read {
    poll_fn(|cx| shard.fleet().poll_read(id, cx)).await
}

/// Reads a connection to its end.
async fn read_on(shard: Rc<Shard>, client: usize, id: ConnId) {
    while read(&shard, id).await == Read::Frames {
        if shard.dialect == Dialect::Classic && !shard.heard.replace(true) {
            let foreign = not_classic(shard.fleet().last_read());
            if let Some(error) = foreign {
                shard.foreign(client, &error);
            }
        }
    }
}

/// Starts a writer for each socket that has become full.
pub(super) async fn flush_blocked(shard: Rc<Shard>) {
    let woken = shard.fleet().wake_flusher.clone();
    loop {
        woken.notified().await;
        let blocked = shard.fleet().take_blocked();
        for id in blocked {
            let shard = shard.clone();
            spawn_local(async move {
                poll_fn(|cx| shard.fleet().poll_flush(id, cx)).await;
            });
        }
    }
}
