//! TLS with a target: a scenario's choices, made into a network.

use std::time::Duration;

use super::Secure;
use crate::net::Net;
use crate::net::tls::{BadSetup, ClientSettings, Identity, Trust};
use crate::scenario::tls::Tls;

/// Reads the files that are named; `alpn` are the application protocols to offer, if any.
///
/// # Errors
/// [`BadSetup`] names the file, or the name, and what is wrong with it.
pub fn settings(tls: &Tls, alpn: &[&[u8]]) -> Result<ClientSettings, BadSetup> {
    let trust = Trust {
        cacert: tls.cacert.clone(),
        insecure: tls.insecure,
    };
    let identity = tls.cert.as_ref().map(|cert| Identity {
        cert: cert.clone(),
        key: tls.key.as_ref().unwrap_or(cert).clone(),
    });
    let settings = ClientSettings::read(&trust, identity.as_ref(), alpn)?;
    if let Some(name) = &tls.server_name {
        settings.connector(name, Duration::ZERO)?;
    }
    Ok(settings)
}

/// The network by which the server at `address`, `HOST:PORT`, is reached.
///
/// # Errors
/// [`BadSetup::Name`] if the host cannot be the name of a server.
pub(super) fn net(
    secure: &Secure<'_>,
    settings: &ClientSettings,
    address: &str,
) -> Result<Net, BadSetup> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = secure.tls.server_name.as_deref().unwrap_or(host);
    let connector = settings.connector(name, secure.within)?;
    Ok(Net::Tls(match secure.greets {
        true => connector.greeted(),
        false => connector,
    }))
}
