//! What no session can tell by itself: the judge's own rules, each where nothing else would notice.

use super::guards::{Bench, ack, kinds, relay, text};
use super::world::{address, terms};
use crate::judge::Settled;
use crate::kind::Kind;
use crate::ledger::{Ending, Handle};
use chatbench_wire::ndjson;
use chatbench_wire::rooms::RoomId;

/// Sessions 0, 1, 2, … each in a shard of its own, all of whom joined at the beginning.
fn room<const N: usize>() -> (Bench, [Handle; N]) {
    let mut bench = Bench::new(N, terms());
    let handles = std::array::from_fn(|i| bench.join(i, i, 0));
    (bench, handles)
}

fn sends(bench: &mut Bench, session: usize, handle: Handle, count: usize) {
    for _ in 0..count {
        let now_ns = bench.now_ns;
        let ledger = &mut bench.ledgers[session];
        ledger.sending(handle, now_ns, now_ns, false).unwrap();
    }
}

/// A session that says nothing more about what it sent.
fn breaks_off(bench: &mut Bench, session: usize, handle: Handle) {
    let now_ns = bench.now_ns;
    let ledger = &mut bench.ledgers[session];
    ledger.letting_go(handle);
    ledger.ended(handle, Ending::Ours, b"", now_ns);
}

/// The relay of a message that was due, and sent, at `sent_ns`.
fn relay_sent(seq: u64, sender: u32, k: u64, sent_ns: u64) -> Vec<u8> {
    let mut line = Vec::new();
    let text = text(sender, k, sent_ns);
    ndjson::encode_relay(&mut line, seq, &address(sender as usize), &text);
    line
}

#[test]
fn one_senders_messages_numbered_out_of_order_for_all() {
    for (numbered, expected) in [
        (&[1, 2, 3][..], &[][..]),
        (&[2, 1, 3], &[(Kind::ReorderedRelay, 1)]),
        (&[3, 1, 2], &[(Kind::ReorderedRelay, 2)]),
        // It broke off: nobody knows of its last whether it was taken, but of the others.
        (&[1, 3], &[(Kind::MissingAck, 1)]),
        (&[1, 2, 1], &[(Kind::DuplicateRelay, 1)]),
        (
            &[1, 3, 3],
            &[(Kind::DuplicateRelay, 1), (Kind::MissingAck, 1)],
        ),
        (
            &[1, 4, 2, 2],
            &[
                (Kind::ReorderedRelay, 1),
                (Kind::DuplicateRelay, 1),
                (Kind::MissingAck, 1),
            ],
        ),
    ] {
        let (mut bench, [sender, one, other]) = room();
        sends(&mut bench, 0, sender, 4);
        breaks_off(&mut bench, 0, sender);
        for (seq, &k) in (1..).zip(numbered) {
            bench.read(1, one, &relay(seq, 0, k));
            bench.read(2, other, &relay(seq, 0, k));
        }
        let last = numbered.len() as u64;
        bench.leave(1, one, last);
        bench.leave(2, other, last);
        let mut found = kinds(&bench.finish());
        found.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(found, expected, "{numbered:?}");
    }
}

/// The ack of a later number is all that says so: its sender joined after the smaller one.
#[test]
fn a_message_sent_after_anothers_ack_and_numbered_before_it() {
    for (sent_later_by_ns, expected) in [(0, &[][..]), (1, &[(Kind::RealTime, 1)])] {
        let (mut bench, [late, listener]) = room();
        let newcomer = bench.join(1, 2, 1);
        sends(&mut bench, 1, newcomer, 1);
        bench.read(1, newcomer, &ack(2, 2, 1));
        let sent_ns = bench.now_ns + sent_later_by_ns;
        bench.now_ns = sent_ns;
        sends(&mut bench, 0, late, 1);
        let first = relay_sent(1, 0, 1, sent_ns);
        let second = relay(2, 2, 1);
        bench.read(0, late, &ack(1, 0, 1));
        bench.read(0, late, &second);
        bench.read(1, listener, &first);
        bench.read(1, listener, &second);
        bench.leave(0, late, 2);
        bench.leave(1, listener, 2);
        bench.leave(1, newcomer, 2);
        assert_eq!(kinds(&bench.finish()), expected, "{sent_later_by_ns}");
    }
}

