//! The handshake (section 4): an HTTP request and its answer, with the field values of which the
//! two sides convince each other that they mean WebSocket.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest as _, Sha1};

pub(super) mod asked;
pub(super) mod request;
pub(super) mod response;

/// The longest head of a request or an answer that is read.
pub const MAX_HEAD_BYTES: usize = 16 << 10;

/// The most fields that a head may have.
const MAX_FIELDS: usize = 64;

/// How much is quoted of what is no handshake.
const QUOTED_BYTES: usize = 60;

/// The answer to a key (section 4.2.2).
fn accept_of(key: &str) -> String {
    let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    BASE64.encode(Sha1::digest([key, guid].concat()))
}

/// Appends an answer that ends a connection: to a plain request, or to a bad one. `status` is the
/// code and its reason; `fields` are whole lines, each with its CRLF.
pub fn answer(out: &mut Vec<u8>, status: &str, fields: &str, content_type: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{fields}\
         Connection: close\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

/// A head that is read piece by piece.
#[derive(Debug, Default)]
struct Head {
    /// Of the head, and never more than that: the longest may be [`MAX_HEAD_BYTES`].
    bytes: Vec<u8>,
}

enum Progress {
    Unfinished,
    Whole,
    TooLong,
}

impl Head {
    /// Takes what of the head is in the read.
    fn take(&mut self, input: &mut &[u8]) -> Progress {
        let before = self.bytes.len();
        let room = MAX_HEAD_BYTES - before;
        let part = &input[..input.len().min(room)];
        self.bytes.extend_from_slice(part);
        match end_of_head_from(&self.bytes, before) {
            Some(end) => {
                self.bytes.truncate(end);
                *input = &input[end - before..];
                Progress::Whole
            }
            None => {
                *input = &input[part.len()..];
                match self.bytes.len() < MAX_HEAD_BYTES {
                    true => Progress::Unfinished,
                    false => Progress::TooLong,
                }
            }
        }
    }

    /// The first line, or as much of it as is quoted; `None` while it can grow.
    fn first_line(&self, ended: bool) -> Option<&[u8]> {
        let quoted = &self.bytes[..self.bytes.len().min(QUOTED_BYTES)];
        match memchr::memchr(b'\n', quoted) {
            Some(lf) => Some(quoted[..lf].trim_ascii_end()),
            None => (ended || quoted.len() == QUOTED_BYTES).then_some(quoted),
        }
    }

    /// A TLS record in place of text: a handshake or an alert.
    fn is_tls(&self) -> bool {
        matches!(&self.bytes[..], [0x15 | 0x16, 0x03, ..])
    }
}

/// Where the head of a request or an answer ends that `bytes` begin with: after the first empty line.
#[must_use]
pub fn end_of_head(bytes: &[u8]) -> Option<usize> {
    end_of_head_from(bytes, 0)
}

/// Where the head ends that begins `bytes`, of which `searched` were searched before: after the
/// first empty line.
fn end_of_head_from(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(2); // a line end before it may be the last one's
    memchr::memchr_iter(b'\n', &bytes[from..]).find_map(|lf| match &bytes[from + lf + 1..] {
        [b'\n', ..] => Some(from + lf + 2),
        [b'\r', b'\n', ..] => Some(from + lf + 3),
        _ => None,
    })
}

/// The value of a field, if it stands there as text.
fn field<'h>(fields: &[httparse::Header<'h>], name: &str) -> Option<&'h str> {
    values(fields, name).next()
}

fn values<'f, 'h>(
    fields: &'f [httparse::Header<'h>],
    name: &'f str,
) -> impl Iterator<Item = &'h str> + use<'f, 'h> {
    let named = fields
        .iter()
        .filter(move |f| f.name.eq_ignore_ascii_case(name));
    named.filter_map(|field| std::str::from_utf8(field.value).ok().map(str::trim))
}

/// The members of a field whose value is a list, in all of its lines.
fn members<'f, 'h: 'f>(
    fields: &'f [httparse::Header<'h>],
    name: &'f str,
) -> impl Iterator<Item = &'h str> + use<'f, 'h> {
    let all = values(fields, name).flat_map(|value| value.split(','));
    all.map(str::trim).filter(|member| !member.is_empty())
}

fn has_member(fields: &[httparse::Header<'_>], name: &str, member: &str) -> bool {
    members(fields, name).any(|found| found.eq_ignore_ascii_case(member))
}

/// The beginning of what came, fit for one line of a terminal.
fn quoted(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(QUOTED_BYTES)];
    bytes.escape_ascii().to_string()
}

/// Whether a byte may stand in a token: a method, the name of a field (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_token)
}
