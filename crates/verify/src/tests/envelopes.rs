//! A protocol whose frames differ by receiver, and which answers what it reads.

use std::sync::Arc;

use super::world::{SEED, address, terms};
use crate::directory::{ClientId, Directory};
use crate::judge::Judge;
use crate::ledger::{Ending, Ledger, Terms};
use crate::promises::{AckPromise, Promises};
use chatbench_wire::payload;
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{Capabilities, Conn, Due, Glued, Publishing, RawSent, Relay, Seen};

/// One connection: `<RECEIVER|TEXT>`, answered with `.`.
struct Enveloped {
    receiver: &'static str,
    decoded: usize,
}

impl Enveloped {
    /// The text of the frame that comes next, and how long the frame is.
    fn text<'a>(&self, input: &'a [u8]) -> Option<(&'a [u8], usize)> {
        let text = input.strip_prefix(b"<")?;
        let text = text.strip_prefix(self.receiver.as_bytes())?;
        let text = text.strip_prefix(b"|")?;
        let end = text.iter().position(|&byte| byte == b'>')?;
        Some((&text[..end], input.len() - text.len() + end + 1))
    }
}

impl Conn for Enveloped {
    fn take_if(&mut self, input: &mut &[u8], due: &Due<'_>) -> bool {
        let Some((text, len)) = self.text(input) else {
            return false;
        };
        let is_due = !due.text.is_empty() && text == &due.frame[due.text.clone()];
        if is_due {
            *input = &input[len..];
        }
        is_due
    }

    fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        out: &mut Vec<u8>,
    ) -> Option<(RoomId, Seen<'a>)> {
        let (text, len) = self.text(input)?;
        let (frame, rest) = input.split_at(len);
        *input = rest;
        out.push(b'.');
        self.decoded += 1;
        let relay = Relay {
            frame,
            text: text.into(),
            from: address(0).into(),
            seq: 0,
        };
        Some((RoomId::UNNAMED, Seen::Relay(relay)))
    }

    fn unread(&self) -> &[u8] {
        b""
    }

    fn publish(&mut self, _: &mut Vec<u8>, _: Publishing<'_>) -> Option<Glued> {
        None
    }

    fn raw(&mut self, _: &mut Vec<u8>, _: &[u8], _: usize) -> RawSent {
        RawSent::default()
    }
}

/// The first receiver's frame is decoded; of the others' frames the text is compared.
#[test]
fn frames_that_differ_by_receiver_are_compared_by_their_texts() {
    let terms = Terms {
        promises: Promises {
            ack: AckPromise::None,
            use_seq: false,
            ..Promises::default()
        },
        capabilities: Capabilities::default(),
        ..terms()
    };
    let directory = Arc::new(Directory::new(["a", "b", "c"].map(str::to_owned).into()));
    let mut ledger = Ledger::new(terms, Arc::clone(&directory));
    let sessions = [0, 1, 2].map(|client| {
        let session = ledger.connecting(ClientId(client)).unwrap();
        ledger.connected(session, address(client as usize).parse().unwrap());
        session
    });
    let texts: Vec<Vec<u8>> = (1..=4)
        .map(|now_ns| {
            let header = ledger.sending(sessions[0], now_ns, now_ns, false).unwrap();
            let mut text = Vec::new();
            payload::encode(&mut text, SEED, &header, 60);
            text
        })
        .collect();
    let mut answers = Vec::new();
    for (session, receiver, decoded) in [(sessions[1], "b", 4), (sessions[2], "another", 1)] {
        let mut conn = Enveloped {
            receiver,
            decoded: 0,
        };
        let frames = texts.iter().map(|text| {
            let text = std::str::from_utf8(text).unwrap();
            format!("<{receiver}|{text}>")
        });
        let bytes: String = frames.collect();
        let mut deliveries = 0;
        ledger.read(
            session,
            &mut conn,
            bytes.as_bytes(),
            &mut answers,
            9,
            |_, _| {
                deliveries += 1;
            },
        );
        // Its first delivery proves that it has joined: until then nothing is known to be due.
        assert_eq!((deliveries, conn.decoded), (4, decoded), "{receiver}");
    }
    assert_eq!(answers, b".....", "what is to be written after the reads");
    for session in sessions {
        ledger.leaving(session, 10);
        ledger.ended(session, Ending::Eof, b"", 11);
    }
    let mut judge = Judge::new(directory, 1, None);
    judge.absorb(0, ledger.take_batch(), |_| ());
    let findings = judge.finish(false, |_| ());
    assert_eq!(findings.violation_count(), 0, "{:#?}", findings.violations);
    assert_eq!(findings.counts.delivered, 8);
}