/// Of the numbers before an acked one the last sent is what tells, whichever of them it is.
#[test]
fn whichever_of_the_earlier_numbers_was_sent_last_is_compared_with_the_ack() {
    for late in [0, 1] {
        let (mut bench, [one, two, listener]) = room();
        let newcomer = bench.join(2, 3, 2);
        let senders = [one, two];
        let mut sent_ns = [bench.now_ns; 2];
        sends(&mut bench, 1 - late, senders[1 - late], 1);
        sends(&mut bench, 2, newcomer, 1);
        bench.read(2, newcomer, &ack(3, 3, 1));
        bench.now_ns += 1;
        sent_ns[late] = bench.now_ns;
        sends(&mut bench, late, senders[late], 1);
        let [first, second] = [0, 1].map(|i| relay_sent(i as u64 + 1, i, 1, sent_ns[i as usize]));
        let third = relay(3, 3, 1);
        for (session, handle, lines) in [
            (0, one, [&ack(1, 0, 1), &second, &third]),
            (1, two, [&first, &ack(2, 1, 1), &third]),
            (2, listener, [&first, &second, &third]),
        ] {
            for line in lines {
                bench.read(session, handle, line);
            }
            bench.leave(session, handle, 3);
        }
        bench.leave(2, newcomer, 3);
        let findings = bench.finish();
        assert_eq!(kinds(&findings), [(Kind::RealTime, 1)], "{late}");
        let example = &findings.violations[&Kind::RealTime].examples[0];
        assert_eq!(example.seq, Some(late as u64 + 1));
    }
}

/// It had passed its own message's number before it sent it, whenever it was due; who reads later
/// than that, without the message, has lost nothing besides.
#[test]
fn a_message_numbered_below_what_its_sender_had_seen() {
    for was_due in [false, true] {
        numbered_below_what_its_sender_had_seen(was_due);
    }
}

fn numbered_below_what_its_sender_had_seen(was_due: bool) {
    let (mut bench, [late, other, listener, slow]) = room();
    sends(&mut bench, 1, other, 2);
    for line in [ack(2, 1, 1), ack(3, 1, 2)] {
        bench.read(1, other, &line);
    }
    for line in [relay(2, 1, 1), relay(3, 1, 2)] {
        bench.read(0, late, &line);
    }
    bench.now_ns += 1;
    let sent_ns = bench.now_ns;
    let due_ns = if was_due { 0 } else { sent_ns };
    bench.ledgers[0]
        .sending(late, due_ns, sent_ns, false)
        .unwrap();
    bench.read(0, late, &ack(1, 0, 1));
    bench.read(2, listener, &relay_sent(1, 0, 1, due_ns));
    for line in [relay(2, 1, 1), relay(3, 1, 2)] {
        bench.read(2, listener, &line);
        bench.read(3, slow, &line);
    }
    breaks_off(&mut bench, 1, other); // or it would have noticed, too
    bench.leave(0, late, 3);
    bench.leave(2, listener, 3);
    bench.leave(3, slow, 3);
    for shard in 0..4 {
        bench.hand_over(shard);
    }
    assert_eq!(bench.judge.violation_count(), 1, "it waits, and is counted");
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::Causality, 1)], "{was_due}");
    let example = &findings.violations[&Kind::Causality].examples[0];
    assert_eq!((example.seq, example.k), (Some(1), Some(1)));
    let said = "c0 sent its message 1 after it had seen number 3, and it became number 1: an \
                effect before its cause";
    assert_eq!(example.text, said);
}

