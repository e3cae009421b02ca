//! One client's state over messages: how far it has got with logging in and with its rooms, what it
//! waits for, and what each message that comes is taken for.

mod reading;
mod steps;
mod taken;

use std::ops::Range;
use std::sync::Arc;

use super::delivery::{Marker, sender_digits};
use super::outstanding::{Outstanding, Sent};
use super::spec::{Ack, Heartbeat, Rule, Spec, Transport};
use super::template::{NoValue, Template};
use super::variables::{Name, Values};
use crate::rooms::{RoomId, RoomNames};
use crate::seen::Publishing;
use steps::{About, Asking, Sequence};

pub use taken::{Taken, Watched, What};

/// One client's side of an application's protocol, over messages.
#[derive(Debug)]
pub struct Session {
    spec: Arc<Spec>,
    rooms: Arc<RoomNames>,
    client: Box<str>,
    /// Its number among all clients.
    number: u32,
    run: u32,
    marker: Marker,
    /// By the variable's place; empty before anything was captured.
    captured: Vec<Option<Box<str>>>,
    /// Steps under way: of the login, or of joins and leaves, which may be several at once.
    sequences: Vec<Sequence>,
    joined: Vec<RoomId>,
    last_id: u64,
    outstanding: Outstanding,
    /// The digits of the senders that this client publishes as: one for each room.
    senders: Vec<[u8; 5]>,
    /// Messages to be sent.
    outbox: Outbox,
    trouble: Option<Box<str>>,
    /// What was sent and came, if somebody watches.
    watched: Option<Vec<Watched>>,
    /// When each periodic heartbeat is due; empty before the first look at a clock.
    beats_ns: Vec<u64>,
    /// What came since a script asked something, until that is answered or given up.
    asking: Option<Box<Asking>>,
}

/// Messages that wait to be sent, one after another in the same memory.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Messages without an ack of which refusals may still come, where there are no acks.
const MOST_UNACKED: usize = 256;

/// The most bytes of a frame that a message repeats.
const SHOWN_BYTES: usize = 300;

impl Session {
    /// That of a client before it is connected.
    #[must_use]
    pub fn new(
        spec: Arc<Spec>,
        rooms: Arc<RoomNames>,
        run: u32,
        client: &str,
        number: u32,
    ) -> Self {
        Self {
            spec,
            rooms,
            client: client.into(),
            number,
            run,
            marker: Marker::new(run),
            captured: Vec::new(),
            sequences: Vec::new(),
            joined: Vec::new(),
            last_id: 0,
            outstanding: Outstanding::default(),
            senders: Vec::new(),
            outbox: Outbox::default(),
            trouble: None,
            watched: None,
            beats_ns: Vec::new(),
            asking: None,
        }
    }

    /// From here on, what is sent and comes is kept for [`Session::watched`].
    pub fn watch(&mut self) {
        self.watched = Some(Vec::new());
    }

    /// What was sent and came since the last call.
    pub fn watched(&mut self) -> Vec<Watched> {
        self.watched.as_mut().map_or_else(Vec::new, std::mem::take)
    }

    fn saw_sent(&mut self, message: &[u8], rule: Rule) {
        if self.watched.is_some() {
            let shown = self.shown(message);
            self.watched
                .get_or_insert_default()
                .push(Watched::Sent { shown, rule });
        }
    }

