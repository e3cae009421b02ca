//! How much can it carry? The highest load that still meets the thresholds, with nothing lost.
//!
//! A *probe* is a full run of the scenario with one key set to a value. From the lowest value on it
//! is doubled until a probe does not hold, then the gap between the highest value that held and the
//! lowest that did not is halved until it is small enough. [`Search`] is that stepping alone; its
//! caller carries out the probes and records their outcomes.
//!
//! It takes for granted that what holds at a load holds below it. On a noisy machine a single run
//! may fail by chance; several attempts per probe are the remedy.

mod found;
mod page;
mod probe;
#[cfg(test)]
mod sample;
mod text;

pub use found::{About, Found, Kept, Scenario};
pub use page::render as page;
pub use probe::{Limit, Probe};
pub use text::render;

/// The state of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    from: f64,
    max: f64,
    precision: f64,
    /// Values are whole numbers, as clients and messages in flight are.
    whole: bool,
    holds: Option<f64>,
    fails: Option<f64>,
}

impl Search {
    /// A search from `from` (above 0) up to `max`, until the limit is known to within
    /// `precision`, a share of it. Values are whole where `from` is.
    #[must_use]
    pub fn new(from: f64, max: f64, precision: f64) -> Self {
        debug_assert!(from > 0.0 && max >= from && precision > 0.0);
        Self {
            from,
            max,
            precision,
            whole: from.fract() == 0.0,
            holds: None,
            fails: None,
        }
    }

    /// The value to probe next; `None` when the answer is known.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        match (self.holds, self.fails) {
            (None, None) => Some(self.from),
            (None, Some(_)) => None,
            (Some(holds), None) => (holds < self.max).then(|| (holds * 2.0).min(self.max)),
            (Some(holds), Some(fails)) => {
                let middle = f64::midpoint(holds, fails);
                let middle = if self.whole { middle.floor() } else { middle };
                let known = fails - holds <= self.precision * holds || middle <= holds;
                (!known).then_some(middle)
            }
        }
    }

    /// Records the outcome of a probe at `value`.
    pub fn record(&mut self, value: f64, held: bool) {
        if held {
            self.holds = Some(self.holds.map_or(value, |holds| holds.max(value)));
        } else {
            self.fails = Some(self.fails.map_or(value, |fails| fails.min(value)));
        }
    }

    /// The highest value that held.
    #[must_use]
    pub const fn holds(&self) -> Option<f64> {
        self.holds
    }

    /// The lowest value that did not.
    #[must_use]
    pub const fn fails(&self) -> Option<f64> {
        self.fails
    }
}

/// A value as it is given to a scenario: whole numbers without a fraction.
#[must_use]
pub fn shown(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All probes of a search against a target that holds up to `limit`.
    fn probes(mut search: Search, limit: f64) -> (Vec<f64>, Search) {
        let mut probes = Vec::new();
        while let Some(value) = search.next() {
            probes.push(value);
            search.record(value, value <= limit);
            assert!(probes.len() < 100, "it does not come to an end: {probes:?}");
        }
        (probes, search)
    }

    #[test]
    fn it_doubles_and_then_halves_the_gap() {
        let (probes, search) = probes(Search::new(100.0, 1e6, 0.1), 650.0);
        assert_eq!(probes, [100.0, 200.0, 400.0, 800.0, 600.0, 700.0, 650.0]);
        assert_eq!((search.holds(), search.fails()), (Some(650.0), Some(700.0)));
    }

    #[test]
    fn it_ends_where_nothing_holds_and_where_everything_does() {
        let (none, search) = probes(Search::new(100.0, 1e6, 0.1), 99.0);
        assert_eq!((none, search.holds()), (vec![100.0], None));
        let (all, search) = probes(Search::new(100.0, 350.0, 0.1), 1e9);
        assert_eq!((all, search.fails()), (vec![100.0, 200.0, 350.0], None));
    }

    #[test]
    fn values_are_as_a_scenario_takes_them() {
        assert_eq!([400.0, 0.5, 2.125].map(shown), ["400", "0.500", "2.125"]);
    }

    proptest! {
        /// The answer is right, as near as asked for (or as whole numbers get), within the bounds.
        #[test]
        fn the_limit_lies_between_what_held_and_what_did_not(
            from in 1u32..1_000, limit in 1u32..1_000_000, max in 1_000u32..2_000_000,
        ) {
            let (from, limit, max) = (f64::from(from), f64::from(limit), f64::from(max));
            let (probes, search) = probes(Search::new(from, max, 0.05), limit);
            prop_assert!(probes.iter().all(|v| (from..=max).contains(v) && v.fract() == 0.0));
            match (search.holds(), search.fails()) {
                (Some(holds), Some(fails)) => {
                    prop_assert!(holds <= limit && limit < fails);
                    prop_assert!(fails - holds <= (0.05 * holds).max(1.0));
                }
                (Some(holds), None) => prop_assert!(holds == max && max <= limit),
                (None, Some(fails)) => prop_assert!(fails == from && limit < from),
                (None, None) => prop_assert!(false, "nothing was probed"),
            }
        }
    }
}
