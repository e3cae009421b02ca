//! URLs of targets that talk as `[protocol]` says.

use std::fmt;

use crate::scenario::addresses::{self, BadAddresses};

/// Where such a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedUrl {
    /// What is under its messages.
    pub scheme: Scheme,
    /// The address part as it was given.
    pub list: String,
    /// The addresses that it stands for, in order: `HOST:PORT`, IPv6 in brackets.
    pub addresses: Vec<String>,
    /// The path after them, with its query, as it was given: names in it are filled in.
    pub path: String,
}

/// What is under the messages of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// A byte stream.
    Tcp,
    /// A byte stream over TLS.
    Tls,
    /// A NATS server.
    Nats,
    /// A NATS server over TLS.
    NatsTls,
    /// A Redis server.
    Redis,
    /// A Redis server over TLS.
    RedisTls,
}

impl Scheme {
    const ALL: [Self; 8] = [
        Self::Ws,
        Self::Wss,
        Self::Tcp,
        Self::Tls,
        Self::Nats,
        Self::NatsTls,
        Self::Redis,
        Self::RedisTls,
    ];

    /// Those of targets that talk as `[protocol]` says.
    pub(super) const APPLICATIONS: &str = "ws://, wss://, tcp:// and tls://";

    /// The part of a URL before `://`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Nats => "nats",
            Self::NatsTls => "tls+nats",
            Self::Redis => "redis",
            Self::RedisTls => "rediss",
        }
    }

    /// Whether messages are WebSocket messages.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Whether it is a system with a protocol of its own, which needs no description.
    #[must_use]
    pub const fn is_system(self) -> bool {
        self.is_nats() || matches!(self, Self::Redis | Self::RedisTls)
    }

    /// Whether it is NATS.
    #[must_use]
    pub const fn is_nats(self) -> bool {
        matches!(self, Self::Nats | Self::NatsTls)
    }

    /// The same over TLS.
    #[must_use]
    pub const fn over_tls(self) -> Self {
        match self {
            Self::Ws | Self::Wss => Self::Wss,
            Self::Tcp | Self::Tls => Self::Tls,
            Self::Nats | Self::NatsTls => Self::NatsTls,
            Self::Redis | Self::RedisTls => Self::RedisTls,
        }
    }

    /// Whether it is all over TLS.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Wss | Self::Tls | Self::NatsTls | Self::RedisTls)
    }

    /// The port of a URL that names none, if there is one by custom.
    const fn default_port(self) -> Option<u16> {
        match self {
            Self::Ws => Some(80),
            Self::Wss => Some(443),
            Self::Tcp | Self::Tls => None,
            Self::Nats | Self::NatsTls => Some(4222),
            Self::Redis | Self::RedisTls => Some(6379),
        }
    }

    /// The scheme of a URL, if it is one of these.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        let (name, _) = url.split_once("://")?;
        Self::ALL
            .into_iter()
            .find(|scheme| name.eq_ignore_ascii_case(scheme.name()))
    }
}

impl DescribedUrl {
    /// Reads the rest of a URL of this scheme.
    ///
    /// # Errors
    /// What is wrong with its addresses, in words.
    pub(in crate::scenario) fn parse(scheme: Scheme, url: &str) -> Result<Self, String> {
        let (_, rest) = url.split_once("://").unwrap_or_default();
        let (list, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if list.is_empty() {
            return Err(format!("no host: use {}://HOST:PORT", scheme.name()));
        }
        if !scheme.is_websocket() && !path.is_empty() && path != "/" {
            let name = scheme.name();
            return Err(format!("{name}:// takes no path, and {path:?} is one"));
        }
        if list.contains('@') {
            return Err(
                "a user and a password do not belong into a URL, which reports show: put them \
                 into [protocol] vars = { user = \"…\", password = \"{env.PASSWORD}\" }"
                    .to_owned(),
            );
        }
        let ported: Vec<String> = list
            .split(',')
            .map(|part| with_port(scheme, part))
            .collect();
        let ported = ported.join(",");
        let addresses =
            addresses::expand(&ported, 1).map_err(|bad: BadAddresses| bad.to_string())?;
        Ok(Self {
            scheme,
            list: list.to_owned(),
            addresses,
            path: if scheme.is_websocket() {
                path.to_owned()
            } else {
                String::new()
            },
        })
    }
}

/// An address with its scheme's port, if it names none and there is one.
fn with_port(scheme: Scheme, part: &str) -> String {
    let after_host = part.rfind(']').map_or(0, |bracket| bracket + 1);
    match scheme.default_port() {
        Some(port) if !part[after_host..].contains(':') => format!("{part}:{port}"),
        // Without a port, what is wrong with it is that it has none.
        None if !part[after_host..].contains(':') => format!("{part}:"),
        _ => part.to_owned(),
    }
}

impl fmt::Display for DescribedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.list, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_scheme_addresses_and_for_websocket_a_path() {
        let parse = |url: &str| DescribedUrl::parse(Scheme::of(url).unwrap(), url);
        let url = parse("ws://127.0.0.1:3000/chat?user={client}").unwrap();
        assert_eq!(url.addresses, ["127.0.0.1:3000"]);
        assert_eq!(url.path, "/chat?user={client}");
        assert_eq!(url.to_string(), "ws://127.0.0.1:3000/chat?user={client}");
        assert_eq!(parse("WS://h").unwrap().addresses, ["h:80"]);
        assert_eq!(parse("wss://[::1]/").unwrap().addresses, ["[::1]:443"]);
        assert_eq!(parse("tcp://a:1,b:2").unwrap().addresses, ["a:1", "b:2"]);
        for wrong in [
            "ws://",
            "ws:///x",
            "tcp://h",
            "tcp://h:1/x",
            "ws://h:0",
            "ws://a b:1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Scheme::of("ndjson://h:1"), None);
        assert_eq!(Scheme::of("embedded"), None);
    }
}
