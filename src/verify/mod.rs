//! Observations in, violations out. Pure: no socket, no clock, no task; the live driver, a
//! property test and a fuzzer feed the same code.
//!
//! A [`ledger::Ledger`] a shard follows each session's numbering and hands [`batch::Batch`]es to
//! the one [`judge::Judge`], which settles every number with what all shards saw of it and ends
//! in [`findings::Findings`].

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
pub mod judge;
pub mod kind;
pub mod ledger;
mod numbered;
mod numberings;
mod outbox;
pub mod outstanding;
pub mod promises;
mod reference;
mod sends;
mod sessions;
mod stream;
pub mod trace;
pub mod violation;
mod words;

#[cfg(test)]
mod tests;
