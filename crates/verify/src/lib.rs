//! Observations in, violations out: does everyone get every message of a broadcast system exactly
//! once and in order? Pure: no socket, no clock, no task; the live driver, a property test and a
//! fuzzer feed the same code.
//!
//! Each shard has a [`ledger::Ledger`], which follows each session's numbering and hands
//! [`batch::Batch`]es to the one [`judge::Judge`]. The judge settles every number with all shards'
//! observations of it, and ends in [`findings::Findings`].
//!
//! # Your own system, verified
//!
//! Whatever carries the messages: give each connection a session, publish the texts that the
//! ledger has you publish, and tell it what comes. Here a broadcast within one function forgets to
//! send Bob the second of three messages.
//!
//! ```
//! use std::sync::Arc;
//!
//! use chatbench_verify::directory::{ClientId, Directory};
//! use chatbench_verify::judge::Judge;
//! use chatbench_verify::kind::Kind;
//! use chatbench_verify::ledger::{Ending, Ledger, Terms};
//! use chatbench_verify::promises::{AckPromise, Promises};
//! use chatbench_verify::wire::payload;
//! use chatbench_verify::wire::seen::{Capabilities, Relay, Seen};
//!
//! let directory = Arc::new(Directory::new(vec!["ann".into(), "bob".into()]));
//! // Total order, at most and at least once, no acks, and nothing said at joining and leaving.
//! let promises = Promises { ack: AckPromise::None, use_seq: false, ..Promises::default() };
//! let capabilities = Capabilities::default();
//! let terms = Terms {
//!     run: 1, seed: 1, late_after_ns: None, addresses_known: false, promises, capabilities,
//! };
//! let mut ledger = Ledger::new(terms, directory.clone());
//! let (address, mut now_ns) = ("127.0.0.1:1", 0);
//! let [ann, bob] = [0, 1].map(|client| {
//!     let session = ledger.connecting(ClientId(client)).expect("there are many");
//!     ledger.connected(session, address.parse().expect("an address"));
//!     session
//! });
//! for n in 1..=3 {
//!     now_ns += 1_000_000; // by your clock
//!     let message = ledger.sending(ann, now_ns, now_ns, false).expect("there are many");
//!     let mut text = Vec::new();
//!     payload::encode(&mut text, terms.seed, &message, 100);
//!     if n != 2 {
//!         let relay = Relay { frame: &text, text: (&text).into(), from: address.into(), seq: 0 };
//!         ledger.saw(bob, &Seen::Relay(relay), now_ns + 1_000);
//!     }
//! }
//! for session in [ann, bob] {
//!     ledger.leaving(session, now_ns);
//!     ledger.ended(session, Ending::Eof, b"", now_ns);
//! }
//! let mut judge = Judge::new(directory, 1, terms.late_after_ns);
//! judge.absorb(0, ledger.take_batch(), |_| ());
//! let findings = judge.finish(false, |_| ());
//! let lost = &findings.violations[&Kind::LostRelay];
//! assert_eq!((findings.violation_count(), lost.count), (1, 1));
//! assert!(lost.examples[0].text.starts_with("bob was owed message 2 of ann"));
//! ```
//!
//! Where messages are numbered or acked, or joins and leaves answered, `Capabilities` and
//! `Promises` say so, and more is checked. [`wire::protocol`] makes observations out of bytes on a
//! wire.

pub use chatbench_wire as wire;

mod anomaly;
pub mod batch;
mod bounds;
mod context;
pub mod directory;
mod errors;
pub mod findings;
mod flags;
mod frames;
pub mod ids;
mod inferred;
mod irregulars;
pub mod judge;
pub mod kind;
pub mod ledger;
mod numbered;
mod numberings;
mod outbox;
pub mod outstanding;
pub mod promises;
mod public;
mod reference;
mod sends;
mod sessions;
mod stream;
pub mod trace;
pub mod violation;
mod words;

#[cfg(test)]
mod tests;
