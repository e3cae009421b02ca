//! The options for TLS with a target, the same for every verb that connects to one.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::overrides::quoted;
use crate::scenario::tls::{Tls, TlsOption};

/// What they stand under in `--help`.
const HEADING: &str = "TLS, for targets such as ndjson+tls://HOST:PORT";

/// How TLS is spoken with the target.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct TlsArgs {
    /// Trust the certificates in this PEM file, beside those that browsers trust: an authority's,
    /// or the target's own
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    cacert: Option<PathBuf>,

    /// Accept any certificate
    #[arg(long, help_heading = HEADING)]
    insecure: bool,

    /// The clients' certificate, for a target that wants one: a PEM file
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    cert: Option<PathBuf>,

    /// The private key of --cert, if it is not in the same file
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = HEADING)]
    key: Option<PathBuf>,

    /// The name that the target's certificate has to be for, if not the host of its URL
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    server_name: Option<String>,
}

impl TlsArgs {
    /// The same without a scenario's file.
    pub(super) fn alone(&self) -> Tls {
        let Self {
            cacert,
            insecure,
            cert,
            key,
            server_name,
        } = self.clone();
        Tls {
            cacert,
            insecure,
            cert,
            key,
            server_name,
        }
    }

    /// Whether any of them is given.
    pub(super) fn are_given(&self) -> bool {
        !self.options().is_empty()
    }

    /// As they set keys of a scenario.
    pub(super) fn options(&self) -> Vec<TlsOption> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let valued = [
            ("cacert", "--cacert", self.cacert.as_ref().map(text)),
            ("cert", "--cert", self.cert.as_ref().map(text)),
            ("key", "--key", self.key.as_ref().map(text)),
            ("server_name", "--server-name", self.server_name.clone()),
        ];
        let mut options: Vec<TlsOption> = valued
            .into_iter()
            .filter_map(|(key, option, value)| {
                let value = value?;
                Some(TlsOption {
                    key,
                    given: format!("{option} {}", quoted(&value)),
                    value: Json::String(value),
                })
            })
            .collect();
        if self.insecure {
            options.push(TlsOption {
                key: "insecure",
                given: "--insecure".to_owned(),
                value: Json::Bool(true),
            });
        }
        options
    }
}
