//! A recorded trace: arbitrary events in whole blocks with valid checksums.
//!
//! An input: what the target promised and the version (two bytes), the run's id (four), then blocks: a byte for
//! the stream, two for the length, the contents. If the first byte is 255 the rest is a file as it
//! stands.
//!
//! - No file panics, or takes more time or memory than its length allows (the fuzzer's limits).
//! - What is verified twice comes to the same.
//! - Without its trailer a trace that could be judged comes to the same findings, and to a doubt:
//!   the trace of a run that was killed is never a pass. Of version 1, to a doubt alone: which word
//!   is the judge's last is not certain there.

use std::io::Write as _;

use chatbench::verify::ledger::Terms;
use chatbench::verify::trace::{self, Header, Trailer};
use chatbench::wire::protocol::Protocol;
use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::input::Input;

/// The stream of header and trailer, and the judge's.
const FRAME: u16 = u16::MAX - 1;
const JUDGE: u16 = u16::MAX;

/// The seed of the corpus' load messages.
const SEED: u64 = 7;

/// # Panics
/// Where something does not hold.
pub(crate) fn check(data: &[u8]) {
    let mut input = Input(data);
    if data.first() == Some(&255) {
        let _ = trace::verify(&data[1..]);
        return;
    }
    let version = match data.first() {
        Some(choice) if choice & 128 != 0 => trace::VERSION,
        _ => 1,
    };
    let mut file = format!("{}{version}\n", trace::file::MAGIC).into_bytes();
    block(&mut file, FRAME, &header(version, &mut input));
    let mut blocks = 1;
    while !input.is_empty() {
        let stream = match input.byte() % 4 {
            0 => 0,
            1 => 1,
            _ => JUDGE,
        };
        let len = input.u16().into();
        block(&mut file, stream, input.bytes(len));
        blocks += 1;
    }
    let without_trailer = file.clone();
    let trailer = Trailer {
        blocks,
        doubts: Vec::new(),
    };
    block(&mut file, FRAME, &json(&trailer));

    let Ok(whole) = trace::verify(&file[..]) else {
        let _ = trace::verify(&without_trailer[..]);
        return;
    };
    let again = trace::verify(&file[..]).expect("it was read just now");
    assert_eq!(again.findings, whole.findings, "verified twice");
    let cut = trace::verify(&without_trailer[..]).expect("it can be judged with a trailer");
    if version > 1 {
        assert_eq!(cut.findings, whole.findings, "without its trailer");
    }
    assert!(!cut.doubts.is_empty(), "a trace that ends early passed");
}

fn header(version: u32, input: &mut Input<'_>) -> Vec<u8> {
    let choice = input.byte();
    let promises = input.promises();
    let protocol = if choice & 16 == 0 {
        Protocol::Ndjson
    } else {
        Protocol::Classic
    };
    let header = Header {
        rooms: match version > 1 && choice & 4 != 0 {
            true => vec!["lobby".to_owned(), "hall".to_owned()],
            false => Vec::new(),
        },
        scenario: "s".to_owned(),
        target: "t".to_owned(),
        terms: Terms {
            run: input.u32(),
            seed: SEED,
            late_after_ns: [None, Some(5_000_000_000), Some(0)][usize::from(choice % 3)],
            addresses_known: choice & 8 == 0,
            promises,
            capabilities: protocol.capabilities(),
        },
        shards: 1 + u16::from(choice & 32 != 0),
        clients: ["observer-1", "a-1", "a-2", "b-1"]
            .map(str::to_owned)
            .into(),
    };
    let mut header = serde_json::to_value(header).expect("string keys and plain values");
    if version == 1 {
        // It says what was spoken, and how much was read.
        let max_line_bytes = if choice & 64 == 0 { 65_536 } else { 0 };
        header["max_read_line_bytes"] = 65_792.into();
        header["terms"]["max_line_bytes"] = max_line_bytes.into();
        header["terms"]["dialect"] = protocol.to_string().into();
    }
    json(&header)
}

fn json(content: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(content).expect("string keys and plain values")
}

fn block(file: &mut Vec<u8>, stream: u16, content: &[u8]) {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(content).expect("a Vec takes all");
    let stored = encoder.finish().expect("a Vec takes all");
    let mut head = Vec::new();
    head.extend(stream.to_le_bytes());
    head.extend((content.len() as u32).to_le_bytes());
    head.extend((stored.len() as u32).to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head);
    sum.update(&stored);
    head.extend(sum.finalize().to_le_bytes());
    file.extend(head);
    file.extend(stored);
}
