//! What is counted. A case is a function over inputs that were made before it is called; its
//! count is divided by the events that it goes through: lines, messages, deliveries.

#[path = "../fixtures/log.rs"]
mod log_fixtures;
#[path = "../fixtures/measure.rs"]
mod measure_fixtures;
#[path = "../fixtures/verify.rs"]
mod verify_fixtures;
#[path = "../fixtures/websocket.rs"]
mod websocket_fixtures;
#[path = "../fixtures/wire.rs"]
mod wire_fixtures;

use std::hint::black_box;

use chatbench::measure::{Collector, ShardRecorder};
use chatbench::server::cursor::{Cursor, Gather};
use chatbench::server::log::Log;
use chatbench::verify::ledger::{Handle, Ledger};
use chatbench::wire::line::{DEFAULT_MAX_LINE_BYTES, LineBuffer};
use chatbench::wire::ndjson;
use chatbench::wire::payload;
use chatbench::wire::protocol::{AnyConn, each_conn};
use chatbench::wire::rooms::RoomId;
use chatbench::wire::seen::{Conn, Due, Publishing, Seen};
use log_fixtures::{CLIENT_IP, said};
use measure_fixtures::{WINDOW, deliveries};
use verify_fixtures::{BATCH, Fleet, Frames};
use wire_fixtures::{HEADER, MESSAGE_BYTES, SEED, message, publish, relay_line};

/// How often a case of a single line goes through it.
const TIMES: usize = 1_000;

/// Receivers of a pass, and of the deliveries that are verified.
const RECEIVERS: usize = 100;

/// Batches that are judged.
const JUDGED: usize = 40;

/// One thing that is counted.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The function that callgrind knows it by.
    pub(crate) function: &'static str,
    pub(crate) events: u64,
    /// So many processes are counted, and the least of them is the figure.
    pub(crate) processes: u32,
    run: fn(),
}

/// Goes through the cases that are `wanted`, once.
pub(crate) fn run(wanted: impl Fn(&Case) -> bool) {
    for case in ALL.iter().filter(|case| wanted(case)) {
        (case.run)();
    }
}

/// A function that is counted by its name: never inlined, and never merged with one that happens
/// to have the same body, which the compiler else does.
macro_rules! counted {
    (fn $name:ident($($argument:ident: $type:ty),*) $body:block) => {
        #[inline(never)]
        fn $name($($argument: $type),*) {
            black_box(stringify!($name));
            $body
        }
    };
}

macro_rules! case {
    ($name:literal, $events:expr, $function:ident, $run:expr) => {
        case!($name, $events, $function, 1, $run)
    };
    ($name:literal, $events:expr, $function:ident, $processes:literal, $run:expr) => {
        Case {
            name: $name,
            function: stringify!($function),
            events: $events as u64,
            processes: $processes,
            run: $run,
        }
    };
}

