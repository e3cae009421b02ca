//! JSON documents as they are written for other programs: results, searches, comparisons,
//! verifications.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;

use crate::terminal;

/// `value` as an indented JSON document with a newline at its end, which is harmless on a terminal
/// too.
#[must_use]
pub(crate) fn document(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_string_pretty(value).expect("string keys and plain values");
    json.push('\n');
    match terminal::visible_json(&json) {
        Cow::Owned(visible) => visible.into_bytes(),
        Cow::Borrowed(_) => json.into_bytes(),
    }
}

/// A wall-clock time as RFC 3339 in UTC, to the millisecond.
pub(crate) fn rfc3339(time: std::time::SystemTime) -> String {
    // Out of jiff's range is before the year −9999 or after 9999: a clock that is not set.
    Timestamp::try_from(time)
        .and_then(|timestamp| timestamp.round(jiff::Unit::Millisecond))
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}
