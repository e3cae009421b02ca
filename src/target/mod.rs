//! The system under test: the embedded server as a child process, or other servers by their
//! addresses.

pub mod embedded;
pub mod host;

use std::io;

use thiserror::Error;

use crate::scenario::addresses::Url;
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
}

/// Resolves all addresses that a URL stands for as those of one host, for a single connection to
/// whichever of them answers.
///
/// # Errors
/// As [`resolve`].
pub async fn resolve_as_one(url: &Url) -> Result<Host, TargetError> {
    let hosts = resolve(url).await?;
    let addresses = hosts.iter().flat_map(Host::addresses).copied();
    Ok(addresses.collect())
}

/// Resolves every address that a URL stands for, in its order.
///
/// # Errors
/// [`TargetError`] names the address and what is wrong with it.
pub async fn resolve(url: &Url) -> Result<Vec<Host>, TargetError> {
    resolve_all(&url.addresses).await
}

/// Resolves addresses, `HOST:PORT` each, in their order.
///
/// # Errors
/// As [`resolve`].
pub async fn resolve_all(addresses: &[String]) -> Result<Vec<Host>, TargetError> {
    let mut hosts = Vec::with_capacity(addresses.len());
    for address in addresses {
        hosts.push(Host::resolve(address).await?);
    }
    Ok(hosts)
}
