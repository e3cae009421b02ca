//! The run's one clock: nanoseconds since its epoch, monotonic, the same for every shard.

use std::time::{Duration, Instant};

/// A copyable clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    epoch: Instant,
}

impl Clock {
    /// The epoch is now.
    pub(super) fn start() -> Self {
        Self {
            epoch: Instant::now(),
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
}

/// A duration in ns; 584 years fit.
pub(super) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
