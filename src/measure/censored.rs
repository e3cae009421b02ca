//! Latencies of acks and relays that had not come when the run stopped listening: only a lower
//! bound of each is known. (Statistics calls such samples right-censored.)
//!
//! Each comes later than its bound, or never. So a figure over all samples lies between its value
//! if each is as late as its bound, and its value if none ever comes.

use hdrhistogram::Histogram;

use super::percentile::min_samples;
use super::{CEILING_NS, GroupLatencies, Window, add, group, histogram};

/// Lower bounds of latencies, by class; of messages due in the measured phase.
#[derive(Debug)]
pub struct Censored {
    /// Acks and relays by group, as in [`super::Measured::groups`].
    pub groups: Vec<GroupLatencies>,
    /// Acks.
    pub ack: Histogram<u64>,
    /// Deliveries.
    pub relay: Histogram<u64>,
    /// To the last receiver, of messages that some receiver still waited for.
    pub last_relay: Histogram<u64>,
    /// From the first to the last receiver of these.
    pub spread: Histogram<u64>,
}

/// A figure that may be only a lower bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtLeast {
    /// It is no less than this.
    pub ns: u64,
    /// It may be more.
    pub open: bool,
}

impl Default for Censored {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            ack: histogram(),
            relay: histogram(),
            last_relay: histogram(),
            spread: histogram(),
        }
    }
}

impl Censored {
    /// Records that the ack of a message of `group`, due at `intended_ns`, had not come by
    /// `until_ns`.
    pub(super) fn ack(&mut self, window: Window, group: usize, intended_ns: u64, until_ns: u64) {
        if window.contains(intended_ns) {
            let bound_ns = bound(intended_ns, until_ns);
            let ack = &mut self.group(group).ack;
            ack.get_or_insert_with(histogram)
                .saturating_record(bound_ns);
        }
    }

    /// Records that a message due at `intended_ns` had not come to `clients` clients of `group` by
    /// `until_ns`.
    pub(super) fn relays(
        &mut self,
        window: Window,
        group: usize,
        intended_ns: u64,
        until_ns: u64,
        clients: u64,
    ) {
        if window.contains(intended_ns) {
            let bound_ns = bound(intended_ns, until_ns);
            let relay = &mut self.group(group).relay;
            let relay = relay.get_or_insert_with(histogram);
            relay.saturating_record_n(bound_ns, clients);
        }
    }

    /// Records that some receiver still waited at `until_ns` for a message due at `intended_ns`,
    /// which its first receiver had got at `first_ns`, if any had. `several` is whether it is owed
    /// to more than one.
    pub(super) fn message(
        &mut self,
        window: Window,
        intended_ns: u64,
        first_ns: Option<u64>,
        until_ns: u64,
        several: bool,
    ) {
        if !window.contains(intended_ns) {
            return;
        }
        self.last_relay
            .saturating_record(bound(intended_ns, until_ns));
        if several {
            // If none has it yet, all may still get it at once.
            let spread_ns = first_ns.map_or(0, |first_ns| bound(first_ns, until_ns));
            self.spread.saturating_record(spread_ns);
        }
    }

    /// Completes the sums, once everything is recorded.
    pub(super) fn finish(mut self) -> Self {
        self.ack = group::sum(group::acks(&self.groups));
        self.relay = group::sum(group::relays(&self.groups));
        self
    }

    fn group(&mut self, group: usize) -> &mut GroupLatencies {
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, GroupLatencies::default);
        }
        &mut self.groups[group]
    }
}

fn bound(from_ns: u64, until_ns: u64) -> u64 {
    until_ns.saturating_sub(from_ns).min(CEILING_NS)
}

/// The percentile (0 to 100) of samples that came and of others of which only the lower bounds
/// `at_least` are known; `None` if all of them together are too few for it.
#[must_use]
pub fn percentile(
    came: &Histogram<u64>,
    at_least: &Histogram<u64>,
    percentile: f64,
) -> Option<AtLeast> {
    let low = (came.len() + at_least.len() >= min_samples(percentile))
        .then(|| together(came, at_least).value_at_quantile(percentile / 100.0))?;
    let high = highest(came, at_least.len(), percentile);
    Some(AtLeast {
        ns: low,
        open: high != Some(low),
    })
}

