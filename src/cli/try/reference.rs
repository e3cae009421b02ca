//! The reference protocol as `[protocol]` would describe it, so that a target that speaks it is
//! played and shown like any application.

use std::sync::Arc;

use crate::scenario;
use crate::scenario::addresses::Url;
use crate::scenario::diagnostic::Diagnostics;
use crate::wire::application::spec::Spec;
use crate::wire::protocol::{Protocol, Spoken};

/// What is the same with and without rooms: docs/PROTOCOL.md, sections 3 and 9.
const FRAMES: &str = r#"
[protocol]
login = [{ expect = { type = "welcome" } }]
ack = { type = "ack", id = "{id}" }
refusal = { type = "error", id = "{id}" }
error = { type = "error" }
ignore = { type = "bye" }
"#;

const WITHOUT_ROOMS: &str = r#"
publish = '{"message":"{payload}","id":{id}}'

[clients.people]
count = 2
rate = 1
"#;

const WITH_ROOMS: &str = r#"
join = [{ send = '{"join":"{room}","id":{id}}', expect = { type = "joined", room = "{room}" } }]
leave = [{ send = '{"leave":"{room}","id":{id}}', expect = { type = "left", room = "{room}" } }]
publish = '{"message":"{payload}","id":{id},"room":"{room}"}'

[clients.people]
count = 2
rate = 1
rooms = 1
"#;

/// The description of what is spoken at `url`; `None` where it has no frames of the reference
/// protocol.
///
/// # Errors
/// What of the URL cannot stand in a description.
pub(super) fn describe(url: &Url, has_rooms: bool) -> Option<Result<Arc<Spec>, Diagnostics>> {
    // Only the frames are of interest: the connection is made by the plan of the URL itself.
    let url = match url.protocol {
        Protocol::Ndjson => "tcp://127.0.0.1:1".to_owned(),
        Protocol::WebSocket => format!("ws://127.0.0.1:1{}", url.path),
        _ => return None,
    };
    let url = toml::Value::String(url);
    let rest = if has_rooms { WITH_ROOMS } else { WITHOUT_ROOMS };
    let text = format!("[target]\nurl = {url}\n{FRAMES}{rest}");
    let plan = scenario::parse("reference", &text, &[], None, None);
    Some(plan.map(|plan| match plan.target.spoken {
        Spoken::Application(spec) => spec,
        other => unreachable!("a description is none of {other}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_transports_are_described_with_and_without_rooms() {
        for (url, is_websocket) in [("ndjson://h:1", false), ("wss://h:1/a?b={c}", true)] {
            for has_rooms in [false, true] {
                let spec = describe(&url.parse().unwrap(), has_rooms).unwrap();
                let spec = spec.unwrap_or_else(|wrong| panic!("{wrong}"));
                assert_eq!(spec.is_websocket(), is_websocket);
                assert_eq!(spec.capabilities().rooms, has_rooms);
            }
        }
        assert!(describe(&"classic://h:1".parse().unwrap(), false).is_none());
    }
}
