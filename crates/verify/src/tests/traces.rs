//! A history that is recorded and told again comes to the same findings; a file that is not what
//! was recorded is never believed. (That every fault of the catalogue survives its trace is
//! checked with the faults.)

use std::fs;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;

use super::agreement::afflict;
use super::bugs::BUGS;
use super::conns;
use super::fault_table::INFERRED_ORDER;
use super::guards::{Bench, ack, relay};
use super::liberties;
use super::world::{Play, Played, World, address, rng, terms};
use crate::directory::ClientId;
use crate::findings::Findings;
use crate::ids::MAX_SESSIONS;
use crate::kind::Kind;
use crate::ledger::{Ending, Terms};
use crate::trace::file::Recording;
use crate::trace::tag::Tag;
use crate::trace::tape::Writing;
use crate::trace::{self, TraceError, Verified, verify};
use chatbench_wire::ndjson;
use chatbench_wire::seen::{Relay, Seen};

/// Of version 1.
const FORMER_PASS: &[u8] = include_bytes!("../../../../tests/traces/pass.trace");
const FORMER_FAIL: &[u8] = include_bytes!("../../../../tests/traces/fail.trace");

/// Plays a world and records it: what was found, and the trace.
pub(super) fn record(world: &World, seed: u64) -> (Played, Vec<u8>) {
    record_play(
        world,
        Play {
            seed,
            slowly: false,
        },
    )
}

/// The same, as `play` says.
pub(super) fn record_play(world: &World, play: Play) -> (Played, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("world.trace");
    let recording = Recording::create(&path, false).unwrap();
    let played = world.play_recorded(play, &recording);
    let bytes = recording.finish(Vec::new()).unwrap();
    let trace = fs::read(path).unwrap();
    assert_eq!(trace.len() as u64, bytes);
    (played, trace)
}

fn a_trace() -> Vec<u8> {
    record(&World::new(7, 2), 7).1
}

fn error_of(trace: &[u8]) -> String {
    match verify(trace) {
        Err(error) => error.to_string(),
        Ok(verified) => panic!("it was verified: {verified:#?}"),
    }
}

/// Where each block begins, and the end.
fn blocks(trace: &[u8]) -> Vec<usize> {
    let mut at = trace.iter().position(|&b| b == b'\n').unwrap() + 1;
    let mut blocks = vec![at];
    while at < trace.len() {
        let stored = &trace[at + 6..at + 10];
        at += 14 + u32::from_le_bytes(stored.try_into().unwrap()) as usize;
        blocks.push(at);
    }
    blocks
}

#[test]
fn a_block_or_a_line_too_long_to_be_one_is_not_read() {
    let mut trace = a_trace();
    let at = blocks(&trace)[1];
    for field in [2, 6] {
        let kept = trace.clone();
        trace[at + field..at + field + 4].copy_from_slice(&((64_u32 << 20) + 1).to_le_bytes());
        let error = error_of(&trace);
        assert!(error.contains("the length of a block cannot be"), "{error}");
        trace = kept;
    }
    let mut observed = b"{".to_vec();
    observed.resize((1 << 20) + 1, b' ');
    let error = error_of(&observed);
    assert_eq!(error, "line 1: longer than 1048576 bytes");
}

#[test]
fn blocks_that_are_missing_doubled_or_misplaced_are_noticed() {
    let trace = a_trace();
    let at = blocks(&trace);
    let count = at.len() - 1;
    assert!(count >= 4, "header, shards, judge, trailer");
    let block = |i: usize| &trace[at[i]..at[i + 1]];
    for victim in 1..count - 1 {
        let mut without = trace[..at[victim]].to_vec();
        without.extend_from_slice(&trace[at[victim + 1]..]);
        let error = error_of(&without);
        assert!(error.contains("missing"), "{error}");
        let mut twice = trace[..at[victim + 1]].to_vec();
        twice.extend_from_slice(block(victim));
        twice.extend_from_slice(&trace[at[victim + 1]..]);
        error_of(&twice);
    }
    let mut after = trace.clone();
    after.extend_from_slice(block(1));
    assert!(error_of(&after).contains("after the trailer"));
    let mut headless = trace[..at[0]].to_vec();
    headless.extend_from_slice(&trace[at[1]..]);
    assert!(error_of(&headless).contains("where the header belongs"));
}

