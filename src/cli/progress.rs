//! The progress of a run, on standard error: bars on a terminal, `key=value` lines elsewhere,
//! nothing where silence was asked for.
//!
//! The caller hands in a [`Snapshot`] about ten times per second; there is no thread and no clock
//! of its own. Standard output is never touched, and bars are gone when the summary comes.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use console::measure_text_width;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::driver::snapshot::{Phase, Snapshot};
use crate::report::style::Paint;
use crate::report::{Style, figures};
use crate::terminal::{self, visible};

/// The interval between two lines within one phase.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress of one run. Dropping it clears what it shows.
pub struct Progress {
    shown: Shown,
    /// Which of several runs it is; empty where there is one.
    which: String,
    phase: Option<Phase>,
    interrupted: bool,
    /// When in the current phase the next line is due.
    next_line: Duration,
}

enum Shown {
    /// No progress, but notes unless silence was asked for.
    Nothing {
        quiet: bool,
    },
    Lines(Box<dyn Write + Send>),
    Bars {
        /// The bar of the current phase.
        bar: ProgressBar,
        /// Where bars are drawn.
        target: fn() -> ProgressDrawTarget,
        style: Style,
    },
}

impl Progress {
    /// Progress as standard error and the command line ask for it: nothing with `--quiet`, notes
    /// alone with `--no-progress`, else bars on a terminal and lines elsewhere.
    ///
    /// `which` says which of several runs it is, and is empty where there is one.
    #[must_use]
    pub fn new(quiet: bool, no_progress: bool, which: &str) -> Self {
        let stderr = io::stderr();
        let shown = if quiet || no_progress {
            Shown::Nothing { quiet }
        } else if stderr.is_terminal() {
            Shown::bars(
                || ProgressDrawTarget::stderr_with_hz(10),
                Style::detect(&stderr),
            )
        } else {
            Shown::Lines(Box::new(stderr))
        };
        Self::showing(shown, which)
    }

    fn showing(shown: Shown, which: &str) -> Self {
        Self {
            shown,
            which: visible(which).into_owned(),
            phase: None,
            interrupted: false,
            next_line: Duration::ZERO,
        }
    }

    /// Shows how far the run is. Cheap enough for ten times per second: bars redraw at that rate at
    /// most, a line is written at each change of phase and every 10 s.
    pub fn update(&mut self, snapshot: &Snapshot) {
        if snapshot.interrupted && !self.interrupted {
            self.interrupted = true;
            self.note(&on_interrupt(snapshot));
        }
        let entered = self.phase != Some(snapshot.phase);
        self.phase = Some(snapshot.phase);
        match &mut self.shown {
            Shown::Nothing { .. } => {}
            Shown::Lines(out) => {
                if entered || snapshot.elapsed >= self.next_line {
                    // Progress that cannot be shown is no reason to end the run.
                    let _ = writeln!(out, "{}", line(snapshot, &self.which));
                    // The next full step, however late this one was.
                    let steps = snapshot.elapsed.as_secs() / LINE_EVERY.as_secs();
                    self.next_line =
                        LINE_EVERY * (u32::try_from(steps).unwrap_or(u32::MAX - 1) + 1);
                }
            }
            Shown::Bars { bar, target, style } => {
                let (position, length) = extent(snapshot);
                let text = message(snapshot, &self.which, *style);
                if entered {
                    bar.finish_and_clear();
                    // Filled before it is first drawn.
                    *bar = ProgressBar::with_draw_target(Some(length), target())
                        .with_style(bar_style(*style))
                        .with_prefix(snapshot.phase.name())
                        .with_message(text)
                        .with_position(position);
                    bar.tick();
                } else {
                    bar.set_message(text);
                    bar.set_position(position);
                }
            }
        }
    }

    /// Says something once, above the bar or between the lines; nothing where silence was asked
    /// for.
    pub fn note(&mut self, text: &str) {
        match &mut self.shown {
            Shown::Nothing { quiet: true } => {}
            Shown::Nothing { quiet: false } => terminal::tell(text),
            Shown::Lines(out) => {
                let _ = writeln!(out, "{}", visible(text));
            }
            Shown::Bars { bar, style, .. } => bar.println(style.text(text)),
        }
    }

