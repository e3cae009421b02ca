//! The fleet: shards of clients, the phases of a run, and what came of it.
//!
//! In reading order: [`run`] is a run from beginning to end, directed by one coordinator;
//! [`preflight`] is what must be there before it starts, `roster` who takes part. A `shard` is a
//! thread with its share of the clients, its `fleet`; `client` is how a client connects and is
//! read, `sending` how it sends, `source` what makes it send, `pacer` when, `script` in what steps.
//! `pulse` shows how late a shard is. `live` is what all shards keep up to date for the coordinator, [`snapshot`] what it tells
//! whoever watches, [`outcome`] what the report gets.

mod client;
mod clock;
mod connection;
mod fleet;
mod live;
mod memory;
pub mod outcome;
mod pacer;
pub mod preflight;
mod process;
mod pulse;
mod roster;
pub mod run;
mod script;
mod sending;
mod shard;
pub mod snapshot;
mod source;
