//! Figures during a run, for Prometheus, served by `--prometheus ADDR`.
//!
//! Nothing is counted only for this. A run's figures are those that its shards hand in once per
//! second anyway ([`run`]), a server's are those that it keeps for its own report ([`server`]); the
//! latest are put into a [`tokio::sync::watch`], and a thread of its own ([`endpoint`]) turns them
//! into text when it is asked. So a scrape costs neither side anything, and a scraper that hangs
//! blocks only that thread.
//!
//! The names are a contract, as result keys are: `docs/METRICS.md` lists them, and a test compares.
//! Units are Prometheus's: seconds and bytes, in the name.

pub mod buckets;
pub mod endpoint;
pub mod families;
pub mod run;
pub mod server;
