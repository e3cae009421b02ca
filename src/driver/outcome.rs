//! What a run hands to the report.

use std::time::{Duration, Instant, SystemTime};

use crate::measure::Measured;
use crate::measure::health::Health;
use crate::verify::findings::Findings;

/// Everything a run saw, before it is judged against thresholds and put into words.
#[derive(Debug)]
pub struct Outcome {
    /// When the run began, by the wall clock.
    pub started: SystemTime,
    /// The zero of every time in ns, by the monotonic clock.
    pub epoch: Instant,
    /// From the first connection to the end of the drain.
    pub elapsed: Duration,
    /// The address that was driven, `ndjson://127.0.0.1:40123`.
    pub target_url: String,
    /// Whether the target was the embedded server.
    pub embedded: bool,
    /// Clients the plan has, observers included.
    pub clients: u64,
    /// How many of them got their first welcome.
    pub connected: u64,
    /// Whether the run was ended by Ctrl-C.
    pub interrupted: bool,
    /// What verification found.
    pub findings: Findings,
    /// What was measured.
    pub measured: Measured,
    /// The driver's own process.
    pub generator: ProcessUse,
    /// How the driver did: whether it, and not the target, set the numbers.
    pub health: Health,
    /// The embedded server's process.
    pub server: Option<ProcessUse>,
    /// What the embedded server said that it did wrong on purpose, a line a fault.
    pub faults: Vec<String>,
    /// Why nothing can be said, in words: target gone, drain unfinished.
    pub inconclusive: Vec<String>,
}

/// What a process used, from the start to the end of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessUse {
    /// CPU time, user and system.
    pub cpu: Duration,
    /// Peak resident memory, bytes.
    pub max_rss_bytes: u64,
}
