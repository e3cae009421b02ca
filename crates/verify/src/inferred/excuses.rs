//! Excuses: something came that may have been a message that is missing.

use super::sequence::SlotId;
use super::{Event, Handle, Inferred, Progress};
use crate::batch::Message;
use crate::violation::{Evidence, NoFrame};

/// Irregular frames remembered for each session, to tell what follows from them.
const MAX_EXCUSES: usize = 64;

/// The distance from its place within which something that stands for a message may come.
const EXCUSED_SLOTS: usize = 32;

/// Everything that went wrong in a session, as far as later judgements depend on it.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// A malformed line came last.
    pub(super) after_malformed: bool,
    excuses: Vec<Excuse>,
    /// How many messages the excuses that were forgotten for lack of room may have stood for.
    forgotten: u64,
}

/// Something came that may have been one or more messages.
#[derive(Debug)]
struct Excuse {
    /// The furthest slot by then.
    after: SlotId,
    /// So many excuses came before it while that slot stayed the same: each stands one place
    /// further on than the one before.
    in_row: usize,
    /// The message that it seems to have been.
    claim: Option<Message>,
    /// How many messages it may have been.
    room: u64,
    /// It was not a wrong relay, but bytes that are no frame: acks may be among them.
    malformed: bool,
}

impl Inferred {
    pub(super) fn malformed(
        &mut self,
        handle: Handle,
        what: NoFrame,
        could_hide: u64,
        now_ns: u64,
    ) -> Event {
        self.may_be_hidden(handle, could_hide);
        self.context
            .certain(Evidence::NoFrame(what), handle, None, now_ns);
        Event::Other
    }

    /// Bytes that are no frame came over the connection, with room for so many other frames of this
    /// session.
    pub(crate) fn may_be_hidden(&mut self, handle: Handle, could_hide: u64) {
        let after = self.session(handle).progress.track.cursor;
        let trouble = self.session(handle).progress.trouble();
        trouble.after_malformed = true;
        trouble.excuse(Excuse {
            after,
            in_row: 0,
            claim: None,
            room: could_hide.saturating_add(1),
            malformed: true,
        });
    }

    /// Something came that may have been the message that belongs here; probably `claim`, if that
    /// is given.
    pub(super) fn excuse(&mut self, handle: Handle, claim: Option<Message>) {
        let after = self.session(handle).progress.track.cursor;
        self.session(handle).progress.trouble().excuse(Excuse {
            after,
            in_row: 0,
            claim,
            room: 1,
            malformed: false,
        });
    }

    /// Something came that stands for this message, and for no other.
    pub(crate) fn excuse_only(&mut self, handle: Handle, message: Message) {
        self.session(handle).progress.trouble().excuse(Excuse {
            after: 0,
            in_row: 0,
            claim: Some(message),
            room: 1,
            malformed: false,
        });
    }

    /// Whether an excuse explains that `slot` did not come; that excuse explains no other message
    /// then.
    pub(super) fn is_excused(&mut self, handle: Handle, slot: SlotId, message: Message) -> bool {
        let session = &mut self.context.sessions[handle];
        let Some(trouble) = session.progress.trouble.as_deref_mut() else {
            return false;
        };
        // What came in its place came near the place where it belongs: the exact place of a message
        // that few have had is not known to the slot.
        let (mut low, mut high) = (slot, slot);
        let excuses = &trouble.excuses;
        let longest_row = excuses.iter().map(|e| e.in_row).max().unwrap_or(0);
        let mut about = Vec::with_capacity(longest_row + 1);
        for step in 1..=EXCUSED_SLOTS + longest_row {
            low = match self.sequence.before(low) {
                0 => low,
                before => before,
            };
            high = match self.sequence.next(high) {
                0 => high,
                next => next,
            };
            if step >= EXCUSED_SLOTS {
                about.push(self.sequence.label(low)..=self.sequence.label(high));
            }
        }
        let claims = |e: &Excuse| e.claim == Some(message);
        let stands = |e: &Excuse| about[e.in_row].contains(&self.sequence.label(e.after));
        let at = excuses.iter().position(claims);
        let Some(at) = at.or_else(|| excuses.iter().position(stands)) else {
            // It may have come as one of those that are forgotten.
            let undecided = trouble.forgotten > 0;
            trouble.forgotten -= u64::from(undecided);
            self.context.batch.tally.after_wrong += u64::from(undecided);
            return undecided;
        };
        trouble.excuses[at].room -= 1;
        // An irregular line came in its place.
        self.context.batch.tally.irregular += u64::from(!trouble.excuses[at].malformed);
        trouble.excuses.retain(|e| e.room > 0);
        true
    }
}

impl Inferred {
    /// As [`Self::is_excused`], of an own message whose echo would be the ack; where nobody has had
    /// it, its place is not known, so any wrong relay may stand for it.
    pub(super) fn is_echo_excused(
        &mut self,
        handle: Handle,
        slot: SlotId,
        message: Message,
    ) -> bool {
        if slot == 0 {
            let trouble = self.session(handle).progress.trouble.as_deref_mut();
            return trouble.is_some_and(|trouble| trouble.may_have_been(message));
        }
        let irregular = self.context.batch.tally.irregular;
        let excused = self.is_excused(handle, slot, message);
        self.context.batch.tally.irregular = irregular; // an ack is no delivery
        excused
    }
}

impl Progress {
    /// Whether something came that seems to have been `message`.
    pub(super) fn claims(&self, message: Message) -> bool {
        let trouble = self.trouble.as_deref();
        trouble.is_some_and(|t| t.excuses.iter().any(|e| e.claim == Some(message)))
    }

    /// Whether something came that may stand for a message that did not.
    pub(super) fn may_have_got_others(&self) -> bool {
        let trouble = self.trouble.as_deref();
        trouble.is_some_and(|t| !t.excuses.is_empty() || t.forgotten > 0)
    }
}

impl Trouble {
    fn excuse(&mut self, mut excuse: Excuse) {
        let last = self.excuses.last().filter(|e| e.after == excuse.after);
        excuse.in_row = last.map_or(0, |e| (e.in_row + 1).min(MAX_EXCUSES));
        if self.excuses.len() == MAX_EXCUSES {
            let oldest = self.excuses.remove(0);
            self.forgotten = self.forgotten.saturating_add(oldest.room);
        }
        self.excuses.push(excuse);
    }

    /// Whether a wrong relay may have been `message`; it stands for no other then.
    fn may_have_been(&mut self, message: Message) -> bool {
        let wrong = |e: &Excuse| !e.malformed && e.after != 0;
        let claims = |e: &Excuse| e.claim == Some(message);
        let excuses = &mut self.excuses;
        let at = excuses.iter().position(claims);
        let Some(at) = at.or_else(|| excuses.iter().position(wrong)) else {
            return false;
        };
        excuses.remove(at);
        true
    }

    /// How many acks the malformed lines can have swallowed.
    pub(super) fn malformed_room(&self) -> u64 {
        let malformed = self.excuses.iter().filter(|e| e.malformed);
        malformed.fold(0, |room, e| room.saturating_add(e.room))
    }
}
