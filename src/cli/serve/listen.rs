//! `--listen`: where the server is to listen, and whether it may.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use thiserror::Error;

use crate::net::tls::Acceptor;
use crate::scenario::addresses::{BadUrl, Url};
use crate::wire::protocol::Protocol;

/// Where to listen, and for whom.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) protocol: Protocol,
    /// With TLS.
    pub(super) tls: Option<Acceptor>,
    pub(super) address: SocketAddr,
}

/// Reads a `--listen` URL.
///
/// # Errors
/// [`BadUrl`] says what is wrong with it.
pub(super) fn listen_url(text: &str) -> Result<Url, BadUrl> {
    Url::parse(text, 0) // port 0: any free one
}

/// Why an address is not listened on.
#[derive(Debug, Error)]
pub(super) enum Unfit {
    #[error("cannot resolve {listen}: {source}")]
    Unknown { listen: Url, source: io::Error },
    #[error(
        "{address} can be reached from other machines, and the server authenticates nobody: \
         add --allow-remote if that is meant, or listen on 127.0.0.1"
    )]
    Remote { address: SocketAddr },
}

/// The addresses of a URL, all of each host, if they may be listened on: a client that knows the
/// host by name may try any of them.
pub(super) fn resolve(listen: &Url, allow_remote: bool) -> Result<Vec<SocketAddr>, Unfit> {
    let mut addresses = Vec::new();
    for host_port in &listen.addresses {
        let unknown = |source| Unfit::Unknown {
            listen: listen.clone(),
            source,
        };
        let before = addresses.len();
        for address in host_port.to_socket_addrs().map_err(unknown)? {
            if !allow_remote && !address.ip().to_canonical().is_loopback() {
                return Err(Unfit::Remote { address });
            }
            if !addresses[before..].contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.len() == before {
            return Err(unknown(io::Error::other("it has no address")));
        }
    }
    Ok(addresses)
}
