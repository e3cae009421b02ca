//! Why a handshake failed, in words: what came, and what to do.

use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::verifier::is_authoritys_own;

/// The most bytes quoted of what came in place of TLS.
const QUOTED_BYTES: usize = 40;

/// Why the client's side failed; `heard` is what came last.
pub(super) fn for_client(error: &Error, heard: &[u8]) -> String {
    match error {
        Error::InvalidMessage(what) if is_foreign(*what) => format!(
            "it does not speak TLS: it sent {}: use the URL of plain TCP, or the port that speaks TLS",
            quoted(heard)
        ),
        Error::InvalidCertificate(why) => certificate(error, why),
        Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
        ) => {
            "it wants a certificate of its clients and was given none that it accepts: name yours \
              by cert and key"
                .to_owned()
        }
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied,
        ) => format!("it does not accept this client's certificate: {error}"),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it has no certificate for the name it was asked for: give the one it goes by as \
             server_name"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            format!("no TLS in common: {error} (this side speaks 1.2 and 1.3)")
        }
        Error::NoApplicationProtocol
        | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "it speaks none of the application protocols that were offered by ALPN".to_owned()
        }
        other => format!("the TLS handshake failed: {other}"),
    }
}

/// Why the server's side failed; `heard` is what came last.
pub(super) fn for_server(error: &Error, heard: &[u8]) -> String {
    match error {
        Error::InvalidMessage(what) if is_foreign(*what) => {
            format!("it does not speak TLS: it sent {}", quoted(heard))
        }
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired,
        ) => format!("it does not accept this server's certificate: {error}"),
        other => format!("the TLS handshake failed: {other}"),
    }
}

/// Why a connection cannot go on after its handshake. In TLS 1.3 a client is done with it before the
/// server has looked at its certificate.
pub(super) fn afterwards(error: &Error, is_client: bool) -> String {
    match error {
        Error::AlertReceived(_) if is_client => for_client(error, &[]),
        other => format!("the TLS connection broke: {other}"),
    }
}

/// The stream ended while the handshake was under way.
pub(super) fn ended(heard_any: bool) -> &'static str {
    match heard_any {
        true => "it closed the connection in the TLS handshake",
        false => "it closed the connection at the beginning of a TLS handshake: does it speak TLS?",
    }
}

/// The handshake's time is up.
pub(super) fn too_slow(heard_any: bool, within: Duration) -> String {
    let within = within.as_secs_f64();
    match heard_any {
        true => format!("the TLS handshake was not done within {within} s"),
        false => format!("no answer to TLS within {within} s: does it speak TLS?"),
    }
}

/// Whether bytes are no TLS at all.
fn is_foreign(what: InvalidMessage) -> bool {
    use InvalidMessage::{InvalidContentType, MessageTooLarge, UnknownProtocolVersion};
    matches!(
        what,
        InvalidContentType | MessageTooLarge | UnknownProtocolVersion
    )
}

fn quoted(heard: &[u8]) -> String {
    let beginning = &heard[..heard.len().min(QUOTED_BYTES)];
    let more = if heard.len() > QUOTED_BYTES {
        "…"
    } else {
        ""
    };
    let text = String::from_utf8_lossy(beginning);
    format!("{:?}{more}", text.trim_end())
}

fn certificate(error: &Error, why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by nobody who is trusted here: name the authority's, or its \
             own, by cacert, or trust anyone by insecure"
                .to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = time.as_secs().saturating_sub(not_after.as_secs());
            format!(
                "its certificate expired {} ago: it needs a new one",
                span(ago)
            )
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let ahead = not_before.as_secs().saturating_sub(time.as_secs());
            format!(
                "its certificate is valid only from {} on: is a clock wrong?",
                match ahead {
                    0 => "now".to_owned(),
                    ahead => format!("{} from now", span(ahead)),
                }
            )
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names: Vec<String> = presented.iter().map(|name| bare(name)).collect();
            let names = match names.is_empty() {
                true => "no name".to_owned(),
                false => names.join(", "),
            };
            format!(
                "its certificate is for {names}, not for {}: connect by a name of it, or give one as \
                 server_name",
                expected.to_str()
            )
        }
        _ if is_authoritys_own(error) => {
            "its certificate is marked as an authority's own: name it by cacert to accept it all \
             the same"
                .to_owned()
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}

/// A name of a certificate as rustls shows it, `DnsName("a.example")`, without the wrapping.
fn bare(name: &str) -> String {
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

/// A time span in its largest unit.
fn span(secs: u64) -> String {
    let (count, unit) = match secs {
        0..60 => (secs, "second"),
        60..3_600 => (secs / 60, "minute"),
        3_600..86_400 => (secs / 3_600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
