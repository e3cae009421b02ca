//! Observations that other programs made of their own systems: one JSON object per line, told to
//! the same ledger and judge as observations made out of a connection's bytes.
//!
//! The messages are named, not carried, so each stands for a load message made by its sender:
//! everything is checked but the bytes of the texts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;

use serde::Deserialize;

use super::{TraceError, Verified};
use crate::directory::{ClientId, Directory};
use crate::ids::{MAX_K, publish_id};
use crate::judge::Judge;
use crate::ledger::{Ending, Handle, Ledger, Terms};
use crate::promises::Promises;
use chatbench_wire::payload::{self, HEADER_BYTES, Header, SenderId};
use chatbench_wire::rooms::{self, RoomId, RoomNames};
use chatbench_wire::seen::{AckOf, Capabilities, Complaint, Relay, Seen};

/// Addresses are not among the observations: everyone has this one.
const ADDRESS: &str = "0.0.0.0:0";

/// The longest line that is read.
const MAX_LINE_BYTES: u64 = 1 << 20;

const NS_PER_DAY: u64 = 86_400_000_000_000;

/// The capabilities of an observed system.
const CAPABILITIES: Capabilities = Capabilities {
    numbers: true,
    welcome: true,
    bye: true,
    errors: true,
    claims: false,
    joins_in_order: false,
    rooms: true,
    senders: true,
    joined: true,
    left: true,
    at_once: true,
};

/// The code of the error that says that its receiver is too slow.
const TOO_SLOW: &str = "slow-consumer";

const RUN: u32 = 1;
const SEED: u64 = 1;

fn terms(promises: Promises) -> Terms {
    Terms {
        run: RUN,
        seed: SEED,
        late_after_ns: None,
        addresses_known: false,
        promises,
        capabilities: CAPABILITIES,
    }
}

/// One observation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Observation {
    at_ns: u64,
    session: String,
    event: What,
    room: Option<String>,
    seq: Option<u64>,
    k: Option<u64>,
    from: Option<String>,
    code: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Opened,
    Welcome,
    Join,
    Joined,
    Leave,
    Left,
    Sent,
    Acked,
    Relayed,
    Error,
    Leaving,
    Bye,
    Aborted,
    Closed,
}

impl What {
    /// The keys that it has beside `at_ns`, `session` and `event`: `seq`, `k`, `from`, `code`.
    /// `seq` may be left out, if it is left out everywhere.
    const fn keys(self) -> [bool; 4] {
        match self {
            Self::Opened | Self::Leaving | Self::Aborted | Self::Closed => [false; 4],
            Self::Join | Self::Leave => [false; 4],
            Self::Welcome | Self::Bye | Self::Joined | Self::Left => [true, false, false, false],
            Self::Sent => [false, true, false, false],
            Self::Acked => [true, true, false, false],
            Self::Relayed => [true, true, true, false],
            Self::Error => [false, true, false, true],
        }
    }
}

/// Whether an event is of a room that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InRoom {
    Always,
    /// Without a name it is in the room that every session is in.
    Maybe,
    Never,
}

impl What {
    const fn in_room(self) -> InRoom {
        match self {
            Self::Join | Self::Joined | Self::Leave | Self::Left => InRoom::Always,
            Self::Sent | Self::Acked | Self::Relayed | Self::Error => InRoom::Maybe,
            Self::Opened
            | Self::Welcome
            | Self::Leaving
            | Self::Bye
            | Self::Aborted
            | Self::Closed => InRoom::Never,
        }
    }
}