/// Samples that came, and lower bounds of others counted as samples.
pub(crate) fn together(came: &Histogram<u64>, at_least: &Histogram<u64>) -> Histogram<u64> {
    let mut all = came.clone();
    add(&mut all, at_least);
    all
}

/// A percentile if there are `never` more samples, later than all that `came`; `None` if it falls
/// on one of those.
pub(crate) fn highest(came: &Histogram<u64>, never: u64, percentile: f64) -> Option<u64> {
    if never == 0 {
        return Some(came.value_at_quantile(percentile / 100.0)).filter(|_| !came.is_empty());
    }
    let all = came.len() + never;
    let rank = ((percentile / 100.0 * all as f64).ceil() as u64).clamp(1, all);
    let mut below = 0;
    came.iter_recorded()
        .find(|step| {
            below += step.count_since_last_iteration();
            below >= rank
        })
        .map(|step| step.value_iterated_to())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ms: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut h = histogram();
        ms.into_iter()
            .for_each(|ms| h.record(ms * 1_000_000).unwrap());
        h
    }

    fn ms(figure: Option<AtLeast>) -> Option<(u64, bool)> {
        figure.map(|f| (f.ns / 1_000_000, f.open))
    }

    #[test]
    fn a_percentile_below_what_is_outstanding_is_exact_and_one_among_it_is_a_bound() {
        let came = of((1..=90).map(|n| n / 10 + 1));
        let waiting = of([5_000; 10]);
        let at = |p| ms(percentile(&came, &waiting, p));
        assert_eq!(at(50.0), Some((6, false)));
        assert_eq!(at(90.0), Some((10, false)));
        // As the histogram's three digits hold it.
        assert_eq!(at(91.0), Some((5_003, true)));
        assert_eq!(at(100.0), Some((5_003, true)));
        assert_eq!(at(99.0), None, "100 samples do not carry it");
    }

    #[test]
    fn a_bound_that_lies_among_what_came_leaves_the_figures_above_it_open() {
        // One that has waited for 3 ms may come as the third or as the last.
        let (came, waiting) = (of(1..=9), of([3]));
        let at = |p| ms(percentile(&came, &waiting, p));
        assert_eq!(at(50.0), Some((4, true)));
        assert_eq!(at(100.0), Some((9, true)));
    }

    #[test]
    fn where_nothing_is_outstanding_it_is_the_percentile_and_where_nothing_came_a_bound() {
        let (some, none) = (of(1..=50), histogram());
        for p in [0.0, 50.0, 90.0, 100.0] {
            let exact = some.value_at_quantile(p / 100.0);
            let expected = AtLeast {
                ns: exact,
                open: false,
            };
            assert_eq!(percentile(&some, &none, p), Some(expected), "p{p}");
        }
        assert_eq!(ms(percentile(&none, &of([7]), 100.0)), Some((7, true)));
        assert_eq!(percentile(&none, &none, 100.0), None);
    }

    #[test]
    fn what_was_due_outside_the_measured_phase_is_not_in_it() {
        let window = Window {
            start_ns: 100,
            end_ns: 200,
        };
        let mut censored = Censored::default();
        for due_ns in [99, 100, 199, 200] {
            censored.ack(window, 1, due_ns, 1_000);
            censored.relays(window, 0, due_ns, 1_000, 3);
            censored.message(window, due_ns, (due_ns > 100).then_some(300), 1_000, true);
        }
        let censored = censored.finish();
        let of = |h: &Histogram<u64>| (h.len(), h.min(), h.max());
        assert_eq!(of(&censored.ack), (2, 801, 900));
        assert_eq!(of(&censored.relay), (6, 801, 900));
        assert_eq!(of(&censored.last_relay), (2, 801, 900));
        assert_eq!(
            of(&censored.spread),
            (2, 0, 700),
            "who waits may get it at once"
        );
        assert!(censored.groups[0].ack.is_none() && censored.groups[1].relay.is_none());
    }
}
