//! The binary, where the generator has to be a process of its own: to be stopped, to be
//! overloaded, to be fast.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::alone;
use super::target::{Service, Target};

/// How often a run that the machine disturbed is repeated.
const ATTEMPTS: usize = 10;

fn start(scenario: &str, more: &[&str]) -> (tempfile::TempDir, Child) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known.toml");
    std::fs::write(&path, scenario).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_chatbench"))
        .args(["run", "--json", "-", path.to_str().unwrap()])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (directory, child)
}

fn finish(mut child: Child, mut stderr: impl Read) -> Value {
    let (mut out, mut err) = (Vec::new(), String::new());
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    stderr.read_to_string(&mut err).unwrap();
    child.wait().unwrap();
    serde_json::from_slice(&out).unwrap_or_else(|e| panic!("no JSON ({e}): {err}"))
}

fn result_of(scenario: &str, more: &[&str]) -> Value {
    let (_directory, mut child) = start(scenario, more);
    let stderr = child.stderr.take().unwrap();
    finish(child, stderr)
}

/// Whether the generator's threads waited for a core more than half as long as they ran on one:
/// then the machine, and not the instrument, made the figures.
fn was_starved(result: &Value) -> bool {
    let shards = result["generator"]["shards"].as_array().unwrap();
    shards.iter().any(|shard| {
        let share = |key: &str| shard[key].as_f64().unwrap();
        share("waited") > share("busy") / 2.0
    })
}

/// Runs until `holds` does; that it does not is held against the instrument unless the machine
/// starved it.
fn must_hold(run: impl Fn() -> Value, holds: impl Fn(&Value) -> bool) {
    let mut evidence = Vec::new();
    for _ in 0..ATTEMPTS {
        let result = run();
        if holds(&result) {
            return;
        }
        let said = format!(
            "{:#}, {:#}",
            result["reasons"], result["generator"]["shards"]
        );
        assert!(was_starved(&result), "{said}");
        evidence.push(said);
    }
    panic!("undecided, the machine is too busy for this test: {evidence:#?}");
}

fn ns(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

/// SIGSTOP for 200 ms: the run blames itself, in words, with the length of the pause, and the
/// service time is none the worse for it.
#[test]
fn a_generator_that_was_stopped_blames_itself() {
    let _alone = alone();
    const STOPPED: Duration = Duration::from_millis(200);
    let stopped_ns = STOPPED.as_nanos() as u64;
    must_hold(
        || stopped_for(STOPPED),
        |result| {
            let generator = &result["generator"];
            let reasons = result["reasons"].to_string();
            let latency = &result["latency_ns"];
            let at = |class: &str, figure: &str| ns(&latency[class][figure]);
            result["verdict"] == "inconclusive"
                && generator["saturated"] == true
                && reasons.contains("the generator, not the target")
                && reasons.contains("stood still")
                && ns(&generator["longest_pause_ns"]) + 10_000_000 > stopped_ns
                // It caught up: 200 ms at 400 a second, some 80 messages late.
                && generator["behind"] == 0
                && at("ack", "p99") > stopped_ns / 2
                && at("ack", "max") + 10_000_000 > stopped_ns
                && at("ack_service", "p99") < at("ack", "p99") / 2
                && at("ack_service", "count") == at("ack", "count")
                && at("relay_service", "count") == at("relay", "count")
        },
    );
}

/// A run whose generator is stopped for so long in the midst of it.
fn stopped_for(pause: Duration) -> Value {
    let target = Target::start(Service::Immediate);
    let scenario = "[run]\nwarmup = \"0s\"\nduration = \"3s\"\n[clients.t]\nrate = 400\n";
    let (_directory, mut child) = start(scenario, &["--target", &target.url()]);
    let stderr = child.stderr.take().unwrap();
    target.wait_for(200);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    thread::sleep(pause); // the stimulus itself
    kill_process(pid, Signal::CONT).unwrap();
    finish(child, stderr)
}

/// More than any machine sends: the shard is never idle, most is never sent, and the run says so.
#[test]
fn a_generator_that_cannot_keep_up_blames_itself() {
    let _alone = alone();
    let scenario = "[run]\nwarmup = \"0s\"\nduration = \"1s\"\ndrain = \"60s\"\nobservers = 0\n\
                    shards = 1\n[verify]\nlate_after = \"none\"\n[clients.t]\ncount = 2\nrate = 20_000_000\n\
                    [clients.l]\n";
    let result = result_of(scenario, &[]);
    let generator = &result["generator"];
    assert_eq!(result["verdict"], "inconclusive", "{:#}", result["reasons"]);
    assert_eq!(generator["saturated"], true, "{generator:#}");
    let reasons = result["reasons"].to_string();
    assert!(
        reasons.contains("the generator, not the target, set the rate"),
        "{reasons}"
    );
    assert!(reasons.contains("were never sent"), "{reasons}");
    let window = &result["window"];
    assert!(
        ns(&window["unsent"]) > ns(&window["offered"]) / 100,
        "{window:#}"
    );
}

/// A hundred thousand a second, within 1 %. Where it falls short, the run must say that it was
/// the generator's doing or the target's; only agreement passes.
#[test]
fn a_hundred_thousand_a_second_are_sent() {
    let _alone = alone();
    let scenario = "[run]\nwarmup = \"500ms\"\nduration = \"1s\"\ndrain = \"30s\"\nobservers = 0\n\
                    [clients.t]\ncount = 4\nrate = 100_000\n[clients.l]\n";
    let mut evidence = Vec::new();
    for _ in 0..ATTEMPTS {
        let result = result_of(scenario, &[]);
        let offered = result["rates"]["offered"].as_f64().unwrap();
        assert!((offered - 100_000.0).abs() < 10.0, "{offered}");
        let sent = result["rates"]["sent"].as_f64().unwrap();
        if (sent - offered).abs() <= offered / 100.0 {
            return;
        }
        // Someone was late, and it shows in the send lag or in what the target held up.
        let generator = &result["generator"];
        let lag_ns = ns(&result["latency_ns"]["send_lag"]["p99"]);
        let held = ns(&result["window"]["held_by_target"]);
        assert!(
            lag_ns > 1_000_000 || held > 0,
            "{sent}/s, and nobody is to blame: {generator:#}"
        );
        evidence.push(format!(
            "{sent}/s, send lag {lag_ns} ns, {held} held by the target"
        ));
    }
    panic!("undecided, the machine is too slow for this test: {evidence:#?}");
}

/// A healthy run on a target that takes its time does not blame itself.
#[test]
fn a_healthy_generator_is_not_blamed_for_a_slow_target() {
    let _alone = alone();
    let scenario = "[run]\nwarmup = \"0s\"\nduration = \"1s\"\n[clients.t]\nrate = 400\n";
    must_hold(
        || {
            let target = Target::start(Service::Fixed(Duration::from_millis(150)));
            result_of(scenario, &["--target", &target.url()])
        },
        |result| result["generator"]["saturated"] == false && result["verdict"] == "pass",
    );
}

/// A closed loop is meant to be busy, and is not inconclusive for it.
#[test]
fn a_busy_closed_loop_is_no_complaint() {
    let _alone = alone();
    let scenario = "[run]\nwarmup = \"0s\"\nduration = \"1s\"\ndrain = \"30s\"\n\
                    [clients.t]\ncount = 2\nin_flight = 64\n[clients.l]\ncount = 20\n";
    must_hold(
        || result_of(scenario, &[]),
        |result| result["generator"]["saturated"] == false && result["verdict"] == "pass",
    );
}