    /// The description that it goes by.
    #[must_use]
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    fn values(&self) -> Values<'_> {
        Values {
            row: self
                .spec
                .users
                .get(self.number as usize)
                .map_or(&[], |row| row),
            captured: &self.captured,
            run: self.run,
            ..Values::of_client(&self.spec.names, &self.client)
        }
    }

    fn values_in(&self, room: RoomId, id: Option<u64>) -> Values<'_> {
        Values {
            room: room.is_named().then(|| self.rooms.name(room)),
            id,
            ..self.values()
        }
    }

    /// A template of the request that opens the connection, filled in; `room` is the one that the
    /// URL names, if it names one.
    ///
    /// # Errors
    /// Something in it has no value.
    pub fn request(&self, template: &Template, room: RoomId) -> Result<String, NoValue> {
        template.text(&self.values_in(room, None))
    }

    /// Sends what takes leave of everything, where the description says so.
    pub fn goodbye(&mut self) {
        let rooms = std::mem::take(&mut self.joined);
        let rooms = match rooms.is_empty() {
            true => vec![RoomId::UNNAMED],
            false => rooms,
        };
        let spec = Arc::clone(&self.spec);
        if let Some(template) = &spec.goodbye {
            let rule = Rule {
                key: "goodbye",
                ..Rule::NONE
            };
            let _ = self.send(template, RoomId::UNNAMED, rule);
            return;
        }
        let mut said: Option<&Template> = None;
        for room in rooms {
            for template in spec.leave.iter().filter_map(|step| step.send.as_ref()) {
                // What names no room is said once.
                let of_room = template.mentions(Name::Room);
                if of_room && !room.is_named() || !of_room && said == Some(template) {
                    continue;
                }
                said = Some(template);
                let rule = Rule {
                    key: "leave",
                    ..Rule::NONE
                };
                let _ = self.send(template, room, rule);
            }
        }
    }

    /// Puts a message of a step into the outbox. Returns its `{id}`, if it has one.
    fn send(
        &mut self,
        template: &Template,
        room: RoomId,
        rule: Rule,
    ) -> Result<Option<u64>, NoValue> {
        let id = template.mentions(Name::Id).then(|| {
            self.last_id += 1;
            self.last_id
        });
        let Outbox {
            mut bytes,
            mut ends,
        } = std::mem::take(&mut self.outbox);
        let before = bytes.len();
        let filled = template.fill(&self.values_in(room, id), &mut bytes);
        match filled {
            Ok(()) => {
                bytes.extend_from_slice(&self.spec.end);
                ends.push(bytes.len());
            }
            Err(_) => bytes.truncate(before),
        }
        self.saw_sent(&bytes[before..], rule);
        self.outbox = Outbox { bytes, ends };
        filled.map(|()| id)
    }

    /// Passes on the messages that are to be sent, in order.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        if self.outbox.ends.is_empty() {
            return;
        }
        // Nothing is kept: a login's messages are not to fatten a connection for life.
        let Outbox { bytes, ends } = std::mem::take(&mut self.outbox);
        let mut begin = 0;
        for end in ends {
            each(&bytes[begin..end]);
            begin = end;
        }
    }

    /// Appends the message that publishes a text.
    pub fn publish(&mut self, publish: &Publishing<'_>, out: &mut Vec<u8>) {
        self.last_id += 1;
        let local = self.last_id;
        let before = out.len();
        let values = Values {
            payload: Some(publish.text),
            ..self.values_in(publish.room, Some(local))
        };
        if let Err(NoValue(name)) = self.spec.publish.fill(&values, out) {
            out.truncate(before);
            let name = self.spec.names.name(name);
            self.fail(format!("publish needs {{{name}}}, which has no value"));
            return;
        }
        out.extend_from_slice(&self.spec.end);
        let rule = Rule {
            key: "publish",
            ..Rule::NONE
        };
        self.saw_sent(&out[before..], rule);
        if let Some(sender) = sender_digits(publish.text.as_bytes())
            && !self.senders.contains(&sender)
        {
            self.senders.push(sender);
        }
        if self.spec.remembers_sent() {
            self.outstanding.sent(Sent {
                local,
                id: publish.id,
                room: publish.room,
            });
            if matches!(self.spec.ack, Ack::None | Ack::Echo) {
                self.outstanding.keep(MOST_UNACKED);
            }
        }
    }

    /// Says what a message is, and does what it asks for.
    #[inline]
    pub fn take(&mut self, frame: &[u8]) -> Taken {
        let taken = self.take_unwatched(frame);
        if self.watched.is_some() {
            let shown = self.shown(frame);
            let watched = Watched::Came {
                shown,
                taken: taken.clone(),
            };
            self.watched.get_or_insert_default().push(watched);
        }
        taken
    }

    /// The next message in a frame that has one until `from`.
    pub fn next_delivery(&mut self, frame: &[u8], from: usize) -> Option<Range<usize>> {
        self.marker.find(frame, from)
    }

    /// Does what is due at `now_ns`: heartbeats, and expectations that are given up. Returns when
    /// to be called again, if anything will be due without anything coming first.
    pub fn timer(&mut self, now_ns: u64) -> Option<u64> {
        let spec = Arc::clone(&self.spec);
        let mut next: Option<u64> = None;
        let mut sooner = |at: u64| next = Some(next.map_or(at, |next| next.min(at)));
        let mut late = None;
        for sequence in &mut self.sequences {
            let Some(step) = sequence.about.steps(&spec).get(sequence.step) else {
                continue;
            };
            let until = now_ns.saturating_add(step.within_ns);
            let until = *sequence.until_ns.get_or_insert(until);
            if until > now_ns {
                sooner(until);
            } else if sequence.about == About::Login {
                late = Some((sequence.step, step));
            }
        }
        if let Some((nth, step)) = late
            && self.trouble.is_none()
        {
            let expect = step.expect.as_ref().map_or("", |expect| expect.written());
            let others = match spec.tally.first_other() {
                Some(other) => format!("; what came instead: {other}"),
                None => String::new(),
            };
            let within = step.within_ns as f64 / 1e9;
            self.fail(format!(
                "it did not send what login.{nth}.expect waits for within {within} s ({expect}){others}"
            ));
        }
        let periods = spec.heartbeats.iter().filter_map(|beat| match beat {
            Heartbeat::Every { interval_ns, send } => Some((*interval_ns, send)),
            Heartbeat::On { .. } => None,
        });
        let rule = Rule {
            key: "heartbeat",
            ..Rule::NONE
        };
        for (nth, (interval_ns, send)) in periods.enumerate() {
            if self.beats_ns.len() <= nth {
                self.beats_ns.push(now_ns + interval_ns);
            }
            if self.beats_ns[nth] <= now_ns {
                self.beats_ns[nth] = now_ns + interval_ns;
                let _ = self.send(send, RoomId::UNNAMED, rule);
            }
            sooner(self.beats_ns[nth]);
        }
        next
    }

    fn fail(&mut self, what: String) {
        self.trouble.get_or_insert(what.into());
    }

    /// Why the client will not be taken in, or cannot go on.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The answer that the login waits for, in words.
    #[must_use]
    pub fn awaited(&self) -> Option<String> {
        let login = self
            .sequences
            .iter()
            .find(|one| one.about == About::Login)?;
        let step = self.spec.login.get(login.step)?;
        let expect = step.expect.as_ref()?.written();
        Some(format!("answer to login.{} ({expect})", login.step))
    }

    /// Whether any step waits for its answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.sequences.is_empty()
    }

    /// The only room that it is in or asks to be let into, if it is one; the unnamed one if it is in
    /// none.
    #[must_use]
    pub fn only_room(&self) -> Option<RoomId> {
        let joining = self.sequences.iter().filter_map(|one| match one.about {
            About::Join(room) | About::Leave(room) => Some(room),
            About::Login | About::Ask(_) => None,
        });
        let mut rooms = self.joined.iter().copied().chain(joining);
        let first = rooms.next().unwrap_or(RoomId::UNNAMED);
        rooms.all(|room| room == first).then_some(first)
    }

    /// A frame in one line, without secrets and not too long.
    #[must_use]
    pub fn shown(&self, frame: &[u8]) -> String {
        // More is taken than is shown, so that no secret is cut in two.
        let begin = &frame[..frame.len().min(16 * SHOWN_BYTES)];
        let text = String::from_utf8_lossy(begin);
        let text = self.spec.names.without_secrets(&text, &self.values());
        match text.char_indices().nth(SHOWN_BYTES) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        }
    }

    /// How messages go over the stream.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.spec.transport
    }
}

#[cfg(test)]
mod tests;
