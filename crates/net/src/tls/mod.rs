//! TLS over the system's TCP, by rustls.
//!
//! A [`TlsStream`] behaves as a TCP stream does towards its caller; how, is said there. What a
//! user chooses ([`Trust`], [`Identity`], ALPN) is read once, with errors that name the file, and
//! made into a [`Connector`] or an [`Acceptor`], of which every connection has a handle. Both bound
//! a handshake in time, and say in words ([`words`]) why one failed.
//!
//! Sessions are not resumed: a load's clients stand for as many separate ones, each of which pays
//! for its own handshake, and a server keeps nothing of who has left.

mod accept;
mod files;
mod handshake;
mod records;
mod slices;
mod stream;
mod verifier;
mod words;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;
use tokio::net::TcpStream;

use super::Stream;
pub(super) use accept::Accepting;
pub use files::BadFile;
pub use stream::TlsStream;

/// Whose certificates a client accepts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// A PEM file of certificates that are trusted beside those that browsers trust: those of
    /// authorities, or servers' own.
    pub cacert: Option<PathBuf>,
    /// Accept any certificate, for any name, and none is looked at.
    pub insecure: bool,
}

/// A certificate with its private key, as PEM files. Both may be in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, followed by those of intermediate authorities.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// Why TLS cannot be set up as asked.
#[derive(Debug, Error)]
pub enum BadSetup {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] BadFile),
    /// It is neither a DNS name nor an IP address.
    #[error("{0:?} is no name of a server: use a DNS name or an IP address")]
    Name(String),
}

/// The client's settings, which all its connections share.
#[derive(Debug, Clone)]
pub struct ClientSettings(Arc<ClientConfig>);

impl ClientSettings {
    /// Reads the files. `alpn` are the names of application protocols to offer, the preferred first;
    /// none for no offer.
    ///
    /// # Errors
    /// [`BadSetup::File`].
    pub fn read(
        trust: &Trust,
        identity: Option<&Identity>,
        alpn: &[&[u8]],
    ) -> Result<Self, BadSetup> {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("ring has ciphers for both");
        let builder = if trust.insecure {
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier::Anyone::new(provider()))
        } else {
            let own = match &trust.cacert {
                Some(path) => files::certificates(path)?,
                None => Vec::new(),
            };
            let mut roots = RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            };
            for certificate in &own {
                let added = roots.add(certificate.clone());
                added.map_err(|error| {
                    let path = trust.cacert.clone().unwrap_or_default();
                    BadFile::Certificate { path, error }
                })?;
            }
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier::Trusted::new(roots, own, provider()))
        };
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = files::identity(identity)?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| BadFile::unfit(identity, error))?
            }
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Self(Arc::new(config)))
    }

    /// A connector to the server that goes by `name`, which its certificate has to be for. A
    /// handshake may take as long as `within`.
    ///
    /// # Errors
    /// [`BadSetup::Name`].
    pub fn connector(&self, name: &str, within: Duration) -> Result<Connector, BadSetup> {
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
        let parsed = ServerName::try_from(bare.unwrap_or(name).to_owned());
        Ok(Connector {
            config: Arc::clone(&self.0),
            name: parsed.map_err(|_| BadSetup::Name(name.to_owned()))?,
            within,
            greets: false,
        })
    }
}

/// Makes the client's side of TLS over TCP connections to one server.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    within: Duration,
    greets: bool,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// The same to a server that says a line in plain text before the handshake, as those of NATS
    /// do. It is the first that is read.
    #[must_use]
    pub fn greeted(mut self) -> Self {
        self.greets = true;
        self
    }

    /// Shakes hands over a connection that was just made.
    pub(super) async fn connect(&self, socket: TcpStream) -> io::Result<Stream> {
        let (config, name) = (Arc::clone(&self.config), self.name.clone());
        let greeting = match self.greets {
            true => handshake::greeting(&socket, self.within).await?,
            false => Vec::new(),
        };
        let shaken = handshake::as_client(socket, config, name, self.within, &greeting).await;
        shaken.map(|stream| Stream::Tls(Box::new(stream)))
    }
}

/// Makes the server's side of TLS over the connections that a listener accepts.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    within: Duration,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Reads the files. A handshake may take as long as `within`. `alpn` are the names of
    /// application protocols that are spoken; none where clients' offers are not looked at.
    ///
    /// # Errors
    /// [`BadSetup::File`].
    pub fn read(identity: &Identity, alpn: &[&[u8]], within: Duration) -> Result<Self, BadSetup> {
        let (chain, key) = files::identity(identity)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("ring has ciphers for both")
            .with_no_client_auth();
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| BadFile::unfit(identity, error))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Self {
            config: Arc::new(config),
            within,
        })
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
