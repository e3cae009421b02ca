//! The HTML report: one file that opens anywhere, without a network.
//!
//! All that matters is text and tables, so that it reads without scripts, prints, and can be
//! searched and read aloud; the charts are drawn over it by uPlot, embedded with its licence. A
//! content security policy forbids the page to load anything. Everything that a scenario or a
//! target says is escaped by the markup macro; the charts' data is escaped for its own element.

pub(crate) mod chart;
mod charts;
pub mod compared;
mod judged;
mod latency;
mod rooms;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::figures;
use super::result::{Counts, Point, Promised, RunResult};
use super::summary::coverage;
use chart::Drawing;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");
const UPLOT: &str = include_str!("html/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("html/uplot/uPlot.min.css");
const UPLOT_LICENCE: &str = include_str!("html/uplot/LICENSE");

/// The page of a run, complete.
#[must_use]
pub fn render(result: &RunResult) -> String {
    let title = format!(
        "{}: {}",
        result.scenario.name,
        result.verdict.to_uppercase()
    );
    let body = html! {
        (header(result))
        main {
            // Of a run that did not come about there are no figures.
            @if let Some(all) = &result.counts {
                (tiles(result, all))
                (judged::violations(result))
                (judged::thresholds(result))
                (latency::by_class(result))
                (latency::by_group(result))
                (rooms::rooms(result))
                (over_time(result))
                (counts(result, all))
                (latency::generator(result))
            } @else {
                section { p { "Nothing was measured, and nothing verified." } }
            }
            (scenario(result))
            (environment(result))
        }
    };
    document(&title, &result.chatbench, &body, &charts::drawing(result))
}

/// A whole page: what every page has around its body.
pub(crate) fn document(title: &str, version: &str, body: &Markup, drawing: &Drawing) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
                meta name="generator" content={ "chatbench " (version) };
                title { (title) " · chatbench" }
                style { (PreEscaped(UPLOT_STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                (body)
                footer {
                    "Made by chatbench " (version) ". Charts: uPlot, MIT licence."
                }
                script type="application/json" id="data" { (drawing.json()) }
                (PreEscaped(format!("<script>\n/*\n{UPLOT_LICENCE}\n*/\n{UPLOT}</script>")))
                (PreEscaped(format!("<script>\n{SCRIPT}</script>")))
            }
        }
    };
    page.into_string()
}

/// The verdict first, and which run this is.
fn header(result: &RunResult) -> Markup {
    let scenario = &result.scenario;
    let target = if result.target.embedded {
        format!("the embedded server ({})", result.target.url)
    } else {
        result.target.url.clone()
    };
    html! {
        header {
            div.title {
                span.verdict.(result.verdict) { (result.verdict.to_uppercase()) }
                h1 { (scenario.name) }
            }
            @if let Some(description) = &scenario.description {
                p.question { (description) }
            }
            p.facts {
                @if let Some(counts) = &result.counts { (figures::count(counts.clients)) " clients → " }
                (target)
                " · seed " (scenario.seed)
                " · " (figures::span(result.window.length())) " measured"
                " · " time datetime=(result.started) { (result.started) }
            }
            @if !result.reasons.is_empty() {
                ul.reasons.(result.verdict) {
                    @for reason in &result.reasons { li { (reason) } }
                }
            }
            @for note in &result.notes { p.note { strong.doubt { "Note" } " " (note) } }
        }
    }
}

/// The key figures.
fn tiles(result: &RunResult, counts: &Counts) -> Markup {
    let latency = |class: &str, percentile| {
        let latency = result.latency_ns.get(class);
        figures::at_least(latency.and_then(|latency| latency.at(percentile)))
    };
    let delivered = figures::known(result.rates.delivered, figures::rate);
    let wrong = result.violation_count();
    let tiles = [
        ("violations", figures::count(wrong), wrong > 0),
        ("owed", figures::count(counts.verified.owed), false),
        (
            "delivered",
            figures::count(counts.verified.delivered),
            false,
        ),
        (
            "lost",
            figures::count(counts.verified.lost),
            counts.verified.lost > 0,
        ),
        ("deliveries", delivered, false),
        ("relay p50", latency("relay", 50.0), false),
        ("relay p99", latency("relay", 99.0), false),
        ("last receiver p99", latency("last_relay", 99.0), false),
    ];
    html! {
        dl.tiles {
            @for (name, figure, bad) in &tiles {
                div.bad[*bad] { dt { (name) } dd { (figure) } }
            }
        }
    }
}

