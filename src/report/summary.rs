//! The terminal summary: the verdict first, then what it rests on.

use hdrhistogram::Histogram;

use super::caveats::Missing;
use super::style::{Paint, Style, left, right};
use super::thresholds::per_second;
use super::{Report, Verdict, bars, figures, violations};
use crate::measure::confidence::range;
use crate::measure::percentile::percentile;
use crate::scenario::plan::{AckPromise, OrderPromise, RelayPromise};
use crate::verify::findings::{Counts, Coverage};

/// Faults shown of those that the embedded server was told to commit; the JSON result has more.
const FAULTS_SHOWN: usize = 5;

/// Columns of the labels (`throughput`) and so the indent of what goes with them.
const LABEL: usize = 13;

/// Columns that the verdict's details are indented by.
const VERDICT: usize = 7;

/// Columns of the first column of the latency table.
const CLASS: usize = 30;

/// Most columns of the relays' distribution.
const SHAPE: usize = 60;

/// Columns of a 95 % interval.
const INTERVAL: usize = 18;

/// The percentiles whose 95 % intervals are shown.
const INTERVALS: [f64; 3] = [50.0, 99.0, 99.9];

/// Service time is shown where a percentile of it is so much lower than that of the response time
/// (in ns, and as a share of it): then the gap is worth a line.
const SERVICE_GAP_NS: u64 = 100_000;
const SERVICE_GAP_SHARE: f64 = 0.1;

/// The whole summary, its last line ended.
#[must_use]
pub fn render(report: &Report, style: Style) -> String {
    let mut page = Page {
        style,
        out: String::new(),
    };
    page.title(report);
    page.blank();
    page.verdict(report);
    violations::render(&report.outcome.findings, style, &mut page.out);
    page.blank();
    page.latencies(report);
    page.shape(report);
    page.intervals(report);
    page.caveats(report);
    page.figures(report);
    page.thresholds(report);
    if report.verdict != Verdict::Pass {
        page.labelled("run again", [&report.rerun]);
    }
    page.out
}

/// A summary being written.
struct Page {
    style: Style,
    out: String,
}

impl Page {
    fn blank(&mut self) {
        self.out.push('\n');
    }

    /// A label, and items with dots between them.
    fn labelled<T: AsRef<str>>(&mut self, label: &str, items: impl IntoIterator<Item = T>) {
        let style = self.style;
        let head = left(&style.paint(Paint::Faint, label), LABEL);
        let items: Vec<_> = items
            .into_iter()
            .map(|item| style.text(item.as_ref()).into_owned())
            .collect();
        style.flow(&mut self.out, &head, LABEL, " · ", &items);
    }

    /// Which run this is.
    fn title(&mut self, report: &Report) {
        let style = self.style;
        let outcome = &report.outcome;
        let dialect = outcome.target_url.split("://").next().unwrap_or_default();
        let target = if outcome.embedded {
            format!("embedded {dialect} server")
        } else {
            outcome.target_url.clone()
        };
        let items = [
            style.paint(Paint::Strong, &report.name),
            format!("seed {}", report.seed),
            style
                .text(&format!(
                    "{} clients → {target}",
                    figures::count(outcome.clients)
                ))
                .into_owned(),
            style.text(&length(report)).into_owned(),
        ];
        style.flow(&mut self.out, "", 2, " · ", items);
        if let Some(question) = report
            .description
            .as_ref()
            .and_then(|d| d.trim().lines().next())
        {
            style.paragraph(&mut self.out, "", 0, question);
        }
    }