/// However many numbers come after it before anybody looks.
#[test]
fn a_message_numbered_too_late_is_counted_though_the_run_goes_on() {
    let (mut bench, [late, other, listener]) = room();
    sends(&mut bench, 1, other, 1500);
    bench.read(1, other, &ack(2, 1, 1));
    for line in [relay(2, 1, 1), relay(3, 1, 2)] {
        bench.read(0, late, &line);
    }
    sends(&mut bench, 0, late, 1);
    let first = relay_sent(1, 0, 1, bench.now_ns);
    bench.read(0, late, &ack(1, 0, 1));
    bench.read(1, other, &first);
    bench.read(2, listener, &first);
    bench.read(2, listener, &relay(2, 1, 1));
    for seq in 3..=1501 {
        bench.read(1, other, &ack(seq, 1, seq - 1));
        bench.read(2, listener, &relay(seq, 1, seq - 1));
        if seq > 3 {
            bench.read(0, late, &relay(seq, 1, seq - 1));
        }
    }
    for (shard, handle) in [late, other, listener].into_iter().enumerate() {
        bench.leave(shard, handle, 1501);
    }
    assert_eq!(kinds(&bench.finish()), [(Kind::Causality, 1)]);
}

/// Whoever noticed first: that its own sender had seen a later number says more.
#[test]
fn causality_comes_before_real_time() {
    for witness_first in [false, true] {
        let (mut bench, [late, other, listener, witness]) = room();
        sends(&mut bench, 1, other, 1);
        bench.read(1, other, &ack(2, 1, 1));
        bench.read(3, witness, &relay(2, 1, 1));
        bench.read(0, late, &relay(2, 1, 1));
        bench.now_ns += 1;
        let sent_ns = bench.now_ns;
        sends(&mut bench, 0, late, 1);
        let first = relay_sent(1, 0, 1, sent_ns);
        bench.read(0, late, &ack(1, 0, 1));
        for (session, handle) in [(1, other), (3, witness)] {
            bench.read(session, handle, &first);
        }
        bench.read(2, listener, &first);
        bench.read(2, listener, &relay(2, 1, 1));
        let all = [(0, late), (1, other), (2, listener), (3, witness)];
        for (session, handle) in all {
            bench.leave(session, handle, 2);
        }
        let order = if witness_first {
            [3, 1, 2, 0]
        } else {
            [0, 1, 2, 3]
        };
        for shard in order {
            bench.hand_over(shard);
        }
        assert_eq!(kinds(&bench.finish()), [(Kind::Causality, 1)]);
    }
}

/// With no ack to say what a number is, it is what most receivers got; who got another is named,
/// whichever shard spoke first, and the message is settled with the deliveries that were its own.
#[test]
fn of_receivers_that_differ_the_fewer_are_named() {
    for odd in 0..3 {
        let (mut bench, [one, two, a, b, c]) = room();
        for (session, handle) in [(0, one), (1, two)] {
            sends(&mut bench, session, handle, 1);
            breaks_off(&mut bench, session, handle);
        }
        for (i, handle) in [a, b, c].into_iter().enumerate() {
            let (first, second) = if i == odd { (1, 0) } else { (0, 1) };
            bench.read(2 + i, handle, &relay(1, first, 1));
            bench.read(2 + i, handle, &relay(2, second, 1));
            bench.leave(2 + i, handle, 2);
        }
        let mut settled = Vec::new();
        for shard in 0..5 {
            bench.hand_over_to(shard, |s| settled.push(s.receivers));
        }
        let findings = bench.finish();
        assert_eq!(kinds(&findings), [(Kind::OrderDivergence, 1)], "{odd}");
        let example = &findings.violations[&Kind::OrderDivergence].examples[0];
        let named = format!("c{}", 2 + odd);
        assert_eq!(example.receiver.as_deref(), Some(named.as_str()));
        assert_eq!(settled, [2, 2], "two of three got each as it is, {odd}");
    }
}

