//! The description of an application's protocol: what `[protocol]` of a scenario says, as data.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::matching::Match;
use super::template::Template;
use super::variables::{Name, Names, Values};
use crate::seen::Capabilities;

/// How an application talks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The preset that it was made of, if it was.
    pub preset: Option<Box<str>>,
    /// The names that templates and matches refer to.
    pub names: Names,
    /// A row for each client, by its number among all of them; empty where there is no table.
    pub users: Vec<Box<[Box<str>]>>,
    /// How its messages go over a stream.
    pub transport: Transport,
    /// The steps once a connection.
    pub login: Vec<Step>,
    /// The steps once a room.
    pub join: Vec<Step>,
    /// The steps to leave a room, or to say goodbye.
    pub leave: Vec<Step>,
    /// What takes leave of the target, in place of leaving each room.
    pub goodbye: Option<Template>,
    /// What scripts ask the target, each by its number.
    pub asks: Vec<Step>,
    /// What publishes a message.
    pub publish: Template,
    /// What says that a message was taken.
    pub ack: Ack,
    /// What says no. Looked at before expectations and acks.
    pub refusal: Vec<Match>,
    /// What complains.
    pub error: Vec<Match>,
    /// What has no meaning here.
    pub ignore: Vec<Match>,
    /// What is sent to keep the connection.
    pub heartbeats: Vec<Heartbeat>,
    /// What divides messages: in a WebSocket message, or in a stream.
    pub split: Option<Box<[u8]>>,
    /// What is appended to each message that is sent.
    pub end: Box<[u8]>,
    /// How a client connects again whose connection was closed.
    pub reconnect: Option<Reconnect>,
    /// What came, for those who wonder why a match never matched.
    pub tally: Tally,
}

/// How messages go over a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// One in a WebSocket message.
    WebSocket {
        /// The path and query of the request.
        path: Template,
        /// The subprotocol that is asked for.
        subprotocol: Option<Template>,
        /// Further header fields of the request.
        headers: Vec<(Box<str>, Template)>,
        /// Whether messages are sent as binary ones.
        binary: bool,
    },
    /// One after another, divided by [`Spec::split`].
    Stream,
}

/// A step of a login, a join or a leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is sent.
    pub send: Option<Template>,
    /// What has to come before it goes on.
    pub expect: Option<Match>,
    /// How long that may take.
    pub within_ns: u64,
}

/// What says that a message was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ack {
    /// Nothing.
    None,
    /// The message itself, which comes back to its sender.
    Echo,
    /// Whatever comes next that is nothing else, for the oldest message that waits.
    Next,
    /// A frame that matches: for the message whose `{id}` is in it, or for the oldest that waits
    /// where the match has none.
    Match(Vec<Match>),
}

/// What keeps a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heartbeat {
    /// The answer to a frame.
    On {
        /// The frame.
        when: Match,
        /// The answer.
        send: Template,
    },
    /// What is sent from time to time.
    Every {
        /// The time between two of them.
        interval_ns: u64,
        /// What is sent.
        send: Template,
    },
}

/// How a client connects again whose connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// The shortest time after it was closed.
    pub after_min_ns: u64,
    /// The longest; it is drawn evenly.
    pub after_max_ns: u64,
    /// How often it connects again.
    pub at_most: u32,
}

impl Spec {
    /// A description that says no more than how a message is published.
    #[must_use]
    pub fn new(names: Names, transport: Transport, publish: Template) -> Self {
        Self {
            preset: None,
            names,
            users: Vec::new(),
            transport,
            login: Vec::new(),
            join: Vec::new(),
            leave: Vec::new(),
            goodbye: None,
            asks: Vec::new(),
            publish,
            ack: Ack::None,
            refusal: Vec::new(),
            error: Vec::new(),
            ignore: Vec::new(),
            heartbeats: Vec::new(),
            split: None,
            end: Box::default(),
            reconnect: None,
            tally: Tally::default(),
        }
    }

    /// What a verifier may expect of a target that talks so.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            numbers: false,
            // That a WebSocket's handshake is answered proves a connection, and no more.
            welcome: self.login.iter().any(|step| step.expect.is_some()),
            bye: false,
            errors: !self.refusal.is_empty() || !self.error.is_empty(),
            claims: false,
            joins_in_order: false,
            rooms: !self.join.is_empty() || self.is_room_in_path(),
            senders: false,
            joined: self.join.iter().any(|step| step.expect.is_some()),
            // An answer may come, and is none that is owed at the end of a connection.
            left: false,
            // Most go from one member to the next, and may wait for a slow one in between.
            at_once: false,
        }
    }

    /// Whether messages are WebSocket messages.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        matches!(self.transport, Transport::WebSocket { .. })
    }

    /// Whether the URL names the room, so that a connection is in one.
    #[must_use]
    pub fn is_room_in_path(&self) -> bool {
        match &self.transport {
            Transport::WebSocket { path, .. } => path.mentions(Name::Room),
            Transport::Stream => false,
        }
    }

    /// Whether answers to publishes are told apart by their ids or their order, so that what was
    /// sent has to be remembered until they come.
    #[must_use]
    pub fn remembers_sent(&self) -> bool {
        match &self.ack {
            Ack::Match(_) | Ack::Next => true,
            Ack::None | Ack::Echo => self.refusal.iter().any(|one| one.mentions(Name::Id)),
        }
    }

    /// A rule as it is named in `[protocol]`.
    #[must_use]
    pub fn rule(&self, key: &'static str, nth: usize) -> Rule {
        let several = match key {
            "refusal" => self.refusal.len(),
            "error" => self.error.len(),
            "ignore" => self.ignore.len(),
            "heartbeat" => self.heartbeats.len(),
            "ack" => match &self.ack {
                Ack::Match(all) => all.len(),
                _ => 1,
            },
            _ => 2,
        };
        Rule {
            key,
            nth: (several > 1).then_some(nth),
            part: "",
        }
    }
}

