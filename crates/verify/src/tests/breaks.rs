//! Streams that break off, and what the frames before that prove: each of these was once judged
//! wrongly, and found by holding the verifier against the [`oracle`](super::oracle).

use super::guards::{Bench, ack, kinds, relay};
use super::world::terms;
use crate::findings::Findings;
use crate::kind::Kind;
use crate::ledger::{Ending, Handle};
use chatbench_wire::ndjson;

/// Two who talk (sessions 0 and 1), one who listens to all of it (2), and one who will break off
/// (3), each in a shard of its own.
struct Room {
    bench: Bench,
    handles: [Handle; 4],
    numbered: u64,
    /// How many messages of session 0, of session 1.
    sent: [u64; 2],
}

impl Room {
    fn new() -> Self {
        let mut bench = Bench::new(4, terms());
        let handles = [0, 1, 2, 3].map(|i| bench.join(i, i, 0));
        Self {
            bench,
            handles,
            numbered: 0,
            sent: [0; 2],
        }
    }

    fn read(&mut self, session: usize, line: &[u8]) {
        self.bench.read(session, self.handles[session], line);
    }

    fn sends(&mut self, sender: usize) -> u64 {
        self.sent[sender] += 1;
        let (handle, now_ns) = (self.handles[sender], self.bench.now_ns);
        let ledger = &mut self.bench.ledgers[sender];
        ledger.sending(handle, 0, now_ns, false).unwrap();
        self.sent[sender]
    }

    /// Session `sender` sends its next message, which becomes the next number; the other talker
    /// and the listener get it.
    fn say(&mut self, sender: usize) {
        let k = self.sends(sender);
        self.numbered += 1;
        let (seq, from) = (self.numbered, sender as u32);
        self.read(sender, &ack(seq, from, k));
        self.read(1 - sender, &relay(seq, from, k));
        self.read(2, &relay(seq, from, k));
    }

    fn breaks_off(&mut self, session: usize) {
        let ledger = &mut self.bench.ledgers[session];
        ledger.letting_go(self.handles[session]);
        ledger.ended(self.handles[session], Ending::Ours, b"", self.bench.now_ns);
    }

    /// Those who are left leave politely.
    fn finish(mut self, gone: &[usize]) -> Findings {
        for session in (0..4).filter(|s| !gone.contains(s)) {
            self.bench
                .leave(session, self.handles[session], self.numbered);
        }
        self.bench.finish()
    }
}

/// The one who breaks off reads `lines` of six numbers, 1, 3 and 5 of them session 0's.
fn broken_off_after(lines: &[Vec<u8>]) -> Vec<(Kind, u64)> {
    let mut room = Room::new();
    for _ in 0..3 {
        room.say(0);
        room.say(1);
    }
    for line in lines {
        room.read(3, line);
    }
    room.breaks_off(3);
    for session in 0..4 {
        room.bench.hand_over(session);
    }
    room.say(0);
    kinds(&room.finish(&[3]))
}

#[test]
fn what_lies_before_the_last_frame_is_lost() {
    let found = broken_off_after(&[relay(1, 0, 1), relay(4, 1, 2)]);
    assert_eq!(found, [(Kind::LostRelay, 2)]);
}

#[test]
fn the_last_frame_under_a_wrong_number_is_altered_and_no_more() {
    for wrong in [1, 5, 6, 40, 1 << 40] {
        let found = broken_off_after(&[relay(1, 0, 1), relay(wrong, 1, 1)]);
        assert_eq!(found, [(Kind::AlteredRelay, 1)], "{wrong}");
    }
}

/// Others got its message under another number, whether or not anything has the one that it named.
#[test]
fn a_last_frame_whose_message_is_known_elsewhere_is_altered_and_no_more() {
    for wrong in [3, 40] {
        let found = broken_off_after(&[relay(1, 0, 1), relay(wrong, 1, 2)]);
        assert_eq!(found, [(Kind::AlteredRelay, 1)], "{wrong}");
    }
}

/// Nobody else got its message, and the number that it named is another's.
#[test]
fn a_last_frame_under_anothers_number_is_altered_and_no_more() {
    let mut room = Room::new();
    let gone = room.bench.join(3, 4, 0);
    room.bench.ledgers[3].sending(gone, 0, 0, false).unwrap();
    room.bench.ledgers[3].letting_go(gone);
    room.bench.ledgers[3].ended(gone, Ending::Ours, b"", 9);
    for _ in 0..3 {
        room.say(0);
    }
    room.read(3, &relay(1, 0, 1));
    room.read(3, &relay(3, 4, 1));
    room.breaks_off(3);
    assert_eq!(kinds(&room.finish(&[3])), [(Kind::AlteredRelay, 1)]);
}

