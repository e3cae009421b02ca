//! The outcome of verification: violations by kind with their first examples, the counts, and what
//! the run really exercised. Plain data, and mergeable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::outstanding::Outstanding;
use super::violation::Violation;
use chatbench_wire::rooms::{RoomId, RoomNames};

/// Examples kept of each kind; all are counted.
pub const EXAMPLES_PER_KIND: usize = 100;

/// One violation, in words and in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Example {
    /// What happened, in words: who, what was owed, what came.
    pub text: String,
    /// The room that it happened in, where that has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Whose message it was about, by name (`talkers-3`), where one is involved.
    pub sender: Option<String>,
    /// Who should, or should not, have got it, by name, where one is involved.
    pub receiver: Option<String>,
    /// The sender's own number of the message, from 1.
    pub k: Option<u64>,
    /// The number that the target gave the message.
    pub seq: Option<u64>,
    /// When it was seen, in ns since the run began.
    pub at_ns: u64,
}

/// All violations of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were.
    pub count: u64,
    /// The first [`EXAMPLES_PER_KIND`] of them.
    pub examples: Vec<Example>,
}

/// Everything that verification has to say about a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Violations by kind; kinds without any are absent.
    pub violations: BTreeMap<Kind, Tally>,
    /// Messages and deliveries.
    pub counts: Counts,
    /// Counts of what the run exercised.
    pub coverage: Coverage,
    /// The same of each room that has a name and had members, in the order of their numbers. What
    /// concerns messages is in the sums of all, too.
    pub rooms: Vec<RoomFindings>,
    /// Deliveries and acks that were owed for certain and had not come when the run stopped
    /// listening.
    pub outstanding: Vec<Outstanding>,
    /// Sessions whose end the target did not state before the time was up, or the whole target
    /// gone: what they were still owed is not known.
    pub unfinished: u64,
    /// Why parts of the run could not be judged, in words; any of these keeps a run from passing.
    pub undecided: Vec<String>,
}

/// What was found in one room that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomFindings {
    /// The room.
    pub room: RoomId,
    /// Its name.
    pub name: String,
    /// Its messages and deliveries. Its sessions are the memberships: who leaves it and joins it
    /// again has several.
    pub counts: Counts,
    /// What was exercised in it: its joins and leaves.
    pub coverage: Coverage,
    /// All violations in it, of every kind.
    pub violations: u64,
}

/// Messages and deliveries of a run, warm-up and drain included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counts {
    /// Sessions opened; a client that reconnects has several.
    pub sessions: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages acked.
    pub acked: u64,
    /// Deliveries that the target owed.
    pub owed: u64,
    /// Owed deliveries that came.
    pub delivered: u64,
    /// Deliveries that came and were neither owed nor forbidden: in flight while someone joined or
    /// left.
    pub optional: u64,
    /// Owed deliveries proved missing.
    pub lost: u64,
    /// Deliveries that came again.
    pub duplicated: u64,
    /// `error` frames received.
    pub errors_received: u64,
    /// Connections that the target closed on a client that did nothing wrong.
    pub unexpected_closes: u64,
    /// Frames of a type that this version does not know.
    pub unknown_frames: u64,
    /// Deliveries that could be neither proved nor disproved: sessions still waited for them when
    /// they were cut or hung up on.
    #[serde(default)]
    pub unresolved: u64,
}

/// What a run really exercised: a check that never had its occasion proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Coverage {
    /// Messages sent while another sender's was still unacked.
    pub overlapping_sends: u64,
    /// Sessions that were welcomed while messages were being numbered.
    pub joins_during_traffic: u64,
    /// Sessions that half-closed and read to their bye.
    pub polite_leaves: u64,
    /// Sessions that the client reset.
    pub aborts: u64,
    /// Frames that began in one read and ended in a later one.
    pub split_frames: u64,
    /// Frames that followed another one in the same read.
    pub joined_frames: u64,
    /// Sessions whose end was stated by the target (a bye), so that their tail is proved.
    pub fences_seen: u64,
}

impl Coverage {
    pub(super) fn add(&mut self, other: &Self) {
        self.overlapping_sends += other.overlapping_sends;
        self.joins_during_traffic += other.joins_during_traffic;
        self.polite_leaves += other.polite_leaves;
        self.aborts += other.aborts;
        self.split_frames += other.split_frames;
        self.joined_frames += other.joined_frames;
        self.fences_seen += other.fences_seen;
    }
}

impl Findings {
    /// Counts a violation; keeps `example` if it is among the first of its kind.
    pub fn violation(&mut self, kind: Kind, example: impl FnOnce() -> Example) {
        let tally = self.violations.entry(kind).or_default();
        tally.count += 1;
        if tally.examples.len() < EXAMPLES_PER_KIND {
            tally.examples.push(example());
        }
    }

