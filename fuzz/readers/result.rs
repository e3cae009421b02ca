//! A result with an arbitrary histogram, deflated with a valid checksum, or with arbitrary numbers.
//!
//! An input: a byte for the form, one for which histogram is replaced, then the form's own.
//! 0: the rest is the file. 1: the rest is the histogram as it stands. 2: a V2 histogram: its five
//! fields and its counts. 3: the same, deflated. 4: the rest deflated, with a stated length of its
//! own. 5: other numbers in any places of the file, twelve bytes for each. 6: the same, of the result
//! of a search. 7: the rest is the result of a search.
//!
//! - No file panics, or takes memory that it only states (the fuzzer's limits).
//! - What is read can be shown, as a page and as a table by percentile, and is not worse than itself.

use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chatbench::report::compare::{self, Side, Terms};
use chatbench::report::{RunResult, Style, hdr, html};
use chatbench::search::{self, Found};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::Value;

use super::input::Input;

/// A result of a second's run.
const RESULT: &str = include_str!("result.json");

/// What a search found in a few probes.
const SEARCH: &str = include_str!("search.json");

/// What a histogram in V2 form begins with, plain and deflated.
const PLAIN: u32 = 0x1c84_9313;
const DEFLATED: u32 = 0x1c84_9314;

/// # Panics
/// Where something does not hold.
pub(crate) fn check(data: &[u8]) {
    let mut input = Input(data);
    let form = input.byte() % 8;
    if form == 0 {
        read(input.0);
        return;
    }
    if form == 7 {
        read_search(input.0);
        return;
    }
    let template = if form == 6 { SEARCH } else { RESULT };
    let mut file: Value = serde_json::from_str(template).expect("it is JSON");
    if form == 5 || form == 6 {
        let mut places = Vec::new();
        numbers(&mut file, &mut places);
        while !input.is_empty() {
            let place = usize::from(input.u16()) % places.len();
            let fraction = input.u16() & 1 == 1;
            *places[place] = if fraction {
                f64::from_bits(input.u64()).into()
            } else {
                input.u64().into()
            };
        }
        let file = file.to_string();
        if form == 6 {
            read_search(file.as_bytes());
        } else {
            read(file.as_bytes());
        }
        return;
    }
    let class = ["ack", "relay", "connect", "send_lag"][usize::from(input.byte() % 4)];
    let histogram = match form {
        1 => input.0.to_vec(),
        2 => plain(input),
        3 => deflated(&plain(input), None),
        _ => {
            let stated = input.u32();
            deflated(input.0, Some(stated))
        }
    };
    file["latency_ns"][class]["histogram"] = BASE64.encode(histogram).into();
    read(file.to_string().as_bytes());
}

/// Every number of `value`.
fn numbers<'a>(value: &'a mut Value, places: &mut Vec<&'a mut Value>) {
    match value {
        Value::Number(_) => places.push(value),
        Value::Array(values) => values.iter_mut().for_each(|v| numbers(v, places)),
        Value::Object(values) => values.values_mut().for_each(|v| numbers(v, places)),
        _ => {}
    }
}

/// Reads a file, and shows what can be read.
fn read(file: &[u8]) {
    let Ok(result) = RunResult::parse(Path::new("result.json"), file) else {
        return;
    };
    assert!(html::render(&result).contains("</html>"));
    for (_, _, latency) in result.classes() {
        let _ = hdr::hgrm(&latency.histogram);
    }
    let _ = hdr::hlog(&result, &[]);
    let side = || Side {
        name: "result.json".to_owned(),
        runs: vec![result.clone()],
    };
    let (base, new, terms) = (side(), side(), Terms::default());
    let compared = compare::compare(&base, &new, &terms);
    assert_eq!(compared.regressions().count(), 0, "worse than itself");
    let _ = compare::markdown(&compared);
    let _ = compare::render(&compared, Style::FILE);
    let _ = compare::json(&[compared]);
}

/// The same of what a search found.
fn read_search(file: &[u8]) {
    if let Ok(found) = Found::parse(Path::new("search.json"), file) {
        assert!(search::page(&found).contains("</html>"));
        let _ = search::render(&found, Style::FILE);
        let _ = found.json();
    }
}

/// A histogram in V2 form: length of the counts, where they begin, digits, bounds, unit, counts.
fn plain(mut input: Input<'_>) -> Vec<u8> {
    // Mostly lengths that fit, so that what is behind them is looked at, too.
    let choice = input.byte();
    let (stated, offset) = (input.u32(), input.u32());
    let digits = input.byte();
    let (lowest, highest, ratio) = (input.u64(), input.u64(), input.u64());
    let counts = input.0;
    let stated = if choice & 1 == 0 {
        counts.len() as u32
    } else {
        stated
    };
    let offset = if choice & 2 == 0 { 0 } else { offset };
    let ratio = if choice & 4 == 0 {
        1_f64.to_bits()
    } else {
        ratio
    };
    let (lowest, highest) = if choice & 8 == 0 {
        (1, 3_600_000_000_000)
    } else {
        (lowest, highest)
    };
    let digits = if choice & 16 == 0 { 3 } else { digits };
    let mut out = Vec::new();
    out.extend(PLAIN.to_be_bytes());
    out.extend(stated.to_be_bytes());
    out.extend(offset.to_be_bytes());
    out.extend(u32::from(digits).to_be_bytes());
    out.extend(lowest.to_be_bytes());
    out.extend(highest.to_be_bytes());
    out.extend(ratio.to_be_bytes());
    out.extend(counts);
    out
}

fn deflated(bytes: &[u8], stated: Option<u32>) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("a Vec takes all");
    let stored = encoder.finish().expect("a Vec takes all");
    let mut out = Vec::new();
    out.extend(DEFLATED.to_be_bytes());
    out.extend(stated.unwrap_or(stored.len() as u32).to_be_bytes());
    out.extend(stored);
    out
}
