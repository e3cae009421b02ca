//! The run's one clock: nanoseconds since its epoch, monotonic, the same for every shard.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::timer::Timer;

/// What time a run goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// The system's.
    Real,
    /// That of a tokio runtime which has paused it: it moves on when there is nothing left to do.
    Virtual,
}

/// A copyable clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    epoch: Instant,
    time: Time,
}

impl Clock {
    /// The epoch is now.
    pub(super) fn start(time: Time) -> Self {
        Self {
            epoch: Instant::now(),
            time,
        }
    }

    /// Nanoseconds since the epoch.
    #[inline]
    pub(super) fn now_ns(self) -> u64 {
        ns(self.epoch.elapsed())
    }

    /// The instant that lies `at_ns` after the epoch.
    pub(super) fn instant(self, at_ns: u64) -> Instant {
        self.epoch + Duration::from_nanos(at_ns)
    }

    /// A timer that goes by the same time, and is not set.
    pub(super) fn timer(self) -> io::Result<Timer> {
        match self.time {
            Time::Real => Timer::system(),
            Time::Virtual => Ok(Timer::of_runtime()),
        }
    }
}

/// A duration in ns; 584 years fit.
pub(super) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