/// What it proves lost may have come under another number before, and then is not lost.
#[test]
fn a_number_that_came_under_another_one_is_not_lost_before_the_last_frame() {
    // Number 2 as number 1, which had come, and then number 4.
    let found = broken_off_after(&[relay(1, 0, 1), relay(1, 1, 1), relay(4, 1, 2)]);
    assert_eq!(found, [(Kind::LostRelay, 1), (Kind::AlteredRelay, 1)]);
}

/// Number 1 is nobody's: the frame that came in its place is what its own number says.
#[test]
fn the_last_frame_is_not_taken_for_a_number_that_was_skipped() {
    let mut room = Room::new();
    room.numbered = 1;
    for _ in 0..3 {
        room.say(0);
    }
    for (seq, k) in [(4, 3), (2, 1), (3, 2)] {
        room.read(3, &relay(seq, 0, k));
    }
    room.breaks_off(3);
    assert_eq!(kinds(&room.finish(&[3])), [(Kind::SequenceGap, 1)]);
}

/// The number that was due is missing by then: its message came under another.
#[test]
fn a_frame_under_a_wrong_number_with_others_after_it_is_altered_and_no_more() {
    for wrong in [5, 6, 40] {
        let lines = [
            relay(1, 0, 1),
            relay(wrong, 1, 1),
            relay(3, 0, 2),
            relay(4, 1, 2),
        ];
        let found = broken_off_after(&lines);
        assert_eq!(found, [(Kind::AlteredRelay, 1)], "{wrong}");
    }
}

/// Nobody who joins later is held to have joined after a number that never was.
#[test]
fn a_number_that_nobody_bears_out_moves_nobody_elses_beginning() {
    let mut room = Room::new();
    room.read(3, &relay(40, 0, 1));
    room.say(0);
    room.breaks_off(3);
    let newcomer = room.bench.join(3, 4, 1);
    room.say(1);
    room.bench.read(3, newcomer, &relay(2, 1, 1));
    room.bench.leave(3, newcomer, 2);
    assert_eq!(kinds(&room.finish(&[3])), [(Kind::AlteredRelay, 1)]);
}

#[test]
fn numbers_that_nobody_got_before_the_last_frame_are_a_gap() {
    let mut room = Room::new();
    room.numbered = 5000;
    room.say(0);
    room.read(3, &relay(5001, 0, 1));
    room.breaks_off(3);
    assert_eq!(kinds(&room.finish(&[3])), [(Kind::SequenceGap, 1)]);
}

/// A sender that breaks off says nothing of the acks it still waits for, unless it had passed
/// their numbers.
#[test]
fn an_ack_is_missing_if_its_sender_passed_the_number() {
    for passed in [false, true] {
        let mut room = Room::new();
        let k = room.sends(0);
        room.numbered = 1;
        for session in 1..4 {
            room.read(session, &relay(1, 0, k));
        }
        room.sends(1);
        room.numbered = 2;
        room.read(1, &ack(2, 1, 1));
        for session in 2..4 {
            room.read(session, &relay(2, 1, 1));
        }
        if passed {
            room.read(0, &relay(2, 1, 1));
        }
        room.breaks_off(0);
        let expected: &[_] = if passed {
            &[(Kind::MissingAck, 1)]
        } else {
            &[]
        };
        let findings = room.finish(&[0]);
        assert_eq!(kinds(&findings), expected);
        let said = "c0 sent its message 1 and got later numbers, and was neither acked nor refused";
        let tally = findings.violations.get(&Kind::MissingAck);
        assert!(tally.is_none_or(|tally| tally.examples[0].text == said));
    }
}

/// Its sender broke off, so that no bye says that all was answered. But its next message was given
/// a number, so the target had had this one; and it was given none, unless one that nobody saw.
#[test]
fn a_message_without_a_number_is_missed_if_a_later_one_has_one() {
    let sender = 3;
    for (reads_ack, unseen, expected) in [
        (false, 0, &[(Kind::MissingAck, 1)][..]),
        (true, 0, &[(Kind::MissingAck, 1)]),
        // Who was there left that one out: it may be the number, and is a gap in any case.
        (false, 1, &[(Kind::SequenceGap, 1)]),
    ] {
        let mut room = Room::new();
        let handle = room.handles[sender];
        for _ in 0..2 {
            let ledger = &mut room.bench.ledgers[sender];
            ledger.sending(handle, 0, 0, false).unwrap();
        }
        room.numbered = 1 + unseen;
        let second = relay(room.numbered, sender as u32, 2);
        (0..3).for_each(|session| room.read(session, &second));
        if reads_ack {
            room.read(sender, &ack(1, sender as u32, 2));
        }
        room.breaks_off(sender);
        let findings = room.finish(&[sender]);
        assert_eq!(kinds(&findings), expected, "{reads_ack}");
        let why = if reads_ack {
            "got the ack of a later one"
        } else {
            "a later one, whose number shows that this one was given none"
        };
        let said = format!("c3 sent its message 1 and {why}, and was neither acked nor refused");
        let tally = findings.violations.get(&Kind::MissingAck);
        assert!(tally.is_none_or(|tally| tally.examples[0].text == said));
    }
}

