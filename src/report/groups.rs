//! The groups of clients that latencies are told apart by, and whether these differ.

use hdrhistogram::Histogram;

use crate::measure::confidence::range;
use crate::measure::group::{MAX_GROUPS, place};
use crate::scenario::plan::{OBSERVERS, OTHERS, Plan};

/// Percentiles at which groups are compared.
const COMPARED: [f64; 2] = [50.0, 99.0];

/// The least difference that counts, in ns and as a share of the slower.
const GAP_NS: u64 = 100_000;
const GAP_SHARE: f64 = 0.1;

/// A group of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name in the scenario.
    pub name: String,
    /// How many clients it has.
    pub clients: u64,
}

/// The groups of a plan, each at its [`place`].
pub(super) fn of(plan: &Plan) -> Vec<Group> {
    let own = plan
        .groups
        .iter()
        .map(|group| (group.name.as_str(), u64::from(group.count)));
    let observers = Some((OBSERVERS, u64::from(plan.run.observers)));
    let observers = observers.filter(|(_, clients)| *clients > 0);
    let mut groups: Vec<Group> = Vec::new();
    for (index, (name, clients)) in own.chain(observers).enumerate() {
        match groups.get_mut(place(index)) {
            None => groups.push(Group {
                name: name.to_owned(),
                clients,
            }),
            Some(last) => {
                debug_assert_eq!(place(index), MAX_GROUPS - 1);
                OTHERS.clone_into(&mut last.name);
                last.clients += clients;
            }
        }
    }
    groups
}

/// Whether some of these histograms differ from others at a percentile, by more than chance and by
/// enough to matter; each is of at most `messages` messages.
pub(super) fn differ(groups: &[&Histogram<u64>], messages: u64) -> bool {
    COMPARED.iter().any(|&percentile| {
        let at = |h: &&Histogram<u64>| {
            let ns = h.value_at_quantile(percentile / 100.0);
            Some((ns, range(h, percentile, messages.min(h.len()))?))
        };
        let known: Vec<_> = groups.iter().filter_map(at).collect();
        known.iter().any(|(slow_ns, slow)| {
            known.iter().any(|(fast_ns, fast)| {
                let gap_ns = slow_ns.saturating_sub(*fast_ns);
                fast.high_ns < slow.low_ns
                    && gap_ns >= GAP_NS
                    && gap_ns as f64 >= *slow_ns as f64 * GAP_SHARE
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::histogram;
    use crate::report::sample;

    #[test]
    fn observers_come_last_and_whoever_is_too_many_is_one_of_the_others() {
        let mut plan = sample::plan();
        plan.run.observers = 2;
        let names = |plan: &Plan| {
            let groups = of(plan).into_iter();
            groups.map(|g| (g.name, g.clients)).collect::<Vec<_>>()
        };
        let group = |name: &str, clients| (name.to_owned(), clients);
        assert_eq!(
            names(&plan),
            [
                group("talkers", 4),
                group("listeners", 100),
                group("observers", 2)
            ]
        );
        let talkers = plan.groups[0].clone();
        plan.groups = vec![talkers; 20];
        let many = names(&plan);
        assert_eq!(many.len(), MAX_GROUPS);
        assert_eq!(
            many[14..],
            [group("talkers", 4), group("others", 5 * 4 + 2)]
        );
        // Sixteen groups and nobody to observe: the last keeps its name.
        plan.groups.truncate(16);
        plan.run.observers = 0;
        assert_eq!(names(&plan)[15], group("talkers", 4));
    }

    /// A thousand samples about `us`.
    fn about(us: u64) -> Histogram<u64> {
        let mut h = histogram();
        for i in 0..1_000 {
            h.record(us * 1_000 + i * us / 10).unwrap();
        }
        h
    }

    #[test]
    fn groups_differ_by_more_than_chance_and_by_enough() {
        let (base, slower, hardly) = (about(2_000), about(3_000), about(2_040));
        assert!(differ(&[&base, &slower], 1_000));
        assert!(differ(&[&slower, &base], 1_000));
        assert!(!differ(&[&base, &base], 1_000), "the same");
        assert!(!differ(&[&base, &hardly], 1_000), "40 µs are nothing");
        assert!(!differ(&[&about(20), &about(90)], 1_000), "nor are 70");
        assert!(!differ(&[&base, &slower], 5), "five messages tell nothing");
        assert!(!differ(&[&base], 1_000) && !differ(&[], 1_000));
    }
}
