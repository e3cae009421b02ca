//! Faults: every way of being a wrong broadcast server that this one can be told to be, by name
//! (`serve --fault NAME[=RATE]`), to prove that a verifier notices (`docs/FAULTS.md`).
//!
//! In reading order: [`catalogue`] names them; [`request`] is one as a user asks for it, [`committed`]
//! what is said of one that was committed; `dice` says when. `commit` is what the server calls, at
//! a handful of points: a client joins, input is taken, a message is numbered, a client leaves, a
//! pass is made. Most faults touch one receiver of one message (`delivery`), and a
//! [`cursor`](super::cursor) can already show its session something else than the log: such a
//! fault is a splice. Two keep a number free for a message that comes later (`reserved`).
//!
//! A server without faults pays for one pointer that is null, looked at once per message, read,
//! join, leave and pass, and never per delivery (`benches/fanout.rs`).

pub mod catalogue;
mod commit;
pub mod committed;
mod delivery;
mod dice;
pub mod request;
mod reserved;

pub(super) use commit::Faults;
