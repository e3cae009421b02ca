//! Arrival schedules: when each message is due, computed, never read off a clock.
//!
//! A [`Profile`] is a rate over time. Its integral Λ(t) counts the messages due by t, so the
//! i-th message of a constant schedule (i from 0) is due at Λ⁻¹(i), the moment at which Λ passes
//! i, and a Poisson process of that rate is a unit-rate one seen through Λ⁻¹ (the time-change
//! theorem). A [`Schedule`] is one client's share of the group's:
//!
//! - constant: client c of n takes the messages c, c+n, c+2n, … The union over the clients is the
//!   group's schedule, whatever thread runs which client.
//! - Poisson: each client is an independent process of 1/n of the rate; superposed they are the
//!   group's process.
//!
//! Each due time is computed from its index and not from the one before it, so nothing drifts:
//! after ten hours at 100,000 per second a due time is off by less than a nanosecond's rounding.

use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::plan::Arrival;

const NS_PER_S: f64 = 1e9;

/// A group's rate over time: linear pieces, then silence.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pieces: Vec<Piece>,
    /// Λ at the end of each piece.
    due_by_end: Vec<f64>,
}

/// One linear piece.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// When it begins, ns since the load began.
    pub start_ns: u64,
    /// When it ends, ns since the load began.
    pub end_ns: u64,
    /// Messages per second at its start.
    pub from_rate: f64,
    /// Messages per second at its end.
    pub to_rate: f64,
}

/// One stage as a scenario writes it: from the previous rate to this one, linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// How long the change takes; zero is a jump.
    pub duration: Duration,
    /// The rate at its end, messages per second.
    pub rate: f64,
}

impl Piece {
    fn seconds(&self) -> f64 {
        (self.end_ns - self.start_ns) as f64 / NS_PER_S
    }

    /// Messages due in the whole piece: the area of a trapezium.
    fn messages(&self) -> f64 {
        (self.from_rate + self.to_rate) / 2.0 * self.seconds()
    }

    fn rate_at(&self, t_ns: u64) -> f64 {
        let share = (t_ns - self.start_ns) as f64 / (self.end_ns - self.start_ns) as f64;
        self.from_rate + (self.to_rate - self.from_rate) * share
    }

    /// When the piece has made `messages` due, fewer than all of its own.
    ///
    /// Solves from·s + slope·s²/2 = messages for s, by the form of the quadratic formula that
    /// neither cancels nor divides by a slope of zero; with no slope it is messages / from, to
    /// the last bit.
    fn due_ns(&self, messages: f64) -> u64 {
        let slope = (self.to_rate - self.from_rate) / self.seconds();
        let root = (self.from_rate * self.from_rate + 2.0 * slope * messages)
            .max(0.0)
            .sqrt();
        let seconds = if messages > 0.0 {
            2.0 * messages / (self.from_rate + root)
        } else {
            0.0
        };
        let due_ns = self.start_ns + (seconds * NS_PER_S).round() as u64;
        due_ns.min(self.end_ns - 1)
    }
}

impl Profile {
    /// One rate from the start of the load to `end_ns`.
    #[must_use]
    pub fn constant(rate: f64, end_ns: u64) -> Self {
        Self::new(vec![Piece {
            start_ns: 0,
            end_ns,
            from_rate: rate,
            to_rate: rate,
        }])
    }

    /// Silence until `start_ns`, then the stages, the first of which starts from a rate of 0,
    /// then the last rate until `end_ns`. What would go on past `end_ns` is cut there.
    #[must_use]
    pub fn stages(start_ns: u64, stages: &[Stage], end_ns: u64) -> Self {
        let mut pieces = Vec::with_capacity(stages.len() + 1);
        let (mut at_ns, mut rate) = (start_ns, 0.0);
        for stage in stages {
            let piece = Piece {
                start_ns: at_ns,
                end_ns: at_ns.saturating_add(stage.duration.as_nanos() as u64),
                from_rate: rate,
                to_rate: stage.rate,
            };
            pieces.push(piece);
            (at_ns, rate) = (piece.end_ns, stage.rate);
        }
        pieces.push(Piece {
            start_ns: at_ns,
            end_ns: end_ns.max(at_ns),
            from_rate: rate,
            to_rate: rate,
        });
        pieces.retain(|piece| piece.start_ns < piece.end_ns.min(end_ns));
        for piece in &mut pieces {
            if piece.end_ns > end_ns {
                (piece.to_rate, piece.end_ns) = (piece.rate_at(end_ns), end_ns);
            }
        }
        Self::new(pieces)
    }

    /// Pieces in the order of time, none empty, none overlapping.
    fn new(pieces: Vec<Piece>) -> Self {
        assert!(pieces.iter().all(|p| p.start_ns < p.end_ns));
        assert!(pieces.windows(2).all(|p| p[0].end_ns <= p[1].start_ns));
        let due_by_end = pieces
            .iter()
            .scan(0.0, |due, piece| {
                *due = without_noise(*due + piece.messages());
                Some(*due)
            })
            .collect();
        Self { pieces, due_by_end }
    }

