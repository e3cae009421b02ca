//! What is written against the JSON Schemas in docs/ that describe it.

#![allow(dead_code)] // each file of tests takes what it needs

use std::fs;
use std::path::Path;

use serde_json::Value;

/// The schemas of results, searches, comparisons and verifications.
pub(crate) const RESULT: &str = "result.schema.json";
pub(crate) const SEARCH: &str = "search.schema.json";
pub(crate) const COMPARISON: &str = "compare.schema.json";
pub(crate) const VERIFICATION: &str = "verify.schema.json";

fn schema(name: &str) -> Value {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    serde_json::from_slice(&fs::read(docs.join(name)).unwrap()).unwrap()
}

/// `value` is what the schema of this name says.
pub(crate) fn assert_valid(name: &str, value: &Value) {
    let validator = jsonschema::validator_for(&schema(name)).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
}

/// The file of this path is, too; what is in it.
pub(crate) fn valid_file(name: &str, path: impl AsRef<Path>) -> Value {
    let value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_valid(name, &value);
    value
}

/// Every key of `value` is described in the schema of this name, and more than `least` of them are
/// required: what was added after the first version is not, for an older file is still a file.
pub(crate) fn assert_described(name: &str, value: &Value, least: usize) {
    let schema = schema(name);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (mut paths, mut required) = (Vec::new(), 0);
    keys(value, "", &mut paths);
    assert!(paths.len() > least, "{paths:?}");
    for path in paths {
        assert!(
            described(&schema, &path),
            "docs/{name} does not describe {path}"
        );
        let mut without = value.clone();
        remove(&mut without, &path);
        required += usize::from(!validator.is_valid(&without));
    }
    assert!(required > least, "{required}");
}

/// Every key of `value`, as paths into it; of an array its first element.
fn keys(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        // What a scenario holds is its own format's business.
        Value::Object(_) if at == "/scenario/resolved" => (),
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{at}/{key}");
                keys(value, &path, found);
                found.push(path);
            }
        }
        Value::Array(items) => {
            if let Some(first) = items.first() {
                keys(first, &format!("{at}/0"), found);
            }
        }
        _ => (),
    }
}

fn remove(value: &mut Value, path: &str) {
    let (parent, key) = path.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap();
    parent.as_object_mut().unwrap().remove(key).unwrap();
}

/// What the schema says about the value at `path`, which `keys` found.
fn described(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    for key in path.split('/').skip(1) {
        if let Some(options) = at["anyOf"].as_array() {
            // What may be null.
            at = options.first().unwrap();
        }
        if let Some(target) = at["$ref"].as_str() {
            at = schema.pointer(target.trim_start_matches('#')).unwrap();
        }
        at = if key == "0" {
            &at["items"]
        } else {
            &at["properties"][key]
        };
    }
    at.get("description").is_some()
}
