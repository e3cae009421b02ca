//! Frames as they stand on the wire, for those who pass them on instead of taking them in.

use std::borrow::Cow;
use std::ops::Range;

use super::frame::{Header, Opcode};
use super::{Fault, Kind, mask};

/// The outline of a frame: how long it is, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The kind of the message that it begins; `None` for a continuation or a control frame.
    pub begins: Option<Kind>,
    /// Whether it is a close, a ping or a pong.
    pub is_control: bool,
    /// Whether it ends its message.
    pub is_last: bool,
    /// The length of the whole frame.
    pub bytes: usize,
    /// The place of the payload, masked as it came.
    payload: Range<usize>,
    mask: Option<[u8; 4]>,
}

impl Outline {
    /// The outline of the frame that `bytes` begin with; `None` while its header is not all there.
    ///
    /// # Errors
    /// [`Fault`] if it is no frame: a client's are masked, a server's are not.
    pub fn read(bytes: &[u8], is_masked: bool) -> Result<Option<Self>, Fault> {
        let Some(header) = Header::read(bytes, is_masked)? else {
            return Ok(None);
        };
        let length = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        let end = header.bytes.saturating_add(length);
        Ok(Some(Self {
            begins: match header.opcode {
                Opcode::Data(kind) => Some(kind),
                _ => None,
            },
            is_control: !matches!(header.opcode, Opcode::Data(_) | Opcode::Continuation),
            is_last: header.is_last,
            bytes: end,
            payload: header.bytes..end,
            mask: header.mask,
        }))
    }

    /// The payload of the frame, which `bytes` begin with and which is all there.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn payload<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let payload = &bytes[self.payload.clone()];
        match self.mask {
            None => Cow::Borrowed(payload),
            Some(mask) => {
                let mut payload = payload.to_vec();
                mask::apply(&mut payload, mask);
                Cow::Owned(payload)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Client, Sender};
    use super::*;

    #[test]
    fn frames_of_both_sides_are_outlined_as_they_were_sent() {
        let mut sent = Vec::new();
        let mut server = Sender::of_server();
        server.send(&mut sent, Kind::Text, &[b'x'; 300]);
        let first = sent.len();
        server.ping(&mut sent, b"there?");
        let outline = Outline::read(&sent, false).unwrap().unwrap();
        assert_eq!((outline.bytes, outline.begins), (first, Some(Kind::Text)));
        assert_eq!(&*outline.payload(&sent), [b'x'; 300]);
        let ping = Outline::read(&sent[first..], false).unwrap().unwrap();
        assert!(ping.is_control && ping.is_last && ping.begins.is_none());
        assert_eq!(first + ping.bytes, sent.len());
        assert!(Outline::read(&sent, true).is_err(), "a client's is masked");

        let mut sent = Vec::new();
        Client::opened(1 << 20).send(&mut sent, Kind::Binary, b"hello");
        for cut in 0..6 {
            assert_eq!(Outline::read(&sent[..cut], true), Ok(None), "{cut}");
        }
        let outline = Outline::read(&sent, true).unwrap().unwrap();
        assert_eq!(
            (outline.bytes, outline.begins),
            (sent.len(), Some(Kind::Binary))
        );
        assert_eq!(&*outline.payload(&sent), b"hello");
    }
}