/// A message without its ack explains a number that nobody saw, unless it is known to have another.
#[test]
fn a_missing_ack_whose_number_is_known_explains_no_other_number() {
    for (relayed, expected) in [
        (false, &[(Kind::MissingAck, 1)][..]),
        (true, &[(Kind::MissingAck, 1), (Kind::SequenceGap, 1)]),
    ] {
        let (mut bench, [sender, talker, listener]) = room();
        sends(&mut bench, 0, sender, 1);
        sends(&mut bench, 1, talker, 2);
        // Number 1 is nobody's. Number 3 is the sender's, whose ack is dropped, or the end.
        for (session, handle) in [(0, sender), (2, listener)] {
            bench.read(session, handle, &relay(2, 1, 1));
        }
        bench.read(1, talker, &ack(2, 1, 1));
        let last = if relayed {
            bench.read(1, talker, &relay(3, 0, 1));
            bench.read(2, listener, &relay(3, 0, 1));
            4
        } else {
            3
        };
        for (session, handle) in [(0, sender), (2, listener)] {
            bench.read(session, handle, &relay(last, 1, 2));
        }
        bench.read(1, talker, &ack(last, 1, 2));
        for (session, handle) in [sender, talker, listener].into_iter().enumerate() {
            bench.leave(session, handle, last);
        }
        assert_eq!(kinds(&bench.finish()), expected, "relayed: {relayed}");
    }
}

/// What waits to be judged is counted as it comes: who watches a run sees it then.
#[test]
fn violations_are_counted_before_the_end() {
    let (mut bench, [talker, listener, closed]) = room();
    sends(&mut bench, 0, talker, 3);
    bench.read(1, listener, b"neither\n");
    // Numbers 2 and 4 are nobody's, and number 5 was sent first and numbered last.
    for (seq, k) in [(1, 2), (3, 3), (5, 1)] {
        bench.read(0, talker, &ack(seq, 0, k));
        bench.read(1, listener, &relay(seq, 0, k));
    }
    bench.ledgers[2].ended(closed, Ending::Eof, b"", 9);
    bench.leave(0, talker, 5);
    bench.leave(1, listener, 5);
    for shard in 0..3 {
        bench.hand_over(shard);
    }
    let before = bench.judge.violation_count();
    let findings = bench.finish();
    let expected = [
        (Kind::ReorderedRelay, 1),
        (Kind::SequenceGap, 2),
        (Kind::MalformedFrame, 1),
        (Kind::UnexpectedClose, 1),
    ];
    let mut found = kinds(&findings);
    found.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(before, findings.violation_count());
}

/// Targets count from anywhere, and the shard that speaks first need not be the one that saw the
/// first number.
#[test]
fn shards_may_begin_at_different_numbers() {
    const FIRST: u64 = 1 << 40;
    let mut bench = Bench::new(2, terms());
    let early = [0, 1].map(|session| bench.join(1, session, FIRST));
    sends(&mut bench, 1, early[0], 8);
    let late = bench.join(0, 2, FIRST + 5);
    for k in 6..=8 {
        bench.read(0, late, &relay(FIRST + k, 0, k));
    }
    bench.hand_over(0);
    for k in 1..=8 {
        bench.read(1, early[0], &ack(FIRST + k, 0, k));
        // It gets the third as what is the fourth to its sender, and the other way round.
        let got = match k {
            3 => 4,
            4 => 3,
            other => other,
        };
        bench.read(1, early[1], &relay(FIRST + k, 0, got));
    }
    for (shard, handle) in [(0, late), (1, early[0]), (1, early[1])] {
        bench.leave(shard, handle, FIRST + 8);
    }
    let mut settled = Vec::new();
    for shard in [1, 0] {
        bench.hand_over_to(shard, |s| settled.push(s.receivers));
    }
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::ReorderedRelay, 1)]);
    assert_eq!(findings.undecided, [""; 0]);
    assert_eq!(settled.len(), 8, "{settled:?}");
}

#[test]
fn a_target_that_says_goodbye_unasked_is_shutting_down() {
    let mut bench = Bench::new(1, terms());
    let listener = bench.join(0, 0, 0);
    let mut bye = Vec::new();
    ndjson::encode_bye(&mut bye, 0);
    bench.read(0, listener, &bye);
    bench.ledgers[0].ended(listener, Ending::Eof, b"", 9);
    let findings = bench.finish();
    assert_eq!(kinds(&findings), []);
    let [undecided] = &findings.undecided[..] else {
        panic!("{:?}", findings.undecided);
    };
    assert!(undecided.contains("goodbye to 1 sessions"), "{undecided}");
}