    /// The one word, its reasons, and the counts behind it.
    fn verdict(&mut self, report: &Report) {
        let style = self.style;
        let word = report.verdict.name().to_uppercase();
        let paint = match report.verdict {
            Verdict::Pass => Paint::Good,
            Verdict::Fail => Paint::Bad,
            Verdict::Threshold | Verdict::Inconclusive | Verdict::Interrupted => Paint::Doubt,
        };
        let head = left(&format!("{}   ", style.paint(paint, &word)), VERDICT);
        let indent = " ".repeat(VERDICT);
        let counts: Vec<_> = counts(report)
            .iter()
            .map(|item| style.text(item).into_owned())
            .collect();
        let Some((first, others)) = report.reasons.split_first() else {
            style.flow(&mut self.out, &head, VERDICT, " · ", &counts);
            return;
        };
        style.paragraph(&mut self.out, &head, VERDICT, first);
        for reason in others {
            let head = format!("{indent}{} ", style.text("–"));
            style.paragraph(&mut self.out, &head, VERDICT + 2, reason);
        }
        style.flow(&mut self.out, &indent, VERDICT, " · ", &counts);
    }

    /// The table of latencies.
    fn latencies(&mut self, report: &Report) {
        let style = self.style;
        let wide = style.width >= 96;
        let quantiles: &[f64] = if wide {
            &[50.0, 90.0, 99.0, 99.9, 99.99]
        } else {
            &[50.0, 90.0, 99.0, 99.9]
        };
        let column = if wide { 9 } else { 8 };

        let mut head = left("latency from the intended send", CLASS);
        for quantile in quantiles {
            head.push_str(&right(&format!("p{quantile}"), column));
        }
        head.push_str(&right("max", column));
        head.push_str(&right("samples", 10));
        self.out.push_str(&style.paint(Paint::Strong, &head));
        self.blank();

        let measured = &report.outcome.measured;
        let rows = [
            ("ack", &measured.ack),
            ("relay", &measured.relay),
            ("last receiver", &measured.last_relay),
            ("spread first → last", &measured.spread),
        ];
        let unpromised = report.promises.ack == AckPromise::None && measured.ack.is_empty();
        let service = [
            Some(&measured.ack_service),
            Some(&measured.relay_service),
            None,
            None,
        ];
        let mut lines = Vec::new();
        let rows = rows.into_iter().zip(service);
        for ((class, response), service) in rows.skip(usize::from(unpromised)) {
            lines.push((class, response));
            // That of a part of the deliveries compares with nothing.
            let service = service.filter(|s| s.len() == response.len());
            if let Some(service) = service.filter(|s| is_noticeable(response, s, quantiles)) {
                lines.push(("  from the actual send", service));
            }
        }
        for (class, histogram) in lines {
            let mut row = left(&style.text(class), CLASS);
            for quantile in quantiles {
                let ns = percentile(histogram, *quantile);
                row.push_str(&right(&style.text(&latency(ns)), column));
            }
            let max = percentile(histogram, 100.0);
            row.push_str(&right(&style.text(&latency(max)), column));
            row.push_str(&right(&figures::short_count(histogram.len()), 10));
            self.out.push_str(&row);
            self.blank();
        }
    }

    /// How the relays' latencies are distributed, from the least to the greatest, logarithmically.
    fn shape(&mut self, report: &Report) {
        let style = self.style;
        let relay = &report.outcome.measured.relay;
        if relay.is_empty() {
            return;
        }
        let (min, max) = (figures::latency(relay.min()), figures::latency(relay.max()));
        let (min, max) = (style.text(&min), style.text(&max));
        let room = style.width - LABEL - min.chars().count() - max.chars().count() - 2;
        let shape = bars::shape(relay, room.min(SHAPE), style);
        let head = left(&style.paint(Paint::Faint, "relays"), LABEL);
        self.out.push_str(&format!("{head}{min} {shape} {max}\n"));
    }

