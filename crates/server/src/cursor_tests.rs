//! Each session receives exactly what rules S2 and S3 say, whatever is written when.
//!
//! The model knows nothing of offsets, chunks or splices: it appends to a `Vec` a session, the
//! way the protocol's one sentence reads. Some sessions get something else now and then, as a
//! faulty server sees to.

use proptest::prelude::*;

use super::*;
use crate::log::Refused;
use chatbench_wire::ndjson;

#[derive(Debug, Clone, Copy)]
enum Wrong {
    Nothing,
    AnotherLine,
    ALineBefore,
}

#[derive(Debug, Clone)]
enum Step {
    Join,
    Publish {
        who: usize,
        text_bytes: usize,
        id: Option<u64>,
        /// Who gets something else than the message, and what: a fault.
        wrong: Option<(usize, Wrong)>,
    },
    Error {
        who: usize,
    },
    Leave {
        who: usize,
    },
    Write {
        who: usize,
        at_most_bytes: usize,
    },
    Trim,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0_usize..6;
    let what = prop_oneof![
        Just(Wrong::Nothing),
        Just(Wrong::AnotherLine),
        Just(Wrong::ALineBefore)
    ];
    let wrong = proptest::option::weighted(0.3, (who.clone(), what));
    prop_oneof![
        2 => Just(Step::Join),
        8 => (who.clone(), 0_usize..40, proptest::option::of(0..=ndjson::MAX_ID), wrong)
            .prop_map(|(who, text_bytes, id, wrong)| Step::Publish { who, text_bytes, id, wrong }),
        2 => who.clone().prop_map(|who| Step::Error { who }),
        1 => who.clone().prop_map(|who| Step::Leave { who }),
        8 => (who, prop_oneof![0_usize..4, 0_usize..300])
            .prop_map(|(who, at_most_bytes)| Step::Write { who, at_most_bytes }),
        2 => Just(Step::Trim),
    ]
}

/// A session beside what it must receive and what it did.
struct Modelled {
    cursor: Cursor,
    name: String,
    expected: Vec<u8>,
    received: Vec<u8>,
    /// What it had got when it fell off, and the rest of the line that this ended in.
    fell_off_with: Option<Vec<u8>>,
}

struct World {
    log: Log,
    sessions: Vec<Modelled>,
    gather: Gather,
    seq: u64,
}

impl Modelled {
    /// What it received, and the rest of the line that this ends in.
    fn whole_lines_received(&self) -> Vec<u8> {
        let received_bytes = self.received.len();
        let mut whole_bytes = received_bytes;
        while whole_bytes > 0 && self.expected[whole_bytes - 1] != b'\n' {
            whole_bytes += 1;
        }
        self.expected[..whole_bytes].to_vec()
    }
}

const FELL_OFF: &[u8] = b"{\"fell\":\"off\"}\n";

impl World {
    fn new(chunk_bytes: usize, backlog_bytes: usize) -> Self {
        Self {
            log: Log::with_chunks_of(chunk_bytes, 200, backlog_bytes),
            sessions: Vec::new(),
            gather: Gather::default(),
            seq: 0,
        }
    }

    /// One whose lines are long enough to fill a write.
    fn of_long_lines() -> Self {
        Self {
            log: Log::new(100_000, 1 << 24),
            ..Self::new(1, 1 << 10)
        }
    }

    fn join(&mut self) {
        let name = format!("client:{}", self.sessions.len());
        let mut welcome = Vec::new();
        ndjson::encode_welcome(&mut welcome, &name, self.seq, 200);
        self.sessions.push(Modelled {
            cursor: Cursor::join(&self.log, welcome.clone()),
            name,
            expected: welcome,
            received: Vec::new(),
            fell_off_with: None,
        });
    }

    /// The session `who` stands for, unless there is none or it is leaving.
    fn present(&self, who: usize) -> Option<usize> {
        (who < self.sessions.len() && !self.sessions[who].cursor.is_leaving()).then_some(who)
    }

