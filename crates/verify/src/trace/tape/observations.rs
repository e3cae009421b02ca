//! Observations on a tape, and what a script sent byte for byte: how they are written and read.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use chatbench_wire::seen::{
    AckOf, Complaint, Glued, GluedFate, Malformed, RawFrame, RawSent, Relay, Seen,
};

use super::{Reading, Writing};
use crate::trace::tag::Tag;

impl Writing {
    /// A session saw this, after which it is known whether its ledger keeps it; `again` is the
    /// number of the kept frame that it equals, which was not compared but decoded since it came in
    /// two reads.
    pub(crate) fn saw(&mut self, handle: u32, now_ns: u64, seen: &Seen<'_>, again: Option<u32>) {
        self.read.get_or_insert((handle, now_ns));
        self.begin_read();
        let kept = std::mem::take(&mut self.kept);
        if let Some(frame) = again {
            let ahead = self.ahead(handle, frame);
            self.event(Tag::SawAgain).number(ahead);
            *self.next_frame(handle) = frame.wrapping_add(1);
            return;
        }
        self.event(if kept { Tag::SawKept } else { Tag::Saw });
        self.seen(seen);
        if kept {
            let frames = self.frames();
            frames.kept = frames.kept.wrapping_add(1);
            *self.next_frame(handle) = self.frames().kept;
        }
    }

    fn seen(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Open { seq, me } => self.kind(0).number(*seq).bytes(me.as_bytes()),
            Seen::Relay(relay) => {
                self.kind(1).bytes(relay.frame);
                let tape = match relay.span() {
                    Some(span) => self.number(span.start as u64 + 1).number(span.len() as u64),
                    None => self.number(0).bytes(&relay.text),
                };
                tape.bytes(relay.from.as_bytes()).number(relay.seq)
            }
            Seen::Ack { of, seq } => {
                let tape = match of {
                    AckOf::Id(id) => self.kind(2).number(*id),
                    AckOf::NoId => self.kind(3),
                    AckOf::Oldest(by) => self.kind(4).bytes(by.to_string().as_bytes()),
                };
                tape.number(*seq)
            }
            Seen::Error(complaint) => {
                let tape = self.kind(5).bytes(complaint.code.as_bytes());
                let tape = tape.bytes(complaint.detail.as_bytes()).option(complaint.of);
                tape.number(u64::from(complaint.cuts_off))
            }
            Seen::Bye { seq } => self.kind(6).number(*seq),
            // The second is recorded nowhere.
            Seen::Unknown | Seen::Control => self.kind(7),
            Seen::Malformed(malformed) => {
                let tape = self.kind(8).bytes(malformed.what.as_bytes());
                tape.bytes(&malformed.frame).number(malformed.could_hide)
            }
        };
    }

    /// The kind within an event, as one byte.
    fn kind(&mut self, kind: u8) -> &mut Self {
        self.out.push(kind);
        self
    }

    fn option(&mut self, n: Option<u64>) -> &mut Self {
        match n {
            Some(n) => self.kind(1).number(n),
            None => self.kind(0),
        }
    }

    /// The fate of a publish that ran together with bytes sent before.
    pub(crate) fn glued(&mut self, glued: Glued) {
        let fate = match glued.fate {
            GluedFate::Survives => 0,
            GluedFate::Refused => 1,
            GluedFate::Swallowed => 2,
        };
        self.kind(fate).kind(glued.unfinished.into());
    }

    /// Bytes that a script sent as they stand.
    pub(crate) fn raw(&mut self, sent: &RawSent) {
        self.kind(sent.is_right.into());
        self.kind(sent.unfinished.into());
        self.number(sent.frames.len() as u64);
        for frame in &sent.frames {
            match frame {
                RawFrame::Publish(text) => {
                    self.kind(0).bytes(text.as_bytes());
                }
                RawFrame::Refused(texts) => {
                    self.kind(1).number(texts.len() as u64);
                    for text in texts {
                        self.bytes(text.as_bytes());
                    }
                }
                RawFrame::InRoom => {
                    self.kind(2);
                }
            }
        }
    }
}

impl Reading {
    fn kind(&mut self) -> u8 {
        let kind = self.block.get(self.at).copied();
        self.at += 1;
        self.broken |= kind.is_none();
        kind.unwrap_or_default()
    }

    fn flag(&mut self) -> bool {
        let kind = self.kind();
        self.broken |= kind > 1;
        kind == 1
    }

