//! What a session sends: numbered load messages, and whatever bytes a script wants sent.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Handle, Ledger};
use crate::verify::batch::{Anomaly, Message};
use crate::verify::directory::RawFate;
use crate::verify::ids::{MAX_K, publish_id};
use crate::verify::session::{Pending, Raw};
use crate::verify::trace::tape::Tag;
use crate::wire::line::LineBuffer;
use crate::wire::ndjson;
use crate::wire::payload::Header;

impl Ledger {
    /// A message is about to be sent: gives it its k. `now_ns` is taken before the write. `None`
    /// when the session has sent all it can number.
    pub fn sending(&mut self, handle: Handle, intended_ns: u64, now_ns: u64) -> Option<Header> {
        if let Some(tape) = self.directory.writing() {
            let tape = tape.of_session(Tag::Sending, handle.0).time(now_ns);
            tape.number(now_ns.wrapping_sub(intended_ns));
        }
        let run = self.terms.run;
        let others_unacked = self.unacked;
        let session = &mut self.sessions[handle.0 as usize];
        let (sender, seen) = (session.id, session.seen());
        let own = session.own();
        if own.last_k == MAX_K {
            return None;
        }
        own.last_k += 1;
        let header = Header {
            run,
            sender,
            k: own.last_k,
            last: false,
            intended_ns,
            previous_ns: own.previous_ns,
        };
        own.previous_ns = intended_ns;
        if others_unacked > own.pending.len() as u64 {
            self.batch.coverage.overlapping_sends += 1;
        }
        own.pending.push_back(Pending {
            k: header.k,
            intended_ns,
            sent_ns: now_ns,
            seen,
            overtaken_by: 0,
        });
        let lag_ns = now_ns.saturating_sub(intended_ns);
        self.directory.sends().sent(sender, header.k, lag_ns);
        self.unacked += 1;
        self.batch.tally.sent += 1;
        Some(header)
    }

    /// The publish of `header` as it goes over the wire. Needed only behind raw bytes without a
    /// line end: they run together with it, and then the message is not what the target reads.
    pub fn sent_publish(&mut self, handle: Handle, header: &Header, line: &[u8]) {
        let session = &mut self.sessions[handle.0 as usize];
        let Some(own) = session.own.as_deref_mut() else {
            return;
        };
        let Some(raw) = own.raw.as_mut().filter(|r| r.lines.pending_bytes() > 0) else {
            return;
        };
        if let Some(tape) = self.directory.writing() {
            tape.of_session(Tag::SentPublish, handle.0).bytes(line);
        }
        let id = publish_id(header.sender, header.k);
        let mut lines = raw.lines.feed(line);
        let intact = matches!(
            lines.next(),
            Some(Ok(line)) if ndjson::decode_publish(line).is_ok_and(|p| p.id == Some(id))
        );
        if !intact {
            session.conduct.provoked = true;
            if own.pending.pop_back().is_some() {
                self.unacked -= 1;
            }
            own.settle_otherwise(header.k);
            let message = Message {
                sender: header.sender,
                k: header.k,
            };
            let refused = Anomaly::Refused {
                message,
                example: None,
            };
            self.batch.anomalies.push(refused);
        }
    }

    /// A script sends `bytes` as they stand.
    pub fn sending_raw(&mut self, handle: Handle, bytes: &[u8]) {
        if let Some(tape) = self.directory.writing() {
            tape.of_session(Tag::SendingRaw, handle.0).bytes(bytes);
        }
        let max_line_bytes = self.terms.max_line_bytes;
        let session = &mut self.sessions[handle.0 as usize];
        let own = session.own.get_or_insert_default();
        let raw = own.raw.get_or_insert_with(|| Raw {
            lines: LineBuffer::new(max_line_bytes),
            acks_owed: 0,
        });
        let mut lines = raw.lines.feed(bytes);
        while let Some(line) = lines.next() {
            let Ok(line) = line else {
                session.conduct.provoked = true;
                break;
            };
            match ndjson::decode_publish(line) {
                Ok(publish) if !publish.message.is_empty() => {
                    self.directory
                        .sent_raw(publish.message.as_bytes(), RawFate::Accepted);
                    raw.acks_owed += 1;
                }
                _ => {
                    session.conduct.provoked = true;
                    for text in texts_of_rejected(line) {
                        self.directory.sent_raw(text.as_bytes(), RawFate::Rejected);
                    }
                }
            }
        }
        if raw.lines.pending_bytes() > 0 {
            session.conduct.provoked = true;
        }
    }
}

/// What a server that relays what it should have refused may make of `line`: the line as it is, or
/// the message in it.
fn texts_of_rejected(line: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    #[derive(Deserialize)]
    struct MessageOnly<'a> {
        #[serde(borrow)]
        message: Cow<'a, str>,
    }
    let message = serde_json::from_slice::<MessageOnly<'_>>(line).ok();
    let whole = String::from_utf8_lossy(line);
    message.map(|m| m.message).into_iter().chain([whole])
}
