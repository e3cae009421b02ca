//! The instrument against servers whose latencies are known beforehand: what it reports must be
//! the known answer, within 5 % or 0.5 ms, whichever is larger.
//!
//! Two routes. [`simulated`] drives the pure parts (schedule, recorder, collector) by a virtual
//! clock: no noise, so the closed forms come out to the histogram's three digits. [`live`] drives
//! real sockets and threads, and compares with what the target itself says it did and when, on
//! the same monotonic clock: what happened, and not what was wished for.
//!
//! A machine that starves this test cannot be told from a wrong instrument by the figures alone.
//! So an attempt that disagrees is held against the instrument unless there is independent
//! evidence of starvation (the target's own timers were late or its own account is not the closed
//! form, the shards' heartbeats were late); then it is repeated, a few times, and at last fails as
//! undecided. Nothing but agreement passes.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
mod live;
mod simulated;
mod target;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Runs in real time go one after another, so as not to disturb each other.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A failed test has said so.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Agreement: within 5 % or 0.5 ms, whichever is larger.
pub(crate) fn tolerance_ns(answer_ns: u64) -> u64 {
    (answer_ns / 20).max(500_000)
}

/// The exact percentile (nearest rank) of `samples`, which are sorted.
pub(crate) fn exact(samples: &[u64], percentile: f64) -> u64 {
    let rank = (percentile / 100.0 * samples.len() as f64).ceil() as usize;
    samples[rank.clamp(1, samples.len()) - 1]
}

/// Kolmogorov and Smirnov's √n·D of `gaps` against the exponential distribution with this mean.
/// Over 1.95, chance is ruled out at 1 in 1,000.
pub(crate) fn ks_exponential(gaps: &mut [f64], mean: f64) -> f64 {
    gaps.sort_by(f64::total_cmp);
    let n = gaps.len() as f64;
    let distance = gaps.iter().enumerate().map(|(i, gap)| {
        let expected = 1.0 - (-gap / mean).exp();
        let (below, above) = (i as f64 / n, (i + 1) as f64 / n);
        (expected - below).abs().max((expected - above).abs())
    });
    n.sqrt() * distance.fold(0.0, f64::max)
}