    /// How far the percentiles can be trusted.
    fn intervals(&mut self, report: &Report) {
        let style = self.style;
        let measured = &report.outcome.measured;
        let messages = measured.last_relay.len();
        let rows = [
            ("ack", &measured.ack, measured.ack.len()),
            ("relay", &measured.relay, messages),
            ("last receiver", &measured.last_relay, messages),
        ];
        let interval = |histogram, quantile, messages| {
            range(histogram, quantile, messages).map(|range| {
                style
                    .text(&figures::latency_range(range.low_ns, range.high_ns))
                    .into_owned()
            })
        };
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(class, histogram, n)| {
                let cells = INTERVALS.map(|quantile| interval(histogram, quantile, n));
                (class, cells)
            })
            .filter(|(_, cells)| cells.iter().any(Option::is_some))
            .collect();
        if rows.is_empty() {
            return;
        }
        let mut head = left("95 % interval", CLASS - INTERVAL / 2);
        for quantile in INTERVALS {
            head.push_str(&right(&format!("p{quantile}"), INTERVAL));
        }
        self.out.push_str(&style.paint(Paint::Strong, &head));
        self.blank();
        for (class, cells) in rows {
            let mut row = left(class, CLASS - INTERVAL / 2);
            for cell in cells {
                let cell = cell.unwrap_or_else(|| style.text("–").into_owned());
                row.push_str(&right(&cell, INTERVAL));
            }
            self.out.push_str(&row);
            self.blank();
        }
    }

    /// What is not in these figures, and what else must be known about them.
    fn caveats(&mut self, report: &Report) {
        let missing = Missing::of(&report.promises, &report.outcome).in_words();
        if !missing.is_empty() {
            self.labelled("not in these", missing);
        }
        let style = self.style;
        for note in &report.notes {
            let head = left(&style.paint(Paint::Doubt, "note"), LABEL);
            style.paragraph(&mut self.out, &head, LABEL, note);
        }
    }

    /// Rates, connections, processes, and what was exercised.
    fn figures(&mut self, report: &Report) {
        self.labelled("throughput", throughput(report));
        self.labelled("connecting", connecting(report));
        let outcome = &report.outcome;
        if let Some(server) = &outcome.server {
            let mut items = vec![cpu(server.cpu.as_secs_f64())];
            let relays = outcome.findings.counts.delivered + outcome.findings.counts.optional;
            if relays > 0 {
                let each_ns = server.cpu.as_nanos() as f64 / relays as f64;
                items.push(format!(
                    "{} a delivery",
                    figures::latency(each_ns.round() as u64)
                ));
            }
            items.push(format!(
                "rss {}",
                figures::bytes(server.max_rss_bytes as f64)
            ));
            self.labelled("server", items);
        }
        if !outcome.faults.is_empty() {
            self.labelled("committed", committed(&outcome.faults));
        }
        let lag = latency(percentile(&outcome.measured.send_lag, 99.0));
        let wake = latency(percentile(&outcome.measured.heartbeat, 99.0));
        let saturated = if outcome.health.is_saturated() {
            "SATURATED"
        } else {
            "not saturated"
        };
        self.labelled(
            "generator",
            [
                cpu(outcome.generator.cpu.as_secs_f64()),
                format!(
                    "rss {}",
                    figures::bytes(outcome.generator.max_rss_bytes as f64)
                ),
                format!("send lag p99 {lag}"),
                format!("wake-up p99 {wake}"),
                format!("busy {:.0} %", outcome.health.busiest() * 100.0),
                saturated.to_owned(),
            ],
        );
        let exercised = exercised(&outcome.findings.coverage);
        if !exercised.is_empty() {
            self.labelled("exercised", exercised);
        }
        if !report.promises.use_seq {
            self.labelled("judged", report.promises.in_words());
        }
        if outcome.measured.saturated > 0 {
            let n = figures::count(outcome.measured.saturated);
            self.labelled(
                "beyond",
                [format!("{n} latencies over an hour, shown as one hour")],
            );
        }
    }

    /// A line a threshold.
    fn thresholds(&mut self, report: &Report) {
        let style = self.style;
        for (i, threshold) in report.thresholds.iter().enumerate() {
            let mark = match threshold.ok {
                Some(true) => style.paint(Paint::Good, "✓"),
                Some(false) => style.paint(Paint::Bad, "✗"),
                None => style.paint(Paint::Doubt, "?"),
            };
            let observed = threshold.observed_text().unwrap_or_else(|| {
                format!(
                    "{} of {} samples",
                    figures::count(threshold.samples),
                    figures::count(threshold.wanted)
                )
            });
            let label = if i == 0 {
                style.paint(Paint::Faint, "thresholds")
            } else {
                String::new()
            };
            let head = format!("{}{mark} ", left(&label, LABEL));
            let text = format!("{} {} ({observed})", threshold.metric, threshold.expr);
            style.paragraph(&mut self.out, &head, LABEL + 2, &text);
        }
    }
}

