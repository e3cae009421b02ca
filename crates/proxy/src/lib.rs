//! A proxy that stands between clients and a broadcast system, passes bytes on, and commits one
//! fault: to see whether a verifier notices, on that very system.
//!
//! | module | contents |
//! |---|---|
//! | [`fault`] | the faults that it commits, by name |
//! | [`talk`] | what it has to know of a target's protocol, a file for each: frames, acks, names |
//! | [`meddler`] | what becomes of each frame; sans-IO |
//! | [`link`] | one connection, both ways |
//! | [`proxy`] | the listening sockets, and the thread that serves them |
//!
//! It knows nothing of a verifier, and of messages no more than that a load message is
//! recognised by the number of its run ([`chatbench_wire::application::delivery`]).
//!
//! But for its fault it is transparent: bytes go on in order and unchanged, a side that does not
//! read makes the other one wait, a half-close and a reset go on as what they are. Where a frame
//! states an address, the proxy's own is translated into its client's and back, so that a target
//! that says whom a message is from seems to say it of the client.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod fault;
pub mod link;
pub mod meddler;
pub mod proxy;
pub mod talk;

pub use fault::Fault;
pub use meddler::Committed;
pub use proxy::{Proxy, Served, Towards};
