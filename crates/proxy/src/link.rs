//! One connection: what comes from either side goes to the other, frame by frame.

use std::future::{self, Future};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use chatbench_net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::sleep;

use super::meddler::{ConnectionId, Meddler, Then};
use super::talk::{Frames, Way};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// The longest frame that is looked at. Once one is longer, everything is passed on as it comes.
const MAX_FRAME_BYTES: usize = 32 << 20;

/// The state that all connections share.
pub type Shared = Arc<Mutex<Meddler>>;

/// Locks it. A panic of another connection's task leaves nothing half done that matters here.
pub fn lock(shared: &Shared) -> MutexGuard<'_, Meddler> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How one direction came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The sending side has half-closed, which was passed on.
    HalfClosed,
    /// The sending side has reset the connection, or it broke.
    Reset,
    /// The receiving side takes nothing any more.
    Refused,
    /// The fault wants both sides closed.
    HangUp,
}

/// Passes on all that comes from `client` to `target` and back, until both have ended.
pub async fn carry(client: Stream, target: Stream, id: ConnectionId, shared: Shared) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_target, mut to_target) = split(target);
    let (up, down) = {
        let up = Direction::new(Way::Up, id, &shared);
        let down = Direction::new(Way::Down, id, &shared);
        let up = pin!(up.carry(&mut from_client, &mut to_target));
        let down = pin!(down.carry(&mut from_target, &mut to_client));
        both(up, down).await
    };
    let mut client = from_client.unsplit(to_client);
    let mut target = from_target.unsplit(to_target);
    if up == Some(End::Reset) {
        lock(&shared).reset_by_client(id);
        target.reset_when_closed();
    }
    if down == Some(End::Reset) {
        client.reset_when_closed();
    }
}

/// Waits for both directions; no longer once one of them ends in such a way that the other cannot go
/// on.
async fn both(
    mut up: impl Future<Output = End> + Unpin,
    mut down: impl Future<Output = End> + Unpin,
) -> (Option<End>, Option<End>) {
    let (mut up_end, mut down_end) = (None, None);
    future::poll_fn(move |cx| {
        if up_end.is_none()
            && let Poll::Ready(end) = pin!(&mut up).poll(cx)
        {
            up_end = Some(end);
        }
        let is_over = |end| matches!(end, Some(End::Reset | End::HangUp));
        if down_end.is_none()
            && !is_over(up_end)
            && let Poll::Ready(end) = pin!(&mut down).poll(cx)
        {
            down_end = Some(end);
        }
        let all = up_end.is_some() && down_end.is_some();
        if all || is_over(up_end) || is_over(down_end) {
            return Poll::Ready((up_end, down_end));
        }
        Poll::Pending
    })
    .await
}

/// One direction of a connection.
struct Direction<'s> {
    way: Way,
    id: ConnectionId,
    shared: &'s Shared,
    frames: Box<dyn Frames>,
    /// What came and is no whole frame yet.
    rest: Vec<u8>,
    out: Vec<u8>,
    /// A frame was too long: nothing is looked at any more.
    is_blind: bool,
}

impl<'s> Direction<'s> {
    fn new(way: Way, id: ConnectionId, shared: &'s Shared) -> Self {
        let frames = lock(shared).frames(way);
        Self {
            way,
            id,
            shared,
            frames,
            rest: Vec::new(),
            out: Vec::new(),
            is_blind: false,
        }
    }

    async fn carry(mut self, from: &mut ReadHalf<Stream>, to: &mut WriteHalf<Stream>) -> End {
        loop {
            let before = self.rest.len();
            self.rest.reserve(READ_BYTES);
            match from.read_buf(&mut self.rest).await {
                Ok(_) if self.rest.len() > before => {}
                Ok(_) => break,
                Err(_) => return End::Reset,
            }
            match self.pass_frames(to).await {
                Ok(Then::HangUp) => return End::HangUp,
                Ok(_) => {}
                Err(_) => return End::Refused,
            }
        }
        // What is left is no whole frame: it is passed on for the other side to judge.
        if self.way == Way::Down {
            lock(self.shared).ended(self.id, &mut self.out);
        }
        self.out.append(&mut self.rest);
        let ended = async {
            to.write_all(&self.out).await?;
            to.shutdown().await
        };
        match ended.await {
            Ok(()) => End::HalfClosed,
            Err(_) => End::Refused,
        }
    }

    /// Passes on the frames that are there. Nothing more is read before they are written, so that a
    /// side that does not read makes the other one wait.
    async fn pass_frames(&mut self, to: &mut WriteHalf<Stream>) -> io::Result<Then> {
        loop {
            let then = self.take_frames();
            if !self.out.is_empty() {
                to.write_all(&self.out).await?;
                self.out.clear();
            }
            match then {
                Some(Then::Wait(time)) => sleep(time).await,
                Some(Then::HangUp) => return Ok(Then::HangUp),
                _ => return Ok(Then::GoOn),
            }
        }
    }

    /// Takes the frames that are there, up to one after which there is something to do.
    fn take_frames(&mut self) -> Option<Then> {
        let mut at = 0;
        let mut then = None;
        if !self.is_blind {
            let mut meddler = lock(self.shared);
            while let Some(frame) = self.frames.cut(&self.rest[at..]) {
                at += frame.bytes.len();
                let next = meddler.take(self.id, self.way, &frame, &*self.frames, &mut self.out);
                if next != Then::GoOn {
                    then = Some(next);
                    break;
                }
            }
        }
        self.rest.drain(..at);
        if self.is_blind || self.rest.len() > MAX_FRAME_BYTES {
            self.is_blind = true;
            self.out.append(&mut self.rest);
        }
        then
    }
}
