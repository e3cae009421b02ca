//! The reference server over real sockets: every rule of `docs/PROTOCOL.md`, sections 2 to 6
//! and 9.
//!
//! The frames are read with plain `serde_json`, not with the crate's own codec: what the server
//! and its tests shared, the tests could not find wrong.

#![allow(clippy::unwrap_used)] // everything here is a test, helpers included

mod classic;
mod client;
mod errors;
mod framing;
mod hostile;
mod process;
mod promises;
mod rooms;
