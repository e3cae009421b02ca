//! Where a client's messages come from, and when the next one is due.

use crate::scenario::pace::Schedule;
use crate::wire::rooms::RoomId;

/// The trigger of a client's publishes: a schedule, its acks, or its script.
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
        /// The room in which they are published, if the step names one.
        room: Option<RoomId>,
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

    /// The room that its messages are for, where it names one.
    pub(super) fn room(&self) -> Option<RoomId> {
        match self {
            Self::Burst { room, .. } => *room,
            Self::None | Self::Open { .. } | Self::Closed { .. } => None,
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
                ..
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::scenario::pace::Profile;
    use crate::scenario::plan::Arrival;

    const SECOND_NS: u64 = 1_000_000_000;

    /// Four messages per second for one second, begun at 10 s.
    fn open() -> Source {
        let profile = Arc::new(Profile::constant(4.0, SECOND_NS));
        let mut source = Source::open(Schedule::new(profile, Arrival::Constant, 1, 0, 1));
        assert_eq!(
            source.due_ns(),
            None,
            "nothing is due before the load begins"
        );
        source.begin(10 * SECOND_NS);
        source
    }

    #[test]
    fn an_open_loop_keeps_to_its_schedule_whenever_it_is_asked() {
        let mut source = open();
        let mut due = vec![source.due_ns().unwrap()];
        due.extend(std::iter::from_fn(|| source.next_due_ns()));
        assert_eq!(
            due,
            [
                10_000_000_000,
                10_250_000_000,
                10_500_000_000,
                10_750_000_000
            ]
        );
    }

    #[test]
    fn what_is_due_and_unsent_is_counted_once() {
        let mut source = open();
        source.next_due_ns();
        assert_eq!(source.count_due_before(10_750_000_000), 2);
        assert_eq!(source.due_ns(), Some(10_750_000_000));
        assert_eq!(source.count_due_before(u64::MAX), 1);
        assert_eq!(source.count_due_before(u64::MAX), 0);
    }

    #[test]
    fn a_burst_ends_after_its_last_message() {
        let mut source = Source::Burst {
            next_ns: 5,
            every_ns: 10,
            left: 2,
            room: None,
        };
        assert_eq!(source.due_ns(), Some(5));
        assert_eq!(source.next_due_ns(), Some(15));
        assert_eq!(source.next_due_ns(), None);
        assert_eq!(
            source.count_due_before(u64::MAX),
            0,
            "a script's burst is no offered load"
        );
    }

    #[test]
    fn a_closed_loop_is_never_due() {
        let mut source = Source::Closed { in_flight: 16 };
        source.begin(1);
        assert_eq!((source.due_ns(), source.next_due_ns()), (None, None));
    }
}
