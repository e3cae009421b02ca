//! A timer that wakes within some 60 µs: tokio's tick in milliseconds, which is the size of the
//! latencies to be measured.

use std::io;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timerfd.
#[derive(Debug)]
pub(super) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// A timer that is not set.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // tokio deprecated its safe constructor because an arbitrary `AsRawFd` may change its mind
        // about its descriptor. An `OwnedFd` does not, and the successor is `unsafe`.
        #[allow(deprecated)]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self(timer))
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
        let setting = Itimerspec {
            it_value: timespec(first),
            it_interval: timespec(period),
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }

    /// Waits until it has expired; how often it has since the last call.
    pub(super) async fn expired(&self) -> io::Result<u64> {
        let mut ready = self.0.readable().await?;
        let mut expirations = [0; 8];
        let read = rustix::io::read(self.0.get_ref(), &mut expirations);
        ready.clear_ready();
        Ok(read.map_or(0, |_| u64::from_ne_bytes(expirations)))
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
