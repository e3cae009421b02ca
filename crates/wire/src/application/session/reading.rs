//! What a message that comes is taken for: the rules of the description, in their order.

use std::ops::Range;
use std::sync::Arc;

use super::steps::{About, Asking, Sequence};
use super::{Session, Taken, What};
use crate::application::delivery::{find_foreign, sender_digits};
use crate::application::matching::{Found, Frame, Match};
use crate::application::spec::{Ack, Heartbeat, Rule, Spec};
use crate::application::variables::Name;
use crate::rooms::RoomId;

impl Session {
    #[inline]
    pub(super) fn take_unwatched(&mut self, frame: &[u8]) -> Taken {
        let delivery = self.marker.find(frame, 0);
        match delivery {
            // What others published is neither an ack nor a refusal of anything that this client
            // sent: the frame need not be understood.
            Some(at) if !self.is_own(&frame[at.clone()]) => Taken {
                what: What::Delivery(at),
                rule: Rule::NONE,
            },
            delivery => self.examine(frame, delivery),
        }
    }

    fn is_own(&self, message: &[u8]) -> bool {
        sender_digits(message).is_some_and(|digits| self.senders.contains(&digits))
    }

    #[inline(never)]
    fn examine(&mut self, bytes: &[u8], delivery: Option<Range<usize>>) -> Taken {
        let frame = Frame::new(bytes);
        let spec = Arc::clone(&self.spec);
        if let Some(taken) = self.beat(&spec, &frame) {
            return taken;
        }
        // A script may expect what would else be a refusal.
        if self.asking.is_some()
            && let Some(taken) =
                self.expected(&spec, &frame, |about| matches!(about, About::Ask(_)))
        {
            return taken;
        }
        if let Some(taken) = self.refused(&spec, &frame, bytes) {
            return taken;
        }
        if let Some(taken) = self.expected(&spec, &frame, |_| true) {
            return taken;
        }
        if let Some(taken) = self.acked(&spec, &frame, delivery.is_some()) {
            return taken;
        }
        if let Some(at) = delivery {
            return Taken {
                what: What::Delivery(at),
                rule: Rule::NONE,
            };
        }
        let find = |all: &[Match]| {
            all.iter()
                .position(|m| m.find(&frame, &self.values()).is_some())
        };
        if let Some(nth) = find(&spec.error) {
            self.came_instead(bytes);
            return Taken {
                what: What::Error,
                rule: spec.rule("error", nth),
            };
        }
        if let Some(nth) = find(&spec.ignore) {
            return Taken {
                what: What::Ignored,
                rule: spec.rule("ignore", nth),
            };
        }
        if let Some(at) = find_foreign(bytes) {
            return Taken {
                what: What::Delivery(at),
                rule: Rule::NONE,
            };
        }
        if spec.ack == Ack::Next
            && let Some(sent) = self.outstanding.oldest_answered()
        {
            spec.tally.ack();
            return Taken {
                what: What::Ack {
                    room: sent.room,
                    of: Some(sent.id),
                },
                rule: spec.rule("ack", 0),
            };
        }
        spec.tally.other(|| self.shown(bytes));
        self.came_instead(bytes);
        Taken {
            what: What::Other,
            rule: Rule::NONE,
        }
    }

    /// Notes a frame that is not what a script waits for.
    fn came_instead(&mut self, bytes: &[u8]) {
        if self
            .asking
            .as_ref()
            .is_some_and(|asking| asking.instead.is_empty())
        {
            let shown = self.shown(bytes);
            self.asking.get_or_insert_default().instead = shown;
        }
    }

    /// Answers a frame that wants an answer to keep the connection.
    fn beat(&mut self, spec: &Spec, frame: &Frame<'_>) -> Option<Taken> {
        for (nth, heartbeat) in spec.heartbeats.iter().enumerate() {
            let Heartbeat::On { when, send } = heartbeat else {
                continue;
            };
            let Some(found) = when.find(frame, &self.values()) else {
                continue;
            };
            // What it captures is for its answer alone: the next one has other values.
            let before = self.captured.clone();
            self.capture(found);
            let rule = spec.rule("heartbeat", nth);
            let _ = self.send(send, RoomId::UNNAMED, rule);
            self.captured = before;
            let what = What::Heartbeat;
            return Some(Taken { what, rule });
        }
        None
    }

