//! The fleet: shards of clients, the phases of a run, and what came of it.

pub mod outcome;