/// Its run was killed, or its disk was full: what was certain by then stands.
#[test]
fn a_trace_that_ends_between_two_blocks_says_so() {
    let trace = a_trace();
    let at = blocks(&trace);
    for &end in &at[..at.len() - 1] {
        let verified = verify(&trace[..end]).unwrap();
        let why = "the trace ends before its run did: it was killed, or its disk was full";
        assert_eq!(verified.doubts, [why], "{end}");
        assert_eq!(verified.findings.violation_count(), 0);
    }
}

/// It says itself what was promised.
#[test]
fn a_recorded_trace_takes_no_other_promises() {
    let trace = a_trace();
    let against = trace::verify_against(&trace[..], Some(INFERRED_ORDER));
    assert!(matches!(against, Err(TraceError::Promised)));
    assert!(trace::verify_against(&trace[..], None).is_ok());
}

#[test]
fn a_trace_of_a_later_version_and_what_is_none_say_so() {
    assert!(error_of(b"chatbench-trace 4\n").starts_with("a trace of version 4, where"));
    let unreleased = error_of(b"chatbench-trace 2\n");
    assert!(unreleased.starts_with("a trace of version 2, which no release"));
    for none in [
        &b"chatbench-trace\n"[..],
        b"chatbench-trace x\n",
        b"PK",
        b"",
    ] {
        assert!(error_of(none).starts_with("this is no trace"));
    }
}

/// By the numbers, by inferred order, and of a classic stream, which is recorded in pieces.
#[test]
fn each_bug_is_found_again_in_its_trace() {
    for (bug, (name, _)) in BUGS.iter().enumerate() {
        for seed in 0..3 {
            let outside = || World::new(seed, 1).judged_by(INFERRED_ORDER);
            for mut world in [World::new(seed, 2), outside(), outside().in_classic()] {
                afflict(&mut world, seed, &[bug]);
                let unrecorded = world.play(Play {
                    seed,
                    slowly: false,
                });
                let (recorded, trace) = record(&world, seed);
                assert_eq!(recorded.findings, unrecorded.findings, "{name}, {seed}");
                let replayed = verify(&trace[..]).unwrap();
                assert_eq!(replayed.findings, recorded.findings, "{name}, {seed}");
                assert_eq!(replayed.doubts, [""; 0], "{name}, {seed}");
            }
        }
    }
}

/// A trace made by hand: what the shard's stream holds, and the judge's, in blocks.
fn forged(shard: impl Fn(&mut Writing), judge: &[fn(&mut Writing)]) -> Vec<u8> {
    forged_as(&header(terms()), |_, tape| shard(tape), judge)
}

fn forged_as(
    header: &trace::Header,
    shard: impl Fn(u64, &mut Writing),
    judge: &[fn(&mut Writing)],
) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("forged.trace");
    let recording = Recording::create(&path, false).unwrap();
    recording.begin(header);
    for number in 0..header.shards {
        shard(number.into(), &mut recording.shard(number.into()));
    }
    for block in judge {
        block(&mut recording.judge());
    }
    recording.finish(Vec::new()).unwrap();
    fs::read(path).unwrap()
}

/// After all that shards tell.
fn absorb(tape: &mut Writing) {
    tape.counted(10_000);
    tape.event(Tag::Absorb).number(0);
}

/// One that connects, is given a session, and begins to read.
fn reading(tape: &mut Writing) {
    tape.event(Tag::Connecting).number(0).number(1);
    tape.of_session(Tag::Connected, 0).bytes(b"127.0.0.1:9");
    tape.of_session(Tag::Read, 0).time(5);
}

/// It gets a relay that its ledger keeps.
fn kept(tape: &mut Writing, frame: &[u8]) {
    let relay = Relay {
        frame,
        text: frame.into(),
        from: "".into(),
        seq: 1,
    };
    tape.keeps();
    tape.saw(0, 5, &Seen::Relay(relay), None);
}

