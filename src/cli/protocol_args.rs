//! The options that say how an application talks, for the verbs that take a URL in place of a file:
//! each stands for a key of `[protocol]`.

use super::overrides::quoted;
use crate::scenario::protocol::presets;

/// What they stand under in `--help`.
const HEADING: &str = "The protocol of an application at ws://, wss://, tcp:// or tls://";

/// How an application talks.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ProtocolArgs {
    /// A known protocol: `chatbench protocols list` names them. The options below change single
    /// keys of it
    #[arg(long, value_name = "PRESET", help_heading = HEADING)]
    protocol: Option<String>,

    /// The message that publishes a text: {payload} has to stand in it, {id} and {room} may
    #[arg(long, value_name = "TEMPLATE", help_heading = HEADING)]
    publish: Option<String>,

    /// What says that it was taken: the whole message, with * for anything and {id}; or values of
    /// a JSON message as a table, '{ type = "ok", id = "{id}" }'; or echo, next or none
    #[arg(long, value_name = "MATCH", help_heading = HEADING)]
    ack: Option<String>,

    /// A message that is sent once a connection, before all else; with an answer to wait for as a
    /// table, '{ send = "…", expect = "…" }' (repeatable)
    #[arg(long, value_name = "TEMPLATE", help_heading = HEADING)]
    login: Vec<String>,

    /// A message that joins {room}, in the same forms (repeatable)
    #[arg(long, value_name = "TEMPLATE", help_heading = HEADING)]
    join: Vec<String>,
}

impl ProtocolArgs {
    /// Whether any of them is given.
    pub(super) fn are_given(&self) -> bool {
        !self.words().is_empty()
    }

    /// The lines of `[protocol]` that they stand for; empty if none is given.
    pub(super) fn section(&self) -> String {
        if !self.are_given() {
            return String::new();
        }
        let mut text = "\n[protocol]\n".to_owned();
        let mut line = |key: &str, value: String| {
            text.push_str(&format!("{key} = {value}\n"));
        };
        if let Some(preset) = &self.protocol {
            line("preset", string(preset));
        }
        for (key, steps) in [("login", &self.login), ("join", &self.join)] {
            let steps: Vec<String> = steps.iter().map(|one| step(one)).collect();
            if !steps.is_empty() {
                line(key, format!("[{}]", steps.join(", ")));
            }
        }
        if let Some(publish) = &self.publish {
            line("publish", string(publish));
        }
        if let Some(ack) = &self.ack {
            line(
                "ack",
                if is_table(ack) {
                    ack.clone()
                } else {
                    string(ack)
                },
            );
        }
        text
    }

    /// Whether messages name a room, or the target's `url` does, so that clients have to be in one.
    pub(super) fn needs_room(&self, url: &str) -> bool {
        if !self.are_given() {
            return false;
        }
        let preset = self.protocol.as_deref().and_then(presets::find);
        let preset: Option<toml::Table> = preset.and_then(|preset| preset.text.parse().ok());
        let of_preset = |section: &str, key: &str| {
            let value = preset.as_ref()?.get(section)?.get(key)?;
            value.as_str()
        };
        let publish = self
            .publish
            .as_deref()
            .or_else(|| of_preset("protocol", "publish"));
        let texts = [Some(url), publish, of_preset("target", "url")];
        !self.join.is_empty()
            || texts
                .into_iter()
                .flatten()
                .any(|text| text.contains("{room}"))
    }

    /// The words of a command line that say the same again, options and values in turn.
    pub(super) fn words(&self) -> Vec<String> {
        let once = |option: &'static str, value: &Option<String>| {
            value
                .iter()
                .map(move |value| (option, value.clone()))
                .collect::<Vec<_>>()
        };
        let several = |option: &'static str, values: &[String]| {
            values
                .iter()
                .map(|value| (option, value.clone()))
                .collect::<Vec<_>>()
        };
        [
            once("--protocol", &self.protocol),
            several("--login", &self.login),
            several("--join", &self.join),
            once("--publish", &self.publish),
            once("--ack", &self.ack),
        ]
        .concat()
        .into_iter()
        .flat_map(|(option, value)| [option.to_owned(), quoted(&value)])
        .collect()
    }
}

/// A text as TOML writes it.
pub(super) fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Whether a text is a table of TOML. JSON is none: it has colons where TOML has equals signs.
fn is_table(text: &str) -> bool {
    let is_inline = text.trim_start().starts_with('{') && !text.contains('\n');
    let parsed = format!("x = {text}").parse::<toml::Table>();
    is_inline && parsed.is_ok_and(|table| table["x"].as_table().is_some_and(|x| !x.is_empty()))
}

fn step(text: &str) -> String {
    match is_table(text) {
        true => text.to_owned(),
        false => format!("{{ send = {} }}", string(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_told_from_a_template_in_json() {
        for table in [r#"{ type = "ok" }"#, r#" {send='x', expect = { a = "1" }}"#] {
            assert!(is_table(table), "{table}");
        }
        for text in [
            "{}",
            r#"{"type":"ok","id":{id}}"#,
            "{id}",
            "ok {id}",
            "{a = 1",
            "",
        ] {
            assert!(!is_table(text), "{text}");
        }
    }

    #[test]
    fn options_become_the_keys_of_the_section() {
        let args = ProtocolArgs {
            protocol: Some("phoenix".to_owned()),
            publish: Some(r#"{"say":"{payload}"}"#.to_owned()),
            ack: Some(r#"{ ok = "{id}" }"#.to_owned()),
            login: vec!["hello it's {client}".to_owned()],
            join: vec!["{ send = 'a', expect = 'b' }".to_owned(), "c".to_owned()],
        };
        let section = args.section();
        assert_eq!(
            section,
            "\n[protocol]\npreset = \"phoenix\"\nlogin = [{ send = \"hello it's {client}\" }]\n\
             join = [{ send = 'a', expect = 'b' }, { send = \"c\" }]\n\
             publish = '{\"say\":\"{payload}\"}'\nack = { ok = \"{id}\" }\n"
        );
        section
            .parse::<toml::Table>()
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(ProtocolArgs::default().section(), "");
    }

    #[test]
    fn rooms_are_wanted_where_a_message_or_the_url_names_one() {
        let of = |preset: Option<&str>, publish: Option<&str>, url| {
            let args = ProtocolArgs {
                protocol: preset.map(str::to_owned),
                publish: publish.map(str::to_owned),
                ..ProtocolArgs::default()
            };
            args.needs_room(url)
        };
        assert!(of(Some("socket.io"), None, "ws://h"));
        assert!(of(Some("nchan"), None, "ws://h"));
        assert!(of(None, Some("{room} {payload}"), "ws://h"));
        assert!(of(None, Some("{payload}"), "ws://h/{room}"));
        assert!(!of(None, Some("{payload}"), "ws://h/"));
        assert!(!of(Some("socket.io"), Some("{payload}"), "ws://h"));
    }
}
