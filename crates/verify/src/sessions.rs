//! The sessions of one ledger: the client of each, its stage, and its outbox. Its progress in the
//! order of messages depends on the kind of ledger.

use std::ops::{Index, IndexMut};

use super::directory::ClientId;
use super::flags::Flags;
use super::ledger::Handle;
use super::outbox::Outbox;
use chatbench_wire::payload::SenderId;

/// A number or a moment that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// A session, with the `progress` that the kind of ledger keeps about it.
#[derive(Debug)]
pub(super) struct Session<P> {
    pub(super) id: SenderId,
    pub(super) client: ClientId,
    pub(super) stage: Stage,
    pub(super) flags: Flags,
    /// When it left; [`NEVER`] before.
    pub(super) left_ns: u64,
    /// Everything that it sent; absent for a pure listener.
    pub(super) outbox: Option<Box<Outbox>>,
    /// Its progress in the order, and everything that went wrong.
    pub(super) progress: P,
}

/// The stage of a session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waiting for the welcome.
    Connecting,
    /// Between welcome and bye.
    Open,
    /// The bye came: everything is accounted for.
    Finished,
    /// Over; the slot is free.
    Free,
}

impl<P> Session<P> {
    pub(super) fn outbox(&mut self) -> &mut Outbox {
        self.outbox.get_or_insert_default()
    }
}

/// The sessions of a ledger, each under a handle until it has ended.
#[derive(Debug)]
pub(super) struct Sessions<P> {
    all: Vec<Session<P>>,
    /// Handles that are free.
    free: Vec<Handle>,
}

impl<P> Sessions<P> {
    pub(super) const fn new() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Makes room for so many at once.
    pub(super) fn reserve(&mut self, sessions: usize) {
        self.all.reserve_exact(sessions);
    }

    /// A new session, which begins to connect.
    pub(super) fn begin(&mut self, id: SenderId, client: ClientId, progress: P) -> Handle {
        let session = Session {
            id,
            client,
            stage: Stage::Connecting,
            flags: Flags::default(),
            left_ns: NEVER,
            outbox: None,
            progress,
        };
        if let Some(handle) = self.free.pop() {
            self[handle] = session;
            return handle;
        }
        if self.all.len() == self.all.capacity() {
            // Thousands of rooms have a few each: an eighth more, and not as many again.
            self.all.reserve_exact(self.all.len() / 8 + 1);
        }
        self.all.push(session);
        Handle(self.all.len() as u32 - 1)
    }

    /// The session is over, and its handle is free.
    pub(super) fn end(&mut self, handle: Handle) {
        let session = &mut self[handle];
        session.stage = Stage::Free;
        session.outbox = None;
        self.free.push(handle);
    }

    /// Whether a session that has not ended has this handle.
    pub(super) fn is_there(&self, handle: Handle) -> bool {
        let session = self.all.get(handle.index());
        session.is_some_and(|session| session.stage != Stage::Free)
    }

    /// The handles of all sessions, free ones among them.
    pub(super) fn handles(&self) -> impl Iterator<Item = Handle> + use<P> {
        (0..self.all.len() as u32).map(Handle)
    }

    /// All sessions that have not ended.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Session<P>> {
        self.all.iter().filter(|s| s.stage != Stage::Free)
    }

    /// All sessions that have not ended.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session<P>> {
        self.all.iter_mut().filter(|s| s.stage != Stage::Free)
    }

    /// The largest number of sessions that were there at the same time.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

impl<P> Index<Handle> for Sessions<P> {
    type Output = Session<P>;

    #[inline]
    fn index(&self, handle: Handle) -> &Session<P> {
        &self.all[handle.index()]
    }
}

impl<P> IndexMut<Handle> for Sessions<P> {
    #[inline]
    fn index_mut(&mut self, handle: Handle) -> &mut Session<P> {
        &mut self.all[handle.index()]
    }
}
