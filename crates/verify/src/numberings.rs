//! Numberings: a target that is started again gives its numbers out anew (which breaks S1), and
//! then the same numbers stand for other messages.
//!
//! Inside the verifier every number of a later numbering is counted on from the earlier one, with
//! so large a distance that late frames of the earlier one cannot overlap with the later one. So
//! the rest of the verifier needs to know nothing of it; code that shows a number to people
//! subtracts again what was added ([`Numberings::stated`]).

/// Numbers between one numbering and the next.
pub(super) const APART: u64 = 1 << 40;

/// The numberings of a run: none but the first, unless the target began anew.
#[derive(Debug, Default)]
pub(super) struct Numberings {
    later: Vec<Numbering>,
}

/// A later numbering.
#[derive(Debug)]
struct Numbering {
    /// The amount that is added to the numbers that the target states.
    added: u64,
    /// The highest number that had been seen before.
    highest_before: u64,
}

impl Numberings {
    /// The amount that is added to the numbers of the numbering that `number` lies in.
    pub(super) fn added(&self, number: u64) -> u64 {
        let mut later = self.later.iter().rev();
        let numbering = later.find(|numbering| numbering.added <= number);
        numbering.map_or(0, |numbering| numbering.added)
    }

    /// The number that the target states for `number`.
    pub(super) fn stated(&self, number: u64) -> u64 {
        number - self.added(number)
    }

    /// The amount that is added to the numbers of a session that is welcomed at `welcome`, when
    /// `joined` had been seen as it began to connect: those of the same numbering, or if its number
    /// is too small for that, of one that has begun since.
    pub(super) fn of_welcome(&self, joined: u64, welcome: u64) -> u64 {
        let added = self.added(joined);
        if welcome.saturating_add(added) >= joined {
            return added;
        }
        self.later.last().map_or(0, |latest| latest.added)
    }

    /// A session that began to connect when `joined` had been seen gets smaller numbers. Returns
    /// the amount that is added to them, and whether this numbering was not known before; `None`
    /// where there is no room for another one.
    pub(super) fn begin(&mut self, joined: u64, highest: u64, last: u64) -> Option<(u64, bool)> {
        let known = self.later.last().filter(|latest| latest.added > joined);
        if let Some(known) = known {
            return Some((known.added, false));
        }
        let added = highest.checked_add(APART).filter(|&added| added < last)?;
        self.later.push(Numbering {
            added,
            highest_before: highest,
        });
        Some((added, true))
    }

    /// The highest number that was seen of the numbering that `number` lies in; `highest` if that
    /// is the latest.
    pub(super) fn highest_of(&self, number: u64, highest: u64) -> u64 {
        let next = self.later.iter().find(|numbering| numbering.added > number);
        next.map_or(highest, |next| next.highest_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_numbering_is_counted_on_and_taken_off_again() {
        let mut numberings = Numberings::default();
        assert_eq!(numberings.of_welcome(70, 70), 0);
        assert_eq!(numberings.stated(70), 70);
        let (added, new) = numberings.begin(70, 75, u64::MAX).unwrap();
        assert_eq!((added, new), (75 + APART, true));
        assert_eq!(
            numberings.begin(72, added + 3, u64::MAX),
            Some((added, false))
        );
        assert_eq!(numberings.stated(75), 75);
        assert_eq!(numberings.stated(added + 3), 3);
        // Sessions that began to connect before it began may be of either; those that did after
        // that are of it.
        assert_eq!(numberings.of_welcome(70, 74), 0);
        assert_eq!(numberings.of_welcome(70, 3), added);
        assert_eq!(numberings.of_welcome(added + 2, 3), added);
        assert_eq!(numberings.highest_of(30, added + 9), 75);
        assert_eq!(numberings.highest_of(added + 1, added + 9), added + 9);
        let (again, new) = numberings.begin(added + 9, added + 9, u64::MAX).unwrap();
        assert!(new && again > added + APART);
        assert_eq!(numberings.begin(again, again, again + APART), None);
    }
}
