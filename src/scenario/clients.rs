//! `[clients.*]`: groups of clients that behave alike.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::diagnostic::{Diagnostic, Span, excerpt};
use super::membership::{self, DraftRooms};
use super::pace::{Profile, Stage};
use super::plan::{Arrival, Group, Load, PayloadSize, Repeat, Run, Step};
use super::script::{self, Script};
use super::section::{Expected, Problems, Section, keys_of};
use super::tree::{Entry, Node, Value};
use super::value::{choice, rate, rate_or_silence, size, string, whole};
use crate::wire::rooms::RoomNames;
use crate::wire::{line, ndjson, payload};

/// The most clients one group takes: more than the ports and addresses of one machine.
pub(super) const MAX_COUNT: u32 = 1_000_000;

/// The longest name of a group. It stands in every table.
const MAX_NAME_BYTES: usize = 64;

/// The keys that say what a group does. A group has one of them at most.
const LOADS: [&str; 4] = ["rate", "stages", "in_flight", "script"];

const ARRIVALS: [(&str, Arrival); 2] = [
    ("constant", Arrival::Constant),
    ("poisson", Arrival::Poisson),
];

/// A group as the file has it: its stages are laid over time once the phases are known.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) count: u32,
    pub(super) load: DraftLoad,
    /// The client whose address its messages are to claim, and where that stands.
    pub(super) claims: Option<(String, Span)>,
    pub(super) payload: PayloadSize,
    /// The rooms that its clients join when they connect.
    pub(super) rooms: Option<DraftRooms>,
}

/// The load of a draft's clients.
pub(super) enum DraftLoad {
    Listen,
    Rate(f64, Arrival),
    Stages {
        stages: Vec<Stage>,
        arrival: Arrival,
        span: Span,
    },
    Closed {
        in_flight: u32,
        span: Span,
    },
    Script(Script, Repeat),
}

/// Reads the groups, in the order of the file, with their resolved form.
pub(super) fn read(problems: &Problems, clients: Option<&Entry>) -> (Vec<Draft>, Json) {
    let mut resolved = Map::new();
    let groups = match clients.map(|entry| (&entry.node.value, entry)) {
        Some((Value::Table(table), _)) if !table.entries.is_empty() => &table.entries,
        found => {
            let missing = Diagnostic::error("`clients`: a scenario has at least one group")
                .help("for instance [clients.talkers] with count = 4 and rate = 500");
            let span = found.map_or(0..0, |(_, entry)| entry.key_span.clone());
            problems.push(missing.at(&span, ""));
            return (Vec::new(), Json::Object(resolved));
        }
    };
    let drafts = groups
        .iter()
        .filter_map(|entry| {
            let path = format!("clients.{}", entry.key);
            check_name(problems, entry);
            let section = Section::open_entry(problems, path, entry, keys_of("clients.*"))?;
            let (draft, json) = read_group(problems, entry.key.clone(), section);
            resolved.insert(entry.key.clone(), json);
            Some(draft)
        })
        .collect();
    (drafts, Json::Object(resolved))
}

/// Checks a group's name, which is used in tables, file names and `--set` paths.
fn check_name(problems: &Problems, entry: &Entry) {
    let name = &entry.key;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(fits) {
        let shown = excerpt(name, MAX_NAME_BYTES);
        let title = format!(
            "`clients.{shown:?}`: a group's name is of letters, digits, `_` and `-`, \
             {MAX_NAME_BYTES} at most"
        );
        problems.push(Diagnostic::error(title).at(&entry.key_span, ""));
    }
}

fn read_group(problems: &Problems, name: String, mut section: Section<'_>) -> (Draft, Json) {
    let count = section.value("count", whole(1..=MAX_COUNT), 1);
    let rooms = membership::read(problems, &mut section);
    let load = read_load(problems, &mut section, rooms.as_ref());
    let payload = match &load {
        DraftLoad::Listen => without_payload(&section, "only listens"),
        DraftLoad::Script(script, _) if !publishes(script) => {
            without_payload(&section, "has a script without `publish`")
        }
        _ => read_payload(problems, &mut section),
    };
    let claims = section.optional("client_ip", string);
    let claims = claims.and_then(|claims| {
        let span = section.entry("client_ip")?.node.span.clone();
        Some((claims, span))
    });
    let draft = Draft {
        name,
        span: section.span.clone(),
        count,
        load,
        claims,
        payload,
        rooms,
    };
    (draft, section.into_resolved())
}

