//! The page of a search: the answer first, the curves of latency and of throughput against load,
//! and every probe with the limit it met.

use maud::{Markup, html};

use super::probe::{ACK_P99, LAST_RELAY_P99, RELAY_P50, RELAY_P99};
use super::text::answer;
use super::{Found, Probe, shown};
use crate::report::figures;
use crate::report::html::chart::{Axis, Chart, Drawing, Line, Scale, Span};
use crate::report::html::{chart, document};
use crate::report::style::Paint;

/// The page, complete. It holds nothing that is not in `search.json`.
#[must_use]
pub fn render(found: &Found) -> String {
    let scenario = &found.about.scenario;
    let name = match scenario.name.as_str() {
        "" => "search",
        name => name,
    };
    let (paint, words) = answer(found);
    let (class, word) = match paint {
        Paint::Good => ("pass", "LIMIT FOUND"),
        Paint::Bad => ("fail", "DOES NOT HOLD"),
        _ if found.interrupted => ("interrupted", "INTERRUPTED"),
        _ if found.holds.is_some() && found.fails.is_none() => ("pass", "HOLDS"),
        _ => ("inconclusive", "INCONCLUSIVE"),
    };
    let body = html! {
        header {
            div.title { span.verdict.(class) { (word) } h1 { (name) ": how much?" } }
            @if let Some(description) = &scenario.description { p.question { (description) } }
            p.facts { (facts(found).join(" · ")) }
            ul.reasons.(class) { li { (words) } }
        }
        main {
            (tiles(found))
            section {
                h2 { "Against the load" }
                p.note {
                    "Each dot is a full run with " code { (found.vary) } " at that value"
                    @if found.fails.is_some() { "; what did not hold is shaded" }
                    ". Both axes are logarithmic. "
                    @if !found.about.thresholds.is_empty() {
                        "Dashed, in the colour of what it is about: the limit that a threshold sets."
                    }
                }
                (chart("curve", "Latency against load"))
                (chart("throughput", "Acked and delivered a second against load"))
            }
            section {
                h2 { "Every probe" }
                (probes(found))
            }
            @if !found.about.rerun.is_empty() {
                section {
                    h2 { "Search again" }
                    pre.command { code { (found.about.rerun) } }
                }
            }
        }
    };
    let title = format!("{name}: {}", words.replace(&found.vary, found.unit()));
    document(&title, &found.chatbench, &body, &drawing(found))
}

/// Which search this is.
fn facts(found: &Found) -> Vec<String> {
    let about = &found.about;
    let percent = (found.precision * 1e5).round() / 1e3;
    let precision = format!("to within {percent} %");
    let mut facts = vec![
        format!("{} from {}, {precision}", found.vary, shown(found.from)),
        format!("{} runs", found.probes.len()),
    ];
    if about.target.embedded {
        facts.push("the embedded server".to_owned());
    } else if !about.target.url.is_empty() {
        facts.push(about.target.url.clone());
    }
    if let Some(machine) = &about.environment {
        facts.push(format!("{}, {} cpus", machine.host, machine.cpus));
    }
    if !about.started.is_empty() {
        facts.extend([
            format!("seed {}", about.scenario.seed),
            about.started.clone(),
        ]);
    }
    facts
}

/// The key figures: those of the highest load that held.
fn tiles(found: &Found) -> Markup {
    let best = found
        .probes
        .iter()
        .rfind(|p| Some(p.value) == found.holds && p.held());
    let value = |value| figures::known(value, shown);
    let rate = |of: fn(&Probe) -> Option<f64>| figures::known(best.and_then(of), figures::rate);
    let latency = |key| figures::known(best, |probe| probe.latency(key));
    let met = figures::known(found.limit, |limit| limit.name().to_owned());
    let unit = found.unit();
    let tiles = [
        (format!("highest {unit} that holds"), value(found.holds)),
        ("does not hold".to_owned(), value(found.fails)),
        ("the limit met".to_owned(), met),
        ("delivered there".to_owned(), rate(|p| p.delivered_per_s)),
        ("relay p50 there".to_owned(), latency(RELAY_P50)),
        ("relay p99 there".to_owned(), latency(RELAY_P99)),
        (
            "last receiver p99 there".to_owned(),
            latency(LAST_RELAY_P99),
        ),
        ("ack p99 there".to_owned(), latency(ACK_P99)),
    ];
    html! {
        dl.tiles { @for (name, figure) in &tiles { div { dt { (name) } dd { (figure) } } } }
    }
}

