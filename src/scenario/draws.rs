//! The random draws of a client besides its arrivals: the sizes of its messages and the lengths of
//! its pauses.
//!
//! The draws depend on the scenario's seed, the group's name and the client's number in its group,
//! and on nothing else. Other groups, observers, shards and machines change none of them, so two
//! runs that differ in those offer the same workload.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::pace::derive_seed;
use super::plan::PayloadSize;

/// Salts of a client's streams. They are above every client's number, so that no stream is the
/// arrivals of another client ([`super::pace::Schedule`]).
const SIZES: u64 = 1 << 32;
const PAUSES: u64 = SIZES + 1;

/// The random streams of one client. Sizes and pauses have one each: how many messages were sent
/// before a pause does not change its length.
#[derive(Debug, Clone)]
pub struct Draws {
    sizes: Pcg64Mcg,
    pauses: Pcg64Mcg,
}

impl Draws {
    /// The streams of client `client`, counted from 0, of the group whose seed is `group_seed`
    /// ([`Plan::group_seed`](super::plan::Plan::group_seed)).
    #[must_use]
    pub fn new(group_seed: u64, client: u32) -> Self {
        let client_seed = derive_seed(group_seed, u64::from(client));
        let stream = |salt| Pcg64Mcg::seed_from_u64(derive_seed(client_seed, salt));
        Self {
            sizes: stream(SIZES),
            pauses: stream(PAUSES),
        }
    }

    /// The size of the next message, in bytes.
    pub fn size(&mut self, PayloadSize { min, max }: PayloadSize) -> u32 {
        if min == max {
            min
        } else {
            self.sizes.random_range(min..=max)
        }
    }

    /// The length of the next pause, evenly from `min` to `max`.
    pub fn pause(&mut self, min: Duration, max: Duration) -> Duration {
        if min == max {
            min
        } else {
            self.pauses.random_range(min..=max)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: PayloadSize = PayloadSize { min: 48, max: 4096 };

    fn sizes(mut draws: Draws) -> Vec<u32> {
        (0..20).map(|_| draws.size(SIZE)).collect()
    }

    #[test]
    fn each_client_of_a_group_has_streams_of_its_own() {
        let mut all: Vec<Vec<u32>> = (0..50).map(|c| sizes(Draws::new(7, c))).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 50);
    }

    #[test]
    fn sizes_and_pauses_do_not_depend_on_each_other() {
        let longest = Duration::from_secs(1);
        let (mut one, mut other) = (Draws::new(7, 3), Draws::new(7, 3));
        let undisturbed = one.pause(Duration::ZERO, longest);
        for _ in 0..5 {
            other.size(SIZE);
        }
        assert_eq!(other.pause(Duration::ZERO, longest), undisturbed);
    }
}
