//! What a target says, in either dialect, against a live judge. What must hold is in
//! `fuzz/readers/judge.rs`.

#![no_main]

#[allow(dead_code)] // each target takes one reader
#[path = "../readers/mod.rs"]
mod readers;

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// Where traces go, a file that each input overwrites.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let own = format!("chatbench-fuzz-{}", std::process::id());
    let directory = std::env::temp_dir().join(own);
    std::fs::create_dir_all(&directory).expect("a directory for temporary files");
    directory
});

fuzz_target!(|data: &[u8]| readers::judge::check(data, &DIRECTORY));
