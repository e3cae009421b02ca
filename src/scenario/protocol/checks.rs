//! What makes no sense in a scenario whose application talks so.

use crate::scenario::clients::{Draft, DraftLoad};
use crate::scenario::diagnostic::{Diagnostic, Span};
use crate::scenario::plan::Run;
use crate::scenario::promises;
use crate::scenario::section::{Problems, Section};
use crate::wire::application::spec::Spec;
use crate::wire::application::variables::Name;

/// Notes what makes no sense in the rest of a scenario whose application talks so.
pub(in crate::scenario) fn check(
    problems: &Problems,
    file: &Section<'_>,
    drafts: &[Draft],
    run: &Run,
    spec: &Spec,
) {
    let names_room = spec.publish.mentions(Name::Room);
    let publish = promises::entry(file, "protocol", "publish");
    if spec.is_room_in_path() {
        rooms_in_path(problems, file, drafts, run);
    }
    if names_room && let Some(publish) = publish {
        let why = (publish.node.span.clone(), "has {room} in it");
        senders_are_in_rooms(problems, drafts, Some(&why));
    }
    for draft in drafts {
        let in_rooms = draft.rooms.is_some();
        if in_rooms
            && !names_room
            && !spec.is_room_in_path()
            && let Some(publish) = publish
        {
            let title = "`protocol.publish`: does not say in which room";
            let warning = Diagnostic::warning(title).at(&publish.node.span, "has no {room} in it");
            let label = format!("`clients.{}` is in rooms", draft.name);
            problems.push(warning.at(&draft.span, label));
        }
        let DraftLoad::Script(script, _) = &draft.load else {
            continue;
        };
        if let Some(room) = script.leaves_room().filter(|_| spec.leave.is_empty()) {
            let name = &draft.name;
            let title = format!("`clients.{name}.script`: nothing says how to leave {room:?}");
            let error = Diagnostic::error(title).at(&draft.span, "");
            problems.push(error.help("`protocol.leave` is missing"));
        }
    }
}

/// Notes clients that publish in no room, where messages are published in rooms; `why` is where that
/// is said.
pub(super) fn senders_are_in_rooms(
    problems: &Problems,
    drafts: &[Draft],
    why: Option<&(Span, &str)>,
) {
    for draft in drafts {
        let in_rooms = draft.rooms.is_some();
        let sends_anywhere = match &draft.load {
            DraftLoad::Listen => false,
            DraftLoad::Rate(..) | DraftLoad::Stages { .. } | DraftLoad::Closed { .. } => !in_rooms,
            DraftLoad::Script(script, _) => {
                script.rooms.is_empty() && !in_rooms && script.publishes()
            }
        };
        if !sends_anywhere {
            continue;
        }
        let name = &draft.name;
        let title = match why {
            Some(_) => format!("`clients.{name}`: is in no room, and `publish` names one"),
            None => format!("`clients.{name}`: is in no room, and others are"),
        };
        let mut error = Diagnostic::error(title).at(&draft.span, "needs `rooms`");
        if let Some((span, label)) = why {
            error = error.at(span, *label);
        }
        problems.push(error.help("rooms = 1, or the names: rooms = { names = [\"lobby\"] }"));
    }
}

/// Notes clients that are not in exactly one room, where the URL names it.
fn rooms_in_path(problems: &Problems, file: &Section<'_>, drafts: &[Draft], run: &Run) {
    let url = promises::entry(file, "target", "url");
    let url = url.map_or(0..0, |entry| entry.node.span.clone());
    let wrong = |span: &Span, title: String, help: &str| {
        let error = Diagnostic::error(title).at(span, "");
        let error = error.at(&url, "the URL names the room, so each connection is in one");
        problems.push(error.help(help));
    };
    for draft in drafts {
        let name = &draft.name;
        match &draft.rooms {
            None => wrong(
                &draft.span,
                format!("`clients.{name}`: is in no room"),
                "rooms = 1, or the names: rooms = { names = [\"lobby\"] }",
            ),
            Some(rooms) if rooms.each > 1 => wrong(
                &draft.span,
                format!("`clients.{name}.rooms.each`: must be 1"),
                "a client that is in several rooms has several connections there",
            ),
            Some(_) => {}
        }
    }
    if run.observers > 0 {
        let entry = promises::entry(file, "run", "observers");
        let span = entry.map_or(0..0, |entry| entry.node.span.clone());
        let help = "observers are in no room: leave the key out";
        wrong(&span, "`run.observers`: must be 0".to_owned(), help);
    }
}
