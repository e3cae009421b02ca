//! How a run is going, for whoever watches.

use std::time::Duration;

use crate::measure::Live;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Clients connect.
    Connect,
    /// Real load, not measured.
    WarmUp,
    /// Load that is measured.
    Measure,
    /// No more load; the rest arrives, and everyone leaves.
    Drain,
}

impl Phase {
    /// The name in lines and before bars.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::WarmUp => "warm-up",
            Self::Measure => "measure",
            Self::Drain => "drain",
        }
    }

    /// Whether it takes a set time, and is not over when all clients have done something.
    #[must_use]
    pub const fn is_timed(self) -> bool {
        matches!(self, Self::WarmUp | Self::Measure)
    }
}

/// How a run is going, for whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it is.
    pub phase: Phase,
    /// Clients connected (or, in the drain, gone).
    pub done: u64,
    /// Of so many.
    pub of: u64,
    /// Connections that are open.
    pub open: u64,
    /// Rooms of the scenario that have names.
    pub rooms: u64,
    /// Memberships in them now.
    pub memberships: u64,
    /// Since the phase began.
    pub elapsed: Duration,
    /// The phase's planned length; the most it may take for the drain.
    pub total: Duration,
    /// Rates and latencies of the last second, totals.
    pub live: Live,
    /// Violations found so far.
    pub violations: u64,
    /// Whether it was asked to end early.
    pub interrupted: bool,
}
