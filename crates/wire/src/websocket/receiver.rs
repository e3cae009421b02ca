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
#[derive(Debug, Clone, Copy)]
enum Place<'r> {
    /// In the read.
    Read(&'r [u8]),
    /// In [`Receiver::partial`], from this byte on.
    Partial(usize),
    /// In [`Receiver::fragments`], from this byte on.
    Fragments(usize),
}

/// What came, without what it is borrowed from: [`Receiver::lend`] adds that. So whoever has no
/// use for it can go on with the next.
#[derive(Debug)]
pub(super) struct Step<'r> {
    pub(super) what: What,
    place: Place<'r>,
    payload_bytes: usize,
}

#[derive(Debug)]
pub(super) enum What {
    Message(Kind),
    Ping,
    Pong,
    Closed(Option<u16>),
    Fault(Fault),
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

    /// Bytes that are kept of a frame or a message that has begun and not ended.
    pub(super) fn pending_bytes(&self) -> usize {
        let fragments = self.fragments.as_ref().filter(|f| !f.is_whole);
        self.unread().len() + fragments.map_or(0, |fragments| fragments.bytes.len())
    }

    /// Takes the next message or control frame of a read; `None` when the read is used up.
    #[inline]
    pub(super) fn step<'r>(&mut self, input: &mut &'r [u8]) -> Option<Step<'r>> {
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
            let step = |what| Step {
                what,
                place,
                payload_bytes: header.payload_bytes as usize,
            };
            let came = match header.opcode {
                Opcode::Data(kind) if header.is_last => self.message(kind, header, place),
                Opcode::Data(_) | Opcode::Continuation => match self.fragment(header, place) {
                    Ok(()) if header.is_last => self.whole_message(),
                    Ok(()) => continue,
                    Err(fault) => Err(fault),
                },
                Opcode::Ping => Ok(step(What::Ping)),
                Opcode::Pong => Ok(step(What::Pong)),
                Opcode::Close => self.code(header, place).map(|code| {
                    self.state = State::Over;
                    *input = &[];
                    step(What::Closed(code))
                }),
            };
            return Some(came.unwrap_or_else(|fault| self.fail(fault, input)));
        }
    }

    /// What came, with what it is borrowed from: the read, or what was kept of earlier ones.
    #[inline]
    pub(super) fn lend<'a>(&'a self, step: Step<'a>) -> Received<'a> {
        let frame = self.frame(step.place);
        let payload = &frame[frame.len() - step.payload_bytes..];
        match step.what {
            What::Message(kind) => Received::Message {
                kind,
                payload,
                frame,
            },
            What::Ping => Received::Ping(payload),
            What::Pong => Received::Pong(payload),
            What::Closed(code) => {
                let reason = payload.get(2..).map(std::str::from_utf8);
                Received::Closed {
                    code,
                    reason: reason.and_then(Result::ok).unwrap_or(""),
                }
            }
            What::Fault(fault) => Received::Fault(fault),
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
        Some(Ok((header, Place::Partial(0))))
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

    #[inline]
    fn frame<'a>(&'a self, place: Place<'a>) -> &'a [u8] {
        match place {
            Place::Read(frame) => frame,
            Place::Partial(from) => &self.partial[from..],
            Place::Fragments(from) => match &self.fragments {
                Some(fragments) => &fragments.bytes[from..],
                None => &[],
            },
        }
    }

    #[inline]
    fn payload<'a>(&'a self, header: Header, place: Place<'a>) -> &'a [u8] {
        &self.frame(place)[header.bytes..]
    }

    /// A message of one frame.
    #[inline]
    fn message<'r>(
        &mut self,
        kind: Kind,
        header: Header,
        place: Place<'r>,
    ) -> Result<Step<'r>, Fault> {
        check_text(kind, self.payload(header, place))?;
        let payload_bytes = header.payload_bytes as usize;
        let place = match header.mask {
            None => place,
            Some(mask) => {
                // As a server would write it: the header is shorter by the mask.
                let (unmasked, _) = frame::written(Opcode::Data(kind), payload_bytes, None);
                let from = mask.len();
                let bytes = header.bytes - from;
                self.partial[from..header.bytes].copy_from_slice(&unmasked[..bytes]);
                Place::Partial(from)
            }
        };
        Ok(Step {
            what: What::Message(kind),
            place,
            payload_bytes,
        })
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
    fn whole_message<'r>(&mut self) -> Result<Step<'r>, Fault> {
        self.state = State::Ready;
        let whole = self.fragments.as_mut().ok_or(Fault::NothingToContinue)?;
        let payload = &whole.bytes[MAX_HEADER_BYTES..];
        check_text(whole.kind, payload)?;
        let payload_bytes = payload.len();
        let (header, bytes) = frame::written(Opcode::Data(whole.kind), payload_bytes, None);
        let from = MAX_HEADER_BYTES - bytes;
        whole.bytes[from..MAX_HEADER_BYTES].copy_from_slice(&header[..bytes]);
        Ok(Step {
            what: What::Message(whole.kind),
            place: Place::Fragments(from),
            payload_bytes,
        })
    }

    /// The code of a close.
    fn code(&self, header: Header, place: Place<'_>) -> Result<Option<u16>, Fault> {
        match self.payload(header, place) {
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
        }
    }

    /// Gives up on the stream.
    #[cold]
    fn fail<'r>(&mut self, fault: Fault, input: &mut &[u8]) -> Step<'r> {
        *input = &[];
        self.state = State::Over;
        self.partial = Vec::new();
        self.fragments = None;
        Step {
            what: What::Fault(fault),
            place: Place::Read(&[]),
            payload_bytes: 0,
        }
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

/// Checks that a text is UTF-8.
#[inline]
fn check_text(kind: Kind, payload: &[u8]) -> Result<(), Fault> {
    match (kind, std::str::from_utf8(payload)) {
        (Kind::Text, Err(error)) => Err(Fault::NotUtf8 {
            at: error.valid_up_to(),
        }),
        _ => Ok(()),
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
