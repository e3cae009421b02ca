//! Arrival schedules: when each message is due, computed, never read off a clock.
//!
//! A [`Profile`] is a rate over time. Its integral Λ(t) counts the messages due by t, so the
//! i-th message of a constant schedule is due at Λ⁻¹(i), and a Poisson process of that rate is
//! a unit-rate one seen through Λ⁻¹. A [`Schedule`] is one client's share of the group's.

use super::plan::Arrival;

/// A group's rate over time: linear pieces, then silence.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pieces: Vec<Piece>,
}

/// One linear piece.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// When it begins, ns since the load began.
    pub start_ns: u64,
    /// When it ends, ns since the load began.
    pub end_ns: u64,
    /// Messages a second at its start.
    pub from_rate: f64,
    /// Messages a second at its end.
    pub to_rate: f64,
}

/// When one client's messages are due, in ns since the load began, ascending.
#[derive(Debug, Clone)]
pub struct Schedule {
    _private: (),
}

impl Schedule {
    /// Client `client` of `clients`: its share of the group's `profile`, drawn from `seed`.
    #[must_use]
    pub fn new(
        _profile: std::sync::Arc<Profile>,
        _arrival: Arrival,
        _seed: u64,
        _client: u32,
        _clients: u32,
    ) -> Self {
        unimplemented!("scenario room")
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        unimplemented!("scenario room")
    }
}
