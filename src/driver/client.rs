//! The tasks of a connection: connecting until the welcome, reading to the end, and writing what
//! a full socket did not take.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::fleet::Read;
use super::shard::Shard;
use crate::verify::ledger::Ending;
use crate::wire::ndjson::{ServerFrame, decode_server};

/// Why a client did not get as far as its welcome.
#[derive(Debug, Clone, Error)]
pub(super) enum ConnectError {
    /// The system refused, or the other side did.
    #[error("{0}")]
    Io(Arc<io::Error>),
    /// Nothing came in time.
    #[error("no welcome within {0}")]
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
    #[error("it is no ndjson broadcast server: expected a welcome, got `{got}`")]
    NotThisProtocol {
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

/// Connects `client` and waits for its welcome; from then on its connection is read by a task of
/// its own.
pub(super) async fn connect(shard: &Rc<Shard>, client: usize) -> Result<(), ConnectError> {
    let clock = shard.clock;
    let started_ns = clock.now_ns();
    let handle = shard
        .fleet()
        .connecting(client)
        .ok_or(ConnectError::SessionsUsedUp)?;
    let attempt = async {
        let address = shard.address_for(client);
        let stream = TcpStream::connect(address).await.map_err(io_error)?;
        stream.set_nodelay(true).map_err(io_error)?;
        let generation = shard.fleet().connected(client, handle, stream);
        welcome(shard, client, generation).await?;
        Ok(generation)
    };
    let outcome = match tokio::time::timeout(shard.connect_timeout, attempt).await {
        Ok(outcome) => outcome,
        Err(_) if shard.fleet().connected_without_welcome(client) => {
            // Others were welcomed, so this is the right protocol and a broken promise.
            Ok(shard.fleet().clients[client].generation)
        }
        Err(_) => Err(ConnectError::TimedOut(shard.connect_timeout.into())),
    };
    match outcome {
        Ok(generation) => {
            let took_ns = clock.now_ns() - started_ns;
            let mut fleet = shard.fleet();
            fleet.recorder.connected(took_ns);
            let reader = spawn_local(read_on(shard.clone(), client, generation));
            fleet.set_reader(client, generation, reader.abort_handle());
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
async fn welcome(shard: &Rc<Shard>, client: usize, generation: u32) -> Result<(), ConnectError> {
    loop {
        match read(shard, client, generation).await {
            Read::Frames => {
                let mut fleet = shard.fleet();
                if fleet
                    .connection(client, generation)
                    .is_some_and(|c| c.welcomed)
                {
                    return Ok(());
                }
                if fleet.last_read().contains(&b'\n') {
                    return Err(not_a_welcome(fleet.last_read()));
                }
            }
            Read::Ended(Ending::Ours) => return Err(ConnectError::Closed),
            Read::Ended(_) => {
                let fleet = shard.fleet();
                return Err(match fleet.last_read() {
                    [] => ConnectError::Closed,
                    got => not_a_welcome(got),
                });
            }
        }
    }
}

/// What came instead of a welcome.
fn not_a_welcome(read: &[u8]) -> ConnectError {
    const QUOTED_BYTES: usize = 60;
    let line = read.split(|&b| b == b'\n').next().unwrap_or(read);
    if let Ok(ServerFrame::Error { code, detail, .. }) = decode_server(line) {
        return ConnectError::Refused {
            code: code.into_owned(),
            detail: detail.into_owned(),
        };
    }
    let got = &line[..line.len().min(QUOTED_BYTES)];
    ConnectError::NotThisProtocol {
        got: got.escape_ascii().to_string(),
    }
}

async fn read(shard: &Rc<Shard>, client: usize, generation: u32) -> Read {
    poll_fn(|cx| shard.fleet().poll_read(client, generation, cx)).await
}

/// Reads a connection to its end.
async fn read_on(shard: Rc<Shard>, client: usize, generation: u32) {
    while read(&shard, client, generation).await == Read::Frames {}
}

/// Starts a writer for each socket that has become full.
pub(super) async fn flush_blocked(shard: Rc<Shard>) {
    let blocked = shard.fleet().wake_flusher.clone();
    loop {
        blocked.notified().await;
        let clients = shard.fleet().take_blocked();
        for (client, generation) in clients {
            let shard = shard.clone();
            spawn_local(async move {
                poll_fn(|cx| shard.fleet().poll_flush(client, generation, cx)).await;
            });
        }
    }
}
