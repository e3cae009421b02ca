//! Targets that state no order: the same worlds, judged by inferred order.

use proptest::prelude::*;

use super::clean::assert_exact;
use super::faults::Expect;
use super::traces::record;
use super::world::{Play, World};
use crate::kind::Kind;
use crate::promises::{OrderPromise, Promises};
use crate::trace::verify;

/// Everything that the reference server promises, but for the numbers.
pub(super) const INFERRED_ORDER: Promises = Promises {
    ack: crate::promises::AckPromise::ExactlyOnce,
    relay: crate::promises::RelayPromise::ExactlyOnce,
    order: OrderPromise::Total,
    echo: false,
    use_seq: false,
    late_after: None,
};

proptest! {
    #![proptest_config(super::config(600))]

    #[test]
    fn a_correct_server_raises_nothing(seed: u64, play: u64, slowly: bool, classic: bool) {
        let mut world = World::new(seed, 1).judged_by(INFERRED_ORDER);
        if classic {
            world = world.in_classic();
        }
        let played = world.play(Play { seed: play, slowly });
        assert_exact(&world, &played);
    }
}

/// In these worlds a message turns out to stand before the start of a session that gets it all the
/// same, after everybody else. The figures of it were once handed over without that session.
#[test]
fn the_figures_of_a_message_wait_for_a_session_that_it_was_put_before() {
    for (seed, play) in [
        (6879462474219375415, 14490165506841267898),
        (8822326753247573340, 9272163576472217416),
    ] {
        let world = World::new(seed, 1).judged_by(INFERRED_ORDER);
        let played = world.play(Play {
            seed: play,
            slowly: false,
        });
        assert_exact(&world, &played);
    }
}

/// What the checker that looks at no numbers makes of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WithoutNumbers {
    /// What the one that looks at them does.
    Alike,
    /// The same, where others saw enough to tell; else nothing.
    IfSeen,
    /// The same, but not each of many.
    Fewer,
    /// One of these, or nothing.
    Other(&'static [Kind]),
    /// Nothing: without numbers it is no fault.
    Unseen,
}

use WithoutNumbers::{Alike, Fewer, IfSeen, Other, Unseen};

/// Every fault of the catalogue as `faults` applies it (there stands what the numbers say of it),
/// and what is seen of it without numbers; where that differs, why.
#[rustfmt::skip]
const TABLE: &[(&str, WithoutNumbers, &str)] = &[
    ("drop_relay", IfSeen, "before a newcomer's welcome is read, nobody knows that it has joined"),
    ("drop_tail", IfSeen, "the last one may have been taken after the goodbye, for all one sees"),
    ("late_join", IfSeen, "what was sent before the welcome was read need not have been in time"),
    ("starve_one", Fewer, "as drop_relay, and as drop_tail"),
    ("duplicate_relay_and_replay_stale", Alike, ""),
    ("swap_same_sender", Alike, ""),
    ("swap_senders", Other(&[Kind::OrderDivergence, Kind::Causality, Kind::RealTime,
        Kind::LostRelay]), "nobody else may have got both; then it is seen if one was sent after \
        the other was seen, or taken, or as if somebody else had lost what came between"),
    ("effect_first", IfSeen, "nobody may have got both"),
    ("renumber_late", IfSeen, "nobody may have got both"),
    ("renumber_late_and_forget", Other(&[Kind::RealTime, Kind::AckWithoutRelay, Kind::LostRelay]), "forgotten for the \
        only one who could tell it is a relay that did not come"),
    ("flip_byte_in_every_region_of_the_message", Alike, ""),
    ("flip_byte_in_the_number", Unseen, "numbers are not looked at"),
    ("flip_byte_in_the_type", IfSeen, "as drop_relay"),
    ("flip_byte_in_the_address", Alike, ""),
    ("truncate_message", Alike, ""),
    ("invent", Alike, ""),
    ("before_join", Other(&[Kind::StaleRelay, Kind::LostRelay]), "if nobody had seen it by then the \
        newcomer may have been in time, and what it did not get after it is lost"),
    ("relay_to_all_again", Other(&[Kind::DuplicateRelay, Kind::StaleRelay, Kind::OrderDivergence,
        Kind::ReorderedRelay, Kind::RealTime]), "each who was there got it twice, and who joined between only now: \
        it is stale, or they contradict each other"),
    ("echo_instead_of_the_ack_and_beside_it", Alike, ""),
    ("wrong_sender", Alike, ""),
    ("wrong_sender_alike_for_all_is_one", Alike, ""),
    ("relay_names_recipient", Alike, ""),
    ("drop_ack", Alike, ""),
    ("double_ack", Alike, ""),
    ("swap_acks", Alike, ""),
    ("an_ack_and_a_relay_exchanged", Other(&[Kind::ReorderedAck, Kind::OrderDivergence,
        Kind::ReorderedRelay, Kind::Causality, Kind::RealTime]), "where an ack stands among the relays is not promised; \
        some places apart, it or the relay overtakes others of its own sort"),
    ("misroute", Alike, ""),
    ("an_ack_nobody_asked_for", Alike, ""),
    ("ack_then_lose", IfSeen, "as drop_relay"),
    ("a_message_swallowed_whole_is_one_missing_ack", Alike, ""),
    ("a_message_in_order_is_refused", Alike, ""),
    ("relay_rejected", Alike, ""),
    ("skip_number", Unseen, "numbers are not looked at"),
    ("skip_many_numbers", Unseen, "numbers are not looked at"),
    ("reuse_number", Unseen, "numbers are not looked at"),
    ("torn_frame", Alike, ""),
    ("garbage_frame", Alike, ""),
    ("stray_error", Alike, ""),
    ("garbage_after_the_bye", Alike, ""),
    ("no_welcome", Alike, ""),
    ("no_bye", Alike, ""),
    ("hang_up", Alike, ""),
    ("delay_relay", Alike, ""),
];

