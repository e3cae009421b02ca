//! What a trace tells does not hang on what the ledger made of it that was there: ledgers that
//! decide otherwise play it to its end, and come to what they would have come to in the run.

use proptest::prelude::*;

use super::fault_table::INFERRED_ORDER;
use super::liberties;
use super::traces::{record, record_play};
use super::world::{Id, Observation, Play, RUN, SEED, Saw, World, address, rng, wire_id};
use super::{disorder, oracle};
use crate::bounds::{Bounds, within};
use crate::findings::Findings;
use crate::ids::split_id;
use crate::kind::Kind;
use crate::trace::told::Told;
use crate::trace::told::overhear::{Heard, overhear, slowly};
use crate::trace::verify;
use chatbench_wire::ndjson::{self, ServerFrame};
use chatbench_wire::payload;

fn replayed(trace: &[u8]) -> Findings {
    let verified = verify(trace).unwrap();
    assert_eq!(verified.doubts, [""; 0]);
    verified.findings
}

/// A ledger that compares no lines asks the directory of each, where another asked once; and the
/// other way round.
fn assert_played_by_either(world: &World, seed: u64) {
    let [fast, slow] = [false, true].map(|slowly| Play { seed, slowly });
    let (of_fast, by_fast) = record_play(world, fast);
    let (of_slow, by_slow) = record_play(world, slow);
    for (trace, what) in [(&by_fast, "compared"), (&by_slow, "decoded")] {
        assert_eq!(replayed(trace), of_fast.findings, "{what}");
        let slowly = slowly(|| replayed(trace));
        assert_eq!(slowly, of_slow.findings, "{what}");
    }
}

proptest! {
    #![proptest_config(super::config(60))]

    #[test]
    fn ledgers_that_ask_otherwise_play_a_trace(seed: u64, shards in 1_usize..4, places in 1_usize..40) {
        let mut world = World::talking(seed, shards, 12);
        world.shuffle(&mut rng(seed), places);
        assert_played_by_either(&world, seed);
    }

    #[test]
    fn whatever_is_promised_ledgers_that_ask_otherwise_play_a_trace(seed: u64, classic: bool) {
        let promises = liberties::promises(&mut rng(seed));
        assert_played_by_either(&World::at_liberty(seed, promises, classic), seed);
    }
}

/// What the sessions of a trace of lines saw, as a world tells it: each session is a life of its
/// own, with that life's address, and messages are of the run and seed of all worlds.
fn observed(told: &[(usize, Heard)], run: u32, seed: u64) -> Vec<Observation> {
    struct Life {
        address: String,
        unread: Vec<u8>,
        sent: u64,
    }
    let mut lives: Vec<Life> = Vec::new();
    let mut life_of: Vec<usize> = Vec::new();
    let mut observations = Vec::new();
    let mut now_ns = 0;
    for (slot, heard) in told {
        if matches!(heard, Heard::Connecting) {
            life_of.resize(life_of.len().max(slot + 1), 0);
            life_of[*slot] = lives.len();
            lives.push(Life {
                address: String::new(),
                unread: Vec::new(),
                sent: 0,
            });
        }
        let life = life_of[*slot];
        let mut see = |at_ns: u64, saw: Saw| observations.push(Observation { life, at_ns, saw });
        match heard {
            Heard::Connecting => see(now_ns, Saw::Connecting),
            Heard::Bytes(at_ns, bytes) => {
                now_ns = *at_ns;
                lives[life].unread.extend_from_slice(bytes);
                while let Some(end) = lives[life].unread.iter().position(|&b| b == b'\n') {
                    let line: Vec<u8> = lives[life].unread.drain(..=end).collect();
                    let address_of =
                        |life: usize| lives.get(life).map_or("", |life| &life.address[..]);
                    let line = translated(&line[..end], life, run, seed, address_of);
                    see(now_ns, Saw::Line(line));
                }
            }
            Heard::Told(Told::Connected(address)) => lives[life].address = address.to_string(),
            Heard::Told(Told::Sending { now_ns: at_ns, .. }) => {
                now_ns = *at_ns;
                lives[life].sent += 1;
                let k = lives[life].sent;
                see(now_ns, Saw::Sent { k });
            }
            Heard::Told(Told::Leaving(_)) => see(now_ns, Saw::Leaving),
            Heard::Told(Told::LettingGo) => see(now_ns, Saw::LettingGo),
            Heard::Told(Told::Ended { now_ns: at_ns, .. }) => {
                now_ns = *at_ns;
                let unread_bytes = lives[life].unread.len();
                see(now_ns, Saw::Closed { unread_bytes });
            }
            // What excuses a session that is cut off, and none is.
            Heard::Told(Told::StopsReading | Told::FellBehind) => {}
            Heard::Told(other) => panic!("no world has {other:?}"),
        }
    }
    observations
}

