//! The meaning of a typed line: a message, or a command to this client.

use std::borrow::Cow;

/// The text of `/help`: the commands, and how to send a line that begins with a slash.
pub(super) const HELP: [&str; 5] = [
    "what you type is sent to everyone else when you press Enter",
    "/help        shows this",
    "/q, /quit    leaves; so do Ctrl-D and Ctrl-C",
    "//text       sends /text: a line that begins with a slash",
    "✓ 42 says that a line of yours was accepted as number 42",
];

/// The meaning of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// A blank line.
    Nothing,
    /// To be published.
    Say(Cow<'a, str>),
    /// The help was asked for.
    Help,
    /// This client is to leave.
    Leave,
    /// It begins like a command and is none.
    Unknown(&'a str),
}

impl<'a> Command<'a> {
    pub(super) fn of(line: &'a str) -> Self {
        let trimmed = line.trim();
        match trimmed {
            "" => Self::Nothing,
            "/q" | "/quit" => Self::Leave,
            "/help" => Self::Help,
            _ if trimmed.starts_with("//") => Self::Say(line.replacen("//", "/", 1).into()),
            _ if trimmed.starts_with('/') => {
                Self::Unknown(trimmed.split_whitespace().next().unwrap_or(trimmed))
            }
            _ => Self::Say(line.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_begins_a_command_and_two_begin_a_message() {
        for (line, command) in [
            (" \t", Command::Nothing),
            ("hello", Command::Say("hello".into())),
            ("  a /q b ", Command::Say("  a /q b ".into())),
            ("and/or", Command::Say("and/or".into())),
            (" /q ", Command::Leave),
            ("/quit", Command::Leave),
            ("/help", Command::Help),
            ("/quti", Command::Unknown("/quti")),
            ("/me waves", Command::Unknown("/me")),
            ("/", Command::Unknown("/")),
            ("//", Command::Say("/".into())),
            ("//etc/motd", Command::Say("/etc/motd".into())),
            (" // a // b", Command::Say(" / a // b".into())),
        ] {
            assert_eq!(Command::of(line), command, "{line:?}");
        }
    }
}