/// Verifies observations, one JSON object a line, in the order of their times: against
/// `promises`, or else against the numbers in them, or where there are none by inferred order.
///
/// # Errors
/// [`TraceError::Line`] for a line that is no observation, or tells what cannot be.
pub fn verify(
    mut source: impl BufRead,
    promises: Option<Promises>,
) -> Result<Verified, TraceError> {
    let mut observations = Vec::new();
    let mut names = Vec::new();
    let (mut text, mut line) = (Vec::new(), 0);
    loop {
        text.clear();
        let wanted = MAX_LINE_BYTES + 1;
        std::io::Read::take(&mut source, wanted).read_until(b'\n', &mut text)?;
        if text.is_empty() {
            break;
        }
        line += 1;
        if text.trim_ascii().is_empty() {
            continue;
        }
        let observation = parse(&text).map_err(|what| TraceError::Line { line, what })?;
        if observation.event == What::Opened {
            names.push(observation.session.clone());
        }
        observations.push((line, observation));
    }
    let numbered = are_numbered(&observations)?;
    let promises = promises.unwrap_or(Promises {
        use_seq: numbered,
        ..Promises::default()
    });
    let rooms = observations.iter().filter_map(|(_, o)| o.room.as_deref());
    let rooms = RoomNames::new(rooms);
    let mut teller = Teller::new(names, rooms, promises);
    for (line, observation) in observations {
        let told = teller.tell(&observation);
        told.map_err(|what| TraceError::Line { line, what })?;
    }
    Ok(teller.finish())
}

/// Whether the system's observations have numbers; some with and some without make no sense.
fn are_numbered(observations: &[(u64, Observation)]) -> Result<bool, TraceError> {
    let may_have = observations.iter().filter(|(_, o)| o.event.keys()[0]);
    let (with, without): (Vec<_>, Vec<_>) = may_have.partition(|(_, o)| o.seq.is_some());
    match without.first() {
        Some(&&(line, _)) if !with.is_empty() => Err(TraceError::Line {
            line,
            what: "missing `seq`, which other lines have: it belongs to all or to none".to_owned(),
        }),
        _ => Ok(without.is_empty()),
    }
}

fn parse(text: &[u8]) -> Result<Observation, String> {
    if text.len() as u64 > MAX_LINE_BYTES {
        return Err(format!("longer than {MAX_LINE_BYTES} bytes"));
    }
    let observation: Observation = serde_json::from_slice(text).map_err(|error| {
        let error = error.to_string();
        // serde counts lines within this one.
        error
            .split(" at line")
            .next()
            .unwrap_or_default()
            .to_owned()
    })?;
    let Observation {
        event,
        seq,
        k,
        from,
        code,
        room,
        ..
    } = &observation;
    match (event.in_room(), room) {
        (InRoom::Always, None) => return Err("missing `room`".to_owned()),
        (InRoom::Never, Some(_)) => return Err("`room` does not belong to this event".to_owned()),
        (_, Some(name)) => rooms::check_name(name).map_err(|bad| format!("`room`: {bad}"))?,
        (_, None) => {}
    }
    let present = [seq.is_some(), k.is_some(), from.is_some(), code.is_some()];
    let keys = ["seq", "k", "from", "code"];
    for ((key, wanted), present) in keys.iter().zip(event.keys()).zip(present) {
        // An error in a room may be about a join or a leave, which have no `k`.
        let is_optional = *key == "seq" || *key == "k" && *event == What::Error && room.is_some();
        if wanted && !present && !is_optional {
            return Err(format!("missing `{key}`"));
        }
        if present && !wanted {
            return Err(format!("`{key}` does not belong to this event"));
        }
    }
    if k.is_some_and(|k| k == 0 || k > MAX_K) {
        return Err(format!("`k` counts from 1 to {MAX_K}"));
    }
    Ok(observation)
}

/// A session while it is open.
struct Open {
    handle: Handle,
    id: SenderId,
}

/// The state of telling the observations to the ledger.
struct Teller {
    ledger: Ledger,
    judge: Judge,
    /// The `at_ns` of the first line: the times of the findings count from it. The clock's own
    /// origin may lie anywhere before it (1970, the machine's start).
    epoch_ns: Option<u64>,
    /// The time of the latest line, since the first.
    now_ns: u64,
    opened: u32,
    /// Every session there ever was; `None` once it is over.
    sessions: HashMap<String, Option<Open>>,
    /// The messages that each sent in each room, in order.
    sent: HashMap<(String, RoomId), Vec<Header>>,
    rooms: Arc<RoomNames>,
}