/// A line as a world has it.
fn translated<'a>(
    line: &[u8],
    life: usize,
    run: u32,
    seed: u64,
    address_of: impl Fn(usize) -> &'a str,
) -> Vec<u8> {
    let named = |text: &str, life: usize| match text == address_of(life) {
        true => address(life),
        false => text.to_owned(),
    };
    let mut out = Vec::new();
    match ndjson::decode_server(line) {
        Ok(ServerFrame::Relay {
            room: None,
            seq,
            client_ip,
            message,
        }) => {
            let Ok(mut header) = payload::decode(message.as_bytes(), seed, run) else {
                return line.to_vec();
            };
            assert_eq!(header.run, run);
            let from = named(&client_ip, header.sender.0 as usize);
            header.run = RUN;
            let mut text = Vec::new();
            payload::encode(&mut text, SEED, &header, message.len());
            ndjson::encode_relay(&mut out, seq, &from, std::str::from_utf8(&text).unwrap());
        }
        Ok(ServerFrame::Welcome {
            client_ip,
            seq,
            max_line,
            ..
        }) => ndjson::encode_welcome(&mut out, &named(&client_ip, life), seq, max_line),
        Ok(ServerFrame::Ack { id: Some(id), .. }) => {
            let (sender, k) = split_id(id);
            let life = sender.0 as usize;
            assert_eq!(wire_id(Id { life, k }), id);
            return line.to_vec();
        }
        _ => return line.to_vec(),
    }
    assert_eq!(out.pop(), Some(b'\n'));
    out
}

/// A trace of version 1, whose ledger took others for due and asked otherwise, of a server that
/// sends each receiver everything in an order of its own. Where the ledger of then found
/// duplicates, there are none: what is found is what brute force finds in what was observed.
#[test]
fn what_is_found_in_an_old_trace_is_what_brute_force_finds() {
    let trace = include_bytes!("../../../../tests/traces/disordered.trace");
    let (verified, told) = overhear(|| verify(&trace[..]).unwrap());
    assert_eq!(verified.doubts, ["its end was cut off"]);
    let observations = observed(&told, 1_876_771_245, 5);
    let counts = verified.findings.counts;
    assert!(counts.delivered > 7000, "{counts:?}");
    disorder::assert_found(&verified.findings, &observations);
    let brute = oracle::verdict(&observations);
    assert!(brute.contains_key(&Kind::OrderDivergence), "{brute:?}");
}

/// The translation of what is observed is itself one that the checker can be asked of.
#[test]
fn what_a_trace_tells_is_what_was_observed() {
    for seed in 0..20 {
        let mut world = World::talking(seed, 1, 12);
        world.shuffle(&mut rng(seed), 20);
        let (played, trace) = record(&world, seed);
        let (_, told) = overhear(|| replayed(&trace));
        let observations = observed(&told, RUN, SEED);
        let verdicts = [&observations, &played.observations].map(|o| oracle::verdict(o));
        assert_eq!(verdicts[0], verdicts[1], "{seed}");
    }
}

/// What a ledger within these bounds comes to in a run, one comes to that plays the trace of a run
/// with other bounds.
fn assert_played_within(world: &World, seed: u64, bounds: Bounds) {
    let play = Play {
        seed,
        slowly: false,
    };
    let (of_usual, by_usual) = record_play(world, play);
    let (of_small, by_small) = within(bounds, || record_play(world, play));
    for (trace, what) in [(&by_usual, "usual"), (&by_small, "small")] {
        assert_eq!(replayed(trace), of_usual.findings, "of {what} bounds");
        let small = within(bounds, || replayed(trace));
        assert_eq!(small, of_small.findings, "of {what} bounds");
    }
}

/// Bounds of so few that a shuffled world reaches each.
fn small(few: usize) -> Bounds {
    Bounds {
        reorder_window: 8 * few,
        given_up_runs: few,
        early_frames: few,
        records: 8 * few,
        open_anomalies: 8 * few,
        deferred_losses: 8 * few,
        ..Bounds::USUAL
    }
}

/// Else there would be nothing to see below.
#[test]
fn small_bounds_decide_otherwise() {
    let differs = |seed: &u64| {
        let mut world = World::talking(*seed, 2, 12);
        world.shuffle(&mut rng(*seed), 60);
        let play = || {
            let seed = *seed;
            let slowly = false;
            world.play(Play { seed, slowly }).findings
        };
        play() != within(small(1), play)
    };
    assert!((0..20).filter(differs).count() > 5);
}

proptest! {
    #![proptest_config(super::config(60))]

    /// Frames are placed otherwise, and so other lines are due, other highest numbers are known to
    /// other shards, and other findings name other clients.
    #[test]
    fn ledgers_of_other_bounds_play_a_trace(
        seed: u64,
        shards in 1_usize..4,
        places in 1_usize..60,
        few in 1_usize..6,
    ) {
        let mut world = World::talking(seed, shards, 12);
        world.shuffle(&mut rng(seed), places);
        assert_played_within(&world, seed, small(few));
    }

    #[test]
    fn inferred_order_ledgers_of_other_bounds_play_a_trace(
        seed: u64,
        classic: bool,
        places in 1_usize..60,
        few in 1_usize..20,
    ) {
        let mut world = World::talking(seed, 1, 12).judged_by(INFERRED_ORDER);
        world.shuffle(&mut rng(seed), places);
        if classic {
            world = world.in_classic();
        }
        let bounds = Bounds {
            reorder_window: few,
            slots: 4 * few,
            history: few,
            late_deliveries: few,
            past_sessions: few,
            ..Bounds::USUAL
        };
        assert_played_within(&world, seed, bounds);
    }
}