    fn address(&mut self) -> SocketAddr {
        let address = self.text().parse().ok();
        self.broken |= address.is_none();
        address.unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))
    }

    /// Something that a session saw.
    pub(crate) fn seen(&mut self) -> OwnedSeen {
        let kind = self.kind();
        let seen = match kind {
            0 => {
                let seq = self.number();
                let me = self.text().into();
                Seen::Open { seq, me }
            }
            1 => {
                let frame = self.bytes().to_vec();
                let text = match self.number().checked_sub(1) {
                    Some(start) => {
                        let end = start.saturating_add(self.number());
                        let span = start as usize..usize::try_from(end).unwrap_or(usize::MAX);
                        self.broken |= frame.get(span.clone()).is_none();
                        Text::At(span)
                    }
                    None => Text::Other(self.bytes().to_vec()),
                };
                let from = self.text();
                let seq = self.number();
                return OwnedSeen::Relay(OwnedRelay {
                    frame,
                    text,
                    from,
                    seq,
                });
            }
            2..=4 => {
                let of = match kind {
                    2 => AckOf::Id(self.number()),
                    3 => AckOf::NoId,
                    _ => AckOf::Oldest(self.address()),
                };
                let seq = self.number();
                Seen::Ack { of, seq }
            }
            5 => Seen::Error(Complaint {
                code: self.text().into(),
                detail: self.text().into(),
                of: self.flag().then(|| self.number()),
                cuts_off: self.number() != 0,
            }),
            6 => Seen::Bye { seq: self.number() },
            7 => Seen::Unknown,
            8 => Seen::Malformed(Malformed {
                what: self.text().into(),
                frame: self.bytes().to_vec().into(),
                could_hide: self.number(),
            }),
            _ => {
                self.broken = true;
                Seen::Unknown
            }
        };
        OwnedSeen::Other(seen)
    }

    pub(crate) fn glued(&mut self) -> Glued {
        let fate = match self.kind() {
            0 => GluedFate::Survives,
            1 => GluedFate::Refused,
            kind => {
                self.broken |= kind > 2;
                GluedFate::Swallowed
            }
        };
        let unfinished = self.flag();
        Glued { fate, unfinished }
    }

    pub(crate) fn raw(&mut self) -> RawSent {
        let mut sent = RawSent {
            is_right: self.flag(),
            unfinished: self.flag(),
            frames: Vec::new(),
        };
        for _ in 0..self.number() {
            let frame = match self.kind() {
                0 => RawFrame::Publish(self.text()),
                2 => RawFrame::InRoom,
                kind => {
                    self.broken |= kind > 1;
                    let mut texts = Vec::new();
                    for _ in 0..self.number() {
                        texts.push(self.text());
                        if self.broken {
                            break;
                        }
                    }
                    RawFrame::Refused(texts)
                }
            };
            sent.frames.push(frame);
            if self.broken {
                break;
            }
        }
        sent
    }
}

/// A [`Seen`] with bytes of its own.
#[derive(Debug)]
pub(crate) enum OwnedSeen {
    Relay(OwnedRelay),
    Other(Seen<'static>),
}

impl OwnedSeen {
    pub(crate) fn get(&self) -> Seen<'_> {
        match self {
            Self::Relay(relay) => Seen::Relay(relay.get()),
            Self::Other(seen) => seen.clone(),
        }
    }
}

/// A [`Relay`] with bytes of its own.
#[derive(Debug)]
pub(crate) struct OwnedRelay {
    frame: Vec<u8>,
    text: Text,
    from: String,
    seq: u64,
}

#[derive(Debug)]
enum Text {
    /// There in the frame.
    At(Range<usize>),
    Other(Vec<u8>),
}

impl OwnedRelay {
    pub(crate) fn get(&self) -> Relay<'_> {
        let text = match &self.text {
            Text::At(span) => self.frame.get(span.clone()).unwrap_or_default(),
            Text::Other(text) => text,
        };
        Relay {
            frame: &self.frame,
            text: text.into(),
            from: (&self.from).into(),
            seq: self.seq,
        }
    }

    /// Bytes that it takes.
    pub(crate) fn len(&self) -> usize {
        let other = match &self.text {
            Text::At(_) => 0,
            Text::Other(text) => text.len(),
        };
        self.frame.len() + other + self.from.len()
    }
}
