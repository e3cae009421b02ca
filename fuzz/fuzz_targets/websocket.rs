//! Bytes of a WebSocket, either side's, and handshakes.
//! What must hold is in `fuzz/readers/websocket.rs`.

#![no_main]

#[allow(dead_code)] // each target takes one reader
#[path = "../readers/mod.rs"]
mod readers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| readers::websocket::check(data));
