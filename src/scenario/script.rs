//! Scripts: steps from the file, and whether they make sense in their order.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::diagnostic::{Diagnostic, Span, nearest};
use super::membership::{DraftRooms, Steps, room_name};
use super::plan::{Leave, Raw, Step};
use super::section::{Expected, Problems, Section, mismatch};
use super::tree::{Entry, Node, Value};
use super::value::{choice, duration, size, some_time, string, whole};
use crate::wire::ndjson::ErrorCode;

/// The most bytes one `send_raw` sends, repeats included: they are held in memory.
pub(super) const MAX_RAW_BYTES: u64 = 16 << 20;

pub(super) const STEPS: [&str; 12] = [
    "connect",
    "join",
    "leave",
    "publish",
    "await_acks",
    "pause",
    "stop_reading",
    "send_raw",
    "expect_error",
    "send",
    "barrier",
    "disconnect",
];

const LEAVES: [(&str, Leave); 3] = [
    ("polite", Leave::Polite),
    ("abort", Leave::Abort),
    ("close", Leave::Close),
];

/// A script as the driver carries it out.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    /// From a connect to no session open.
    pub(super) steps: Vec<Step>,
    /// Where the barriers it names stand.
    pub(super) barriers: Vec<(String, Span)>,
    /// Where it waits for acks.
    pub(super) awaits_acks: Option<(String, Span)>,
    /// Where it expects an error.
    pub(super) expects_error: Option<(String, Span)>,
    /// What it asks the target, in the order of its steps.
    pub(super) asks: Vec<Ask>,
    /// The rooms that it names, and where.
    pub(super) rooms: Vec<Named>,
    /// Its steps in JSON, defaults filled in.
    pub(super) resolved: Vec<Json>,
}

/// A step that sends a message of the application's protocol, or waits for one. What it says is
/// read with the protocol.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) path: String,
    pub(super) span: Span,
    pub(super) send: Option<Node>,
    pub(super) expect: Option<Node>,
    pub(super) within: Duration,
}

/// A place at which a script names a room.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) room: String,
    pub(super) path: String,
    pub(super) span: Span,
}

/// Reads the steps of `key` of a group, whose clients join `dealt`, and checks their order.
pub(super) fn read(
    problems: &Problems,
    section: &Section<'_>,
    key: &str,
    dealt: Option<&DraftRooms>,
) -> Script {
    let mut script = Script::default();
    let mut session = Session::Open;
    let mut present = Steps::new(dealt);
    let elements = section.elements(key);
    if !matches!(elements.first(), Some((_, node)) if only_key(node) == Some("connect")) {
        script.push(Step::Connect, json!({ "connect": {} }));
    } else {
        session = Session::None;
    }
    for (path, node) in elements {
        if let Some((ask, resolved)) = ask(problems, &path, node) {
            let nth = script.asks.len();
            let within = ask.within;
            let step = Step::Ask { nth, within };
            if let Some(title) = session.refuses(&step) {
                let title = format!("`{path}`: {title}");
                problems.push(Diagnostic::error(title).at(&node.span, ""));
            }
            script.asks.push(ask);
            script.push(step, resolved);
            continue;
        }
        let Some((step, resolved)) = read_step(problems, &path, node) else {
            continue;
        };
        if let Some(title) = session.refuses(&step) {
            problems.push(Diagnostic::error(format!("`{path}`: {title}")).at(&node.span, ""));
        } else if let Some((title, help)) = present.refuses(&step) {
            let error = Diagnostic::error(format!("`{path}`: {title}")).at(&node.span, "");
            problems.push(error.help(help));
        }
        session = session.after(&step);
        present.after(&step);
        let place = || (path.clone(), node.span.clone());
        match &step {
            Step::Barrier(name) => script.barriers.push((name.clone(), node.span.clone())),
            Step::AwaitAcks { .. } => _ = script.awaits_acks.get_or_insert_with(place),
            Step::ExpectError { .. } => _ = script.expects_error.get_or_insert_with(place),
            Step::Join(room)
            | Step::LeaveRoom(room)
            | Step::Publish {
                room: Some(room), ..
            } => script.rooms.push(Named {
                room: room.clone(),
                path: path.clone(),
                span: node.span.clone(),
            }),
            _ => {}
        }
        script.push(step, resolved);
    }
    if session != Session::None {
        script.push(
            Step::Disconnect(Leave::Polite),
            json!({ "disconnect": "polite" }),
        );
    }
    script
}

