//! Where a person says the server is, and what it speaks: `HOST:PORT`, `ndjson://HOST:PORT` or
//! `classic://HOST:PORT`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::wire::Dialect;

/// A server to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) dialect: Dialect,
    /// A name or an IP address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why a text is no address to talk to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum AddressError {
    #[error("`{0}` is no dialect of this client; give HOST:PORT or classic://HOST:PORT")]
    Scheme(String),
    #[error("the port is missing; give HOST:PORT, as in 127.0.0.1:1253")]
    NoPort,
    #[error("`{0}` is no port; give a number from 1 to 65535")]
    Port(String),
    #[error("the host is missing; give HOST:PORT, as in 127.0.0.1:1253")]
    NoHost,
    #[error("an IPv6 address needs brackets before its port, as in [::1]:1253")]
    Brackets,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (dialect, rest) = match text.split_once("://") {
            None => (Dialect::Ndjson, text),
            Some(("ndjson", rest)) => (Dialect::Ndjson, rest),
            Some(("classic", rest)) => (Dialect::Classic, rest),
            Some((scheme, _)) => return Err(AddressError::Scheme(scheme.to_owned())),
        };
        let rest = match rest.strip_suffix('/') {
            Some(host_port) if text.contains("://") => host_port,
            _ => rest,
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => return Err(AddressError::NoPort),
        };
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(bracketed) => bracketed,
            None if host.contains(':') => return Err(AddressError::Brackets),
            None => host,
        };
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(Self {
                dialect,
                host: host.to_owned(),
                port,
            }),
            _ => Err(AddressError::Port(port.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dialect == Dialect::Classic {
            f.write_str("classic://")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_give_them() {
        for (given, host, shown) in [
            ("127.0.0.1:1253", "127.0.0.1", "127.0.0.1:1253"),
            ("ndjson://127.0.0.1:1253", "127.0.0.1", "127.0.0.1:1253"),
            ("ndjson://localhost:1253/", "localhost", "localhost:1253"),
            ("[::1]:1253", "::1", "[::1]:1253"),
            ("classic://[::1]:1253", "::1", "classic://[::1]:1253"),
            (
                "classic://localhost:1253/",
                "localhost",
                "classic://localhost:1253",
            ),
        ] {
            let address: Address = given.parse().unwrap();
            assert_eq!((&*address.host, address.port), (host, 1253), "{given}");
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address), "shown as it can be given again");
        }
    }

    #[test]
    fn what_is_no_address() {
        for (given, error) in [
            (
                "http://127.0.0.1:80",
                AddressError::Scheme("http".to_owned()),
            ),
            ("localhost", AddressError::NoPort),
            ("classic://localhost", AddressError::NoPort),
            ("[::1]", AddressError::NoPort),
            ("::1:1253", AddressError::Brackets),
            (":1253", AddressError::NoHost),
            ("localhost:0", AddressError::Port("0".to_owned())),
            ("localhost:65536", AddressError::Port("65536".to_owned())),
            ("localhost:http", AddressError::Port("http".to_owned())),
        ] {
            assert_eq!(given.parse::<Address>(), Err(error), "{given}");
        }
    }
}
