//! The next frame of a stream of lines, or why what came is none.

use super::violation::Quote;
use crate::wire::line::{Lines, SERVER_EXTRA_BYTES};
use crate::wire::ndjson::{self, ServerFrame};

/// The longest line that is read from a target whose welcome allows longer ones.
const MAX_READ_LINE_BYTES: u64 = 64 << 20;

/// The target takes lines of `max_line` bytes: its own may be as long, and somewhat longer (F2).
pub(super) fn allow(lines: &mut Lines<'_>, max_line: u64) {
    let longest = max_line.saturating_add(SERVER_EXTRA_BYTES as u64);
    lines.allow(longest.min(MAX_READ_LINE_BYTES) as usize);
}

/// What came is no frame, or none of this protocol.
#[derive(Debug)]
pub(super) struct NoFrame {
    /// What it was, in words.
    pub(super) what: String,
    /// Bytes of it in which other frames may be lost.
    pub(super) bytes: usize,
}

/// Takes the next line of a read; `None` when the read is used up.
pub(super) fn next<'a>(
    lines: &'a mut Lines<'_>,
) -> Option<Result<(&'a [u8], ServerFrame<'a>), NoFrame>> {
    let line = match lines.next()? {
        Ok(line) => line,
        // Behind it the stream cannot be read: whatever is missing then follows from it.
        Err(too_long) => {
            return Some(Err(NoFrame {
                what: too_long.to_string(),
                bytes: usize::MAX,
            }));
        }
    };
    Some(match ndjson::decode_server(line) {
        Ok(ServerFrame::Welcome { protocol, .. }) if protocol != ndjson::PROTOCOL_VERSION => {
            let ours = ndjson::PROTOCOL_VERSION;
            Err(NoFrame {
                what: format!("a welcome to protocol {protocol}, where {ours} is spoken"),
                bytes: 0,
            })
        }
        Ok(frame) => Ok((line, frame)),
        Err(malformed) => Err(NoFrame {
            what: format!("{}: {}", malformed.detail, Quote::of(line)),
            bytes: line.len(),
        }),
    })
}
