//! What can be wrong with a peer's frames.

use thiserror::Error;

use super::code;

/// Why a connection cannot go on: what the peer sent that section 5 to 8 forbid, or that is longer
/// than is read here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// A server masks nothing.
    #[error("a frame of the server is masked, and only a client's may be")]
    Masked,
    /// A client masks everything.
    #[error("a frame of the client is not masked, and each has to be")]
    NotMasked,
    /// Bits that only an extension gives a meaning to.
    #[error("a frame has the reserved bits {0:03b}, which no extension was agreed on for")]
    ReservedBits(u8),
    /// An opcode without a meaning.
    #[error("a frame has the reserved opcode {0:#x}")]
    Opcode(u8),
    /// A control frame that is to go on in another.
    #[error("a {0} comes in fragments, and a control frame must not")]
    FragmentedControl(&'static str),
    /// A control frame that is too long.
    #[error("a {name} has a payload of more than 125 bytes")]
    LongControl {
        /// Which.
        name: &'static str,
    },
    /// The highest bit of a length.
    #[error("a frame states a length of 2^63 bytes or more")]
    LengthHighBit,
    /// A length in more bytes than it needs.
    #[error("a frame states its length of {0} in more bytes than that takes")]
    LengthNotMinimal(u64),
    /// A message that is longer than is read here.
    #[error("a message is longer than {max_bytes} bytes")]
    TooLong {
        /// The longest that is read.
        max_bytes: usize,
    },
    /// A fragment of no message.
    #[error("a continuation comes where no message has begun")]
    NothingToContinue,
    /// A message begins within another.
    #[error("a message begins before the fragments of the last one have ended")]
    MessageInMessage,
    /// Text that is none.
    #[error("a text message is not UTF-8: the fault is at byte {at}")]
    NotUtf8 {
        /// How many bytes of it are.
        at: usize,
    },
    /// Half of a close's code.
    #[error("a close has a payload of one byte, where its code takes two")]
    HalfCloseCode,
    /// A code that must not be sent.
    #[error("a close has the code {0}, which must not be sent")]
    CloseCode(u16),
    /// A reason that is no text.
    #[error("the reason of a close is not UTF-8")]
    CloseReasonNotUtf8,
}

impl Fault {
    /// The code of the close that it is answered with.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::NotUtf8 { .. } | Self::CloseReasonNotUtf8 => code::INVALID_PAYLOAD,
            Self::TooLong { .. } => code::TOO_BIG,
            _ => code::PROTOCOL_ERROR,
        }
    }
}
