//! Faults: wrong behaviours that this server can be told to show, by name
//! (`serve --fault NAME[=RATE]`), to prove that a verifier notices them (`docs/FAULTS.md`).
//!
//! In reading order: [`catalogue`] names them; [`request`] is one as a user asks for it,
//! [`committed`] the report of one that was committed; `dice` decides when. The server calls
//! `commit` at a handful of points: a client joins, input is taken, a message is numbered, a
//! client leaves, a pass is made. Most faults affect one receiver of one message (`delivery`), and
//! a [`cursor`](super::cursor) can already show its session something other than the log: such a
//! fault is a splice. Each is committed in the room that the message was published in: a `seat` is a
//! session's place there. Those that are about rooms themselves are in `rooms`. Two reserve a number for a message that comes later (`reserved`).
//!
//! A server without faults pays for one null check per message, read, join, leave and pass, and
//! for none per delivery (`benches/fanout.rs`).

pub mod catalogue;
mod commit;
pub mod committed;
mod delivery;
mod dice;
pub mod request;
mod reserved;
mod rooms;
mod seat;

pub(super) use commit::Faults;
pub(super) use seat::Seat;
