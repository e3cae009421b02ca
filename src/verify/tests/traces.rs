//! A history that is recorded and told again comes to the same findings; a file that is not what
//! was recorded is never believed. (That every fault of the catalogue survives its trace is
//! checked with the faults.)

use std::fs;

use proptest::prelude::*;

use super::world::{Play, Played, World};
use crate::verify::trace::file::Recording;
use crate::verify::trace::{TraceError, Verified, verify};

/// Plays a world and records it: what was found, and the trace.
pub(super) fn record(world: &World, seed: u64) -> (Played, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("world.trace");
    let recording = Recording::create(&path, false).unwrap();
    let played = world.play_recorded(seed, &recording);
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
    let mut behind = trace.clone();
    behind.extend_from_slice(block(1));
    assert!(error_of(&behind).contains("behind the trailer"));
    let mut headless = trace[..at[0]].to_vec();
    headless.extend_from_slice(&trace[at[1]..]);
    assert!(error_of(&headless).contains("where the header belongs"));
}

#[test]
fn a_trace_of_a_later_version_and_what_is_none_say_so() {
    assert!(error_of(b"chatbench-trace 2\n").starts_with("a trace of version 2"));
    for none in [
        &b"chatbench-trace\n"[..],
        b"chatbench-trace x\n",
        b"PK",
        b"",
    ] {
        assert!(error_of(none).starts_with("this is no trace"));
    }
}

proptest! {
    #![proptest_config(super::config(200))]

    #[test]
    fn a_replay_finds_the_same(seed: u64, play: u64, shards in 1_usize..4) {
        let world = World::new(seed, shards);
        let unrecorded = world.play(Play { seed: play, slowly: false });
        let (recorded, trace) = record(&world, play);
        prop_assert_eq!(&recorded.findings, &unrecorded.findings);
        for _ in 0..2 {
            let Verified { findings, doubts, .. } = verify(&trace[..]).unwrap();
            prop_assert_eq!(&findings, &recorded.findings);
            prop_assert_eq!(doubts, Vec::<String>::new());
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
            Ok(verified) => prop_assert_eq!(verified.doubts.len(), 1),
        }
    }
}
