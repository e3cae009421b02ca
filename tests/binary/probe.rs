//! A scenario of a test's own, and what running it comes to.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

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
