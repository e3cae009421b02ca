//! URLs of servers, one form for every verb: `ndjson://HOST:PORT`, `classic://HOST:PORT`, and
//! the same with TLS: `ndjson+tls://HOST:PORT`; and
//! several addresses in one URL: `127.0.0.1-127.0.0.8:1253`, `a.example:1,b.example:2`.
//!
//! From one address to one port of another there are some 28,000 connections, one per local port. A
//! server that listens on several addresses can be dialled at each in turn, and every one has ports
//! of its own: no socket option and no second machine is needed.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use crate::wire::protocol::Protocol;
use crate::wire::websocket::{NotSendable, check_path};

/// The port of an ndjson or classic address that names none, and of the original tutorial.
pub const DEFAULT_PORT: u16 = 1253;

/// The most addresses that a URL may stand for.
pub const MAX_ADDRESSES: usize = 1024;

/// A URL of a server: what it speaks and where it is. `[DIALECT[+tls]://]HOST[:PORT][/]`, and further
/// `HOST[:PORT]` between commas; the dialect is ndjson and the port, if not given, [`DEFAULT_PORT`] or
/// that of WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// The protocol that is spoken there.
    pub protocol: Protocol,
    /// It is spoken over TLS.
    pub tls: bool,
    /// The address part as it was given, but for a slash at its end.
    pub list: String,
    /// The addresses that it stands for, in order: `HOST:PORT`, IPv6 in brackets.
    pub addresses: Vec<String>,
    /// The path after them, from its slash on, with its query; empty where there is none.
    pub path: String,
}

/// Why a text is no URL of a server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadUrl {
    /// It begins with a scheme that is no protocol.
    #[error(
        "no such protocol as {0}://: use ndjson://HOST:PORT, classic://HOST:PORT or \
         ws://HOST:PORT/PATH"
    )]
    Scheme(String),
    /// Nothing stands where the host belongs.
    #[error("no host: use ndjson://HOST:PORT, as in ndjson://127.0.0.1:1253")]
    NoHost,
    /// The path cannot stand in a request.
    #[error(transparent)]
    Path(#[from] NotSendable),
    /// The address part is not understood.
    #[error(transparent)]
    Addresses(#[from] BadAddresses),
}

/// The protocol of a scheme, and whether it is spoken over TLS.
fn of_scheme(scheme: &str) -> Option<(Protocol, bool)> {
    let plain = Protocol::of_scheme(scheme).map(|protocol| (protocol, false));
    plain.or_else(|| {
        let mut all = Protocol::ALL.into_iter();
        let protocol = all.find(|protocol| protocol.tls_scheme() == scheme)?;
        Some((protocol, true))
    })
}

impl Url {
    /// Reads a URL whose ports are `least_port` at least: 0 stands for any free one, where the
    /// URL is of a listener.
    ///
    /// # Errors
    /// [`BadUrl`] says which part is wrong and how it would be right.
    pub fn parse(text: &str, least_port: u16) -> Result<Self, BadUrl> {
        let ((protocol, tls), list) = match text.split_once("://") {
            None => ((Protocol::Ndjson, false), text),
            Some((scheme, list)) => match of_scheme(&scheme.to_ascii_lowercase()) {
                Some(spoken) => (spoken, list),
                None => return Err(BadUrl::Scheme(scheme.to_owned())),
            },
        };
        let (list, path) = match list.find(['/', '?']) {
            Some(end) if protocol.takes_path() => list.split_at(end),
            _ => (list.strip_suffix('/').unwrap_or(list), ""),
        };
        if list.is_empty() || list.starts_with(':') && !list.starts_with("::") {
            return Err(BadUrl::NoHost);
        }
        check_path(path)?;
        Ok(Self {
            protocol,
            tls,
            list: list.to_owned(),
            path: path.to_owned(),
            addresses: expand_with(list, least_port, default_port(protocol, tls))?,
        })
    }
}

impl Url {
    /// The same over TLS.
    #[must_use]
    pub fn over_tls(&self) -> Self {
        Self {
            tls: true,
            ..self.clone()
        }
    }
}

/// A URL to connect to.
impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        Self::parse(text, 1)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.tls {
            true => self.protocol.tls_scheme(),
            false => self.protocol.scheme(),
        };
        write!(f, "{scheme}://{}{}", self.list, self.path)
    }
}

