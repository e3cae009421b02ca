//! Observations of other programs: text as it stands, and histories.
//! What must hold is in `fuzz/readers/observations.rs`.

#![no_main]

#[allow(dead_code)] // each target takes one reader
#[path = "../readers/mod.rs"]
mod readers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| readers::observations::check(data));