pub(crate) const ALL: &[Case] = &[
    case!("wire/decode-publish", TIMES, decode_publish, || {
        let mut line = Vec::new();
        ndjson::encode_publish(&mut line, &publish(&message()));
        decode_publish(&line[..line.len() - 1]);
    }),
    case!("wire/decode-relay", TIMES, decode_relay, || {
        let line = relay_line();
        decode_relay(&line[..line.len() - 1]);
    }),
    case!("wire/decode-ack", TIMES, decode_ack, || {
        let mut line = Vec::new();
        ndjson::encode_ack(&mut line, 123_456, Some(123_456));
        decode_ack(&line[..line.len() - 1]);
    }),
    case!(
        "wire/decode-load-message",
        TIMES,
        decode_load_message,
        || {
            decode_load_message(message().as_bytes());
        }
    ),
    case!("wire/encode-publish", TIMES, encode_publish, || {
        encode_publish(&message(), &mut Vec::with_capacity(1024));
    }),
    case!("wire/encode-relay", TIMES, encode_relay, || {
        encode_relay(&message(), &mut Vec::with_capacity(1024));
    }),
    case!("wire/encode-ack", TIMES, encode_ack, || {
        encode_ack(&mut Vec::with_capacity(1024));
    }),
    case!(
        "wire/encode-load-message",
        TIMES,
        encode_load_message,
        || {
            encode_load_message(&mut Vec::with_capacity(1024));
        }
    ),
    case!("wire/cut-lines", TIMES, cut_lines, || {
        cut_lines(&relay_line().repeat(TIMES));
    }),
    case!("wire/compare-lines", TIMES, compare_lines, || {
        let line = relay_line();
        compare_lines(&line, &line.repeat(TIMES));
    }),
    case!("websocket/decode-relay", TIMES, decode_message, || {
        let frames = websocket_fixtures::relay().repeat(TIMES);
        decode_message(&mut websocket_fixtures::reference(), &frames);
    }),
    case!("websocket/compare-relays", TIMES, compare_messages, || {
        let frame = websocket_fixtures::relay();
        compare_messages(
            &mut websocket_fixtures::reference(),
            &frame,
            &frame.repeat(TIMES),
        );
    }),
    case!("websocket/encode-publish", TIMES, encode_message, || {
        let mut conn = websocket_fixtures::reference();
        encode_message(&mut conn, &message(), &mut Vec::with_capacity(1024));
    }),
    case!("application/find-message", TIMES, find_message, || {
        let frames = websocket_fixtures::application_relay().repeat(TIMES);
        find_message(&mut websocket_fixtures::application(), &frames);
    }),
    case!("application/compare-messages", TIMES, compare_found, || {
        let frame = websocket_fixtures::application_relay();
        compare_found(
            &mut websocket_fixtures::application(),
            &frame,
            &frame.repeat(TIMES),
        );
    }),
    case!("application/publish", TIMES, publish_in_template, || {
        let mut conn = websocket_fixtures::application();
        publish_in_template(&mut conn, &message(), &mut Vec::with_capacity(1024));
    }),
    case!("log/append", log_fixtures::BATCH, append, || {
        append(&mut warm_log());
    }),
    case!("log/pass-a-session", RECEIVERS, pass, || {
        let (mut log, mut gather) = (log_fixtures::log(), Gather::default());
        let joined = |_| log_fixtures::joined(&log, &mut gather);
        let mut cursors: Vec<_> = (0..RECEIVERS).map(joined).collect();
        log_fixtures::append_batch(&mut log);
        pass(&log, &mut cursors, &mut gather);
    }),
    case!("log/pass-a-talker", log_fixtures::BATCH, own_spans, || {
        let (mut log, mut gather) = (warm_log(), Gather::default());
        let mut talker = log_fixtures::joined(&log, &mut gather);
        own_spans(&mut log, &mut talker, &mut gather);
    }),
    case!("verify/delivery", RECEIVERS * BATCH, deliver, || {
        let mut fleet = Fleet::new(1, RECEIVERS + 1);
        let frames = fleet.send();
        let (first, others) = fleet.receivers.split_first().expect("some");
        verify_fixtures::read(&mut fleet.ledger, *first, &frames.relays, 2);
        deliver(&mut fleet.ledger, others, &frames);
    }),
    case!("verify/first-receiver", BATCH, deliver_first, || {
        let mut fleet = Fleet::new(1, 1);
        let frames = fleet.send();
        deliver_first(&mut fleet.ledger, fleet.receivers[0], &frames);
    }),
    case!("verify/ack", BATCH, acknowledge, || {
        let mut fleet = Fleet::new(1, 1);
        let frames = fleet.send();
        let acks: Vec<u8> = frames
            .acks
            .iter()
            .flat_map(|(_, ack)| ack.clone())
            .collect();
        acknowledge(&mut fleet.ledger, fleet.senders[0], &acks);
    }),
    // Maps whose keys a target can choose have random seeds, so that one process may take more than
    // another that ran the same.
    case!("verify/judge-a-message", JUDGED * BATCH, judge, 6, || {
        for _ in 0..JUDGED {
            let mut fleet = Fleet::new(100, 1);
            let frames = fleet.send();
            verify_fixtures::read(&mut fleet.ledger, fleet.receivers[0], &frames.relays, 2);
            fleet.acknowledge(&frames);
            judge(&mut fleet);
        }
    }),
    case!("measure/delivery", 4096, record_delivery, || {
        record_delivery(&mut recorder(), &deliveries());
    }),
    case!("measure/ack", 4096, record_ack, || {
        record_ack(&mut recorder(), &deliveries());
    }),
    case!("measure/sent", 4096, record_sent, || {
        record_sent(&mut recorder(), &deliveries());
    }),
    case!("measure/hand-over", 1, hand_over, || {
        let mut recorder = recorder();
        for (intended_ns, now_ns) in deliveries() {
            recorder.relay(0, intended_ns, now_ns);
        }
        hand_over(&mut recorder, &mut Collector::new(WINDOW, 1));
    }),
];

