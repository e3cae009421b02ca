//! The run's one clock: nanoseconds since its epoch, monotonic, the same for every shard.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::timer::Timer;

/// The source of a run's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// The system's.
    Real,
    /// That of a tokio runtime whose time is paused: it advances when no task can run.
    Virtual,
}

/// A clock that is cheap to copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    epoch: Instant,
    time: Time,
}

impl Clock {
    /// The epoch is now.
    pub(super) fn start(time: Time) -> Self {
        LAST_NS.set(0);
        Self {
            epoch: Instant::now(),
            time,
        }
    }

    /// Nanoseconds since the epoch.
    #[inline]
    pub(super) fn now_ns(self) -> u64 {
        let now_ns = ns(self.epoch.elapsed());
        match self.time {
            Time::Real => now_ns,
            Time::Virtual => later_than_the_last(now_ns),
        }
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

thread_local! {
    /// The last virtual time that a clock of this thread has shown.
    static LAST_NS: Cell<u64> = const { Cell::new(0) };
}

/// The virtual time, as if each reading of the clock took a nanosecond: work takes no virtual time,
/// so events one after another would otherwise have the same timestamp.
fn later_than_the_last(now_ns: u64) -> u64 {
    let now_ns = now_ns.max(LAST_NS.get() + 1);
    LAST_NS.set(now_ns);
    now_ns
}

/// A duration in ns; 584 years fit.
pub(super) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn in_virtual_time_what_comes_later_is_later() {
        let clock = Clock::start(Time::Virtual);
        let (first, second) = (clock.now_ns(), clock.now_ns());
        assert!(first < second, "{first} {second}");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(clock.now_ns(), 1_000_000);
    }
}