    fn publish(&mut self, who: usize, text: &str, id: Option<u64>, wrong: Option<(usize, Wrong)>) {
        let name = self.sessions[who].name.clone();
        let entry = loop {
            match self.log.append(&name, text) {
                Ok(entry) => break entry,
                Err(Refused::Backlogged { keep_from }) => self.drop_behind(keep_from),
                Err(refused) => panic!("{refused:?}"),
            }
        };
        self.seq += 1;
        assert_eq!(entry.seq, self.seq);
        for (i, session) in self.sessions.iter_mut().enumerate() {
            if session.cursor.is_leaving() {
                continue;
            }
            let wrong = wrong.filter(|(victim, _)| *victim == i && i != who);
            match wrong.map(|(_, wrong)| wrong) {
                _ if i == who => {
                    session.cursor.ack(entry, id);
                    ndjson::encode_ack(&mut session.expected, self.seq, id);
                    continue;
                }
                Some(Wrong::Nothing) => {
                    session.cursor.replace(entry, Vec::new());
                    continue;
                }
                Some(Wrong::AnotherLine) => {
                    session.cursor.replace(entry, b"wrong\n".to_vec());
                    session.expected.extend_from_slice(b"wrong\n");
                    continue;
                }
                Some(Wrong::ALineBefore) => {
                    session.cursor.insert_before(entry, b"before\n".to_vec());
                    session.expected.extend_from_slice(b"before\n");
                }
                None => {}
            }
            ndjson::encode_relay(&mut session.expected, self.seq, &name, text);
        }
    }

    fn error(&mut self, who: usize, text: &str) {
        let line = format!("{text}\n").into_bytes();
        let session = &mut self.sessions[who];
        session.expected.extend_from_slice(&line);
        session.cursor.reply(&self.log, line);
    }

    fn drop_behind(&mut self, keep_from: u64) {
        for session in &mut self.sessions {
            if session
                .cursor
                .needs()
                .is_some_and(|needs| needs < keep_from)
            {
                session.cursor.fall_off(&self.log, FELL_OFF);
                session.fell_off_with = Some(session.whole_lines_received());
            }
        }
        self.trim();
    }

    fn trim(&mut self) {
        let needs = self.sessions.iter().filter_map(|s| s.cursor.needs());
        self.log.trim_to(needs.min().unwrap_or(self.log.end()));
    }

    /// A socket that takes `at_most_bytes`. Returns what was gathered.
    fn write(&mut self, who: usize, at_most_bytes: usize) -> usize {
        let session = &mut self.sessions[who];
        session.cursor.gather(&self.log, &mut self.gather);
        let (slices, count) = self.gather.slices(&self.log);
        let bytes = slices[..count].concat_bytes();
        assert_eq!(bytes.len(), self.gather.total_bytes());
        assert_eq!(bytes.is_empty(), !session.cursor.is_behind(&self.log));
        let sent_bytes = bytes.len().min(at_most_bytes);
        session.received.extend_from_slice(&bytes[..sent_bytes]);
        if sent_bytes > 0 && sent_bytes == bytes.len() {
            session.cursor.advance_all(&self.log, &self.gather);
        } else {
            session.cursor.advance(&self.log, sent_bytes);
        }
        let cursor = &session.cursor;
        let lines = cursor.splices.iter().map(|s| &s.reply);
        let lines = lines
            .filter(|reply| matches!(reply, Reply::Line(_)))
            .count();
        assert_eq!(cursor.lines_queued() as usize, lines);
        bytes.len()
    }

    fn carry_out(&mut self, step: &Step) {
        match *step {
            Step::Join if self.sessions.len() < 6 => self.join(),
            Step::Join => {}
            Step::Publish {
                who,
                text_bytes,
                id,
                wrong,
            } => {
                if let Some(who) = self.present(who) {
                    self.publish(who, &"x".repeat(text_bytes), id, wrong);
                }
            }
            Step::Error { who } => {
                if let Some(who) = self.present(who) {
                    self.error(who, &format!("{{\"error\":{who}}}"));
                }
            }
            Step::Leave { who } => {
                if let Some(who) = self.present(who) {
                    let session = &mut self.sessions[who];
                    let mut bye = Vec::new();
                    ndjson::encode_bye(&mut bye, self.seq);
                    session.expected.extend_from_slice(&bye);
                    session.cursor.reply(&self.log, bye);
                    session.cursor.leave(&self.log);
                }
            }
            Step::Write { who, at_most_bytes } => {
                if who < self.sessions.len() {
                    self.write(who, at_most_bytes);
                }
            }
            Step::Trim => self.trim(),
        }
        for session in &self.sessions {
            if session.fell_off_with.is_none() {
                let n = session.received.len();
                assert_eq!(session.received, session.expected[..n], "{}", session.name);
            }
        }
    }

