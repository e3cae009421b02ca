//! `rooms` of a group and the rooms that scripts name: reading them, and who is in which of them
//! when.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::json;

use super::clients::{Draft, DraftLoad, MAX_PAYLOAD_BYTES};
use super::diagnostic::{Diagnostic, Span, nearest};
use super::plan::{Load, Metric, Plan, Step, Threshold};
use super::rooms::{GroupRooms, Pick, Present};
use super::script::{Named, Script};
use super::section::{Expected, Problems, Section, keys_of, mismatch};
use super::tree::{Node, Value};
use super::value::{choice, string, whole};
use crate::wire::protocol::Spoken;
use crate::wire::rooms::{RoomNames, check_name};

/// The most rooms of a group, and the most that a client is in: what the reference server takes.
const MAX_ROOMS: u32 = 65_536;
const MAX_EACH: u32 = 1_024;

const PICKS: [(&str, Pick); 2] = [("even", Pick::Even), ("zipf", Pick::Zipf)];

/// The rooms of a group, by name.
pub(super) struct DraftRooms {
    span: Span,
    names: Vec<String>,
    known: HashSet<String>,
    pub(super) each: u32,
    pick: Pick,
}

impl DraftRooms {
    fn new(span: &Span, names: Vec<String>, each: u32, pick: Pick) -> Self {
        Self {
            span: span.clone(),
            known: names.iter().cloned().collect(),
            names,
            each,
            pick,
        }
    }

    /// Whether every client of the group is in all of them.
    fn all_in_all(&self) -> bool {
        self.each as usize == self.names.len()
    }

    pub(super) fn finish(self, rooms: &RoomNames) -> GroupRooms {
        GroupRooms {
            rooms: self.names.iter().map(|name| rooms.id(name)).collect(),
            each: self.each,
            pick: self.pick,
        }
    }
}

/// The name of a room.
pub(super) fn room_name(node: &Node) -> Result<String, Expected> {
    let name = string(node).map_err(|_| "the name of a room")?;
    match check_name(&name) {
        Ok(()) => Ok(name),
        Err(bad) => Err(Expected {
            what: "the name of a room".to_owned(),
            help: Some(bad.to_string()),
        }),
    }
}

/// Reads `rooms` of a group: a number, or a table of a number or of names.
pub(super) fn read(problems: &Problems, section: &mut Section<'_>) -> Option<DraftRooms> {
    let entry = section.entry("rooms")?;
    let path = section.path_of("rooms");
    let count = whole(1..=MAX_ROOMS);
    let mut rooms = match &entry.node.value {
        Value::Table(_) => {
            Section::open_entry(problems, path.as_str(), entry, keys_of("clients.*.rooms"))?
        }
        Value::Integer(_) => {
            let count = section.optional("rooms", count)?;
            let resolved = json!({ "count": count, "each": 1, "pick": PICKS[0].0 });
            section.resolve("rooms", resolved);
            let names = numbered(count);
            return Some(DraftRooms::new(&entry.key_span, names, 1, PICKS[0].1));
        }
        _ => {
            let form = "a number of rooms, or a table such as { count = 20, each = 2 } or \
                        { names = [\"lobby\"] }";
            problems.push(mismatch(&path, &entry.node, &form.into()));
            return None;
        }
    };
    if rooms.entry("count").is_some() == rooms.entry("names").is_some() {
        let title = format!("`{path}`: expected one of `count` and `names`");
        problems.push(Diagnostic::error(title).at(&rooms.span, ""));
    }
    let names = match rooms.optional("count", count) {
        Some(count) => numbered(count),
        None => read_names(problems, &mut rooms),
    };
    let each = rooms.value("each", whole(1..=MAX_EACH), 1);
    if let Some(entry) = rooms.entry("each")
        && each as usize > names.len()
        && !names.is_empty()
    {
        let title = format!(
            "`{path}.each`: a client cannot be in {each} of {} rooms",
            names.len()
        );
        problems.push(Diagnostic::error(title).at(&entry.node.span, ""));
    }
    let pick = rooms.value("pick", choice(&PICKS), PICKS[0].0);
    section.resolve("rooms", rooms.into_resolved());
    Some(DraftRooms::new(&entry.key_span, names, each, pick))
}

fn numbered(count: u32) -> Vec<String> {
    (1..=count).map(|n| format!("room-{n}")).collect()
}

