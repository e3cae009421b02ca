//! What a server answers, and all that is wrong with answers.

use std::fmt;

use super::{Head, MAX_FIELDS, MAX_HEAD_BYTES, Progress, field, has_member, members, quoted};

/// How much of an answer's body is quoted.
const QUOTED_BODY_BYTES: usize = 120;

/// A handshake whose answer is awaited.
#[derive(Debug)]
pub(in super::super) struct Opening {
    /// The answer to the key.
    accept: String,
    subprotocols: Vec<String>,
    head: Head,
    /// The body of an answer that refuses, as much as is quoted of it, and how much that is.
    body: Option<(Vec<u8>, usize)>,
}

/// Why there is no connection: what the server said in place of an upgrade. As a sentence it follows
/// "the target".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It answered with another status than 101.
    Status {
        /// Its code.
        code: u16,
        /// The word that goes with it.
        reason: String,
        /// The address that it names in place of its own.
        location: Option<String>,
        /// The beginning of its body.
        body: String,
    },
    /// It speaks, but not HTTP.
    NotHttp {
        /// The beginning of what came.
        got: String,
    },
    /// It speaks TLS.
    Tls,
    /// It means to speak HTTP, and does it wrong.
    BadHead {
        /// The fault.
        what: String,
        /// The beginning of what came.
        got: String,
    },
    /// The head of its answer has no end.
    LongHead,
    /// It agreed, but a field of its answer does not say so.
    Field {
        /// Its name.
        name: &'static str,
        /// What it has to be.
        expected: String,
        /// What it is, if it is there.
        got: Option<String>,
    },
    /// It has taken none of the subprotocols that were offered, or another.
    Subprotocol {
        /// Those offered.
        offered: Vec<String>,
        /// What it took.
        got: Option<String>,
    },
    /// It has taken an extension, and none was offered.
    Extension {
        /// Which.
        got: String,
    },
    /// It ended the stream before its answer was whole.
    Ended {
        /// The beginning of what came.
        got: String,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status {
                code,
                reason,
                location,
                body,
            } => {
                write!(f, "it answered the WebSocket handshake with HTTP {code}")?;
                if !reason.is_empty() {
                    write!(f, " {reason}")?;
                }
                match (code, location) {
                    (300..=399, Some(location)) => write!(f, ": name {location} instead")?,
                    (200..=299, _) => f.write_str(
                        ": it serves HTTP, and at this path no WebSocket; is the path right?",
                    )?,
                    (401 | 403 | 407, _) => {
                        f.write_str(": it wants credentials, or another Origin, in the headers")?;
                    }
                    (404 | 405, _) => f.write_str(": is the path right?")?,
                    _ => {}
                }
                match body.is_empty() {
                    true => Ok(()),
                    false => write!(f, "; it said `{body}`"),
                }
            }
            Self::NotHttp { got } => write!(
                f,
                "it is no WebSocket server: an answer begins with `HTTP/1.1`, and this said `{got}`"
            ),
            Self::Tls => f.write_str("it speaks TLS: name it wss:// in place of ws://"),
            Self::BadHead { what, got } => {
                write!(
                    f,
                    "its answer to the handshake is no HTTP: {what}, got `{got}`"
                )
            }
            Self::LongHead => write!(
                f,
                "the head of its answer to the handshake is longer than {MAX_HEAD_BYTES} bytes"
            ),
            Self::Field {
                name,
                expected,
                got,
            } => {
                write!(
                    f,
                    "its answer to the handshake is wrong: {name} has to be {expected}"
                )?;
                match got {
                    Some(got) => write!(f, ", and is `{got}`"),
                    None => f.write_str(", and is missing"),
                }
            }
            Self::Subprotocol { offered, got } => {
                let offered = offered.join(", ");
                match (got, offered.is_empty()) {
                    (None, _) => write!(f, "it took none of the subprotocols offered: {offered}"),
                    (Some(got), true) => {
                        write!(f, "it took the subprotocol `{got}`, and none was offered")
                    }
                    (Some(got), false) => {
                        write!(
                            f,
                            "it took the subprotocol `{got}`, and offered were: {offered}"
                        )
                    }
                }
            }
            Self::Extension { got } => {
                write!(f, "it took the extension `{got}`, and none was offered")
            }
            Self::Ended { got } if got.is_empty() => {
                f.write_str("it hung up in place of an answer to the WebSocket handshake")
            }
            Self::Ended { got } => {
                write!(
                    f,
                    "it hung up in the middle of its answer to the handshake: `{got}`"
                )
            }
        }
    }
}

impl Opening {
    pub(super) fn new(accept: String, subprotocols: Vec<String>) -> Self {
        Self {
            accept,
            subprotocols,
            head: Head::default(),
            body: None,
        }
    }

