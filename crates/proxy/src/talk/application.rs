//! An application's own protocol, as `[protocol]` of a scenario describes it.

use std::sync::Arc;

use chatbench_wire::application::matching::{Frame as Matched, Match};
use chatbench_wire::application::spec::{Ack, Heartbeat, Spec, Step, Transport};
use chatbench_wire::application::variables::{Name, Values};
use memchr::memmem;

use super::lines::Lines;
use super::websocket::Messages;
use super::{Acks, Frames, Talk, Way};

/// How an application talks.
#[derive(Debug)]
pub struct Described(Arc<Spec>);

impl Described {
    /// As `spec` says.
    #[must_use]
    pub const fn new(spec: Arc<Spec>) -> Self {
        Self(spec)
    }

    fn matches(&self, all: &[Match], frame: &Matched<'_>) -> bool {
        let values = Values::of_client(&self.0.names, "");
        all.iter().any(|one| one.find(frame, &values).is_some())
    }

    fn is_heartbeat(&self, frame: &Matched<'_>) -> bool {
        let mut answered = self.0.heartbeats.iter().filter_map(|one| match one {
            Heartbeat::On { when, .. } => Some(when),
            Heartbeat::Every { .. } => None,
        });
        answered.any(|when| self.matches(std::slice::from_ref(when), frame))
    }

    /// Whether a step of a login, a join or a leave may wait for it.
    fn may_answer_step(&self, frame: &Matched<'_>) -> bool {
        let Spec {
            login, join, leave, ..
        } = &*self.0;
        let steps: [&[Step]; 3] = [login, join, leave];
        let mut expected = steps.into_iter().flatten();
        expected.any(|step| {
            let expect = step.expect.as_ref();
            expect.is_some_and(|expect| self.matches(std::slice::from_ref(expect), frame))
        })
    }
}

impl Talk for Described {
    fn frames(&self, way: Way) -> Box<dyn Frames> {
        match self.0.transport {
            Transport::WebSocket { .. } => Box::new(Messages::new(way)),
            Transport::Stream => {
                let separator = match way {
                    // A client ends its messages with what the description appends.
                    Way::Up if !self.0.end.is_empty() => &*self.0.end,
                    _ => self.0.split.as_deref().unwrap_or(b"\n"),
                };
                Box::new(Lines::new(separator))
            }
        }
    }

    fn acks(&self) -> Acks {
        match &self.0.ack {
            Ack::None => Acks::None,
            Ack::Echo => Acks::Echo,
            Ack::Next => Acks::InTurn,
            Ack::Match(all) if all.iter().all(|one| one.mentions(Name::Id)) => Acks::Named,
            Ack::Match(_) => Acks::InTurn,
        }
    }

    fn is_ack(&self, body: &[u8], mut sent: &mut dyn Iterator<Item = &[u8]>) -> bool {
        let spec = &*self.0;
        let frame = Matched::new(body);
        if self.matches(&spec.refusal, &frame) {
            return false;
        }
        match &spec.ack {
            Ack::None | Ack::Echo => false,
            Ack::Match(all) => {
                let values = Values::of_client(&spec.names, "");
                let mut found = all.iter().filter_map(|one| one.find(&frame, &values));
                // An answer to a step may look like an ack: its number is none of a publish.
                found.next().is_some_and(|found| match found.id {
                    Some(id) => Iterator::any(&mut sent, |sent| has_number(sent, id.as_bytes())),
                    None => sent.next().is_some() && !self.may_answer_step(&frame),
                })
            }
            Ack::Next => {
                let known = self.is_heartbeat(&frame)
                    || self.matches(&spec.error, &frame)
                    || self.matches(&spec.ignore, &frame)
                    || self.may_answer_step(&frame);
                sent.next().is_some() && !known
            }
        }
    }

    fn split(&self) -> Option<&[u8]> {
        let is_stream = matches!(self.0.transport, Transport::Stream);
        self.0.split.as_deref().filter(|_| !is_stream)
    }
}

/// Whether a number stands in `text` that is no part of a longer one, or of a word.
fn has_number(text: &[u8], number: &[u8]) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    memmem::find_iter(text, number).any(|at| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        !is_part(before) && !is_part(text.get(at + number.len()))
    })
}