fn read_names(problems: &Problems, rooms: &mut Section<'_>) -> Vec<String> {
    let mut names = Vec::new();
    let mut seen = HashMap::new();
    let elements = rooms.elements("names");
    if let Some(entry) = rooms.entry("names")
        && let Value::Array(nodes) = &entry.node.value
        && (nodes.is_empty() || nodes.len() > MAX_ROOMS as usize)
    {
        let title = format!("`{}.names`: expected 1 to {MAX_ROOMS} names", rooms.path);
        problems.push(Diagnostic::error(title).at(&entry.node.span, ""));
        return names;
    }
    for (path, node) in elements {
        match room_name(node) {
            Ok(name) => match seen.insert(name.clone(), node.span.clone()) {
                None => names.push(name),
                Some(first) => {
                    let title = format!("`{path}`: the room {name:?} is named twice");
                    problems.push(
                        Diagnostic::error(title)
                            .at(&node.span, "again")
                            .at(&first, "first"),
                    );
                }
            },
            Err(expected) => problems.push(mismatch(&path, node, &expected)),
        }
    }
    rooms.resolve("names", names.clone().into());
    names
}

/// Which rooms the clients of a group are in before a step of their script.
pub(super) struct Steps<'a> {
    dealt: Option<&'a DraftRooms>,
    /// The rooms that the script has joined (`true`) and left since it connected.
    since: HashMap<String, bool>,
}

/// Whether the clients of a group are in a room.
#[derive(PartialEq, Eq)]
enum Are {
    In,
    Out,
    /// Some of them are.
    Some,
}

impl<'a> Steps<'a> {
    pub(super) fn new(dealt: Option<&'a DraftRooms>) -> Self {
        Self {
            dealt,
            since: HashMap::new(),
        }
    }

    fn are_in(&self, room: &str) -> Are {
        match (self.since.get(room), self.dealt) {
            (Some(true), _) => Are::In,
            (Some(false), _) => Are::Out,
            (None, Some(dealt)) if dealt.known.contains(room) => match dealt.all_in_all() {
                true => Are::In,
                false => Are::Some,
            },
            (None, _) => Are::Out,
        }
    }

    /// Why `step` cannot be carried out now, and what can be done about it.
    pub(super) fn refuses(&self, step: &Step) -> Option<(String, &'static str)> {
        let (verb, room, needed) = match step {
            Step::Join(room) => ("joins", room, Are::Out),
            Step::LeaveRoom(room) => ("leaves", room, Are::In),
            Step::Publish {
                room: Some(room), ..
            } => ("publishes in", room, Are::In),
            _ => return None,
        };
        let (state, help) = match self.are_in(room) {
            are if are == needed => return None,
            Are::In => (
                "the client is in it already",
                "a client joins its group's rooms when it connects; leave the room first",
            ),
            Are::Out => ("the client is not in it", "join it first"),
            Are::Some => (
                "only some of the group's clients are in it",
                "rooms.each is less than the rooms there are, so that each client has its own; \
                 make two groups of it, or name a room that is not dealt out",
            ),
        };
        Some((format!("{verb} {room:?}, and {state}"), help))
    }

    pub(super) fn after(&mut self, step: &Step) {
        match step {
            Step::Join(room) => _ = self.since.insert(room.clone(), true),
            Step::LeaveRoom(room) => _ = self.since.insert(room.clone(), false),
            Step::Connect | Step::Disconnect(_) => self.since.clear(),
            _ => {}
        }
    }
}

/// The script of a draft, if it has one.
fn script_of(draft: &Draft) -> Option<&Script> {
    match &draft.load {
        DraftLoad::Script(script, _) => Some(script),
        _ => None,
    }
}

/// The names of the rooms that the script of a draft names.
fn named(draft: &Draft) -> impl Iterator<Item = &Named> {
    script_of(draft)
        .into_iter()
        .flat_map(|script| &script.rooms)
}

/// Checks the rooms of all groups, and gives all that there are.
pub(super) fn check(problems: &Problems, drafts: &[Draft], spoken: &Spoken) -> Arc<RoomNames> {
    let names = drafts.iter().flat_map(|draft| {
        let dealt = draft.rooms.iter().flat_map(|rooms| &rooms.names);
        dealt.chain(named(draft).map(|named| &named.room))
    });
    let rooms = RoomNames::new(names.map(String::as_str));
    if spoken.capabilities().rooms {
        for draft in drafts {
            fits_a_line(problems, draft);
        }
        nobody_else(problems, drafts);
    } else {
        no_rooms(problems, drafts, spoken);
    }
    Arc::new(rooms)
}

