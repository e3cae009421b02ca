//! Targets that promise less than one log that everybody sees, and take every liberty that leaves
//! them: in what order, how often, and to whom at the edges of its session a message is relayed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use super::clean::assert_exact;
use super::faults::Spot;
use super::world::{Frame, Id, Play, What, World, rng};
use crate::promises::{AckPromise, OrderPromise, Promises, RelayPromise};

const ORDERS: [OrderPromise; 4] = [
    OrderPromise::Total,
    OrderPromise::Causal,
    OrderPromise::Fifo,
    OrderPromise::None,
];
const RELAYS: [RelayPromise; 3] = [
    RelayPromise::ExactlyOnce,
    RelayPromise::AtLeastOnce,
    RelayPromise::AtMostOnce,
];

/// Promises of any kind, of a target whose numbers are not looked at.
pub(super) fn promises(rng: &mut dyn Rng) -> Promises {
    Promises {
        ack: match rng.random_bool(0.7) {
            true => AckPromise::ExactlyOnce,
            false => AckPromise::None,
        },
        relay: *RELAYS.choose(rng).unwrap(),
        order: *ORDERS.choose(rng).unwrap(),
        echo: rng.random_bool(0.3),
        use_seq: false,
        late_after: None,
    }
}

/// What each message comes after: its sender's earlier ones, and what its sender may have had
/// when it sent it.
type Causes = BTreeMap<Id, BTreeSet<Id>>;

impl World {
    /// The world of a target that keeps these promises and no others.
    pub(super) fn at_liberty(seed: u64, promises: Promises, classic: bool) -> Self {
        let mut world = Self::new(seed, 1).judged_by(promises);
        let rng = &mut rng(seed ^ 0x11b);
        let causes = world.causes();
        for life in 0..world.lives.len() {
            world.echo_and_ack(rng, life);
            if promises.order != OrderPromise::Total {
                world.leave_out_at_the_edges(rng, life);
            }
            world.reorder(rng, life, &causes);
            world.repeat_or_drop(rng, life);
        }
        match classic {
            true => world.in_classic(),
            false => world,
        }
    }

    fn causes(&self) -> Causes {
        let mut sent: Vec<(u64, Id)> = self.sent_ns.iter().map(|(id, ns)| (*ns, *id)).collect();
        sent.sort_unstable();
        let mut causes = Causes::new();
        for (sent_ns, id) in sent {
            let had = self.lives[id.life].frames.iter();
            let had = had.take_while(|frame| frame.at_ns <= sent_ns);
            let had = had.filter_map(|frame| match frame.what {
                What::Relay(message) => Some(message),
                _ => None,
            });
            let own = (1..id.k).map(|k| Id { k, ..id });
            let direct: BTreeSet<Id> = had.chain(own).collect();
            let further = direct.iter().filter_map(|id| causes.get(id)).flatten();
            let all = further.chain(&direct).copied().collect();
            causes.insert(id, all);
        }
        causes
    }

    /// Acks where they are promised; its own messages where these are.
    fn echo_and_ack(&mut self, rng: &mut dyn Rng, life: usize) {
        let Promises { ack, echo, .. } = self.terms.promises;
        let mut at = 0;
        while let Some(frame) = self.lives[life].frames.get(at).cloned() {
            at += 1;
            let What::Ack(id) = frame.what else {
                continue;
            };
            if ack != AckPromise::ExactlyOnce {
                at -= 1;
                self.lives[life].frames.remove(at);
            }
            if echo {
                let behind = ack == AckPromise::ExactlyOnce && rng.random_bool(0.5);
                let place = at - usize::from(ack == AckPromise::ExactlyOnce && !behind);
                self.relay_at((life, place), id, frame.at_ns, frame.seq);
                at += 1;
            }
        }
    }

    fn relay_at(&mut self, (life, at): Spot, id: Id, at_ns: u64, seq: u64) {
        let frame = self.frame_of(life, at_ns, seq, What::Relay(id));
        self.lives[life].frames.insert(at, frame);
    }

