//! Whom the publishers wait for: whether a reader that is behind keeps going.
//!
//! Every message in is as many messages out as there are readers, so a publisher can always send
//! faster than readers can take it. The server then stops reading from publishers, and their TCP
//! windows do the rest. But it must not wait for a reader that has stopped. A [`Pace`] is what is
//! remembered of one reader, and [`Pace::standing`] says what that entitles it to:
//!
//! - Behind by no more than [`Limits::slack_bytes`]: nobody waits, nothing is lost.
//! - *Brisk*, and behind by more: publishers go on at half the speed at which it reads. So whoever
//!   catches up does catch up, and does not bring the others to a halt meanwhile.
//! - *Steady*, and behind by more: nobody waits, but the log keeps what it needs. Where that
//!   would take more than the log holds, publishers wait.
//! - Neither: it is *given up*. The log keeps what it needs for as long as there is room, then
//!   the reader is cut off as a slow consumer.
//!
//! So a reader that takes [`STEADY_BYTES`] in every [`PATIENCE`] is never cut off, and one that
//! stops delays publishers for [`PATIENCE`] at most. Clients that come, stop and are cut off one
//! after the other must not add up to a standstill: each that is cut off halves the patience with
//! the next ([`Patience`]).
//!
//! Everything here is a function of offsets and times that come in as arguments.

use std::time::Duration;

/// Bytes that a reader may be behind without anyone waiting for it. Beyond it a sender would wait
/// noticeably for its acks: 1 MiB is 5 ms of a client that reads 200 MB/s.
pub const SLACK_BYTES: u64 = 1024 * 1024;

/// How long a reader may take for [`STEADY_BYTES`] before it is given up.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The same after others were cut off lately, at the least.
pub const LEAST_PATIENCE: Duration = Duration::from_millis(50);

/// How long after a client was cut off there is less patience with the next: half as much for each.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// What a reader that is behind takes in every [`PATIENCE`] or is given up. Less than what one
/// segment on a loopback interface carries (64 KiB), since a reader that is out of receive buffer
/// takes nothing until it has room for a whole segment.
pub const STEADY_BYTES: u64 = 32 * 1024;

/// A reader that took so much in the last [`BRISK_TIME`] will have caught up soon.
pub const BRISK_BYTES: u64 = 256 * 1024;

/// See [`BRISK_BYTES`].
pub const BRISK_TIME: Duration = Duration::from_millis(100);

/// What a log of some size allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that a reader may be behind without anyone waiting for it.
    pub slack_bytes: u64,
    /// What makes a reader steady: less of a log that holds less.
    pub steady_bytes: u64,
    /// What makes a reader brisk.
    pub brisk_bytes: u64,
}

impl Limits {
    /// The limits beside a log that keeps `backlog_bytes`.
    #[must_use]
    pub fn beside(backlog_bytes: usize) -> Self {
        let backlog_bytes = backlog_bytes as u64;
        Self {
            slack_bytes: SLACK_BYTES.min(backlog_bytes / 16),
            steady_bytes: STEADY_BYTES.min(backlog_bytes / 64),
            brisk_bytes: BRISK_BYTES.min(backlog_bytes / 16),
        }
    }
}

/// What a reader is entitled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is hardly behind.
    Near,
    /// Publishers wait until it has taken more.
    WaitedFor,
    /// The log keeps what it needs.
    KeptFor,
    /// It is cut off once the log has no room.
    GivenUp,
}

/// How one reader has got on lately. Small, since there is one a session: times are nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Nothing was left for it to take.
    caught_up: bool,
    /// When it had last taken enough to be brisk, and what it took since.
    brisk_at: u64,
    brisk_bytes: u32,
    /// The same for steady.
    steady_at: u64,
    steady_bytes: u32,
    /// How far the log may grow while the reader is brisk.
    leash: u64,
}