/// Notes thresholds on rooms where there are none.
pub(super) fn thresholds(problems: &Problems, thresholds: &[(Threshold, Span)], rooms: &RoomNames) {
    if !rooms.is_empty() {
        return;
    }
    for (threshold, span) in thresholds {
        if threshold.metric == Metric::Rooms {
            let title = "`thresholds.rooms`: no group is in any room, and no script joins one";
            problems.push(Diagnostic::error(title).at(span, ""));
        }
    }
}

/// Notes every group with rooms, where the protocol has none.
fn no_rooms(problems: &Problems, drafts: &[Draft], spoken: &Spoken) {
    for draft in drafts {
        let dealt = draft.rooms.as_ref();
        let dealt = dealt.map(|rooms| (format!("clients.{}.rooms", draft.name), &rooms.span));
        let named = named(draft).next();
        let named = named.map(|named| (named.path.clone(), &named.span));
        let Some((path, span)) = dealt.or(named) else {
            continue;
        };
        let title = format!("`{path}`: the {spoken} dialect has no rooms");
        let error = Diagnostic::error(title).at(span, format!("this target is {spoken}"));
        problems.push(error.help(format!(
            "all clients of a {spoken} server are in one broadcast; an ndjson target has rooms"
        )));
    }
}

/// Checks that messages leave room in their lines for the name of a room.
fn fits_a_line(problems: &Problems, draft: &Draft) {
    let dealt = draft.rooms.iter().flat_map(|rooms| &rooms.names);
    let names = dealt.chain(named(draft).map(|named| &named.room));
    let Some(longest) = names.map(|name| line_bytes(name)).max() else {
        return;
    };
    let most = *MAX_PAYLOAD_BYTES - longest as u32;
    if draft.payload.max > most {
        let title = format!(
            "`clients.{}.payload`: a message in a room has {most} bytes at most: the name of the \
             room takes {longest} bytes of its line",
            draft.name
        );
        problems.push(Diagnostic::error(title).at(&draft.span, ""));
    }
}

/// The bytes that the name of a room takes in a line: `"room":"NAME",`.
pub(in crate::scenario) fn line_bytes(name: &str) -> usize {
    let escaped = name.bytes().filter(|b| matches!(b, b'"' | b'\\')).count();
    r#""room":"","#.len() + name.len() + escaped
}

/// Warns of rooms that scripts name and only one client is ever in: probably misspelt.
fn nobody_else(problems: &Problems, drafts: &[Draft]) {
    let mut clients: HashMap<&str, u64> = HashMap::new();
    for draft in drafts {
        let dealt = draft.rooms.iter().flat_map(|rooms| &rooms.known);
        let joined = named(draft).map(|named| &named.room);
        let rooms: HashSet<&String> = dealt.chain(joined).collect();
        for room in rooms {
            *clients.entry(room).or_default() += u64::from(draft.count);
        }
    }
    let mut warned = HashSet::new();
    for named in drafts.iter().flat_map(named) {
        let room = named.room.as_str();
        if clients[room] > 1 || !warned.insert(room) {
            continue;
        }
        let title = format!("`{}`: no other client is ever in room {room:?}", named.path);
        let warning = Diagnostic::warning(title).at(&named.span, "");
        // Nobody reads more of them, and each is compared with every room.
        let meant = (warned.len() <= MAX_COMPARED)
            .then(|| nearest(room, clients.keys().copied().filter(|other| *other != room)))
            .flatten();
        problems.push(match meant {
            Some(meant) => warning.help(format!("did you mean {meant:?}?")),
            None => warning.help("what is published there is delivered to nobody"),
        });
    }
}

/// Of so many rooms that only one client is in the nearest other name is looked for.
const MAX_COMPARED: usize = 50;

/// Warns of a group that publishes in rooms, all of which have one member.
pub(super) fn members(problems: &Problems, plan: &Plan, spans: &[Span]) {
    let present = Present::of(plan);
    for (group, span) in plan.groups.iter().zip(spans) {
        let Some(rooms) = &group.rooms else {
            continue;
        };
        let publishes = matches!(group.load, Load::Open { .. } | Load::Closed { .. });
        let alone = rooms.rooms.iter().all(|room| present.at_most(*room) <= 1);
        if publishes && alone {
            let title = format!(
                "`clients.{}`: no room has two members, so what is published is delivered to nobody",
                group.name
            );
            let warning = Diagnostic::warning(title).at(span, "");
            problems.push(warning.help("lower `rooms`, or raise `count` or `rooms.each`"));
        }
    }
}
