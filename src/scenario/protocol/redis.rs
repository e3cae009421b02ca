//! `[protocol]` of a Redis server.

use super::systems::{self, Place};
use super::{Around, Inputs};
use crate::scenario::clients::Draft;
use crate::scenario::protocol::url::DescribedUrl;
use crate::scenario::section::{Problems, Section};
use crate::scenario::value::boolean;
use crate::wire::redis::{Login, Settings};
use crate::wire::rooms::RoomNames;

/// Reads the section, or makes one of defaults alone.
pub(super) fn read(
    problems: &Problems,
    file: &mut Section<'_>,
    inputs: &Inputs,
    around: &Around<'_>,
    url: &DescribedUrl,
) -> Option<Settings> {
    systems::with_section(problems, file, inputs, (around, url), |mut reader| {
        reader.has_only(&["channel", "sharded", "vars", "users"]);
        let channel = reader.naming("channel");
        let sharded = reader.optional("sharded", boolean).unwrap_or_default();
        let logins = reader.logins(["user", "password"], |[user, password]| {
            let password = password.ok_or("a user has a password")?;
            Ok(Login { user, password })
        });
        Settings {
            channel,
            sharded,
            logins,
        }
    })
}

/// Notes what makes no sense in the rest of a scenario whose target is one. Any text is a channel.
pub(in crate::scenario) fn check(
    problems: &Problems,
    file: &Section<'_>,
    drafts: &[Draft],
    rooms: &RoomNames,
    settings: &Settings,
) {
    let place = Place {
        key: "channel",
        naming: &settings.channel,
    };
    systems::check(problems, file, drafts, rooms, &place, |_| Ok(()));
}

#[cfg(test)]
mod tests;
