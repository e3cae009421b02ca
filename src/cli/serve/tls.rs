//! `--tls-cert` and `--tls-key`: as whom the server shows itself.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::net::tls::{Acceptor, BadSetup, Identity};
use crate::scenario::addresses::Url;

/// How long a client may take to shake hands.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Why the server does not speak TLS as it was told to.
#[derive(Debug, Error)]
pub(super) enum BadTls {
    #[error("{0} needs a certificate: name it by --tls-cert FILE, and its key by --tls-key FILE")]
    NoCertificate(Url),
    #[error(
        "--tls-cert is of no use: nothing is listened on with TLS; that would be --listen {}",
        .0.over_tls()
    )]
    NoUse(Url),
    #[error("TLS: {0}")]
    Setup(#[from] BadSetup),
}

/// The server's side of TLS, if any of the URLs asks for it.
pub(super) fn acceptor(
    listen: &[Url],
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<Acceptor>, BadTls> {
    let secure = listen.iter().find(|url| url.tls);
    match (secure, cert) {
        (None, None) => Ok(None),
        (Some(url), None) => Err(BadTls::NoCertificate(url.clone())),
        (None, Some(_)) => Err(BadTls::NoUse(listen[0].clone())),
        (Some(_), Some(cert)) => {
            let key = key.unwrap_or_else(|| cert.clone());
            let identity = Identity { cert, key };
            Ok(Some(Acceptor::read(&identity, &[], HANDSHAKE_WITHIN)?))
        }
    }
}