impl Teller {
    fn new(names: Vec<String>, rooms: RoomNames, promises: Promises) -> Self {
        let rooms = Arc::new(rooms);
        let directory = Arc::new(Directory::new(names).with_rooms(rooms.clone()));
        Self {
            ledger: Ledger::new(terms(promises), directory.clone()),
            judge: Judge::new(directory, 1, None),
            epoch_ns: None,
            now_ns: 0,
            opened: 0,
            sessions: HashMap::new(),
            sent: HashMap::new(),
            rooms,
        }
    }

    fn tell(&mut self, observation: &Observation) -> Result<(), String> {
        let Observation {
            at_ns,
            session,
            event,
            ..
        } = observation;
        let epoch_ns = *self.epoch_ns.get_or_insert(*at_ns);
        let now_ns = match at_ns.checked_sub(epoch_ns) {
            Some(now_ns) if now_ns >= self.now_ns => now_ns,
            _ => {
                let before = epoch_ns + self.now_ns;
                return Err(format!(
                    "out of order: `at_ns` is {at_ns}, and the line before has {before}"
                ));
            }
        };
        if now_ns > payload::MAX_TIME_NS {
            return Err(format!(
                "`at_ns` is {at_ns}, {} days after the first line's {epoch_ns}: observations may \
                 span {} days at most",
                now_ns / NS_PER_DAY,
                payload::MAX_TIME_NS / NS_PER_DAY
            ));
        }
        self.now_ns = now_ns;
        if *event == What::Opened {
            return self.open(session);
        }
        let named = observation.room.as_deref();
        let room = named.map_or(RoomId::UNNAMED, |name| self.rooms.id(name));
        let Open { handle, .. } = match self.sessions.get(session) {
            Some(Some(open)) => Open { ..*open },
            Some(None) => return Err(format!("session `{session}` is over")),
            None => return Err(format!("session `{session}` was never opened")),
        };
        let seq = observation.seq.unwrap_or_default();
        let k = observation.k.unwrap_or_default();
        let text;
        let seen = match event {
            What::Opened => None,
            What::Join => {
                if !self.ledger.joining(handle, room) {
                    return Err("too many sessions".to_owned());
                }
                None
            }
            What::Joined => Some(Seen::Open { seq, me: "".into() }),
            What::Leave => {
                self.ledger.leaving_room(handle, room, now_ns);
                None
            }
            What::Left => Some(Seen::Bye { seq }),
            What::Welcome => Some(Seen::Open {
                seq,
                me: ADDRESS.into(),
            }),
            What::Sent => {
                let sent = self.sent.entry((session.clone(), room)).or_default();
                let due = sent.len() as u64 + 1;
                if k != due {
                    return Err(format!("`k` is {k}, where this session's next is {due}"));
                }
                let header = self.ledger.sending_in(handle, room, now_ns, now_ns, false);
                if header.is_none() && room.is_named() {
                    return Err(format!("session `{session}` has not joined that room"));
                }
                sent.extend(header);
                None
            }
            What::Acked => Some(Seen::Ack {
                of: AckOf::Id(self.id_of(session, handle, room, k)),
                seq,
            }),
            What::Relayed => {
                text = self.text_of(observation.from.as_deref().unwrap_or_default(), room, k);
                Some(Seen::Relay(Relay {
                    frame: &text,
                    text: Cow::Borrowed(&text),
                    from: ADDRESS.into(),
                    seq,
                }))
            }
            What::Error => Some(Seen::Error(Complaint {
                code: observation.code.as_deref().unwrap_or_default().into(),
                detail: "".into(),
                of: (k > 0).then(|| self.id_of(session, handle, room, k)),
                cuts_off: observation.code.as_deref() == Some(TOO_SLOW),
            })),
            What::Leaving => {
                self.ledger.leaving(handle, self.now_ns);
                None
            }
            What::Bye => Some(Seen::Bye { seq }),
            What::Aborted => {
                self.ledger.letting_go(handle);
                self.end(session, handle, Ending::Ours);
                None
            }
            What::Closed => {
                self.end(session, handle, Ending::Eof);
                None
            }
        };
        if let Some(seen) = seen {
            self.ledger.saw_in(handle, room, &seen, self.now_ns);
            self.ledger.read_done(1, false);
        }
        if self.ledger.wants_flush() {
            self.judge.absorb(0, self.ledger.take_batch(), |_| ());
        }
        Ok(())
    }

