//! Numbers that irregular frames stood for: not missed a second time.
//!
//! Kept as runs. Between two frames in order there is one run, however many irregular frames come
//! one after the other: those of another client, or of a target that alters everything.

use std::ops::Range;

use crate::bounds;

/// The numbers.
#[derive(Debug, Default)]
pub(crate) struct Excused {
    /// Ascending and apart.
    runs: Vec<Range<u64>>,
    /// Some numbers under this one were forgotten for lack of room.
    forgotten_until: u64,
}

impl Excused {
    pub(crate) fn insert(&mut self, seq: u64) {
        let at = self.runs.partition_point(|run| run.end < seq);
        let (joins, end) = match self.runs.get(at) {
            Some(run) if run.contains(&seq) => return,
            Some(run) => (run.start <= seq + 1, run.end.max(seq + 1)),
            None => (false, seq + 1),
        };
        if joins {
            let run = &mut self.runs[at];
            run.start = run.start.min(seq);
            run.end = end;
            if self.runs.get(at + 1).is_some_and(|next| next.start == end) {
                self.runs[at].end = self.runs.remove(at + 1).end;
            }
            return;
        }
        self.runs.insert(at, seq..seq + 1);
        if self.runs.len() > bounds::excused_runs() {
            self.forgotten_until = self.forgotten_until.max(self.runs.remove(0).end);
        }
    }

    /// The first number from `seq` on that is not among them.
    pub(crate) fn end_of_run(&self, seq: u64) -> u64 {
        let run = self.runs.iter().find(|run| run.contains(&seq));
        run.map_or(seq, |run| run.end)
    }

    /// Those within `span`, as runs.
    pub(crate) fn within(&self, span: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let runs = self.runs.iter();
        let cut = runs.map(|run| run.start.max(span.start)..run.end.min(span.end));
        cut.filter(|run| !run.is_empty())
    }

    /// How many lie within `span`.
    pub(crate) fn count_within(&self, span: &Range<u64>) -> u64 {
        self.within(span).map(|run| run.end - run.start).sum()
    }

    /// The number in `span` up to which it is not known whether irregular frames stood for the
    /// missing numbers.
    pub(crate) fn certain_from(&self, span: &Range<u64>) -> u64 {
        self.forgotten_until.clamp(span.start, span.end)
    }

    /// Forgets all under `seq`, which have passed.
    pub(crate) fn pass(&mut self, seq: u64) {
        self.runs.retain(|run| run.end > seq);
        if let Some(first) = self.runs.first_mut() {
            first.start = first.start.max(seq);
        }
        if self.forgotten_until <= seq {
            self.forgotten_until = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The runs hold the same numbers as a set does, in whichever order these are added.
        #[test]
        fn runs_are_the_numbers_put_in(
            numbers in prop::collection::vec(1_u64..60, 0..60),
            passed in 0_u64..60,
            span in (0_u64..60, 0_u64..60),
        ) {
            let mut excused = Excused::default();
            let mut set = BTreeSet::new();
            for &n in &numbers {
                excused.insert(n);
                set.insert(n);
            }
            excused.pass(passed);
            set.retain(|&n| n >= passed);
            let apart = excused.runs.windows(2).all(|pair| pair[0].end < pair[1].start);
            prop_assert!(apart, "{:?}", excused.runs);
            let held: Vec<u64> = excused.runs.iter().cloned().flatten().collect();
            prop_assert_eq!(held, set.iter().copied().collect::<Vec<_>>());
            let span = span.0..span.1;
            let within = set.iter().filter(|n| span.contains(n)).count() as u64;
            prop_assert_eq!(excused.count_within(&span), within);
            for n in 1..60 {
                let end = (n..).find(|n| !set.contains(n)).unwrap();
                prop_assert_eq!(excused.end_of_run(n), end);
            }
        }
    }

    #[test]
    fn past_the_bound_the_lowest_are_what_nothing_is_known_of() {
        let mut excused = Excused::default();
        for n in 1..=bounds::excused_runs() as u64 + 2 {
            excused.insert(10 * n);
        }
        assert_eq!(excused.runs.len(), bounds::excused_runs());
        assert_eq!(
            excused.certain_from(&(5..100)),
            21,
            "10 and 20 are forgotten"
        );
        assert_eq!(excused.certain_from(&(5..15)), 15);
        assert_eq!(excused.certain_from(&(30..100)), 30);
        excused.pass(21);
        assert_eq!(excused.certain_from(&(21..100)), 21);
    }
}