/// It was sent after a later number: that is the cause, whether or not it is acked.
#[test]
fn a_message_numbered_too_late_to_be_acked_breaks_causality_and_no_more() {
    for breaks_off in [false, true] {
        let mut room = Room::new();
        room.sends(1);
        room.read(1, &ack(2, 1, 1));
        for session in [0, 2, 3] {
            if session == 0 {
                room.read(0, &relay(2, 1, 1));
            }
        }
        room.bench.now_ns += 1;
        let (handle, now_ns) = (room.handles[0], room.bench.now_ns);
        let ledger = &mut room.bench.ledgers[0];
        ledger.sending(handle, now_ns, now_ns, false).unwrap();
        let mut late = Vec::new();
        let text = super::guards::text(0, 1, now_ns);
        ndjson::encode_relay(&mut late, 1, &super::world::address(0), &text);
        for session in [2, 3] {
            room.read(session, &late);
            room.read(session, &relay(2, 1, 1));
        }
        room.read(1, &late);
        room.numbered = 2;
        let gone: &[usize] = if breaks_off { &[0] } else { &[] };
        if breaks_off {
            room.breaks_off(0);
        }
        assert_eq!(kinds(&room.finish(gone)), [(Kind::Causality, 1)]);
    }
}

/// One's own ack, out of place, under a number that no one else was there to get.
#[test]
fn an_ack_out_of_place_is_known_without_anyone_else() {
    let mut bench = Bench::new(1, terms());
    let (talker, other) = (bench.join(0, 0, 0), bench.join(0, 1, 0));
    for _ in 0..2 {
        bench.ledgers[0].sending(other, 0, 0, false).unwrap();
    }
    for seq in 1..3 {
        bench.read(0, other, &ack(seq, 1, seq));
    }
    bench.leave(0, other, 2);
    for _ in 0..3 {
        bench.ledgers[0].sending(talker, 0, 0, false).unwrap();
    }
    for line in [
        relay(1, 1, 1),
        ack(5, 0, 3),
        ack(3, 0, 1),
        ack(4, 0, 2),
        relay(2, 1, 2),
    ] {
        bench.read(0, talker, &line);
    }
    bench.leave(0, talker, 5);
    assert_eq!(kinds(&bench.finish()), [(Kind::ReorderedAck, 1)]);
}

/// An echo whose number everyone has passed when its ack turns up at another's.
#[test]
fn an_echo_with_its_ack_astray_is_the_stray_ack_however_late_that_comes() {
    let mut room = Room::new();
    let k = room.sends(0);
    room.numbered = 1;
    for session in 0..4 {
        room.read(session, &relay(1, 0, k)); // to session 0, an echo
    }
    for session in 0..4 {
        room.bench.hand_over(session);
    }
    room.read(3, &ack(1, 0, k));
    assert_eq!(kinds(&room.finish(&[])), [(Kind::StrayAck, 1)]);
}

/// `low` came after `high`, and what was sent since the first number after `low` came is not
/// numbered late: it has a larger number than that.
#[test]
fn what_was_sent_after_a_number_had_passed_may_have_a_larger_one() {
    let mut room = Room::new();
    room.say(0);
    room.say(0);
    room.read(3, &relay(2, 0, 2));
    room.bench.now_ns += 1;
    let (handle, now_ns) = (room.handles[0], room.bench.now_ns);
    let ledger = &mut room.bench.ledgers[0];
    ledger.sending(handle, now_ns, now_ns, false).unwrap();
    let mut third = Vec::new();
    let text = super::guards::text(0, 3, now_ns);
    ndjson::encode_relay(&mut third, 3, &super::world::address(0), &text);
    room.read(0, &ack(3, 0, 3));
    for session in 1..4 {
        room.read(session, &third);
    }
    room.read(3, &relay(1, 0, 1));
    room.numbered = 3;
    assert_eq!(kinds(&room.finish(&[])), [(Kind::ReorderedRelay, 1)]);
}
