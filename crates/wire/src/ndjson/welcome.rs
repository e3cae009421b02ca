//! The fault in a server's first line where its welcome is owed, in words that whoever wrote the
//! server can act on.

use serde_json::{Map, Value};
use thiserror::Error;

use super::{PROTOCOL_VERSION, ServerFrame, decode_server, object};

/// Bytes of a wrong value that are shown.
const SHOWN_BYTES: usize = 40;

/// Why a line is no welcome that a client can go by (J1).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAWelcome {
    /// No JSON object: another protocol.
    #[error("its first line is no JSON object: {0}")]
    NoObject(String),
    /// An object that does not say which frame it is.
    #[error("its first line says no `type`")]
    NoType,
    /// Another frame than a welcome.
    #[error("its first frame is of the type `{0}`, where a `welcome` is owed")]
    AnotherType(String),
    /// Keys are missing.
    #[error("its welcome lacks {0}")]
    Lacks(String),
    /// A key holds what it may not.
    #[error("its welcome has a wrong `{key}`: expected {expected}, and it is {got}")]
    WrongValue {
        /// The key.
        key: &'static str,
        /// The values that it may hold.
        expected: &'static str,
        /// The value that it holds.
        got: String,
    },
    /// Another version of the protocol.
    #[error("its welcome is to version {0} of the protocol, where {PROTOCOL_VERSION} is spoken")]
    Version(u64),
    /// Anything else: a key that comes twice, for one.
    #[error("its welcome is malformed: {0}")]
    Malformed(String),
}

const STRING: &str = "a string";
const INTEGER: &str = "an integer from 0 to 2^64-1, without fraction and exponent";

/// The keys that a welcome must have, and their values.
const KEYS: [(&str, &str); 4] = [
    ("protocol", INTEGER),
    ("client_ip", STRING),
    ("seq", INTEGER),
    ("max_line", INTEGER),
];

/// The reason why `line` (without its LF) is no welcome to this version, if it is none.
#[must_use]
pub fn not_a_welcome(line: &[u8]) -> Option<NotAWelcome> {
    let detail = match decode_server(line) {
        Ok(ServerFrame::Welcome { protocol, .. }) => {
            return (protocol != PROTOCOL_VERSION).then_some(NotAWelcome::Version(protocol));
        }
        Ok(_) => String::new(),
        Err(malformed) => malformed.detail,
    };
    let parsed = object(line)
        .ok()
        .map(serde_json::from_str::<Map<String, Value>>);
    let keys = match parsed {
        None => return Some(NotAWelcome::NoObject(detail)),
        Some(Err(error)) => return Some(NotAWelcome::NoObject(super::detail_of(&error))),
        Some(Ok(keys)) => keys,
    };
    Some(match keys.get("type") {
        None => NotAWelcome::NoType,
        Some(Value::String(frame_type)) if frame_type == "welcome" => wrong_key(&keys, detail),
        Some(Value::String(frame_type)) => NotAWelcome::AnotherType(excerpt(frame_type)),
        Some(other) => NotAWelcome::AnotherType(excerpt(&other.to_string())),
    })
}

fn wrong_key(keys: &Map<String, Value>, detail: String) -> NotAWelcome {
    let missing = KEYS.iter().filter(|(key, _)| !keys.contains_key(*key));
    let missing: Vec<String> = missing.map(|(key, _)| format!("`{key}`")).collect();
    if let Some((last, others)) = missing.split_last() {
        return NotAWelcome::Lacks(match others {
            [] => last.clone(),
            others => format!("{} and {last}", others.join(", ")),
        });
    }
    let wrong = KEYS.iter().find(|(key, expected)| match &keys[*key] {
        Value::String(_) => *expected != STRING,
        other => *expected != INTEGER || !other.is_u64(),
    });
    match wrong {
        Some((key, expected)) => NotAWelcome::WrongValue {
            key,
            expected,
            got: excerpt(&keys[*key].to_string()),
        },
        None => NotAWelcome::Malformed(detail),
    }
}

