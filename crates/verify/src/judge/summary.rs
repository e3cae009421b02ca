//! What a judge has found of one room, as data, and the sum over all rooms.

use crate::batch::Unjudged;
use crate::findings::{
    Counts, Coverage, EXAMPLES_PER_KIND, Findings, Found, Reason, RoomFindings, Undecided,
};
use crate::outstanding::Outstanding;
use chatbench_wire::rooms::RoomNames;

/// Everything that was found in one room, or in all.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) found: Found,
    pub(super) counts: Counts,
    pub(super) coverage: Coverage,
    pub(super) outstanding: Vec<Outstanding>,
    pub(super) unfinished: u64,
    pub(super) undecided: Undecideds,
}

/// How much could not be judged, by reason.
#[derive(Debug, Default)]
pub(super) struct Undecideds {
    pub(super) unjudged: Unjudged,
    /// In the order in which they are told.
    pub(super) by_reason: Vec<(Reason, u64)>,
}

impl Summary {
    /// Adds what was found in a named room. What concerns whole connections is known from the
    /// unnamed one, in which everyone is: a membership is no further session.
    pub(super) fn add_room(&mut self, room: Self) {
        self.found.add_all(room.found);
        let Counts {
            sessions: _,
            sent,
            acked,
            owed,
            delivered,
            optional,
            lost,
            duplicated,
            errors_received,
            unexpected_closes: _,
            unknown_frames,
            unresolved,
        } = room.counts;
        let counts = &mut self.counts;
        counts.sent += sent;
        counts.acked += acked;
        counts.owed += owed;
        counts.delivered += delivered;
        counts.optional = counts.optional.saturating_add(optional);
        counts.lost += lost;
        counts.duplicated += duplicated;
        counts.errors_received += errors_received;
        counts.unknown_frames += unknown_frames;
        counts.unresolved = counts.unresolved.saturating_add(unresolved);
        self.coverage.overlapping_sends += room.coverage.overlapping_sends;
        self.outstanding.extend(room.outstanding);
        self.unfinished += room.unfinished;
        self.undecided.add(room.undecided);
    }

    /// Puts it all into words.
    pub(super) fn in_words(
        self,
        clients: &[String],
        names: &RoomNames,
        rooms: Vec<RoomFindings>,
    ) -> Findings {
        Findings {
            violations: self.found.in_words(clients, names),
            counts: self.counts,
            coverage: self.coverage,
            rooms,
            outstanding: self.outstanding,
            unfinished: self.unfinished,
            undecided: self.undecided.in_words(),
        }
    }
}

impl Undecideds {
    fn add(&mut self, other: Self) {
        self.unjudged = self.unjudged.and(other.unjudged);
        for (reason, count) in other.by_reason {
            match self.by_reason.iter_mut().find(|(own, _)| *own == reason) {
                Some((_, sum)) => *sum = sum.saturating_add(count),
                None => self.by_reason.push((reason, count)),
            }
        }
    }

    fn in_words(self) -> Vec<String> {
        let unjudged = (self.unjudged != Unjudged::default()).then(|| self.unjudged.to_string());
        let some = self.by_reason.into_iter().filter(|&(_, count)| count > 0);
        let some = some.map(|(reason, count)| Undecided(reason, count).to_string());
        unjudged.into_iter().chain(some).collect()
    }
}

impl Found {
    /// Adds what was found in another room; of each kind the examples that were seen first are
    /// kept.
    fn add_all(&mut self, others: Self) {
        for (kind, kept) in others.into_kinds() {
            let all = self.of(kind);
            all.count += kept.count;
            all.first.extend(kept.first);
            all.first.sort_by_key(|violation| violation.at_ns);
            all.first.truncate(EXAMPLES_PER_KIND);
        }
    }
}