/// The message in a last frame under a wrong number is another number: by its ack, or because
/// others got it, wherever that is.
#[test]
fn what_a_message_under_a_wrong_number_really_is() {
    for (acked, relayed, number) in [
        (true, false, 4),
        (false, true, 4),
        (true, true, 4),
        (true, true, 5),
    ] {
        let (mut bench, [sender, talker, listener, breaking]) = room();
        sends(&mut bench, 0, sender, 1);
        sends(&mut bench, 1, talker, 5);
        for seq in 1..=6_u64 {
            // That number is the sender's only message, all others are the talker's.
            let its_own = seq == number;
            let k = seq - u64::from(seq > number);
            let line = match its_own {
                true => relay(seq, 0, 1),
                false => relay(seq, 1, k),
            };
            match its_own {
                true if acked => drop(bench.read(0, sender, &ack(seq, 0, 1))),
                true => breaks_off(&mut bench, 0, sender),
                false => drop(bench.read(1, talker, &ack(seq, 1, k))),
            }
            if !its_own && acked {
                bench.read(0, sender, &line);
            }
            if !its_own || relayed {
                bench.read(2, listener, &line);
            }
            if its_own && relayed {
                bench.read(1, talker, &line);
            }
        }
        bench.read(3, breaking, &relay(1, 1, 1));
        bench.read(3, breaking, &relay(3, 0, 1));
        breaks_off(&mut bench, 3, breaking);
        if acked {
            bench.leave(0, sender, 6);
        }
        bench.leave(1, talker, 6);
        bench.leave(2, listener, 6);
        let findings = bench.finish();
        let altered = &findings.violations[&Kind::AlteredRelay];
        assert_eq!(altered.count, 1);
        let text = &altered.examples[0].text;
        let said = format!("which is number {number}, as number 3");
        assert!(text.ends_with(&said), "{text}");
    }
}

/// Whose it is, where that can be said.
#[test]
fn an_ack_that_nobody_is_owed_says_whose_it_is() {
    for (sender, said) in [
        (
            0,
            "c0 was sent an ack for its message 7 (number 1), which it never sent",
        ),
        (1, "c0 was sent the ack for message 7 of c1 (number 1)"),
    ] {
        let (mut bench, [client, other]) = room();
        bench.read(0, client, &ack(1, sender, 7));
        breaks_off(&mut bench, 0, client);
        breaks_off(&mut bench, 1, other);
        let findings = bench.finish();
        let stray = &findings.violations[&Kind::StrayAck];
        assert_eq!((stray.count, stray.examples[0].text.as_str()), (1, said));
    }
}

/// Its session is long over, and nothing of it was under way.
#[test]
fn a_message_relayed_to_all_again_when_its_sender_has_left() {
    for forgotten in [false, true] {
        let (mut bench, [sender, one, other]) = room();
        sends(&mut bench, 0, sender, 2);
        for seq in 1..=2 {
            bench.read(0, sender, &ack(seq, 0, seq));
            for (shard, handle) in [(1, one), (2, other)] {
                bench.read(shard, handle, &relay(seq, 0, seq));
            }
        }
        bench.leave(0, sender, 2);
        if forgotten {
            (0..3).for_each(|shard| bench.hand_over(shard));
            assert_eq!(bench.directory.remembered(), 2);
        }
        for (shard, handle) in [(1, one), (2, other)] {
            bench.read(shard, handle, &relay(3, 0, 1));
            bench.leave(shard, handle, 3);
        }
        assert_eq!(kinds(&bench.finish()), [(Kind::DuplicateRelay, 1)]);
    }
}

