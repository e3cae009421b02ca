//! `[target] tls`: whom the target's certificate is trusted of, and as whom the clients show
//! themselves.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::diagnostic::Diagnostic;
use super::plan::TargetUrl;
use super::section::{Section, keys_of};
use super::value::{boolean, string};

/// The choices of a user. The default trusts the authorities that browsers trust, and shows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file of certificates that are trusted too.
    pub cacert: Option<PathBuf>,
    /// Any certificate is accepted.
    pub insecure: bool,
    /// A PEM file of the certificate that clients show.
    pub cert: Option<PathBuf>,
    /// A PEM file of its private key; absent where that is in the same file.
    pub key: Option<PathBuf>,
    /// The name that the target's certificate has to be for; absent for the host of its URL.
    pub server_name: Option<String>,
}

/// An option of the command line that sets a key of `[target] tls`.
#[derive(Debug, Clone)]
pub struct TlsOption {
    /// The key.
    pub key: &'static str,
    /// The option as it was given.
    pub given: String,
    /// What it sets.
    pub value: Json,
}

/// Reads `[target] tls` of a target at `url`.
pub(super) fn read(target: &mut Section<'_>, url: &TargetUrl) -> Tls {
    let Some(entry) = target.entry("tls") else {
        return Tls::default();
    };
    let path = target.path_of("tls");
    let Some(mut section) =
        Section::open_entry(target.problems(), path, entry, keys_of("target.tls"))
    else {
        return Tls::default();
    };
    let file = |section: &mut Section<'_>, key| section.optional(key, string).map(PathBuf::from);
    let tls = Tls {
        cacert: file(&mut section, "cacert"),
        insecure: section.optional("insecure", boolean).unwrap_or_default(),
        cert: file(&mut section, "cert"),
        key: file(&mut section, "key"),
        server_name: section.optional("server_name", string),
    };
    if let (Some(key), None) = (section.entry("key"), section.entry("cert")) {
        let title = "`target.tls.key`: a key is of no use without its certificate";
        let problem = Diagnostic::error(title).at(&key.node.span, "whose key?");
        section.problem(problem.help("name the certificate by `cert`"));
    }
    if !url.is_over_tls() {
        let title = "`target.tls`: the target is not reached by TLS";
        let help = match url {
            TargetUrl::Embedded(_) => "the embedded server speaks plain TCP".to_owned(),
            TargetUrl::Described(at) => {
                let scheme = at.scheme.over_tls().name();
                format!("its url would be \"{scheme}://{}{}\"", at.list, at.path)
            }
            TargetUrl::At(at) => format!("its url would be \"{}\"", at.over_tls()),
        };
        let problem = Diagnostic::error(title).at(&entry.key_span, "by plain TCP");
        section.problem(problem.help(help));
    }
    let resolved = section.into_resolved();
    target.resolve("tls", resolved);
    tls
}