impl Pace {
    /// A reader that is behind by nothing.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        let now = now.as_nanos() as u64;
        Self {
            caught_up: true,
            brisk_at: now,
            brisk_bytes: 0,
            steady_at: now,
            steady_bytes: 0,
            leash: 0,
        }
    }

    /// It has taken all there is.
    #[inline]
    pub fn catch_up(&mut self) {
        self.caught_up = true;
    }

    /// There is something for it, and it may not have been for long: its time counts from now.
    #[inline]
    pub fn fall_behind(&mut self, now: Duration) {
        if self.caught_up {
            *self = Self {
                caught_up: false,
                leash: self.leash,
                ..Self::new(now)
            };
        }
    }

    /// What is left for it is counted from now, however long it has been behind.
    pub fn begin_anew(&mut self, now: Duration) {
        self.catch_up();
        self.fall_behind(now);
    }

    /// It took `bytes`, is not through, and the log ends at `end`.
    pub fn take(&mut self, bytes: u64, end: u64, limits: &Limits, now: Duration) {
        self.fall_behind(now);
        if !self.is_brisk(now) {
            self.leash = end; // it goes on after a pause: it is to catch up from here
        }
        self.leash += bytes / 2;
        let now = now.as_nanos() as u64;
        let more = bytes.min(u64::from(u32::MAX / 2)) as u32; // both limits are far less
        self.brisk_bytes += more;
        if u64::from(self.brisk_bytes) >= limits.brisk_bytes {
            (self.brisk_at, self.brisk_bytes) = (now, 0);
        }
        self.steady_bytes += more;
        if u64::from(self.steady_bytes) >= limits.steady_bytes {
            (self.steady_at, self.steady_bytes) = (now, 0);
        }
    }

    /// When it had last taken enough to be steady, or had begun to be behind.
    #[must_use]
    pub fn steady_at(&self) -> Duration {
        Duration::from_nanos(self.steady_at)
    }

    fn is_brisk(&self, now: Duration) -> bool {
        now.saturating_sub(Duration::from_nanos(self.brisk_at)) < BRISK_TIME
    }

    /// What the reader is entitled to, where it stands at `at` in a log that ends at `end`.
    #[must_use]
    pub fn standing(
        &self,
        at: u64,
        end: u64,
        limits: &Limits,
        patience: Duration,
        now: Duration,
    ) -> Standing {
        let near = at + limits.slack_bytes;
        if end <= near {
            return Standing::Near;
        }
        // Who had caught up at the last look has all its time before it.
        let brisk = self.caught_up || self.is_brisk(now);
        if brisk && end > self.leash {
            Standing::WaitedFor
        } else if brisk || now.saturating_sub(self.steady_at()) < patience {
            Standing::KeptFor
        } else {
            Standing::GivenUp
        }
    }
}

/// How long a reader that has stopped is waited for.
#[derive(Debug, Default)]
pub struct Patience {
    halvings: u32,
    since: Duration,
}

impl Patience {
    /// A reader was cut off. What is lost is lost for all that are within [`LEAST_PATIENCE`].
    pub fn lose(&mut self, now: Duration) {
        self.regain(now);
        if self.halvings > 0 && now.saturating_sub(self.since) < LEAST_PATIENCE {
            return;
        }
        self.halvings = (self.halvings + 1).min(PATIENCE.as_millis().ilog2());
        self.since = now;
    }

    /// What is left of it.
    pub fn left(&mut self, now: Duration) -> Duration {
        self.regain(now);
        (PATIENCE / (1 << self.halvings)).max(LEAST_PATIENCE)
    }

    fn regain(&mut self, now: Duration) {
        if self.halvings > 0 && now.saturating_sub(self.since) >= RECOVERY {
            let periods = now.saturating_sub(self.since).as_nanos() / RECOVERY.as_nanos();
            self.halvings = self.halvings.saturating_sub(periods as u32);
            self.since += RECOVERY * periods as u32;
        }
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
