//! Flags of a session: what its client did and what the target told it. They decide what the
//! session may expect, and how its end is judged.

use super::ledger::Ending;

/// Flags of a session.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    /// It half-closed: a bye is owed.
    pub(super) leaving: bool,
    /// It reset or closed the connection: nothing more is owed.
    pub(super) gone: bool,
    /// Its script stopped reading: being cut off as slow is its own doing.
    pub(super) stopped_reading: bool,
    /// It had much to read by the end: it may have been cut off as slow.
    pub(super) fell_behind: bool,
    /// It sent bytes that are no frame: being closed is its own doing.
    pub(super) provoked: bool,
    /// The target said `slow-consumer`.
    pub(super) cut_off: bool,
    /// The connection stood.
    pub(super) stood: bool,
    /// The target gave an error before any welcome.
    pub(super) turned_away: bool,
    /// That error names no message of the client's: nothing it sent accounts for it.
    pub(super) error_first: bool,
}

/// How a session came to its end without the bye of the protocol, by what its client did before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// The client went of its own accord.
    Gone,
    /// The time was up.
    TimeUp,
    /// The target cut it off as slow; `innocent` if its script never stopped reading.
    CutOff {
        /// It is not its own doing.
        innocent: bool,
    },
    /// The target ended it while it had much to read: it may have been cut off as slow, and the
    /// error that says so may not have fitted into its socket.
    MayBeSlow,
    /// It half-closed and was not answered.
    NoGoodbye,
    /// The target closed it, though it had done nothing wrong.
    HungUp,
    /// The client had provoked it, or the last bytes may have been the bye.
    Excused,
}

impl Flags {
    /// Flags of a membership that begins on a connection with these.
    pub(super) const fn of_membership(&self) -> Self {
        Self {
            leaving: false,
            turned_away: false,
            error_first: false,
            stood: true,
            ..*self
        }
    }

    /// The target gave an error, before the welcome if the session is still `connecting`.
    pub(super) fn got_error(&mut self, cuts_off: bool, connecting: bool) {
        self.cut_off |= cuts_off;
        self.turned_away |= connecting;
    }

    /// Whether a session that ended before its welcome was closed by the target though its client
    /// had done nothing wrong.
    pub(super) fn hung_up_early(&self, ending: Ending, after_malformed: bool) -> bool {
        let theirs = matches!(ending, Ending::Eof | Ending::Broken);
        let blameless = !self.gone && !self.turned_away && !self.provoked;
        theirs && self.stood && blameless && !after_malformed
    }

    /// Whether it is unknown how much of what it sent arrived: it sent bytes that are no frame, or
    /// the connection broke.
    pub(super) const fn may_not_have_arrived(&self) -> bool {
        self.provoked || self.gone
    }

    /// The way in which an open session came to its end.
    pub(super) fn parting(&self, ending: Ending, after_malformed: bool) -> Parting {
        let excused = self.gone || self.provoked;
        if self.gone || ending == Ending::Ours {
            Parting::Gone
        } else if ending == Ending::TimeUp {
            Parting::TimeUp
        } else if self.cut_off {
            Parting::CutOff {
                innocent: !self.stopped_reading && !excused,
            }
        } else if self.fell_behind && !excused {
            match self.stopped_reading {
                true => Parting::CutOff { innocent: false },
                false => Parting::MayBeSlow,
            }
        } else if self.leaving && !excused && !after_malformed {
            Parting::NoGoodbye
        } else if !excused && !self.leaving {
            Parting::HungUp
        } else {
            Parting::Excused
        }
    }
}
