//! Reading what a client sends.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{ClientFrame, Malformed, Publish, Text, object, parse, plain, present, present_id};

/// Decodes one line (without its LF) that a client sent.
///
/// # Errors
/// [`Malformed`] where the line is not a JSON object with exactly one of `message`, `join` and
/// `leave`, where a key that its kind of frame knows has the wrong type or comes twice, or where
/// the line is not UTF-8.
#[inline]
pub fn decode_client(line: &[u8]) -> Result<ClientFrame<'_>, Malformed> {
    match plain::publish(line) {
        Some(publish) => Ok(ClientFrame::Publish(publish)),
        None => client_frame(line),
    }
}

/// Decodes a publish where there are no rooms, as in the classic dialect: `room`, `join` and
/// `leave` are unknown keys like any other.
///
/// # Errors
/// [`Malformed`] where the line is not a JSON object with a string `message`, where a known key
/// has the wrong type or comes twice, or where the line is not UTF-8.
#[inline]
pub fn decode_publish(line: &[u8]) -> Result<Publish<'_>, Malformed> {
    match plain::publish(line) {
        Some(publish) if publish.room.is_none() => Ok(publish),
        _ => parse_publish(line),
    }
}

fn client_frame(line: &[u8]) -> Result<ClientFrame<'_>, Malformed> {
    match plain::membership(line) {
        Some(frame) => Ok(frame),
        None => parse_client(line),
    }
}

#[derive(Deserialize)]
struct RawPublish<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(default, deserialize_with = "present_id")]
    id: Option<u64>,
    #[serde(default, borrow, deserialize_with = "present")]
    client_ip: Option<Text<'a>>,
}

pub(super) fn parse_publish(line: &[u8]) -> Result<Publish<'_>, Malformed> {
    let raw: RawPublish<'_> = object(line).and_then(parse).map_err(|detail| Malformed {
        detail,
        id: id_of(line),
        room: None,
    })?;
    Ok(Publish {
        message: raw.message,
        id: raw.id,
        client_ip: raw.client_ip.map(|t| t.0),
        room: None,
    })
}

/// A publish where there are rooms, with the keys that no publish has.
#[derive(Deserialize)]
struct RawRoomPublish<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(default, deserialize_with = "present_id")]
    id: Option<u64>,
    #[serde(default, borrow, deserialize_with = "present")]
    client_ip: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    room: Option<Text<'a>>,
    #[serde(default, deserialize_with = "present")]
    join: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    leave: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RawJoin<'a> {
    #[serde(borrow)]
    join: Cow<'a, str>,
    #[serde(default, deserialize_with = "present_id")]
    id: Option<u64>,
}

#[derive(Deserialize)]
struct RawLeave<'a> {
    #[serde(borrow)]
    leave: Cow<'a, str>,
    #[serde(default, deserialize_with = "present_id")]
    id: Option<u64>,
}

// What is not plain is mostly a publish with escapes, so it is read as one first: to find out the
// kind beforehand would go over the whole line twice.
pub(super) fn parse_client(line: &[u8]) -> Result<ClientFrame<'_>, Malformed> {
    let publish = object(line).and_then(parse::<RawRoomPublish<'_>>);
    match publish {
        Ok(RawRoomPublish {
            join: None,
            leave: None,
            message,
            id,
            client_ip,
            room,
        }) => Ok(ClientFrame::Publish(Publish {
            message,
            id,
            client_ip: client_ip.map(|t| t.0),
            room: room.map(|t| t.0),
        })),
        Ok(_) => Err(of_two_kinds(line)),
        Err(detail) => no_publish(line, detail),
    }
}

/// The kinds of frame that a line is.
#[derive(Deserialize)]
struct Kinds {
    #[serde(default, deserialize_with = "present")]
    message: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    join: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    leave: Option<IgnoredAny>,
}

/// A line that does not read as a publish, for the reason that `detail` states.
#[cold]
fn no_publish(line: &[u8], detail: String) -> Result<ClientFrame<'_>, Malformed> {
    let text = object(line).ok();
    let kinds = text.and_then(|text| serde_json::from_str::<Kinds>(text).ok());
    let (Some(text), Some(kinds)) = (text, kinds) else {
        return Err(malformed(line, detail, None));
    };
    let is = |kind: Option<IgnoredAny>| kind.is_some();
    match (is(kinds.message), is(kinds.join), is(kinds.leave)) {
        (false, true, false) => parse::<RawJoin<'_>>(text)
            .map(|RawJoin { join: room, id }| ClientFrame::Join { room, id })
            .map_err(|detail| malformed(line, detail, Some("join"))),
        (false, false, true) => parse::<RawLeave<'_>>(text)
            .map(|RawLeave { leave: room, id }| ClientFrame::Leave { room, id })
            .map_err(|detail| malformed(line, detail, Some("leave"))),
        (true, false, false) => Err(malformed(line, detail, Some("room"))),
        (false, false, false) => Err(malformed(line, detail, None)),
        _ => Err(of_two_kinds(line)),
    }
}

#[cold]
fn of_two_kinds(line: &[u8]) -> Malformed {
    let detail = "expected only one of `message`, `join` and `leave`".to_owned();
    malformed(line, detail, None)
}

/// A line that is no frame; `key` is that of the room which its kind of frame names.
#[cold]
fn malformed(line: &[u8], detail: String, key: Option<&str>) -> Malformed {
    Malformed {
        detail,
        id: id_of(line),
        room: key.and_then(|key| room_of(line, key)),
    }
}

#[derive(Deserialize)]
struct IdOnly {
    #[serde(default, deserialize_with = "present_id")]
    id: Option<u64>,
}

/// The `id` of a line that is no frame, so that its error can name it.
#[cold]
fn id_of(line: &[u8]) -> Option<u64> {
    let text = object(line).ok()?;
    serde_json::from_str::<IdOnly>(text).ok()?.id
}

/// The room under `key` of a line that is no frame, so that its error can name it.
#[cold]
fn room_of(line: &[u8], key: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct RoomOnly {
        room: String,
    }
    #[derive(Deserialize)]
    struct JoinOnly {
        join: String,
    }
    #[derive(Deserialize)]
    struct LeaveOnly {
        leave: String,
    }
    let text = object(line).ok()?;
    let room = match key {
        "join" => serde_json::from_str(text).map(|JoinOnly { join }| join),
        "leave" => serde_json::from_str(text).map(|LeaveOnly { leave }| leave),
        _ => serde_json::from_str(text).map(|RoomOnly { room }| room),
    };
    room.ok()
}
