//! One client's state over messages: how far it has got with logging in and with its rooms, what it
//! waits for, and what each message that comes is taken for.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::delivery::{Marker, find_foreign, sender_digits};
use super::matching::{Found, Frame, Match};
use super::outstanding::{Outstanding, Sent};
use super::spec::{Ack, Heartbeat, Rule, Spec, Step, Transport};
use super::template::{NoValue, Template};
use super::variables::{Name, Values};
use crate::rooms::{RoomId, RoomNames};
use crate::seen::Publishing;

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

/// What came since a script asked something.
#[derive(Debug, Default)]
struct Asking {
    /// A refusal did: nothing else will answer.
    denied: bool,
    /// The first frame that is no answer, and that nothing else explains.
    instead: String,
}

/// Steps that are gone through.
#[derive(Debug)]
struct Sequence {
    about: About,
    /// The step whose answer it waits for.
    step: usize,
    /// The `{id}` that was sent last.
    id: Option<u64>,
    /// Until when it waits; `None` before the first look at a clock.
    until_ns: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Login,
    Join(RoomId),
    Leave(RoomId),
    /// What a script asks, by its number.
    Ask(usize),
}

impl About {
    fn key(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Join(_) => "join",
            Self::Leave(_) => "leave",
            Self::Ask(_) => "script",
        }
    }

    fn room(self) -> RoomId {
        match self {
            Self::Login | Self::Ask(_) => RoomId::UNNAMED,
            Self::Join(room) | Self::Leave(room) => room,
        }
    }

    fn steps(self, spec: &Spec) -> &[Step] {
        match self {
            Self::Login => &spec.login,
            Self::Join(_) => &spec.join,
            Self::Leave(_) => &spec.leave,
            Self::Ask(nth) => spec.asks.get(nth).map_or(&[], std::slice::from_ref),
        }
    }

    /// The place in the description of what is sent or expected at a step.
    fn rule(self, step: usize, part: &'static str) -> Rule {
        let nth = match self {
            Self::Ask(_) => None, // the step is one of the script's
            _ => Some(step),
        };
        let key = self.key();
        Rule { key, nth, part }
    }

    fn done(self) -> What {
        match self {
            Self::Login => What::LoggedIn,
            Self::Join(room) => What::Joined(room),
            Self::Leave(room) => What::Left(room),
            Self::Ask(_) => What::Answered,
        }
    }
}

/// A message that was sent or came, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// One that was sent, by which key of the description.
    Sent {
        /// The message, without secrets.
        shown: String,
        /// What sends it.
        rule: Rule,
    },
    /// One that came.
    Came {
        /// The message, without secrets.
        shown: String,
        /// What it was taken for.
        taken: Taken,
    },
}

/// What a message was taken for, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What it is.
    pub what: What,
    /// The rule by which it is that.
    pub rule: Rule,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A published message, and its place. There may be more in what follows it.
    Delivery(Range<usize>),
    /// The answer to a step, after which others follow.
    Step,
    /// The last answer of the login.
    LoggedIn,
    /// The last answer of a join.
    Joined(RoomId),
    /// The last answer of a leave.
    Left(RoomId),
    /// The answer, or the refusal, of what a script asked.
    Answered,
    /// An ack.
    Ack {
        /// Where its message was published.
        room: RoomId,
        /// The id by which a verifier knows the message; `None` if it is for none that was sent.
        of: Option<u64>,
    },
    /// The answer to a step or a publish is no.
    Refused {
        /// The room that it is about.
        room: RoomId,
        /// The id of the publish; `None` if it refuses a step, or does not say what.
        of: Option<u64>,
    },
    /// A complaint.
    Error,
    /// Something that was answered to keep the connection.
    Heartbeat,
    /// Something without a meaning here.
    Ignored,
    /// Nothing that is known.
    Other,
}