/// A recorder in the second of the deliveries: what a second costs once is no event's.
fn recorder() -> ShardRecorder {
    let mut recorder = ShardRecorder::new(WINDOW);
    recorder.received_bytes(WINDOW.start_ns, 0);
    recorder
}

/// A log that has its memory: clearing that would be counted byte by byte.
fn warm_log() -> Log {
    let mut log = log_fixtures::log();
    log_fixtures::append_batch(&mut log);
    log.trim_to(log.end());
    log
}

counted! {
    fn decode_publish(line: &[u8]) {
        for _ in 0..TIMES {
            black_box(ndjson::decode_publish(black_box(line))).expect("a publish");
        }
    }
}

counted! {
    fn decode_relay(line: &[u8]) {
        for _ in 0..TIMES {
            black_box(ndjson::decode_server(black_box(line))).expect("a frame");
        }
    }
}

counted! {
    fn decode_ack(line: &[u8]) {
        for _ in 0..TIMES {
            black_box(ndjson::decode_server(black_box(line))).expect("a frame");
        }
    }
}

counted! {
    fn decode_load_message(text: &[u8]) {
        for _ in 0..TIMES {
            black_box(payload::decode(black_box(text), SEED, HEADER.run)).expect("intact");
        }
    }
}

counted! {
    fn encode_publish(text: &str, out: &mut Vec<u8>) {
        let publish = publish(text);
        for _ in 0..TIMES {
            out.clear();
            ndjson::encode_publish(black_box(out), black_box(&publish));
        }
    }
}

counted! {
    fn encode_relay(text: &str, out: &mut Vec<u8>) {
        for _ in 0..TIMES {
            out.clear();
            ndjson::encode_relay(black_box(out), 123_456, CLIENT_IP, black_box(text));
        }
    }
}

counted! {
    fn encode_ack(out: &mut Vec<u8>) {
        for _ in 0..TIMES {
            out.clear();
            ndjson::encode_ack(black_box(out), black_box(123_456), Some(123_456));
        }
    }
}

counted! {
    fn encode_load_message(out: &mut Vec<u8>) {
        for _ in 0..TIMES {
            out.clear();
            payload::encode(black_box(out), SEED, black_box(&HEADER), MESSAGE_BYTES);
        }
    }
}

counted! {
    fn cut_lines(read: &[u8]) {
        let mut buffer = LineBuffer::new(DEFAULT_MAX_LINE_BYTES);
        let mut lines = buffer.feed(black_box(read));
        let mut seen = 0;
        while let Some(line) = lines.next() {
            black_box(line).expect("within the limit");
            seen += 1;
        }
        assert_eq!(seen, TIMES);
    }
}

counted! {
    fn compare_lines(line: &[u8], read: &[u8]) {
        let mut buffer = LineBuffer::new(DEFAULT_MAX_LINE_BYTES);
        let mut lines = buffer.feed(black_box(read));
        let mut seen = 0;
        while lines.take_if(black_box(line)) {
            seen += 1;
        }
        assert_eq!(seen, TIMES);
    }
}

/// All of a read is relays.
#[inline(always)]
fn relays(conn: &mut AnyConn, mut read: &[u8]) {
    let mut out = Vec::new();
    each_conn!(conn, conn => {
        for _ in 0..TIMES {
            let (room, seen) = conn.next(&mut read, &mut out).expect("a message");
            assert!(matches!(black_box(&seen), Seen::Relay(_)), "{seen:?}");
            black_box(room);
        }
    });
}

/// All of a read is the same relay.
#[inline(always)]
fn compared(conn: &mut AnyConn, frame: &[u8], mut read: &[u8]) {
    let due = Due { frame, text: 0..0 };
    each_conn!(conn, conn => {
        for _ in 0..TIMES {
            assert!(conn.take_if(black_box(&mut read), &due));
        }
    });
}

