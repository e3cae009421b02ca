//! Rooms: what names they may have, and the rooms of a run by number.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

/// The longest name of a room, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 128;

/// Why a text cannot be the name of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadName {
    /// There is nothing in it.
    #[error("a room's name has 1 or more characters")]
    Empty,
    /// It is longer than [`MAX_NAME_BYTES`].
    #[error("a room's name has {MAX_NAME_BYTES} bytes at most, and this has {bytes}")]
    TooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// It has a control character in it.
    #[error("a room's name has no control characters, and this has U+{:04X}", u32::from(*.0))]
    Control(char),
}

/// Checks that `name` can be the name of a room. Any other character is allowed, also those that
/// JSON, MQTT, NATS or Redis give a meaning to: here they have none.
///
/// # Errors
/// [`BadName`] says what is wrong with it.
pub fn check_name(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(BadName::TooLong { bytes: name.len() });
    }
    match name.chars().find(|c| c.is_control()) {
        Some(control) => Err(BadName::Control(control)),
        None => Ok(()),
    }
}

/// A room of a run, by its place in [`RoomNames`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u32);

impl RoomId {
    /// The room without a name, in which everyone is who is connected.
    pub const UNNAMED: Self = Self(0);

    /// A room that is none of the run's.
    pub const UNKNOWN: Self = Self(u32::MAX);

    /// Stands for the room of a message that does not say in which it was published: a load message
    /// tells by its sender.
    pub const UNSTATED: Self = Self(u32::MAX - 1);

    /// Whether it is a room that has a name, or had to have one.
    #[must_use]
    pub fn is_named(self) -> bool {
        self != Self::UNNAMED
    }
}

/// The names of the rooms of a run. All connections share them.
#[derive(Debug, Default, Clone)]
pub struct RoomNames {
    /// The first is the unnamed room's.
    names: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, RoomId>,
}

impl RoomNames {
    /// The rooms of these names, numbered from 1 on. A name that comes again is the same room.
    #[must_use]
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut rooms = Self {
            names: vec!["".into()],
            ids: HashMap::new(),
        };
        for name in names {
            if rooms.ids.contains_key(name) {
                continue;
            }
            let name: Arc<str> = name.into();
            let id = RoomId(rooms.names.len() as u32);
            rooms.names.push(Arc::clone(&name));
            rooms.ids.insert(name, id);
        }
        rooms
    }

    /// The room of this name; [`RoomId::UNKNOWN`] if it is none of the run's.
    #[must_use]
    pub fn id(&self, name: &str) -> RoomId {
        self.ids.get(name).copied().unwrap_or(RoomId::UNKNOWN)
    }

    /// The name of a room; empty for the unnamed one, and for an unknown one.
    #[must_use]
    pub fn name(&self, room: RoomId) -> &str {
        self.names.get(room.0 as usize).map_or("", |name| name)
    }

    /// All rooms that have a name, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (RoomId, &str)> {
        let all = self.names.iter().enumerate().skip(1);
        all.map(|(id, name)| (RoomId(id as u32), &**name))
    }

    /// How many have a name.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none has a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_any_text_of_some_length_without_control_characters() {
        for name in [
            "lobby",
            " ",
            "\"\\/{}[]:,",
            "a.b.*.>",
            "a/b/+/#/$SYS",
            "\u{a0}\u{ad}\u{2028}\u{feff}\u{ffff}😀",
            &"x".repeat(MAX_NAME_BYTES),
            &"é".repeat(MAX_NAME_BYTES / 2),
        ] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
        assert_eq!(check_name(""), Err(BadName::Empty));
        for name in ["x".repeat(MAX_NAME_BYTES + 1), "é".repeat(65)] {
            let bytes = name.len();
            assert_eq!(check_name(&name), Err(BadName::TooLong { bytes }));
        }
        for control in ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}') {
            let name = format!("a{control}b");
            assert_eq!(check_name(&name), Err(BadName::Control(control)));
        }
        let said = check_name("a\tb").unwrap_err().to_string();
        assert_eq!(
            said,
            "a room's name has no control characters, and this has U+0009"
        );
    }

    #[test]
    fn rooms_are_numbered_from_one_on_and_found_by_name() {
        let rooms = RoomNames::new(["lobby", "hall", "lobby"]);
        assert_eq!((rooms.len(), rooms.is_empty()), (2, false));
        assert_eq!(rooms.id("hall"), RoomId(2));
        assert_eq!(rooms.id("cellar"), RoomId::UNKNOWN);
        assert_eq!(rooms.id(""), RoomId::UNKNOWN, "no frame names the unnamed");
        let all: Vec<_> = rooms.iter().collect();
        assert_eq!(all, [(RoomId(1), "lobby"), (RoomId(2), "hall")]);
        assert_eq!(rooms.name(RoomId(1)), "lobby");
        assert_eq!(rooms.name(RoomId::UNNAMED), "");
        assert_eq!(rooms.name(RoomId::UNKNOWN), "");
        assert!(RoomNames::default().is_empty());
    }
}
