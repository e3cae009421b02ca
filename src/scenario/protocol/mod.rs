//! `[protocol]`: how an application talks, read into a [`Spec`].
//!
//! Names come first: matches define those that they capture, so they are read before the templates
//! that may refer to them.

mod checks;
mod inputs;
pub(super) mod nats;
pub mod presets;
pub(super) mod redis;
mod steps;
pub mod systems;
mod texts;
pub mod url;
mod users;
mod vars;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::diagnostic::{Diagnostic, Span, nearest};
use super::plan::TargetUrl;
use super::script::Ask;
use super::section::{Expected, Problems, Section, keys_of, mismatch};
use super::tree::{Entry, Node, Table, Value};
use super::value::{boolean, duration, some_time, string, whole};
use crate::wire::application::matching::Match;
use crate::wire::application::spec::{Ack, Heartbeat, Reconnect, Spec, Transport};
use crate::wire::application::template::{Template, is_name};
use crate::wire::application::variables::Name;
use crate::wire::protocol::Spoken;

pub(super) use checks::check;
pub(super) use inputs::{Inputs, prepare};
use texts::Texts;
use url::DescribedUrl;

/// What of the rest of a scenario a description depends on.
#[derive(Debug)]
pub(super) struct Around<'a> {
    /// The target.
    pub(super) url: &'a TargetUrl,
    /// Where the URL stands.
    pub(super) url_span: Span,
    /// How many clients there are, observers included.
    pub(super) clients: u64,
    /// What scripts ask the target, in the order of their numbers.
    pub(super) asks: &'a [Ask],
}

/// Header fields that the WebSocket's handshake has of its own.
const OWN_HEADERS: [&str; 4] = ["host", "upgrade", "connection", "content-length"];

/// The time that an answer may take unless a step says otherwise.
const DEFAULT_WITHIN: &str = "5s";

/// Reads the section; `None` where there is none, or where it is of no use.
pub(super) fn read(
    problems: &Problems,
    file: &mut Section<'_>,
    inputs: &Inputs,
    around: &Around<'_>,
) -> Option<Spoken> {
    if let TargetUrl::Described(url) = around.url
        && url.scheme.is_system()
    {
        return Some(match url.scheme.is_nats() {
            true => Spoken::Nats(nats::read(problems, file, inputs, around, url)?.into()),
            false => Spoken::Redis(redis::read(problems, file, inputs, around, url)?.into()),
        });
    }
    let entry = file.entry("protocol")?;
    let TargetUrl::Described(url) = around.url else {
        let title = "`protocol`: only of a target at ws://, wss://, tcp:// or tls://";
        let error = Diagnostic::error(title).at(&entry.key_span, "says how an application talks");
        let label = "this target speaks another protocol";
        problems.push(error.at(&around.url_span, label));
        return None;
    };
    let section = Section::open_entry(problems, "protocol", entry, keys_of("protocol"))?;
    for key in systems::OWN_KEYS {
        let Some(entry) = section.entry(key) else {
            continue;
        };
        let owners = systems::owners(key);
        let title = format!("`protocol.{key}`: belongs to targets at {owners}");
        let label = format!("this target is {}://", url.scheme.name());
        section.problem(Diagnostic::error(title).at(&entry.key_span, label));
    }
    let reader = Reader {
        texts: Texts::new(problems),
        section: &section,
        inputs,
        around,
        url,
    };
    let spec = reader.read(url.scheme.is_websocket());
    file.resolve("protocol", resolved(entry));
    spec.map(|spec| Spoken::Application(Arc::new(spec)))
}

/// The section as it was read, without what may be secret.
fn resolved(entry: &Entry) -> Json {
    let mut json = entry.node.to_json();
    let vars = json.get_mut("vars").and_then(Json::as_object_mut);
    for var in vars.into_iter().flat_map(Map::values_mut) {
        match var {
            Json::String(text) => hide(text),
            Json::Object(function) => {
                for (key, text) in function {
                    // What is signed is said in a message anyway.
                    if let (Json::String(text), true) = (text, key != "hmac_sha256") {
                        hide(text);
                    }
                }
            }
            _ => {}
        }
    }
    json
}