/// The rule of a description by which a frame was taken for what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The key in `[protocol]`; empty where none applied.
    pub key: &'static str,
    /// Which of several, from 0 on.
    pub nth: Option<usize>,
    /// The key inside of it; may be empty.
    pub part: &'static str,
}

impl Rule {
    /// No rule.
    pub const NONE: Self = Self {
        key: "",
        nth: None,
        part: "",
    };
}

/// Something of one session, as it will go over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outline {
    /// A message that is sent.
    Sent(String),
    /// What is waited for.
    Awaited(String),
}

impl Spec {
    /// One session of a client, without its target: what is sent and what is waited for, each with
    /// its key. Values that are not known beforehand, and secrets, stand as their names.
    #[must_use]
    pub fn outline(
        &self,
        client: &str,
        number: u32,
        room: Option<&str>,
        run: u32,
    ) -> Vec<(Rule, Outline)> {
        let unknown: Vec<Option<Box<str>>> = (0..self.names.len() as u16)
            .map(|at| Some(format!("{{{}}}", self.names.name(Name::Variable(at))).into()))
            .collect();
        let values = |id| Values {
            row: self.users.get(number as usize).map_or(&[], |row| row),
            captured: &unknown,
            run,
            room,
            id: Some(id),
            payload: Some("{payload}"),
            ..Values::of_client(&self.names, client)
        };
        let mut id = 0;
        let mut all = Vec::new();
        let mut send = |rule, template: &Template, all: &mut Vec<(Rule, Outline)>| {
            id += u64::from(template.mentions(Name::Id));
            let text = template.text(&values(id)).unwrap_or_default();
            let text = text + &String::from_utf8_lossy(&self.end);
            let text = self.names.without_secrets(&text, &values(id));
            all.push((rule, Outline::Sent(text)));
        };
        let mut steps = |key, steps: &[Step], all: &mut Vec<(Rule, Outline)>| {
            for (nth, step) in steps.iter().enumerate() {
                let rule = |part| Rule {
                    key,
                    nth: Some(nth),
                    part,
                };
                if let Some(template) = &step.send {
                    send(rule("send"), template, all);
                }
                if let Some(expect) = &step.expect {
                    all.push((
                        rule("expect"),
                        Outline::Awaited(expect.written().to_owned()),
                    ));
                }
            }
        };
        steps("login", &self.login, &mut all);
        if room.is_some() {
            steps("join", &self.join, &mut all);
        }
        let publish = Rule {
            key: "publish",
            ..Rule::NONE
        };
        send(publish, &self.publish, &mut all);
        let ack = |nth| self.rule("ack", nth);
        match &self.ack {
            Ack::None => {}
            Ack::Echo => all.push((ack(0), Outline::Awaited("the message itself".to_owned()))),
            Ack::Next => all.push((ack(0), Outline::Awaited("whatever comes next".to_owned()))),
            Ack::Match(matches) => {
                for (nth, one) in matches.iter().enumerate() {
                    all.push((ack(nth), Outline::Awaited(one.written().to_owned())));
                }
            }
        }
        all
    }
}

/// As a path in a scenario: `login.0.expect`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)?;
        if let Some(nth) = self.nth {
            write!(f, ".{nth}")?;
        }
        if !self.part.is_empty() {
            write!(f, ".{}", self.part)?;
        }
        Ok(())
    }
}

/// Counts of what came besides messages, over all connections of a run.
#[derive(Debug, Default)]
pub struct Tally {
    acks: AtomicU64,
    others: AtomicU64,
    first_other: OnceLock<Box<str>>,
}

impl Tally {
    pub(super) fn ack(&self) {
        self.acks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn other(&self, shown: impl FnOnce() -> String) {
        self.others.fetch_add(1, Ordering::Relaxed);
        self.first_other.get_or_init(|| shown().into());
    }

    /// Frames that were taken for acks.
    #[must_use]
    pub fn acks(&self) -> u64 {
        self.acks.load(Ordering::Relaxed)
    }

    /// Frames that no rule applied to, and that had no message in them.
    #[must_use]
    pub fn others(&self) -> u64 {
        self.others.load(Ordering::Relaxed)
    }

    /// The first of these, fit to be shown.
    #[must_use]
    pub fn first_other(&self) -> Option<&str> {
        self.first_other.get().map(|frame| &**frame)
    }
}

/// Begins anew: counts are no part of a description.
impl Clone for Tally {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Tally {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Tally {}