fn over_time(result: &RunResult) -> Markup {
    let step_s = charts::step_s(result.timeline.len());
    let latency = |ns| figures::known(ns, figures::latency);
    let part_s = |point: &Point| charts::part_s(point, result.elapsed_ns);
    html! {
        section {
            h2 { "Over time" }
            p.note {
                @if step_s > 1 {
                    "One point for " (step_s) " s: rates are means, latencies the worst \
                     second of it. "
                } @else {
                    "One point a second. "
                }
                @if let Some(part_s) = result.timeline.last().and_then(part_s) {
                    "The run ended " (format!("{part_s:.3}")) " s into its last second: rates there \
                     are by that. "
                }
                "What was not measured is shaded"
                @if !result.violations.is_empty() { "; ▼ marks a violation" }
                "."
            }
            (chart("latency", "Relay latency over time: median, 99th percentile and greatest"))
            (chart("deliveries", "Deliveries a second over time"))
            (chart("publishes", "Messages sent and acked a second over time"))
            (chart("clients", "Clients connected over time"))
            details {
                summary { "As a table" }
                // There may be a thousand rows: the heads of the stacked layout are in the style
                // sheet and not in each cell.
                div.scroll { table.stack.seconds {
                    thead { tr {
                        th.n scope="col" { "second" } th.n scope="col" { "sent" }
                        th.n scope="col" { "acked" } th.n scope="col" { "delivered" }
                        th.n scope="col" { "clients" } th.n scope="col" { "relay p50" }
                        th.n scope="col" { "p99" } th.n scope="col" { "max" }
                    } }
                    tbody { @for point in result.timeline.iter().take(TABLE_ROWS) { tr {
                        th.n scope="row" {
                            (point.t_ns / 1_000_000_000)
                            @if let Some(part_s) = part_s(point) {
                                small { (format!("{part_s:.3} s of it")) }
                            }
                        }
                        td.n { (figures::count(point.sent)) }
                        td.n { (figures::count(point.acked)) }
                        td.n { (figures::count(point.delivered)) }
                        td.n { (figures::count(point.clients)) }
                        td.n { (latency(point.relay_p50_ns)) }
                        td.n { (latency(point.relay_p99_ns)) }
                        td.n { (latency(point.relay_max_ns)) }
                    } } }
                } }
                @if result.timeline.len() > TABLE_ROWS {
                    p.note {
                        "The first " (figures::count(TABLE_ROWS as u64)) " of "
                        (figures::count(result.timeline.len() as u64))
                        " seconds; result.json has all."
                    }
                }
            }
        }
    }
}

/// Seconds in the timeline's table: twenty minutes, 150 KiB.
const TABLE_ROWS: usize = 1_200;

/// A place for a chart; without scripts it takes no room.
pub(crate) fn chart(id: &str, says: &str) -> Markup {
    html! {
        figure.chart id={ "chart-" (id) } tabindex="0" role="group" aria-label=(says) hidden {
            figcaption { (says.split([':', ';', ',']).next().unwrap_or(says)) }
            div.plot {}
            p.sr aria-live="polite" {}
        }
    }
}

fn counts(result: &RunResult, counts: &Counts) -> Markup {
    let Counts {
        clients,
        connected,
        verified,
    } = counts;
    let all = [
        ("clients", *clients),
        ("connected", *connected),
        ("sent", verified.sent),
        ("acked", verified.acked),
        ("owed", verified.owed),
        ("delivered", verified.delivered),
        ("optional", verified.optional),
        ("lost", verified.lost),
        ("duplicated", verified.duplicated),
        ("errors received", verified.errors_received),
        ("unexpected closes", verified.unexpected_closes),
    ];
    let rates = &result.rates;
    let rate = |rate| figures::known(rate, figures::rate);
    let volume = |rate| figures::known(rate, figures::volume);
    let rates = [
        ("acked", rate(rates.acked)),
        ("bytes in", volume(rates.bytes_in)),
        ("bytes out", volume(rates.bytes_out)),
        ("delivered", rate(rates.delivered)),
        ("offered", rate(rates.offered)),
        ("sent", rate(rates.sent)),
    ];
    let exercised = result.coverage.iter().flat_map(coverage);
    html! {
        div.pair {
            section {
                h2 { "Counts" }
                p.note { "Over the whole run, warm-up and drain included." }
                (plain_table(all.into_iter().map(|(name, n)| (name.to_owned(), figures::count(n)))))
            }
            section {
                h2 { "Exercised" }
                p.note { "What this run really put to the test." }
                (plain_table(exercised.map(|(n, what)| (what.to_owned(), figures::count(n)))))
            }
            section {
                h2 { "Throughput" }
                p.note { "A second, in the measured phase." }
                (plain_table(rates.into_iter().map(|(name, rate)| (name.to_owned(), rate))))
            }
        }
    }
}

