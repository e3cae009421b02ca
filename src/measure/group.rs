//! Response times by group of clients: acks by the group that sent, relays by the group that
//! received.
//!
//! A response time is recorded once, into the histogram of its client's group; that of all
//! clients is their sum. So the distinction costs nothing per delivery but the lookup of the
//! histogram. It does cost memory, 264 KiB per group, class and shard, though only where something
//! was recorded: hence the limit.

use hdrhistogram::Histogram;

use super::{add, histogram};
use crate::scenario::plan::GROUPS_APART;

/// Groups that have histograms of their own. In a scenario with more, the last of them holds the
/// rest as well.
pub const MAX_GROUPS: usize = GROUPS_APART;

/// The index among the recorded groups of a scenario's group, given by its position in the file.
#[must_use]
pub fn place(group: usize) -> usize {
    group.min(MAX_GROUPS - 1)
}

/// One group's response times, of messages due in the measured phase; `None` if there is no sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupLatencies {
    /// From the intended send to the ack, of messages that the group sent.
    pub ack: Option<Histogram<u64>>,
    /// From the intended send to each delivery to a client of the group.
    pub relay: Option<Histogram<u64>>,
}

impl GroupLatencies {
    /// Adds the recordings of another shard, or of the same one earlier.
    pub(super) fn merge(&mut self, other: &Self) {
        for (whole, part) in [(&mut self.ack, &other.ack), (&mut self.relay, &other.relay)] {
            if let Some(part) = part {
                add(whole.get_or_insert_with(histogram), part);
            }
        }
    }
}

/// Adds groups index by index.
pub(super) fn merge(whole: &mut Vec<GroupLatencies>, parts: &[GroupLatencies]) {
    if whole.len() < parts.len() {
        whole.resize_with(parts.len(), GroupLatencies::default);
    }
    for (whole, part) in whole.iter_mut().zip(parts) {
        whole.merge(part);
    }
}

/// The acks of all groups.
pub(super) fn acks(groups: &[GroupLatencies]) -> impl Iterator<Item = &Histogram<u64>> {
    groups.iter().filter_map(|group| group.ack.as_ref())
}

/// The relays of all groups.
pub(super) fn relays(groups: &[GroupLatencies]) -> impl Iterator<Item = &Histogram<u64>> {
    groups.iter().filter_map(|group| group.relay.as_ref())
}

/// The sum of some histograms.
pub(super) fn sum<'a>(parts: impl Iterator<Item = &'a Histogram<u64>>) -> Histogram<u64> {
    let mut whole = histogram();
    parts.for_each(|part| add(&mut whole, part));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ns: &[u64]) -> Option<Histogram<u64>> {
        let mut h = histogram();
        ns.iter().for_each(|&ns| h.record(ns).unwrap());
        Some(h)
    }

    #[test]
    fn groups_are_added_place_by_place_and_the_longer_list_rules() {
        let mut whole = vec![GroupLatencies {
            ack: of(&[10]),
            relay: None,
        }];
        let part = [
            GroupLatencies {
                ack: of(&[20]),
                relay: None,
            },
            GroupLatencies {
                ack: None,
                relay: of(&[30, 40]),
            },
        ];
        merge(&mut whole, &part);
        merge(&mut whole, &part[..1]);
        assert!(whole[0].ack == of(&[10, 20, 20]));
        assert!(whole[1].relay == of(&[30, 40]) && whole[1].ack.is_none());
        assert_eq!(sum(acks(&whole)).len(), 3);
        assert_eq!(sum(relays(&whole)).len(), 2);
    }

    #[test]
    fn groups_beyond_the_last_place_share_it() {
        assert_eq!([0, 15, 16, 900].map(place), [0, 15, 15, 15]);
    }
}
