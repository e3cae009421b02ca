//! How a system names rooms: the subjects of NATS, the channels of Redis, the topics of MQTT.

use thiserror::Error;

use crate::rooms::{RoomId, RoomNames};

/// What stands for the name of the room without a name.
pub const UNNAMED: &str = "chatbench";

const HOLE: &str = "{room}";

/// A text in which `{room}` stands for the name of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    before: Box<str>,
    /// What follows the room's name; `None` if none stands in it.
    after: Option<Box<str>>,
}

/// Why a text does not say how rooms are named.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadNaming {
    /// It has nothing in it.
    #[error("is empty")]
    Empty,
    /// Another name in braces.
    #[error("{{{0}}} is no known name: {{room}} alone stands for something here")]
    Unknown(String),
    /// It would name a room twice.
    #[error("{{room}} stands in it twice")]
    Twice,
}

/// Each room is called by its own name.
impl Default for Naming {
    fn default() -> Self {
        Self {
            before: Box::default(),
            after: Some(Box::default()),
        }
    }
}

impl Naming {
    /// Reads a text.
    ///
    /// # Errors
    /// [`BadNaming`].
    pub fn parse(text: &str) -> Result<Self, BadNaming> {
        if text.is_empty() {
            return Err(BadNaming::Empty);
        }
        let (before, after) = match text.split_once(HOLE) {
            Some((before, after)) => (before, Some(after)),
            None => (text, None),
        };
        for part in [before, after.unwrap_or_default()] {
            if part.contains(HOLE) {
                return Err(BadNaming::Twice);
            }
            if let Some((_, rest)) = part.split_once('{')
                && let Some((name, _)) = rest.split_once('}')
            {
                return Err(BadNaming::Unknown(name.to_owned()));
            }
        }
        Ok(Self {
            before: before.into(),
            after: after.map(Into::into),
        })
    }

    /// Whether each room has a name of its own.
    #[must_use]
    pub fn is_by_room(&self) -> bool {
        self.after.is_some()
    }

    /// Appends the name of a room.
    pub fn write(&self, out: &mut Vec<u8>, rooms: &RoomNames, room: RoomId) {
        out.extend_from_slice(self.before.as_bytes());
        if let Some(after) = &self.after {
            let name = match room.is_named() {
                true => rooms.name(room),
                false => UNNAMED,
            };
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(after.as_bytes());
        }
    }

    /// The name of a room.
    #[must_use]
    pub fn of(&self, rooms: &RoomNames, room: RoomId) -> String {
        let mut name = Vec::new();
        self.write(&mut name, rooms, room);
        String::from_utf8_lossy(&name).into_owned()
    }

    /// The room of this name; [`RoomId::UNKNOWN`] if it is none of the run's.
    #[must_use]
    pub fn room_of(&self, rooms: &RoomNames, name: &[u8]) -> RoomId {
        let name = name.strip_prefix(self.before.as_bytes());
        let after = self.after.as_deref().unwrap_or_default();
        let name = name.and_then(|name| name.strip_suffix(after.as_bytes()));
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        name.map_or(RoomId::UNKNOWN, |name| rooms.id(name))
    }

    /// The length of a room's name, where the room's own has `bytes`.
    #[must_use]
    pub fn len_with(&self, bytes: usize) -> usize {
        self.before.len() + self.after.as_ref().map_or(0, |after| bytes + after.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_its_name_where_the_text_says_so() {
        let rooms = RoomNames::new(["lobby"]);
        let of = |text: &str, room| Naming::parse(text).unwrap().of(&rooms, RoomId(room));
        assert_eq!(of("{room}", 1), "lobby");
        assert_eq!(of("chat.{room}.in", 1), "chat.lobby.in");
        assert_eq!(of("chat.{room}", 0), "chat.chatbench");
        assert_eq!(of("all", 1), "all");
        let naming = Naming::parse("chat.{room}.in").unwrap();
        for (name, room) in [
            ("chat.lobby.in", RoomId(1)),
            ("chat.hall.in", RoomId::UNKNOWN),
            ("lobby", RoomId::UNKNOWN),
            ("chat.in", RoomId::UNKNOWN),
        ] {
            assert_eq!(naming.room_of(&rooms, name.as_bytes()), room, "{name}");
        }
        assert!(Naming::parse("{room}").unwrap().is_by_room());
        assert!(!Naming::parse("room").unwrap().is_by_room());
        assert_eq!(Naming::parse("a.{room}.b").unwrap().len_with(5), 9);
    }

    #[test]
    fn anything_else_in_braces_is_a_mistake() {
        for (text, wrong) in [
            ("", "is empty"),
            ("{room}.{room}", "{room} stands in it twice"),
            (
                "chat.{rom}",
                "{rom} is no known name: {room} alone stands for something here",
            ),
        ] {
            assert_eq!(Naming::parse(text).unwrap_err().to_string(), wrong);
        }
        assert!(Naming::parse("a{b").is_ok());
    }
}
