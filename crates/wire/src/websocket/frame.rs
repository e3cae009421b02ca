//! The header of a frame (section 5.2), read and written.

use super::{Fault, MAX_CONTROL_BYTES};

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Data(Kind),
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Data(Kind::Text),
            0x2 => Self::Data(Kind::Binary),
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Data(Kind::Text) => 0x1,
            Self::Data(Kind::Binary) => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// The name of a control frame.
    const fn control(self) -> Option<&'static str> {
        match self {
            Self::Continuation | Self::Data(_) => None,
            Self::Close => Some("close"),
            Self::Ping => Some("ping"),
            Self::Pong => Some("pong"),
        }
    }
}

/// The longest header: two bytes, a length of eight, a mask of four.
pub(super) const MAX_HEADER_BYTES: usize = 14;

/// The bit of a frame that ends its message.
pub(super) const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) is_last: bool,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) payload_bytes: u64,
    /// The length of the header itself.
    pub(super) bytes: usize,
}

impl Header {
    /// Reads the header that `bytes` begin with; `None` while it is not all there. A fault is found
    /// as soon as its byte is there, so it is the same one however a stream is cut.
    #[inline]
    pub(super) fn read(bytes: &[u8], must_be_masked: bool) -> Result<Option<Self>, Fault> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let reserved = first >> 4 & 0b111;
        if reserved != 0 {
            return Err(Fault::ReservedBits(reserved));
        }
        let bits = first & 0xf;
        let opcode = Opcode::of(bits).ok_or(Fault::Opcode(bits))?;
        let is_last = first & FIN != 0;
        if let (Some(name), false) = (opcode.control(), is_last) {
            return Err(Fault::FragmentedControl(name));
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        match (second & MASKED != 0, must_be_masked) {
            (true, false) => return Err(Fault::Masked),
            (false, true) => return Err(Fault::NotMasked),
            _ => {}
        }
        let short = second & 0x7f;
        if let Some(name) = opcode.control()
            && usize::from(short) > MAX_CONTROL_BYTES
        {
            return Err(Fault::LongControl { name });
        }
        let (payload_bytes, at) = match short {
            126 => match bytes[2..].first_chunk::<2>() {
                None => return Ok(None),
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            },
            127 => match bytes[2..].first_chunk::<8>() {
                None => return Ok(None),
                Some(length) => (u64::from_be_bytes(*length), 10),
            },
            short => (u64::from(short), 2),
        };
        if payload_bytes >> 63 != 0 {
            return Err(Fault::LengthHighBit);
        }
        if at > length_end(payload_bytes) {
            return Err(Fault::LengthNotMinimal(payload_bytes));
        }
        let (mask, bytes) = match (must_be_masked, bytes[at..].first_chunk::<4>()) {
            (false, _) => (None, at),
            (true, Some(mask)) => (Some(*mask), at + 4),
            (true, None) => return Ok(None),
        };
        Ok(Some(Self {
            opcode,
            is_last,
            mask,
            payload_bytes,
            bytes,
        }))
    }
}

/// Where the length of a payload of so many bytes ends in the header.
const fn length_end(payload_bytes: u64) -> usize {
    match payload_bytes {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// How many bytes the header of an unfragmented frame has.
pub(super) const fn header_bytes(payload_bytes: usize, is_masked: bool) -> usize {
    length_end(payload_bytes as u64) + if is_masked { 4 } else { 0 }
}

/// A header, written: the first so many of these bytes.
pub(super) fn written(
    opcode: Opcode,
    payload_bytes: usize,
    mask: Option<[u8; 4]>,
) -> ([u8; MAX_HEADER_BYTES], usize) {
    let mut header = [0; MAX_HEADER_BYTES];
    header[0] = FIN | opcode.bits();
    let at = length_end(payload_bytes as u64);
    match at {
        2 => header[1] = payload_bytes as u8,
        4 => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    let mut end = at;
    if let Some(mask) = mask {
        header[1] |= MASKED;
        end += mask.len();
        header[at..end].copy_from_slice(&mask);
    }
    (header, end)
}
