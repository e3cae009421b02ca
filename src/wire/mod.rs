//! What goes over a socket, sans-IO: bytes in, typed frames out, and back.
//!
//! [`mod@line`] cuts a byte stream into lines; [`ndjson`] turns lines into frames and frames into
//! lines (the codec that the fuzzer hammers); [`payload`] is the load message, the text that a
//! driver publishes and that describes itself. Nothing here opens a socket, reads a clock or
//! keeps state beyond an unfinished line.

pub mod line;
pub mod ndjson;
pub mod payload;