fn publishes(script: &Script) -> bool {
    let publish = |step: &Step| matches!(step, Step::Publish { .. });
    script.steps.iter().any(publish)
}

fn read_load(
    problems: &Problems,
    section: &mut Section<'_>,
    rooms: Option<&DraftRooms>,
) -> DraftLoad {
    let present: Vec<&Entry> = LOADS.iter().filter_map(|key| section.entry(key)).collect();
    if let [first, rest @ ..] = present.as_slice() {
        for other in rest {
            let title = format!("`{}` and `{}` exclude each other", first.key, other.key);
            problems.push(
                Diagnostic::error(format!("`{}`: {title}", section.path))
                    .at(&other.key_span, "a group does one thing")
                    .at(&first.key_span, "and this is another")
                    .help("make two groups of it"),
            );
        }
    }
    needs(section, "arrival", &["rate", "stages"]);
    needs(section, "repeat", &["script"]);
    let arrival =
        |section: &mut Section<'_>| section.value("arrival", choice(&ARRIVALS), "constant");
    match present.first().map(|entry| entry.key.as_str()) {
        // A value that is wrong has been reported; what stands in for it is never run.
        Some("rate") => {
            let rate = section.optional("rate", rate).unwrap_or(1.0);
            DraftLoad::Rate(rate, arrival(section))
        }
        Some("stages") => DraftLoad::Stages {
            stages: read_stages(problems, section),
            arrival: arrival(section),
            span: present[0].node.span.clone(),
        },
        Some("in_flight") => DraftLoad::Closed {
            in_flight: section
                .optional("in_flight", whole(1..=1_000_000))
                .unwrap_or(1),
            span: present[0].node.span.clone(),
        },
        Some("script") => {
            let script = script::read(problems, section, "script", rooms);
            section.resolve("script", script.resolved.clone().into());
            DraftLoad::Script(script, section.value("repeat", repeat, 1))
        }
        _ => DraftLoad::Listen,
    }
}

/// Notes a `key` without any of `others`, beside which alone it makes sense.
fn needs(section: &Section<'_>, key: &str, others: &[&str]) {
    if let Some(entry) = section.entry(key)
        && others.iter().all(|other| section.entry(other).is_none())
    {
        let title = format!(
            "`{}` needs `{}`",
            section.path_of(key),
            others.join("` or `")
        );
        section.problem(Diagnostic::error(title).at(&entry.key_span, "does nothing alone"));
    }
}

fn repeat(node: &Node) -> Result<Repeat, Expected> {
    if matches!(&node.value, Value::String(word) if word == "forever") {
        return Ok(Repeat::Forever);
    }
    whole(1..=u32::MAX)(node)
        .map(Repeat::Times)
        .map_err(|expected| format!("{}, or \"forever\"", expected.what).into())
}

fn read_stages(problems: &Problems, section: &mut Section<'_>) -> Vec<Stage> {
    let mut resolved = Vec::new();
    let mut stages = Vec::new();
    let elements = section.elements("stages");
    for (path, node) in &elements {
        let Value::Table(table) = &node.value else {
            let form = "a stage such as { duration = \"5s\", rate = 100 }";
            problems.push(super::section::mismatch(path, node, &form.into()));
            continue;
        };
        let known = ["duration", "rate"];
        let mut stage = Section::open(problems, path.as_str(), &node.span, table, &known);
        let duration = stage.required("duration", super::value::duration);
        let rate = stage.required("rate", rate_or_silence);
        if let (Some(duration), Some(rate)) = (duration, rate) {
            stages.push(Stage { duration, rate });
        }
        resolved.push(stage.into_resolved());
    }
    let silent = stages.iter().all(|stage| stage.rate == 0.0);
    if let Some(entry) = section.entry("stages")
        && matches!(entry.node.value, Value::Array(_))
        && stages.len() == elements.len()
        && silent
    {
        let title = format!(
            "`{}`: expected a stage with a rate above 0",
            section.path_of("stages")
        );
        section.problem(Diagnostic::error(title).at(&entry.node.span, "sends nothing"));
    }
    section.resolve("stages", resolved.into());
    stages
}

/// The longest load message whose publish and whose relay both fit the line limit (F2), whatever
/// the numbers and the address in them.
pub(super) static MAX_PAYLOAD_BYTES: LazyLock<u32> = LazyLock::new(|| {
    let publish_bytes = ndjson::publish_line_bytes(0);
    let mut relay = Vec::new();
    let longest_address = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
    ndjson::encode_relay(&mut relay, u64::MAX, longest_address, "");
    (line::DEFAULT_MAX_LINE_BYTES - publish_bytes.max(relay.len())) as u32
});

