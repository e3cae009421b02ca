//! What a server is asked, and its answer.

use std::borrow::Cow;

use base64::Engine as _;
use thiserror::Error;

use super::{
    BASE64, Head, MAX_FIELDS, MAX_HEAD_BYTES, Progress, accept_of, answer, field, has_member,
    is_token, members, quoted, values,
};

/// A server's side of a handshake: reads one request.
#[derive(Debug, Default)]
pub struct Handshake {
    head: Head,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// To go on in WebSocket.
    Upgrade(Upgrade),
    /// For something else. Its body, if it has one, is not read.
    Plain(Plain),
    /// It cannot be answered as it wants.
    Bad(BadRequest),
}

/// A request to go on in WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The path, with its query.
    pub path: String,
    /// The host that it was sent to, as the client names it.
    pub host: String,
    /// The page that sends it, if a browser says so.
    pub origin: Option<String>,
    /// The subprotocols that it offers, the best first.
    pub subprotocols: Vec<String>,
    /// The answer to its key.
    accept: String,
}

/// A request for something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// GET, and others.
    pub method: String,
    /// The path, with its query.
    pub path: String,
}

/// Why a request cannot be answered as it wants.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadRequest {
    /// It is none.
    #[error("expected an HTTP request, `GET /… HTTP/1.1`, got `{got}`")]
    NotHttp {
        /// The beginning of what came.
        got: String,
    },
    /// It is a handshake of TLS, which is not answered at all.
    #[error("expected an HTTP request, got a TLS handshake: this server speaks ws://, not wss://")]
    Tls,
    /// It means to be HTTP, and is wrong.
    #[error("the request is no HTTP: {what}")]
    BadHead {
        /// The fault.
        what: String,
    },
    /// It has no end.
    #[error("the head of the request is longer than {MAX_HEAD_BYTES} bytes")]
    LongHead,
    /// Another method than GET.
    #[error("a WebSocket handshake is a GET, got {method}")]
    Method {
        /// Which.
        method: String,
    },
    /// Another version of WebSocket.
    #[error("expected Sec-WebSocket-Version: 13, got {}", .got.as_deref().unwrap_or("none"))]
    Version {
        /// Which.
        got: Option<String>,
    },
    /// A field that is wrong.
    #[error("expected {name}: {expected}, got {}", .got.as_deref().unwrap_or("none"))]
    Field {
        /// Its name.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// What it is, if it is there.
        got: Option<String>,
    },
    /// It has a body, which would be read as frames.
    #[error("a WebSocket handshake has no body")]
    Body,
}

impl BadRequest {
    /// The status of its answer.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self {
            Self::LongHead => "431 Request Header Fields Too Large",
            Self::Method { .. } => "405 Method Not Allowed",
            Self::Version { .. } => "426 Upgrade Required",
            _ => "400 Bad Request",
        }
    }

    /// Appends the answer. To TLS there is none that it could read.
    pub fn answer(&self, out: &mut Vec<u8>) {
        let fields = match self {
            Self::Tls => return,
            Self::Method { .. } => "Allow: GET\r\n",
            Self::Version { .. } => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        let body = format!("{self}\n");
        let content_type = "text/plain; charset=utf-8";
        answer(out, self.status(), fields, content_type, body.as_bytes());
    }
}