/// Replaces a value that is written out, and not only made of names.
fn hide(text: &mut String) {
    let mut rest = text.as_str();
    while let Some(hole) = rest.strip_prefix('{') {
        match hole.split_once('}') {
            Some((name, after)) if is_name(name) => rest = after,
            _ => break,
        }
    }
    if !rest.is_empty() {
        "(not shown)".clone_into(text);
    }
}

struct Reader<'r, 'a> {
    texts: Texts<'r>,
    section: &'r Section<'a>,
    inputs: &'r Inputs,
    around: &'r Around<'r>,
    url: &'r DescribedUrl,
}

impl<'r, 'a> Reader<'r, 'a> {
    fn read(mut self, is_websocket: bool) -> Option<Spec> {
        self.define_names();
        // Matches first: what they capture is known to the templates.
        let expects = ["login", "join", "leave"].map(|key| self.expects(key));
        let answers = self.answers();
        let beats_on = self.beats_on();
        let ack = self.ack();
        let [refusal, error, ignore] = ["refusal", "error", "ignore"].map(|key| self.matches(key));
        self.define_vars();
        let [login, join, leave] = expects;
        let login = self.steps("login", login);
        let join = self.steps("join", join);
        let leave = self.steps("leave", leave);
        let asks = self.asks(answers);
        let heartbeats = self.heartbeats(beats_on);
        let goodbye = self
            .section
            .entry("goodbye")
            .and_then(|entry| self.texts.template("protocol.goodbye", &entry.node));
        for name in [Name::Payload, Name::Room] {
            self.has_no(goodbye.as_ref(), self.section, "goodbye", name);
        }
        let publish = self.publish(&ack);
        let transport = self.transport(is_websocket);
        let split = self.optional("split", some_text);
        let split = split.or_else(|| (!is_websocket).then(|| "\n".to_owned()));
        let end = match self.optional("end", string) {
            Some(end) => Some(end),
            None if is_websocket => None,
            None => split.clone(),
        };
        let reconnect = self.reconnect();
        let users = self.users();
        let preset = self.optional("preset", string);
        let spec = Spec::new(std::mem::take(&mut self.texts.names), transport?, publish?);
        Some(Spec {
            preset: preset.map(Into::into),
            users,
            login,
            join,
            leave,
            goodbye,
            asks,
            ack,
            refusal,
            error,
            ignore,
            heartbeats,
            split: split.map(|split| split.into_bytes().into()),
            end: end.unwrap_or_default().into_bytes().into(),
            reconnect,
            ..spec
        })
    }

    fn optional<T>(&self, key: &str, read: impl Fn(&Node) -> Result<T, Expected>) -> Option<T> {
        let entry = self.section.entry(key)?;
        let path = self.section.path_of(key);
        self.texts.value(&path, &entry.node, read)
    }

    fn problem(&self, diagnostic: Diagnostic) {
        self.section.problem(diagnostic);
    }

    fn span_of(&self, key: &str) -> Span {
        let entry = self.section.entry(key);
        entry.map_or(self.section.span.clone(), |entry| entry.node.span.clone())
    }

