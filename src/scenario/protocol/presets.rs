//! Presets: descriptions of protocols that are known, as TOML that is printed and copied.

use crate::scenario::diagnostic::nearest;

/// A description of a protocol that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The name in `preset = "…"`.
    pub name: &'static str,
    /// Its TOML, with comments.
    pub text: &'static str,
    /// The servers that it was tried against.
    pub tried: &'static str,
}

/// Said of a preset without a server to try it against.
const ON_NONE: &str = "not tried against a real server by this project";

macro_rules! preset {
    ($name:literal, $tried:expr) => {
        Preset {
            name: $name,
            text: include_str!(concat!("presets/", $name, ".toml")),
            tried: $tried,
        }
    };
}

/// All of them.
pub const ALL: [Preset; 11] = [
    preset!("socket.io", "tried against socket.io 4.8.4 of npm"),
    preset!(
        "graphql-ws",
        "tried against graphql-ws 6 of npm, with ws and graphql"
    ),
    preset!("action-cable", ON_NONE),
    preset!("signalr", ON_NONE),
    preset!("phoenix", ON_NONE),
    preset!("pusher", ON_NONE),
    preset!("centrifugo", ON_NONE),
    preset!("stomp", ON_NONE),
    preset!("xmpp-muc", "tried against Prosody 0.12.3 of Debian"),
    preset!(
        "nchan",
        "tried against nginx 1.22.1 with nchan 1.3.6 of Debian"
    ),
    preset!("irc", "tried against ngircd 26.1 of Debian"),
];

/// The preset of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Preset> {
    ALL.iter().find(|preset| preset.name == name)
}

/// What is said of a name that is no preset's.
#[must_use]
pub fn unknown(name: &str) -> String {
    let names = ALL.iter().map(|preset| preset.name);
    let meant = match nearest(name, names.clone()) {
        Some(meant) => format!(", did you mean {meant:?}?"),
        None => String::new(),
    };
    let known = Vec::from_iter(names).join(", ");
    format!("no such preset as {name:?}{meant} (presets: {known})")
}

impl Preset {
    /// The system that it is for, in a line.
    #[must_use]
    pub fn title(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.trim_start_matches("# ")
    }
}
