//! Other people's protocols, recognised: what a browser can be made to send to any port.
//!
//! A web page may have its browser send a request anywhere, and choose the request's body. Were
//! its first lines only refused and the rest read on, a body that is a publish would be published:
//! a page on the web could talk to a server on localhost. So a server hangs up on these.

use std::fmt;

/// A protocol that is not spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A request: `GET / HTTP/1.1`. The method may be any token, for pages may choose it.
    Http,
    /// A handshake record.
    Tls,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
        })
    }
}

/// The protocol that a line is of, as far as its beginning tells. A TLS record is recognised by two
/// bytes, an HTTP request by a whole line.
#[must_use]
pub fn recognise(line: &[u8]) -> Option<Foreign> {
    if line.starts_with(&[0x16, 0x03]) {
        return Some(Foreign::Tls);
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii();
    let method = line.iter().take_while(|byte| is_token(**byte)).count();
    let version = line.len().checked_sub("HTTP/1.1".len())?;
    let (request, version) = line.split_at(version);
    let is_version = version.starts_with(b"HTTP/")
        && version[5].is_ascii_digit()
        && version[6] == b'.'
        && version[7].is_ascii_digit();
    (method > 0 && is_version && request.get(method) == Some(&b' ')).then_some(Foreign::Http)
}

/// Whether a byte may stand in a method (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_handshakes_are_recognised_and_nothing_else() {
        for (line, expected) in [
            (&b"GET / HTTP/1.1"[..], Some(Foreign::Http)),
            (b"GET / HTTP/1.1\r", Some(Foreign::Http)),
            (b"POST /a?b HTTP/1.0", Some(Foreign::Http)),
            (b"PRI * HTTP/2.0", Some(Foreign::Http)),
            (b"x-y /{\"message\":\"x\"} HTTP/1.1", Some(Foreign::Http)),
            (b"\x16\x03\x01\x02\x00\x01", Some(Foreign::Tls)),
            (b"GET /", None),
            (b"HTTP/1.1", None),
            (b" HTTP/1.1", None),
            (b"GETHTTP/1.1", None),
            (b"GET / HTTP/11.", None),
            (b"{\"message\":\"GET / HTTP/1.1\"}", None),
            (b"\"GET\" / HTTP/1.1", None),
            (b"\x16", None),
            (b"", None),
        ] {
            let shown = String::from_utf8_lossy(line);
            assert_eq!(recognise(line), expected, "{shown}");
        }
    }
}