/// A claim in place of number 514 is none in place of number 2, which nobody got.
#[test]
fn a_claim_stands_for_the_number_that_was_due_and_no_other() {
    for due in [500, 514, 600] {
        let (mut bench, [talker, listener, other]) = room();
        sends(&mut bench, 0, talker, 700);
        for seq in (1..=700_u64).filter(|&seq| seq != 2) {
            let k = if seq > 2 { seq - 1 } else { seq };
            if seq == due {
                bench.read(1, listener, &relay(300, 0, 299));
            }
            bench.read(0, talker, &ack(seq, 0, k));
            bench.read(1, listener, &relay(seq, 0, k));
            bench.read(2, other, &relay(seq, 0, k));
        }
        breaks_off(&mut bench, 0, talker);
        bench.leave(1, listener, 700);
        bench.leave(2, other, 700);
        let expected = [(Kind::DuplicateRelay, 1), (Kind::SequenceGap, 1)];
        assert_eq!(kinds(&bench.finish()), expected, "{due}");
    }
}

/// Neither was there anybody else to get it, nor does its ack say what it is.
#[test]
fn a_relay_lost_to_one_and_altered_to_another_was_no_skipped_number() {
    let (mut bench, [sender, talker, one, other]) = room();
    sends(&mut bench, 0, sender, 1);
    sends(&mut bench, 1, talker, 1);
    breaks_off(&mut bench, 0, sender);
    let mut altered = relay(1, 0, 1);
    let at = altered.len() - 4;
    altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
    bench.read(1, talker, &altered);
    bench.read(1, talker, &ack(2, 1, 1));
    bench.read(2, one, &altered);
    for (shard, handle) in [(2, one), (3, other)] {
        bench.read(shard, handle, &relay(2, 1, 1));
    }
    for (shard, handle) in [(1, talker), (2, one), (3, other)] {
        bench.leave(shard, handle, 2);
    }
    let expected = [(Kind::LostRelay, 1), (Kind::AlteredRelay, 1)];
    assert_eq!(kinds(&bench.finish()), expected);
}

/// Of a message that has no other number: its sender broke off, and nobody else got it.
#[test]
fn a_message_under_anothers_number_and_none_of_its_own_is_a_number_given_twice() {
    for reads_both in [false, true] {
        let (mut bench, [gone, talker, one, other]) = room();
        sends(&mut bench, 0, gone, 1);
        sends(&mut bench, 1, talker, 2);
        breaks_off(&mut bench, 0, gone);
        for seq in 1..=2 {
            bench.read(1, talker, &ack(seq, 1, seq));
            bench.read(2, one, &relay(seq, 1, seq));
        }
        bench.read(3, other, &relay(1, 0, 1));
        if reads_both {
            bench.read(3, other, &relay(1, 1, 1));
        }
        bench.read(3, other, &relay(2, 1, 2));
        for (shard, handle) in [(1, talker), (2, one), (3, other)] {
            bench.leave(shard, handle, 2);
        }
        assert_eq!(
            kinds(&bench.finish()),
            [(Kind::SequenceReuse, 1)],
            "{reads_both}"
        );
    }
}

/// What one receiver misses without a break may be two things.
#[test]
fn a_number_lost_beside_one_that_nobody_got() {
    for skipped in [1, 2] {
        let (mut bench, [talker, listener, loser]) = room();
        sends(&mut bench, 0, talker, 2);
        for (seq, k) in [(3 - skipped, 1), (3, 2)] {
            bench.read(0, talker, &ack(seq, 0, k));
            bench.read(1, listener, &relay(seq, 0, k));
        }
        bench.read(2, loser, &relay(3, 0, 2));
        for (shard, handle) in [talker, listener, loser].into_iter().enumerate() {
            bench.leave(shard, handle, 3);
        }
        let expected = [(Kind::LostRelay, 1), (Kind::SequenceGap, 1)];
        assert_eq!(kinds(&bench.finish()), expected, "{skipped}");
    }
}