    fn write_all(&mut self) {
        for who in 0..self.sessions.len() {
            while self.write(who, usize::MAX) > 0 {}
        }
    }
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for [IoSlice<'_>] {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }
}

proptest! {
    #[test]
    fn each_session_gets_the_log_with_its_own_replies_in_place(
        steps in proptest::collection::vec(step(), 0..200),
        chunk_bytes in 1_usize..300,
    ) {
        let mut world = World::new(chunk_bytes, 1 << 20);
        for step in &steps {
            world.carry_out(step);
        }
        world.write_all();
        for session in &world.sessions {
            prop_assert_eq!(&session.received, &session.expected);
            prop_assert_eq!(session.cursor.is_done(), session.cursor.is_leaving());
            prop_assert_eq!(session.cursor.lines_queued(), 0);
        }
        world.trim();
        prop_assert!(world.log.held_bytes() <= 2 * chunk_bytes);
    }

    #[test]
    fn who_falls_off_has_got_whole_lines_and_the_reason(
        steps in proptest::collection::vec(step(), 0..200),
        chunk_bytes in 1_usize..100,
        backlog_bytes in 200_usize..600,
    ) {
        let mut world = World::new(chunk_bytes, backlog_bytes);
        for step in &steps {
            world.carry_out(step);
            let kept_bytes = (world.log.end() - world.log.start()) as usize;
            prop_assert!(kept_bytes <= backlog_bytes);
            prop_assert!(world.log.held_bytes() <= backlog_bytes + 3 * chunk_bytes);
        }
        world.write_all();
        for session in &world.sessions {
            if let Some(owed) = &session.fell_off_with {
                prop_assert_eq!(session.received.strip_suffix(FELL_OFF), Some(&owed[..]));
                prop_assert!(session.cursor.is_done());
            } else {
                prop_assert_eq!(&session.received, &session.expected);
            }
        }
    }

    #[test]
    fn the_length_of_an_ack_is_known_without_writing_it(
        seq in any::<u64>(),
        id in proptest::option::of(0..=ndjson::MAX_ID),
    ) {
        let named = Log::new_named("a \"room\"".into(), 0, 64, 1000, 1000);
        for (seq, id) in [(seq, id), (seq % 10, id.map(|id| id % 11)), (0, Some(0))] {
            let mut line = Vec::new();
            ndjson::encode_ack(&mut line, seq, id);
            prop_assert_eq!(ack_bytes(&Log::new(1000, 1000), seq, id), line.len());
            line.clear();
            ndjson::rooms::encode_ack(&mut line, "a \"room\"", seq, id);
            prop_assert_eq!(ack_bytes(&named, seq, id), line.len());
        }
    }
}

#[test]
fn a_write_is_bounded_in_bytes_and_slices_and_goes_on_where_it_stopped() {
    let mut world = World::of_long_lines();
    // Two who talk, and one who listens.
    (0..3).for_each(|_| world.join());
    for i in 0..200 {
        world.publish(i % 2, &"y".repeat(3000), None, None);
    }
    for who in 0..3 {
        let mut writes = 0;
        loop {
            let gathered = world.write(who, usize::MAX);
            let (_, slices) = world.gather.slices(&world.log);
            assert!(slices <= MAX_SLICES);
            assert!(gathered <= MAX_WRITE_BYTES + 100);
            if gathered == 0 {
                break;
            }
            writes += 1;
        }
        // 600 KB: by their bytes, and for who talks by their slices.
        assert!(writes > 2, "{writes}");
        assert_eq!(world.sessions[who].received, world.sessions[who].expected);
    }
}

#[test]
fn who_falls_off_inside_a_line_gets_the_rest_of_it_though_all_that_was_gathered_is_sent() {
    let mut world = World::of_long_lines();
    world.join();
    world.join();
    world.write_all();
    for _ in 0..100 {
        world.publish(0, &"y".repeat(3000), None, None);
    }
    // As much as one write holds ends inside a line.
    let gathered = world.write(1, usize::MAX);
    assert_eq!(gathered, MAX_WRITE_BYTES);
    world.drop_behind(world.log.end());
    world.write_all();
    let fallen = &world.sessions[1];
    let owed = fallen.fell_off_with.as_deref().unwrap();
    assert!(owed.len() > gathered && owed.len() < gathered + 3100);
    assert!(fallen.received.strip_suffix(FELL_OFF) == Some(owed));
}

#[test]
fn who_falls_off_behind_a_reply_at_the_logs_oldest_byte_gets_no_line_more() {
    let mut world = World::of_long_lines();
    world.join();
    world.join();
    // A welcome and errors that fill a write, at an offset before which nothing is kept.
    for _ in 0..=MAX_WRITE_BYTES / 1000 {
        world.error(1, &"e".repeat(999));
    }
    world.publish(0, "x", None, None);
    assert_eq!(world.log.start(), 0);
    world.write(1, usize::MAX);
    world.drop_behind(world.log.end());
    world.write_all();
    let fallen = &world.sessions[1];
    let owed = fallen.fell_off_with.as_deref();
    assert!(fallen.received.strip_suffix(FELL_OFF) == owed);
}

#[test]
fn nothing_in_place_of_a_message_is_passed_whether_or_not_the_session_stands_there() {
    for said_before in [false, true] {
        let mut world = World::new(CHUNK, 1 << 20);
        world.join();
        world.join();
        world.write_all();
        if said_before {
            world.publish(0, "before", None, None);
        }
        world.publish(0, "for nobody", None, Some((1, Wrong::Nothing)));
        world.write_all();
        let listener = &world.sessions[1];
        assert_eq!(listener.received, listener.expected, "{said_before}");
        assert_eq!(listener.cursor.needs(), Some(world.log.end()));
        assert_eq!(listener.cursor.lines_queued(), 0);
        assert!(!listener.cursor.is_behind(&world.log));
    }
}

#[test]
fn acks_and_the_short_relays_between_them_go_out_in_one_slice() {
    let mut world = World::new(CHUNK, 1 << 20);
    world.join();
    world.join();
    for i in 0..100 {
        world.publish(i % 2, "some text", Some(1), None);
    }
    let gathered = world.write(0, usize::MAX);
    assert_eq!(gathered, world.sessions[0].expected.len());
    assert_eq!(world.gather.slices(&world.log).1, 1);
}

#[test]
fn a_listener_gets_a_batch_as_one_slice_of_the_log() {
    let mut world = World::new(CHUNK, 1 << 20);
    world.join();
    world.join();
    world.write_all();
    for _ in 0..100 {
        world.publish(0, "some text", None, None);
    }
    let listener = &world.sessions[1].cursor;
    listener.gather(&world.log, &mut world.gather);
    let slice = world.gather.single_slice(&world.log).unwrap();
    assert_eq!(
        slice.as_ptr(),
        world.log.run(world.log.start(), world.log.end()).as_ptr()
    );
}

/// A chunk that holds all that a test publishes.
const CHUNK: usize = 1 << 20;

#[test]
#[should_panic(expected = "a session that is leaving gets no more")]
fn nothing_is_queued_behind_the_bye() {
    let log = Log::new(1000, 2000);
    let mut cursor = Cursor::join(&log, b"welcome\n".to_vec());
    cursor.leave(&log);
    cursor.reply(&log, b"late\n".to_vec());
}

#[test]
#[should_panic(expected = "more was sent than was gathered")]
fn more_than_was_gathered_cannot_have_been_sent() {
    let log = Log::new(1000, 2000);
    let mut cursor = Cursor::join(&log, b"welcome\n".to_vec());
    cursor.advance(&log, 9);
}

#[test]
fn a_burst_of_acks_leaves_no_memory_behind() {
    let mut world = World::new(CHUNK, 1 << 20);
    world.join();
    for _ in 0..1000 {
        world.publish(0, "x", Some(1), None);
    }
    world.write_all();
    assert!(world.sessions[0].cursor.splices.capacity() <= KEEP_SPLICES);
}
