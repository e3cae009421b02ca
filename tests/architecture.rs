//! What may know of what, where the compiler does not see to it.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::fs;
use std::path::{Path, PathBuf};

/// The sources under a folder, without their tests.
fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            let code = code.split("#[cfg(test)]\npub(").next().unwrap();
            found.push((path, code.to_owned()));
        }
    }
}

fn all_in(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    sources(&root, &mut found);
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// Lines of code that have any of these words in them, comments left out.
fn lines_with(sources: &[(PathBuf, String)], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in sources {
        for (number, line) in code.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    found
}

/// The verifier eats observations: what a protocol's bytes are, the protocol says. Traces of version
/// 1 hold bytes, and have the list of protocols asked what they are.
#[test]
fn the_verifier_names_no_protocol_and_no_codec() {
    let mut sources = all_in("crates/verify/src");
    sources.retain(|(path, _)| !path.to_str().unwrap().contains("trace/version_1"));
    let words = [
        "Dialect",
        "Protocol",
        "ndjson",
        "classic",
        "::line::",
        "LineBuffer",
    ];
    assert_eq!(lines_with(&sources, &words), [""; 0]);
}

/// What is found is data until it is read. Why a trace cannot be read is no finding.
#[test]
fn the_verifier_puts_findings_into_words_in_one_file() {
    let mut sources = all_in("crates/verify/src");
    sources.retain(|(path, _)| {
        let path = path.to_str().unwrap();
        !path.ends_with("words.rs") && !path.contains("/trace/")
    });
    assert_eq!(lines_with(&sources, &["format!", "write!("]), [""; 0]);
}

/// They share what goes over the wire, and nothing else.
#[test]
fn server_and_verifier_know_nothing_of_each_other() {
    for (one, other) in [("verify", "server"), ("server", "verify")] {
        let manifest = format!("{}/crates/{one}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
        let manifest = fs::read_to_string(manifest).unwrap();
        assert!(!manifest.contains(&format!("chatbench-{other}")), "{one}");
    }
}

#[test]
fn the_driver_and_the_server_meet_over_a_stream_alone() {
    assert_eq!(
        lines_with(&all_in("src/driver"), &["crate::server"]),
        [""; 0]
    );
}
