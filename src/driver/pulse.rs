//! A shard's pulse: a timer event every few milliseconds that queues after whatever the shard is
//! doing, and so shows how long a delivery waits there (see [`crate::measure::health`]).
//!
//! A beat costs some 5 µs, 0.1 % of a core.

use std::fs;
use std::time::Duration;

use super::clock::ns;
use crate::measure::Window;
use crate::measure::health::ShardLoad;

/// The interval between two beats.
pub(super) const BEAT_EVERY: Duration = Duration::from_millis(5);

/// CPU time of the present thread, and its time spent waiting for a core, so far.
#[derive(Debug, Clone, Copy)]
struct ThreadUse {
    at_ns: u64,
    cpu_ns: u64,
    waited_ns: u64,
}

/// Watches one shard's thread through the measured phase.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    began: Option<ThreadUse>,
    ended: Option<ThreadUse>,
    /// When it last beat, once the measured phase has begun.
    last_ns: Option<u64>,
    /// The greatest lateness of a beat since then, the drain included.
    latest_ns: u64,
    /// When it last beat in the whole run.
    beat_ns: Option<u64>,
    /// How long the thread has stood still in the whole run, up to then.
    still_ns: u64,
}

impl Pulse {
    /// Looks at the thread's use if the measured phase has just begun.
    pub(super) fn watch(&mut self, window: Window, now_ns: u64) {
        if self.began.is_none() && window.contains(now_ns) {
            self.began = Some(thread_use(now_ns));
        }
    }

    /// A beat that was due at `due_ns` comes at `now_ns`.
    pub(super) fn beat(&mut self, window: Window, due_ns: u64, now_ns: u64) {
        self.still_ns = self.stood_still_ns(now_ns);
        self.beat_ns = Some(now_ns);
        if window.start_ns <= due_ns {
            self.latest_ns = self.latest_ns.max(now_ns.saturating_sub(due_ns));
            self.last_ns = Some(now_ns);
        }
    }

    /// How long the shard has stood still in the whole run, where it did for longer than a beat: it
    /// was stopped or starved, and what it waited for may have come long ago.
    pub(super) fn stood_still_ns(&self, now_ns: u64) -> u64 {
        let since_ns = self
            .beat_ns
            .map_or(0, |beat_ns| now_ns.saturating_sub(beat_ns));
        let beat_every_ns = ns(BEAT_EVERY);
        let still_ns = match since_ns > 2 * beat_every_ns {
            true => since_ns - beat_every_ns,
            false => 0,
        };
        self.still_ns + still_ns
    }

    /// The longest that the shard stood still between the beginning of the measured phase and
    /// `now_ns`. A pause that has just ended, before the pulse could beat again, is one.
    pub(super) fn longest_pause_ns(&self, now_ns: u64) -> u64 {
        let since_last_ns = self
            .last_ns
            .map_or(0, |last_ns| now_ns.saturating_sub(last_ns));
        self.latest_ns
            .max(since_last_ns.saturating_sub(ns(BEAT_EVERY)))
    }

    /// The load has ended, and the measured phase with it.
    pub(super) fn load_ends(&mut self, now_ns: u64) {
        if self.ended.is_none() {
            self.ended = Some(thread_use(now_ns));
        }
    }

    /// The thread's load in the measured phase, once that is over; zero if there was none.
    pub(super) fn load(&self) -> ShardLoad {
        let (Some(began), Some(ended)) = (self.began, self.ended) else {
            return ShardLoad::default();
        };
        ShardLoad {
            wall_ns: ended.at_ns - began.at_ns,
            cpu_ns: ended.cpu_ns - began.cpu_ns,
            waited_ns: ended.waited_ns - began.waited_ns,
        }
    }
}

fn thread_use(at_ns: u64) -> ThreadUse {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let waited_ns = fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse().ok());
    ThreadUse {
        at_ns,
        cpu_ns: cpu.tv_sec.max(0) as u64 * 1_000_000_000 + cpu.tv_nsec.max(0) as u64,
        // A kernel without the figure: no wait is known of.
        waited_ns: waited_ns.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        start_ns: 1_000,
        end_ns: 2_000,
    };

    #[test]
    fn a_thread_is_watched_from_the_first_beat_in_the_window_to_the_end_of_the_load() {
        let mut pulse = Pulse::default();
        for now_ns in [500, 1_100, 1_500] {
            pulse.watch(WINDOW, now_ns);
        }
        pulse.load_ends(2_005);
        pulse.watch(WINDOW, 2_010);
        assert_eq!(pulse.load().wall_ns, 905);
    }

    #[test]
    fn a_phase_that_was_never_seen_is_no_load() {
        let mut pulse = Pulse::default();
        pulse.watch(Window::NEVER, 5);
        pulse.load_ends(10);
        assert_eq!(pulse.load(), ShardLoad::default());
    }

    #[test]
    fn a_pause_is_seen_in_the_drain_too_and_before_the_next_beat() {
        let mut pulse = Pulse::default();
        pulse.beat(WINDOW, 900, 5_000_900);
        assert_eq!(pulse.longest_pause_ns(9_000_000), 0, "not measured yet");
        pulse.beat(WINDOW, 1_000, 1_700);
        assert_eq!(pulse.longest_pause_ns(1_800), 700);
        pulse.beat(WINDOW, 2_500, 9_500);
        assert_eq!(pulse.longest_pause_ns(9_600), 7_000, "behind the window");
        let since_last_ns = 50_000_000;
        assert_eq!(pulse.longest_pause_ns(9_500 + since_last_ns), 45_000_000);
    }

    #[test]
    fn what_stands_still_is_added_up_and_ordinary_beats_are_not() {
        const MS: u64 = 1_000_000;
        let mut pulse = Pulse::default();
        for beat in 1..=20 {
            let now_ns = beat * 5 * MS + beat % 2 * MS;
            pulse.beat(WINDOW, beat * 5 * MS, now_ns);
        }
        assert_eq!(pulse.stood_still_ns(109 * MS), 0);
        assert_eq!(pulse.stood_still_ns(400 * MS), 295 * MS, "not over yet");
        pulse.beat(WINDOW, 105 * MS, 400 * MS);
        pulse.beat(WINDOW, 110 * MS, 400 * MS);
        assert_eq!(pulse.stood_still_ns(404 * MS), 295 * MS);
        assert_eq!(pulse.stood_still_ns(1_000 * MS), (295 + 595) * MS);
    }

    #[test]
    fn work_is_seen_as_cpu_time_of_this_thread() {
        let before = thread_use(0);
        let mut x = 1_u64;
        while thread_use(0).cpu_ns < before.cpu_ns + 2_000_000 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(thread_use(0).cpu_ns >= before.cpu_ns + 2_000_000);
    }
}