    fn capture(&mut self, found: Found) {
        for (at, value) in found.captured {
            let at = usize::from(at);
            if self.captured.len() <= at {
                self.captured.resize(at + 1, None);
            }
            self.captured[at] = Some(value.into());
        }
    }

    /// Takes a frame that says no: to a step that waits for its answer, or to a publish.
    fn refused(&mut self, spec: &Spec, frame: &Frame<'_>, bytes: &[u8]) -> Option<Taken> {
        for (nth, refusal) in spec.refusal.iter().enumerate() {
            let rule = spec.rule("refusal", nth);
            let of_step = self.sequences.iter().position(|sequence| {
                let values = self.values_in(sequence.about.room(), sequence.id);
                let found = refusal.find(frame, &values);
                found.is_some_and(|found| found.id.is_none() && found.room.is_none())
            });
            if let Some(at) = of_step {
                if let About::Ask(_) = self.sequences[at].about {
                    let instead = self.shown(bytes);
                    let denied = true;
                    self.asking = Some(Box::new(Asking { denied, instead }));
                    let what = What::Answered;
                    return Some(Taken { what, rule });
                }
                let Sequence { about, step, .. } = self.sequences.remove(at);
                if about == About::Login {
                    let shown = self.shown(bytes);
                    self.fail(format!(
                        "it refused login.{step} (by {rule}): it said {shown}"
                    ));
                }
                let (room, of) = (about.room(), None);
                let what = What::Refused { room, of };
                return Some(Taken { what, rule });
            }
            let Some(found) = refusal.find(frame, &self.values()) else {
                continue;
            };
            let in_order = match &spec.ack {
                Ack::Next => true,
                Ack::Match(all) => !all.iter().any(|one| one.mentions(Name::Id)),
                Ack::None | Ack::Echo => false,
            };
            let sent = match &found.id {
                Some(id) => id.parse().ok().and_then(|id| self.outstanding.answered(id)),
                None if in_order => self.outstanding.oldest_answered(),
                None => None,
            };
            if found.id.is_some() && sent.is_none() {
                continue; // it answers something else
            }
            let named = found.room.map(|room| self.rooms.id(&room));
            let room = sent.map_or(named.unwrap_or(RoomId::UNNAMED), |sent| sent.room);
            let of = sent.map(|sent| sent.id);
            let what = What::Refused { room, of };
            return Some(Taken { what, rule });
        }
        None
    }

    /// Takes the answer that a step waits for.
    fn expected(
        &mut self,
        spec: &Spec,
        frame: &Frame<'_>,
        of: impl Fn(About) -> bool,
    ) -> Option<Taken> {
        for nth in 0..self.sequences.len() {
            let Sequence {
                about, step, id, ..
            } = self.sequences[nth];
            if !of(about) {
                continue;
            }
            let expect = about.steps(spec).get(step)?.expect.as_ref();
            let values = self.values_in(about.room(), id);
            let Some(found) = expect.and_then(|expect| expect.find(frame, &values)) else {
                continue;
            };
            self.capture(found);
            let done = self.go_on(nth, true);
            return Some(Taken {
                what: done.unwrap_or(What::Step),
                rule: about.rule(step, "expect"),
            });
        }
        None
    }

    /// Takes an ack. One that has a message in it, too, is an ack only if it answers what waits.
    fn acked(&mut self, spec: &Spec, frame: &Frame<'_>, has_message: bool) -> Option<Taken> {
        let Ack::Match(matches) = &spec.ack else {
            return None;
        };
        for (nth, one) in matches.iter().enumerate() {
            let Some(found) = one.find(frame, &self.values()) else {
                continue;
            };
            let rule = spec.rule("ack", nth);
            let number = found.id.as_ref().and_then(|id| id.parse::<u64>().ok());
            let sent = match (&found.id, number) {
                (None, _) => self.outstanding.oldest_answered(),
                (Some(_), Some(number)) => self.outstanding.answered(number),
                (Some(_), None) => None,
            };
            let Some(sent) = sent else {
                if has_message || found.id.is_none() || number.is_none_or(|n| n <= self.last_id) {
                    // It answers a step, or what is long answered; or it tells of something else
                    // that looks like an ack.
                    continue;
                }
                let (room, of) = (RoomId::UNNAMED, None);
                let what = What::Ack { room, of };
                return Some(Taken { what, rule });
            };
            spec.tally.ack();
            let (room, of) = (sent.room, Some(sent.id));
            let what = What::Ack { room, of };
            return Some(Taken { what, rule });
        }
        None
    }
}
