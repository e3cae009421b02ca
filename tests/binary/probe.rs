//! A scenario of a test's own, and what running it comes to.

#![allow(dead_code)] // each file of tests takes what it needs

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use super::binary::{output, stderr};

/// Two talkers, three listeners, a moment long. Tables may be added at its end.
pub(crate) const SMALL: &str = r#"
[run]
warmup = "0s"
duration = "300ms"
drain = "30s"
[clients.talkers]
count = 2
rate = 400
[clients.listeners]
count = 3
"#;

/// The same, but it goes on until something happens.
pub(crate) const ENDLESS: &str = r#"
[run]
warmup = "0s"
duration = "10m"
observers = 1
[clients.talkers]
count = 2
rate = 200
[clients.listeners]
count = 3
"#;

/// A scenario file, in a directory that lives as long as it does.
pub(crate) struct Scenario {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Scenario {
    pub(crate) fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("probe.toml");
        fs::write(&path, text).unwrap();
        Self {
            _directory: directory,
            path,
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// `chatbench run` of these, its exit code and its result.
pub(crate) fn result_of(args: &[&str]) -> (Option<i32>, Value) {
    let mut all = vec!["run", "--json", "-", "-q"];
    all.extend(args);
    let output = output(&all);
    let code = output.status.code();
    let result = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("no JSON ({e}), exit {code:?}: {}", stderr(&output)));
    (code, result)
}

/// What it said on standard output.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Exit 3, nothing on standard output, and one line with the address and what was `seen`.
pub(crate) fn assert_one_line(output: &Output, url: &str, seen: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains(url) && text.contains(seen),
        "{seen} in {text}"
    );
    assert_eq!(stdout(output), "");
}
