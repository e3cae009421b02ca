//! Figures while it runs, for Prometheus: what `--prometheus ADDR` serves.
//!
//! Nothing is counted for it. A run's figures are what its shards hand in once a second anyway
//! ([`run`]), a server's are those that it keeps for its own report ([`server`]); whoever has them
//! puts the latest into a [`tokio::sync::watch`], and a thread of its own ([`endpoint`]) turns them
//! into text when it is asked. So a scrape costs neither side anything, and a scraper that
//! hangs costs only that thread.
//!
//! The names are a contract, as result keys are: `docs/METRICS.md` lists them, and a test compares.
//! Units are Prometheus's: seconds and bytes, in the name.

pub mod buckets;
pub mod endpoint;
pub mod families;
pub mod run;
pub mod server;