/// Where each is, and what it is.
#[test]
fn a_story_that_cannot_be_is_not_believed() {
    type Story = fn(&mut Writing);
    let stories: [(Story, usize, &str); 12] = [
        (
            |tape| {
                tape.number(99);
            },
            1,
            "an event of an unknown kind",
        ),
        (
            |tape| {
                tape.event(Tag::Absorb).number(0);
            },
            2,
            "a session that is not there",
        ),
        (
            |tape| {
                tape.event(Tag::Leaving).number(0);
            },
            2,
            "a session that is not there",
        ),
        (
            |tape| {
                reading(tape);
                tape.event(Tag::Matched).number(1);
            },
            22,
            "a frame that this shard does not know",
        ),
        (
            |tape| {
                reading(tape);
                kept(tape, b"one\n");
                tape.event(Tag::FramesFrom).number(1);
                tape.event(Tag::SawAgain).number(1);
            },
            0,
            "a frame that this shard does not know",
        ),
        (
            |tape| {
                reading(tape);
                tape.event(Tag::SawKept).number(7);
            },
            22,
            "a frame to be kept that is no relay",
        ),
        (
            |tape| {
                reading(tape);
                tape.event(Tag::Saw).number(99);
            },
            22,
            "a field that is not there, or cannot be",
        ),
        (
            |tape| {
                reading(tape);
                tape.event(Tag::Matched).number(1 << 21);
            },
            25,
            "more frames than a read has",
        ),
        (
            |tape| {
                tape.event(Tag::ReadDone).number(0);
            },
            1,
            "a frame outside a read",
        ),
        (
            |tape| {
                tape.event(Tag::Since).number(u64::MAX);
            },
            11,
            "too many events",
        ),
        (
            |tape| {
                for _ in 0..5000 {
                    tape.event(Tag::TakeBatch);
                }
            },
            4097,
            "more batches than wait for a judge",
        ),
        (
            |tape| {
                let huge = [b'x'; 1 << 20];
                reading(tape);
                for _ in 0..200 {
                    kept(tape, &huge);
                    tape.read_done(false);
                }
            },
            0,
            "more frames than a shard holds",
        ),
    ];
    for (story, within, what) in stories {
        let trace = forged(story, &[absorb]);
        let begins = blocks(&trace)[1];
        let error = error_of(&trace);
        if within == 0 {
            assert!(error.ends_with(what), "{error}"); // in a later block
            continue;
        }
        let expected =
            format!("out of order in the block at byte {begins}, {within} bytes into it: {what}");
        assert_eq!(error, expected);
    }
}

/// What a shard hands over, and what the judge takes.
#[test]
fn a_judge_that_was_told_otherwise_is_not_believed() {
    type Judge = fn(&mut Writing);
    fn another(tape: &mut Writing) {
        tape.event(Tag::Absorb).number(1);
    }
    fn no_judge(tape: &mut Writing) {
        tape.event(Tag::TakeBatch);
    }
    let wrong: [(Judge, &str); 4] = [
        (absorb, "a batch that its shard never gave"),
        (another, "a batch of a shard that is not there"),
        (no_judge, "an event that is no judge's"),
        (|_| (), "the judge's stream ends without its last word"),
    ];
    for (judge, what) in wrong {
        let error = error_of(&forged(|_| (), &[judge]));
        assert!(error.ends_with(what), "{error}");
    }
}

/// Ledgers rely on both: the `id` of a publish has so many bits for a session, and no two are the
/// same.
#[test]
fn a_session_number_that_is_too_high_or_was_given_out_is_not_believed() {
    let too_high = u64::from(MAX_SESSIONS) + 1;
    for steps in [&[too_high][..], &[u64::MAX], &[5, u64::MAX]] {
        let connect = |tape: &mut Writing| {
            for &step in steps {
                tape.event(Tag::Connecting).number(0).number(step);
            }
        };
        let error = error_of(&forged(connect, &[absorb]));
        assert!(error.contains("a session number that"), "{error}");
        assert!(error.ends_with("too high"), "{steps:?}: {error}");
    }
    let mut header = header(terms());
    header.shards = 2;
    let twice = forged_as(
        &header,
        |shard, tape| {
            tape.counted(1 + shard);
            tape.event(Tag::Connecting).number(0).number(6);
        },
        &[absorb],
    );
    let error = error_of(&twice);
    assert!(
        error.contains("a session number that was given out before"),
        "{error}"
    );
}

