//! `--listen`: where the server is to be heard, and whether it may be heard there.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use thiserror::Error;

use crate::scenario::addresses::{self, BadAddresses};
use crate::wire::Dialect;

/// The port of a `--listen` that names none, and of the original tutorial.
const DEFAULT_PORT: u16 = 1253;

/// A `--listen` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listen {
    pub(super) dialect: Dialect,
    /// As the resolver takes them: `HOST:PORT`, IPv6 in brackets.
    addresses: Vec<String>,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.dialect, self.addresses.join(","))
    }
}

/// Why a `--listen` is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum BadListen {
    #[error("no such dialect: use ndjson://HOST:PORT or classic://HOST:PORT")]
    Dialect,
    #[error("no host: use ndjson://HOST:PORT, as in ndjson://127.0.0.1:1253")]
    NoHost,
    #[error("the port is no number from 0 to 65535")]
    Port,
    #[error(transparent)]
    Addresses(#[from] BadAddresses),
}

impl FromStr for Listen {
    type Err = BadListen;

    fn from_str(url: &str) -> Result<Self, BadListen> {
        let (dialect, address) = match url.split_once("://") {
            Some(("ndjson", address)) => (Dialect::Ndjson, address),
            Some(("classic", address)) => (Dialect::Classic, address),
            _ => return Err(BadListen::Dialect),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        // The colons of a bracketed IPv6 address are no port's.
        let after_host = address.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match address[after_host..].rsplit_once(':') {
            Some((_, port)) => (
                &address[..address.len() - port.len() - 1],
                port.parse().map_err(|_| BadListen::Port)?,
            ),
            None => (address, DEFAULT_PORT),
        };
        if host.is_empty() {
            return Err(BadListen::NoHost);
        }
        Ok(Self {
            dialect,
            addresses: addresses::expand(&format!("{host}:{port}"), 0)?,
        })
    }
}

/// Why a place is not listened on.
#[derive(Debug, Error)]
pub(super) enum Unfit {
    #[error("cannot resolve {listen}: {source}")]
    Unknown { listen: Listen, source: io::Error },
    #[error(
        "{address} can be reached from other machines, and the server authenticates nobody: \
         add --allow-remote if that is meant, or listen on 127.0.0.1"
    )]
    Remote { address: SocketAddr },
}

/// The addresses of a URL, of each host the first, if they may be listened on.
pub(super) fn resolve(listen: &Listen, allow_remote: bool) -> Result<Vec<SocketAddr>, Unfit> {
    let resolve_one = |host_port: &String| {
        let found = host_port.to_socket_addrs().and_then(|mut found| {
            let none = || io::Error::other("it has no address");
            found.next().ok_or_else(none)
        });
        let address = found.map_err(|source| Unfit::Unknown {
            listen: listen.clone(),
            source,
        })?;
        if !allow_remote && !address.ip().to_canonical().is_loopback() {
            return Err(Unfit::Remote { address });
        }
        Ok(address)
    };
    listen.addresses.iter().map(resolve_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_urls_name_a_dialect_a_host_and_perhaps_a_port() {
        use Dialect::{Classic, Ndjson};
        for (url, listen) in [
            ("ndjson://127.0.0.1:0", Ok((Ndjson, &["127.0.0.1:0"][..]))),
            ("ndjson://localhost/", Ok((Ndjson, &["localhost:1253"]))),
            ("ndjson://[::1]:5", Ok((Ndjson, &["[::1]:5"]))),
            ("ndjson://[::1]", Ok((Ndjson, &["[::1]:1253"]))),
            (
                "ndjson://127.0.0.1-127.0.0.2:0",
                Ok((Ndjson, &["127.0.0.1:0", "127.0.0.2:0"])),
            ),
            ("ndjson://a:1,[::1]:2", Ok((Ndjson, &["a:1", "[::1]:2"]))),
            (
                "ndjson://127.0.0.2-127.0.0.1:0",
                Err(BadListen::Addresses(BadAddresses::Wide {
                    part: "127.0.0.2-127.0.0.1:0".to_owned(),
                })),
            ),
            ("classic://127.0.0.1:1", Ok((Classic, &["127.0.0.1:1"]))),
            ("classic://localhost", Ok((Classic, &["localhost:1253"]))),
            ("ndjson://:5", Err(BadListen::NoHost)),
            ("ndjson://", Err(BadListen::NoHost)),
            ("ndjson://h:65536", Err(BadListen::Port)),
            ("classic://h:", Err(BadListen::Port)),
            ("127.0.0.1:1", Err(BadListen::Dialect)),
            ("ws://127.0.0.1:1", Err(BadListen::Dialect)),
        ] {
            let expected = listen.map(|(dialect, addresses)| Listen {
                dialect,
                addresses: addresses.iter().map(|&a| a.to_owned()).collect(),
            });
            assert_eq!(url.parse(), expected, "{url}");
        }
    }
}
