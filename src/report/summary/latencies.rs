//! The latencies of a summary: the table, the shape of the relays, and how far it all can be
//! trusted.

use std::borrow::Cow;

use hdrhistogram::Histogram;

use super::{LABEL, Page};
use crate::measure::censored::percentile;
use crate::measure::confidence::range;
use crate::measure::percentile::percentile as exactly;
use crate::measure::{GroupLatencies, histogram};
use crate::report::columns::{Align, Columns, Listed};
use crate::report::style::{Paint, left};
use crate::report::{Report, bars, figures, groups};
use crate::scenario::plan::AckPromise;

/// Columns of the first column of the latency table, and the fewest: `last receiver`.
const CLASS: usize = 30;
const LEAST: usize = 14;

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
        let (quantiles, width): (&[f64], _) = if style.width >= 96 {
            (&[50.0, 90.0, 99.0, 99.9, 99.99], 9)
        } else {
            (&[50.0, 90.0, 99.0, 99.9], 8)
        };
        let mut table = Columns::new("latency from the intended send", CLASS, LEAST);
        for quantile in quantiles {
            let head = format!("p{quantile}");
            table.column(&head, width, Align::Right, Listed::Named);
        }
        table.column("max", width, Align::Right, Listed::Named);
        table.column("samples", 10, Align::Right, Listed::Counted);

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
            lines.push((Cow::from(class), Cow::Borrowed(response), at_least));
            // That of a part of the deliveries compares with nothing.
            let service = service.filter(|s| s.len() == response.len());
            if let Some(service) = service.filter(|s| is_noticeable(response, s, quantiles)) {
                let service = Cow::Borrowed(service);
                lines.push(("  from the actual send".into(), service, &nothing));
            }
            for (group, came, at_least) in by_group(class, report) {
                lines.push((group, came, at_least.unwrap_or(&nothing)));
            }
        }
        for (class, came, at_least) in lines {
            let figures = quantiles.iter().chain(&[100.0]);
            let figures = figures.map(|p| figures::at_least(percentile(&came, at_least, *p)));
            let samples = figures::short_count(came.len() + at_least.len());
            let cells = figures.chain([samples]);
            let cells = cells.map(|cell| style.text(&cell).into_owned()).collect();
            table.row(&style.text(&class), cells);
        }
        table.render(style, &mut self.out);
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
        let mut table = Columns::new("95 % interval", CLASS - INTERVAL / 2, LEAST);
        for quantile in INTERVALS {
            let head = format!("p{quantile}");
            table.column(&head, INTERVAL, Align::Right, Listed::Named);
        }
        let mut any = false;
        for (class, histogram, at_least, n) in rows {
            let cells = INTERVALS.map(|quantile| interval(histogram, at_least, quantile, n));
            if cells.iter().any(Option::is_some) {
                any = true;
                let none = || style.text("–").into_owned();
                let cells = cells.map(|cell| cell.unwrap_or_else(none));
                table.row(class, cells.to_vec());
            }
        }
        if any {
            table.render(style, &mut self.out);
        }
    }
}

/// A line of the table: a name, what came, and lower bounds of what did not.
type Line<'a> = (
    Cow<'a, str>,
    Cow<'a, Histogram<u64>>,
    Option<&'a Histogram<u64>>,
);

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
    let groups = report.groups.iter().enumerate();
    let shares: Vec<_> = groups
        .filter_map(|(place, group)| {
            let came = measured.groups.get(place).and_then(of);
            let at_least = censored.get(place).and_then(of);
            (came.is_some() || at_least.is_some()).then_some((&*group.name, came, at_least))
        })
        .collect();
    let histograms: Vec<_> = shares.iter().filter_map(|(_, came, _)| *came).collect();
    let outstanding = shares.iter().filter(|(.., at_least)| at_least.is_some());
    let one_hung = (1..shares.len()).contains(&outstanding.count());
    if !one_hung && !groups::differ(&histograms, messages) {
        return Vec::new();
    }
    let line = |(name, came, at_least): (&str, Option<&'a Histogram<u64>>, _)| {
        let name = format!("  {preposition} {name}").into();
        let came = came.map_or_else(|| Cow::Owned(histogram()), Cow::Borrowed);
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
