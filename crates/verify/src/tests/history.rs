//! What every client saw of a history, decoded and session by session: what both brute-force
//! checkers ([`oracle`](super::oracle), [`oracle_inferred`](super::oracle_inferred)) look things up in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::world::{Id, Observation, RUN, SEED, Saw, address, life_of, wire_id};
use crate::kind::Kind;
use chatbench_wire::classic::texts::{Piece, Pieces, TextBuffer};
use chatbench_wire::ndjson::{self, ServerFrame};
use chatbench_wire::payload::{self, NotIntact, SenderId};

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Malformed,
    Welcome {
        n: u64,
        to_whom: String,
    },
    Bye(u64),
    Ack {
        n: u64,
        id: Option<u64>,
    },
    /// A classic ack, which names an address alone.
    AckBy(String),
    /// An intact message of this run; `from` is whom the relay names.
    Relay {
        n: u64,
        message: Id,
        from: String,
    },
    /// A relay that is wrong in itself.
    Wrong {
        n: u64,
        kind: Kind,
        /// The message that it was, by what is left of it.
        claim: Option<Id>,
    },
    Error {
        id: Option<u64>,
        code: String,
    },
    Nothing,
}

#[derive(Debug)]
pub(super) struct Frame {
    /// Its place among all that happens in the history.
    pub(super) place: usize,
    pub(super) at_ns: u64,
    pub(super) line: Vec<u8>,
    pub(super) what: What,
    pub(super) role: Role,
}

/// What an ack is to the session that got it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Role {
    NoAck,
    /// The first for this message; in the order sent if nothing sent before it was still waiting.
    First {
        k: u64,
        in_order: bool,
    },
    Again,
    /// Of a message that was answered with an error before.
    OfRefused,
    /// For what this session never sent.
    Stray,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) life: usize,
    pub(super) connected: usize,
    /// By k: its place among all observations, and when.
    pub(super) sent: BTreeMap<u64, (usize, u64)>,
    pub(super) frames: Vec<Frame>,
    /// When it half-closed.
    pub(super) left: Option<usize>,
    pub(super) gone: bool,
    pub(super) closed: bool,
    pub(super) closed_at: Option<usize>,
    pub(super) unread_bytes: usize,
    texts: Texts,
}

/// Reads the clients' streams as they read them, in either dialect.
pub(super) fn read(observations: &[Observation]) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut moment = 0;
    for Observation { life, at_ns, saw } in observations {
        if *saw == Saw::Connecting {
            sessions.push(Session {
                life: *life,
                connected: moment + 1,
                ..Session::default()
            });
        }
        let session = sessions.iter_mut().rev().find(|s| s.life == *life).unwrap();
        moment += 1;
        let mut frames = Vec::new();
        match saw {
            Saw::Connecting => {}
            Saw::Sent { k } => drop(session.sent.insert(*k, (moment, *at_ns))),
            Saw::Leaving => session.left = Some(moment),
            Saw::LettingGo => session.gone = true,
            Saw::Line(line) if line.iter().all(|&b| b == b'\r' || b == b' ') => {}
            Saw::Line(line) => {
                let what = parse(line.strip_suffix(b"\r").unwrap_or(line));
                frames.push((what, line.clone()));
            }
            Saw::Bytes(bytes) => frames = session.texts.read(bytes),
            Saw::Closed { unread_bytes } => {
                session.closed = true;
                session.unread_bytes = *unread_bytes;
                frames = session.texts.closed();
            }
        }
        for (what, line) in frames {
            moment += 1;
            session.frames.push(Frame {
                place: moment,
                at_ns: *at_ns,
                line,
                what,
                role: Role::NoAck,
            });
        }
        if session.closed {
            moment += 1;
            session.closed_at.get_or_insert(moment);
        }
    }
    sessions.iter_mut().for_each(give_roles);
    sessions
}

