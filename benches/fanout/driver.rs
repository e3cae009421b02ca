//! The driver, as `chatbench run` against the embedded server.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::framing::Framing;
use super::selection::{Kind, Selection};
use super::{Load, bare};

/// Measured phases of the run whose cost is left out, and of the one that it is taken from.
const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_millis(2_500);

/// One row of the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    receivers: usize,
    talkers: usize,
    payload: usize,
    load: Load,
    framing: Framing,
}

/// What a run did, or what a longer run did more than a short one.
#[derive(Debug, Clone, Copy)]
struct Work {
    cpu_ns: f64,
    deliveries: f64,
    reads: f64,
    bytes: f64,
}

pub(crate) fn table(asked: &Selection) {
    println!("\ndriver, everything verified, CPU time");
    println!(
        "{:>9} {:>7} {:>8} {:>10} {:>12} {:>10} {:>9} {:>10} {:>10}",
        "receivers",
        "talkers",
        "payload",
        "load",
        "ns/delivery",
        "bytes/read",
        "ns/read",
        "floor ns",
        "efficiency"
    );
    for &receivers in asked.receivers() {
        for (payload, talkers, load) in [
            (100, 1, Load::Unbatched),
            (100, 1, Load::Full),
            (100, 16, Load::Full),
            (1 << 10, 1, Load::Full),
            (16 << 10, 1, Load::Unbatched),
            (16 << 10, 1, Load::Full),
        ] {
            let kind = Kind {
                talkers,
                payload,
                load,
            };
            if asked.has(kind) {
                let row = Row {
                    receivers,
                    talkers,
                    payload,
                    load,
                    framing: Framing::Lines,
                };
                print_row(row, asked);
            }
        }
    }
}

fn print_row(row: Row, asked: &Selection) {
    let long = asked.time(LONG);
    let measured: Vec<(Work, f64)> = (0..asked.times()).map(|_| measure(row, long)).collect();
    let median = |of: fn(&(Work, f64)) -> f64| bare::median(measured.iter().map(of).collect());
    println!(
        "{:>9} {:>7} {:>8} {:>10} {:>12.1} {:>10.0} {:>9.0} {:>10.0} {:>10.2}",
        row.receivers,
        row.talkers,
        row.payload,
        row.load.name(),
        median(|(work, _)| work.cpu_ns / work.deliveries),
        median(|(work, _)| work.bytes / work.reads),
        median(|(work, _)| work.cpu_ns / work.reads),
        median(|(_, floor_ns)| *floor_ns),
        median(|(work, floor_ns)| floor_ns * work.reads / work.cpu_ns),
    );
}

/// CPU time per delivery, in ns, of one run.
pub(crate) fn delivery_ns(
    receivers: usize,
    load: Load,
    framing: Framing,
    asked: &Selection,
) -> f64 {
    let row = Row {
        receivers,
        talkers: 1,
        payload: 100,
        load,
        framing,
    };
    let work = measure_load(row, asked.time(LONG));
    work.cpu_ns / work.deliveries
}

/// What the load cost.
fn measure_load(row: Row, long: Duration) -> Work {
    let short = run(row, SHORT);
    let long = run(row, long.max(2 * SHORT));
    Work {
        cpu_ns: long.cpu_ns - short.cpu_ns,
        deliveries: long.deliveries - short.deliveries,
        reads: long.reads - short.reads,
        bytes: long.bytes - short.bytes,
    }
}

/// What the load cost, and what a bare `recv` of as many bytes does.
fn measure(row: Row, long: Duration) -> (Work, f64) {
    let work = measure_load(row, long);
    let time = Duration::from_millis(if bare::only_test() { 10 } else { 300 });
    let floor = bare::measure(row.receivers, (work.bytes / work.reads) as usize, 1, time);
    // A read may get less than was written at once; by the byte the floor is much the same.
    (work, floor.recv_ns)
}

fn run(row: Row, duration: Duration) -> Work {
    let in_flight = row
        .load
        .in_flight(row.payload, row.receivers)
        .div_ceil(row.talkers);
    let scenario = format!(
        "[target]\nurl = \"{}\"\n\
         [run]\nwarmup = \"0s\"\nduration = \"{}ms\"\nconnect_rate = 20000\ndrain = \"30s\"\n\
         observers = 0\n\
         [clients.talkers]\ncount = {}\nin_flight = {in_flight}\npayload = {{ size = {} }}\n\
         [clients.receivers]\ncount = {}\n",
        row.framing.embedded(),
        duration.as_millis(),
        row.talkers,
        row.payload,
        row.receivers
    );
    let directory = tempfile::tempdir().expect("a place for the scenario");
    let file = directory.path().join("row.toml");
    std::fs::write(&file, scenario).expect("it is written");
    let output = Command::new(env!("CARGO_BIN_EXE_chatbench"))
        .arg("run")
        .arg(file)
        .args(["--no-progress", "--json", "-"])
        .output()
        .expect("it runs");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{row:?}: no result ({error}): {said}")
    });
    let figure = |pointer: &str| {
        let value = result.pointer(pointer).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("{row:?}: no {pointer}"))
    };
    for wrong in ["/counts/lost", "/counts/duplicated"] {
        assert_eq!(figure(wrong), 0.0, "{row:?}: {wrong}");
    }
    let deliveries = figure("/counts/delivered");
    // A welcome and a bye besides, each session.
    let frames = deliveries + figure("/counts/acked") + 2.0 * figure("/counts/connected");
    Work {
        cpu_ns: figure("/generator/cpu_s") * 1e9,
        deliveries,
        reads: frames - figure("/coverage/joined_frames"),
        bytes: deliveries * figure("/rates/bytes_in") / figure("/rates/delivered"),
    }
}