impl Upgrade {
    /// Appends the answer that agrees, with one of the subprotocols offered, or none.
    pub fn accept(&self, subprotocol: Option<&str>, out: &mut Vec<u8>) {
        debug_assert!(subprotocol.is_none_or(|name| self.subprotocols.iter().any(|s| s == name)));
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: ";
        let mut parts = vec![head, &self.accept, "\r\n"];
        if let Some(name) = subprotocol {
            parts.extend(["Sec-WebSocket-Protocol: ", name, "\r\n"]);
        }
        parts.push("\r\n");
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// Whether the page that sends it, if it is one, was loaded from the host that it asks. Any page
    /// on the web can have a browser open a WebSocket to a server that only the browser's machine
    /// reaches; unlike other requests, it may then read what comes (section 10.2).
    #[must_use]
    pub fn is_same_origin(&self) -> bool {
        let Some(origin) = &self.origin else {
            return true;
        };
        let host = (origin.strip_prefix("http://")).or_else(|| origin.strip_prefix("https://"));
        // Some programs (tsung) say the host alone. A browser never does; of a page without an
        // origin it says `null`.
        let host = host.or_else(|| (**origin != *"null").then_some(&**origin));
        host.is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
    }
}

impl Handshake {
    /// Takes what of the request is in the read; `None` while it is not whole. What follows it is
    /// left in `input`.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Asked> {
        let progress = self.head.take(input);
        if let Some(bad) = self.not_http() {
            return Some(Asked::Bad(bad));
        }
        match progress {
            Progress::Unfinished => None,
            Progress::TooLong => Some(Asked::Bad(BadRequest::LongHead)),
            Progress::Whole => Some(self.judge().unwrap_or_else(Asked::Bad)),
        }
    }

    /// The bytes that came and are no whole request yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.head.bytes
    }

    fn not_http(&self) -> Option<BadRequest> {
        let bytes = &self.head.bytes;
        if self.head.is_tls() {
            return Some(BadRequest::Tls);
        }
        // A method, then a space: what is neither is known before its line ends.
        let end = bytes.iter().position(|&b| b == b' ').unwrap_or(bytes.len());
        let method = String::from_utf8_lossy(&bytes[..end]);
        if bytes.is_empty() || is_token(&method) {
            return None;
        }
        let got = quoted(self.head.first_line(false)?);
        Some(BadRequest::NotHttp { got })
    }

    fn judge(&self) -> Result<Asked, BadRequest> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let bad_head = |what: Cow<'_, str>| BadRequest::BadHead {
            what: what.into_owned(),
        };
        match request.parse(&self.head.bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(bad_head("it is not whole".into())),
            Err(error) => return Err(bad_head(error.to_string().into())),
        }
        let (method, path) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
        let fields = &*request.headers;
        if !has_member(fields, "Upgrade", "websocket") {
            return Ok(Asked::Plain(Plain {
                method: method.to_owned(),
                path: path.to_owned(),
            }));
        }
        let text = |name| field(fields, name).map(str::to_owned);
        let wrong = |name, expected| BadRequest::Field {
            name,
            expected,
            got: field(fields, name).map(|got| quoted(got.as_bytes())),
        };
        if method != "GET" {
            return Err(BadRequest::Method {
                method: quoted(method.as_bytes()),
            });
        }
        if request.version != Some(1) {
            return Err(bad_head("a WebSocket handshake is HTTP/1.1".into()));
        }
        let host = text("Host").ok_or_else(|| wrong("Host", "the name of this server"))?;
        if !has_member(fields, "Connection", "Upgrade") {
            return Err(wrong("Connection", "Upgrade"));
        }
        if field(fields, "Sec-WebSocket-Version") != Some("13") {
            let got = field(fields, "Sec-WebSocket-Version");
            return Err(BadRequest::Version {
                got: got.map(|got| quoted(got.as_bytes())),
            });
        }
        let has_body = field(fields, "Transfer-Encoding").is_some()
            || values(fields, "Content-Length").any(|length| length != "0");
        if has_body {
            return Err(BadRequest::Body);
        }
        let key = field(fields, "Sec-WebSocket-Key").unwrap_or("");
        if !BASE64.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
            return Err(wrong("Sec-WebSocket-Key", "16 bytes in base64"));
        }
        Ok(Asked::Upgrade(Upgrade {
            path: path.to_owned(),
            host,
            origin: text("Origin"),
            subprotocols: members(fields, "Sec-WebSocket-Protocol")
                .map(str::to_owned)
                .collect(),
            accept: accept_of(key),
        }))
    }
}