    /// Clears what is shown; what is printed from now on has the terminal to itself.
    pub fn finish(&mut self) {
        if let Shown::Bars { bar, .. } = &self.shown {
            bar.finish_and_clear();
        }
        self.shown = Shown::Nothing { quiet: true };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress")
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl Shown {
    fn bars(target: fn() -> ProgressDrawTarget, style: Style) -> Self {
        let bar = ProgressBar::hidden();
        Self::Bars { bar, target, style }
    }
}

/// The text that says what a first Ctrl-C does, and what a second one would.
fn on_interrupt(snapshot: &Snapshot) -> String {
    let drain = match snapshot.phase {
        // The planned length of the phase it is in is that of the drain.
        Phase::Drain => format!(", {} at most", figures::span(snapshot.total)),
        _ => String::new(),
    };
    format!(
        "interrupted: nothing more is sent, what is under way is waited for{drain}, then comes the \
         report; Ctrl-C again ends at once, with what is known by then"
    )
}

/// Columns of a bar.
const fn bar_width(style: Style) -> usize {
    if style.width < 100 { 10 } else { 20 }
}

fn bar_style(style: Style) -> ProgressStyle {
    let template = format!("{{prefix:7}} |{{bar:{}}}| {{wide_msg}}", bar_width(style));
    let characters = if style.unicode {
        "█▉▊▋▌▍▎▏ "
    } else {
        "=> "
    };
    ProgressStyle::with_template(&template)
        .expect("the template is valid at either width")
        .progress_chars(characters)
}

/// The position of the bar and its end: clients, or milliseconds.
fn extent(snapshot: &Snapshot) -> (u64, u64) {
    let (position, length) = if snapshot.phase.is_timed() {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        (ms(snapshot.elapsed), ms(snapshot.total))
    } else {
        (snapshot.done, snapshot.of)
    };
    (position.min(length), length)
}

/// The text beside the bar: the weightiest first, as much of it as there is room for.
fn message(snapshot: &Snapshot, which: &str, style: Style) -> String {
    let count = figures::count;
    let mut items = Vec::new();
    if !which.is_empty() {
        items.push(style.text(which).into_owned());
    }
    if snapshot.violations > 0 {
        let plural = if snapshot.violations == 1 { "" } else { "s" };
        let text = format!("{} violation{plural}", count(snapshot.violations));
        items.push(style.paint(Paint::Bad, &text));
    }
    let clients = format!("{} of {}", count(snapshot.done), count(snapshot.of));
    match snapshot.phase {
        Phase::Connect => items.push(format!("{clients} clients")),
        Phase::Drain => items.push(format!("{clients} closed")),
        Phase::WarmUp | Phase::Measure => items.extend(load(snapshot, style)),
    }

    // The phase, the bar, its ends and the spaces between them.
    let room = style.width - (7 + 1 + bar_width(style) + 2 + 1);
    let separator = style.text(" · ");
    let mut text = String::new();
    for item in items {
        let longer = if text.is_empty() {
            item
        } else {
            format!("{text}{separator}{item}")
        };
        if measure_text_width(&longer) > room {
            break;
        }
        text = longer;
    }
    text
}

fn load(snapshot: &Snapshot, style: Style) -> Vec<String> {
    let live = &snapshot.live;
    let mut items = vec![
        format!(
            "{}/{} s",
            snapshot.elapsed.as_secs(),
            snapshot.total.as_secs()
        ),
        format!("delivered {}", figures::rate(live.delivered_per_s as f64)),
    ];
    let percentile = |name: &str, ns| {
        let latency = figures::latency(ns);
        format!("{name} {}", style.text(&latency))
    };
    items.extend(live.relay_p99_ns.map(|ns| percentile("p99", ns)));
    items.push(format!("sent {}", figures::rate(live.sent_per_s as f64)));
    items.extend(live.relay_p50_ns.map(|ns| percentile("p50", ns)));
    items
}

/// A line for logs: every key on every line, so that a column is a column; which of several runs it
/// is comes last, since it may have spaces.
fn line(snapshot: &Snapshot, which: &str) -> String {
    let live = &snapshot.live;
    let ns = |ns: Option<u64>| ns.map_or("-".to_owned(), |ns| ns.to_string());
    let run = match which {
        "" => String::new(),
        which => format!(" run={which}"),
    };
    format!(
        "phase={} elapsed_s={:.1} total_s={:.1} done={} of={} clients={} sent={} acked={} \
         delivered={} sent_per_s={} acked_per_s={} delivered_per_s={} relay_p50_ns={} \
         relay_p99_ns={} violations={}{run}",
        snapshot.phase.name(),
        snapshot.elapsed.as_secs_f64(),
        snapshot.total.as_secs_f64(),
        snapshot.done,
        snapshot.of,
        snapshot.open, // not the shards' last reports, which are up to a second old
        live.sent,
        live.acked,
        live.delivered,
        live.sent_per_s,
        live.acked_per_s,
        live.delivered_per_s,
        ns(live.relay_p50_ns),
        ns(live.relay_p99_ns),
        snapshot.violations,
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::measure::Live;

    const PLAIN: Style = Style::FILE;

    fn snapshot(phase: Phase, elapsed_ms: u64) -> Snapshot {
        Snapshot {
            rooms: 0,
            memberships: 0,
            phase,
            done: 40,
            of: 1_004,
            open: 104,
            elapsed: Duration::from_millis(elapsed_ms),
            total: Duration::from_secs(30),
            live: Live {
                sent_per_s: 500,
                acked_per_s: 499,
                delivered_per_s: 51_500,
                relay_p50_ns: Some(160_000),
                relay_p99_ns: None,
                clients: 7,
                sent: 5_000,
                acked: 4_990,
                delivered: 515_000,
            },
            violations: 0,
            interrupted: false,
        }
    }

    /// A writer whose content can be read elsewhere.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn a_line_comes_at_each_change_of_phase_and_every_ten_seconds() {
        let out = Shared::default();
        let mut progress = Progress::showing(Shown::Lines(Box::new(out.clone())), "");
        for phase in [Phase::Connect, Phase::Measure] {
            for elapsed_ms in (0..=25_000).step_by(100) {
                progress.update(&snapshot(phase, elapsed_ms));
            }
        }
        // Ten seconds late, and then on time again.
        progress.update(&snapshot(Phase::Measure, 49_900));
        progress.update(&snapshot(Phase::Measure, 50_000));
        progress.note("ending");
        progress.finish();
        progress.update(&snapshot(Phase::Drain, 0));
        let shown: Vec<_> = out
            .text()
            .lines()
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect();
        let expected = [
            "phase=connect elapsed_s=0.0",
            "phase=connect elapsed_s=10.0",
            "phase=connect elapsed_s=20.0",
            "phase=measure elapsed_s=0.0",
            "phase=measure elapsed_s=10.0",
            "phase=measure elapsed_s=20.0",
            "phase=measure elapsed_s=49.9",
            "phase=measure elapsed_s=50.0",
            "ending",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn which_of_several_runs_it_is_stands_on_every_line_and_beside_the_bar() {
        let drain = snapshot(Phase::Drain, 0);
        let text = line(&drain, "churn, 2 of 5");
        assert!(text.ends_with(" violations=0 run=churn, 2 of 5"), "{text}");
        assert_eq!(
            message(&drain, "churn, 2 of 5", PLAIN),
            "churn, 2 of 5 · 40 of 1 004 closed"
        );
    }

    #[test]
    fn what_a_first_and_a_second_interrupt_do_is_said_once() {
        let out = Shared::default();
        let mut progress = Progress::showing(Shown::Lines(Box::new(out.clone())), "");
        let mut snapshot = snapshot(Phase::Drain, 0);
        snapshot.interrupted = true;
        progress.update(&snapshot);
        progress.update(&snapshot);
        let text = out.text();
        assert_eq!(text.matches("interrupted: nothing more is sent").count(), 1);
        assert!(text.contains("is waited for, 30 s at most"), "{text}");
        assert!(text.contains("Ctrl-C again ends at once, with what is known by then"));
    }

    #[test]
    fn a_line_has_every_figure() {
        let mut snapshot = snapshot(Phase::Measure, 10_000);
        snapshot.violations = 3;
        assert_eq!(
            line(&snapshot, ""),
            "phase=measure elapsed_s=10.0 total_s=30.0 done=40 of=1004 clients=104 sent=5000 \
             acked=4990 delivered=515000 sent_per_s=500 acked_per_s=499 delivered_per_s=51500 \
             relay_p50_ns=160000 relay_p99_ns=- violations=3"
        );
    }

    #[test]
    fn beside_the_bar_stands_what_its_phase_is_about() {
        let text = |phase| message(&snapshot(phase, 4_900), "", PLAIN);
        assert_eq!(text(Phase::Connect), "40 of 1 004 clients");
        assert_eq!(text(Phase::Drain), "40 of 1 004 closed");
        let load = "4/30 s · delivered 51.5 k/s · sent 500/s · p50 160 µs";
        assert_eq!(text(Phase::WarmUp), load);
        assert_eq!(text(Phase::Measure), load);
    }

    #[test]
    fn violations_come_first_and_in_red() {
        let mut snapshot = snapshot(Phase::Drain, 0);
        snapshot.violations = 1;
        assert_eq!(
            message(&snapshot, "", PLAIN),
            "1 violation · 40 of 1 004 closed"
        );
        snapshot.violations = 2;
        let red = Style {
            colour: true,
            ..PLAIN
        };
        assert!(message(&snapshot, "", red).starts_with("\x1b[1;31m2 violations\x1b[0m · "));
    }

    #[test]
    fn without_unicode_everything_is_ascii() {
        let ascii = Style {
            unicode: false,
            ..PLAIN
        };
        for phase in [Phase::Connect, Phase::WarmUp, Phase::Measure, Phase::Drain] {
            let mut snapshot = snapshot(phase, 100);
            snapshot.violations = 9;
            assert!(message(&snapshot, "", ascii).is_ascii());
        }
    }

    #[test]
    fn the_bar_follows_clients_or_time_and_never_passes_its_end() {
        let table = [
            (Phase::Connect, 0, (40, 1_004)),
            (Phase::Drain, 99_000, (40, 1_004)),
            (Phase::WarmUp, 4_900, (4_900, 30_000)),
            (Phase::Measure, 31_000, (30_000, 30_000)),
        ];
        for (phase, elapsed_ms, expected) in table {
            assert_eq!(extent(&snapshot(phase, elapsed_ms)), expected, "{phase:?}");
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out_whole() {
        let mut snapshot = snapshot(Phase::Measure, 12_000);
        snapshot.live.relay_p99_ns = Some(1_950_000);
        let at_80 = "12/30 s · delivered 51.5 k/s · p99 1.95 ms · sent 500/s";
        assert_eq!(message(&snapshot, "", PLAIN), at_80);
        let wide = Style {
            width: 120,
            ..PLAIN
        };
        assert_eq!(
            message(&snapshot, "", wide),
            format!("{at_80} · p50 160 µs")
        );
        snapshot.violations = 2;
        let kept = "2 violations · 12/30 s · delivered 51.5 k/s · p99 1.95 ms";
        assert_eq!(message(&snapshot, "", PLAIN), kept);
    }

    #[test]
    fn each_phase_has_its_bar_and_none_is_left_after_finish() {
        let bar = |progress: &Progress| match &progress.shown {
            Shown::Bars { bar, .. } => bar.clone(),
            Shown::Nothing { .. } | Shown::Lines(_) => unreachable!("bars were asked for"),
        };
        let shown = Shown::bars(ProgressDrawTarget::hidden, PLAIN);
        let mut progress = Progress::showing(shown, "");
        progress.update(&snapshot(Phase::Connect, 0));
        let connect = bar(&progress);
        assert_eq!(
            (connect.prefix().as_str(), connect.position()),
            ("connect", 40)
        );
        progress.update(&snapshot(Phase::Measure, 3_000));
        progress.update(&snapshot(Phase::Measure, 4_000));
        let measure = bar(&progress);
        assert_eq!(
            (measure.prefix().as_str(), measure.position()),
            ("measure", 4_000)
        );
        assert_eq!(measure.length(), Some(30_000));
        assert!(measure.message().starts_with("4/30 s"));
        assert!(connect.is_finished() && !measure.is_finished());
        drop(progress);
        assert!(measure.is_finished());
    }
}