/// How long was measured, beside what was planned where that differs.
fn length(report: &Report) -> String {
    let planned = figures::span(report.duration);
    let measured_ns = report.outcome.measured.window.length_ns();
    let measured = figures::span(std::time::Duration::from_nanos(measured_ns));
    let measured = if measured == planned {
        planned
    } else {
        format!("{measured} of {planned}")
    };
    if report.warmup.is_zero() {
        return measured;
    }
    format!("{measured} (+{} warm-up)", figures::span(report.warmup))
}

/// The counts that the verdict rests on, and what can be claimed from them.
fn counts(report: &Report) -> Vec<String> {
    let findings = &report.outcome.findings;
    let mut items = counted(&findings.counts);
    if findings.violation_count() == 0 {
        items.push(claim(report));
    }
    items
}

/// The counts that a verdict rests on; exceptions only where there are any.
pub(super) fn counted(counts: &Counts) -> Vec<String> {
    let mut items = vec![
        format!("{} sent", figures::count(counts.sent)),
        format!("{} acked", figures::count(counts.acked)),
        format!("{} owed", figures::count(counts.owed)),
        format!("{} delivered", figures::count(counts.delivered)),
    ];
    let exceptions = [
        (counts.optional, "optional"),
        (counts.lost, "lost"),
        (counts.duplicated, "duplicated"),
        (counts.errors_received, "errors received"),
        (counts.unexpected_closes, "unexpected closes"),
        (counts.unknown_frames, "frames of unknown type"),
    ];
    for (n, what) in exceptions {
        if n > 0 {
            items.push(format!("{} {what}", figures::count(n)));
        }
    }
    items
}

/// What a run without violations has shown: no more than was promised and so checked.
fn claim(report: &Report) -> String {
    if matches!(report.verdict, Verdict::Inconclusive | Verdict::Interrupted) {
        return "no violation seen".to_owned();
    }
    let promises = &report.promises;
    let mut words = Vec::new();
    if promises.relay != RelayPromise::AtMostOnce {
        words.push("lost");
    }
    if promises.relay != RelayPromise::AtLeastOnce {
        words.push("doubled");
    }
    if promises.order != OrderPromise::None {
        words.push("reordered");
    }
    format!("nothing {} or altered", words.join(", "))
}

fn throughput(report: &Report) -> Vec<String> {
    let measured = &report.outcome.measured;
    let counts = &measured.counts;
    let rate = |events| per_second(events, measured);
    let shown = |what: &str, rate: Option<f64>| {
        format!("{what} {}", rate.map_or("–".to_owned(), figures::rate))
    };
    let mut items = Vec::new();
    if let Some(offered) = measured.offered {
        items.push(shown("offered", rate(offered)));
    }
    items.push(shown("sent", rate(counts.sent)));
    if counts.held_by_target > 0 {
        items.push(format!(
            "{} held by the target",
            figures::count(counts.held_by_target)
        ));
    }
    items.push(shown("delivered", rate(counts.delivered)));
    for (what, bytes) in [("in", counts.bytes_in), ("out", counts.bytes_out)] {
        let rate = rate(bytes).map(|bytes| format!("{}/s", figures::bytes(bytes)));
        items.push(format!("{what} {}", rate.as_deref().unwrap_or("–")));
    }
    items
}

