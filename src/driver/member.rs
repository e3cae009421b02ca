//! A client of a shard, before it begins: who it is, what it sends, when it joins and leaves.

use std::sync::Arc;
use std::time::Duration;

use super::source::Source;
use crate::scenario::draws::Draws;
use crate::scenario::plan::{PayloadSize, Repeat, Step};
use crate::verify::directory::ClientId;
use crate::wire::rooms::RoomId;

/// When a client leaves at the end of the run. Who sends leaves first, so that everyone else is
/// still there for its last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Joins first and leaves last.
    Observer,
    /// Has nothing to say.
    Listener,
    /// Publishes on a schedule or in a closed loop.
    Talker,
    /// Goes by a script, and leaves by it.
    Scripted,
}

/// The script of a client.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) steps: Arc<[Step]>,
    pub(super) repeat: Repeat,
}

/// A client of a shard, before it begins.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: ClientId,
    pub(super) rank: Rank,
    /// Where its latencies go ([`crate::measure::group::place`]).
    pub(super) group: usize,
    pub(super) payload: PayloadSize,
    pub(super) draws: Draws,
    pub(super) source: Source,
    pub(super) script: Option<Script>,
    /// Whose address its messages claim, if not its own.
    pub(super) claims: Option<ClientId>,
    /// When it connects, after its phase began.
    pub(super) connect_after: Duration,
    /// The rooms that it joins when it connects.
    pub(super) rooms: Box<[RoomId]>,
}