/// A payload is not read where nothing is published: a warning, since it harms nobody.
fn without_payload(section: &Section<'_>, why: &str) -> PayloadSize {
    if let Some(entry) = section.entry("payload") {
        let title = format!(
            "`{}` has no effect: the group {why}",
            section.path_of("payload")
        );
        section.problem(Diagnostic::warning(title).at(&entry.key_span, ""));
    }
    PayloadSize { min: 64, max: 64 }
}

fn read_payload(problems: &Problems, section: &mut Section<'_>) -> PayloadSize {
    let default = PayloadSize { min: 64, max: 64 };
    let path = section.path_of("payload");
    let Some(entry) = section.entry("payload") else {
        section.resolve("payload", json!({ "size": default.min }));
        return default;
    };
    let known = keys_of("clients.*.payload");
    let Some(mut payload) = Section::open_entry(problems, path.as_str(), entry, known) else {
        return default;
    };
    let range = payload::HEADER_BYTES as u64..=u64::from(*MAX_PAYLOAD_BYTES);
    let bytes = |node: &Node| size(range.clone())(node).map(|bytes| bytes as u32);
    let ranged = payload.entry("min").is_some() || payload.entry("max").is_some();
    let read = if ranged {
        let (min, max) = (
            payload.required("min", bytes),
            payload.required("max", bytes),
        );
        min.zip(max)
    } else {
        let size = payload.required("size", bytes);
        size.zip(size)
    };
    if let Some(size) = payload.entry("size").filter(|_| ranged) {
        let title = format!("`{path}`: `size` excludes `min` and `max`");
        problems.push(Diagnostic::error(title).at(&size.key_span, ""));
    }
    let (min, max) = read.unwrap_or((default.min, default.max));
    if min > max {
        let title = format!("`{path}`: `min` is more than `max`");
        problems.push(Diagnostic::error(title).at(&entry.node.span, ""));
    }
    section.resolve("payload", payload.into_resolved());
    PayloadSize { min, max }
}

/// Numbers what the scripts ask the target, over all groups, and returns it in that order.
pub(super) fn number_asks(drafts: &mut [Draft]) -> Vec<script::Ask> {
    let mut asks = Vec::new();
    for draft in drafts {
        if let DraftLoad::Script(script, _) = &mut draft.load {
            script.number_asks(asks.len());
            asks.extend(script.asks.iter().cloned());
        }
    }
    asks
}

/// How long the longest of the groups' stages are, all together.
pub(super) fn staged(drafts: &[Draft]) -> Duration {
    let sums = drafts.iter().map(|draft| match &draft.load {
        DraftLoad::Stages { stages, .. } => stages.iter().map(|stage| stage.duration).sum(),
        _ => Duration::ZERO,
    });
    sums.max().unwrap_or_default()
}

impl Draft {
    /// How many rooms each of its clients joins when it connects.
    pub(super) fn rooms_each(&self) -> u64 {
        self.rooms.as_ref().map_or(0, |rooms| u64::from(rooms.each))
    }

    /// Lays the group over the phases of the run, which has these rooms.
    pub(super) fn finish(self, run: &Run, rooms: &RoomNames) -> Group {
        let start_ns = run.warmup.as_nanos() as u64;
        let end_ns = start_ns + run.duration.as_nanos() as u64;
        let load = match self.load {
            DraftLoad::Listen => Load::Listen,
            DraftLoad::Rate(rate, arrival) => Load::Open {
                profile: Arc::new(Profile::constant(rate, end_ns)),
                arrival,
            },
            DraftLoad::Stages {
                stages, arrival, ..
            } => Load::Open {
                profile: Arc::new(Profile::stages(start_ns, &stages, end_ns)),
                arrival,
            },
            DraftLoad::Closed { in_flight, .. } => Load::Closed { in_flight },
            DraftLoad::Script(script, repeat) => Load::Script {
                steps: script.steps.into(),
                repeat,
            },
        };
        Group {
            name: self.name,
            count: self.count,
            load,
            claims: self.claims.map(|(claims, _)| claims),
            payload: self.payload,
            rooms: self.rooms.map(|dealt| dealt.finish(rooms)),
        }
    }
}
