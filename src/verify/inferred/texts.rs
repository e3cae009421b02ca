//! Classic streams: texts that run together, as the wire has cut them.

use super::relays::Heard;
use super::{Event, Handle, Inferred};
use crate::verify::violation::{NoFrame, Quote};
use crate::wire::classic::RELAY;
use crate::wire::classic::texts::Piece;

/// Bytes of an unfinished text that are kept.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// A text whose end is not known yet.
#[derive(Debug)]
pub(super) struct OpenText {
    /// Whose relay it is; `None` for what is no relay at all.
    by: Option<String>,
    text: Vec<u8>,
}

impl Inferred {
    /// One piece of a classic stream.
    pub(in crate::verify) fn piece(
        &mut self,
        handle: Handle,
        piece: Piece<'_>,
        now_ns: u64,
    ) -> Event {
        let event = match piece {
            Piece::Text(text) => {
                let session = self.session(handle);
                let open = session.text.get_or_insert_with(|| {
                    Box::new(OpenText {
                        by: None,
                        text: Vec::new(),
                    })
                });
                let room = MAX_TEXT_BYTES.saturating_sub(open.text.len());
                open.text.extend_from_slice(&text[..text.len().min(room)]);
                Event::Other
            }
            Piece::RelayBegins { by } => {
                self.text_ends(handle, now_ns);
                self.session(handle).text = Some(Box::new(OpenText {
                    by: Some(by.to_string()),
                    text: Vec::new(),
                }));
                Event::Other
            }
            Piece::Ack { by } => {
                self.text_ends(handle, now_ns);
                self.anonymous_ack(handle, by, now_ns)
            }
            Piece::Relay { by, message } => {
                self.text_ends(handle, now_ns);
                let by = by.to_string();
                self.relay(handle, heard(&by, message), now_ns)
            }
        };
        self.session(handle).update_wary();
        event
    }

    /// What follows, or the end of the stream, shows where the open text ends.
    pub(super) fn text_ends(&mut self, handle: Handle, now_ns: u64) {
        let Some(open) = self.session(handle).text.take() else {
            return;
        };
        match &open.by {
            Some(by) => {
                self.relay(handle, heard(by, &open.text), now_ns);
            }
            None => {
                let what = NoFrame::Bytes(Quote::of(&open.text));
                self.malformed(handle, what, open.text.len(), now_ns);
            }
        }
    }
}

fn heard<'a>(by: &'a str, message: &'a [u8]) -> Heard<'a> {
    Heard {
        from: by,
        text: message,
        bytes: [by.as_bytes(), RELAY.as_bytes(), message],
    }
}