fn probes(found: &Found) -> Markup {
    let rate = |rate| figures::known(rate, figures::rate);
    html! {
        div.scroll { table.stack {
            thead { tr {
                th.n scope="col" { (found.unit()) } th scope="col" { "" }
                th.n scope="col" { "acked" } th.n scope="col" { "delivered" }
                th.n scope="col" { "ack p99" } th.n scope="col" { "relay p50" }
                th.n scope="col" { "relay p99" } th.n scope="col" { "last receiver p99" }
            } }
            tbody { @for probe in &found.probes {
                tr.reasoned[!probe.held()] {
                    th.n scope="row" data-head={ (found.unit()) " " } { (shown(probe.value)) }
                    @match probe.limit {
                        None => td.good { "✓ holds" },
                        Some(limit) => td.bad { "✗ " (limit.name()) },
                    }
                    td.n data-head="acked" { (rate(probe.acked_per_s)) }
                    td.n data-head="delivered" { (rate(probe.delivered_per_s)) }
                    td.n data-head="ack p99" { (probe.latency(ACK_P99)) }
                    td.n data-head="relay p50" { (probe.latency(RELAY_P50)) }
                    td.n data-head="relay p99" { (probe.latency(RELAY_P99)) }
                    td.n data-head="last receiver p99" { (probe.latency(LAST_RELAY_P99)) }
                }
                @if let Some(reason) = &probe.reason {
                    tr { td {} td.wide colspan="7" { (reason) } }
                }
            } }
        } }
    }
}

type Reading = fn(&Probe) -> Option<u64>;

/// The curves: a class of latency, its percentile as thresholds write it, its name, and
/// its value.
const CURVES: [(&str, &str, &str, Reading); 4] = [
    ("relay", "p50", "relay p50", |p| p.relay_p50_ns),
    ("relay", "p99", "relay p99", |p| p.relay_p99_ns),
    ("last_relay", "p99", "last receiver p99", |p| {
        p.last_relay_p99_ns
    }),
    ("ack", "p99", "ack p99", |p| p.ack_p99_ns),
];