    /// Its pieces, in the order of time.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Λ(end): messages due in all. A constant schedule sends ⌈Λ⌉ of them, a Poisson one so many
    /// on average.
    #[must_use]
    pub fn messages(&self) -> f64 {
        self.due_by_end.last().copied().unwrap_or(0.0)
    }

    /// Λ(t): messages due by `t_ns`.
    #[must_use]
    pub fn due_by(&self, t_ns: u64) -> f64 {
        let mut before = 0.0;
        for (piece, &after) in self.pieces.iter().zip(&self.due_by_end) {
            if t_ns <= piece.start_ns {
                return before;
            }
            if t_ns < piece.end_ns {
                let so_far = Piece {
                    end_ns: t_ns,
                    to_rate: piece.rate_at(t_ns),
                    ..*piece
                };
                return before + so_far.messages();
            }
            before = after;
        }
        before
    }

    /// The rate at `t_ns`, messages per second; at a jump, the rate from there on.
    #[must_use]
    pub fn rate_at(&self, t_ns: u64) -> f64 {
        let at = self.pieces.partition_point(|piece| piece.end_ns <= t_ns);
        self.pieces
            .get(at)
            .filter(|piece| piece.start_ns <= t_ns)
            .map_or(0.0, |piece| piece.rate_at(t_ns))
    }

    /// Λ⁻¹: the moment at which Λ passes `messages`; `None` if it never does.
    ///
    /// "Passes", not "reaches": where Λ is flat (silence) the message belongs to the end of the
    /// silence, so message 0 of a ramp is due when the ramp begins. `piece` remembers where the
    /// last search ended, for callers whose `messages` ascend.
    fn due_ns(&self, messages: f64, piece: &mut usize) -> Option<u64> {
        while messages >= *self.due_by_end.get(*piece)? {
            *piece += 1;
        }
        let before = piece.checked_sub(1).map_or(0.0, |p| self.due_by_end[p]);
        Some(self.pieces[*piece].due_ns(messages - before))
    }
}

/// When one client's messages are due, in ns since the load began, ascending.
#[derive(Debug, Clone)]
pub struct Schedule {
    profile: Arc<Profile>,
    piece: usize,
    arrivals: Arrivals,
}

#[derive(Debug, Clone)]
enum Arrivals {
    Constant { next: u64, clients: u64 },
    Poisson { due: f64, clients: f64, rng: Pcg64 },
}

impl Schedule {
    /// Client `client` of `clients`: its share of the group's `profile`, drawn from `seed`, which
    /// is to be the group's own ([`Plan::group_seed`](super::plan::Plan::group_seed)), so that
    /// two groups do not send in step.
    ///
    /// # Panics
    /// If `client` is not below `clients`.
    #[must_use]
    pub fn new(
        profile: Arc<Profile>,
        arrival: Arrival,
        seed: u64,
        client: u32,
        clients: u32,
    ) -> Self {
        assert!(client < clients, "client {client} of {clients}");
        let arrivals = match arrival {
            Arrival::Constant => Arrivals::Constant {
                next: u64::from(client),
                clients: u64::from(clients),
            },
            Arrival::Poisson => Arrivals::Poisson {
                due: 0.0,
                clients: f64::from(clients),
                rng: Pcg64::seed_from_u64(derive_seed(seed, u64::from(client))),
            },
        };
        Self {
            profile,
            piece: 0,
            arrivals,
        }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let messages = match &mut self.arrivals {
            Arrivals::Constant { next, clients } => {
                let message = *next;
                *next += *clients;
                message as f64
            }
            Arrivals::Poisson { due, clients, rng } => {
                *due += unit_exponential(rng) * *clients;
                *due
            }
        };
        self.profile.due_ns(messages, &mut self.piece)
    }
}

/// A whole number where `messages` is one but for the last bits: 1.1 per second for 50 s are 55
/// messages and not 55.00000000000001, which would send a 56th.
fn without_noise(messages: f64) -> f64 {
    let whole = messages.round();
    if (messages - whole).abs() <= 4.0 * f64::EPSILON * whole {
        whole
    } else {
        messages
    }
}

/// A gap of the unit-rate Poisson process, by inversion. `random` is in [0, 1), so the logarithm's
/// argument is never 0.
fn unit_exponential(rng: &mut Pcg64) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}

/// A seed of its own for part `salt` of what `seed` governs: SplitMix64's finaliser (Steele, Lea,
/// Flood 2014) over both, so that neighbouring seeds and neighbouring parts have nothing in common.
#[must_use]
pub fn derive_seed(seed: u64, salt: u64) -> u64 {
    let mix = |mut z: u64| {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    mix(mix(seed) ^ salt)
}

#[cfg(test)]
mod tests;