#[test]
fn a_header_with_more_shards_than_there_can_be_is_not_believed() {
    let header = trace::Header {
        shards: u16::MAX,
        ..header(terms())
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("header.trace");
    let recording = Recording::create(&path, false).unwrap();
    recording.begin(&header);
    recording.finish(Vec::new()).unwrap();
    let error = error_of(&fs::read(path).unwrap());
    let what = "a header with more shards than there can be";
    assert!(error.ends_with(what), "{error}");
}

/// Whether it is in the same block or in one of its own.
#[test]
fn nothing_comes_after_the_judges_last_word() {
    fn finish(tape: &mut Writing) {
        tape.event(Tag::Finish).number(0);
    }
    fn late(tape: &mut Writing) {
        tape.counted(100);
        tape.event(Tag::TakeBatch);
    }
    fn finish_twice(tape: &mut Writing) {
        finish(tape);
        finish(tape);
    }
    let behind = "observations after the judge's last word";
    assert!(error_of(&forged(|_| (), &[finish_twice])).ends_with(behind));
    assert!(error_of(&forged(|_| (), &[finish, finish])).ends_with(behind));
    assert!(error_of(&forged(late, &[finish])).ends_with(behind));
    assert!(verify(&forged(|_| (), &[finish])[..]).is_ok());
}

/// Its checksum is right, and its length is not.
#[test]
fn a_block_that_is_longer_or_shorter_than_it_says_is_damaged() {
    let trace = a_trace();
    let (at, end) = (blocks(&trace)[1], blocks(&trace)[2]);
    let len = u32::from_le_bytes(trace[at + 2..at + 6].try_into().unwrap());
    for wrong in [len - 1, len + 1] {
        let mut trace = trace.clone();
        trace[at + 2..at + 6].copy_from_slice(&wrong.to_le_bytes());
        let mut sum = crc32fast::Hasher::new();
        sum.update(&trace[at..at + 10]);
        sum.update(&trace[at + 14..end]);
        let sum = sum.finalize().to_le_bytes();
        trace[at + 10..at + 14].copy_from_slice(&sum);
        let error = error_of(&trace);
        assert!(
            error.contains("does not decompress to its length"),
            "{error}"
        );
    }
}

fn header(terms: Terms) -> trace::Header {
    trace::Header {
        rooms: Vec::new(),
        scenario: "by hand".to_owned(),
        target: "itself".to_owned(),
        terms,
        shards: 1,
        clients: (0..100).map(|i| format!("c{i}")).collect(),
    }
}

/// What is found where a script does all that one can do, and the trace of it.
fn scripted(terms: Terms) -> (Findings, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script.trace");
    let recording = Recording::create(&path, false).unwrap();
    recording.begin(&header(terms));
    let mut bench = Bench::new(1, terms);
    bench.ledgers[0].record_on(recording.shard(0));
    bench.judge.record_on(recording.judge());

    let [writer, listener, slow, glued] = [0, 1, 2, 3].map(|i| bench.join(0, i, 0));
    let ledger = &mut bench.ledgers[0];
    let unwelcome = ledger.connecting(ClientId(4)).unwrap();
    ledger.connected(unwelcome, address(4).parse().unwrap());
    ledger.no_welcome(unwelcome, 5);
    ledger.letting_go(unwelcome);
    ledger.ended(unwelcome, Ending::Ours, b"", 6);

    // A text of a script's own, relayed; and a message that its half a line made none of.
    ledger.sending_raw(writer, &conns::raw(b"{\"message\":\"hello\"}\n"));
    let mut line = Vec::new();
    ndjson::encode_relay(&mut line, 1, &address(0), "hello");
    let mut acked = Vec::new();
    ndjson::encode_ack(&mut acked, 1, None);
    bench.read(0, writer, &acked);
    bench.read(0, listener, &line);
    bench.publish_after_raw(glued, b"{\"mess");
    let ledger = &mut bench.ledgers[0];
    ledger.letting_go(glued);
    ledger.ended(glued, Ending::Ours, b"", 8);

    // The first of these is acked too late for a script that waits.
    for last in [false, true] {
        bench.ledgers[0].sending(writer, 0, 0, last).unwrap();
    }
    bench.ledgers[0].overdue_acks(writer, "1s", 9);
    bench.ledgers[0].missing_error(writer, "malformed", "2s", 9);
    bench.ledgers[0].missing_answer(writer, "pong", "2s", "ping", 9);
    for (seq, k) in [(2, 1), (3, 2)] {
        bench.read(0, writer, &ack(seq, 0, k));
        bench.read(0, listener, &relay(seq, 0, k));
    }
    bench.ledgers[0].stops_reading(slow);
    let mut cut_off = Vec::new();
    ndjson::encode_error(&mut cut_off, "slow-consumer", "too far behind", None);
    bench.read(0, slow, &cut_off);
    bench.ledgers[0].ended(slow, Ending::Eof, b"", bench.now_ns);
    bench.leave(0, writer, 3);
    bench.leave(0, listener, 3);
    let findings = bench.finish();
    recording.finish(Vec::new()).unwrap();
    (findings, fs::read(path).unwrap())
}

/// All that a driver tells a ledger decides something here, so a trace without it would differ.
#[test]
fn what_a_script_does_is_in_the_trace() {
    let outside = Terms {
        promises: INFERRED_ORDER,
        ..terms()
    };
    for terms in [terms(), outside] {
        let (findings, trace) = scripted(terms);
        let found: Vec<Kind> = findings.violations.keys().copied().collect();
        let mut expected = [
            Kind::MissingWelcome,
            Kind::MissingAck,
            Kind::MissingError,
            Kind::MissingAnswer,
        ];
        expected.sort();
        assert_eq!(found, expected, "{:#?}", findings.violations);
        assert_eq!(findings.undecided, [""; 0]);
        let replayed = verify(&trace[..]).unwrap();
        assert_eq!(replayed.findings, findings);
        assert_eq!(replayed.doubts, [""; 0]);
    }
}

/// The trace with some bytes of its events changed, and right checksums.
fn rewritten(trace: &[u8], changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let at = blocks(trace);
    let mut contents: Vec<Vec<u8>> = Vec::new();
    for block in at.windows(2) {
        let mut content = Vec::new();
        let stored = &trace[block[0] + 14..block[1]];
        DeflateDecoder::new(stored)
            .read_to_end(&mut content)
            .unwrap();
        contents.push(content);
    }
    // But for the header and the trailer.
    let events = 1..contents.len() - 1;
    for (index, byte) in changes {
        let block = events.start + index.index(events.len());
        let content = &mut contents[block];
        let at = index.index(content.len());
        content[at] = *byte;
    }
    let mut out = trace[..at[0]].to_vec();
    for (content, begins) in contents.iter().zip(&at) {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        let stored = encoder.finish().unwrap();
        let mut head = trace[*begins..begins + 2].to_vec();
        head.extend((content.len() as u32).to_le_bytes());
        head.extend((stored.len() as u32).to_le_bytes());
        let mut sum = crc32fast::Hasher::new();
        sum.update(&head);
        sum.update(&stored);
        head.extend(sum.finalize().to_le_bytes());
        out.extend(head);
        out.extend(stored);
    }
    out
}

fn assert_replayed(world: &World, play: u64) {
    let unrecorded = world.play(Play {
        seed: play,
        slowly: false,
    });
    let (recorded, trace) = record(world, play);
    assert_eq!(recorded.findings, unrecorded.findings);
    for _ in 0..2 {
        let Verified {
            findings, doubts, ..
        } = verify(&trace[..]).unwrap();
        assert_eq!(findings, recorded.findings);
        assert_eq!(doubts, [""; 0]);
    }
}

proptest! {
    #![proptest_config(super::config(200))]

    #[test]
    fn a_replay_finds_the_same(seed: u64, play: u64, shards in 1_usize..4) {
        assert_replayed(&World::new(seed, shards), play);
    }

    #[test]
    fn whatever_is_promised_a_replay_finds_the_same(seed: u64, play: u64, classic: bool) {
        let promises = liberties::promises(&mut rng(seed));
        assert_replayed(&World::at_liberty(seed, promises, classic), play);
    }

    /// Events that cannot be are an error, or another story, whatever wrote them.
    #[test]
    fn no_event_panics(
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..4),
        seed in 0_u64..8,
    ) {
        let numbered = World::talking(seed, 2, 8);
        let outside = || World::talking(seed, 1, 8).judged_by(INFERRED_ORDER);
        for world in [numbered, outside(), outside().in_classic()] {
            let _ = verify(&rewritten(&record(&world, seed).1, &changes)[..]);
        }
        for former in [FORMER_PASS, FORMER_FAIL] {
            let _ = verify(&rewritten(former, &changes)[..]);
        }
    }

    /// Every single changed bit is noticed.
    #[test]
    fn a_flipped_bit_is_an_error(at: prop::sample::Index, bit in 0..8) {
        let mut trace = a_trace();
        let at = at.index(trace.len());
        trace[at] ^= 1_u8 << bit;
        prop_assert!(verify(&trace[..]).is_err(), "byte {}", at);
    }

    /// Cut anywhere, a trace never passes: inside a block it is an error, between blocks it is a
    /// trace whose run was killed.
    #[test]
    fn a_cut_trace_never_passes(at: prop::sample::Index) {
        let trace = a_trace();
        let at = at.index(trace.len());
        match verify(&trace[..at]) {
            Err(TraceError::CutOff { at: begins }) => prop_assert!(begins < at as u64),
            Err(TraceError::NotATrace) => prop_assert!(at < 19),
            Err(other) => prop_assert!(false, "{}", other),
            Ok(verified) => {
                prop_assert_eq!(verified.doubts.len(), 1);
                let why = "the trace ends before its run did";
                prop_assert!(verified.doubts[0].starts_with(why), "{:?}", verified.doubts);
            }
        }
    }
}