impl Script {
    /// Numbers what it asks from `first` on.
    pub(super) fn number_asks(&mut self, first: usize) {
        for step in &mut self.steps {
            if let Step::Ask { nth, .. } = step {
                *nth += first;
            }
        }
    }

    /// Whether it publishes anything.
    pub(super) fn publishes(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step, Step::Publish { .. }))
    }

    /// The first room that it leaves.
    pub(super) fn leaves_room(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::LeaveRoom(room) => Some(room.as_str()),
            _ => None,
        })
    }

    fn push(&mut self, step: Step, resolved: Json) {
        self.steps.push(step);
        self.resolved.push(resolved);
    }
}

/// The state of a script's session before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    None,
    Open,
    /// After an expected error that makes the server hang up.
    ClosedByServer,
}

impl Session {
    /// Why `step` makes no sense now.
    fn refuses(self, step: &Step) -> Option<&'static str> {
        match (self, step) {
            (Self::Open, Step::Connect) => Some(
                "connects while connected (a script that does not begin with one connects first)",
            ),
            (_, Step::Connect | Step::Pause { .. } | Step::Barrier(_))
            | (Self::Open, _)
            | (Self::ClosedByServer, Step::Disconnect(_)) => None,
            (Self::None, _) => {
                Some("needs a connection, and the step before it left: connect first")
            }
            (Self::ClosedByServer, _) => {
                Some("needs a connection, and the server closes it with the error expected before")
            }
        }
    }

    fn after(self, step: &Step) -> Self {
        match step {
            Step::Connect => Self::Open,
            Step::Disconnect(_) => Self::None,
            Step::ExpectError { code, .. } if closes(code) => Self::ClosedByServer,
            _ => self,
        }
    }
}

/// Whether the server hangs up after an error of this code (section 6 of the protocol).
fn closes(code: &str) -> bool {
    [
        ErrorCode::LineTooLong,
        ErrorCode::SlowConsumer,
        ErrorCode::ServerFull,
    ]
    .into_iter()
    .any(|closing| closing.as_str() == code)
}

/// The key of a table that has one key.
fn only_key(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Table(table) if table.entries.len() == 1 => Some(&table.entries[0].key),
        _ => None,
    }
}

fn read_step(problems: &Problems, path: &str, node: &Node) -> Option<(Step, Json)> {
    let entry = match &node.value {
        Value::Table(table) if table.entries.len() == 1 => &table.entries[0],
        _ => {
            let form = "a step: a table with one key, such as { pause = \"200ms\" }";
            problems.push(mismatch(path, node, &form.into()));
            return None;
        }
    };
    let kind = entry.key.as_str();
    let path = format!("{path}.{kind}");
    let table = |known: &[&str]| Section::open_entry(problems, path.as_str(), entry, known);
    let (step, resolved) = match kind {
        "connect" => (Step::Connect, table(&[])?.into_resolved()),
        "join" => leaf(problems, &path, entry, room_name, Step::Join)?,
        "leave" => leaf(problems, &path, entry, room_name, Step::LeaveRoom)?,
        "publish" => publish(table(&["count", "every", "room"])?),
        "await_acks" => await_acks(table(&["within"])?),
        "pause" => pause(problems, &path, entry)?,
        "stop_reading" => leaf(problems, &path, entry, some_time, Step::StopReading)?,
        "send_raw" => send_raw(table(&["text", "hex", "repeat", "every"])?)?,
        "expect_error" => expect_error(table(&["code", "within"])?)?,
        "barrier" => leaf(problems, &path, entry, name, Step::Barrier)?,
        "disconnect" => leaf(problems, &path, entry, choice(&LEAVES), Step::Disconnect)?,
        _ => {
            problems.push(no_such_step(&path, entry));
            return None;
        }
    };
    Some((step, json!({ kind: resolved })))
}

/// A step of `send` and `expect`, either alone; `None` where it is another one.
fn ask(problems: &Problems, path: &str, node: &Node) -> Option<(Ask, Json)> {
    let Value::Table(table) = &node.value else {
        return None;
    };
    let of = |key: &str| table.get(key).map(|entry| entry.node.clone());
    let (send, expect) = (of("send"), of("expect"));
    if send.is_none() && expect.is_none() {
        return None;
    }
    let known = ["send", "expect", "within"];
    let mut section = Section::open(problems, path, &node.span, table, &known);
    let within = section.value("within", some_time, "5s");
    let mut resolved = node.to_json();
    if let (Some(object), Json::Object(read)) = (resolved.as_object_mut(), section.into_resolved())
    {
        object.extend(read);
    }
    let ask = Ask {
        path: path.to_owned(),
        span: node.span.clone(),
        send,
        expect,
        within,
    };
    Some((ask, resolved))
}

