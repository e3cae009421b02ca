//! `[protocol]` of a NATS server.

use super::systems::{self, Place};
use super::{Around, Inputs};
use crate::scenario::clients::Draft;
use crate::scenario::protocol::url::DescribedUrl;
use crate::scenario::section::{Problems, Section};
use crate::scenario::value::{boolean, choice};
use crate::wire::nats::login::{Login, Seed};
use crate::wire::nats::{Ack, Settings, subject};
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
        reader.has_only(&["subject", "echo", "ack", "vars", "users"]);
        let subject = reader.naming("subject");
        let echo = reader.optional("echo", boolean).unwrap_or_default();
        let ack = reader.optional("ack", choice(Ack::WORDS));
        let names = ["user", "password", "token", "nkey"];
        let logins = reader.logins(names, |[user, password, token, nkey]| {
            let nkey = nkey.map(|seed| Seed::parse(&seed)).transpose();
            Ok(Login {
                user,
                password,
                token,
                nkey: nkey.map_err(|bad| format!("the nkey {bad}"))?,
            })
        });
        Settings {
            subject,
            echo,
            ack: ack.unwrap_or_default(),
            logins,
            tls: url.scheme.is_tls(),
        }
    })
}

/// Notes what makes no sense in the rest of a scenario whose target is one.
pub(in crate::scenario) fn check(
    problems: &Problems,
    file: &Section<'_>,
    drafts: &[Draft],
    rooms: &RoomNames,
    settings: &Settings,
) {
    let place = Place {
        key: "subject",
        naming: &settings.subject,
    };
    systems::check(problems, file, drafts, rooms, &place, |text| {
        subject::check(text).map_err(|bad| bad.to_string())
    });
}

#[cfg(test)]
mod tests;
