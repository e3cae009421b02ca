//! Certificates and keys out of PEM files, with errors that name the file.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use super::Identity;

/// Why a file of certificates or keys cannot be used.
#[derive(Debug, Error)]
pub enum BadFile {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// What was looked for is not in it.
    #[error("{} holds no {what} in PEM: no \"-----BEGIN {label}-----\" is in it", path.display())]
    Without {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// The word by which PEM marks it.
        label: &'static str,
    },
    /// It is marked as PEM and is none.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A certificate in it is not understood.
    #[error("{}: a certificate in it is not understood: {error}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// The key is another certificate's.
    #[error("the key in {} is not the one of the certificate in {}", key.display(), cert.display())]
    OtherKey {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// Certificate and key cannot be used.
    #[error("{} and {} cannot be used: {error}", cert.display(), key.display())]
    Unfit {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong with them.
        error: rustls::Error,
    },
}

impl BadFile {
    /// What rustls finds wrong with an identity.
    pub(super) fn unfit(identity: &Identity, error: rustls::Error) -> Self {
        let Identity { cert, key } = identity.clone();
        match error {
            rustls::Error::InconsistentKeys(_) => Self::OtherKey { cert, key },
            error => Self::Unfit { cert, key, error },
        }
    }
}

/// All certificates of a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadFile> {
    let text = read(path)?;
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        found.push(certificate.map_err(|error| damaged(path, &error))?);
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(BadFile::Without {
            path: path.to_owned(),
            what: "certificate",
            label: "CERTIFICATE",
        }),
    }
}

/// A certificate with those that follow it, and its key.
pub(super) fn identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), BadFile> {
    let chain = certificates(&identity.cert)?;
    let path = &identity.key;
    let key = match PrivateKeyDer::from_pem_slice(&read(path)?) {
        Ok(key) => key,
        Err(pem::Error::NoItemsFound) => {
            return Err(BadFile::Without {
                path: path.to_owned(),
                what: "private key",
                label: "PRIVATE KEY",
            });
        }
        Err(error) => return Err(damaged(path, &error)),
    };
    Ok((chain, key))
}

fn read(path: &Path) -> Result<Vec<u8>, BadFile> {
    std::fs::read(path).map_err(|source| BadFile::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn damaged(path: &Path, error: &pem::Error) -> BadFile {
    BadFile::Damaged {
        path: path.to_owned(),
        what: error.to_string(),
    }
}
