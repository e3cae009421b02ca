//! Where a client's messages come from, and when the next one is due.

use crate::scenario::pace::Schedule;

/// What makes a client publish.
#[derive(Debug)]
pub(super) enum Source {
    /// Nothing, or its script, step by step.
    None,
    /// Open loop: a schedule, in ns since the load began at `start_ns`.
    Open {
        schedule: Schedule,
        start_ns: u64,
        next_ns: Option<u64>,
    },
    /// Closed loop: its own acks.
    Closed { in_flight: u32 },
    /// A script's `publish` step: `left` messages, one every `every_ns`.
    Burst {
        next_ns: u64,
        every_ns: u64,
        left: u32,
    },
}

impl Source {
    /// An open loop whose load has not begun.
    pub(super) fn open(schedule: Schedule) -> Self {
        Self::Open {
            schedule,
            start_ns: 0,
            next_ns: None,
        }
    }

    /// The load begins at `start_ns`.
    pub(super) fn begin(&mut self, at_ns: u64) {
        if let Self::Open {
            schedule,
            start_ns,
            next_ns,
        } = self
        {
            *start_ns = at_ns;
            *next_ns = schedule.next().map(|due_ns| at_ns + due_ns);
        }
    }

    /// When the next message is due, in ns since the run's epoch.
    pub(super) fn due_ns(&self) -> Option<u64> {
        match self {
            Self::Open { next_ns, .. } => *next_ns,
            Self::Burst { next_ns, left, .. } if *left > 0 => Some(*next_ns),
            _ => None,
        }
    }

    /// The message that was due is sent: when is the one after it?
    pub(super) fn next_due_ns(&mut self) -> Option<u64> {
        match self {
            Self::Open {
                schedule,
                start_ns,
                next_ns,
            } => {
                *next_ns = schedule.next().map(|due_ns| *start_ns + due_ns);
            }
            Self::Burst {
                next_ns,
                every_ns,
                left,
            } => {
                *left -= 1;
                *next_ns += *every_ns;
            }
            Self::None | Self::Closed { .. } => {}
        }
        self.due_ns()
    }

    /// How many messages of an open loop fall due before `end_ns` from here on; uses them up.
    pub(super) fn count_due_before(&mut self, end_ns: u64) -> u64 {
        if !matches!(self, Self::Open { .. }) {
            return 0;
        }
        let mut count = 0;
        while self.due_ns().is_some_and(|due_ns| due_ns < end_ns) {
            count += 1;
            self.next_due_ns();
        }
        count
    }
}
