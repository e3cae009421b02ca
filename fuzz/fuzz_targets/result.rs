//! Results with arbitrary numbers and histograms.
//! What must hold is in `fuzz/readers/result.rs`.

#![no_main]

#[allow(dead_code)] // each target takes one reader
#[path = "../readers/mod.rs"]
mod readers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| readers::result::check(data));