/// As it is said of a frame.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delivery(_) => "a delivery",
            Self::Step => "an expected answer",
            Self::LoggedIn => "logged in",
            Self::Joined(_) => "joined",
            Self::Left(_) => "left",
            Self::Answered => "an answer to a script",
            Self::Ack { of: Some(_), .. } => "an ack",
            Self::Ack { of: None, .. } => "an ack of nothing that was sent",
            Self::Refused { .. } => "a refusal",
            Self::Error => "an error",
            Self::Heartbeat => "a heartbeat",
            Self::Ignored => "ignored",
            Self::Other => "nothing that [protocol] knows",
        })
    }
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

    /// The transport is open: the login begins.
    pub fn begin(&mut self) {
        self.start(About::Login);
    }

    /// Asks to be let into a room.
    pub fn join(&mut self, room: RoomId) {
        self.start(About::Join(room));
    }

    /// Leaves a room.
    pub fn leave(&mut self, room: RoomId) {
        self.joined.retain(|one| *one != room);
        self.start(About::Leave(room));
    }

    /// Asks what a script asks, by its number in the description.
    pub fn ask(&mut self, nth: usize) {
        self.asking = Some(Box::default());
        self.start(About::Ask(nth));
        if self.trouble.is_some() {
            self.sequences.retain(|one| one.about != About::Ask(nth)); // nothing was sent
        }
    }

    /// Whether the answer to what a script asked is still waited for.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        let mut sequences = self.sequences.iter();
        let is_denied = self.asking.as_ref().is_some_and(|asking| asking.denied);
        !is_denied && sequences.any(|one| matches!(one.about, About::Ask(_)))
    }

    /// Waits no longer for the answer to what a script asked. Returns what was expected and what
    /// came instead, which may be nothing; `None` if no answer is waited for.
    pub fn give_up_asking(&mut self) -> Option<(String, String)> {
        let asking = self.asking.take();
        let is_ask = |one: &Sequence| matches!(one.about, About::Ask(_));
        let at = self.sequences.iter().position(is_ask)?;
        let Sequence { about, step, .. } = self.sequences.remove(at);
        let step = about.steps(&self.spec).get(step)?;
        let expected = step.expect.as_ref()?.written().to_owned();
        let instead = asking.map_or_else(String::new, |asking| asking.instead);
        Some((expected, instead))
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

    fn start(&mut self, about: About) {
        self.sequences.push(Sequence {
            about,
            step: 0,
            id: None,
            until_ns: None,
        });
        // What nothing answers is claimed by nobody: what comes first proves it.
        let _ = self.go_on(self.sequences.len() - 1, false);
    }

    /// Goes on with a sequence to the next answer that it has to wait for; `answered` if the one of
    /// its step has come. Returns what came about if that was its end.
    fn go_on(&mut self, nth: usize, answered: bool) -> Option<What> {
        let spec = Arc::clone(&self.spec);
        let Sequence { about, .. } = self.sequences[nth];
        let steps = about.steps(&spec);
        let mut waited = answered;
        loop {
            let sequence = &mut self.sequences[nth];
            sequence.until_ns = None;
            if waited {
                sequence.step += 1;
            }
            let Some(step) = steps.get(sequence.step) else {
                break;
            };
            if let Some(template) = &step.send {
                let rule = about.rule(self.sequences[nth].step, "send");
                match self.send(template, about.room(), rule) {
                    Ok(id) => {
                        let sequence = &mut self.sequences[nth];
                        sequence.id = id.or(sequence.id);
                    }
                    Err(NoValue(name)) => {
                        let rule = about.rule(self.sequences[nth].step, "send");
                        let name = spec.names.name(name);
                        self.fail(format!(
                            "{rule} needs {{{name}}}, which has no value by then"
                        ));
                        return None;
                    }
                }
            }
            if step.expect.is_some() {
                return None;
            }
            waited = true;
        }
        self.sequences.remove(nth);
        if let About::Join(room) = about {
            self.joined.push(room);
        }
        Some(about.done())
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

    #[inline]
    fn take_unwatched(&mut self, frame: &[u8]) -> Taken {
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

    /// The next message in a frame that has one until `from`.
    pub fn next_delivery(&mut self, frame: &[u8], from: usize) -> Option<Range<usize>> {
        self.marker.find(frame, from)
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
                    *self.asking.get_or_insert_default() = Box::new(Asking { denied, instead });
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