    fn open(&mut self, session: &str) -> Result<(), String> {
        if self.sessions.contains_key(session) {
            return Err(format!(
                "session `{session}` was opened before: give each connection a name of its own"
            ));
        }
        let client = ClientId(self.opened);
        let handle = self.ledger.connecting(client).ok_or("too many sessions")?;
        let address = ADDRESS.parse().map_err(|_| "no address")?;
        self.ledger.connected(handle, address);
        let id = SenderId(self.opened);
        self.opened += 1;
        self.sessions
            .insert(session.to_owned(), Some(Open { handle, id }));
        Ok(())
    }

    /// The id of message `k` of a session in a room; an arbitrary one of its own if it never sent
    /// that.
    fn id_of(&self, session: &str, handle: Handle, room: RoomId, k: u64) -> u64 {
        let sent = self.sent.get(&(session.to_owned(), room));
        match sent.and_then(|sent| sent.get(k as usize - 1)) {
            Some(header) => publish_id(header.sender, header.k),
            None => publish_id(self.ledger.sender(handle, room), k),
        }
    }

    /// The text that message `k` of `from` stands for; an arbitrary one if nobody sent that
    /// message.
    fn text_of(&self, from: &str, room: RoomId, k: u64) -> Vec<u8> {
        // Whoever says that it came in a room cannot say where it was published: if its sender sent
        // no such message there, it is one that it sent elsewhere.
        let of = |room| self.sent.get(&(from.to_owned(), room));
        let sent = |room| of(room).and_then(|sent| sent.get(k as usize - 1));
        let rooms = self.rooms.iter().map(|(room, _)| room);
        let elsewhere = || rooms.chain([RoomId::UNNAMED]).find_map(sent);
        let sent = sent(room).or_else(elsewhere);
        let Some(header) = sent else {
            return format!("message {k} of {from}").into_bytes();
        };
        let mut text = Vec::with_capacity(HEADER_BYTES);
        payload::encode(&mut text, SEED, header, HEADER_BYTES);
        text
    }

    fn end(&mut self, session: &str, handle: Handle, ending: Ending) {
        self.ledger.ended(handle, ending, &[], self.now_ns);
        self.sessions.insert(session.to_owned(), None);
    }

