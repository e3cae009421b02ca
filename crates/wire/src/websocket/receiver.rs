//! Frames in: a stream, cut anywhere, into whole messages.

use super::frame::{self, Header, Kind, MAX_HEADER_BYTES, Opcode};
use super::{Fault, code, mask};

/// An allocation for a frame up to this size is kept for the next one that is split; a larger one
/// is given back as soon as its frame is done.
const KEEP_BYTES: usize = 512;

/// Something that a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A whole message.
    Message {
        /// What it is of. Text is UTF-8.
        kind: Kind,
        /// Its content.
        payload: &'a [u8],
        /// All of it as one unfragmented frame, which ends with the payload. Of an unmasked message
        /// that came so, these are the bytes that came.
        frame: &'a [u8],
    },
    /// It wants an answer.
    Ping(&'a [u8]),
    /// Its answer.
    Pong(&'a [u8]),
    /// The peer says no more. Whatever follows is not looked at.
    Closed {
        /// Why, for programs.
        code: Option<u16>,
        /// Why, for people.
        reason: &'a str,
    },
    /// The stream cannot be read on.
    Fault(Fault),
}

/// The state of the stream between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A message can begin.
    Ready,
    /// Fragments of a message have come, and others will.
    InMessage,
    /// No frame can come yet, or none any more.
    Over,
}

/// A message of which fragments have come.
#[derive(Debug)]
struct Fragments {
    kind: Kind,
    /// Room for a header, and the payloads so far.
    bytes: Vec<u8>,
    is_whole: bool,
}

/// Where a frame stands.
#[derive(Clone, Copy)]
enum Place<'r> {
    /// In the read.
    Read(&'r [u8]),
    /// In [`Receiver::partial`].
    Partial,
}

#[derive(Debug)]
pub(super) struct Receiver {
    /// The bytes of a frame that has not ended, or of one that was lent.
    partial: Vec<u8>,
    /// `partial` is a whole frame that was lent: the next call forgets it.
    is_lent: bool,
    /// A client's frames are read.
    is_masked: bool,
    state: State,
    max_message_bytes: usize,
    fragments: Option<Box<Fragments>>,
}

impl Receiver {
    /// Of a server's frames, once [`Receiver::start`] was called.
    pub(super) const fn of_servers(max_message_bytes: usize) -> Self {
        Self::new(max_message_bytes, false)
    }

    /// Of a client's frames, once [`Receiver::start`] was called.
    pub(super) const fn of_clients(max_message_bytes: usize) -> Self {
        Self::new(max_message_bytes, true)
    }

    const fn new(max_message_bytes: usize, is_masked: bool) -> Self {
        Self {
            partial: Vec::new(),
            is_lent: false,
            is_masked,
            state: State::Over,
            max_message_bytes,
            fragments: None,
        }
    }

    /// From here on, frames come.
    pub(super) const fn start(&mut self) {
        self.state = State::Ready;
    }

    /// From here on, messages may be as long, if less was allowed.
    pub(super) fn allow(&mut self, max_message_bytes: usize) {
        self.max_message_bytes = self.max_message_bytes.max(max_message_bytes);
    }

    /// Takes what comes next if it is, byte for byte, `frame`: an unmasked and unfragmented message.
    /// `false` changes nothing.
    #[inline]
    pub(super) fn take_if(&mut self, input: &mut &[u8], frame: &[u8]) -> bool {
        debug_assert!(is_unfragmented_message(frame));
        self.release();
        if self.state == State::Ready && self.partial.is_empty() && input.starts_with(frame) {
            *input = &input[frame.len()..];
            return true;
        }
        false
    }

    /// The bytes of a frame that has begun and not ended.
    pub(super) fn unread(&self) -> &[u8] {
        match self.is_lent || self.state == State::Over {
            true => &[],
            false => &self.partial,
        }
    }

    /// Whether the peer said that it says no more, or what it said cannot be read on. Before
    /// [`Receiver::start`], too.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether a message has begun and not ended.
    pub(super) fn is_in_message(&self) -> bool {
        self.state == State::InMessage || !self.unread().is_empty()
    }

    /// Takes the next message or control frame of a read; `None` when the read is used up.
    #[inline]
    pub(super) fn next<'a, 'r: 'a>(&'a mut self, input: &mut &'r [u8]) -> Option<Received<'a>> {
        loop {
            self.release();
            if self.state == State::Over {
                *input = &[];
                return None;
            }
            let (header, place) = match self.next_frame(input)? {
                Ok(frame) => frame,
                Err(fault) => return Some(self.fail(fault, input)),
            };
            match header.opcode {
                Opcode::Data(kind) if header.is_last => {
                    return Some(self.message(kind, header, place, input));
                }
                Opcode::Data(_) | Opcode::Continuation => {
                    if let Err(fault) = self.fragment(header, place) {
                        return Some(self.fail(fault, input));
                    }
                    if header.is_last {
                        return Some(self.whole_message(input));
                    }
                }
                Opcode::Ping => return Some(Received::Ping(self.payload(header, place))),
                Opcode::Pong => return Some(Received::Pong(self.payload(header, place))),
                Opcode::Close => return Some(self.close(header, place, input)),
            }
        }
    }

