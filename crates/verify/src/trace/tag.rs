//! The kinds of events in a trace.

/// The kind of an event. The values are the format's; those of a version are never given a second
/// meaning in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Connecting = 1,
    Connected = 2,
    Sending = 3,
    /// The bytes of a publish (version 1 only).
    SentPublish = 4,
    /// The bytes that a script sent (version 1 only).
    SendingRaw = 5,
    StopsReading = 6,
    /// It left, at a time that is not known (version 1 only).
    Leaving = 7,
    LettingGo = 8,
    /// A read begins.
    Read = 9,
    /// The next n frames are those from the session's next one on.
    Matched = 10,
    /// Bytes of one step through the read (version 1 only).
    Bytes = 11,
    /// The first n bytes of the line that is due (version 1 only).
    Part = 12,
    /// The rest of that line (version 1 only).
    Rest = 13,
    ReadDone = 14,
    /// A whole read of n frames from the session's next one on.
    MatchedRead = 15,
    Ended = 16,
    NoWelcome = 17,
    OverdueAcks = 18,
    MissingError = 19,
    TakeBatch = 20,
    /// The judge absorbs the next batch of a shard.
    Absorb = 21,
    /// The judge's last word.
    Finish = 22,
    /// A session's last message.
    SendingLast = 23,
    /// A piece of a classic stream (version 1 only).
    Piece = 24,
    /// It left.
    LeavingAt = 25,
    /// The run stops listening to a session.
    TimeUp = 26,
    /// It may be cut off as slow.
    FellBehind = 27,
    /// A part of the rest is handed over: as much as is judged at once.
    TakeRest = 28,
    /// The rest is not judged.
    StopJudging = 29,
    /// The judge passes over the next batch of a shard.
    PassOver = 30,
    /// The next n frames are those from another one on.
    MatchedFrom = 33,
    /// Frames under this number are not named any more.
    FramesFrom = 36,
    /// So many events of other streams have happened since.
    Since = 37,
    /// The moment from which on all know the highest number that the event before told.
    Told = 38,
    /// The stream ends.
    End = 39,
    /// A session saw something.
    Saw = 40,
    /// A session got a frame that gets the next number.
    SawKept = 41,
    /// A session got a frame that has a number, in two reads.
    SawAgain = 42,
    /// A publish ran together with bytes sent before.
    SentGlued = 43,
    /// A script sent bytes as they stand.
    SentRaw = 44,
    /// What follows is in this room.
    Room = 45,
    /// A session asks to be let into the room.
    Joining = 46,
    /// It asks to leave it.
    LeavingRoom = 47,
    /// The time is up, and it was not let in.
    NotLetIn = 48,
    /// A scripted answer did not come.
    MissingAnswer = 49,
}

impl Tag {
    pub(crate) const ALL: [Self; 45] = [
        Self::Connecting,
        Self::Connected,
        Self::Sending,
        Self::SentPublish,
        Self::SendingRaw,
        Self::StopsReading,
        Self::Leaving,
        Self::LettingGo,
        Self::Read,
        Self::Matched,
        Self::Bytes,
        Self::Part,
        Self::Rest,
        Self::ReadDone,
        Self::MatchedRead,
        Self::Ended,
        Self::NoWelcome,
        Self::OverdueAcks,
        Self::MissingError,
        Self::TakeBatch,
        Self::Absorb,
        Self::Finish,
        Self::SendingLast,
        Self::Piece,
        Self::LeavingAt,
        Self::TimeUp,
        Self::FellBehind,
        Self::TakeRest,
        Self::StopJudging,
        Self::PassOver,
        Self::MatchedFrom,
        Self::FramesFrom,
        Self::Since,
        Self::Told,
        Self::End,
        Self::Saw,
        Self::SawKept,
        Self::SawAgain,
        Self::SentGlued,
        Self::SentRaw,
        Self::Room,
        Self::Joining,
        Self::LeavingRoom,
        Self::NotLetIn,
        Self::MissingAnswer,
    ];

    /// Whether it is counted among the events of all streams. Events that are not counted neither
    /// tell nor ask the directory anything; except that a line that others got can ask it, and
    /// stands between two events that are counted.
    pub(crate) const fn is_counted(self) -> bool {
        !matches!(
            self,
            Self::Sending
                | Self::SendingLast
                | Self::SentPublish
                | Self::SentGlued
                | Self::Read
                | Self::Matched
                | Self::MatchedFrom
                | Self::MatchedRead
                | Self::ReadDone
                | Self::FramesFrom
                | Self::Since
                | Self::Told
                | Self::Room
                | Self::End
        )
    }
}
