//! The life of one connection: served, ended, closed so that its last lines arrive.
//!
//! Closing is the delicate part. A socket that is closed with input unread makes the kernel send
//! a reset, and a reset discards what the client has not read yet, such as the error that says why.
//! So a connection whose client may still be sending *lingers*: its sending side is shut down, and
//! its input is read and discarded until the client closes too. That is bounded in time, in
//! bytes, and in the number of connections that linger at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::task::{coop, yield_now};
use tokio::time::{sleep, timeout};

use super::broadcast::error_line;
use super::hub::{End, HANGING_UP, Hub, LEAVING, yield_turn};
use super::session::{Phase, Stream};
use chatbench_wire::Dialect;
use chatbench_wire::ndjson::ErrorCode;

/// Bytes of input that are discarded, at most, from one client that is being closed.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Serves one session to its end.
pub(super) async fn serve<S>(hub: Rc<Hub<S>>, id: usize)
where
    S: Stream,
{
    // A session limits itself to one read per poll; tokio's own budget would count its writes too,
    // and those of a whole flush pass, and stop a pass in its middle.
    coop::unconstrained(async {
        let mut end = poll_fn(|cx| hub.poll_session(id, cx)).await;
        if end == End::Closing {
            // Without a place there is less time: the kernel keeps megabytes for each.
            let place = hub.linger();
            let time = hub.closing_time(place.is_some());
            let closing = poll_fn(|cx| hub.poll_closing(id, cx));
            end = timeout(time, closing).await.unwrap_or(End::Gone);
        }
        // In a block of its own: the whole session would otherwise be part of this future.
        let (stream, phase) = {
            let session = hub.remove(id, end);
            (session.stream, session.phase)
        };
        if end == End::Done && phase == Phase::Closing {
            linger(&hub, stream).await;
        }
    })
    .await;
}

/// Refuses a client for lack of a place, instead of a welcome: with an error, or in the classic
/// dialect (C3) by closing alone.
pub(super) async fn refuse<S>(hub: Rc<Hub<S>>, dialect: Dialect, mut stream: S)
where
    S: Stream,
{
    if dialect == Dialect::Classic {
        return linger(&hub, stream).await;
    }
    let detail = format!("there are {} clients already", hub.config.max_clients);
    let error = error_line(None, ErrorCode::ServerFull, &detail, None);
    // The socket of a new connection takes one line at once; otherwise it is not worth a wait.
    let sent = timeout(HANGING_UP, stream.write_all(&error)).await;
    if matches!(sent, Ok(Ok(()))) {
        linger(&hub, stream).await;
    }
}

/// Closes a connection whose client may still be sending.
pub(super) async fn linger<S>(hub: &Hub<S>, mut stream: S)
where
    S: Stream,
{
    let Some(_place) = hub.linger() else {
        return;
    };
    let mut left_bytes = LINGER_BYTES;
    let discard = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        poll_fn(|cx| {
            let mut input = hub.input.borrow_mut();
            let mut buffer = ReadBuf::new(&mut input);
            let read = ready!(Pin::new(&mut stream).poll_read(cx, &mut buffer));
            left_bytes = left_bytes.saturating_sub(buffer.filled().len());
            if read.is_err() || buffer.filled().is_empty() || left_bytes == 0 {
                return Poll::Ready(());
            }
            yield_turn(cx)
        })
        .await;
    };
    let _ = timeout(HANGING_UP, discard).await;
}

/// Makes a pass over the sessions whenever there is something new in the log.
///
/// It lets the clients that are ready be read from first, once: their messages are in the same
/// pass. Only a single message, when all that were ready have been read from, goes out at once:
/// polling for others would be a system call in vain. It never waits for more to come, so there is
/// no timer and no added latency.
pub(super) async fn flush<S>(hub: Rc<Hub<S>>)
where
    S: Stream,
{
    coop::unconstrained(async {
        loop {
            hub.behind().await;
            if hub.has_traffic() {
                yield_now().await;
            }
            hub.flush();
        }
    })
    .await;
}

/// Ends sessions that have stopped reading, for ever.
pub(super) async fn watch_stuck<S>(hub: Rc<Hub<S>>)
where
    S: Stream,
{
    loop {
        sleep(LEAVING / 30).await;
        hub.end_stuck();
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