fn no_such_step(path: &str, entry: &Entry) -> Diagnostic {
    let label = match nearest(&entry.key, STEPS) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => String::new(),
    };
    Diagnostic::error(format!("`{path}`: no such step"))
        .at(&entry.key_span, label)
        .help(format!("steps: {}", STEPS.join(", ")))
}

/// A step that is one value.
fn leaf<T>(
    problems: &Problems,
    path: &str,
    entry: &Entry,
    read: impl Fn(&Node) -> Result<T, Expected>,
    step: impl Fn(T) -> Step,
) -> Option<(Step, Json)> {
    match read(&entry.node) {
        Ok(value) => Some((step(value), entry.node.to_json())),
        Err(expected) => {
            problems.push(mismatch(path, &entry.node, &expected));
            None
        }
    }
}

fn name(node: &Node) -> Result<String, Expected> {
    string(node)
        .ok()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| "a name".into())
}

fn publish(mut section: Section<'_>) -> (Step, Json) {
    let step = Step::Publish {
        count: section.value("count", whole(1..=1_000_000), 1),
        every: section.value("every", duration, "0s"),
        room: section.optional("room", room_name),
    };
    (step, section.into_resolved())
}

fn await_acks(mut section: Section<'_>) -> (Step, Json) {
    let step = Step::AwaitAcks {
        within: section.value("within", some_time, "5s"),
    };
    (step, section.into_resolved())
}

fn pause(problems: &Problems, path: &str, entry: &Entry) -> Option<(Step, Json)> {
    if !matches!(entry.node.value, Value::Table(_)) {
        let fixed = |time: Duration| Step::Pause {
            min: time,
            max: time,
        };
        return leaf(problems, path, entry, duration, fixed);
    }
    let mut section = Section::open_entry(problems, path, entry, &["min", "max"])?;
    let min = section.required("min", duration);
    let max = section.required("max", duration);
    let (min, max) = (min?, max?);
    if min > max {
        let title = format!("`{path}`: `min` is more than `max`");
        problems.push(Diagnostic::error(title).at(&entry.node.span, ""));
    }
    Some((Step::Pause { min, max }, section.into_resolved()))
}

fn send_raw(mut section: Section<'_>) -> Option<(Step, Json)> {
    let text = section.optional("text", |node| string(node).map(String::into_bytes));
    let bytes = section.optional("hex", hex);
    let repeat = section.value("repeat", size(1..=MAX_RAW_BYTES), 1);
    let every = section.value("every", duration, "0s");
    if section.entry("text").is_some() == section.entry("hex").is_some() {
        let title = format!("`{}`: expected one of `text` and `hex`", section.path);
        section.problem(Diagnostic::error(title).at(&section.span, ""));
        return None;
    }
    let once = text.or(bytes)?;
    let total = once.len() as u64 * repeat;
    if total == 0 || total > MAX_RAW_BYTES {
        let title = format!(
            "`{}`: sends {total} bytes; it takes 1 to {MAX_RAW_BYTES}",
            section.path
        );
        section.problem(Diagnostic::error(title).at(&section.span, ""));
        return None;
    }
    let bytes = Raw::new(once, repeat);
    Some((Step::SendRaw { bytes, every }, section.into_resolved()))
}

/// Pairs of hexadecimal digits, spaces between them ignored.
fn hex(node: &Node) -> Result<Vec<u8>, Expected> {
    let expected = "pairs of hexadecimal digits, such as \"ff 00\"";
    let digits: Option<Vec<u8>> = string(node)?
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|d| d.len() % 2 == 0).ok_or(expected)?;
    Ok(digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}

fn expect_error(mut section: Section<'_>) -> Option<(Step, Json)> {
    let codes = ErrorCode::ALL.map(|code| (code.as_str(), code.as_str()));
    let code = section.required("code", choice(&codes));
    let within = section.value("within", some_time, "5s");
    let step = Step::ExpectError {
        code: code?.to_owned(),
        within,
    };
    Some((step, section.into_resolved()))
}