/// Why the address part of a URL is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadAddresses {
    /// No `HOST:PORT`.
    #[error(
        "{part:?} is not HOST:PORT, an IPv6 host in brackets and the port from {least_port} to 65535"
    )]
    NoAddress {
        /// The text between the commas.
        part: String,
        /// The least port: 0 stands for any free one, where that can be.
        least_port: u16,
    },
    /// A range whose second end is not an IPv4 address.
    #[error("{part:?} is no range: both ends are IPv4 addresses, as in 127.0.0.1-127.0.0.8:1253")]
    HalfRange {
        /// The text between the commas.
        part: String,
    },
    /// A range over more than the last octet, or backwards.
    #[error("{part:?} is no range: the last number alone goes up, as in 127.0.0.1-127.0.0.8:1253")]
    Wide {
        /// The text between the commas.
        part: String,
    },
    /// More than a run can be meant to use.
    #[error("more than {MAX_ADDRESSES} addresses")]
    TooMany,
}

/// The port of a URL that names none.
fn default_port(protocol: Protocol, tls: bool) -> u16 {
    match (protocol, tls) {
        (Protocol::WebSocket, false) => 80,
        (Protocol::WebSocket, true) => 443,
        _ => DEFAULT_PORT,
    }
}

/// The addresses, `HOST:PORT` each, that a URL's address part stands for, in the order given.
pub(super) fn expand(text: &str, least_port: u16) -> Result<Vec<String>, BadAddresses> {
    expand_with(text, least_port, DEFAULT_PORT)
}

/// The same with another port for those that name none.
fn expand_with(
    text: &str,
    least_port: u16,
    default_port: u16,
) -> Result<Vec<String>, BadAddresses> {
    let mut addresses = Vec::new();
    for part in text.split(',') {
        let no_address = || BadAddresses::NoAddress {
            part: part.to_owned(),
            least_port,
        };
        // The colons of a bracketed IPv6 address are no port's.
        let after_host = part.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match part[after_host..].rsplit_once(':') {
            Some((_, port)) => {
                let host = &part[..part.len() - port.len() - 1];
                (host, port_number(port).ok_or_else(no_address)?)
            }
            None => (part, default_port),
        };
        if port < least_port {
            return Err(no_address());
        }
        match range(host).map_err(|bad| bad(part.to_owned()))? {
            Some((prefix, last)) => {
                let [a, b, c] = prefix;
                addresses.extend(last.map(|d| format!("{a}.{b}.{c}.{d}:{port}")));
            }
            None if is_host(host) => addresses.push(format!("{host}:{port}")),
            None => return Err(no_address()),
        }
        if addresses.len() > MAX_ADDRESSES {
            return Err(BadAddresses::TooMany);
        }
    }
    Ok(addresses)
}

/// A port in digits alone: `+80` is none.
fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

type Range = ([u8; 3], std::ops::RangeInclusive<u8>);

/// The three numbers that stay and the one that goes up; `None` where `host` is no range.
fn range(host: &str) -> Result<Option<Range>, fn(String) -> BadAddresses> {
    let Some((first, last)) = host.split_once('-') else {
        return Ok(None);
    };
    let Ok(first) = first.parse::<Ipv4Addr>() else {
        return Ok(None); // a host name with a hyphen
    };
    let Ok(last) = last.parse::<Ipv4Addr>() else {
        return Err(|part| BadAddresses::HalfRange { part });
    };
    let ([a, b, c, from], [x, y, z, to]) = (first.octets(), last.octets());
    if [a, b, c] != [x, y, z] || from > to {
        return Err(|part| BadAddresses::Wide { part });
    }
    Ok(Some(([a, b, c], from..=to)))
}

