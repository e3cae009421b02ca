//! Protocols of applications: a chat's own messages, described as data instead of code.
//!
//! A [`Spec`](spec::Spec) says how an application talks: what a client sends to log in, to join a
//! room and to publish, and by what it knows an answer. [`template`] fills in what is sent,
//! [`matching`] recognises what comes, [`variables`] has the values that both refer to, [`delivery`]
//! finds load messages in frames of any form, and [`session`] is one client's state over messages.
//!
//! Messages are the unit here: a WebSocket message, or what a separator divides in a byte stream.
//! The connections that make messages of bytes are in [`crate::protocol`].

pub mod delivery;
pub mod matching;
mod outstanding;
pub mod session;
pub mod spec;
pub mod template;
pub mod variables;
