//! Proof that the verifier is right: a simulated server and network ([`world`]), histories of it
//! that must raise nothing ([`clean`]), each fault of the catalogue at a dose of one ([`faults`]),
//! what happens at the limits ([`guards`], [`limits`]), what a driver tells and asks ([`driven`]),
//! which errors nobody asked for ([`errors`]), a target that is started again ([`restart`]), what is said of each bug ([`said`]), and that a recorded history comes to the same
//! ([`traces`]), as it does to ledgers that decide otherwise ([`replayed`]). [`fault_table`] judges the same worlds from outside and says of every fault how
//! that differs, [`weaker`] has targets that promise less.
//! A [`house`] has several rooms, each a world whose sessions are memberships that share
//! connections: [`rooms_agree`] holds it against brute force room by room, with what only rooms can
//! have done to them ([`room_bugs`]); in [`rooms`] what is said to whom is written out.
//! Two checkers that know nothing of how the verifier works look all of it up by brute force:
//! [`oracle`] with the target's numbers ([`agreement`] holds the verifier against it), and
//! [`oracle_inferred`] without ([`agreement_inferred`], [`plays`]); [`disorder`] has targets without any
//! order held against both, [`bounded`] a verifier that remembers next to nothing. [`breaks`] and
//! [`inferred_edges`] are what they found.

mod agreement;
mod agreement_inferred;
mod alone;
mod bounded;
mod bounded_inferred;
mod breaks;
mod bugs;
mod clean;
mod conns;
mod disorder;
mod driven;
mod echo_acks;
mod envelopes;
mod errors;
mod fault_table;
mod faults;
mod guards;
mod history;
mod house;
mod inferred_edges;
mod judged;
mod liberties;
mod limits;
mod nearness;
mod oracle;
mod oracle_inferred;
mod outstanding;
mod plays;
mod replayed;
mod restart;
mod room_bugs;
mod rooms;
mod rooms_agree;
mod said;
mod several_shards;
mod traces;
mod unjudged;
mod weaker;
mod world;

use proptest::test_runner::Config;

/// How many histories to try: `PROPTEST_CASES` if that is set, else `usual`. A long run asks for
/// many, mutation testing, which runs all of this once a mutant, for few.
fn cases(usual: u32) -> u32 {
    match std::env::var("PROPTEST_CASES") {
        Ok(_) => Config::default().cases,
        Err(_) => usual,
    }
}

fn config(usual: u32) -> Config {
    Config::with_cases(cases(usual))
}
