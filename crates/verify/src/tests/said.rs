//! What is said of each bug, word for word: who was owed what, what came, what proves it, and all
//! that is counted besides. What must be found is for [`agreement`](super::agreement) to say; here
//! is that people can read it, and that nothing of it changes unseen.

use std::fmt::Write;

use insta::assert_snapshot;
use rand::RngExt;

use super::agreement::afflict;
use super::bugs::BUGS;
use super::fault_table::INFERRED_ORDER;
use super::world::{Play, Played, World, rng};
use crate::findings::{Counts, Example};
use crate::judge::Settled;

/// Histories in which a bug is looked for: by inferred order some can never be seen.
const SEARCHED: u64 = 60;

/// Histories of each bug that are told.
const HISTORIES: usize = 3;

/// What came of the first histories in which each bug shows.
fn told(of: impl Fn(u64) -> World) -> String {
    let mut told = String::new();
    for (bug, (name, _)) in BUGS.iter().enumerate() {
        writeln!(told, "# {name}").unwrap();
        let histories = (0..SEARCHED).filter_map(|seed| {
            let mut world = of(seed);
            if afflict(&mut world, seed, &[bug]).is_empty() {
                return None;
            }
            let play = Play {
                seed: rng(seed).random(),
                slowly: false,
            };
            let played = world.play(play);
            let nothing = played.findings.violations.is_empty();
            (!nothing || !played.findings.undecided.is_empty()).then_some((seed, played))
        });
        for (seed, played) in histories.take(HISTORIES) {
            writeln!(told, "history {seed}: {}", counted(&played)).unwrap();
            tell(&played, &mut told);
        }
    }
    told
}

fn tell(played: &Played, out: &mut String) {
    for (kind, tally) in &played.findings.violations {
        writeln!(out, "  {} {}", tally.count, kind.name()).unwrap();
        for example in &tally.examples {
            let Example {
                text,
                room: _,
                sender,
                receiver,
                k,
                seq,
                at_ns,
            } = example;
            let who = [sender, receiver].map(|name| name.as_deref().unwrap_or("-"));
            let which = [k, seq].map(|n| n.map_or("-".to_owned(), |n| n.to_string()));
            let (who, which) = (who.join(" > "), which.join(" as "));
            writeln!(out, "    {text}\n      ({who}, {which}, {at_ns} ns)").unwrap();
        }
    }
    for reason in &played.findings.undecided {
        writeln!(out, "  undecided: {reason}").unwrap();
    }
    writeln!(out, "  {:?}", played.findings.coverage).unwrap();
}

/// All that is counted, and what the figures are made of.
fn counted(played: &Played) -> String {
    let Counts {
        sessions,
        sent,
        acked,
        owed,
        delivered,
        unresolved,
        optional,
        lost,
        duplicated,
        errors_received,
        unexpected_closes,
        unknown_frames,
    } = played.findings.counts;
    let settled = &played.settled;
    let receivers: u64 = settled.iter().map(|s| s.receivers).sum();
    let took_ns = |s: &Settled| (s.last_ns - s.first_ns) + (s.first_ns - s.intended_ns);
    let took_ns: u64 = settled.iter().map(took_ns).sum();
    format!(
        "{sessions} sessions, {sent} sent, {acked} acked, {owed} owed = {delivered} delivered + \
         {lost} lost + irregular, {unresolved} unresolved, {optional} optional, {duplicated} \
         duplicated, {errors_received} errors, {unexpected_closes} closed, {unknown_frames} \
         unknown; figures of {} messages to {receivers} receivers, {took_ns} ns",
        settled.len()
    )
}

/// The worlds of the comparisons, with one to three shards.
fn world(seed: u64) -> World {
    World::new(seed, 1 + (seed % 3) as usize)
}

#[test]
fn by_the_numbers() {
    assert_snapshot!(told(world));
}

#[test]
fn with_inferred_order() {
    assert_snapshot!(told(|seed| World::new(seed, 1).judged_by(INFERRED_ORDER)));
}

#[test]
fn of_a_classic_server() {
    assert_snapshot!(told(|seed| World::new(seed, 1)
        .judged_by(INFERRED_ORDER)
        .in_classic()));
}
