//! The latencies of a summary: the table, the shape of the relays, and how far it all can be
//! trusted.

use hdrhistogram::Histogram;

use super::{LABEL, Page};
use crate::measure::percentile::percentile as exactly;
use crate::report::columns::{Align, Columns, Listed};
use crate::report::result::{Group, Latency, Promised, RunResult, class_name};
use crate::report::style::{Paint, left};
use crate::report::{bars, figures, groups};
use crate::scenario::plan::AckPromise;

/// Columns of the first column of the latency table, and the fewest: `last receiver`.
const CLASS: usize = 30;
const LEAST: usize = 14;

/// Most columns of the relays' distribution.
const SHAPE: usize = 60;

/// Columns of a 95 % interval.
const INTERVAL: usize = 18;

/// The percentiles whose 95 % intervals are shown.
const INTERVALS: [&str; 3] = ["p50", "p99", "p99.9"];

/// Service time is shown where a percentile of it is so much lower than that of the response time
/// (in ns, and as a share of it): then the gap is worth a line.
const SERVICE_GAP_NS: u64 = 100_000;
const SERVICE_GAP_SHARE: f64 = 0.1;

impl Page {
    /// The table of latencies.
    pub(super) fn latencies(&mut self, result: &RunResult) {
        let style = self.style;
        let (quantiles, width): (&[f64], _) = if style.width >= 96 {
            (&[50.0, 90.0, 99.0, 99.9, 99.99], 9)
        } else {
            (&[50.0, 90.0, 99.0, 99.9], 8)
        };
        self.latency_table(quantiles, width, lines(result, quantiles));
    }

    /// Percentiles of latencies, in columns of this width, and the maximum of each.
    pub(super) fn latency_table<'l>(
        &mut self,
        quantiles: &[f64],
        width: usize,
        lines: impl IntoIterator<Item = (String, &'l Latency)>,
    ) {
        let style = self.style;
        let mut table = Columns::new("latency from the intended send", CLASS, LEAST);
        for quantile in quantiles {
            let head = format!("p{quantile}");
            table.column(&head, width, Align::Right, Listed::Named);
        }
        table.column("max", width, Align::Right, Listed::Named);
        table.column("samples", 10, Align::Right, Listed::Counted);
        for (class, latency) in lines {
            let figures = quantiles.iter().chain(&[100.0]);
            let figures = figures.map(|&percentile| figures::at_least(latency.at(percentile)));
            let samples = figures::short_count(latency.count + latency.outstanding());
            let cells = figures.chain([samples]);
            let cells = cells.map(|cell| style.text(&cell).into_owned()).collect();
            table.row(&style.text(&class), cells);
        }
        table.render(style, &mut self.out);
    }

    /// The distribution of the relays' latencies, from the least to the greatest, logarithmically.
    pub(super) fn shape(&mut self, result: &RunResult) {
        let style = self.style;
        let Some(relay) = result.latency_ns.get("relay") else {
            return;
        };
        let (Some(min), Some(max)) = (relay.min, relay.max) else {
            return;
        };
        let (min, max) = (figures::latency(min), figures::latency(max));
        let (min, max) = (style.text(&min), style.text(&max));
        let room = style.width - LABEL - min.chars().count() - max.chars().count() - 2;
        let shape = bars::shape(&relay.histogram, room.min(SHAPE), style);
        let head = left(&style.paint(Paint::Faint, "relays"), LABEL);
        self.out.push_str(&format!("{head}{min} {shape} {max}\n"));
    }

    /// The intervals that the percentiles lie in.
    pub(super) fn intervals(&mut self, result: &RunResult) {
        let style = self.style;
        let mut table = Columns::new("95 % interval", CLASS - INTERVAL / 2, LEAST);
        for head in INTERVALS {
            table.column(head, INTERVAL, Align::Right, Listed::Named);
        }
        let mut any = false;
        for class in ["ack", "relay", "last_relay"] {
            // The interval of only those that came would say less than is known.
            let latency = result.latency_ns.get(class);
            let latency = latency.filter(|latency| latency.outstanding.is_none());
            let Some(ci95) = latency.map(|latency| latency.ci95) else {
                continue;
            };
            let intervals = [ci95.p50, ci95.p99, ci95.p99_9];
            if intervals.iter().any(Option::is_some) {
                any = true;
                let cells = intervals.map(|interval| {
                    let text = interval.map(|[low, high]| figures::latency_range(low, high));
                    style.text(text.as_deref().unwrap_or("–")).into_owned()
                });
                table.row(class_name(class), cells.to_vec());
            }
        }
        if any {
            table.render(style, &mut self.out);
        }
    }
}

/// The lines of the table: each class, its latency from the actual send where that differs, and the
/// groups where they differ.
fn lines<'a>(result: &'a RunResult, quantiles: &[f64]) -> Vec<(String, &'a Latency)> {
    let latency = |class: &str| result.latency_ns.get(class);
    let no_acks = |judged: &Promised| judged.ack == AckPromise::None.word();
    let unpromised = result.judged.as_ref().is_some_and(no_acks);
    let mut lines = Vec::new();
    for class in ["ack", "relay", "last_relay", "spread"] {
        let Some(response) = latency(class) else {
            continue;
        };
        if class == "ack" && unpromised && response.count == 0 {
            continue;
        }
        lines.push((class_name(class).to_owned(), response));
        // The service time of a part of the deliveries compares with nothing.
        let service = latency(&format!("{class}_service"));
        let service = service.filter(|service| service.count == response.count);
        let noticeable =
            |service: &&Latency| is_noticeable(&response.histogram, &service.histogram, quantiles);
        let service = service.filter(noticeable);
        lines.extend(service.map(|service| ("  from the actual send".to_owned(), service)));
        lines.extend(by_group(class, result));
    }
    lines
}

/// The groups' shares of a class where they differ, and all where something was outstanding.
fn by_group<'a>(class: &str, result: &'a RunResult) -> Vec<(String, &'a Latency)> {
    type Share = fn(&Group) -> Option<&Latency>;
    let (of, preposition, messages): (Share, _, _) = match class {
        "ack" => (|group| group.latency_ns.ack.as_ref(), "from", "ack"),
        "relay" => (|group| group.latency_ns.relay.as_ref(), "to", "last_relay"),
        _ => return Vec::new(),
    };
    let messages = result.latency_ns.get(messages).map_or(0, |all| all.count);
    let groups = result.groups.iter();
    let shares = groups.filter_map(|group| Some((group, of(group)?)));
    let shares: Vec<_> = shares.collect();
    let histograms: Vec<_> = shares.iter().map(|(_, share)| &share.histogram).collect();
    let outstanding = shares.iter().filter(|(_, share)| share.outstanding() > 0);
    let one_hung = (1..shares.len()).contains(&outstanding.count());
    if !one_hung && !groups::differ(&histograms, messages) {
        return Vec::new();
    }
    let line = |(group, share): (&Group, _)| (format!("  {preposition} {}", group.name), share);
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