    /// The table of `key`; `None` where there is none, and an error where it is something else.
    fn table(&self, key: &str) -> Option<&'a Table> {
        let entry = self.section.entry(key)?;
        match &entry.node.value {
            Value::Table(table) => Some(table),
            _ => {
                let path = self.section.path_of(key);
                self.problem(mismatch(&path, &entry.node, &"a table".into()));
                None
            }
        }
    }

    fn matches(&mut self, key: &str) -> Vec<Match> {
        match self.section.entry(key) {
            Some(entry) => self.texts.matches(&self.section.path_of(key), &entry.node),
            None => Vec::new(),
        }
    }

    fn ack(&mut self) -> Ack {
        const WORDS: [(&str, Ack); 3] = [
            ("none", Ack::None),
            ("echo", Ack::Echo),
            ("next", Ack::Next),
        ];
        let Some(entry) = self.section.entry("ack") else {
            return Ack::None;
        };
        if let Value::String(text) = &entry.node.value {
            if let Some((_, ack)) = WORDS.iter().find(|(word, _)| word == text) {
                return ack.clone();
            }
            let is_word = text.chars().all(char::is_alphanumeric);
            if let Some(meant) = nearest(text, WORDS.map(|(word, _)| word)).filter(|_| is_word) {
                let title = "`protocol.ack`: expected \"echo\", \"next\", \"none\" or a match";
                let label = format!("did you mean {meant:?}?");
                self.problem(Diagnostic::error(title).at(&entry.node.span, label));
                return Ack::None;
            }
        }
        Ack::Match(self.matches("ack"))
    }

    /// The frames that heartbeats answer, in order.
    fn beats_on(&mut self) -> Vec<Option<Match>> {
        let nodes: Vec<_> = self
            .tables("heartbeat", &BEAT_KEYS)
            .iter()
            .map(|beat| (beat.path_of("on"), beat.entry("on").cloned()))
            .collect();
        let read =
            |(path, entry): (String, Option<Entry>)| self.texts.one_match(&path, &entry?.node);
        nodes.into_iter().map(read).collect()
    }

    fn heartbeats(&self, on: Vec<Option<Match>>) -> Vec<Heartbeat> {
        let beats = self.tables("heartbeat", &BEAT_KEYS).into_iter().zip(on);
        let read = |(mut beat, when): (Section<'_>, Option<Match>)| {
            let (on, every) = (beat.entry("on").is_some(), beat.entry("every").is_some());
            if on == every {
                let title = format!("`{}`: expected one of `on` and `every`", beat.path);
                let error = Diagnostic::error(title).at(&beat.span, "");
                self.problem(error.help(
                    "{ on = MATCH, send = \"…\" } answers, { every = \"30s\", send = \"…\" } is \
                     sent from time to time",
                ));
            }
            let send = match beat.entry("send") {
                Some(entry) => self.texts.template(&beat.path_of("send"), &entry.node),
                None => {
                    let title = format!("`{}` is missing", beat.path_of("send"));
                    self.problem(Diagnostic::error(title).at(&beat.span, "needs a `send`"));
                    None
                }
            };
            for name in [Name::Payload, Name::Room] {
                self.has_no(send.as_ref(), &beat, "send", name);
            }
            let every = beat.optional("every", some_time);
            let (send, interval) = (send?, every.map(|every| every.as_nanos() as u64));
            Some(match (when, interval) {
                (Some(when), _) => Heartbeat::On { when, send },
                (None, interval_ns) => Heartbeat::Every {
                    interval_ns: interval_ns?,
                    send,
                },
            })
        };
        beats.filter_map(read).collect()
    }

    fn publish(&self, ack: &Ack) -> Option<Template> {
        let Some(entry) = self.section.entry("publish") else {
            let error = Diagnostic::error("`protocol.publish` is missing");
            let error = error.at(&self.section.span, "needs a `publish`");
            self.problem(
                error.help(
                    "the message that publishes a text: publish = '{\"text\":\"{payload}\"}'",
                ),
            );
            return None;
        };
        let publish = self.texts.template("protocol.publish", &entry.node)?;
        if !publish.mentions(Name::Payload) {
            let error = Diagnostic::error("`protocol.publish`: has no {payload} in it");
            let error = error.at(
                &entry.node.span,
                "publishes nothing that could be recognised",
            );
            self.problem(error.help("{payload} is the text that is published"));
        }
        let by_id = |one: &Match| one.mentions(Name::Id);
        if let Ack::Match(all) = ack
            && all.iter().any(by_id)
            && !publish.mentions(Name::Id)
        {
            let title = "`protocol.ack`: waits for an {id} that nothing sends";
            let error = Diagnostic::error(title).at(&self.span_of("ack"), "");
            let error = error.at(&entry.node.span, "has no {id} in it");
            self.problem(error.help(
                "put {id} into `publish`, or leave it out of `ack`: then an ack is for the oldest \
                 message that waits",
            ));
        }
        Some(publish)
    }

    fn transport(&self, is_websocket: bool) -> Option<Transport> {
        let own = ["binary", "subprotocol", "headers"];
        if !is_websocket {
            for entry in own.iter().filter_map(|key| self.section.entry(key)) {
                let title = format!("`protocol.{}`: belongs to WebSocket targets", entry.key);
                let label = format!("this target is {}://", self.url.scheme.name());
                self.problem(Diagnostic::error(title).at(&entry.key_span, label));
            }
            return Some(Transport::Stream);
        }
        let path = self.path();
        let subprotocol = self
            .section
            .entry("subprotocol")
            .and_then(|entry| self.texts.template("protocol.subprotocol", &entry.node));
        let binary = self.optional("binary", boolean).unwrap_or_default();
        let headers = self
            .table("headers")
            .map_or(&[][..], |table| &table.entries);
        let header = |entry: &Entry| {
            let path = format!("protocol.headers.{}", entry.key);
            let lower = entry.key.to_ascii_lowercase();
            let is_own = OWN_HEADERS.contains(&&*lower) || lower.starts_with("sec-websocket-");
            let is_token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let wrong = match () {
                () if is_own => Some("the handshake has it of its own"),
                () if lower.is_empty() || !lower.bytes().all(is_token) => {
                    Some("no name of a header field")
                }
                () => None,
            };
            if let Some(wrong) = wrong {
                let title = format!("`{path}`: {wrong}");
                self.problem(Diagnostic::error(title).at(&entry.key_span, ""));
            }
            if let Value::String(text) = &entry.node.value
                && text.contains(['\r', '\n', '\0'])
            {
                let title = format!("`{path}`: a header field is one line");
                self.problem(Diagnostic::error(title).at(&entry.node.span, ""));
            }
            Some((
                entry.key.as_str().into(),
                self.texts.template(&path, &entry.node)?,
            ))
        };
        Some(Transport::WebSocket {
            path: path?,
            subprotocol,
            headers: headers.iter().filter_map(header).collect(),
            binary,
        })
    }

    /// The path of the target's URL. Names in it are filled in.
    fn path(&self) -> Option<Template> {
        let node = Node {
            span: self.around.url_span.clone(),
            value: Value::String(match self.url.path.as_str() {
                "" => "/".to_owned(),
                path if path.starts_with('/') => path.to_owned(),
                query => format!("/{query}"),
            }),
        };
        let path = self.texts.template("target.url", &node)?;
        if path.mentions(Name::Payload) || path.mentions(Name::Id) {
            let title =
                "`target.url`: {payload} and {id} have no value before a connection is open";
            self.problem(Diagnostic::error(title).at(&node.span, ""));
        }
        Some(path)
    }

    fn reconnect(&self) -> Option<Reconnect> {
        self.table("reconnect")?;
        let entry = self.section.entry("reconnect")?;
        let known = ["after", "at_most"];
        let problems = self.texts.problems;
        let mut section = Section::open_entry(problems, "protocol.reconnect", entry, &known)?;
        let after = section.value("after", span_of_time, "1s");
        let at_most = section.value("at_most", whole(1..=1_000_000), 10);
        Some(Reconnect {
            after_min_ns: after.start().as_nanos() as u64,
            after_max_ns: after.end().as_nanos() as u64,
            at_most,
        })
    }

    fn users(&self) -> Vec<Box<[Box<str>]>> {
        let Some(users) = &self.inputs.users else {
            return Vec::new();
        };
        let wanted = self.around.clients;
        let rows = users.rows.len() as u64;
        if rows < wanted {
            let title = format!(
                "`protocol.users`: {} has {rows} row{}, and there are {wanted} clients",
                users.name,
                if rows == 1 { "" } else { "s" },
            );
            let error = Diagnostic::error(title).at(&self.span_of("users"), "too few");
            self.problem(error.help(
                "each client logs in as somebody, observers included (run.observers, 1 by default)",
            ));
        }
        users.rows.iter().take(wanted as usize).cloned().collect()
    }
}

const BEAT_KEYS: [&str; 3] = ["on", "every", "send"];

fn some_text(node: &Node) -> Result<String, Expected> {
    string(node)
        .ok()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| "a text that is not empty".into())
}

/// One duration, or two with `..` between them.
fn span_of_time(node: &Node) -> Result<RangeInclusive<Duration>, Expected> {
    let text = string(node).unwrap_or_default();
    let (from, to) = text.split_once("..").unwrap_or((&text, &text));
    let one = |text: &str| {
        let value = Value::String(text.to_owned());
        let span = node.span.clone();
        duration(&Node { span, value }).ok()
    };
    match (one(from), one(to)) {
        (Some(from), Some(to)) if from <= to => Ok(from..=to),
        _ => Err("a duration, or the shortest and the longest: \"1s..5s\"".into()),
    }
}

#[cfg(test)]
mod tests;
