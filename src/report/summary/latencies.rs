//! The latencies of a summary: the table, the shape of the relays, and how far it all can be
//! trusted.

use std::borrow::Cow;

use hdrhistogram::Histogram;

use super::{LABEL, Page};
use crate::measure::censored::{AtLeast, percentile};
use crate::measure::confidence::range;
use crate::measure::percentile::percentile as exactly;
use crate::measure::{GroupLatencies, histogram};
use crate::report::style::{Paint, left, right};
use crate::report::{Report, bars, figures, groups};
use crate::scenario::plan::AckPromise;

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

impl Page {
    /// The table of latencies.
    pub(super) fn latencies(&mut self, report: &Report) {
        let style = self.style;
        let wide = style.width >= 96;
        let quantiles: &[f64] = if wide {
            &[50.0, 90.0, 99.0, 99.9, 99.99]
        } else {
            &[50.0, 90.0, 99.0, 99.9]
        };
        // A lower bound takes a column more than a figure.
        let bounds = !report.outcome.measured.censored.last_relay.is_empty()
            || !report.outcome.measured.censored.ack.is_empty();
        let (first, column) = match (wide, bounds) {
            (true, _) => (CLASS, 9),
            (false, true) => (CLASS - 5, 9),
            (false, false) => (CLASS, 8),
        };

        let mut head = left(
            if first < CLASS {
                "latency"
            } else {
                "latency from the intended send"
            },
            first,
        );
        for quantile in quantiles {
            head.push_str(&right(&format!("p{quantile}"), column));
        }
        head.push_str(&right("max", column));
        head.push_str(&right("samples", 10));
        self.out.push_str(&style.paint(Paint::Strong, &head));
        self.blank();

        let measured = &report.outcome.measured;
        let censored = &measured.censored;
        let nothing = histogram();
        let rows = [
            ("ack", &measured.ack, &censored.ack),
            ("relay", &measured.relay, &censored.relay),
            ("last receiver", &measured.last_relay, &censored.last_relay),
            ("spread first → last", &measured.spread, &censored.spread),
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
        for ((class, response, at_least), service) in rows.skip(usize::from(unpromised)) {
            lines.push((Cow::from(class), response, at_least));
            // That of a part of the deliveries compares with nothing.
            let service = service.filter(|s| s.len() == response.len());
            if let Some(service) = service.filter(|s| is_noticeable(response, s, quantiles)) {
                lines.push(("  from the actual send".into(), service, &nothing));
            }
            for (group, came, at_least) in by_group(class, report) {
                lines.push((group, came, at_least.unwrap_or(&nothing)));
            }
        }
        for (class, came, at_least) in lines {
            let mut row = left(&style.text(&class), first);
            for quantile in quantiles.iter().chain(&[100.0]) {
                let cell = at_least_text(percentile(came, at_least, *quantile));
                row.push_str(&right(&style.text(&cell), column));
            }
            let samples = came.len() + at_least.len();
            row.push_str(&right(&figures::short_count(samples), 10));
            self.out.push_str(&row);
            self.blank();
        }
    }

    /// How the relays' latencies are distributed, from the least to the greatest, logarithmically.
    pub(super) fn shape(&mut self, report: &Report) {
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
    pub(super) fn intervals(&mut self, report: &Report) {
        let style = self.style;
        let measured = &report.outcome.measured;
        let messages = measured.last_relay.len();
        let censored = &measured.censored;
        let rows = [
            ("ack", &measured.ack, &censored.ack, measured.ack.len()),
            ("relay", &measured.relay, &censored.relay, messages),
            (
                "last receiver",
                &measured.last_relay,
                &censored.last_relay,
                messages,
            ),
        ];
        let interval = |histogram, at_least: &Histogram<u64>, quantile, messages| {
            // That of those that came alone would say less than is known.
            if !at_least.is_empty() {
                return None;
            }
            range(histogram, quantile, messages).map(|range| {
                style
                    .text(&figures::latency_range(range.low_ns, range.high_ns))
                    .into_owned()
            })
        };
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(class, histogram, at_least, n)| {
                let cells = INTERVALS.map(|quantile| interval(histogram, at_least, quantile, n));
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
}

/// A figure, and whether it may be more.
fn at_least_text(figure: Option<AtLeast>) -> String {
    match figure {
        None => "–".to_owned(),
        Some(AtLeast { ns, open: false }) => figures::latency(ns),
        Some(AtLeast { ns: 0, .. }) => "–".to_owned(), // as if nothing were known
        Some(AtLeast { ns, open: true }) => format!("≥{}", figures::latency(ns)),
    }
}

/// A line of the table: a name, what came, and lower bounds of what did not.
type Line<'a> = (Cow<'a, str>, &'a Histogram<u64>, Option<&'a Histogram<u64>>);

/// The groups' shares of a class where they differ, and all where something was outstanding.
fn by_group<'a>(class: &str, report: &'a Report) -> Vec<Line<'a>> {
    type Share = fn(&GroupLatencies) -> Option<&Histogram<u64>>;
    let measured = &report.outcome.measured;
    let (of, preposition, messages): (Share, _, _) = match class {
        "ack" => (|g| g.ack.as_ref(), "from", measured.ack.len()),
        "relay" => (|g| g.relay.as_ref(), "to", measured.last_relay.len()),
        _ => return Vec::new(),
    };
    let censored = &measured.censored.groups;
    let groups = report.groups.iter().zip(&measured.groups).enumerate();
    let shares: Vec<_> = groups
        .filter_map(|(place, (group, latencies))| {
            let at_least = censored.get(place).and_then(of);
            Some((group.name.as_str(), of(latencies)?, at_least))
        })
        .collect();
    let histograms: Vec<_> = shares.iter().map(|(_, histogram, _)| *histogram).collect();
    let outstanding = shares.iter().filter(|(.., at_least)| at_least.is_some());
    let one_hung = (1..shares.len()).contains(&outstanding.count());
    if !one_hung && !groups::differ(&histograms, messages) {
        return Vec::new();
    }
    let room = CLASS - preposition.len() - 4; // the indent, a space, one to the next column
    let line = |(name, came, at_least): (&str, &'a Histogram<u64>, _)| {
        let name = match name.char_indices().nth(room) {
            Some((end, _)) => &name[..end],
            None => name,
        };
        let name = format!("  {preposition} {name}").into();
        (name, came, at_least)
    };
    shares.into_iter().map(line).collect()
}

/// Whether any percentile shown is noticeably lower from the actual send.
fn is_noticeable(response: &Histogram<u64>, service: &Histogram<u64>, quantiles: &[f64]) -> bool {
    quantiles.iter().any(|&quantile| {
        let (response, service) = (exactly(response, quantile), exactly(service, quantile));
        response.zip(service).is_some_and(|(response, service)| {
            let gap = response.saturating_sub(service);
            gap > SERVICE_GAP_NS && gap as f64 > response as f64 * SERVICE_GAP_SHARE
        })
    })
}
