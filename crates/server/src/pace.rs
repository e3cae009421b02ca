//! Decides which readers the publishers wait for: those that are behind and keep reading.
//!
//! Every message in is as many messages out as there are readers, so a publisher can always send
//! faster than readers can take it. The server then stops reading from publishers, and their TCP
//! windows do the rest. But it must not wait for a reader that has stopped. A [`Pace`] records
//! the progress of one reader, and [`Pace::standing`] says what that entitles it to:
//!
//! - Behind by no more than [`Limits::slack_bytes`]: nobody waits, nothing is lost.
//! - *Brisk*, and behind by more: publishers go on at half the speed at which it reads. So it
//!   catches up, and does not bring the others to a halt meanwhile.
//! - *Steady*, and behind by more: nobody waits, but the log keeps the bytes that it needs. If that
//!   would take more than the log holds, publishers wait.
//! - Neither: it is *given up*. The log keeps the bytes that it needs for as long as there is room,
//!   then the reader is cut off as a slow consumer.
//!
//! So a reader that takes [`STEADY_BYTES`] in every [`PATIENCE`] is never cut off, and one that
//! stops delays publishers for [`PATIENCE`] at most. Clients that come, stop and are cut off one
//! after the other must not add up to a standstill: each that is cut off halves the patience with
//! the next ([`Patience`]).
//!
//! Everything here is a function of offsets and times that come in as arguments.

use std::time::Duration;

/// Bytes that a reader may be behind without anyone waiting for it. With more, a sender would wait
/// noticeably for its acks: 1 MiB takes a client that reads 200 MB/s 5 ms.
pub const SLACK_BYTES: u64 = 1024 * 1024;

/// How long a reader may take for [`STEADY_BYTES`] before it is given up.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The least that [`PATIENCE`] is reduced to after other readers were cut off.
pub const LEAST_PATIENCE: Duration = Duration::from_millis(50);

/// How long it takes to undo one halving of the patience: each client that is cut off halves it.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// Bytes that a reader that is behind must take in every [`PATIENCE`], or it is given up. Less than
/// one segment on a loopback interface carries (64 KiB), since a reader whose receive buffer is
/// full takes nothing until it has room for a whole segment.
pub const STEADY_BYTES: u64 = 32 * 1024;

/// A reader that took this much in the last [`BRISK_TIME`] will have caught up soon.
pub const BRISK_BYTES: u64 = 256 * 1024;

/// See [`BRISK_BYTES`].
pub const BRISK_TIME: Duration = Duration::from_millis(100);

/// The limits for a log of some size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that a reader may be behind without anyone waiting for it.
    pub slack_bytes: u64,
    /// [`STEADY_BYTES`], or less for a small log.
    pub steady_bytes: u64,
    /// [`BRISK_BYTES`], or less for a small log.
    pub brisk_bytes: u64,
}

impl Limits {
    /// The limits for a log that keeps `backlog_bytes`.
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

/// The treatment that a reader is entitled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is behind by no more than the slack.
    Near,
    /// Publishers wait until it has taken more.
    WaitedFor,
    /// The log keeps what it needs.
    KeptFor,
    /// It is cut off once the log has no room.
    GivenUp,
}

/// The recent progress of one reader. Small, since there is one per session: times are
/// nanoseconds.
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
    /// The offset up to which the log may grow while the reader is brisk.
    leash: u64,
}

impl Pace {
    /// The pace of a reader that is not behind.
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

    /// Records that it has taken all there is.
    #[inline]
    pub fn catch_up(&mut self) {
        self.caught_up = true;
    }

    /// Records that it is behind. If it had caught up before, its times count from now.
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

    /// Makes its times count from now, however long it has been behind.
    pub fn begin_anew(&mut self, now: Duration) {
        self.catch_up();
        self.fall_behind(now);
    }

    /// Records that it took `bytes` and is still behind, in a log that ends at `end`.
    pub fn take(&mut self, bytes: u64, end: u64, limits: &Limits, now: Duration) {
        self.fall_behind(now);
        if !self.is_brisk(now) {
            self.leash = end; // it reads again after a pause: the log may grow from here
        }
        self.leash += bytes / 2;
        let now = now.as_nanos() as u64;
        let more = bytes.min(u64::from(u32::MAX / 2)) as u32; // both limits are far lower
        self.brisk_bytes += more;
        if u64::from(self.brisk_bytes) >= limits.brisk_bytes {
            (self.brisk_at, self.brisk_bytes) = (now, 0);
        }
        self.steady_bytes += more;
        if u64::from(self.steady_bytes) >= limits.steady_bytes {
            (self.steady_at, self.steady_bytes) = (now, 0);
        }
    }

    /// When it had last taken enough to be steady, or had fallen behind.
    #[must_use]
    pub fn steady_at(&self) -> Duration {
        Duration::from_nanos(self.steady_at)
    }

    fn is_brisk(&self, now: Duration) -> bool {
        now.saturating_sub(Duration::from_nanos(self.brisk_at)) < BRISK_TIME
    }

    /// The reader's standing, when it is at `at` in a log that ends at `end`.
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
        // A reader that had caught up at the last look still has all of its time.
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
    /// Halves it, because a reader was cut off; once for all that are within [`LEAST_PATIENCE`].
    pub fn lose(&mut self, now: Duration) {
        self.regain(now);
        if self.halvings > 0 && now.saturating_sub(self.since) < LEAST_PATIENCE {
            return;
        }
        self.halvings = (self.halvings + 1).min(PATIENCE.as_millis().ilog2());
        self.since = now;
    }

    /// The patience that is left.
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