fn parse(line: &[u8]) -> What {
    let Ok(frame) = ndjson::decode_server(line) else {
        return What::Malformed;
    };
    match frame {
        ServerFrame::Welcome { seq: n, .. }
        | ServerFrame::Ack { seq: n, .. }
        | ServerFrame::Relay { seq: n, .. }
        | ServerFrame::Bye { seq: n }
            if n > u64::MAX - (1 << 32) =>
        {
            What::Malformed
        }
        ServerFrame::Welcome { protocol, .. } if protocol != 1 => What::Malformed,
        ServerFrame::Welcome { seq, client_ip, .. } => What::Welcome {
            n: seq,
            to_whom: client_ip.into_owned(),
        },
        ServerFrame::Bye { seq } => What::Bye(seq),
        ServerFrame::Ack { seq, id, .. } => What::Ack { n: seq, id },
        ServerFrame::Error { id, code, .. } => What::Error {
            id,
            code: code.into_owned(),
        },
        ServerFrame::Joined { .. } | ServerFrame::Left { .. } | ServerFrame::Unknown => {
            What::Nothing
        }
        ServerFrame::Relay {
            seq,
            client_ip,
            message,
            ..
        } => relay(seq, &client_ip, message.as_bytes()),
    }
}

fn relay(n: u64, from: &str, text: &[u8]) -> What {
    let wrong = |kind, claim| What::Wrong { n, kind, claim };
    let id = |sender: SenderId, k| Id {
        life: life_of(sender),
        k,
    };
    match payload::decode(text, SEED, RUN) {
        Err(NotIntact::Altered) => {
            let claim = payload::claimed(text).map(|(sender, k)| id(sender, k));
            wrong(Kind::AlteredRelay, claim)
        }
        Err(NotIntact::Foreign) => wrong(Kind::PhantomRelay, None),
        Ok(header) if header.run != RUN => wrong(Kind::StaleRelay, None),
        Ok(header) => What::Relay {
            n,
            message: id(header.sender, header.k),
            from: from.to_owned(),
        },
    }
}

/// A classic stream, cut into its texts.
#[derive(Debug, Default)]
struct Texts {
    buffer: Option<TextBuffer>,
    /// Whose relay is not at its end, and its text so far; without an address it is none.
    open: Option<(Option<String>, Vec<u8>)>,
}

impl Texts {
    fn read(&mut self, bytes: &[u8]) -> Vec<(What, Vec<u8>)> {
        let mut buffer = self
            .buffer
            .take()
            .unwrap_or_else(|| TextBuffer::new(65_536));
        let frames = self.cut(buffer.feed(bytes));
        self.buffer = Some(buffer);
        frames
    }

    /// The target closed the connection: nothing follows.
    fn closed(&mut self) -> Vec<(What, Vec<u8>)> {
        let mut buffer = self.buffer.take();
        let mut frames = buffer
            .as_mut()
            .map_or_else(Vec::new, |b| self.cut(b.finish()));
        frames.extend(self.ended());
        frames
    }

    fn cut(&mut self, mut pieces: Pieces<'_>) -> Vec<(What, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(piece) = pieces.next() {
            if let Piece::Text(text) = piece {
                let (_, open) = self.open.get_or_insert_default();
                open.extend_from_slice(text);
                continue;
            }
            frames.extend(self.ended());
            match piece {
                Piece::Ack { by } => frames.push((What::AckBy(by.to_string()), Vec::new())),
                Piece::Relay { by, message } => frames.push(text(&by.to_string(), message)),
                Piece::RelayBegins { by } => self.open = Some((Some(by.to_string()), Vec::new())),
                Piece::Text(_) => unreachable!("it was taken above"),
            }
        }
        frames
    }

    /// What is open ends here.
    fn ended(&mut self) -> Option<(What, Vec<u8>)> {
        let (by, open) = self.open.take()?;
        Some(match by {
            Some(by) => text(&by, &open),
            None => (What::Malformed, open),
        })
    }
}

