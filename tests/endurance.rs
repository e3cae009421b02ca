//! An hour of load through everything that keeps books, in simulated time: the driver's memory
//! does not grow with the length of a run.
//!
//! A test binary of its own, so that what is resident is this test's.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::fs;
use std::sync::Arc;

use chatbench::measure::{Collector, ShardRecorder, Window};
use chatbench::scenario::plan::Promises;
use chatbench::verify::directory::{ClientId, Directory};
use chatbench::verify::ids::publish_id;
use chatbench::verify::judge::{Judge, Settled};
use chatbench::verify::ledger::{Event, Handle, Ledger, Terms};
use chatbench::wire::protocol::Protocol;
use chatbench::wire::protocol::ndjson::Ndjson;
use chatbench::wire::{ndjson, payload};

const SECOND_NS: u64 = 1_000_000_000;

/// A second of this run: messages, and who gets them.
const MESSAGES: u64 = 200;
const LISTENERS: u32 = 4;

const SEED: u64 = 42;

/// What may be added in the last 54 minutes: one point of the timeline a second, and what an
/// allocator rounds up to.
const GROWTH_BYTES: u64 = 2 << 20;

/// A driver of one shard with a target that does what it should, both without a socket.
struct Run {
    ledger: Ledger,
    judge: Judge,
    recorder: ShardRecorder,
    collector: Collector,
    talker: (Handle, Ndjson),
    listeners: Vec<(Handle, Ndjson)>,
    seq: u64,
    settled: u64,
    delivered: u64,
}

/// A session reads one line.
fn read(
    ledger: &mut Ledger,
    (handle, conn): (Handle, &mut Ndjson),
    line: &[u8],
    now_ns: u64,
) -> Event {
    let mut events = Vec::new();
    ledger.read(handle, conn, line, &mut Vec::new(), now_ns, |_, event| {
        events.push(event);
    });
    assert_eq!(events.len(), 1);
    events.remove(0)
}

impl Run {
    fn new(window: Window) -> Self {
        let names = (0..=LISTENERS).map(|n| format!("client-{n}")).collect();
        let directory = Arc::new(Directory::new(names));
        let terms = Terms {
            run: 7,
            seed: SEED,
            late_after_ns: Some(5 * SECOND_NS),
            addresses_known: false,
            promises: Promises::default(),
            capabilities: Protocol::Ndjson.capabilities(),
        };
        let mut ledger = Ledger::new(terms, directory.clone());
        let mut join = |client| {
            let handle = ledger.connecting(ClientId(client)).unwrap();
            let mut conn = Ndjson::new(65_536);
            let mut welcome = Vec::new();
            ndjson::encode_welcome(&mut welcome, "127.0.0.1:1", 0, 65_536);
            let event = read(&mut ledger, (handle, &mut conn), &welcome, 0);
            assert_eq!(event, Event::Welcome);
            (handle, conn)
        };
        let talker = join(0);
        let listeners = (1..=LISTENERS).map(join).collect();
        Self {
            ledger,
            judge: Judge::new(directory, 1, terms.late_after_ns),
            recorder: ShardRecorder::new(window),
            collector: Collector::new(window, 1),
            talker,
            listeners,
            seq: 0,
            settled: 0,
            delivered: 0,
        }
    }

    fn second(&mut self, second: u64) {
        for i in 0..MESSAGES {
            self.message(second * SECOND_NS + i * (SECOND_NS / MESSAGES));
            if i % 10 == 9 {
                self.hand_over();
            }
        }
        let clients = u64::from(LISTENERS) + 1;
        let interval = self.recorder.take_interval();
        self.collector.absorb(0, second, interval, clients);
    }

    /// One message, from its due time to its last receiver; how late varies from one to the next.
    fn message(&mut self, due_ns: u64) {
        let sent_ns = due_ns + self.seq % 97 * 1_000;
        let now_ns = sent_ns + 200_000 + self.seq % 1_009 * 10_000;
        let (talker, conn) = &mut self.talker;
        let header = self
            .ledger
            .sending(*talker, due_ns, sent_ns, false)
            .unwrap();
        self.recorder.sent(due_ns, sent_ns, false, 100);
        self.recorder.heartbeat(due_ns, now_ns);
        self.recorder.unread(due_ns, self.seq % 4_096);
        self.seq += 1;
        let mut line = Vec::new();
        let id = publish_id(header.sender, header.k);
        ndjson::encode_ack(&mut line, self.seq, Some(id));
        match read(&mut self.ledger, (*talker, conn), &line, now_ns) {
            Event::Ack {
                intended_ns,
                sent_ns,
            } => {
                self.recorder.ack(0, intended_ns, now_ns);
                self.recorder.ack_service(intended_ns, sent_ns, now_ns);
            }
            other => panic!("{other:?}"),
        }
        let mut text = Vec::new();
        payload::encode(&mut text, SEED, &header, 64);
        let text = std::str::from_utf8(&text).unwrap();
        line.clear();
        ndjson::encode_relay(&mut line, self.seq, "127.0.0.1:1", text);
        for (listener, conn) in &mut self.listeners {
            match read(&mut self.ledger, (*listener, conn), &line, now_ns) {
                Event::Relay {
                    intended_ns,
                    sent_ns,
                } => {
                    self.recorder.relay(0, intended_ns, now_ns);
                    let sent_ns = sent_ns.expect("it was sent by this shard");
                    self.recorder.relay_service(intended_ns, sent_ns, now_ns);
                    self.delivered += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn hand_over(&mut self) {
        let Self {
            judge,
            ledger,
            collector,
            settled,
            ..
        } = self;
        judge.absorb(0, ledger.take_batch(), |message: Settled| {
            *settled += 1;
            collector.message(
                message.intended_ns,
                message.first_ns,
                message.last_ns,
                message.receivers,
            );
        });
    }
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

#[test]
fn an_hour_takes_no_more_memory_than_six_minutes() {
    const SECONDS: u64 = 3_600;
    let window = Window {
        start_ns: 0,
        end_ns: SECONDS * SECOND_NS,
    };
    let mut run = Run::new(window);
    let mut after_six_minutes = 0;
    for second in 0..SECONDS {
        run.second(second);
        if second == SECONDS / 10 {
            after_six_minutes = resident_bytes();
        }
    }
    let after_an_hour = resident_bytes();
    assert!(
        after_an_hour < after_six_minutes + GROWTH_BYTES,
        "{after_six_minutes} bytes after six minutes, {after_an_hour} after an hour"
    );

    // And it kept the books all the while.
    let messages = SECONDS * MESSAGES;
    assert_eq!(run.settled, messages);
    assert_eq!(run.delivered, messages * u64::from(LISTENERS));
    assert_eq!(run.judge.violation_count(), 0);
    let measured = run.collector.finish(Some(messages));
    assert_eq!(measured.ack.len(), messages);
    assert_eq!(measured.relay_service.len(), run.delivered);
    assert_eq!(measured.timeline.len() as u64, SECONDS);
}
