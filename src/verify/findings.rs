//! What verification found: violations by kind with their first examples, the counts, and what
//! the run really exercised. Plain data, and mergeable.

use std::collections::BTreeMap;

use super::kind::Kind;
use super::outstanding::Outstanding;

/// Examples kept of each kind; all are counted.
pub const EXAMPLES_PER_KIND: usize = 100;

/// One violation, in words and in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Who, what was owed, what came.
    pub text: String,
    /// The sending client, by name (`talkers-3`), where one is involved.
    pub sender: Option<String>,
    /// The receiving client, by name, where one is involved.
    pub receiver: Option<String>,
    /// The message's place among those of its sender, from 1.
    pub k: Option<u64>,
    /// The number that the target gave it.
    pub seq: Option<u64>,
    /// When it was seen, ns since the run's epoch.
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
    /// What the run exercised.
    pub coverage: Coverage,
    /// What was owed for certain and had not come when the run stopped listening.
    pub outstanding: Vec<Outstanding>,
    /// Sessions whose end the target did not state before the time was up, or the whole target
    /// gone: what they were still owed is not known.
    pub unfinished: u64,
    /// Why parts of the run could not be judged, in words; any of these keeps a run from passing.
    pub undecided: Vec<String>,
}

/// Messages and deliveries of a run, warm-up and drain included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions opened, each reconnect counted.
    pub sessions: u64,
    /// Load messages sent.
    pub sent: u64,
    /// Acks received for them.
    pub acked: u64,
    /// Deliveries owed.
    pub owed: u64,
    /// Owed deliveries that came.
    pub delivered: u64,
    /// Numbers that sessions still waited for when they were cut or hung up on: nobody knows
    /// whether they would have come.
    pub unresolved: u64,
    /// Deliveries that were neither owed nor forbidden: in flight while joining or leaving.
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
}

/// What a run really exercised: a check that never had its occasion proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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

impl Tally {
    /// Adds violations of the same kind.
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_PER_KIND);
    }

    /// Counts one more; keeps `example` if it is among the first.
    pub(super) fn add(&mut self, count: u64, example: impl FnOnce() -> Example) {
        self.count += count;
        if self.examples.len() < EXAMPLES_PER_KIND {
            self.examples.push(example());
        }
    }
}

impl Findings {
    /// Counts a violation; keeps `example` if it is among the first of its kind.
    pub fn violation(&mut self, kind: Kind, example: impl FnOnce() -> Example) {
        self.violations(kind, 1, example);
    }

    /// Counts violations of which no example is left.
    pub(super) fn count(&mut self, kind: Kind, count: u64) {
        if count > 0 {
            self.violations.entry(kind).or_default().count += count;
        }
    }

    /// Counts `count` violations of one kind that one example stands for.
    pub(super) fn violations(&mut self, kind: Kind, count: u64, example: impl FnOnce() -> Example) {
        self.violations.entry(kind).or_default().add(count, example);
    }

    /// Counts `count` violations of which no example would be kept any more; `false`, and nothing is
    /// counted, while one would be. Of millions, putting each into words takes longer than finding
    /// it.
    pub(super) fn counts_without_example(&mut self, kind: Kind, count: u64) -> bool {
        let full = |tally: &&mut Tally| tally.examples.len() == EXAMPLES_PER_KIND;
        let tally = self.violations.get_mut(&kind).filter(full);
        tally.map(|tally| tally.count += count).is_some()
    }

    /// That sessions ended before the target had said what it owed them: one of `undecided`.
    #[must_use]
    pub fn unproved(&self) -> Option<String> {
        match self.unfinished {
            0 => None,
            1 => Some(
                "1 session ended without a bye, so what it was still owed is not known".to_owned(),
            ),
            n => Some(format!(
                "{n} sessions ended without a bye, so what they were still owed is not known"
            )),
        }
    }

    /// Why parts of the run could not be judged, other than [`Self::unproved`].
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
