//! Systems with a protocol of their own, which need no description: which there are, and what is the
//! same in the keys of all.

use super::texts::Texts;
use super::url::{DescribedUrl, Scheme};
use super::{Around, Inputs, Reader, checks, resolved};
use crate::scenario::clients::Draft;
use crate::scenario::diagnostic::{Diagnostic, Span};
use crate::scenario::promises;
use crate::scenario::section::{Expected, Problems, Section, keys_of};
use crate::scenario::tree::{Node, Table};
use crate::scenario::value::string;
use crate::wire::application::template::Template;
use crate::wire::application::variables::Values;
use crate::wire::naming::Naming;
use crate::wire::rooms::{RoomId, RoomNames};

/// A system, as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct System {
    /// The scheme of its URLs.
    pub scheme: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The servers that it was tried against.
    pub tried: &'static str,
}

/// All of them.
pub const ALL: [System; 2] = [
    System {
        scheme: "nats",
        title: "NATS, rooms as subjects",
        tried: "tried against nats-server 2.9.10 of Debian",
    },
    System {
        scheme: "redis",
        title: "Redis, rooms as channels",
        tried: "tried against redis-server 7.0.15 of Debian",
    },
];

/// Reads the section, or one without keys where there is none.
pub(super) fn with_section<T>(
    problems: &Problems,
    file: &mut Section<'_>,
    inputs: &Inputs,
    (around, url): (&Around<'_>, &DescribedUrl),
    read: impl FnOnce(Reader<'_, '_>) -> T,
) -> Option<T> {
    let empty = Table::default();
    let known = keys_of("protocol");
    let entry = file.entry("protocol");
    let section = match entry {
        Some(entry) => Section::open_entry(problems, "protocol", entry, known)?,
        None => Section::open(problems, "protocol", &(0..0), &empty, known),
    };
    let settings = read(Reader {
        texts: Texts::new(problems),
        section: &section,
        inputs,
        around,
        url,
    });
    if let Some(entry) = entry {
        file.resolve("protocol", resolved(entry));
    }
    Some(settings)
}

/// A text that names rooms.
fn naming(node: &Node) -> Result<Naming, Expected> {
    let expected = |why: String| Expected {
        what: "a text in which {room} stands for the room, as in \"chat.{room}\"".to_owned(),
        help: Some(why),
    };
    let text = string(node).map_err(|wrong| expected(wrong.what))?;
    Naming::parse(&text).map_err(|bad| expected(format!("{text:?} {bad}")))
}

impl Reader<'_, '_> {
    /// Notes keys that another kind of target has.
    pub(super) fn has_only(&self, own: &[&str]) {
        for key in keys_of("protocol") {
            let Some(entry) = self.section.entry(key).filter(|_| !own.contains(key)) else {
                continue;
            };
            let title = format!("`protocol.{key}`: belongs to targets at {}", owners(key));
            let label = format!("this target is {}://", self.url.scheme.name());
            let error = Diagnostic::error(title).at(&entry.key_span, label);
            self.problem(error.help(format!("keys here: {}", own.join(", "))));
        }
    }

    /// How the rooms are named: each by its own name, unless the key says otherwise.
    pub(super) fn naming(&self, key: &str) -> Naming {
        self.optional(key, naming).unwrap_or_default()
    }

    /// How each client shows who it is: by variables of these names, which are the same for all, or
    /// by columns of the table of users.
    pub(super) fn logins<const N: usize, L>(
        &mut self,
        wanted: [&str; N],
        login: impl Fn([Option<Box<str>>; N]) -> Result<L, String>,
    ) -> Vec<L> {
        self.define_names();
        self.define_vars();
        let place = match self.section.entry("vars").or(self.section.entry("users")) {
            Some(entry) => entry.key_span.clone(),
            None => return Vec::new(),
        };
        let names = wanted.join(", ");
        if wanted
            .iter()
            .all(|name| self.texts.names.find(name).is_none())
        {
            let title = "`protocol`: nothing of these variables says who a client is";
            let error = Diagnostic::error(title).at(&place, "");
            self.problem(error.help(format!("a server asks for some of {names}")));
            return Vec::new();
        }
        let rows = self.users();
        let no_row = [Box::default()];
        let rows = if rows.is_empty() { &no_row[..] } else { &rows };
        let mut logins = Vec::with_capacity(rows.len());
        for (nth, row) in rows.iter().enumerate() {
            let values = wanted.map(|name| self.value_of(name, row));
            match login(values) {
                Ok(login) => logins.push(login),
                Err(why) => {
                    let of = match rows.len() {
                        1 => String::new(),
                        _ => format!(", in row {}", nth + 1),
                    };
                    let title = format!("`protocol`: {why}{of}");
                    let error = Diagnostic::error(title).at(&place, "");
                    self.problem(error.help(format!("a server asks for some of {names}")));
                    break;
                }
            }
        }
        logins
    }

    /// The value of a variable for the client of this row, if it has one that is not empty.
    fn value_of(&self, name: &str, row: &[Box<str>]) -> Option<Box<str>> {
        let names = &self.texts.names;
        names.find(name)?;
        let values = Values {
            row,
            ..Values::of_client(names, "")
        };
        let template = Template::parse(&format!("{{{name}}}"), names).ok()?;
        let text = template.text(&values).ok()?;
        (!text.is_empty()).then(|| text.into())
    }
}

/// The targets to which a key of `[protocol]` belongs, by their schemes.
pub(super) fn owners(key: &str) -> &'static str {
    match key {
        "subject" | "echo" => "nats://",
        "channel" | "sharded" => "redis://",
        _ => Scheme::APPLICATIONS,
    }
}

/// The keys that systems have and applications have not.
pub(super) const OWN_KEYS: [&str; 4] = ["subject", "echo", "channel", "sharded"];

/// The key that names rooms, and what it says.
pub(super) struct Place<'a> {
    pub(super) key: &'a str,
    pub(super) naming: &'a Naming,
}

/// Notes rooms that cannot have the name that they would have in the system, and clients that
/// publish in no room where others are in rooms.
pub(super) fn check(
    problems: &Problems,
    file: &Section<'_>,
    drafts: &[Draft],
    rooms: &RoomNames,
    place: &Place<'_>,
    can_be: impl Fn(&str) -> Result<(), String>,
) {
    let Place { key, naming } = place;
    let entry = promises::entry(file, "protocol", key);
    let span: Span = entry.map_or(0..0, |entry| entry.node.span.clone());
    if !rooms.is_empty() && !naming.is_by_room() {
        let title = format!("`protocol.{key}`: does not say in which room");
        let error = Diagnostic::error(title).at(&span, "has no {room} in it");
        problems.push(error.help(format!(
            "the {key} of each room is its own: \"chat.{{room}}\""
        )));
        return;
    }
    let all = rooms
        .iter()
        .map(|(room, name)| (room, format!("room {name:?}")));
    let unnamed = (RoomId::UNNAMED, format!("`protocol.{key}`"));
    for (room, name) in [unnamed].into_iter().chain(all) {
        let text = naming.of(rooms, room);
        if let Err(bad) = can_be(&text) {
            let title = format!("{name}: its {key} would be {text:?}, and {bad}");
            problems.push(Diagnostic::error(title).at(&span, ""));
            return;
        }
    }
    if !rooms.is_empty() {
        checks::senders_are_in_rooms(problems, drafts, None);
    }
}
