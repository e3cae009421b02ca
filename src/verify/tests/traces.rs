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

fn error_of(trace: &[u8]) -> TraceError {
    match verify(trace) {
        Err(error) => error,
        Ok(verified) => panic!("it was verified: {verified:#?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

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
