//! The fuzzer's corpus and everything it ever found, through the fuzzer's own oracles.

#[path = "../fuzz/oracles/mod.rs"]
mod oracles;

use std::fs;
use std::path::Path;

#[test]
fn every_file_of_the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    let mut files = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let held = std::panic::catch_unwind(|| oracles::check(&data));
        assert!(held.is_ok(), "{name}: see the panic above");
        files += 1;
    }
    assert!(files >= 40, "only {files} files: was the corpus moved?");
}

/// The oracles must be able to fail: a reading that disagrees is noticed.
#[test]
fn the_plain_reading_is_not_the_codec_in_disguise() {
    for (json, not_json) in [
        (
            r#"{"a":[{"b":[]},{}],"c":-0.5e+7}"#,
            r#"{"a":[{"b":[},{}],"c":-0.5e+7}"#,
        ),
        (r#"{"a":"\u00e9\/"}"#, r#"{"a":"\u00g9\/"}"#),
        (r#" { } "#, r#" { } }"#),
        (r#"{"a":null}"#, r#"{"a":nul}"#),
        (r#"{"a":0}"#, r#"{"a":00}"#),
        (r#"{"a":1}"#, r#"{"a":1,}"#),
    ] {
        assert!(oracles::json::object(json.as_bytes()).is_some(), "{json}");
        assert!(
            oracles::json::object(not_json.as_bytes()).is_none(),
            "{not_json}"
        );
    }
}