    fn finish(mut self) -> Verified {
        // In the order in which they were opened, so that the same file always gives the same
        // findings.
        let open = self.sessions.values().flatten();
        let mut open: Vec<(u32, Handle)> = open.map(|o| (o.id.0, o.handle)).collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        for (_, handle) in open {
            self.ledger.ended(handle, Ending::TimeUp, &[], self.now_ns);
        }
        self.judge.absorb(0, self.ledger.take_batch(), |_| ());
        let findings = self.judge.finish(false, |_| ());
        let nothing = findings.counts.delivered + findings.counts.acked == 0;
        let nothing = nothing && findings.violation_count() == 0;
        Verified {
            title: format!("observations of {} sessions", self.opened),
            doubts: nothing
                .then(|| "not one delivery and not one ack: nothing was verified".to_owned())
                .into_iter()
                .collect(),
            findings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    /// The example of the documentation.
    fn example() -> Vec<&'static str> {
        let documentation = include_str!("../../../../docs/TRACE.md");
        let (_, example) = documentation.split_once("```jsonl\n").unwrap();
        example.split_once("```").unwrap().0.lines().collect()
    }

    fn verified(lines: &[&str]) -> Verified {
        verify(lines.join("\n").as_bytes(), None).unwrap()
    }

    /// The example without its numbers.
    fn without_numbers() -> Vec<String> {
        let lines = example();
        let without = lines.iter().map(|line| {
            let mut object: serde_json::Map<_, _> = serde_json::from_str(line).unwrap();
            object.remove("seq");
            serde_json::to_string(&object).unwrap()
        });
        without.collect()
    }

    fn kinds(lines: &[&str]) -> Vec<Kind> {
        verified(lines).findings.violations.into_keys().collect()
    }

    #[test]
    fn the_documented_example_passes() {
        let Verified {
            findings, doubts, ..
        } = verified(&example());
        assert_eq!(findings.violation_count(), 0, "{:#?}", findings.violations);
        assert_eq!((findings.undecided.len(), doubts.len()), (0, 0));
        assert_eq!((findings.counts.sent, findings.counts.delivered), (2, 2));
    }

    /// Nanoseconds of any clock: those since 1970 and those since the machine's start give the same
    /// findings.
    #[test]
    fn the_clock_may_have_begun_at_any_time() {
        let numbered = example().into_iter().map(str::to_owned).collect();
        let since_1970_ns = 1_795_000_000_000_000_000;
        for lines in [numbered, without_numbers()] {
            let mut objects: Vec<serde_json::Value> = lines
                .iter()
                .filter(|line| !(line.contains("acked") && line.contains("ann")))
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            let found = |objects: &[serde_json::Value]| {
                let lines: Vec<String> = objects.iter().map(ToString::to_string).collect();
                verify(lines.join("\n").as_bytes(), None).unwrap().findings
            };
            let expected = found(&objects);
            assert_eq!(expected.violations[&Kind::MissingAck].count, 1);
            let last_ns = objects.last().unwrap()["at_ns"].as_u64().unwrap();
            for step_ns in [
                1 << 54,
                since_1970_ns,
                u64::MAX - since_1970_ns - (1 << 54) - last_ns,
            ] {
                for object in &mut objects {
                    object["at_ns"] = (object["at_ns"].as_u64().unwrap() + step_ns).into();
                }
                assert_eq!(found(&objects), expected, "{}", objects[0]);
            }
        }
    }

    /// A load message has room for 208 days; a longer span is refused, not cut.
    #[test]
    fn observations_over_more_time_than_a_message_can_state_are_refused() {
        let opened = r#"{"at_ns":7,"session":"a","event":"opened"}"#;
        let closed = |at_ns: u64| format!(r#"{{"at_ns":{at_ns},"session":"a","event":"aborted"}}"#);
        let longest_ns = 7 + payload::MAX_TIME_NS;
        verified(&[opened, &closed(longest_ns)]);
        for at_ns in [longest_ns + 1, u64::MAX] {
            let lines = format!("{opened}\n{}", closed(at_ns));
            let error = verify(lines.as_bytes(), None).unwrap_err().to_string();
            assert!(error.starts_with("line 2: `at_ns` is "), "{error}");
            assert!(error.contains("span 208 days at most"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_observed_system_is_named() {
        let lines = example();
        let relay = lines.iter().position(|l| l.contains("relayed")).unwrap();
        let ack = lines.iter().position(|l| l.contains("acked")).unwrap();
        let mut lost = lines.clone();
        lost.remove(relay);
        assert_eq!(kinds(&lost), [Kind::AckWithoutRelay]);
        let mut twice = lines.clone();
        twice.insert(relay, lines[relay]);
        assert_eq!(kinds(&twice), [Kind::DuplicateRelay]);
        let mut unacked = lines.clone();
        unacked.remove(ack);
        assert_eq!(kinds(&unacked), [Kind::MissingAck]);
        let phantom = lines[relay].replace(r#""k":1"#, r#""k":9"#);
        let mut invented = lines.clone();
        invented[relay] = &phantom;
        assert!(kinds(&invented).contains(&Kind::PhantomRelay));
    }

    #[test]
    fn without_numbers_it_is_judged_by_inferred_order() {
        let lines = without_numbers();
        let relay = lines.iter().position(|l| l.contains("relayed")).unwrap();
        let judged = |lines: &[String], promises| {
            let verified = verify(lines.join("\n").as_bytes(), promises).unwrap();
            assert_eq!(verified.findings.undecided, [""; 0]);
            let kinds: Vec<Kind> = verified.findings.violations.into_keys().collect();
            (kinds, verified.findings.counts.delivered)
        };
        assert_eq!(judged(&lines, None), (vec![], 2));
        let mut twice = lines.clone();
        twice.insert(relay, lines[relay].clone());
        assert_eq!(judged(&twice, None), (vec![Kind::DuplicateRelay], 2));
        let at_least_once = Promises {
            relay: crate::promises::RelayPromise::AtLeastOnce,
            use_seq: false,
            ..Promises::default()
        };
        assert_eq!(judged(&twice, Some(at_least_once)), (vec![], 2));
        let mut lost = lines;
        lost.remove(relay);
        assert_eq!(judged(&lost, None), (vec![Kind::AckWithoutRelay], 1));
    }

    #[test]
    fn a_senders_own_message_may_be_the_ack_of_it() {
        let echo = Promises {
            ack: crate::promises::AckPromise::Echo,
            echo: true,
            use_seq: false,
            ..Promises::default()
        };
        let judged = |lines: &[String]| {
            let verified = verify(lines.join("\n").as_bytes(), Some(echo)).unwrap();
            let counts = verified.findings.counts;
            let kinds: Vec<Kind> = verified.findings.violations.into_keys().collect();
            (kinds, counts.delivered, counts.acked)
        };
        let lines: Vec<String> = without_numbers()
            .into_iter()
            .map(|line| {
                let sender = if line.contains("ann") { "ann" } else { "bob" };
                let echoed = format!(r#""event":"relayed","from":"{sender}""#);
                line.replace(r#""event":"acked""#, &echoed)
            })
            .collect();
        assert_eq!(judged(&lines), (vec![], 2, 2));
        let is_echo = |line: &String| line.contains("relayed") && line.matches("ann").count() == 2;
        let echo = lines.iter().position(is_echo).unwrap();
        let mut twice = lines.clone();
        twice.insert(echo, lines[echo].clone());
        assert_eq!(judged(&twice), (vec![Kind::DuplicateRelay], 2, 2));
        let mut missing = lines.clone();
        missing.remove(echo);
        assert_eq!(judged(&missing), (vec![Kind::MissingAck], 2, 1));
        let mut to_nobody = lines;
        to_nobody
            .retain(|line| !(line.contains("relayed") && line.starts_with(r#"{"at_ns":1500"#)));
        assert_eq!(judged(&to_nobody), (vec![Kind::AckWithoutRelay], 1, 2));
        let by_frames = without_numbers();
        assert!(judged(&by_frames).0.contains(&Kind::StrayAck));
    }

    /// Ann and Bob in the lobby, Cat outside; with the numbers of the lines or without.
    fn in_a_room(numbers: bool, more: &[&str]) -> Verified {
        let begun = ["ann", "bob", "cat"].map(|name| {
            format!(
                r#"{{"at_ns":1,"session":"{name}","event":"opened"}}
{{"at_ns":1,"session":"{name}","event":"welcome","seq":0}}"#
            )
        });
        let joins = ["ann", "bob"].map(|name| {
            format!(
                r#"{{"at_ns":3,"session":"{name}","event":"join","room":"a b"}}
{{"at_ns":3,"session":"{name}","event":"joined","room":"a b","seq":0}}"#
            )
        });
        let said = [
            r#"{"at_ns":5,"session":"ann","event":"sent","room":"a b","k":1}"#,
            r#"{"at_ns":6,"session":"ann","event":"acked","room":"a b","seq":1,"k":1}"#,
            r#"{"at_ns":6,"session":"bob","event":"relayed","room":"a b","seq":1,"from":"ann","k":1}"#,
        ];
        let ends = ["ann", "bob", "cat"].map(|name| {
            let left = r#""event":"left","room":"a b","seq":1"#;
            let left = format!("\n{{\"at_ns\":9,\"session\":\"{name}\",{left}}}");
            let left = if name == "cat" { "" } else { &left };
            format!(
                r#"{{"at_ns":9,"session":"{name}","event":"leaving"}}{left}
{{"at_ns":9,"session":"{name}","event":"bye","seq":0}}"#
            )
        });
        let lines = begun.iter().chain(&joins).map(String::as_str);
        let lines = lines.chain(said).chain(more.iter().copied());
        let lines: Vec<&str> = lines.chain(ends.iter().map(String::as_str)).collect();
        let mut text = lines.join("\n");
        if !numbers {
            for seq in [r#","seq":0"#, r#","seq":1"#] {
                text = text.replace(seq, "");
            }
        }
        verify(text.as_bytes(), None).unwrap()
    }

    #[test]
    fn rooms_of_an_observed_system_are_judged_room_by_room() {
        let leaked = r#"{"at_ns":7,"session":"cat","event":"relayed","room":"a b","seq":1,"from":"ann","k":1}"#;
        let mislabelled =
            r#"{"at_ns":7,"session":"cat","event":"relayed","seq":1,"from":"ann","k":1}"#;
        for numbers in [true, false] {
            let fine = in_a_room(numbers, &[]).findings;
            assert_eq!(fine.violation_count(), 0, "{:#?}", fine.violations);
            assert_eq!(fine.undecided, [""; 0]);
            assert_eq!((fine.rooms.len(), fine.rooms[0].counts.delivered), (1, 1));
            for (line, text) in [
                (leaked, r#"in room "a b", which it is not in"#),
                (
                    mislabelled,
                    r#"in the unnamed room, and it was published in room "a b""#,
                ),
            ] {
                let found = in_a_room(numbers, &[line]).findings;
                let wrong = &found.violations[&Kind::WrongRoom];
                assert_eq!((found.violation_count(), wrong.count), (1, 1));
                assert!(
                    wrong.examples[0].text.ends_with(text),
                    "{}",
                    wrong.examples[0].text
                );
            }
        }
    }

    #[test]
    fn a_room_belongs_to_some_events_and_has_a_name() {
        let opened = r#"{"at_ns":1,"session":"a","event":"opened"}"#;
        let table = [
            (r#""event":"join""#, "missing `room`"),
            (r#""event":"leaving","room":"x""#, "`room` does not belong"),
            (r#""event":"join","room":"""#, "1 or more characters"),
            (
                r#""event":"sent","room":"x","k":1"#,
                "has not joined that room",
            ),
        ];
        for (event, what) in table {
            let lines = format!("{opened}\n{{\"at_ns\":2,\"session\":\"a\",{event}}}\n");
            let error = verify(lines.as_bytes(), None).unwrap_err().to_string();
            assert!(
                error.starts_with("line 2: ") && error.contains(what),
                "{error}"
            );
        }
    }

    #[test]
    fn numbers_belong_to_all_lines_or_to_none() {
        let mut lines = without_numbers();
        lines[1] = example()[1].to_owned();
        let error = verify(lines.join("\n").as_bytes(), None).unwrap_err();
        assert!(
            error.to_string().starts_with("line 4: missing `seq`"),
            "{error}"
        );
    }

    #[test]
    fn observations_that_stop_in_the_middle_decide_nothing() {
        let lines = example();
        let found = verified(&lines[..lines.len() - 3]).findings;
        assert_eq!(found.violation_count(), 0);
        assert!(!found.undecided.is_empty());
        assert_eq!(verified(&lines[..1]).doubts.len(), 1);
    }

    /// The findings do not depend on the order in which a map holds the sessions that are open at
    /// the end.
    #[test]
    fn the_same_observations_come_to_the_same() {
        let mut lines = Vec::new();
        for event in ["opened", "welcome", "leaving", "relayed"] {
            for session in 0..8 {
                let keys = match event {
                    "welcome" => r#","seq":0"#.to_owned(),
                    "relayed" => format!(r#","seq":1,"from":"x{session}","k":1"#),
                    _ => String::new(),
                };
                lines.push(format!(
                    r#"{{"at_ns":1,"session":"s{session}","event":"{event}"{keys}}}"#
                ));
            }
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let first = verified(&lines).findings;
        assert!(first.violation_count() > 1, "{first:#?}");
        for _ in 0..8 {
            assert_eq!(verified(&lines).findings, first);
        }
    }

    /// Sessions are named as in the observations.
    #[test]
    fn a_session_is_over_when_it_is_closed() {
        let lines = [
            r#"{"at_ns":5,"session":"ann","event":"opened"}"#,
            r#"{"at_ns":6,"session":"bob","event":"opened"}"#,
            r#"{"at_ns":7,"session":"bob","event":"closed"}"#,
            r#"{"at_ns":7,"session":"ann","event":"welcome","seq":0}"#,
            r#"{"at_ns":8,"session":"ann","event":"closed"}"#,
            r#"{"at_ns":9,"session":"ann","event":"leaving"}"#,
        ];
        let findings = verified(&lines[..5]).findings;
        assert_eq!(findings.undecided, [""; 0]);
        let closed = &findings.violations[&Kind::UnexpectedClose];
        let names: Vec<_> = closed.examples.iter().map(|e| e.receiver.clone()).collect();
        assert_eq!(names, ["bob", "ann"].map(|name| Some(name.to_owned())));
        let error = verify(lines.join("\n").as_bytes(), None).unwrap_err();
        assert_eq!(error.to_string(), "line 6: session `ann` is over");
    }

    /// Deliveries without acks are something, and so are acks without deliveries.
    #[test]
    fn one_delivery_or_one_ack_is_something_to_verify() {
        let begins = [
            r#"{"at_ns":1,"session":"a","event":"opened"}"#,
            r#"{"at_ns":1,"session":"b","event":"opened"}"#,
            r#"{"at_ns":2,"session":"a","event":"welcome","seq":0}"#,
            r#"{"at_ns":2,"session":"b","event":"welcome","seq":0}"#,
            r#"{"at_ns":3,"session":"a","event":"sent","k":1}"#,
        ];
        let relayed = r#"{"at_ns":4,"session":"b","event":"relayed","seq":1,"from":"a","k":1}"#;
        let acked = r#"{"at_ns":4,"session":"a","event":"acked","seq":1,"k":1}"#;
        for (more, doubts) in [(&[][..], 1), (&[relayed], 0), (&[acked], 0)] {
            let lines: Vec<&str> = begins.iter().chain(more).copied().collect();
            assert_eq!(verified(&lines).doubts.len(), doubts, "{more:?}");
        }
    }

    #[test]
    fn a_line_that_is_no_observation_is_named() {
        let opened = r#"{"at_ns":5,"session":"a","event":"opened"}"#;
        let table = [
            ("{", "EOF while parsing"),
            (
                r#"{"at_ns":6,"session":"a","event":"came"}"#,
                "unknown variant `came`",
            ),
            (
                r#"{"at_ns":6,"session":"a","event":"acked"}"#,
                "missing `k`",
            ),
            (
                r#"{"session":"a","event":"leaving"}"#,
                "missing field `at_ns`",
            ),
            (
                r#"{"at_ns":6,"session":"a","event":"leaving","colour":1}"#,
                "unknown field `colour`",
            ),
            (
                r#"{"at_ns":6,"session":"a","event":"leaving","seq":1}"#,
                "`seq` does not belong",
            ),
            (
                r#"{"at_ns":4,"session":"a","event":"leaving"}"#,
                "out of order",
            ),
            (
                r#"{"at_ns":6,"session":"b","event":"leaving"}"#,
                "never opened",
            ),
            (opened, "was opened before"),
            (
                r#"{"at_ns":6,"session":"a","event":"sent","k":2}"#,
                "next is 1",
            ),
            (
                r#"{"at_ns":6,"session":"a","event":"sent","k":0}"#,
                "counts from 1",
            ),
        ];
        for (line, what) in table {
            let error = verify(format!("{opened}\n\n{line}\n").as_bytes(), None).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("line 3: "), "{error}");
            assert!(error.contains(what), "{line}: {error}");
        }
    }
}
