//! What a client asks.

use base64::Engine as _;
use thiserror::Error;

use super::response::Opening;
use super::{BASE64, accept_of, is_token};

/// The request to upgrade a connection to WebSocket. What is in it has to be fit to stand there
/// ([`Request::check`]).
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The value of `Host`: a name or an address, and a port unless it is the scheme's own.
    pub host: &'a str,
    /// The path, with its query: it begins with a slash.
    pub path: &'a str,
    /// The subprotocols that are offered, the best first. If there are any, the server has to take
    /// one.
    pub subprotocols: &'a [&'a str],
    /// Further fields, by name and value.
    pub fields: &'a [(&'a str, &'a str)],
}

/// Why something cannot stand in a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotSendable {
    /// In a host.
    #[error("a host has neither white space nor control characters")]
    Host,
    /// In a path.
    #[error(
        "a path begins with `/` and has neither white space, control characters, `#` nor anything \
         beyond ASCII: write these as %XX"
    )]
    Path,
    /// In a subprotocol.
    #[error("`{0}` is no name for a subprotocol: it has only letters, digits and !#$%&'*+-.^_`|~")]
    Subprotocol(String),
    /// In the name of a field.
    #[error("`{0}` is no name for a header: it has only letters, digits and !#$%&'*+-.^_`|~")]
    FieldName(String),
    /// A field that the handshake writes.
    #[error("the handshake writes the header `{0}` itself")]
    OwnField(String),
    /// In the value of a field.
    #[error("the value of the header `{0}` has a control character")]
    FieldValue(String),
}

/// Checks that a path and a query, or one of them, can stand in a request.
///
/// # Errors
/// [`NotSendable::Path`] if not.
pub fn check_path(path: &str) -> Result<(), NotSendable> {
    match is_visible(path) && !path.contains('#') {
        true => Ok(()),
        false => Err(NotSendable::Path),
    }
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Fields that the handshake writes.
const OWN_FIELDS: [&str; 7] = [
    "host",
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];

impl Request<'_> {
    /// Checks that everything in it can stand in a request.
    ///
    /// # Errors
    /// [`NotSendable`] says what cannot.
    pub fn check(&self) -> Result<(), NotSendable> {
        if self.host.is_empty() || !is_visible(self.host) {
            return Err(NotSendable::Host);
        }
        match self.path.starts_with('/') {
            true => check_path(self.path)?,
            false => return Err(NotSendable::Path),
        }
        if let Some(bad) = self.subprotocols.iter().find(|name| !is_token(name)) {
            return Err(NotSendable::Subprotocol((*bad).to_owned()));
        }
        self.fields.iter().try_for_each(|(name, value)| {
            let name = (*name).to_owned();
            if !is_token(&name) {
                return Err(NotSendable::FieldName(name));
            }
            if OWN_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                return Err(NotSendable::OwnField(name));
            }
            match value.chars().any(|c| c.is_control() && c != '\t') {
                true => Err(NotSendable::FieldValue(name)),
                false => Ok(()),
            }
        })
    }

    /// Appends it. Returns what reads the answer.
    pub(in super::super) fn write(&self, nonce: [u8; 16], out: &mut Vec<u8>) -> Opening {
        debug_assert_eq!(self.check(), Ok(()));
        let key = BASE64.encode(nonce);
        let mut field = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        let line = format!("GET {} HTTP/1.1\r\nHost", self.path);
        field(&line, self.host);
        field("Upgrade", "websocket");
        field("Connection", "Upgrade");
        field("Sec-WebSocket-Version", "13");
        field("Sec-WebSocket-Key", &key);
        if !self.subprotocols.is_empty() {
            field("Sec-WebSocket-Protocol", &self.subprotocols.join(", "));
        }
        for (name, value) in self.fields {
            field(name, value);
        }
        out.extend_from_slice(b"\r\n");
        let subprotocols = self.subprotocols.iter().map(|&name| name.to_owned());
        Opening::new(accept_of(&key), subprotocols.collect())
    }
}
