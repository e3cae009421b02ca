//! The tasks of a connection: connecting until the welcome, reading to the end, and writing what
//! a full socket did not take.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::fleet::{ConnId, Read};
use super::shard::Shard;
use crate::verify::ledger::{Ending, MAX_SEQ};
use crate::wire::protocol::{Protocol, Spoken, WrongTarget};

/// Why a client did not get as far as its welcome.
#[derive(Debug, Clone, Error)]
pub(super) enum ConnectError {
    /// The system refused, or the other side did.
    #[error("{0}")]
    Io(Arc<io::Error>),
    /// Nothing came in time.
    #[error("no {awaited} within {within}{hint}")]
    NoWelcome {
        /// What was to come.
        awaited: Cow<'static, str>,
        /// How long it had for that.
        within: humantime::Duration,
        /// A reason that there may be.
        hint: &'static str,
    },
    /// It could not be reached in time.
    #[error("no connection within {0}")]
    TimedOut(humantime::Duration),
    /// It is another kind of server than its address says.
    #[error(transparent)]
    Wrong(#[from] WrongTarget),
    /// It does not take the client in, and the protocol knows why.
    #[error("{0}")]
    NotTakenIn(String),
    /// It hung up.
    #[error("it closed the connection before the {0}")]
    Closed(Cow<'static, str>),
    /// Session numbers are used up.
    #[error("a run can tell {max} sessions apart and has opened them all", max = crate::verify::ids::MAX_SESSIONS)]
    SessionsUsedUp,
}

/// Connects `client`, waits for its welcome, if the protocol has one, and joins its rooms; from then
/// on its connection is read by a task of its own.
pub(super) async fn connect(shard: &Rc<Shard>, client: usize) -> Result<(), ConnectError> {
    let clock = shard.clock;
    let started_ns = clock.now_ns();
    let handle = shard
        .fleet()
        .connecting(client)
        .ok_or(ConnectError::SessionsUsedUp)?;
    let connected = Cell::new(None);
    let attempt = async {
        let host = shard.host_for(client);
        let stream = host.connect().await.map_err(io_error)?;
        let id = shard.fleet().connected(client, handle, stream, host.name());
        connected.set(Some(id));
        if !shard.is_welcomed(id) {
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
                match connected.get() {
                    Some(id) => ConnectError::NoWelcome {
                        awaited: shard.fleet().awaited(id),
                        within,
                        hint: match shard.spoken {
                            Spoken::Own(Protocol::Ndjson) => CLASSIC_SAYS_NONE,
                            Spoken::Nats(_) => NATS_SPEAKS_FIRST,
                            Spoken::Own(_) | Spoken::Application(_) | Spoken::Redis(_) => "",
                        },
                    },
                    None => ConnectError::TimedOut(within),
                }
            })
        }
    };
    match outcome {
        Ok(id) => {
            let took_ns = clock.now_ns() - started_ns;
            join_rooms(shard, client, id).await;
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

/// Why a target that is taken for one of the reference protocol may not welcome anybody.
const CLASSIC_SAYS_NONE: &str = " (a server of the classic dialect says none: \
                                 classic://HOST:PORT; one that speaks TLS waits for the client's \
                                 handshake: ndjson+tls://HOST:PORT)";

/// Why a target that is taken for a NATS server may say nothing.
const NATS_SPEAKS_FIRST: &str = " (a NATS server speaks first; one that does not is something else, \
                                 or speaks TLS from the start: tls+nats://HOST:PORT)";

fn io_error(error: io::Error) -> ConnectError {
    ConnectError::Io(Arc::new(error))
}

/// Reads until the handshake is over and the welcome is there.
async fn welcome(shard: &Rc<Shard>, id: ConnId) -> Result<(), ConnectError> {
    // A first line may come in any number of reads.
    let mut heard = Vec::new();
    let trouble = shard.fleet().wake_connecting.clone();
    let mut awaited = shard.fleet().awaited(id);
    loop {
        let read = tokio::select! {
            biased;
            read = read(shard, id) => Some(read),
            () = trouble.notified() => None, // perhaps another client's
        };
        let mut fleet = shard.fleet();
        // What the stream says of its end comes first: to the protocol it is an end like any other.
        if matches!(read, Some(Read::Ended(_)))
            && let Some(what) = fleet.take_broken()
        {
            return Err(ConnectError::NotTakenIn(what));
        }
        if let Some(what) = fleet.trouble(id) {
            return Err(ConnectError::NotTakenIn(what));
        }
        match read {
            None => {}
            Some(Read::Frames) => {
                if fleet.is_welcomed(id) {
                    return Ok(());
                }
                awaited = fleet.awaited(id);
                heard.extend_from_slice(fleet.last_read());
                if let Some(wrong) = shard.spoken.wrong(&heard, false, MAX_SEQ) {
                    return Err(wrong.into());
                }
            }
            Some(Read::Ended(ending)) => {
                let wrong = match ending {
                    Ending::Ours => None,
                    _ if heard.is_empty() => None,
                    _ => shard.spoken.wrong(&heard, true, MAX_SEQ),
                };
                return Err(wrong.map_or(ConnectError::Closed(awaited), ConnectError::Wrong));
            }
        }
    }
}

/// Joins the rooms of the client's group, and reads until each has answered.
async fn join_rooms(shard: &Rc<Shard>, client: usize, id: ConnId) {
    if shard.fleet().has_arrived(id) {
        return; // it joins none
    }
    shard.fleet().join_dealt(id);
    let answered = async {
        // A connection that ends meanwhile has arrived, and is gone.
        while !shard.fleet().has_arrived(id) {
            read(shard, id).await;
        }
    };
    if shard
        .within(shard.connect_timeout, answered)
        .await
        .is_none()
    {
        shard.fleet().stop_waiting(client);
    }
}

async fn read(shard: &Rc<Shard>, id: ConnId) -> Read {
    poll_fn(|cx| shard.fleet().poll_read(id, cx)).await
}

/// Reads a connection to its end.
async fn read_on(shard: Rc<Shard>, client: usize, id: ConnId) {
    while read(&shard, id).await == Read::Frames {
        // In a protocol without a welcome, the first bytes to any client show what the target is.
        if !shard.spoken.capabilities().welcome && !shard.heard.replace(true) {
            let wrong = (shard.spoken).wrong(shard.fleet().last_read(), false, MAX_SEQ);
            if let Some(wrong) = wrong {
                shard.foreign(client, &wrong);
            }
        }
    }
}

/// Connects clients again whose connections the target closed, where it may do that.
pub(super) async fn bring_back(shard: Rc<Shard>) {
    let woken = shard.fleet().wake_returning.clone();
    loop {
        woken.notified().await;
        let returning = shard.fleet().take_returning();
        for client in returning {
            spawn_local(connect_again(shard.clone(), client));
        }
    }
}

/// Connects `client` again, as often as it may try.
async fn connect_again(shard: Rc<Shard>, client: usize) {
    let Some(reconnect) = shard.spoken.reconnect() else {
        return;
    };
    let [min, max] = [reconnect.after_min_ns, reconnect.after_max_ns].map(Duration::from_nanos);
    let mut failed = None;
    while shard.may_return(client) {
        shard.fleet().sets_out(client);
        let pause = shard.draw(client, min, max);
        if timeout(pause, shard.load_ends()).await.is_ok() {
            failed = None; // nobody is needed any more
            break;
        }
        failed = connect(&shard, client).await.err();
        if failed.is_none() {
            break;
        }
    }
    if let Some(error) = failed {
        shard.trouble(client, &error);
    }
    shard.fleet().returned(client);
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