    /// The statement that sessions ended before the target had said what it owed them: one of
    /// `undecided`.
    #[must_use]
    pub fn unproved(&self) -> Option<String> {
        let unproved = Undecided(Reason::Unfinished, self.unfinished);
        (self.unfinished > 0).then(|| unproved.to_string())
    }

    /// Reasons why parts of the run could not be judged, other than [`Self::unproved`].
    pub fn undecided_before_the_end(&self) -> impl Iterator<Item = &str> {
        let unproved = self.unproved();
        let others = self.undecided.iter().map(String::as_str);
        others.filter(move |reason| Some(*reason) != unproved.as_deref())
    }

    /// Deliveries that were owed for certain, and had not come when the run stopped listening.
    #[must_use]
    pub fn outstanding_relays(&self) -> u64 {
        let relays = self.outstanding.iter().flat_map(|o| &o.relays);
        relays.map(|waiting| waiting.clients).sum()
    }

    /// Acks that were owed for certain, and had not come when the run stopped listening.
    #[must_use]
    pub fn outstanding_acks(&self) -> u64 {
        let acks = self.outstanding.iter().filter_map(|o| o.ack);
        acks.map(|waiting| waiting.clients).sum()
    }

    /// All violations, of every kind.
    #[must_use]
    pub fn violation_count(&self) -> u64 {
        self.violations.values().map(|t| t.count).sum()
    }
}

/// Violations as they are found, as data: all are counted, the first of each kind are kept.
#[derive(Debug, Default)]
pub(super) struct Found(BTreeMap<Kind, Kept>);

/// Violations of one kind.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) count: u64,
    pub(super) first: Vec<Violation>,
}

impl Kept {
    /// Counts `count` violations, of which this one is an example; keeps it if it is among the
    /// first.
    pub(super) fn add(&mut self, count: u64, violation: Violation) {
        self.count += count;
        if self.first.len() < EXAMPLES_PER_KIND {
            self.first.push(violation);
        }
    }
}

impl Found {
    pub(super) fn add(&mut self, violation: Violation) {
        self.add_many(1, violation);
    }

    /// Counts `count` violations, of which this one is an example.
    pub(super) fn add_many(&mut self, count: u64, violation: Violation) {
        self.of(violation.kind()).add(count, violation);
    }

    /// Counts violations of which no example is left.
    pub(super) fn count(&mut self, kind: Kind, count: u64) {
        if count > 0 {
            self.of(kind).count += count;
        }
    }

    /// Adds violations of one kind.
    pub(super) fn merge(&mut self, kind: Kind, others: Kept) {
        let kept = self.of(kind);
        kept.count += others.count;
        kept.first.extend(others.first);
        kept.first.truncate(EXAMPLES_PER_KIND);
    }

    /// All violations, of every kind.
    pub(super) fn total(&self) -> u64 {
        self.0.values().map(|kept| kept.count).sum()
    }

    /// All of them, kind by kind.
    pub(super) fn into_kinds(self) -> impl Iterator<Item = (Kind, Kept)> {
        self.0.into_iter()
    }

    /// Puts the examples that are kept into words, with the names of the run's clients and rooms.
    pub(super) fn in_words(self, clients: &[String], rooms: &RoomNames) -> BTreeMap<Kind, Tally> {
        let in_words = |Kept { count, first }| Tally {
            count,
            examples: first.iter().map(|v| v.example(clients, rooms)).collect(),
        };
        let kinds = self.0.into_iter();
        kinds.map(|(kind, kept)| (kind, in_words(kept))).collect()
    }

    pub(super) fn of(&mut self, kind: Kind) -> &mut Kept {
        self.0.entry(kind).or_default()
    }
}

/// The reason why something could not be judged, and how much that is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Undecided(pub(super) Reason, pub(super) u64);

/// The reason why something could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Clients that never stopped reading were cut off as slow.
    CutOff,
    /// Clients with much to read were hung up on.
    MayBeSlow,
    /// Sessions ended without a bye.
    Unfinished,
    /// Sessions were told goodbye without having asked.
    UnaskedByes,
    /// Deliveries did not come to sessions that got more irregular lines than are remembered.
    AfterWrong,
    /// Sessions came to numbers that are too large.
    NotFollowed,
    /// Deliveries came so late that those of the other receivers are forgotten.
    Uncompared,
    /// Messages were not acked, and it is forgotten whether they had to be.
    UnknownAcks,
    /// Deliveries did not come, and it is forgotten which messages they were.
    Losses,
    /// Numbers came to nobody, and it is forgotten whether they are explained.
    Gaps,
    /// Messages were not acked or were refused, and it is forgotten whether that is explained.
    Unanswered,
    /// Violations may have been counted before.
    Repeats,
    /// Frames came under wrong numbers, and it is forgotten which messages these numbers are.
    Contested,
    /// Connections were closed, and it is forgotten when.
    HungUp,
    /// Deliveries did not come, near others that are out of order.
    Misplaced,
    /// Deliveries came out of order, too many to be judged one by one.
    Disordered,
}
