//! What the fuzzer started from and everything it ever found, through the fuzzer's own checks.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

#[path = "../fuzz/readers/mod.rs"]
mod readers;

use std::fs;
use std::path::Path;

/// Each file of a corpus, which is to have so many at least.
fn replay(target: &str, at_least: usize, check: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut files = 0;
    for entry in fs::read_dir(fuzz.join(target)).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        let held = std::panic::catch_unwind(|| check(&data));
        assert!(held.is_ok(), "{}: see the panic above", path.display());
        files += 1;
    }
    assert!(files >= at_least, "{target}: only {files} files");
}

#[test]
fn traces() {
    replay("trace", 8, readers::trace::check);
}

#[test]
fn observations() {
    replay("observations", 8, readers::observations::check);
}

#[test]
fn scenarios() {
    replay("scenario", 8, readers::scenario::check);
}

#[test]
fn results() {
    replay("result", 8, readers::result::check);
}

#[test]
fn what_comes_over_a_websocket() {
    replay("websocket", 20, readers::websocket::check);
}

#[test]
fn what_a_target_says() {
    let directory = tempfile::tempdir().unwrap();
    replay("judge", 8, |data| {
        readers::judge::check(data, directory.path());
    });
}