fn connecting(report: &Report) -> Vec<String> {
    let outcome = &report.outcome;
    let connect = &outcome.measured.connect;
    let mut items = vec![format!(
        "{} of {} clients",
        figures::count(outcome.connected),
        figures::count(outcome.clients)
    )];
    let sessions = outcome.findings.counts.sessions;
    if sessions > outcome.connected {
        items.push(format!("{} sessions", figures::count(sessions)));
    }
    for (name, quantile) in [("p50", 50.0), ("max", 100.0)] {
        items.push(format!("{name} {}", latency(percentile(connect, quantile))));
    }
    items
}

/// What was really exercised.
pub(super) fn exercised(coverage: &Coverage) -> Vec<String> {
    let all = [
        (coverage.overlapping_sends, "overlapping sends"),
        (coverage.joins_during_traffic, "joins during traffic"),
        (coverage.polite_leaves, "polite leaves"),
        (coverage.aborts, "aborts"),
        (coverage.split_frames, "split frames"),
        (coverage.joined_frames, "joined frames"),
        (coverage.fences_seen, "ends proved"),
    ];
    let some = all.into_iter().filter(|(n, _)| *n > 0);
    some.map(|(n, what)| format!("{} {what}", figures::count(n)))
        .collect()
}

/// Whether any percentile shown is noticeably lower from the actual send.
fn is_noticeable(response: &Histogram<u64>, service: &Histogram<u64>, quantiles: &[f64]) -> bool {
    quantiles.iter().any(|&quantile| {
        let (response, service) = (
            percentile(response, quantile),
            percentile(service, quantile),
        );
        response.zip(service).is_some_and(|(response, service)| {
            let gap = response.saturating_sub(service);
            gap > SERVICE_GAP_NS && gap as f64 > response as f64 * SERVICE_GAP_SHARE
        })
    })
}

/// What a faulty server said that it did wrong.
fn committed(faults: &[String]) -> Vec<String> {
    let told = faults.iter().take(FAULTS_SHOWN);
    let mut items: Vec<String> = told.cloned().collect();
    if faults.len() > FAULTS_SHOWN {
        let more = figures::count((faults.len() - FAULTS_SHOWN) as u64);
        items.push(format!("and {more} more"));
    }
    items
}

fn cpu(seconds: f64) -> String {
    format!("cpu {seconds:.2} s")
}