    /// The next frame, once all of it is there, its mask taken away.
    #[inline]
    fn next_frame<'r>(
        &mut self,
        input: &mut &'r [u8],
    ) -> Option<Result<(Header, Place<'r>), Fault>> {
        if input.is_empty() {
            return None;
        }
        if self.is_masked || !self.partial.is_empty() {
            return self.next_partial(input);
        }
        let header = match Header::read(input, false).and_then(|header| self.check(header)) {
            Ok(header) => header,
            Err(fault) => return Some(Err(fault)),
        };
        let bytes = header.map(|header| header.bytes + header.payload_bytes as usize);
        if let (Some(header), Some(bytes)) = (header, bytes)
            && let Some((frame, rest)) = input.split_at_checked(bytes)
        {
            *input = rest;
            return Some(Ok((header, Place::Read(frame))));
        }
        self.partial.extend_from_slice(input);
        *input = &[];
        None
    }

    /// The same for a frame that has to be kept: an earlier read began it, or it is masked.
    fn next_partial<'r>(
        &mut self,
        input: &mut &'r [u8],
    ) -> Option<Result<(Header, Place<'r>), Fault>> {
        let header = loop {
            match Header::read(&self.partial, self.is_masked).and_then(|h| self.check(h)) {
                Ok(Some(header)) => break header,
                Ok(None) => {}
                Err(fault) => return Some(Err(fault)),
            }
            let (byte, rest) = input.split_first()?;
            self.partial.push(*byte);
            *input = rest;
        };
        let bytes = header.bytes + header.payload_bytes as usize;
        let missing = bytes - self.partial.len();
        let (taken, rest) = input.split_at(missing.min(input.len()));
        if taken.len() == missing {
            self.partial.reserve_exact(missing); // nothing follows: no growth to allow for
        }
        self.partial.extend_from_slice(taken);
        *input = rest;
        if self.partial.len() < bytes {
            return None;
        }
        if let Some(mask) = header.mask {
            mask::apply(&mut self.partial[header.bytes..], mask);
        }
        self.is_lent = true;
        Some(Ok((header, Place::Partial)))
    }

    /// Whether a frame may come here, and is not too long to be kept.
    #[inline]
    fn check(&self, header: Option<Header>) -> Result<Option<Header>, Fault> {
        let Some(header) = header else {
            return Ok(None);
        };
        match (header.opcode, self.state) {
            (Opcode::Continuation, State::Ready) => return Err(Fault::NothingToContinue),
            (Opcode::Data(_), State::InMessage) => return Err(Fault::MessageInMessage),
            _ => {}
        }
        let before = match (header.opcode, &self.fragments) {
            (Opcode::Continuation, Some(fragments)) => fragments.bytes.len() - MAX_HEADER_BYTES,
            _ => 0,
        };
        let is_control = !matches!(header.opcode, Opcode::Data(_) | Opcode::Continuation);
        let max_bytes = self.max_message_bytes;
        if !is_control && header.payload_bytes > (max_bytes - before) as u64 {
            return Err(Fault::TooLong { max_bytes });
        }
        Ok(Some(header))
    }

    fn frame<'a>(&'a self, place: Place<'a>) -> &'a [u8] {
        match place {
            Place::Read(frame) => frame,
            Place::Partial => &self.partial,
        }
    }

    fn payload<'a>(&'a self, header: Header, place: Place<'a>) -> &'a [u8] {
        &self.frame(place)[header.bytes..]
    }

    /// A message of one frame.
    #[inline]
    fn message<'a, 'r: 'a>(
        &'a mut self,
        kind: Kind,
        header: Header,
        place: Place<'r>,
        input: &mut &'r [u8],
    ) -> Received<'a> {
        let fault = check_text(kind, self.payload(header, place));
        if let Some(fault) = fault {
            return self.fail(fault, input);
        }
        let frame = match place {
            Place::Read(frame) => frame,
            Place::Partial if self.is_masked => {
                // As a server would write it: the header is shorter by the mask.
                let at = header.bytes - 4;
                let (unmasked, bytes) =
                    frame::written(Opcode::Data(kind), header.payload_bytes as usize, None);
                debug_assert_eq!(bytes, at);
                self.partial[4..header.bytes].copy_from_slice(&unmasked[..bytes]);
                &self.partial[4..]
            }
            Place::Partial => &self.partial,
        };
        Received::Message {
            kind,
            payload: &frame[frame.len() - header.payload_bytes as usize..],
            frame,
        }
    }

    /// One fragment more.
    fn fragment(&mut self, header: Header, place: Place<'_>) -> Result<(), Fault> {
        let mut fragments = match (header.opcode, self.fragments.take()) {
            (Opcode::Data(kind), _) => Box::new(Fragments {
                kind,
                bytes: vec![0; MAX_HEADER_BYTES],
                is_whole: false,
            }),
            (_, Some(fragments)) => fragments,
            (_, None) => return Err(Fault::NothingToContinue),
        };
        let payload = self.payload(header, place);
        fragments.bytes.extend_from_slice(payload);
        fragments.is_whole = header.is_last;
        self.fragments = Some(fragments);
        self.state = State::InMessage;
        Ok(())
    }

    /// The message whose last fragment came.
    fn whole_message<'a, 'r: 'a>(&'a mut self, input: &mut &'r [u8]) -> Received<'a> {
        self.state = State::Ready;
        let (kind, payload_bytes, fault) = match &self.fragments {
            Some(whole) => {
                let payload = &whole.bytes[MAX_HEADER_BYTES..];
                (whole.kind, payload.len(), check_text(whole.kind, payload))
            }
            None => (Kind::Binary, 0, Some(Fault::NothingToContinue)),
        };
        if let Some(fault) = fault {
            return self.fail(fault, input);
        }
        let (header, header_bytes) = frame::written(Opcode::Data(kind), payload_bytes, None);
        let whole = self.fragments.as_mut().map(|whole| &mut whole.bytes);
        let frame = whole.map_or(&[][..], |bytes| {
            let at = MAX_HEADER_BYTES - header_bytes;
            bytes[at..MAX_HEADER_BYTES].copy_from_slice(&header[..header_bytes]);
            &bytes[at..]
        });
        Received::Message {
            kind,
            payload: &frame[frame.len() - payload_bytes..],
            frame,
        }
    }

    fn close<'a, 'r: 'a>(
        &'a mut self,
        header: Header,
        place: Place<'r>,
        input: &mut &'r [u8],
    ) -> Received<'a> {
        let payload = self.payload(header, place);
        let code = match payload {
            [] => Ok(None),
            [_] => Err(Fault::HalfCloseCode),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                match (code::may_be_sent(code), std::str::from_utf8(reason)) {
                    (false, _) => Err(Fault::CloseCode(code)),
                    (true, Err(_)) => Err(Fault::CloseReasonNotUtf8),
                    (true, Ok(_)) => Ok(Some(code)),
                }
            }
        };
        let code = match code {
            Ok(code) => code,
            Err(fault) => return self.fail(fault, input),
        };
        self.state = State::Over;
        *input = &[];
        let payload = self.payload(header, place);
        let reason = payload.get(2..).map(std::str::from_utf8);
        Received::Closed {
            code,
            reason: reason.and_then(Result::ok).unwrap_or(""),
        }
    }

    /// Gives up on the stream.
    #[cold]
    fn fail<'a>(&'a mut self, fault: Fault, input: &mut &[u8]) -> Received<'a> {
        *input = &[];
        self.state = State::Over;
        self.partial = Vec::new();
        self.fragments = None;
        Received::Fault(fault)
    }

    /// What was lent has been read: forget it.
    #[inline]
    fn release(&mut self) {
        if self.is_lent {
            self.is_lent = false;
            if self.partial.capacity() > KEEP_BYTES {
                self.partial = Vec::new();
            } else {
                self.partial.clear();
            }
        }
        if self.fragments.is_some() {
            self.release_fragments();
        }
    }

    #[cold]
    fn release_fragments(&mut self) {
        if self.fragments.as_ref().is_some_and(|f| f.is_whole) {
            self.fragments = None;
        }
    }
}

/// The fault in a text that is no UTF-8.
#[inline]
fn check_text(kind: Kind, payload: &[u8]) -> Option<Fault> {
    match (kind, std::str::from_utf8(payload)) {
        (Kind::Text, Err(error)) => Some(Fault::NotUtf8 {
            at: error.valid_up_to(),
        }),
        _ => None,
    }
}

fn is_unfragmented_message(frame: &[u8]) -> bool {
    let header = Header::read(frame, false).ok().flatten();
    header.is_some_and(|header| {
        header.is_last
            && matches!(header.opcode, Opcode::Data(_))
            && (header.bytes as u64).saturating_add(header.payload_bytes) == frame.len() as u64
    })
}