#[inline(always)]
fn published(conn: &mut AnyConn, text: &str, out: &mut Vec<u8>) {
    each_conn!(conn, conn => {
        for id in 0..TIMES as u64 {
            out.clear();
            let publish = Publishing { room: RoomId::UNNAMED, text, id, claims: None };
            conn.publish(black_box(out), publish);
        }
    });
}

counted! {
    fn decode_message(conn: &mut AnyConn, read: &[u8]) {
        relays(conn, read);
    }
}

counted! {
    fn compare_messages(conn: &mut AnyConn, frame: &[u8], read: &[u8]) {
        compared(conn, frame, read);
    }
}

counted! {
    fn encode_message(conn: &mut AnyConn, text: &str, out: &mut Vec<u8>) {
        published(conn, text, out);
    }
}

counted! {
    fn find_message(conn: &mut AnyConn, read: &[u8]) {
        relays(conn, read);
    }
}

counted! {
    fn compare_found(conn: &mut AnyConn, frame: &[u8], read: &[u8]) {
        compared(conn, frame, read);
    }
}

counted! {
    fn publish_in_template(conn: &mut AnyConn, text: &str, out: &mut Vec<u8>) {
        published(conn, text, out);
    }
}

counted! {
    fn append(log: &mut Log) {
        for _ in 0..log_fixtures::BATCH {
            black_box(log.append(CLIENT_IP, said()).is_ok());
        }
        log.trim_to(log.end());
    }
}

counted! {
    fn pass(log: &Log, cursors: &mut [Cursor], gather: &mut Gather) {
        for cursor in cursors {
            log_fixtures::write_all(cursor, log, gather);
        }
    }
}

counted! {
    fn own_spans(log: &mut Log, talker: &mut Cursor, gather: &mut Gather) {
        for k in 0..log_fixtures::BATCH {
            let entry = log.append(CLIENT_IP, said()).expect("there is room");
            if k % 4 == 0 {
                talker.ack(entry, Some(k as u64));
            }
        }
        while talker.is_behind(log) {
            log_fixtures::write_all(talker, log, gather);
        }
    }
}

counted! {
    fn deliver(ledger: &mut Ledger, receivers: &[Handle], frames: &Frames) {
        for &receiver in receivers {
            verify_fixtures::read(ledger, receiver, &frames.relays, 2);
        }
    }
}

counted! {
    fn deliver_first(ledger: &mut Ledger, receiver: Handle, frames: &Frames) {
        verify_fixtures::read(ledger, receiver, &frames.relays, 2);
    }
}

counted! {
    fn acknowledge(ledger: &mut Ledger, sender: Handle, acks: &[u8]) {
        verify_fixtures::read(ledger, sender, acks, 2);
    }
}

counted! {
    fn judge(fleet: &mut Fleet) {
        let batch = fleet.ledger.take_batch();
        fleet.judge.absorb(0, batch, |settled| {
            black_box(settled);
        });
    }
}

counted! {
    fn record_delivery(recorder: &mut ShardRecorder, deliveries: &[(u64, u64)]) {
        for &(intended_ns, now_ns) in black_box(deliveries) {
            recorder.relay(0, intended_ns, now_ns);
            recorder.relay_service(intended_ns, intended_ns + 40_000, now_ns);
        }
    }
}

counted! {
    fn record_ack(recorder: &mut ShardRecorder, deliveries: &[(u64, u64)]) {
        for &(intended_ns, now_ns) in black_box(deliveries) {
            recorder.ack(0, intended_ns, now_ns);
            recorder.ack_service(intended_ns, intended_ns + 40_000, now_ns);
        }
    }
}

counted! {
    fn record_sent(recorder: &mut ShardRecorder, deliveries: &[(u64, u64)]) {
        for &(intended_ns, now_ns) in black_box(deliveries) {
            recorder.sent(intended_ns, now_ns, false, 100);
        }
    }
}

counted! {
    fn hand_over(recorder: &mut ShardRecorder, collector: &mut Collector) {
        collector.absorb(0, 0, recorder.take_interval(), 100);
    }
}