/// The beginning of what came, fit for a terminal.
fn excerpt(text: &str) -> String {
    let shown = (0..=text.len().min(SHOWN_BYTES)).rev();
    let shown = shown.into_iter().find(|&at| text.is_char_boundary(at));
    let shown = &text[..shown.unwrap_or(0)];
    let dots = if shown.len() < text.len() { "…" } else { "" };
    let escaped = shown.chars().map(|c| match c {
        '"' | '\'' => c.to_string(),
        c => c.escape_debug().to_string(),
    });
    format!("{}{dots}", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defect_of_a_welcome_is_named() {
        for (line, said) in [
            (
                r#"{"type":"welcome","protocol":1,"client_ip":"a","max_line":9}"#,
                "its welcome lacks `seq`",
            ),
            (
                r#"{"type":"welcome"}"#,
                "its welcome lacks `protocol`, `client_ip`, `seq` and `max_line`",
            ),
            (
                r#"{"type":"welcome","protocol":1,"client_ip":"a","seq":"7","max_line":9}"#,
                "its welcome has a wrong `seq`: expected an integer from 0 to 2^64-1, without \
                 fraction and exponent, and it is \"7\"",
            ),
            (
                r#"{"type":"welcome","protocol":1,"client_ip":"a","seq":18446744073709551616,"max_line":9}"#,
                "its welcome has a wrong `seq`: expected an integer from 0 to 2^64-1, without \
                 fraction and exponent, and it is 1.8446744073709552e+19",
            ),
            (
                r#"{"type":"welcome","protocol":1,"client_ip":null,"seq":0,"max_line":9}"#,
                "its welcome has a wrong `client_ip`: expected a string, and it is null",
            ),
            (
                r#"{"type":"welcome","protocol":1,"client_ip":"a","seq":-1,"max_line":9}"#,
                "its welcome has a wrong `seq`: expected an integer from 0 to 2^64-1, without \
                 fraction and exponent, and it is -1",
            ),
            (
                r#"{"type":"welcome","protocol":2,"client_ip":"a","seq":0,"max_line":9}"#,
                "its welcome is to version 2 of the protocol, where 1 is spoken",
            ),
            (
                r#"{"type":"welcome","protocol":1,"client_ip":"a","seq":0,"seq":1,"max_line":9}"#,
                "its welcome is malformed: duplicate field `seq` at column 60",
            ),
            (
                r#"{"type":"relay","seq":1,"client_ip":"a","message":"x"}"#,
                "its first frame is of the type `relay`, where a `welcome` is owed",
            ),
            (
                r#"{"type":"hello\u001b[2J"}"#,
                "its first frame is of the type `hello\\u{1b}[2J`, where a `welcome` is owed",
            ),
            (
                r#"{"type":7}"#,
                "its first frame is of the type `7`, where a `welcome` is owed",
            ),
            (r#"{"hello":1}"#, "its first line says no `type`"),
            (
                "SSH-2.0-OpenSSH_9.6",
                "its first line is no JSON object: expected a JSON object",
            ),
            (
                r#"{"type":"welcome","#,
                "its first line is no JSON object: EOF while parsing a value at column 18",
            ),
        ] {
            let found = not_a_welcome(line.as_bytes()).map(|defect| defect.to_string());
            assert_eq!(found.as_deref(), Some(said), "{line}");
        }
        let binary = not_a_welcome(b"\x16\x03\x01\x02").unwrap().to_string();
        assert_eq!(
            binary,
            "its first line is no JSON object: expected a JSON object"
        );
        let long = format!(r#"{{"type":"{}"}}"#, "é".repeat(500));
        let long = not_a_welcome(long.as_bytes()).unwrap().to_string();
        assert!(long.len() < 250 && long.contains('…'), "{long}");
    }

    #[test]
    fn a_welcome_is_none_of_that() {
        let largest = u64::MAX;
        let line = format!(
            r#"{{"type":"welcome","protocol":1,"client_ip":"a","seq":{largest},"max_line":{largest}}}"#
        );
        assert_eq!(not_a_welcome(line.as_bytes()), None);
    }
}