/// A dot for each value: the run that decided it, which is the first of those at it that held, or
/// the first of all.
fn drawing(found: &Found) -> Drawing {
    let mut deciding: Vec<&Probe> = Vec::new();
    for probe in &found.probes {
        if deciding.last().is_none_or(|last| last.value < probe.value) {
            deciding.push(probe);
        }
    }
    let at: Vec<f64> = deciding.iter().map(|probe| probe.value).collect();
    let mut curves = Vec::new();
    for (shade, (metric, percentile, name, of)) in CURVES.into_iter().enumerate() {
        curves.push(Line::of_ns(
            name,
            shade,
            deciding.iter().map(|probe| of(probe)),
        ));
        for kept in &found.about.thresholds {
            let words = kept.expr.split_whitespace().next();
            if kept.metric == metric && words == Some(percentile) {
                let limit = vec![Some(kept.limit_ns); at.len()];
                let name = format!("{metric} {}", kept.expr);
                curves.push(Line::new(&name, shade, limit).dashed([8, 5]));
            }
        }
    }
    // A logarithmic axis has no place for zero.
    let rates = |of: fn(&Probe) -> Option<f64>| {
        let rates = deciding.iter().map(|probe| of(probe));
        rates.map(|rate| rate.filter(|rate| *rate > 0.0)).collect()
    };
    let throughput = vec![
        Line::new("acked/s", 0, rates(|p| p.acked_per_s)),
        Line::new("offered/s", 0, rates(|p| p.offered_per_s)).dashed([2, 4]),
        Line::new("delivered/s", 1, rates(|p| p.delivered_per_s)),
    ];
    let chart = |id, y, height_px, lines| Chart {
        id,
        x: Axis::Load {
            name: found.unit().to_owned(),
        },
        y,
        height_px,
        dots: true,
        at: at.clone(),
        lines,
    };
    let beyond = found.fails.map(|fails| Span {
        name: "does not hold",
        from: fails,
        to: 2.0 * at.last().copied().unwrap_or(fails),
    });
    Drawing {
        charts: vec![
            chart("curve", Scale::Latency, 300, curves),
            chart("throughput", Scale::LogAmount, 200, throughput),
        ],
        spans: beyond.into_iter().collect(),
        marks: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::report::html::chart::data_of;
    use crate::search::{Limit, sample};

    #[test]
    fn the_answer_comes_first_then_the_curve_with_the_limit_it_met() {
        let page = render(&sample::found(Limit::Latency));
        assert!(page.contains("<span class=\"verdict pass\">LIMIT FOUND</span>"));
        let words = "clients.talkers.rate = 3000 holds, 3500 does not; the limit is latency";
        let answer = page.find(words).unwrap();
        assert!(answer < page.find("<table").unwrap());
        assert!(page.contains("<td class=\"bad\">✗ latency</td>"));
        assert!(page.contains("relay p99 &lt; 50ms: it was 73.9 ms"));
        assert!(page.contains("chatbench search fanout.toml --seed 42"));

        let data = data_of(&page);
        let curve = &data["charts"][0];
        assert_eq!(
            curve["at"],
            serde_json::json!([500, 1000, 2000, 3000, 3500, 4000])
        );
        let lines = curve["lines"].as_array().unwrap();
        let names: Vec<_> = lines
            .iter()
            .map(|line| line["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "relay p50",
                "relay p99",
                "relay p99 < 50ms",
                "last receiver p99",
                "ack p99"
            ]
        );
        assert_eq!(lines[1]["values"][4], 73_900_000);
        assert_eq!(lines[2]["values"][0], 50_000_000);
        assert_eq!(data["spans"][0]["from"], 3_500.0);
        assert_eq!(data["charts"][1]["lines"][2]["values"][0], 50_000);
    }

    #[test]
    fn the_word_is_no_better_than_what_is_known() {
        let table: [(sample::Change, &str); 5] = [
            (|f| f.limit = Some(Limit::Generator), "INCONCLUSIVE"),
            (|f| f.interrupted = true, "INTERRUPTED"),
            (|f| f.fails = None, "HOLDS"),
            (|f| f.holds = None, "DOES NOT HOLD"),
            (|f| (f.holds, f.fails) = (None, None), "INCONCLUSIVE"),
        ];
        for (change, word) in table {
            let mut found = sample::found(Limit::Loss);
            change(&mut found);
            let page = render(&found);
            assert!(page.contains(&format!("\">{word}</span>")), "{word}");
        }
    }

    /// Draws of several attempts at a value the one that held, and lists all of them.
    #[test]
    fn a_value_is_one_dot_however_often_it_was_tried() {
        let mut found = sample::found(Limit::Latency);
        let mut failed = found.probes[0].clone();
        failed.limit = Some(Limit::Latency);
        failed.relay_p99_ns = Some(1);
        found.probes.insert(1, failed);
        let data = data_of(&render(&found));
        assert_eq!(data["charts"][0]["at"].as_array().unwrap().len(), 6);
        assert_eq!(data["charts"][0]["lines"][1]["values"][0], 900_000);
    }

    #[test]
    fn a_search_reads_back_and_its_page_is_the_same() {
        let found = sample::found(Limit::Throughput);
        let json = found.json();
        assert!(Found::is_search(&json) && !Found::is_search(b"{\"schema\": 1}"));
        let read = Found::parse(Path::new("search.json"), &json).unwrap();
        assert!(read == found);
        assert!(render(&read) == render(&found));
    }

    /// As the first versions wrote it: without a word on the scenario.
    #[test]
    fn an_older_search_has_a_page_too() {
        let mut json: Value = serde_json::from_slice(&sample::found(Limit::Loss).json()).unwrap();
        for key in [
            "scenario",
            "target",
            "started",
            "environment",
            "rerun",
            "thresholds",
        ] {
            json.as_object_mut().unwrap().remove(key).unwrap();
        }
        let found = Found::parse(Path::new("old"), json.to_string().as_bytes()).unwrap();
        let page = render(&found);
        assert!(page.contains("search: how much?") && !page.contains("Search again"));
    }
}
