//! The system under test: the embedded server as a child process, or other servers by their
//! addresses.

pub mod embedded;
pub mod host;
pub mod tls;

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::net::Net;
use crate::net::tls::BadSetup;
use crate::scenario::addresses::Url;
use crate::scenario::plan::{Target, TargetUrl};
use crate::scenario::tls::Tls;
use host::Host;

/// Why a target cannot be driven at all.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The address does not resolve.
    #[error("cannot resolve {address}: {source}")]
    Unresolvable {
        /// The address as given.
        address: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// The address resolves to nothing.
    #[error("{address} has no address")]
    Nowhere {
        /// The address as given.
        address: String,
    },
    /// The embedded server did not start.
    #[error("the embedded server did not start: {0}")]
    NotStarted(String),
    /// TLS with it cannot be set up as asked.
    #[error(transparent)]
    Tls(#[from] BadSetup),
}

/// How a target is reached by TLS.
#[derive(Debug, Clone, Copy)]
pub struct Secure<'a> {
    /// A user's choices.
    pub tls: &'a Tls,
    /// The application protocols that are offered.
    pub alpn: &'a [&'a [u8]],
    /// How long a handshake may take.
    pub within: Duration,
    /// The target says a line in plain text before the handshake.
    pub greets: bool,
}

impl<'a> Secure<'a> {
    /// How a scenario's target is reached by TLS, if it is.
    #[must_use]
    pub fn with(target: &'a Target) -> Option<Self> {
        target.url.is_over_tls().then_some(Self {
            tls: &target.tls,
            alpn: target.url.alpn(),
            // Before the time for connecting is up, and all that is known is that it was too long.
            within: target.connect_timeout.mul_f64(0.9),
            greets: matches!(&target.url, TargetUrl::Described(url) if url.scheme.is_nats()),
        })
    }
}

/// Resolves all addresses that a URL stands for as those of one host, for a single connection to
/// whichever of them answers. Where they have several names, TLS goes by the first.
///
/// # Errors
/// As [`resolve`].
pub async fn resolve_as_one(url: &Url, tls: &Tls, within: Duration) -> Result<Host, TargetError> {
    let alpn = url.protocol.alpn();
    let secure = url.tls.then_some(Secure {
        tls,
        alpn,
        within,
        greets: false,
    });
    let hosts = resolve(&url.addresses, secure).await?;
    let addresses = hosts.iter().flat_map(Host::addresses).copied();
    let net = hosts.first().map(Host::net).unwrap_or_default();
    Ok(addresses.collect::<Host>().over(net))
}

/// Resolves addresses, `HOST:PORT` each, in their order. They are reached by TLS if `secure` says
/// how.
///
/// # Errors
/// [`TargetError`] names the address and what is wrong with it.
pub async fn resolve(
    addresses: &[String],
    secure: Option<Secure<'_>>,
) -> Result<Vec<Host>, TargetError> {
    let settings = match &secure {
        Some(secure) => Some(tls::settings(secure.tls, secure.alpn)?),
        None => None,
    };
    let mut hosts = Vec::with_capacity(addresses.len());
    for address in addresses {
        let net = match (&settings, &secure) {
            (Some(settings), Some(secure)) => tls::net(secure, settings, address)?,
            _ => Net::System,
        };
        hosts.push(Host::resolve(address).await?.over(net));
    }
    Ok(hosts)
}
