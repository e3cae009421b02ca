//! How the driver reaches a system: the embedded server as a child process, and the addresses of
//! others.

pub mod embedded;

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::scenario::addresses;

/// Why a target cannot be driven at all.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The address does not resolve.
    #[error("cannot resolve {address}: {source}")]
    Unresolvable {
        /// As given.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The address resolves to nothing.
    #[error("{address} has no address")]
    Nowhere {
        /// As given.
        address: String,
    },
    /// The embedded server did not start.
    #[error("the embedded server did not start: {0}")]
    NotStarted(String),
}

/// Resolves every address that a URL's address part stands for, in its order.
///
/// # Errors
/// [`TargetError`] names the address and what is wrong with it.
///
/// # Panics
/// If `list` was not checked when the scenario was read.
pub async fn resolve_all(list: &str) -> Result<Vec<SocketAddr>, TargetError> {
    let addresses = addresses::expand(list, 1).expect("checked with the scenario");
    let mut resolved = Vec::with_capacity(addresses.len());
    for address in addresses {
        resolved.push(resolve(&address).await?);
    }
    Ok(resolved)
}

/// Resolves `HOST:PORT`; of several addresses the first.
///
/// # Errors
/// [`TargetError`] names the address and what is wrong with it.
async fn resolve(address: &str) -> Result<SocketAddr, TargetError> {
    let mut found =
        tokio::net::lookup_host(address)
            .await
            .map_err(|source| TargetError::Unresolvable {
                address: address.to_owned(),
                source,
            })?;
    found.next().ok_or_else(|| TargetError::Nowhere {
        address: address.to_owned(),
    })
}
