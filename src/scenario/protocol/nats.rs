//! `[protocol]` of a NATS server: its keys, and what of the rest of a scenario goes with them.

use super::{Around, Inputs, Reader, resolved};
use crate::scenario::clients::Draft;
use crate::scenario::diagnostic::{Diagnostic, Span};
use crate::scenario::promises;
use crate::scenario::protocol::texts::Texts;
use crate::scenario::protocol::url::{DescribedUrl, Scheme};
use crate::scenario::section::{Expected, Problems, Section, keys_of};
use crate::scenario::tree::{Node, Table};
use crate::scenario::value::{boolean, choice, string};
use crate::wire::application::template::Template;
use crate::wire::application::variables::{Name, Values};
use crate::wire::naming::Naming;
use crate::wire::nats::login::{Login, Seed};
use crate::wire::nats::{Ack, Settings, subject};
use crate::wire::rooms::{RoomId, RoomNames};

/// The variables by which a client shows who it is.
const LOGIN: [&str; 4] = ["user", "password", "token", "nkey"];

/// Reads the section, or makes one of defaults alone.
pub(super) fn read(
    problems: &Problems,
    file: &mut Section<'_>,
    inputs: &Inputs,
    around: &Around<'_>,
    url: &DescribedUrl,
) -> Option<Settings> {
    let empty = Table::default();
    let known = keys_of("protocol");
    let entry = file.entry("protocol");
    let section = match entry {
        Some(entry) => Section::open_entry(problems, "protocol", entry, known)?,
        None => Section::open(problems, "protocol", &(0..0), &empty, known),
    };
    let mut reader = Reader {
        texts: Texts::new(problems),
        section: &section,
        inputs,
        around,
        url,
    };
    reader.has_only(&["subject", "echo", "ack", "vars", "users"]);
    let subject = reader.optional("subject", naming);
    let echo = reader.optional("echo", boolean).unwrap_or_default();
    let ack = reader.optional("ack", choice(Ack::WORDS));
    let logins = reader.logins();
    if let Some(entry) = entry {
        file.resolve("protocol", resolved(entry));
    }
    Some(Settings {
        subject: subject.or_else(|| Naming::parse("{room}").ok())?,
        echo,
        ack: ack.unwrap_or_default(),
        logins,
    })
}

/// How the rooms are named.
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
    fn has_only(&self, own: &[&str]) {
        for key in keys_of("protocol") {
            let Some(entry) = self.section.entry(key).filter(|_| !own.contains(key)) else {
                continue;
            };
            let title = format!("`protocol.{key}`: says how an application talks");
            let label = format!("this target is {}://", self.url.scheme.name());
            let error = Diagnostic::error(title).at(&entry.key_span, label);
            let keys = own.join(", ");
            self.problem(error.help(format!(
                "it belongs to targets at {}; keys here: {keys}",
                Scheme::APPLICATIONS
            )));
        }
    }

    /// How each client shows who it is: by variables, which are the same for all, or by columns of
    /// the table of users.
    fn logins(&mut self) -> Vec<Login> {
        self.define_names();
        self.define_vars();
        let found = LOGIN.map(|name| self.texts.names.find(name));
        let place = match self.section.entry("vars").or(self.section.entry("users")) {
            Some(entry) => entry.key_span.clone(),
            None => return Vec::new(),
        };
        if found.iter().all(Option::is_none) {
            let title = "`protocol`: nothing of these variables says who a client is";
            let error = Diagnostic::error(title).at(&place, "");
            let names = LOGIN.join(", ");
            self.problem(error.help(format!("a server asks for some of {names}")));
            return Vec::new();
        }
        let rows = self.users();
        let no_row = [Box::default()];
        let rows = if rows.is_empty() { &no_row[..] } else { &rows };
        let mut logins = Vec::with_capacity(rows.len());
        for (nth, row) in rows.iter().enumerate() {
            match self.login(found, row) {
                Ok(login) => logins.push(login),
                Err(why) => {
                    let of = match rows.len() {
                        1 => String::new(),
                        _ => format!(" of row {}", nth + 1),
                    };
                    let title = format!("`protocol`: {why}{of}");
                    self.problem(Diagnostic::error(title).at(&place, ""));
                    break;
                }
            }
        }
        logins
    }

    fn login(&self, found: [Option<Name>; 4], row: &[Box<str>]) -> Result<Login, String> {
        let names = &self.texts.names;
        let values = Values {
            row,
            ..Values::of_client(names, "")
        };
        let mut texts = [const { None::<Box<str>> }; 4];
        for (at, (what, name)) in LOGIN.iter().zip(found).enumerate() {
            if name.is_none() {
                continue;
            }
            let template = Template::parse(&format!("{{{what}}}"), names);
            let text = template.ok().and_then(|one| one.text(&values).ok());
            let text = text.ok_or_else(|| format!("the {what} has no value"))?;
            texts[at] = (!text.is_empty()).then(|| text.into());
        }
        let [user, password, token, nkey] = texts;
        let nkey = match nkey {
            Some(seed) => Some(Seed::parse(&seed).map_err(|bad| format!("the nkey {bad}"))?),
            None => None,
        };
        Ok(Login {
            user,
            password,
            token,
            nkey,
        })
    }
}

/// Notes what makes no sense in the rest of a scenario whose target is one.
pub(in crate::scenario) fn check(
    problems: &Problems,
    file: &Section<'_>,
    drafts: &[Draft],
    rooms: &RoomNames,
    settings: &Settings,
) {
    let entry = promises::entry(file, "protocol", "subject");
    let span: Span = entry.map_or(0..0, |entry| entry.node.span.clone());
    let naming = &settings.subject;
    if !rooms.is_empty() && !naming.is_by_room() {
        let title = "`protocol.subject`: does not say in which room";
        let error = Diagnostic::error(title).at(&span, "has no {room} in it");
        problems.push(error.help("the subject of each room is its own: \"chat.{room}\""));
        return;
    }
    let all = rooms
        .iter()
        .map(|(room, name)| (room, format!("room {name:?}")));
    let unnamed = (RoomId::UNNAMED, "`protocol.subject`".to_owned());
    let all = [unnamed].into_iter().chain(all);
    for (room, name) in all {
        let text = naming.of(rooms, room);
        if let Err(bad) = subject::check(&text) {
            let title = format!("{name}: its subject would be {text:?}, and {bad}");
            problems.push(Diagnostic::error(title).at(&span, ""));
            return;
        }
    }
    if !rooms.is_empty() {
        super::checks::senders_are_in_rooms(problems, drafts, None);
    }
}

#[cfg(test)]
mod tests;