/// Three shards with one receiver each are more than one with two.
#[test]
fn a_majority_is_of_receivers_wherever_they_are() {
    let (mut bench, [one, two, a, b, c]) = room();
    let odd = [0, 1].map(|i| bench.join(0, 5 + i, 0));
    for (shard, handle) in [(0, one), (1, two)] {
        sends(&mut bench, shard, handle, 1);
        breaks_off(&mut bench, shard, handle);
    }
    let all = [(0, odd[0]), (0, odd[1]), (2, a), (3, b), (4, c)];
    for (i, (shard, handle)) in all.into_iter().enumerate() {
        let (first, second) = if i < 2 { (1, 0) } else { (0, 1) };
        bench.read(shard, handle, &relay(1, first, 1));
        bench.read(shard, handle, &relay(2, second, 1));
        bench.leave(shard, handle, 2);
    }
    let findings = bench.finish();
    assert_eq!(kinds(&findings), [(Kind::OrderDivergence, 1)]);
    let example = &findings.violations[&Kind::OrderDivergence].examples[0];
    assert_eq!(example.receiver.as_deref(), Some("c5"));
}

/// Whoever's shard spoke first: it was due, and was got, when those say who got it.
#[test]
fn a_message_that_one_receiver_did_not_get_is_settled_with_those_who_did() {
    for odd in 0..3 {
        let (mut bench, [one, two, a, b, c]) = room();
        for (session, handle, due_ns) in [(0, one, 20), (1, two, 30)] {
            let ledger = &mut bench.ledgers[session];
            ledger.sending(handle, due_ns, due_ns, false).unwrap();
            breaks_off(&mut bench, session, handle);
        }
        let lines = |seq, sender, due_ns| relay_sent(seq, sender, 1, due_ns);
        let mut right_ns = [Vec::new(), Vec::new()];
        bench.now_ns = 100;
        for (i, handle) in [a, b, c].into_iter().enumerate() {
            let texts = [(0, 20), (1, 30)];
            for seq in 1..=2 {
                let (sender, due_ns) = texts[if i == odd { 2 - seq } else { seq - 1 }];
                bench.now_ns += 10;
                bench.read(2 + i, handle, &lines(seq as u64, sender, due_ns));
                if i != odd {
                    right_ns[seq - 1].push(bench.now_ns);
                }
            }
            bench.leave(2 + i, handle, 2);
        }
        let mut settled = Vec::new();
        for shard in 0..5 {
            bench.hand_over_to(shard, |s| settled.push(s));
        }
        let expected = [(20, &right_ns[0]), (30, &right_ns[1])].map(|(intended_ns, got)| Settled {
            room: RoomId::UNNAMED,
            intended_ns,
            first_ns: got[0],
            last_ns: got[1],
            receivers: 2,
        });
        assert_eq!(settled, expected, "{odd}");
    }
}

/// What came in its place has a number of its own.
#[test]
fn a_duplicate_where_a_number_was_skipped_is_not_that_number() {
    let (mut bench, [talker, listener, other]) = room();
    sends(&mut bench, 0, talker, 2);
    for (seq, k) in [(1, 1), (3, 2)] {
        bench.read(0, talker, &ack(seq, 0, k));
        bench.read(1, listener, &relay(seq, 0, k));
        bench.read(2, other, &relay(seq, 0, k));
        if k == 1 {
            bench.read(1, listener, &relay(1, 0, 1));
        }
    }
    for (shard, handle) in [talker, listener, other].into_iter().enumerate() {
        bench.leave(shard, handle, 3);
    }
    let expected = [(Kind::DuplicateRelay, 1), (Kind::SequenceGap, 1)];
    assert_eq!(kinds(&bench.finish()), expected);
}

/// Nobody else says what the number due is, nor which one the message has: it is one wrong number.
#[test]
fn what_came_in_place_of_a_number_that_nobody_knows_is_that_number() {
    let (mut bench, [one, two, three, listener]) = room();
    for (session, handle) in [one, two, three].into_iter().enumerate() {
        sends(&mut bench, session, handle, 1);
        breaks_off(&mut bench, session, handle);
    }
    for (seq, sender) in [(1, 0), (1, 1), (3, 2)] {
        bench.read(3, listener, &relay(seq, sender, 1));
    }
    bench.leave(3, listener, 3);
    assert_eq!(kinds(&bench.finish()), [(Kind::AlteredRelay, 1)]);
}