pub(crate) fn plain_table(rows: impl Iterator<Item = (String, String)>) -> Markup {
    html! {
        table.plain { tbody { @for (name, value) in rows {
            tr { th scope="row" { (name) } td.n { (value) } }
        } } }
    }
}

fn scenario(result: &RunResult) -> Markup {
    let resolved = &result.scenario.resolved;
    html! {
        section {
            h2 { "Scenario" }
            (groups(resolved))
            @if let Some(judged) = &result.judged { p.note { (judged_by(judged)) } }
            p.note { "Every key with its value. To run it again:" }
            pre.command { code { (result.rerun) } }
            details {
                summary { "The whole scenario" }
                pre { code { (as_toml(resolved)) } }
            }
        }
    }
}

/// By what the target was judged, and by which promises.
fn judged_by(judged: &Promised) -> String {
    let [how, promises @ ..] = judged.in_words();
    format!("Judged {how}: {}.", promises.join(", "))
}

/// The groups of clients, as far as the scenario says anything about them.
fn groups(resolved: &Value) -> Markup {
    let Some(groups) = resolved.get("clients").and_then(Value::as_object) else {
        return html! {};
    };
    html! {
        div.scroll { table.stack {
            thead { tr {
                th scope="col" { "group" } th.n scope="col" { "clients" } th scope="col" { "does" }
            } }
            tbody { @for (name, group) in groups { tr {
                th scope="row" { (name) }
                td.n data-head="clients" { (group.get("count").and_then(Value::as_u64).map_or("1".to_owned(), figures::count)) }
                td.wide data-head="does" { (load(group)) }
            } } }
        } }
    }
}

/// The load of a group, in words.
fn load(group: &Value) -> String {
    let steps = |key: &str| group.get(key).and_then(Value::as_array).map(Vec::len);
    if let Some(rate) = group.get("rate").and_then(Value::as_f64) {
        let arrival = group.get("arrival").and_then(Value::as_str);
        return format!(
            "sends {} on a {} schedule",
            figures::rate(rate),
            arrival.unwrap_or("constant")
        );
    }
    if let Some(stages) = steps("stages") {
        return format!("sends at a rate of {stages} stages");
    }
    if let Some(in_flight) = group.get("in_flight").and_then(Value::as_u64) {
        return format!("sends as fast as acks come, {in_flight} in flight each");
    }
    match steps("script") {
        Some(steps) => format!("follows a script of {steps} steps"),
        None => "listens".to_owned(),
    }
}

/// As the file would say it; what TOML has no word for (`null`) falls back to JSON.
fn as_toml(resolved: &Value) -> String {
    toml::to_string(resolved).unwrap_or_else(|_| format!("{resolved:#}"))
}

fn environment(result: &RunResult) -> Markup {
    let machine = &result.environment;
    let mut rows = vec![
        ("host", machine.host.clone()),
        (
            "system",
            format!("{}, kernel {}", machine.os, machine.kernel),
        ),
        ("processors", machine.cpus.to_string()),
        (
            "generator",
            format!(
                "cpu {:.2} s · rss {} · {}",
                result.generator.cpu_s,
                figures::bytes(result.generator.max_rss_bytes as f64),
                result.generator.state()
            ),
        ),
    ];
    if let Some(server) = &result.server {
        let rss = figures::bytes(server.max_rss_bytes as f64);
        rows.push(("server", format!("cpu {:.2} s · rss {rss}", server.cpu_s)));
    }
    rows.push(("chatbench", result.chatbench.clone()));
    html! {
        section {
            h2 { "Environment" }
            (plain_table(rows.into_iter().map(|(name, value)| (name.to_owned(), value))))
        }
    }
}

#[cfg(test)]
mod tests;
