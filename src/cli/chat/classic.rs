//! One person's side of the classic dialect, sans-IO: the original's interactive client.
//!
//! The dialect does not mark where a text ends, so text is shown when it comes, one line per text
//! as far as texts can be told apart. Only the rest of a character is waited for, where a read ends
//! within one.

use std::net::SocketAddr;
use std::str;

use super::conversation::Server;
use super::screen::Shown;
use crate::wire::classic::texts::{Piece, TextBuffer};
use crate::wire::classic::{ACK, RELAY, encode_publish};
use crate::wire::line::DEFAULT_MAX_LINE_BYTES;

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Classic {
    /// The address that this side claims. No server should believe it.
    client_ip: String,
    texts: TextBuffer,
    /// Bytes that have come and are not shown: within one read a text, between reads less than a
    /// character.
    unshown: Vec<u8>,
    unanswered: usize,
    is_over: bool,
}

impl Classic {
    /// A conversation begins without a word from the server (C3); says so in its place.
    pub(super) fn begin(local: SocketAddr) -> (Self, Shown) {
        let classic = Self {
            client_ip: local.to_string(),
            texts: TextBuffer::new(DEFAULT_MAX_LINE_BYTES),
            unshown: Vec::new(),
            unanswered: 0,
            is_over: false,
        };
        let greeting =
            format!("connected as {local}; what you type is sent, /q leaves, /help says more");
        (classic, Shown::Note(greeting))
    }

    pub(super) fn server(&self) -> Server {
        if self.is_over {
            Server::Gone
        } else {
            Server::Present
        }
    }

    /// How many acks are still to come.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Appends the object of a line to `out`.
    pub(super) fn say(&mut self, text: &str, out: &mut Vec<u8>) {
        encode_publish(out, &self.client_ip, text);
        self.unanswered += 1;
    }

    /// Takes what one read brought.
    pub(super) fn hear(&mut self, bytes: &[u8], shown: &mut Vec<Shown>) {
        let bytes = [&self.unshown[..], bytes].concat();
        self.unshown.clear();
        let whole_chars = match str::from_utf8(&bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => bytes.len(), // bytes that are invalid in the middle stay invalid
        };
        let mut pieces = self.texts.feed(&bytes[..whole_chars]);
        let mut text = Vec::new();
        while let Some(piece) = pieces.next() {
            self.unanswered -= take_piece(piece, &mut text, shown).min(self.unanswered);
        }
        let mut rest = self.texts.finish();
        while let Some(piece) = rest.next() {
            self.unanswered -= take_piece(piece, &mut text, shown).min(self.unanswered);
        }
        show(&mut text, shown);
        self.unshown = bytes[whole_chars..].to_vec();
    }

    /// Takes the end of the stream.
    pub(super) fn hear_end(&mut self, shown: &mut Vec<Shown>) {
        show(&mut self.unshown, shown);
        self.is_over = true;
    }
}

/// Adds a piece to what is shown; `text` is the line that is not finished. Returns how many
/// messages it acks.
fn take_piece(piece: Piece<'_>, text: &mut Vec<u8>, shown: &mut Vec<Shown>) -> usize {
    if !matches!(piece, Piece::Text(_)) {
        show(text, shown);
    }
    match piece {
        Piece::Ack { by } => shown.push(Shown::Text(format!("{by}{ACK}"))),
        Piece::Relay { by, message } => {
            let message = String::from_utf8_lossy(message);
            shown.push(Shown::Text(format!("{by}{RELAY}{message}")));
        }
        Piece::RelayBegins { by } => text.extend_from_slice(format!("{by}{RELAY}").as_bytes()),
        Piece::Text(more) => text.extend_from_slice(more),
    }
    usize::from(matches!(piece, Piece::Ack { .. }))
}

/// Ends a line.
fn show(text: &mut Vec<u8>, shown: &mut Vec<Shown>) {
    if !text.is_empty() {
        shown.push(Shown::Text(String::from_utf8_lossy(text).into_owned()));
        text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Classic {
        Classic::begin("127.0.0.1:5".parse().unwrap()).0
    }

    fn heard(classic: &mut Classic, bytes: &[u8]) -> Vec<String> {
        let mut shown = Vec::new();
        classic.hear(bytes, &mut shown);
        let text = |shown| match shown {
            Shown::Text(text) => text,
            other => panic!("{other:?}"),
        };
        shown.into_iter().map(text).collect()
    }

    #[test]
    fn what_is_typed_is_an_object_and_its_ack_is_counted() {
        let mut classic = begun();
        let mut out = Vec::new();
        classic.say("one", &mut out);
        classic.say("\"2\"", &mut out);
        let objects = r#"{"client_ip":"127.0.0.1:5","message":"one"}{"client_ip":"127.0.0.1:5","message":"\"2\""}"#;
        assert_eq!(String::from_utf8(out).unwrap(), objects);
        assert_eq!(classic.unanswered(), 2);
        let acks = "127.0.0.1:5: 已经收到信息127.0.0.1:5: 已经收到信息";
        let ack = "127.0.0.1:5: 已经收到信息";
        assert_eq!(heard(&mut classic, acks.as_bytes()), [ack, ack]);
        assert_eq!(classic.unanswered(), 0);
        assert_eq!(heard(&mut classic, ack.as_bytes()), [ack], "one too many");
        assert_eq!(classic.unanswered(), 0);
    }

    #[test]
    fn texts_that_run_together_are_shown_a_line_each() {
        let texts = "127.0.0.1:6 地址发送了请求消息：hello127.0.0.1:5: 已经收到信息127.0.0.1:7 地址发送了请求消息：你好";
        assert_eq!(
            heard(&mut begun(), texts.as_bytes()),
            [
                "127.0.0.1:6 地址发送了请求消息：hello",
                "127.0.0.1:5: 已经收到信息",
                "127.0.0.1:7 地址发送了请求消息：你好",
            ]
        );
    }

    #[test]
    fn what_has_come_is_shown_at_once_but_for_half_a_character() {
        let mut classic = begun();
        let text = "你好".as_bytes();
        assert_eq!(heard(&mut classic, &text[..4]), ["你"]);
        assert_eq!(heard(&mut classic, &text[4..5]), [""; 0]);
        assert_eq!(heard(&mut classic, &text[5..]), ["好"]);
        assert_eq!(heard(&mut classic, b"\xff!"), ["\u{fffd}!"]);
        assert_eq!(heard(&mut classic, &text[..1]), [""; 0]);
        let mut shown = Vec::new();
        classic.hear_end(&mut shown);
        assert_eq!(shown, [Shown::Text("\u{fffd}".to_owned())]);
        assert_eq!(classic.server(), Server::Gone);
    }
}
