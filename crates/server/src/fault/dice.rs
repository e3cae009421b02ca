//! Draws when a fault is committed: one seeded sequence per fault, so that asking for another
//! fault does not move the first one.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::catalogue::Fault;
use super::request::{Rate, Request};

/// One requested fault, and the random state that decides when it is due.
#[derive(Debug)]
pub(super) struct Dice {
    pub(super) fault: Fault,
    rate: Rate,
    random: Pcg64Mcg,
    /// Chances to let pass until the one that was drawn.
    wait: u64,
    spent: bool,
}

impl Dice {
    pub(super) fn new(request: &Request, seed: u64) -> Self {
        let stream = u64::from(crc32fast::hash(request.fault.name().as_bytes()));
        let mut random = Pcg64Mcg::seed_from_u64(seed ^ stream << 32);
        let wait = match request.rate {
            Rate::Once => random.random_range(0..request.fault.entry().chance.once_within()),
            Rate::After(count) => count,
            Rate::Probability(_) => 0,
        };
        Self {
            fault: request.fault,
            rate: request.rate,
            random,
            wait,
            spent: false,
        }
    }

    /// Whether to take this chance. If it does not work out, the next one is taken too.
    pub(super) fn falls(&mut self) -> bool {
        if self.spent {
            return false;
        }
        if let Rate::Probability(probability) = self.rate {
            return self.random.random_bool(probability);
        }
        if self.wait > 0 {
            self.wait -= 1;
            return false;
        }
        true
    }

    /// Records that the chance was taken.
    pub(super) fn spend(&mut self) {
        self.spent = !matches!(self.rate, Rate::Probability(_));
    }

    /// Whether the one chance that was asked for was taken.
    pub(super) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Draws one of `from`; `None` if it is empty.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let last = from.len().checked_sub(1)?;
        Some(from[self.random.random_range(0..=last)])
    }

    /// Draws a number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dice(text: &str, seed: u64) -> Dice {
        Dice::new(&text.parse().unwrap(), seed)
    }

    /// The chances that are taken out of 1,000.
    fn falls(mut dice: Dice) -> Vec<usize> {
        let falls = |i: &usize| {
            let fell = dice.falls();
            if fell {
                dice.spend();
            }
            fell && *i < 1000
        };
        (0..1000).filter(falls).collect()
    }

    #[test]
    fn once_is_once_at_a_moment_that_the_seed_sets() {
        let moments: Vec<_> = (0..50).map(|s| falls(dice("drop-relay", s))).collect();
        assert!(moments.iter().all(|m| m.len() == 1 && m[0] < 100));
        let mut distinct: Vec<_> = moments.iter().flatten().collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 20, "{distinct:?}");
        assert_eq!(falls(dice("drop-relay", 3)), moments[3]);
    }

    #[test]
    fn after_counts_and_a_probability_is_one() {
        assert_eq!(falls(dice("echo=after=7", 1)), [7]);
        let often = falls(dice("echo=0.25", 1)).len();
        assert!((150..350).contains(&often), "{often}");
        assert_eq!(falls(dice("echo=1", 1)).len(), 1000);
    }

    #[test]
    fn a_chance_that_came_to_nothing_is_not_the_last() {
        let mut dice = dice("echo=after=0", 1);
        assert!(dice.falls() && dice.falls());
        dice.spend();
        assert!(!dice.falls());
    }
}