fn latency(ns: Option<u64>) -> String {
    ns.map_or("–".to_owned(), figures::latency)
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use insta::assert_snapshot;

    use super::*;
    use crate::driver::outcome::Outcome;
    use crate::measure::{Collector, Window};
    use crate::report::sample;
    use crate::scenario::plan::Plan;
    use crate::verify::findings::Example;
    use crate::verify::kind::Kind;

    const COLOUR: Style = Style {
        colour: true,
        ..Style::FILE
    };
    const ASCII: Style = Style {
        unicode: false,
        ..Style::FILE
    };

    fn lose(_: &mut Plan, outcome: &mut Outcome) {
        for i in 0..4 {
            outcome.findings.violation(Kind::LostRelay, || Example {
                at_ns: 4_211_000_000 + i * 1_000_000,
                ..sample::example()
            });
        }
        outcome
            .findings
            .violation(Kind::DuplicateRelay, || Example {
                text: "relayed twice".to_owned(),
                ..sample::example()
            });
        let counts = &mut outcome.findings.counts;
        (counts.delivered, counts.lost, counts.duplicated) = (514_996, 4, 1);
        // The generator stumbled as well, and the response times show it.
        outcome.measured.ack.record_n(3_000_000, 1_000).unwrap();
        outcome
            .measured
            .ack_service
            .record_n(400_000, 1_000)
            .unwrap();
    }

    fn silence(_: &mut Plan, outcome: &mut Outcome) {
        outcome.measured = Collector::new(Window::NEVER, 1).finish(None);
        outcome.findings = Default::default();
        outcome.connected = 0;
        outcome.server = None;
        outcome.inconclusive.push(
            "127.0.0.1:1253: connection refused; start the target, or \
             drop `url` to run against the embedded one"
                .to_owned(),
        );
    }

    fn interrupt(_: &mut Plan, outcome: &mut Outcome) {
        outcome.interrupted = true;
        outcome.measured.window.end_ns = outcome.measured.window.start_ns + 4_200_000_000;
    }

    fn cross(plan: &mut Plan, _: &mut Outcome) {
        plan.thresholds[0].limit = 1e6;
        plan.thresholds[0].expr = "p99 < 1ms".to_owned();
    }

    fn saturate(plan: &mut Plan, outcome: &mut Outcome) {
        outcome.health.offered = 5_000;
        outcome.health.behind = 700;
        outcome.measured.unsent = 700;
        outcome.measured.saturated = 3;
        outcome.measured.last_relay.reset();
        outcome.measured.last_relay.record_n(5_000, 100).unwrap();
        outcome.embedded = false;
        plan.name = "an-overload".to_owned();
    }

    /// All of the above: name, change.
    const ALL: [(&str, sample::Change); 6] = [
        ("pass", |_, _| ()),
        ("fail", lose),
        ("threshold", cross),
        ("inconclusive", saturate),
        ("interrupted", interrupt),
        ("no-samples", silence),
    ];

    #[test]
    fn each_verdict_reads_as_expected() {
        for (name, change) in ALL {
            assert_snapshot!(name, render(&sample::report(change), Style::FILE));
        }
    }

    #[test]
    fn colours_and_ascii_read_as_expected() {
        assert_snapshot!("fail-in-colour", render(&sample::report(lose), COLOUR));
        assert_snapshot!("fail-in-ascii", render(&sample::report(lose), ASCII));
        let wide = Style {
            width: 100,
            ..Style::FILE
        };
        assert_snapshot!("pass-100-columns", render(&sample::report(|_, _| ()), wide));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for (name, change) in ALL {
            for style in [
                Style::FILE,
                COLOUR,
                ASCII,
                Style {
                    width: 100,
                    ..COLOUR
                },
            ] {
                for line in render(&sample::report(change), style).lines() {
                    assert!(measure_text_width(line) <= style.width, "{name}: {line}");
                }
            }
        }
    }

    #[test]
    fn without_colour_there_is_no_escape_and_without_unicode_only_ascii() {
        for (name, change) in ALL {
            let report = sample::report(change);
            assert!(!render(&report, Style::FILE).contains('\x1b'), "{name}");
            assert!(render(&report, ASCII).is_ascii(), "{name}");
        }
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        for (name, change) in ALL {
            let report = sample::report(change);
            let plain = console::strip_ansi_codes(&render(&report, COLOUR)).into_owned();
            assert_eq!(plain, render(&report, Style::FILE), "{name}");
        }
    }

    #[test]
    fn no_more_is_claimed_than_was_promised() {
        let table = [
            (
                RelayPromise::ExactlyOnce,
                OrderPromise::Total,
                "lost, doubled, reordered or altered",
            ),
            (
                RelayPromise::AtMostOnce,
                OrderPromise::Fifo,
                "doubled, reordered or altered",
            ),
            (
                RelayPromise::AtLeastOnce,
                OrderPromise::None,
                "lost or altered",
            ),
        ];
        for (relay, order, claimed) in table {
            let report = sample::report(|plan, _| {
                plan.promises.relay = relay;
                plan.promises.order = order;
            });
            assert_eq!(claim(&report), format!("nothing {claimed}"));
        }
    }

    #[test]
    fn a_hostile_server_cannot_write_to_the_terminal_through_an_example() {
        let report = sample::report(|_, outcome| {
            outcome.findings.violation(Kind::PhantomRelay, || Example {
                text: "came \x1b[2J\x07".to_owned(),
                ..sample::example()
            });
        });
        let text = render(&report, Style::FILE);
        assert!(text.contains(r"came \u{1b}[2J\u{7}"), "{text}");
    }
}
