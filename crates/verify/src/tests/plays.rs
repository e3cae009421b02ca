//! Histories in a few words, and what each comes to. `1 gets 0.2` is client 1 being relayed the
//! second message of client 0; whoever is left at the end leaves politely, one after the other.
//!
//! Of each the brute-force checker [`oracle_inferred`](super::oracle_inferred) must say the same, and of
//! histories drawn step by step, which no server need have made.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::agreement_inferred::ORDER;
use super::fault_table::INFERRED_ORDER;
use super::oracle_inferred;
use super::weaker::{Bench, in_order, kinds};
use crate::findings::Findings;
use crate::kind::Kind;
use crate::ledger::Ending;
use crate::promises::{AckPromise, OrderPromise, Promises};
use chatbench_wire::protocol::Protocol::{self, Classic, Ndjson};

/// Clients of a target that does as the play says.
struct Stage {
    bench: Bench,
    dialect: Protocol,
    promises: Promises,
    /// By client: it is there; it has half-closed.
    there: Vec<bool>,
    leaving: Vec<bool>,
}

impl Stage {
    fn new(promises: Promises, dialect: Protocol) -> Self {
        let mut bench = Bench::new(promises, dialect, 0);
        bench.observations = Some(Vec::new());
        Self {
            bench,
            dialect,
            promises,
            there: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// Plays one step; `false` if it cannot be: of a client that is not there, or of a message that
    /// nobody sent.
    fn step(&mut self, step: &str) -> bool {
        let words: Vec<&str> = step.split(' ').collect();
        let number = |word: &str| word.parse::<usize>().unwrap();
        if let ["join", count] = words[..] {
            for _ in 0..number(count) {
                self.bench.join();
                self.there.push(true);
                self.leaving.push(false);
            }
            return true;
        }
        if words == ["hand", "over"] {
            self.bench.hand_over();
            return true;
        }
        let who = number(words[0]);
        if !self.there.get(who).is_some_and(|there| *there) {
            return false;
        }
        let bench = &mut self.bench;
        let message = |name: &str| {
            let (from, k) = name.split_once('.').unwrap();
            (number(from), number(k))
        };
        match words[1..] {
            ["says"] if !self.leaving[who] => bench.send(who, false),
            ["gets", name, ref how @ ..] => {
                let (from, k) = message(name);
                if from >= self.there.len() || k > bench.sent(from) {
                    return false;
                }
                match how {
                    ["altered"] => bench.relay_altered(who, from, k),
                    _ => bench.relay(who, from, k),
                }
            }
            ["acked", k] => bench.ack(who, number(k) as u64),
            ["refused", k] if self.dialect == Ndjson && number(k) <= bench.sent(who) => {
                bench.refuse(who, number(k) as u64);
            }
            ["waits", "in", "vain"] => {
                let handle = bench.clients[who];
                bench.ledger.overdue_acks(handle, "1s", bench.now_ns);
            }
            ["half-closes"] => self.half_closes(who),
            ["is", "told", "bye"] if self.dialect == Ndjson => bench.bye(who),
            ["leaves"] => {
                self.half_closes(who);
                if self.dialect == Ndjson {
                    self.bench.bye(who);
                }
                self.ends(who, Ending::Eof);
            }
            ["is", "closed"] => self.ends(who, Ending::Eof),
            ["breaks", "off"] => self.ends(who, Ending::Ours),
            ["loses", "the", "connection"] => self.ends(who, Ending::Broken),
            _ => return false,
        }
        true
    }

    fn half_closes(&mut self, who: usize) {
        if !std::mem::replace(&mut self.leaving[who], true) {
            self.bench.half_close(who);
        }
    }

    fn ends(&mut self, who: usize, ending: Ending) {
        self.there[who] = false;
        self.bench.end(who, ending);
    }

    /// Whoever is left leaves. What was found, and what brute force finds.
    fn finish(mut self) -> (Findings, Verdict) {
        for who in 0..self.there.len() {
            self.step(&format!("{who} leaves"));
        }
        let observations = self.bench.observations.take().unwrap();
        let brute = oracle_inferred::verdict(&observations, self.dialect, self.promises, true);
        (self.bench.finish(), brute)
    }
}

type Verdict = BTreeMap<Kind, u64>;

/// Brute force finds what is out of order, not where; and what is lost then depends on that.
fn is_alike(found: &Verdict, brute: &Verdict) -> bool {
    let out_of_order = |v: &Verdict| ORDER.iter().any(|kind| v.contains_key(kind));
    let certain = |v: &Verdict| {
        let mut certain = v.clone();
        if out_of_order(v) {
            certain.retain(|kind, _| !ORDER.contains(kind) && *kind != Kind::LostRelay);
        }
        certain
    };
    out_of_order(found) == out_of_order(brute) && certain(found) == certain(brute)
}

fn play(promises: Promises, dialect: Protocol, history: &str) -> (Findings, Verdict) {
    let mut stage = Stage::new(promises, dialect);
    for step in history.split("; ") {
        assert!(stage.step(step), "{step:?} cannot be, in {history:?}");
    }
    stage.finish()
}

/// What a history shows, who the target is, the history, and what is found in it.
type Play = (&'static str, Protocol, &'static str, &'static [(Kind, u64)]);

/// What is promised is what the reference server promises, but for the numbers.
#[rustfmt::skip]
const PLAYS: &[Play] = &[
    // Whom to believe, where receivers differ.
    ("two believe each other against one", Ndjson,
        "join 5; 0 says; 1 says; 2 gets 0.1; 2 gets 1.1; 3 gets 1.1; 3 gets 0.1; 4 gets 1.1; 4 gets 0.1; \
         0 gets 1.1; 1 gets 0.1; 0 acked 1; 1 acked 1",
        &[(Kind::OrderDivergence, 1)]),
    ("whoever has one sender's messages exchanged has what they passed wrong, too", Ndjson,
        "join 4; 0 says; 0 acked 1; 2 gets 0.1; 1 says; 1 gets 0.1; 2 gets 1.1; 1 says; 0 says; 3 gets 1.1; \
         0 gets 1.1; 0 acked 2; 0 gets 1.2; 3 gets 0.2; 1 gets 0.2; 2 gets 1.2; 2 gets 0.2; 3 gets 1.2; \
         1 acked 1; 3 gets 0.1; 1 acked 2",
        &[(Kind::ReorderedRelay, 1)]),
    ("one message exchanged with two others is one violation", Classic,
        "join 3; 0 says; 0 says; join 1; 3 says; 0 gets 3.1; 1 gets 0.1; 1 gets 3.1; 1 gets 0.2; 2 gets 0.2; \
         2 gets 3.1; 2 gets 0.1; 0 acked 1; 0 acked 2; 3 acked 1",
        &[(Kind::ReorderedRelay, 1)]),
    ("so it is where the one is held back", Ndjson,
        "join 2; 0 says; join 1; 1 says; join 1; 0 acked 1; 0 says; 1 gets 0.1; 2 says; 0 says; 1 gets 0.2; \
         1 gets 2.1; 1 acked 1; 1 gets 0.3; 2 gets 0.2; 2 acked 1; 2 gets 1.1; 2 gets 0.3; 0 acked 2; \
         3 gets 0.2; 3 gets 1.1; 3 gets 0.3; 3 gets 2.1; 0 gets 2.1; 0 gets 1.1; 0 acked 3",
        &[(Kind::OrderDivergence, 1)]),
    ("three orders of three messages, of which no two can be compared, are one violation", Ndjson,
        "join 3; 0 says; 1 says; 2 says; 2 gets 0.1; 2 gets 1.1; 2 acked 1; 0 gets 1.1; 0 acked 1; \
         0 gets 2.1; 1 acked 1; 1 gets 2.1; 1 gets 0.1",
        &[(Kind::OrderDivergence, 1)]),
    ("alike for all is one violation, whoever else talks between", Classic,
        "join 3; 1 says; 1 says; 2 says; 1 gets 2.1; 0 gets 1.2; 0 gets 1.1; 0 gets 2.1; 2 gets 1.2; 2 gets 1.1; \
         1 acked 1; 1 acked 2; 2 acked 1",
        &[(Kind::ReorderedRelay, 1)]),
    ("one message after two of its sender's is one violation, alike for all", Classic,
        "join 3; 0 says; 0 says; 0 says; 0 says; 2 gets 0.3; 2 gets 0.4; 2 gets 0.2; 1 gets 0.3; 1 gets 0.4; \
         0 acked 4; 1 gets 0.2; 0 acked 1; 0 acked 2; 0 acked 3",
        &[(Kind::ReorderedRelay, 1)]),
    ("what one receiver has exchanged is not out of real time besides", Classic,
        "join 3; 1 says; 1 says; 1 acked 1; 2 says; 0 gets 2.1; 0 gets 1.2; 0 gets 1.1; 1 gets 2.1; \
         2 gets 1.1; 2 gets 1.2; 2 acked 1; 1 acked 2",
        &[(Kind::ReorderedRelay, 1)]),
    ("nor where it joined between", Ndjson,
        "join 2; 1 says; join 1; 1 acked 1; 0 gets 1.1; 2 says; 2 acked 1; 1 says; 1 says; 0 gets 1.3; \
         0 gets 1.2; 0 gets 2.1; 1 acked 2; 1 acked 3; 1 gets 2.1; 2 gets 1.2; 2 gets 1.3",
        &[(Kind::ReorderedRelay, 1)]),
    ("a late message fills its place, whenever it comes: one violation", Ndjson,
        "join 2; 1 says; 1 says; 1 acked 1; 1 says; 0 gets 1.3; 0 gets 1.1; hand over; 0 gets 1.2; \
         1 acked 2; 1 acked 3",
        &[(Kind::ReorderedRelay, 1)]),
    ("a message that stood still while another passed was passed by one", Ndjson,
        "join 1; 0 says; 0 says; join 3; 2 says; 2 acked 1; 2 says; 0 acked 1; 0 acked 2; 0 gets 2.2; \
         1 gets 0.2; 1 gets 2.2; 1 gets 2.1; 3 gets 2.1; 3 gets 0.2; 3 gets 2.2; 2 acked 2; 0 gets 2.1; 2 gets 0.2",
        &[(Kind::ReorderedRelay, 2)]),
    // What a sender knew, and what the target had taken.
    ("an effect before its cause is no message out of real time", Ndjson,
        "join 3; 2 says; 0 gets 2.1; 0 says; 1 gets 0.1; 1 gets 2.1; 2 gets 0.1; 2 acked 1; 0 acked 1",
        &[(Kind::Causality, 1)]),
    ("a message sent after another was acked comes after it", Classic,
        "join 3; 2 says; 2 acked 1; 1 says; 0 gets 1.1; 0 gets 2.1; 1 gets 2.1; 2 gets 1.1; 1 acked 1",
        &[(Kind::RealTime, 1)]),
    ("and one that was sent before that, anywhere", Ndjson,
        "join 3; 1 says; 0 says; 1 gets 0.1; 2 gets 1.1; 2 gets 0.1; 0 gets 1.1; 1 acked 1; 0 acked 1",
        &[]),
    ("two who exchange messages need not agree on what neither got of itself", Classic,
        "join 3; 0 says; 1 says; 0 says; 1 acked 1; 1 gets 0.1; 1 gets 0.2; 0 gets 1.1; 0 acked 1; 2 gets 1.1; \
         0 acked 2; 2 gets 0.1; 2 gets 0.2",
        &[]),
    ("what one says when another's is acked comes after that one's, though nobody got both", Ndjson,
        "join 2; 1 says; 0 says; 1 acked 1; 0 gets 1.1; 1 gets 0.1; 0 acked 1; 0 says; join 1; 1 leaves; \
         0 acked 2; join 1; 3 says; 2 gets 3.1; 2 gets 0.2; 3 acked 1; 0 gets 3.1",
        &[(Kind::RealTime, 1)]),
    ("what its sender knew it had got late it did not know before", Ndjson,
        "join 4; 0 says; 3 gets 0.1; 2 says; 3 says; 0 gets 2.1; 3 gets 2.1; 0 acked 1; 2 gets 3.1; 2 gets 0.1; \
         2 says; 1 gets 2.2; 1 gets 0.1; 2 acked 1; 3 acked 1; 2 acked 2",
        &[(Kind::LostRelay, 1), (Kind::Causality, 2)]),
    // What follows about a message that did not come.
    ("of one sender's messages a later one shows that the first was owed", Classic,
        "join 4; 0 says; 0 says; 3 gets 0.1; 1 gets 0.1; 1 gets 0.2; 0 acked 1; 0 acked 2; 2 gets 0.1; 2 gets 0.2",
        &[(Kind::LostRelay, 1)]),
    ("between what a newcomer's sender said before and what it got lies what it was owed", Ndjson,
        "join 1; 0 says; 0 acked 1; join 1; 1 says; 1 says; 1 acked 1; join 1; 0 gets 1.1; 2 says; 0 gets 2.1; \
         0 gets 1.2; 1 gets 2.1; 1 acked 2; 2 acked 1",
        &[(Kind::LostRelay, 1)]),
    ("who has got a message before another's own was owed what it passed", Classic,
        "join 3; 1 says; 0 says; 2 says; 2 gets 0.1; 1 gets 2.1; 1 gets 0.1; 0 gets 2.1; 0 gets 1.1; 1 acked 1; \
         0 acked 1; 2 acked 1",
        &[(Kind::LostRelay, 1)]),
    ("what comes before one's own last message was owed, though one had half-closed by then", Ndjson,
        "join 3; 0 says; 0 half-closes; 2 says; 2 gets 0.1; 1 gets 2.1; 1 gets 0.1; 0 acked 1; 2 acked 1",
        &[(Kind::LostRelay, 1)]),
    ("likewise where one with a wrong line went after it", Ndjson,
        "join 4; 2 says; 2 acked 1; 0 gets 2.1; 1 gets 2.1; 3 gets 2.1; 3 gets 2.1 altered; 1 says; 0 says; 0 acked 1; \
         0 leaves; 3 breaks off; 1 acked 1; 2 gets 1.1; 2 gets 0.1; 1 gets 0.1",
        &[(Kind::LostRelay, 1), (Kind::AlteredRelay, 1)]),
    ("one who joined late began before what nobody had got by then", Classic,
        "join 3; 1 says; 1 acked 1; 2 says; 0 gets 2.1; 2 gets 1.1; 1 gets 2.1; 0 says; 0 acked 1; 1 gets 0.1; \
         2 gets 0.1; 2 acked 1",
        &[(Kind::LostRelay, 1)]),
    ("a message a little before a newcomer's start is not forgotten", Ndjson,
        "join 2; 1 says; 0 says; 1 gets 0.1; 0 says; 0 gets 1.1; join 1; 0 says; 1 gets 0.3; 1 acked 1; 0 acked 1; \
         0 acked 2; 0 acked 3",
        &[(Kind::LostRelay, 1), (Kind::AckWithoutRelay, 1)]),
    ("messages of which one was seen were taken in the order sent", Classic,
        "join 2; 0 says; 0 says; 0 says; 0 acked 1; 0 acked 2; 0 acked 3; 1 gets 0.2",
        &[(Kind::AckWithoutRelay, 1)]),
    ("a message that came to nobody is lost once, though its sender leaves first", Classic,
        "join 2; 1 says; 0 gets 1.1; 0 says; 1 acked 1; 0 acked 1",
        &[(Kind::AckWithoutRelay, 1)]),
    ("a message that somebody got and nobody acked is lost to the others", Classic,
        "join 3; 1 says; 2 gets 1.1",
        &[(Kind::LostRelay, 1), (Kind::MissingAck, 1)]),
    ("what was asked for while some had not read on is judged when all have", Ndjson,
        "join 3; 2 says; 2 says; 1 gets 2.1; 1 gets 2.2; 0 gets 2.1; hand over; 1 says; 0 gets 1.1; 2 gets 1.1; \
         2 acked 1; 2 acked 2; 1 acked 1",
        &[(Kind::LostRelay, 1)]),
    ("a message may yet be acked while its sender is there", Ndjson,
        "join 2; 1 says; 1 says; 0 says; 0 gets 1.2; 1 gets 0.1; 0 breaks off; hand over; 1 acked 1; 1 acked 2",
        &[(Kind::AckWithoutRelay, 1)]),
    // Joining and leaving.
    ("who left before a message was taken was not owed it, wherever it stands", Classic,
        "join 2; 1 says; 1 acked 1; 0 says; join 1; 2 gets 0.1; 2 leaves; 0 gets 1.1; 0 acked 1; 1 gets 0.1",
        &[]),
    ("who broke off was there for what comes before its own", Ndjson,
        "join 3; 0 says; 0 says; 0 acked 1; 0 acked 2; 1 says; 2 gets 1.1; 2 breaks off; 0 gets 1.1; \
         1 gets 0.1; 1 acked 1",
        &[(Kind::LostRelay, 1), (Kind::AckWithoutRelay, 1)]),
    ("what another gets shows that one has joined who stood before it began to connect", Classic,
        "join 4; 0 says; 1 gets 0.1; 2 says; 2 acked 1; 1 gets 2.1; 0 acked 1; 0 gets 2.1",
        &[]),
    ("a goodbye that nobody asked for owes no acks", Ndjson,
        "join 1; 0 says; 0 is told bye; 0 breaks off",
        &[]),
    // Acks.
    ("a message is answered once: what was acked cannot be refused any more", Ndjson,
        "join 2; 0 says; 0 acked 1; 1 gets 0.1; 0 refused 1",
        &[(Kind::RelayOfRejected, 1)]),
    ("and not twice", Ndjson,
        "join 2; 0 says; 0 acked 1; 1 gets 0.1; 0 refused 1; 0 refused 1",
        &[(Kind::RelayOfRejected, 1), (Kind::StrayError, 1)]),
    ("a refusal overtakes nothing", Ndjson,
        "join 2; 0 says; 0 says; 0 refused 2; 0 acked 1; 1 gets 0.1",
        &[(Kind::MissingAck, 1)]),
    ("an ack after the bye is a missing ack, and not one too many besides", Ndjson,
        "join 1; 0 says; 0 half-closes; 0 is told bye; 0 acked 1; 0 is closed",
        &[(Kind::MissingAck, 1)]),
    ("two acks of one message after a later one's are one ack out of order", Ndjson,
        "join 1; 0 says; 0 says; 0 says; 0 acked 1; 0 acked 3; 0 says; 0 acked 2; 0 acked 4",
        &[(Kind::ReorderedAck, 1)]),
    ("a message acked twice before it was relayed is relayed to all the same", Classic,
        "join 2; 0 says; 0 says; 1 says; 0 acked 1; 0 acked 1; 1 gets 0.1; 0 gets 1.1; 1 acked 1; 0 acked 2",
        &[(Kind::AckWithoutRelay, 1), (Kind::DuplicateAck, 1)]),
];

#[test]
fn each_comes_to_what_it_says_and_so_it_does_by_brute_force() {
    let mut wrong = Vec::new();
    for (what, dialect, history, expected) in PLAYS {
        let (findings, brute) = play(INFERRED_ORDER, *dialect, history);
        let found: Verdict = kinds(&findings).into_iter().collect();
        if found != expected.iter().copied().collect() || !is_alike(&found, &brute) {
            wrong.push(format!(
                "{what}: {history}\n  {found:?} by brute force {brute:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What comes of a history where something else is promised.
fn promised(promises: Promises, dialect: Protocol, history: &str) -> Vec<(Kind, u64)> {
    kinds(&play(promises, dialect, history).0)
}

#[test]
fn one_senders_message_after_any_later_one_of_it_is_out_of_its_order() {
    let fifo = in_order(OrderPromise::Fifo);
    let reordered = [(Kind::ReorderedRelay, 1)];
    let after_two = "join 2; 0 says; 0 says; 0 says; 1 gets 0.2; 1 gets 0.3; 1 gets 0.1; 0 acked 1; \
                      0 acked 2; 0 acked 3";
    assert_eq!(promised(fifo, Ndjson, after_two), reordered);
    let after_the_last = "join 3; 0 says; 0 says; 0 says; 2 gets 0.1; 2 gets 0.2; 2 gets 0.3; 2 says; \
                           1 gets 2.1; 0 gets 2.1; 1 gets 0.1; 1 gets 0.3; 1 gets 0.2; 0 acked 1; \
                           0 acked 2; 0 acked 3; 2 acked 1";
    assert_eq!(promised(fifo, Ndjson, after_the_last), reordered);
    let others_between = "join 3; 1 says; 1 says; 2 says; 2 acked 1; 2 gets 1.1; 2 gets 1.2; 0 gets 2.1; \
                          0 gets 1.1; 0 gets 1.2; 1 gets 2.1; 1 acked 1; 1 acked 2";
    assert_eq!(promised(fifo, Ndjson, others_between), []);
}

/// Client 2 stood before client 3 began to connect, so it was there for what was said when 3 had
/// got something; that 1 broke off before anybody got anything changes nothing.
#[test]
fn who_goes_unheard_takes_nothing_from_what_is_known_of_others() {
    let history = "join 4; 1 breaks off; 0 says; 0 acked 1; 3 gets 0.1; 0 says; 0 acked 2; 3 gets 0.2; \
                   0 leaves; 3 leaves";
    let fifo = in_order(OrderPromise::Fifo);
    assert_eq!(promised(fifo, Classic, history), [(Kind::LostRelay, 1)]);
}

#[test]
fn a_classic_target_owes_no_acks_and_no_bye() {
    let no_acks = Promises {
        ack: AckPromise::None,
        ..INFERRED_ORDER
    };
    let acked = promised(no_acks, Classic, "join 1; 0 says; 0 acked 1");
    assert_eq!(acked, [(Kind::StrayAck, 1)]);
    let broken = promised(
        INFERRED_ORDER,
        Classic,
        "join 1; 0 half-closes; 0 loses the connection",
    );
    assert_eq!(broken, [(Kind::UnexpectedClose, 1)]);
}

#[test]
fn acks_waited_for_in_vain_are_missing_though_their_client_breaks_off() {
    let history = "join 1; 0 says; 0 waits in vain; 0 breaks off";
    assert_eq!(
        promised(INFERRED_ORDER, Ndjson, history),
        [(Kind::MissingAck, 1)]
    );
}

/// Its sender's next one was acked before client 2 began to connect, which says nothing of it.
#[test]
fn what_was_refused_was_not_taken_with_what_its_sender_sent_later() {
    let history = "join 2; 0 says; 0 refused 1; 0 says; 0 acked 2; 1 gets 0.2; join 1; 2 gets 0.1";
    let found = promised(INFERRED_ORDER, Ndjson, history);
    assert_eq!(found, [(Kind::LostRelay, 1), (Kind::RelayOfRejected, 1)]);
}

/// What its sender leaves unacked is not under way any more.
#[test]
fn nobody_sends_while_the_messages_of_one_who_has_gone_are_under_way() {
    for gone in [false, true] {
        let going = if gone { "1 breaks off; " } else { "" };
        let history = format!("join 2; 1 says; {going}0 says; 0 acked 1");
        let (findings, _) = play(INFERRED_ORDER, Ndjson, &history);
        assert_eq!(findings.coverage.overlapping_sends, u64::from(!gone));
    }
}

/// A step of a play, whether it can be or not.
fn any_step() -> impl Strategy<Value = String> {
    let who = || 0_usize..5;
    let k = || 1_usize..4;
    prop_oneof![
        1 => Just("join 1".to_owned()),
        6 => who().prop_map(|who| format!("{who} says")),
        14 => (who(), who(), k()).prop_map(|(who, from, k)| format!("{who} gets {from}.{k}")),
        5 => (who(), k()).prop_map(|(who, k)| format!("{who} acked {k}")),
        1 => (who(), k()).prop_map(|(who, k)| format!("{who} refused {k}")),
        1 => who().prop_map(|who| format!("{who} half-closes")),
        1 => who().prop_map(|who| format!("{who} leaves")),
        1 => who().prop_map(|who| format!("{who} breaks off")),
        1 => Just("hand over".to_owned()),
    ]
}

proptest! {
    #![proptest_config(super::config(2000))]

    /// Whatever a target sends: nobody is accused of what a correct one can explain.
    #[test]
    fn whatever_comes_what_is_found_no_correct_server_explains(
        clients in 1_usize..5,
        classic: bool,
        steps in prop::collection::vec(any_step(), 0..40),
    ) {
        let dialect = if classic { Classic } else { Ndjson };
        let mut stage = Stage::new(INFERRED_ORDER, dialect);
        stage.step(&format!("join {clients}"));
        let history: Vec<&String> = steps.iter().filter(|step| stage.step(step)).collect();
        let (findings, brute) = stage.finish();
        prop_assert_eq!(kinds(&findings).is_empty(), brute.is_empty(), "{:?}: {:?}", history, brute);
    }
}