/// One row of the table, as it fares over many worlds.
pub(super) struct TableRow {
    name: String,
    expected: WithoutNumbers,
    seen: u64,
    unseen: u64,
    wrong: Vec<String>,
}

impl TableRow {
    #[track_caller]
    pub(super) fn of(name: &str) -> Self {
        let row = TABLE.iter().find(|(fault, ..)| *fault == name);
        let &(_, expected, why) = row.unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(
            why.is_empty(),
            expected == Alike,
            "{name}: why is it not alike?"
        );
        Self {
            name: name.to_owned(),
            expected,
            seen: 0,
            unseen: 0,
            wrong: Vec::new(),
        }
    }

    /// Judges a world with the fault in it.
    pub(super) fn judge(&mut self, world: &World, seed: u64, expect: &Expect) {
        let world = world.clone().judged_by(INFERRED_ORDER);
        let played = world.play(Play {
            seed,
            slowly: false,
        });
        if !expect.is_applied(&played) {
            return;
        }
        let violations = &played.findings.violations;
        let found: Vec<(Kind, u64)> = violations.iter().map(|(k, t)| (*k, t.count)).collect();
        let nothing = found.is_empty();
        let fits = match self.expected {
            Alike => found == expect.kinds,
            Fewer => found.iter().all(|(kind, count)| {
                expect
                    .kinds
                    .iter()
                    .any(|(k, most)| k == kind && count <= most)
            }),
            IfSeen => nothing || found == expect.kinds,
            Other(kinds) => found.iter().all(|(kind, _)| kinds.contains(kind)),
            Unseen => nothing,
        };
        self.seen += u64::from(!nothing);
        self.unseen += u64::from(nothing);
        if !fits || !played.findings.undecided.is_empty() {
            self.wrong.push(format!(
                "seed {seed}: {:?} where {:?} {:#?} {:?}",
                found, expect.kinds, violations, played.findings.undecided
            ));
        }
        if seed.is_multiple_of(4) {
            let slowly = world.play(Play { seed, slowly: true });
            assert_eq!(
                slowly.findings, played.findings,
                "seed {seed}: decoded line by line"
            );
            let (recorded, trace) = record(&world, seed);
            assert_eq!(recorded.findings, played.findings, "seed {seed}: recorded");
            let replayed = verify(&trace[..]).unwrap();
            assert_eq!(replayed.findings, played.findings, "seed {seed}: replayed");
        }
    }

    #[track_caller]
    pub(super) fn sum_up(&self) {
        let Self {
            name, seen, unseen, ..
        } = self;
        println!(
            "INFERRED {name} seen {seen} unseen {unseen} wrong {}",
            self.wrong.len()
        );
        if let Some(first) = self.wrong.first() {
            panic!("{name}, {} times: {first}", self.wrong.len());
        }
        match self.expected {
            Unseen => {}
            _ => assert!(
                seen * 3 > *unseen,
                "{name}: seen {seen} times, unseen {unseen}"
            ),
        }
    }
}
