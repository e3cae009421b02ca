//! The fleet: shards of clients, the phases of a run, and what came of it.

mod client;
mod clock;
mod fleet;
mod live;
pub mod outcome;
mod pacer;
pub mod preflight;
mod process;
mod pulse;
pub mod run;
mod script;
mod shard;
mod source;