    /// Without one log, what was sent before a client was there need not come, nor what arrived
    /// when it was leaving: of each sender the first few and the last few, or where nothing is
    /// promised of the order, any.
    fn leave_out_at_the_edges(&mut self, rng: &mut dyn Rng, life: usize) {
        let there = &self.lives[life];
        let welcomed_ns = there.frames.first().map_or(0, |f| f.at_ns);
        let any = self.terms.promises.order == OrderPromise::None;
        let mut left_out = BTreeSet::new();
        for (sender, other) in self.lives.iter().enumerate().filter(|(i, _)| *i != life) {
            // Connections are taken in the order in which they were made.
            let early = other.connect_ns <= there.connect_ns;
            let early = other
                .sends
                .iter()
                .take_while(|s| early && s.at_ns < welcomed_ns);
            let early: Vec<u64> = early.map(|s| s.k).collect();
            let late = other.sends.iter().filter(|s| s.arrives_ns >= there.end_ns);
            let late: Vec<u64> = late.map(|s| s.k).collect();
            let mut leave_out = |k: &u64| {
                left_out.extend([Id {
                    life: sender,
                    k: *k,
                }]);
            };
            if any {
                let either = early.iter().chain(&late).filter(|_| rng.random_bool(0.5));
                either.for_each(leave_out);
                continue;
            }
            let first = rng.random_range(0..=early.len());
            let last = rng.random_range(0..=late.len());
            early[..first].iter().for_each(&mut leave_out);
            late[last..].iter().for_each(leave_out);
        }
        let is_left_out = |frame: &Frame| match &frame.what {
            What::Relay(id) => left_out.contains(id),
            _ => false,
        };
        self.lives[life].frames.retain(|frame| !is_left_out(frame));
    }

    /// Exchanges neighbours that may come the other way round.
    fn reorder(&mut self, rng: &mut dyn Rng, life: usize, causes: &Causes) {
        let order = self.terms.promises.order;
        let frames = &mut self.lives[life].frames;
        let may_overtake = |one: &What, other: &What| match (one, other) {
            (What::Relay(one), What::Relay(other)) => match order {
                OrderPromise::Total => false,
                OrderPromise::Causal => !causes[other].contains(one),
                OrderPromise::Fifo => one.life != other.life,
                OrderPromise::None => true,
            },
            (What::Ack(_), What::Ack(_)) => order == OrderPromise::None,
            (What::Relay(_), What::Ack(_)) | (What::Ack(_), What::Relay(_)) => true,
            _ => false,
        };
        for _ in 0..rng.random_range(0..3 * frames.len() + 1) {
            let at = rng.random_range(0..frames.len());
            if let Some([one, other]) = frames.get_mut(at..at + 2)
                && may_overtake(&one.what, &other.what)
            {
                // Nothing is sent before it exists: the first waits for the second.
                one.at_ns = other.at_ns;
                std::mem::swap(one, other);
            }
        }
    }

    fn repeat_or_drop(&mut self, rng: &mut dyn Rng, life: usize) {
        let Promises { relay, ack, .. } = self.terms.promises;
        let is_ack = |id: &Id| ack == AckPromise::Echo && id.life == life;
        for _ in 0..rng.random_range(0..4) {
            let frames = &self.lives[life].frames;
            let relays = frames.iter().enumerate();
            let may_be_lost = |id: &Id| !is_ack(id) || relay != RelayPromise::AtMostOnce;
            let relays = relays.filter(|(_, f)| match &f.what {
                What::Relay(id) => may_be_lost(id),
                _ => false,
            });
            let relays: Vec<usize> = relays.map(|(at, _)| at).collect();
            let Some(&at) = relays.choose(rng) else {
                return;
            };
            match relay {
                RelayPromise::ExactlyOnce => {}
                RelayPromise::AtMostOnce => drop(self.lives[life].frames.remove(at)),
                RelayPromise::AtLeastOnce => {
                    let bye = frames.last().is_some_and(|f| f.what == What::Bye);
                    let again = rng.random_range(at + 1..=frames.len() - usize::from(bye));
                    let Frame { seq, what, .. } = frames[at].clone();
                    let at_ns = frames[again - 1].at_ns;
                    if let What::Relay(id) = what {
                        self.relay_at((life, again), id, at_ns, seq);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(super::config(1000))]

    #[test]
    fn what_was_not_promised_is_no_violation(seed: u64, play: u64, slowly: bool, classic: bool) {
        let promises = promises(&mut rng(seed));
        let world = World::at_liberty(seed, promises, classic);
        let played = world.play(Play { seed: play, slowly });
        assert_exact(&world, &played);
    }
}

/// Here a client begins before what was settled, and gets what has no place yet: that is placed
/// among what is settled. The figures of it were never handed over.
#[test]
fn the_figures_of_a_message_placed_among_what_is_settled_are_handed_over() {
    let seed = 18178666848533560662;
    let world = World::at_liberty(seed, promises(&mut rng(seed)), false);
    let played = world.play(Play {
        seed: 5498929191563653625,
        slowly: false,
    });
    assert_exact(&world, &played);
}