    pub(in super::super) fn unread(&self) -> &[u8] {
        &self.head.bytes
    }

    /// Takes what of the answer is in the read: the subprotocol, once it is whole and right.
    pub(in super::super) fn next(
        &mut self,
        input: &mut &[u8],
        ended: bool,
    ) -> Option<Result<Option<String>, Refused>> {
        loop {
            if self.body.is_none() {
                let progress = self.head.take(input);
                if let Some(refused) = self.not_http(ended) {
                    return Some(Err(refused));
                }
                match progress {
                    Progress::Whole => {}
                    Progress::TooLong => return Some(Err(Refused::LongHead)),
                    Progress::Unfinished if ended => {
                        return Some(Err(Refused::Ended {
                            got: quoted(&self.head.bytes),
                        }));
                    }
                    Progress::Unfinished => return None,
                }
            }
            if let Some((body, bytes)) = &mut self.body {
                let (taken, rest) = input.split_at(input.len().min(*bytes - body.len()));
                body.extend_from_slice(taken);
                *input = rest;
                if body.len() < *bytes && !ended {
                    return None;
                }
            }
            match self.judge() {
                Judged::Final(answer) => return Some(answer),
                Judged::Interim => self.head = Head::default(),
                Judged::BodyFollows(bytes) => self.body = Some((Vec::new(), bytes)),
            }
        }
    }

    fn not_http(&self, ended: bool) -> Option<Refused> {
        let begun = &self.head.bytes[..self.head.bytes.len().min(5)];
        if b"HTTP/".starts_with(begun) {
            return None;
        }
        if self.head.is_tls() {
            return Some(Refused::Tls);
        }
        let got = quoted(self.head.first_line(ended)?);
        Some(Refused::NotHttp { got })
    }

    /// What a head says that is whole.
    fn judge(&self) -> Judged {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(&self.head.bytes);
        let (Ok(httparse::Status::Complete(_)), Some(code)) = (parsed, response.code) else {
            let what = match parsed {
                Err(error) => error.to_string(),
                Ok(_) => "a status is missing".to_owned(),
            };
            let got = quoted(self.head.first_line(true).unwrap_or_default());
            return Judged::Final(Err(Refused::BadHead { what, got }));
        };
        let fields = &*response.headers;
        match code {
            101 => Judged::Final(self.judge_upgrade(fields)),
            100..=199 => Judged::Interim,
            _ => match &self.body {
                None => {
                    let length = field(fields, "Content-Length").and_then(|n| n.parse().ok());
                    Judged::BodyFollows(length.unwrap_or(0).min(QUOTED_BODY_BYTES))
                }
                Some((body, _)) => Judged::Final(Err(Refused::Status {
                    code,
                    reason: quoted(response.reason.unwrap_or_default().as_bytes()),
                    location: field(fields, "Location").map(|at| quoted(at.as_bytes())),
                    body: quoted_text(body),
                })),
            },
        }
    }

    fn judge_upgrade(&self, fields: &[httparse::Header<'_>]) -> Result<Option<String>, Refused> {
        for (name, member) in [("Upgrade", "websocket"), ("Connection", "Upgrade")] {
            if !has_member(fields, name, member) {
                return Err(wrong_field(fields, name, member));
            }
        }
        let name = "Sec-WebSocket-Accept";
        if field(fields, name) != Some(&self.accept) {
            return Err(wrong_field(fields, name, &self.accept));
        }
        if let Some(got) = members(fields, "Sec-WebSocket-Extensions").next() {
            let got = quoted(got.as_bytes());
            return Err(Refused::Extension { got });
        }
        let got = field(fields, "Sec-WebSocket-Protocol").filter(|got| !got.is_empty());
        let offered = &self.subprotocols;
        match got {
            None if offered.is_empty() => Ok(None),
            Some(got) if offered.iter().any(|offered| offered == got) => Ok(Some(got.to_owned())),
            got => Err(Refused::Subprotocol {
                offered: offered.clone(),
                got: got.map(|got| quoted(got.as_bytes())),
            }),
        }
    }
}

enum Judged {
    Final(Result<Option<String>, Refused>),
    /// Another answer follows (RFC 9110, section 15.2).
    Interim,
    /// So much of its body is to be quoted.
    BodyFollows(usize),
}

fn wrong_field(fields: &[httparse::Header<'_>], name: &'static str, expected: &str) -> Refused {
    Refused::Field {
        name,
        expected: format!("`{expected}`"),
        got: field(fields, name).map(|got| quoted(got.as_bytes())),
    }
}

/// The beginning of a body, on one line.
fn quoted_text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<_> = text.split_whitespace().collect();
    words
        .join(" ")
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"")
}