fn text(by: &str, text: &[u8]) -> (What, Vec<u8>) {
    (relay(0, by, text), [by.as_bytes(), text].concat())
}

/// S3, S5: each of a session's messages is acked once, in the order sent.
fn give_roles(session: &mut Session) {
    let (mut acked, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for i in 0..session.frames.len() {
        let place = session.frames[i].place;
        let sent = |id: &Option<u64>| {
            let mut mine = session.sent.iter().filter(|(_, (sent, _))| *sent < place);
            let life = session.life;
            mine.find_map(|(&k, _)| (*id == Some(wire_id(Id { life, k }))).then_some(k))
        };
        match &session.frames[i].what {
            What::Error { id, .. } => refused.extend(sent(id).filter(|k| !acked.contains(k))),
            What::Ack { id, .. } => {
                let role = match sent(id) {
                    None => Role::Stray,
                    Some(k) if refused.contains(&k) => Role::OfRefused,
                    Some(k) if acked.contains(&k) => Role::Again,
                    Some(k) => {
                        let newest = acked.last().copied().unwrap_or(0);
                        let waiting = |k: &u64| !acked.contains(k) && !refused.contains(k);
                        let in_order = k > newest && !(newest + 1..k).any(|k| waiting(&k));
                        acked.insert(k);
                        Role::First { k, in_order }
                    }
                };
                session.frames[i].role = role;
            }
            What::AckBy(by) => {
                let mut mine = session.sent.iter().filter(|(_, (sent, _))| *sent < place);
                let oldest = mine.clone().find(|(k, _)| !acked.contains(*k));
                session.frames[i].role = match oldest {
                    _ if !same_address(by, &address(session.life)) => Role::Stray,
                    Some((&k, _)) => {
                        acked.insert(k);
                        Role::First { k, in_order: true }
                    }
                    None if mine.next().is_some() => Role::Again,
                    None => Role::Stray,
                };
            }
            _ => {}
        }
    }
}

impl Session {
    pub(super) fn polite(&self) -> bool {
        self.bye().is_some()
    }

    pub(super) fn bye(&self) -> Option<u64> {
        self.frames.iter().find_map(|f| match f.what {
            What::Bye(n) => Some(n),
            _ => None,
        })
    }

    /// Whether an error came in place of the welcome: the target said why it would not have it.
    pub(super) fn turned_away(&self) -> bool {
        let complained = |f: &Frame| matches!(f.what, What::Error { .. });
        self.frames.iter().any(complained) && self.numbers().is_empty()
    }

    /// Whether one of its errors names this message; if that is its own, one that came after it was
    /// sent.
    pub(super) fn refuses(&self, id: Id) -> bool {
        let sent = match self.sent.get(&id.k) {
            Some((sent, _)) if id.life == self.life => *sent,
            _ => 0,
        };
        let mut frames = self.frames.iter().filter(|f| f.place > sent);
        frames
            .any(|f| matches!(f.what, What::Error { id: named, .. } if named == Some(wire_id(id))))
    }

    /// §6: how many errors nothing it sent accounts for. One may come in place of the welcome, and
    /// one that says that it was too slow; each message has one answer, and an error that names none
    /// may be the answer to one that was sent before it and has no other.
    pub(super) fn stray_errors(&self) -> usize {
        let life = self.life;
        let mine = |named: Option<u64>, place: usize| {
            let mut sent = self.sent.iter().filter(|(_, (sent, _))| *sent < place);
            sent.find_map(|(&k, _)| (named == Some(wire_id(Id { life, k }))).then_some(k))
        };
        let (mut welcomed, mut early, mut too_slow) = (false, 0, false);
        let (mut answered, mut complained) = (BTreeSet::new(), BTreeSet::new());
        let (mut unnamed, mut strays) = (Vec::new(), 0);
        for frame in &self.frames {
            match &frame.what {
                What::Welcome { .. } if !welcomed => {
                    welcomed = true;
                    strays += usize::from(early > 0);
                }
                What::Welcome { .. }
                | What::Relay { .. }
                | What::Wrong { .. }
                | What::Ack { .. }
                | What::Bye(_) => welcomed = true,
                What::Error { id, code } => {
                    let named = mine(*id, frame.place).filter(|k| !complained.contains(k));
                    if let Some(k) = named {
                        complained.insert(k);
                        answered.insert(k);
                    } else if !welcomed && early == 0 {
                        early = 1;
                    } else if code == "slow-consumer" && !too_slow {
                        too_slow = true;
                    } else if id.is_none() && !self.bade_bye_before(frame.place) {
                        unnamed.push(frame.place);
                    } else {
                        strays += 1;
                    }
                }
                _ => {}
            }
            if let Role::First { k, .. } = frame.role {
                answered.insert(k);
            }
        }
        let unanswered = self.sent.iter().filter(|(k, _)| !answered.contains(k));
        let mut unanswered = unanswered.map(|(_, (sent, _))| *sent).peekable();
        for place in unnamed {
            strays += usize::from(unanswered.next_if(|sent| *sent < place).is_none());
        }
        strays
    }

    fn bade_bye_before(&self, place: usize) -> bool {
        let mut before = self.frames.iter().take_while(|f| f.place < place);
        before.any(|f| matches!(f.what, What::Bye(_)))
    }

    /// Its own message that a frame is the ack or the echo of.
    pub(super) fn own(&self, frame: &Frame) -> Option<Id> {
        let life = self.life;
        match (&frame.what, frame.role) {
            (_, Role::First { k, .. }) => Some(Id { life, k }),
            (What::Relay { message, .. }, _) if message.life == life => Some(*message),
            _ => None,
        }
    }

    /// The frames that state a number, each with it, in the order they came. The welcome states
    /// the number before the first, the bye the last.
    pub(super) fn numbers(&self) -> Vec<(usize, u64)> {
        let number = |f: &Frame| match f.what {
            What::Ack { n, .. }
            | What::Relay { n, .. }
            | What::Wrong { n, .. }
            | What::Welcome { n, .. } => Some(n),
            What::Bye(n) => Some(n + 1),
            _ => None,
        };
        let all = self.frames.iter().enumerate();
        all.filter_map(|(i, f)| Some((i, number(f)?))).collect()
    }
}

/// Whose message an ack's id names, whoever got it.
pub(super) fn named(sessions: &[Session], id: Option<u64>) -> Option<Id> {
    let messages = sessions.iter().flat_map(|s| {
        let life = s.life;
        s.sent.keys().map(move |&k| Id { life, k })
    });
    messages.into_iter().find(|&m| Some(wire_id(m)) == id)
}

pub(super) fn same_address(one: &str, other: &str) -> bool {
    let parsed = |text: &str| text.parse::<SocketAddr>().ok();
    one == other || parsed(one).is_some() && parsed(one) == parsed(other)
}

pub(super) fn sent_ns(sessions: &[Session], message: Id) -> u64 {
    let sender = sessions.iter().find(|s| s.life == message.life).unwrap();
    sender.sent[&message.k].1
}

/// Whether the error that names a message went to another.
pub(super) fn is_refused_astray(sessions: &[Session], message: Id) -> bool {
    let mut others = sessions.iter().filter(|s| s.life != message.life);
    others.any(|s| s.refuses(message))
}

/// Whether a message's ack went to another.
pub(super) fn is_astray(sessions: &[Session], message: Id) -> bool {
    let mut frames = sessions.iter().flat_map(|s| &s.frames);
    frames.any(|f| {
        f.role == Role::Stray
            && matches!(f.what, What::Ack { id, .. } if named(sessions, id) == Some(message))
    })
}
