//! A timer that wakes within some 60 µs. tokio's timers have a resolution of one millisecond, which
//! is the size of the latencies to be measured. Where time is virtual there is nothing to measure,
//! and only tokio's timers follow it.

use std::cell::Cell;
use std::future;
use std::io;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// A timer.
#[derive(Debug)]
pub(super) enum Timer {
    /// A timerfd.
    System(AsyncFd<OwnedFd>),
    /// When it expires next, and the period from then on (zero: never again).
    OfRuntime(Cell<Option<(Instant, Duration)>>),
}

impl Timer {
    /// A timer of the system that is not set.
    pub(super) fn system() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // tokio deprecated its safe constructor because an arbitrary `AsRawFd` may change its mind
        // about its descriptor. An `OwnedFd` does not, and the successor is `unsafe`.
        #[allow(deprecated)]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self::System(timer))
    }

    /// A timer that goes by the runtime's time and is not set.
    pub(super) fn of_runtime() -> Self {
        Self::OfRuntime(Cell::new(None))
    }

    /// Expires once, `after` from now.
    pub(super) fn set_once(&self, after: Duration) -> io::Result<()> {
        self.set(after, Duration::ZERO)
    }

    /// Expires every `period` from now on.
    pub(super) fn set_every(&self, period: Duration) -> io::Result<()> {
        self.set(period, period)
    }

    fn set(&self, first: Duration, period: Duration) -> io::Result<()> {
        match self {
            Self::System(timer) => {
                let setting = Itimerspec {
                    it_value: timespec(first),
                    it_interval: timespec(period),
                };
                timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &setting)?;
            }
            Self::OfRuntime(next) => next.set(Some((Instant::now() + first, period))),
        }
        Ok(())
    }

    /// Waits until it has expired; returns how often it has since the last call.
    pub(super) async fn expired(&self) -> io::Result<u64> {
        let timer = match self {
            Self::System(timer) => timer,
            Self::OfRuntime(next) => return Ok(expired_in_runtime(next).await),
        };
        let mut ready = timer.readable().await?;
        let mut expirations = [0; 8];
        let read = rustix::io::read(timer.get_ref(), &mut expirations);
        ready.clear_ready();
        Ok(read.map_or(0, |_| u64::from_ne_bytes(expirations)))
    }
}

async fn expired_in_runtime(next: &Cell<Option<(Instant, Duration)>>) -> u64 {
    let Some((at, period)) = next.get() else {
        return future::pending().await;
    };
    sleep_until(at).await;
    if period.is_zero() {
        next.set(None);
        return 1;
    }
    let missed = (at.elapsed().as_nanos() / period.as_nanos()) as u32;
    next.set(Some((at + period * (missed + 1), period)));
    u64::from(missed) + 1
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn in_virtual_time_a_timer_expires_when_it_is_due_and_counts_what_it_missed() {
        let begun = Instant::now();
        let period = Duration::from_millis(5);
        let timer = Timer::of_runtime();
        timer.set_every(period).unwrap();
        assert_eq!(timer.expired().await.unwrap(), 1);
        assert_eq!(begun.elapsed(), period);
        advance(Duration::from_millis(17)).await;
        assert_eq!(timer.expired().await.unwrap(), 3);
        assert_eq!(timer.expired().await.unwrap(), 1);
        assert_eq!(begun.elapsed(), 5 * period);
        timer.set_once(period).unwrap();
        assert_eq!(timer.expired().await.unwrap(), 1);
        let again = tokio::time::timeout(10 * period, timer.expired()).await;
        assert!(again.is_err(), "it was set once");
    }
}