/// Whether `host` can be one: a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    match inner {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_websocket_is_that_of_the_web() {
        for (url, address) in [
            ("ws://h", "h:80"),
            ("ws://[::1]/chat", "[::1]:80"),
            ("wss://h?a=b", "h:443"),
            ("ws://h:1253", "h:1253"),
            ("ndjson+tls://h", "h:1253"),
            ("classic://h", "h:1253"),
            ("h", "h:1253"),
        ] {
            assert_eq!(url.parse::<Url>().unwrap().addresses, [address], "{url}");
        }
    }

    #[test]
    fn a_url_stands_for_one_address_or_for_several() {
        for (text, addresses) in [
            ("h:1", &["h:1"][..]),
            ("h", &["h:1253"]),
            ("[::1]", &["[::1]:1253"]),
            ("127.0.0.1-127.0.0.2", &["127.0.0.1:1253", "127.0.0.2:1253"]),
            ("my-host-1.example.org:80", &["my-host-1.example.org:80"]),
            ("[::1]:5", &["[::1]:5"]),
            ("a:1,b:2", &["a:1", "b:2"]),
            ("10.0.0.9-10.0.0.9:7", &["10.0.0.9:7"]),
            (
                "127.0.0.1-127.0.0.3:7,[::1]:8",
                &["127.0.0.1:7", "127.0.0.2:7", "127.0.0.3:7", "[::1]:8"],
            ),
        ] {
            assert_eq!(expand(text, 1).unwrap(), addresses, "{text}");
        }
        assert_eq!(expand("127.0.0.0-127.0.0.255:1", 1).unwrap().len(), 256);
        assert_eq!(expand("h:0", 0).unwrap(), ["h:0"]);
    }

    #[test]
    fn what_is_no_address_is_named_with_the_part_that_is_wrong() {
        let no_address = |part: &str| BadAddresses::NoAddress {
            part: part.to_owned(),
            least_port: 1,
        };
        for (text, part) in [
            ("", ""),
            (":1", ":1"),
            ("h:", "h:"),
            ("h:+1", "h:+1"),
            ("h:0", "h:0"),
            ("h:65536", "h:65536"),
            ("h:1,", ""),
            ("h:1,,h:2", ""),
            ("h:1,a b:2", "a b:2"),
            ("::1:5", "::1:5"),
            ("[nonsense]:5", "[nonsense]:5"),
            ("::1", "::1"),
            ("h:1/", "h:1/"),
        ] {
            assert_eq!(expand(text, 1), Err(no_address(part)), "{text}");
        }
    }

    #[test]
    fn a_range_goes_up_in_its_last_number() {
        for text in ["127.0.0.1-8:1", "127.0.0.1-:1", "127.0.0.1-host:1"] {
            assert!(
                matches!(expand(text, 1), Err(BadAddresses::HalfRange { .. })),
                "{text}"
            );
        }
        for text in ["127.0.0.8-127.0.0.1:1", "127.0.0.1-127.0.1.8:1"] {
            assert!(
                matches!(expand(text, 1), Err(BadAddresses::Wide { .. })),
                "{text}"
            );
        }
        let five = ["10.0.0.0-10.0.0.255:1"; 5].join(",");
        assert_eq!(expand(&five, 1), Err(BadAddresses::TooMany));
    }

    #[test]
    fn a_url_is_spelt_in_several_ways() {
        use Protocol::{Classic, Ndjson, WebSocket};
        for (text, protocol, shown) in [
            ("ndjson://h:1", Ndjson, "ndjson://h:1"),
            ("ndjson://h:1/", Ndjson, "ndjson://h:1"),
            ("NDJSON://h:1", Ndjson, "ndjson://h:1"),
            ("h:1", Ndjson, "ndjson://h:1"),
            ("h:1/", Ndjson, "ndjson://h:1"),
            ("[::1]:1", Ndjson, "ndjson://[::1]:1"),
            ("ndjson+tls://h:1/", Ndjson, "ndjson+tls://h:1"),
            ("Classic+TLS://h", Classic, "classic+tls://h"),
            ("wss://h:1/chat?room=1", WebSocket, "wss://h:1/chat?room=1"),
            ("classic://h", Classic, "classic://h"),
            ("classic://[::1]/", Classic, "classic://[::1]"),
            (
                "classic://127.0.0.1-127.0.0.2:1,h:2/",
                Classic,
                "classic://127.0.0.1-127.0.0.2:1,h:2",
            ),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!(
                (url.protocol, url.to_string().as_str()),
                (protocol, shown),
                "{text}"
            );
            let over_tls = ["ndjson+tls:", "classic+tls:", "wss:"];
            let over_tls = over_tls.iter().any(|scheme| shown.starts_with(scheme));
            assert_eq!(url.tls, over_tls, "{text}");
            assert!(url.over_tls().tls);
            assert_eq!(
                shown.parse(),
                Ok(url),
                "as it is shown it can be given again"
            );
        }
        assert_eq!(Url::parse("ndjson://h:0", 0).unwrap().addresses, ["h:0"]);
    }

    #[test]
    fn what_is_no_url_says_why() {
        let scheme = |scheme: &str| BadUrl::Scheme(scheme.to_owned());
        for (text, error) in [
            ("nats://h:1", scheme("nats")),
            ("ws://h:1/a b", BadUrl::Path(NotSendable::Path)),
            ("ws://h:1/a#b", BadUrl::Path(NotSendable::Path)),
            ("ws:///a", BadUrl::NoHost),
            ("://h:1", scheme("")),
            ("tls://h:1", scheme("tls")),
            ("+tls://h:1", scheme("+tls")),
            ("ndjson+ssl://h:1", scheme("ndjson+ssl")),
            ("", BadUrl::NoHost),
            ("/", BadUrl::NoHost),
            ("ndjson://", BadUrl::NoHost),
            ("ndjson:///", BadUrl::NoHost),
            ("ndjson://:1", BadUrl::NoHost),
        ] {
            assert_eq!(text.parse::<Url>(), Err(error), "{text}");
        }
        for text in [
            "::1:1",
            "ndjson://h:1//",
            "ndjson://h:1/x",
            "user@h:1",
            "h:1?x",
            "a b:1",
            "h:0",
        ] {
            assert!(
                matches!(text.parse::<Url>(), Err(BadUrl::Addresses(_))),
                "{text}"
            );
        }
    }
}
