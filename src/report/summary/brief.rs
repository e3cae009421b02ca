//! The summary that is read: of a pass, a dozen lines at most in a terminal of usual width.

use super::{LABEL, Page};
use crate::report::result::{RunResult, class_name};
use crate::report::{Report, Verdict, figures};

/// The most lines of a pass, but for caveats that it cannot do without.
const LINES: usize = 12;

/// The percentiles that are shown; the maximum is, too.
const QUANTILES: [f64; 2] = [50.0, 99.0];

impl Page {
    /// Writes what follows the verdict and the violations.
    pub(super) fn brief(&mut self, report: &Report) {
        let result = &report.result;
        let passed = report.verdict == Verdict::Pass;
        self.brief_latencies(result);
        let rates = &result.rates;
        let shown = |what: &str, rate| format!("{what} {}", figures::known(rate, figures::rate));
        let throughput = [
            shown("sent", rates.sent),
            shown("delivered", rates.delivered),
        ];
        self.labelled("throughput", throughput);
        self.brief_rooms(result);
        self.brief_thresholds(result);
        self.committed(result);
        self.omissions(result);
        let says_notes = !passed || self.has_room_for_notes(result);
        if says_notes {
            self.notes(result);
        }
        if !passed {
            self.rerun(result);
        }
        match result.notes.len() {
            1 if !says_notes => self.labelled("next", ["-v for all figures and a note on them"]),
            notes if !says_notes => {
                self.labelled(
                    "next",
                    [format!("-v for all figures and {notes} notes on them")],
                );
            }
            _ => self.labelled("next", ["-v for all figures", next(result, passed)]),
        }
    }

    /// Whether all notes can be said before the last line.
    fn has_room_for_notes(&self, result: &RunResult) -> bool {
        let mut notes = Self {
            style: self.style,
            out: String::new(),
        };
        notes.notes(result);
        let lines = |text: &str| text.lines().count();
        result.notes.is_empty() || lines(&self.out) + lines(&notes.out) < LINES
    }

    fn brief_latencies(&mut self, result: &RunResult) {
        let classes = ["ack", "relay", "last_relay"].into_iter();
        let lines = classes.filter_map(|class| {
            let latency = result.latency_ns.get(class)?;
            let promised = class != "ack" || latency.count + latency.outstanding() > 0;
            promised.then(|| (class_name(class).to_owned(), latency))
        });
        self.latency_table(&QUANTILES, 9, lines);
    }

    fn brief_rooms(&mut self, result: &RunResult) {
        let Some(rooms) = &result.rooms else {
            return;
        };
        let mut items = vec![
            figures::count(rooms.count),
            format!("{} memberships", figures::count(rooms.memberships)),
        ];
        items.extend(rooms.spread.as_ref().map(|spread| {
            let range = figures::latency_range(spread.relay_p99_min_ns, spread.relay_p99_max_ns);
            format!("relay p99 {range}")
        }));
        self.labelled("rooms", items);
    }

    /// Those that are not met, each; of the others how many they are.
    fn brief_thresholds(&mut self, result: &RunResult) {
        let all = &result.thresholds;
        let met = all.iter().filter(|threshold| threshold.ok == Some(true));
        let met = met.count();
        let others = || all.iter().filter(|threshold| threshold.ok != Some(true));
        if met == all.len() && met <= 1 {
            self.thresholds(all);
        } else if met == all.len() {
            self.labelled("thresholds", [format!("all {met} are met")]);
        } else {
            self.thresholds(others());
            if met > 0 {
                let indent = " ".repeat(LABEL);
                let others = match met {
                    1 => "1 other is met".to_owned(),
                    _ => format!("{met} others are met"),
                };
                self.style.paragraph(&mut self.out, &indent, LABEL, &others);
            }
        }
    }
}

/// What to look at next, beside all figures.
fn next(result: &RunResult, passed: bool) -> &'static str {
    match (passed, result.thresholds.is_empty()) {
        (false, _) => "--out DIR for a report",
        (true, true) => "[thresholds] to say what is fast enough",
        (true, false) => "chatbench search for how much it carries",
    }
}
