//! A target that does not speak the protocol of its address, with an error that says what it is.

use thiserror::Error;

use super::Protocol;
use crate::ndjson::welcome::NotAWelcome;
use crate::websocket::Refused;

/// The evidence, in what a target said first, that it is not what it was taken for, or that it
/// takes no clients.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WrongTarget {
    /// It complained in place of a welcome.
    #[error("it answered with the error `{code}`: {detail}")]
    Refused {
        /// The error's code.
        code: String,
        /// The error's text.
        detail: String,
    },
    /// It speaks, but something else.
    #[error("it is no ndjson broadcast server: {what}, got `{got}`")]
    NotNdjson {
        /// The reason why it is no welcome.
        what: NotAWelcome,
        /// The beginning of what came.
        got: String,
    },
    /// It means to welcome, and does it wrong.
    #[error("{what}, got `{got}`")]
    WrongWelcome {
        /// The fault in it.
        what: NotAWelcome,
        /// The beginning of what came.
        got: String,
    },
    /// Its answer to the handshake is none.
    #[error("{0}")]
    Handshake(Refused),
    /// It speaks WebSocket, and in messages of its own.
    #[error(
        "its first message is no welcome of the reference protocol: {what}, got `{got}` (how a \
         server with messages of its own talks is described in [protocol])"
    )]
    NotReference {
        /// The reason why it is no welcome.
        what: NotAWelcome,
        /// The beginning of what came.
        got: String,
    },
    /// Its welcome is right, and its numbers cannot be followed.
    #[error("its welcome stands at number {seq}, and numbers are followed up to {max_seq}")]
    NumbersTooLarge {
        /// The number that it states.
        seq: u64,
        /// The largest that can be followed.
        max_seq: u64,
    },
    /// Its first line has no end.
    #[error("its first line has no end: {bytes} bytes, which begin `{got}`")]
    NoLine {
        /// The length of that line so far.
        bytes: usize,
        /// The beginning of what came.
        got: String,
    },
    /// It speaks another protocol that is known here.
    #[error("it speaks the {0} dialect: name it {0}://HOST:PORT")]
    Speaks(Protocol),
    /// It speaks TLS, and this side did not.
    #[error("it speaks TLS: name it {}://HOST:PORT", .0.tls_scheme())]
    SpeaksTls(Protocol),
    /// It speaks, but not as a classic server does.
    #[error(
        "it is no classic broadcast server: what it says begins with an address, and this said \
         `{got}`"
    )]
    NotClassic {
        /// The beginning of what came.
        got: String,
    },
}

/// Whether bytes begin with a record of TLS, such as the alert by which a server turns away who
/// speaks plain text: its type, and the major version.
pub(super) fn is_tls(heard: &[u8]) -> bool {
    matches!(heard, [20..=23, 3, ..])
}

/// The first line that is not blank, if it is at its end.
pub(super) fn first_line(read: &[u8]) -> Option<&[u8]> {
    let (whole, _) = read.split_at(memchr::memrchr(b'\n', read)?);
    let mut lines = whole.split(|&b| b == b'\n').map(<[u8]>::trim_ascii_end);
    lines.find(|line| !line.is_empty())
}

/// The beginning of what came, fit for one line of a terminal.
pub(super) fn quoted(line: &[u8]) -> String {
    const QUOTED_BYTES: usize = 60;
    line[..line.len().min(QUOTED_BYTES)]
        .escape_ascii()
        .to_string()
}
