//! The schemas in `docs/`, generated from the types that are written and read, and held equal to
//! the files. After a change of the types, `WRITE_SCHEMAS=1 cargo test --lib schemas` writes them
//! anew.
//!
//! A key is required unless its field has a default: what a later version added is not in older
//! files, which are still read.

use std::path::Path;
use std::{env, fs};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::measure::health::Doubt;
use crate::report::compare::Comparisons;
use crate::report::verification::Verification;
use crate::report::{RunResult, sample};
use crate::search::Found;
use crate::verify::kind::Kind;

/// The schemas, each with its file's name.
fn schemas() -> [(&'static str, Value); 4] {
    [
        schema::<RunResult>("result.schema.json", "chatbench result"),
        schema::<Found>("search.schema.json", "chatbench search"),
        schema::<Comparisons<'_>>("compare.schema.json", "chatbench compare"),
        schema::<Verification>("verify.schema.json", "chatbench verify"),
    ]
}

fn schema<T: JsonSchema>(file: &'static str, title: &str) -> (&'static str, Value) {
    let generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert(
        "$id".to_owned(),
        format!("https://chatbench.invalid/{file}").into(),
    );
    schema.insert("title".to_owned(), title.into());
    let mut schema = schema.to_value();
    tidy(&mut schema);
    (file, schema)
}

/// The keywords of a schema, in the order in which they are written.
const KEYWORDS: [&str; 22] = [
    "$schema",
    "$id",
    "title",
    "description",
    "$ref",
    "type",
    "const",
    "enum",
    "format",
    "contentEncoding",
    "pattern",
    "minimum",
    "exclusiveMinimum",
    "minItems",
    "maxItems",
    "items",
    "required",
    "properties",
    "additionalProperties",
    "anyOf",
    "oneOf",
    "$defs",
];

/// Leaves out what says something about Rust and nothing about the file. What has a default is not
/// required; the order of the keys in the file is kept under [`ORDER`].
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(of) => of.iter_mut().for_each(tidy),
        Value::Object(of) => {
            if let Some(Value::Array(all)) = of.remove("required") {
                let has_default = |key: &&Value| {
                    let property = key.as_str().and_then(|key| of.get("properties")?.get(key));
                    property.is_some_and(|property| property.get("default").is_some())
                };
                let required = all.iter().filter(|key| !has_default(key)).cloned();
                let required = required.collect();
                of.insert("required".to_owned(), Value::Array(required));
                of.insert(ORDER.to_owned(), Value::Array(all));
            }
            of.values_mut().for_each(tidy);
            if of.keys().any(|key| KEYWORDS.contains(&key.as_str())) {
                of.remove("default");
                let of_rust = |format: &Value| format.as_str() != Some("date-time");
                if of.get("format").is_some_and(of_rust) {
                    of.remove("format");
                }
                if let Some(Value::String(text)) = of.get_mut("description") {
                    *text = text.replace('\n', " ");
                }
            }
        }
        _ => {}
    }
}

/// Where [`tidy`] keeps the keys of an object in their order.
const ORDER: &str = "in the order of the file";

/// Writes a schema, its keywords in their order, and properties in that of the file.
fn write(value: &Value, order: &[&str], indent: usize, out: &mut String) {
    let margin = "  ".repeat(indent + 1);
    let end = "  ".repeat(indent);
    match value {
        Value::Object(of) if !of.is_empty() => {
            let in_file: Vec<&str> = match of.get(ORDER) {
                Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            let place = |key: &str| order.iter().position(|other| *other == key);
            let mut keys: Vec<_> = of.keys().filter(|key| *key != ORDER).collect();
            keys.sort_by_key(|key| (place(key).unwrap_or(usize::MAX), *key));
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                out.push_str(&format!("{comma}\n{margin}{}: ", Value::from(key.as_str())));
                let order = match key.as_str() {
                    "properties" => &in_file[..],
                    _ => &KEYWORDS[..],
                };
                write(&of[key], order, indent + 1, out);
            }
            out.push_str(&format!("\n{end}}}"));
        }
        Value::Array(of) if !of.is_empty() => {
            out.push('[');
            for (i, item) in of.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                out.push_str(&format!("{comma}\n{margin}"));
                write(item, &KEYWORDS, indent + 1, out);
            }
            out.push_str(&format!("\n{end}]"));
        }
        value => out.push_str(&value.to_string()),
    }
}

#[test]
fn the_schemas_are_those_of_the_types() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, schema) in schemas() {
        let mut text = String::new();
        write(&schema, &KEYWORDS, 0, &mut text);
        text.push('\n');
        let file = docs.join(name);
        if env::var_os("WRITE_SCHEMAS").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let published = fs::read_to_string(&file).unwrap();
        assert!(
            published == text,
            "docs/{name} is not what the types say: WRITE_SCHEMAS=1 cargo test --lib schemas \
             writes it anew"
        );
        jsonschema::meta::validate(&schema).unwrap();
    }
}

/// Keys that a later version added are not required: a file without them is an older one, and read.
#[test]
fn a_result_is_read_without_any_key_that_its_schema_does_not_require() {
    let (_, schema) = schema::<RunResult>("result.schema.json", "chatbench result");
    let written = sample::result(|plan, outcome| {
        sample::hang(plan, outcome);
        outcome.findings.violation(Kind::LostRelay, sample::example);
        outcome.health.doubts.push(Doubt {
            metric: "ack".into(),
            percentile: 50.0,
            figure_ns: 2,
            own_ns: 1,
        });
    });
    let written: Value = serde_json::from_slice(&written.json()).unwrap();
    let mut optional = Vec::new();
    find_optional(&schema, &schema, &written, "", &mut optional);
    assert!(optional.len() > 20, "{optional:?}");
    for path in optional {
        let mut older = written.clone();
        let (object, key) = path.rsplit_once('/').unwrap();
        let object = older.pointer_mut(object).unwrap().as_object_mut().unwrap();
        object.remove(key).unwrap();
        let read = RunResult::parse(Path::new("older.json"), older.to_string().as_bytes());
        assert!(read.is_ok(), "{path}: {read:?}");
    }
}

/// The paths of the keys of `value` that `schema`, a part of `root`, does not require.
fn find_optional(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(Value::Array(options)) = schema.get("anyOf") {
        return find_optional(root, &options[0], value, at, found);
    }
    if let Some(Value::String(target)) = schema.get("$ref") {
        let target = root.pointer(target.trim_start_matches('#')).unwrap();
        return find_optional(root, target, value, at, found);
    }
    match value {
        Value::Object(of) => {
            for (key, value) in of {
                let Some(property) = schema["properties"].get(key) else {
                    continue;
                };
                let path = format!("{at}/{key}");
                find_optional(root, property, value, &path, found);
                let required = schema["required"].as_array().into_iter().flatten();
                if required.into_iter().all(|required| required != key) {
                    found.push(path);
                }
            }
        }
        Value::Array(of) if !of.is_empty() => {
            find_optional(root, &schema["items"], &of[0], &format!("{at}/0"), found);
        }
        _ => {}
    }
}
