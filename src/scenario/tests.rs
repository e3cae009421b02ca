use std::time::Duration;

use proptest::prelude::*;

use super::estimate::Estimate;
use super::plan::{
    Arrival, Comparison, Leave, Load, Metric, PayloadSize, Promises, Repeat, Stat, Step, TargetUrl,
};
use super::*;
use crate::wire::Dialect;

fn check(text: &str, overrides: &[&str]) -> Result<Plan, Diagnostics> {
    let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
    parse("case.toml", text, &overrides, None, None)
}

fn plan(text: &str) -> Plan {
    check(text, &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Every diagnostic as `line:column title`.
fn shown(diagnostics: &Diagnostics) -> Vec<String> {
    diagnostics
        .iter()
        .map(|d| match diagnostics.position(d) {
            Some(at) => format!("{}:{} {}", at.line, at.column, d.title()),
            None => d.title().to_owned(),
        })
        .collect()
}

fn errors(text: &str) -> Vec<String> {
    shown(&check(text, &[]).expect_err(text))
}

fn warnings(text: &str) -> Vec<String> {
    shown(&plan(text).warnings)
}

#[test]
fn only_a_group_is_required_and_the_rest_has_defaults() {
    let plan = plan("[clients.talkers]\nrate = 5");
    assert_eq!(plan.name, "case");
    assert_eq!(plan.seed, 1);
    assert_eq!(plan.target.url, TargetUrl::Embedded(Dialect::Ndjson));
    assert_eq!(plan.target.connect_timeout, Duration::from_secs(5));
    assert_eq!(plan.run.warmup, Duration::from_secs(1));
    assert_eq!(plan.run.duration, Duration::from_secs(10));
    assert_eq!(plan.run.drain, Duration::from_secs(5));
    assert_eq!(plan.run.connect_rate, 1000.0);
    assert_eq!(plan.run.observers, 1);
    assert_eq!(plan.run.shards, None);
    assert_eq!(plan.promises.late_after, Some(Duration::from_secs(5)));
    assert_eq!(plan.groups[0].count, 1);
    assert_eq!(plan.groups[0].payload, PayloadSize { min: 64, max: 64 });
    let Load::Open { profile, arrival } = &plan.groups[0].load else {
        panic!("{:?}", plan.groups[0].load);
    };
    assert_eq!(*arrival, Arrival::Constant);
    assert_eq!(profile.messages(), 55.0);
    assert_eq!(plan.clients(), 2);
    assert!(plan.warnings.is_empty());
}

#[test]
fn groups_keep_the_order_of_the_file() {
    let plan = plan("[clients.z]\n[run]\nwarmup = '0s'\n[clients.a]\n[clients.m]");
    let names: Vec<_> = plan.groups.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(names, ["z", "a", "m"]);
}

#[test]
fn stages_begin_with_the_measured_phase_and_give_it_its_length() {
    let text = "[clients.ramp]\nstages = [{ duration = '5s', rate = 100 }, { duration = '20s', rate = 0 }]\n[clients.short]\nstages = [{ duration = '1s', rate = 1 }]";
    let plan = plan(text);
    assert_eq!(plan.run.duration, Duration::from_secs(25));
    let Load::Open { profile, .. } = &plan.groups[0].load else {
        panic!("{:?}", plan.groups[0].load);
    };
    assert_eq!(profile.pieces()[0].start_ns, 1_000_000_000);
    assert_eq!(profile.messages(), 250.0 + 1000.0);
}

#[test]
fn a_shorter_duration_cuts_stages_with_a_warning() {
    let text = "[clients.ramp]\nstages = [{ duration = '10s', rate = 100 }]";
    let plan = check(text, &["run.duration=2s"]).unwrap();
    assert_eq!(
        shown(&plan.warnings),
        ["2:10 `clients.ramp.stages` take 10s and run.duration is 2s: they are cut there"]
    );
    let Load::Open { profile, .. } = &plan.groups[0].load else {
        panic!("{:?}", plan.groups[0].load);
    };
    assert_eq!(profile.messages(), 20.0);
}

#[test]
fn scripts_begin_connected_and_end_disconnected() {
    let steps = |script: &str| {
        let plan = plan(&format!("[clients.a]\nscript = {script}"));
        match &plan.groups[0].load {
            Load::Script { steps, .. } => steps.to_vec(),
            load => panic!("{load:?}"),
        }
    };
    let leave = Step::Disconnect(Leave::Polite);
    assert_eq!(steps("[]"), [Step::Connect, leave.clone()]);
    assert_eq!(
        steps("[{ connect = {} }, { disconnect = 'abort' }, { pause = '1s' }]"),
        [
            Step::Connect,
            Step::Disconnect(Leave::Abort),
            Step::Pause {
                min: Duration::from_secs(1),
                max: Duration::from_secs(1)
            }
        ]
    );
    assert_eq!(
        steps(
            "[{ send_raw = { hex = 'ff 00', repeat = 2, every = '1ms' } }, { expect_error = { code = 'line-too-long' } }, { connect = {} }]"
        ),
        [
            Step::Connect,
            Step::SendRaw {
                bytes: [0xff, 0, 0xff, 0].into(),
                every: Duration::from_millis(1)
            },
            Step::ExpectError {
                code: "line-too-long".to_owned(),
                within: Duration::from_secs(5)
            },
            Step::Connect,
            leave,
        ]
    );
}

#[test]
fn every_key_reaches_the_plan() {
    let plan = plan(
        r#"
description = "why"
seed = 18_446_744_073_709_551_615
[target]
url = "ndjson://[::1]:1253"
faults = []
connect_timeout = "1s"
[run]
warmup = "0s"
duration = "1m30s"
drain = "2s"
connect_rate = 0.5
observers = 2
shards = 3
[clients.open]
count = 3
rate = 1.5
arrival = "poisson"
payload = { min = 48, max = "1KiB" }
[clients.closed]
in_flight = 16
[clients.script]
count = 2
repeat = "forever"
script = [{ publish = { count = 2, every = "1ms" } }, { await_acks = { within = "2s" } }, { pause = { min = "1s", max = "2s" } }, { stop_reading = "3s" }, { barrier = "b" }]
[verify]
ack = "exactly-once"
relay = "exactly-once"
order = "total"
echo = false
use_seq = true
late_after = "none"
[thresholds]
relay = ["p99.9 <= 5us"]
"#,
    );
    assert_eq!(plan.description.as_deref(), Some("why"));
    assert_eq!(plan.seed, u64::MAX);
    assert_eq!(
        plan.target.url,
        TargetUrl::At(Dialect::Ndjson, "[::1]:1253".to_owned())
    );
    assert_eq!(plan.run.duration, Duration::from_secs(90));
    assert_eq!(plan.run.connect_rate, 0.5);
    assert_eq!(plan.run.shards, Some(3));
    assert_eq!(plan.clients(), 8);
    assert_eq!(plan.groups[0].payload, PayloadSize { min: 48, max: 1024 });
    assert!(matches!(
        plan.groups[1].load,
        Load::Closed { in_flight: 16 }
    ));
    let Load::Script { steps, repeat } = &plan.groups[2].load else {
        panic!("{:?}", plan.groups[2].load);
    };
    assert_eq!(*repeat, Repeat::Forever);
    assert_eq!(steps.len(), 7);
    assert_eq!(plan.promises.late_after, None);
    let threshold = &plan.thresholds[0];
    assert_eq!(threshold.metric, Metric::Relay);
    assert_eq!(threshold.stat, Stat::Percentile(99.9));
    assert_eq!(threshold.op, Comparison::LessOrEqual);
    assert_eq!(threshold.limit, 5_000.0);
    assert_eq!(threshold.expr, "p99.9 <= 5us");
    assert!(plan.warnings.is_empty(), "{}", plan.warnings);
}

#[test]
fn each_kind_of_target_has_its_promises() {
    let numbered = plan("[clients.a]").promises;
    assert!(numbered.use_seq);
    assert_eq!(
        numbered.in_words().join(", "),
        "by the numbers that the target states, ack exactly-once, relay exactly-once, \
         order total, no echo"
    );
    for url in ["embedded+classic", "classic://h:1"] {
        let plan = plan(&format!("target.url = '{url}'\n[clients.a]"));
        assert_eq!(plan.resolved["verify"]["use_seq"], false);
        let use_seq = false;
        assert_eq!(
            plan.promises,
            Promises {
                use_seq,
                ..numbered
            }
        );
    }
    let weakest = plan(
        "[clients.a]\n[verify]\nuse_seq = false\nack = 'none'\nrelay = 'at-most-once'\n\
         order = 'causal'\necho = true",
    );
    assert_eq!(
        weakest.promises.in_words().join(", "),
        "from outside, by what each client saw, ack none, relay at-most-once, order causal, echo"
    );
}

#[test]
fn one_shard_may_be_asked_for_where_one_is_needed() {
    let plan = plan("verify.use_seq = false\nrun.shards = 1\n[clients.a]\nrate = 1");
    assert_eq!(plan.run.shards, Some(1));
}

/// A scenario with this in its one group.
fn group(lines: &str) -> String {
    format!("[clients.a]\n{lines}")
}

#[test]
fn every_guard_fires_at_its_line() {
    let talk = "[clients.a]\nrate = 1\n";
    let cases: Vec<(String, &str)> = vec![
        // The whole.
        (
            String::new(),
            "1:1 `clients`: a scenario has at least one group",
        ),
        (
            "[clients]".into(),
            "1:2 `clients`: a scenario has at least one group",
        ),
        (
            "clients = 3".into(),
            "1:1 `clients`: a scenario has at least one group",
        ),
        ("x = ".into(), "1:5 not TOML"),
        (
            "[clients.a]\n[clients.a]".into(),
            "2:10 not TOML: duplicate key",
        ),
        (
            "[clients.a]\n[clients.b]\ncount = 'x'".into(),
            "3:9 `clients.b.count`: expected a whole number",
        ),
        (
            "[clients.'a b']".into(),
            "1:10 `clients.\"a b\"`: a group's name is",
        ),
        ("clients.a = 3".into(), "1:13 `clients.a`: expected a table"),
        ("run = 3\n[clients.a]".into(), "1:7 `run`: expected a table"),
        ("sede = 3\n[clients.a]".into(), "1:1 `sede`: no such key"),
        (
            "seed = -1\n[clients.a]".into(),
            "1:8 `seed`: expected a whole number from 0",
        ),
        (
            "seed = 1979-05-27\n[clients.a]".into(),
            "1:8 `seed`: expected a whole number from 0",
        ),
        (
            "seed = 99999999999999999999999999999999999999999\n[clients.a]".into(),
            "1:8 `seed`: expected a whole number from 0",
        ),
        // Groups.
        (
            group("count = 0"),
            "2:9 `clients.a.count`: expected a whole number from 1",
        ),
        (
            group("count = 1000001"),
            "2:9 `clients.a.count`: expected a whole number from 1 to 1000000",
        ),
        (
            group("rate = 0"),
            "2:8 `clients.a.rate`: expected a rate above 0",
        ),
        (
            group("rate = nan"),
            "2:8 `clients.a.rate`: expected a rate above 0",
        ),
        (
            group("rate = inf"),
            "2:8 `clients.a.rate`: expected a rate above 0",
        ),
        (
            group("rate = 5\nscript = []"),
            "3:1 `clients.a`: `rate` and `script` exclude each other",
        ),
        (
            group("stages = [{ duration = '1s', rate = 1 }]\nin_flight = 1"),
            "3:1 `clients.a`: `stages` and `in_flight` exclude",
        ),
        (
            group("arrival = 'poisson'"),
            "2:1 `clients.a.arrival` needs `rate` or `stages`",
        ),
        (
            group("rate = 1\narrival = 'random'"),
            "3:11 `clients.a.arrival`: expected \"constant\" or \"poisson\"",
        ),
        (
            group("rate = 1\nrepeat = 2"),
            "3:1 `clients.a.repeat` needs `script`",
        ),
        (
            group("script = []\nrepeat = 0"),
            "3:10 `clients.a.repeat`: expected a whole number from 1",
        ),
        (
            group("script = []\nrepeat = 'always'"),
            "3:10 `clients.a.repeat`: expected a whole number from 1",
        ),
        (
            group("in_flight = 0"),
            "2:13 `clients.a.in_flight`: expected a whole number from 1",
        ),
        (
            group("stages = []"),
            "2:10 `clients.a.stages`: expected a stage with a rate above 0",
        ),
        (
            group("stages = 3"),
            "2:10 `clients.a.stages`: expected an array",
        ),
        (
            group("stages = [3]"),
            "2:11 `clients.a.stages.0`: expected a stage such as",
        ),
        (
            group("stages = [{ duration = '1s', rate = 0 }]"),
            "2:10 `clients.a.stages`: expected a stage with a rate above 0",
        ),
        (
            group("stages = [{ duration = '1s' }]"),
            "2:11 `clients.a.stages.0.rate` is missing",
        ),
        (
            group("stages = [{ rate = 1 }]"),
            "2:11 `clients.a.stages.0.duration` is missing",
        ),
        (
            group("stages = [{ duration = '1s', rate = -1 }]"),
            "2:37 `clients.a.stages.0.rate`: expected a rate from 0",
        ),
        (
            group("rate = 1\npayload = { size = 47 }"),
            "3:20 `clients.a.payload.size`: expected a size from 48",
        ),
        (
            group("rate = 1\npayload = { size = '64KiB' }"),
            "3:20 `clients.a.payload.size`: expected a size from 48",
        ),
        (
            group("rate = 1\npayload = { min = 64 }"),
            "3:1 `clients.a.payload.max` is missing",
        ),
        (
            group("rate = 1\npayload = {}"),
            "3:1 `clients.a.payload.size` is missing",
        ),
        (
            group("rate = 1\npayload = { min = 65, max = 64 }"),
            "3:11 `clients.a.payload`: `min` is more than `max`",
        ),
        (
            group("rate = 1\npayload = { min = 64, max = 64, size = 64 }"),
            "3:33 `clients.a.payload`: `size` excludes",
        ),
        (
            group("rate = 1\npayload = 64"),
            "3:11 `clients.a.payload`: expected a table",
        ),
        // Scripts.
        (
            group("script = 3"),
            "2:10 `clients.a.script`: expected an array",
        ),
        (
            group("script = [3]"),
            "2:11 `clients.a.script.0`: expected a step",
        ),
        (
            group("script = [{}]"),
            "2:11 `clients.a.script.0`: expected a step",
        ),
        (
            group("script = [{ pause = '1s', connect = {} }]"),
            "2:11 `clients.a.script.0`: expected a step",
        ),
        (
            group("script = [{ puase = '1s' }]"),
            "2:13 `clients.a.script.0.puase`: no such step",
        ),
        (
            group("script = [{ connect = 1 }]"),
            "2:23 `clients.a.script.0.connect`: expected a table",
        ),
        (
            group("script = [{ connect = { x = 1 } }]"),
            "2:25 `clients.a.script.0.connect.x`: no such key",
        ),
        (
            group("script = [{ connect = {} }, { connect = {} }]"),
            "2:29 `clients.a.script.1`: connects while connected",
        ),
        (
            group("script = [{ pause = '1s' }, { connect = {} }]"),
            "2:29 `clients.a.script.1`: connects while connected",
        ),
        (
            group("script = [{ disconnect = 'close' }, { publish = {} }]"),
            "2:37 `clients.a.script.1`: needs a connection",
        ),
        (
            group("script = [{ disconnect = 'close' }, { disconnect = 'close' }]"),
            "2:37 `clients.a.script.1`: needs a connection",
        ),
        (
            group("script = [{ expect_error = { code = 'line-too-long' } }, { publish = {} }]"),
            "2:58 `clients.a.script.1`: needs a connection, and the server closes it",
        ),
        (
            group("script = [{ disconnect = 'gently' }]"),
            "2:26 `clients.a.script.0.disconnect`: expected \"polite\", \"abort\" or \"close\"",
        ),
        (
            group("script = [{ publish = { count = 0 } }]"),
            "2:33 `clients.a.script.0.publish.count`: expected a whole number",
        ),
        (
            group("script = [{ await_acks = { within = '0s' } }]"),
            "2:37 `clients.a.script.0.await_acks.within`: expected a duration above 0",
        ),
        (
            group("script = [{ pause = 3 }]"),
            "2:21 `clients.a.script.0.pause`: expected a duration",
        ),
        (
            group("script = [{ pause = { min = '2s', max = '1s' } }]"),
            "2:21 `clients.a.script.0.pause`: `min` is more than `max`",
        ),
        (
            group("script = [{ pause = { min = '2s' } }]"),
            "2:13 `clients.a.script.0.pause.max` is missing",
        ),
        (
            group("script = [{ stop_reading = '0s' }]"),
            "2:28 `clients.a.script.0.stop_reading`: expected a duration above 0",
        ),
        (
            group("script = [{ send_raw = {} }]"),
            "2:13 `clients.a.script.0.send_raw`: expected one of `text` and `hex`",
        ),
        (
            group("script = [{ send_raw = { text = 'a', hex = '00' } }]"),
            "2:13 `clients.a.script.0.send_raw`: expected one of `text` and `hex`",
        ),
        (
            group("script = [{ send_raw = { hex = '0' } }]"),
            "2:32 `clients.a.script.0.send_raw.hex`: expected pairs",
        ),
        (
            group("script = [{ send_raw = { hex = 'zz' } }]"),
            "2:32 `clients.a.script.0.send_raw.hex`: expected pairs",
        ),
        (
            group("script = [{ send_raw = { text = '' } }]"),
            "2:13 `clients.a.script.0.send_raw`: sends 0 bytes",
        ),
        (
            group("script = [{ send_raw = { text = 'ab', repeat = '16MiB' } }]"),
            "2:13 `clients.a.script.0.send_raw`: sends 33554432 bytes",
        ),
        (
            group("script = [{ expect_error = { code = 'malfromed' } }]"),
            "2:37 `clients.a.script.0.expect_error.code`: expected \"malformed\"",
        ),
        (
            group("script = [{ expect_error = {} }]"),
            "2:13 `clients.a.script.0.expect_error.code` is missing",
        ),
        (
            group("script = [{ barrier = '' }]"),
            "2:23 `clients.a.script.0.barrier`: expected a name",
        ),
        (
            group("script = [{ barrier = 'b' }]"),
            "2:11 barrier \"b\" is named by one client only",
        ),
        (
            group(
                "count = 2\nscript = [{ barrier = 'b' }]\n[clients.b]\nrepeat = 2\nscript = [{ barrier = 'b' }]",
            ),
            "6:11 barrier \"b\" is reached more often by one group",
        ),
        (
            group(
                "count = 2\nscript = [{ barrier = 'b' }]\n[clients.b]\nrepeat = 'forever'\nscript = [{ barrier = 'b' }]",
            ),
            "6:11 barrier \"b\" is reached more often by one group",
        ),
        (
            group("count = 1000\nscript = []\nrepeat = 2000000"),
            "1:10 `clients.a`: more sessions in all",
        ),
        // Target.
        (
            format!("target.url = 'nats://h:1'\n{talk}"),
            "1:14 `target.url`: expected a target that this version drives: nats://",
        ),
        (
            format!("target.url = 'h:1'\n{talk}"),
            "1:14 `target.url`: expected \"embedded\" or \"ndjson://HOST:PORT\"",
        ),
        (
            format!("target.url = 3\n{talk}"),
            "1:14 `target.url`: expected a url",
        ),
        (
            format!("target.faults = ['echo', 'drop-akc=once']\n{talk}"),
            "1:26 `target.faults.1`: no fault is called `drop-akc`, did you mean `drop-ack`?",
        ),
        (
            format!("target.faults = ['echo=twice']\n{talk}"),
            "1:18 `target.faults.0`: `twice` is no rate of `echo`",
        ),
        (
            format!("target.faults = ['spoofable-ack']\n{talk}"),
            "1:18 `target.faults.0`: `spoofable-ack` is not committed towards ndjson clients",
        ),
        (
            format!("target.url = 'embedded+classic'\ntarget.faults = ['no-bye']\n{talk}"),
            "2:18 `target.faults.0`: `no-bye` is not committed towards classic clients",
        ),
        (
            format!("target.faults = [3]\n{talk}"),
            "1:18 `target.faults.0`: expected a string",
        ),
        (
            format!("target.url = 'ndjson://127.0.0.8-127.0.0.1:1'\n{talk}"),
            "1:14 `target.url`: expected \"ndjson://HOST:PORT\", or several: \"ndjson://A-B:PORT\"",
        ),
        (
            format!("target.addresses = 255\n{talk}"),
            "1:20 `target.addresses`: expected a whole number from 1 to 254",
        ),
        (
            format!("target.url = 'ndjson://h:1'\ntarget.addresses = 2\n{talk}"),
            "2:20 `target.addresses`: only the embedded server listens where it is told to",
        ),
        (
            format!("target.connect_timeout = '0s'\n{talk}"),
            "1:26 `target.connect_timeout`: expected a duration above 0",
        ),
        // Run.
        (
            format!("run.duration = '0s'\n{talk}"),
            "1:16 `run.duration`: expected a duration above 0",
        ),
        (
            format!("run.warmup = 3\n{talk}"),
            "1:14 `run.warmup`: expected a duration with its unit",
        ),
        (
            format!("run.drain = '31days'\n{talk}"),
            "1:13 `run.drain`: expected a duration of 30 days at most",
        ),
        (
            format!("run.connect_rate = 0\n{talk}"),
            "1:20 `run.connect_rate`: expected a rate above 0",
        ),
        (
            format!("run.observers = -1\n{talk}"),
            "1:17 `run.observers`: expected a whole number",
        ),
        (
            format!("run.shards = 0\n{talk}"),
            "1:14 `run.shards`: expected a whole number from 1",
        ),
        // Verify.
        (
            format!("verify.ack = 'none'\n{talk}"),
            "1:14 `verify.ack`: a target that is judged by its numbers promises exactly-once",
        ),
        (
            format!("verify.relay = 'at-most-once'\n{talk}"),
            "1:16 `verify.relay`: a target that is judged by its numbers promises exactly-once",
        ),
        (
            format!("verify.order = 'fifo'\n{talk}"),
            "1:16 `verify.order`: a target that is judged by its numbers promises total",
        ),
        (
            format!("verify.order = 'FIFO'\n{talk}"),
            "1:16 `verify.order`: expected \"total\", \"causal\", \"fifo\" or \"none\"",
        ),
        (
            format!("verify.echo = true\n{talk}"),
            "1:15 `verify.echo`: a target that is judged by its numbers promises no echo",
        ),
        (
            format!("verify.echo = 'no'\n{talk}"),
            "1:15 `verify.echo`: expected true or false",
        ),
        (
            format!("target.url = 'embedded+classic'\nverify.use_seq = true\n{talk}"),
            "2:18 `verify.use_seq`: the classic dialect states no numbers to go by",
        ),
        (
            format!("verify.use_seq = false\nrun.shards = 2\n{talk}"),
            "2:14 `run.shards`: a target that states no order is driven by one shard",
        ),
        (
            format!("target = {{ url = 'classic://h:1', faults = ['echo'] }}\n{talk}"),
            "1:44 `target.faults`: only the embedded server commits faults",
        ),
        (
            "target.url = 'classic://h:1'\nclients.a.script = [{ expect_error = { code = 'malformed' } }]".to_owned(),
            "2:21 `clients.a.script.0`: the classic dialect has no errors to expect",
        ),
        (
            format!("{talk}client_ip = 'observer-1'"),
            "3:13 `clients.a.client_ip`: only a message of the classic dialect says whom",
        ),
        (
            format!("target.url = 'classic://h:1'\n{talk}client_ip = 'observer-2'"),
            "4:13 `clients.a.client_ip`: no client is called \"observer-2\"",
        ),
        (
            format!("target.url = 'classic://h:1'\n{talk}client_ip = 'a-0'"),
            "4:13 `clients.a.client_ip`: no client is called \"a-0\"",
        ),
        (
            "verify = { ack = 'none', use_seq = false }\nclients.a.in_flight = 2".to_owned(),
            "2:23 `clients.a.in_flight`: a closed loop goes by acks",
        ),
        (
            "verify = { ack = 'none', use_seq = false }\nclients.a.script = [{ publish = {} }, { await_acks = {} }]".to_owned(),
            "2:39 `clients.a.script.1`: waits for acks that nobody promises",
        ),
        (
            format!("verify.late_after = '0s'\n{talk}"),
            "1:21 `verify.late_after`: expected a duration above 0, or \"none\"",
        ),
        // Thresholds.
        (
            format!("thresholds.latency = ['p99 < 1s']\n{talk}"),
            "1:12 `thresholds.latency`: no such key",
        ),
        (
            format!("thresholds.ack = 'p99 < 1s'\n{talk}"),
            "1:18 `thresholds.ack`: expected an array",
        ),
        (
            format!("thresholds.ack = [3]\n{talk}"),
            "1:19 `thresholds.ack.0`: expected a threshold such as",
        ),
        (
            format!("thresholds.ack = ['p99']\n{talk}"),
            "1:19 `thresholds.ack.0`: expected a threshold such as",
        ),
        (
            format!("thresholds.ack = ['p99 < 20']\n{talk}"),
            "1:19 `thresholds.ack.0`: expected a latency with its unit",
        ),
        (
            format!("thresholds.ack = ['avg < 20ms']\n{talk}"),
            "1:19 `thresholds.ack.0`: expected a figure of a latency",
        ),
        (
            format!("thresholds.rates = ['recieved > 5']\n{talk}"),
            "1:21 `thresholds.rates.0`: expected one of the rates",
        ),
        (
            format!("thresholds.rates = ['sent > 5ms']\n{talk}"),
            "1:21 `thresholds.rates.0`: expected a plain number",
        ),
    ];
    for (text, expected) in cases {
        let errors = errors(&text);
        assert!(
            errors[0].starts_with(expected),
            "{text}\nis told {errors:?}\nnot {expected}"
        );
        assert_eq!(errors.len(), 1, "{text}\nis told {errors:#?}");
    }
}

#[test]
fn only_the_embedded_server_commits_faults() {
    let errors = errors("target = { url = 'ndjson://h:1', faults = ['echo'] }\n[clients.a]");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("only the embedded server commits faults"));
}

#[test]
fn what_is_allowed_and_not_meant_is_a_warning() {
    assert_eq!(
        warnings("[clients.a]\npayload = { size = 64 }"),
        ["2:1 `clients.a.payload` has no effect: the group only listens"]
    );
    assert_eq!(
        warnings("[clients.a]\nscript = []\npayload = { size = 64 }"),
        ["3:1 `clients.a.payload` has no effect: the group has a script without `publish`"]
    );
    assert_eq!(
        warnings("[clients.a]\n[thresholds]\nconnect = ['max < 1s']\nack = ['max < 1s']"),
        ["4:8 a threshold without samples: no client publishes"]
    );
    let script = "[clients.a]\nscript = [{ publish = {} }]\n[thresholds]\nack = ['max < 1s']";
    let expected =
        "4:8 only scripts publish, and what they send within the warm-up is not measured";
    assert_eq!(warnings(script), [expected]);
    let no_acks = "verify = { ack = 'none', use_seq = false }\n[clients.a]\nrate = 1\n\
                   [thresholds]\nack = ['max < 1s']\nrates = ['sent > 1', 'acked > 1']";
    let expected = "a threshold without samples: no acks are promised";
    assert_eq!(
        warnings(no_acks),
        [format!("5:8 {expected}"), format!("6:22 {expected}")]
    );
    // Each of these has nothing to warn of.
    for fine in [
        "[clients.a]\n[thresholds]\nconnect = ['max < 1s']".to_owned(),
        format!("run.warmup = '0s'\n{script}"),
        script.replace("script =", "repeat = 'forever'\nscript ="),
        format!("[clients.b]\nrate = 1\n{script}"),
    ] {
        assert_eq!(warnings(&fine), [] as [&str; 0], "{fine}");
    }
}

const TWO_GROUPS: &str = "[clients.talkers]\nrate = 5\n[clients.guests]\ncount = 2\nscript = [{ publish = {} }, { pause = '1s' }]";

#[test]
fn the_command_line_sets_any_key() {
    let plan = check(
        TWO_GROUPS,
        &[
            "clients.talkers.rate=50",
            "run.duration=2s",
            "clients.guests.script.0.publish.count=7",
            "clients.guests.script.1={ stop_reading = \"2s\" }",
            "clients.talkers.payload={ size = 100 }",
            "thresholds.ack=[\"p99 < 1s\"]",
            "target.url=ndjson://127.0.0.1:7",
            "clients.talkers.rate=60",
            "description = two words",
        ],
    )
    .unwrap();
    let Load::Open { profile, .. } = &plan.groups[0].load else {
        panic!("{:?}", plan.groups[0].load);
    };
    assert_eq!(profile.messages(), 180.0); // the last --set of a key holds
    assert_eq!(plan.groups[0].payload.max, 100);
    let Load::Script { steps, .. } = &plan.groups[1].load else {
        panic!("{:?}", plan.groups[1].load);
    };
    assert!(matches!(steps[1], Step::Publish { count: 7, .. }));
    assert_eq!(steps[2], Step::StopReading(Duration::from_secs(2)));
    assert_eq!(plan.thresholds.len(), 1);
    assert_eq!(
        plan.target.url,
        TargetUrl::At(Dialect::Ndjson, "127.0.0.1:7".to_owned())
    );
    assert_eq!(plan.resolved["clients"]["talkers"]["rate"], 60);
}

#[test]
fn seed_and_target_options_are_over_everything() {
    let overrides = ["seed=5".to_owned(), "target.url=embedded".to_owned()];
    let url = "ndjson://127.0.0.1:7";
    let plan = parse("a.toml", TWO_GROUPS, &overrides, Some(9), Some(url)).unwrap();
    assert_eq!(plan.seed, 9);
    assert_eq!(plan.resolved["seed"], 9);
    assert_eq!(
        plan.target.url,
        TargetUrl::At(Dialect::Ndjson, "127.0.0.1:7".to_owned())
    );
    let errors = parse("a.toml", TWO_GROUPS, &[], None, Some("ws://x")).unwrap_err();
    let error = errors.iter().next().unwrap();
    let position = errors.position(error).unwrap();
    assert_eq!(position.source, "command line");
    assert!(error.title().contains("ws:// comes with a later one"));
}

#[test]
fn an_override_is_wrong_at_its_own_place() {
    for (argument, expected) in [
        ("rate", "1:7 expected PATH=VALUE"),
        ("=5", "1:7 expected a path such as"),
        ("run..x=5", "1:7 expected a path such as"),
        ("run\n.duration=5", "1:7 expected a path such as"),
        (
            "clients.talkrs.rate=5",
            "1:15 `clients.talkrs`: the file has no such group",
        ),
        (
            "clients.new=5",
            "1:15 `clients.new`: the file has no such group",
        ),
        (
            "clients.talkers.rte=5",
            "1:23 `clients.talkers.rte`: no such key",
        ),
        ("run.durration=5s", "1:11 `run.durration`: no such key"),
        ("rum.duration=5s", "1:7 `rum`: no such key"),
        ("run.duration=5", "1:20 `run.duration`: expected a duration"),
        ("run.duration=", "1:20 `run.duration`: expected a duration"),
        (
            "clients.talkers.rate.x=5",
            "1:28 `clients.talkers.rate` holds no keys: it is the number 5",
        ),
        (
            "clients.guests.script.9={}",
            "1:29 expected an index below 2",
        ),
        (
            "clients.guests.script.x.pause=1s",
            "1:29 expected an index below 2",
        ),
        ("clients.talkers.payload={ size = 5", "1:41 not TOML"),
        ("clients.talkers.rate=[1,", "1:31 not TOML"),
        (
            "clients.talkers.in_flight=5",
            "1:23 `clients.talkers`: `rate` and `in_flight` exclude",
        ),
    ] {
        let diagnostics = check(TWO_GROUPS, &[argument]).expect_err(argument);
        let shown = shown(&diagnostics);
        assert!(
            shown[0].starts_with(expected),
            "{argument}: {shown:?}, not {expected}"
        );
        let first = diagnostics.iter().next().unwrap();
        assert_eq!(diagnostics.position(first).unwrap().source, "command line");
    }
}

#[test]
fn a_groups_randomness_hangs_on_its_name_and_the_seed_alone() {
    let seed = |text: &str| {
        let plan = plan(text);
        let talkers = plan.groups.iter().position(|g| g.name == "talkers");
        plan.group_seed(talkers.unwrap())
    };
    let alone = seed("[clients.talkers]\nrate = 1");
    assert_eq!(
        alone,
        seed("[clients.others]\nrate = 1\n[clients.talkers]\nrate = 9")
    );
    assert_ne!(alone, seed("seed = 2\n[clients.talkers]\nrate = 1"));
    let two = plan(
        "[clients.a]\nrate = 9\narrival = 'poisson'\n[clients.b]\nrate = 9\narrival = 'poisson'",
    );
    let sends = |group| two.schedule(group, 0).unwrap().collect::<Vec<u64>>();
    assert_ne!(sends(0), sends(1));
    assert!(plan("[clients.a]").schedule(0, 0).is_none());
}

#[test]
fn an_estimate_adds_up() {
    let plan = plan(
        "[run]\nwarmup = '1s'\nduration = '9s'\n[clients.talkers]\ncount = 4\nrate = 100\n[clients.ramp]\nstages = [{ duration = '9s', rate = 200 }]\n[clients.listeners]\ncount = 10",
    );
    let estimate = Estimate::of(&plan);
    assert_eq!(plan.clients(), 16);
    assert_eq!(estimate.messages.count, 1000.0 + 900.0);
    assert_eq!(estimate.deliveries.count, 1900.0 * 15.0);
    assert!((estimate.peak_messages_per_s - 300.0).abs() < 0.001);
    assert_eq!(estimate.fds, 16 + 32);
    assert!(!estimate.messages.random && !estimate.messages.open_ended);
}

#[test]
fn an_estimate_says_what_it_does_not_know() {
    let of = |text: &str| Estimate::of(&plan(text)).messages;
    assert!(of("[clients.a]\nrate = 1\narrival = 'poisson'").random);
    assert!(of("[clients.a]\nin_flight = 1").open_ended);
    let forever = |script: &str| {
        of(&format!(
            "[clients.a]\nrepeat = 'forever'\nscript = {script}"
        ))
    };
    assert!(forever("[{ publish = {} }]").open_ended);
    // 11 s of passes that wait 100 ms each.
    let paced = forever("[{ publish = { count = 2 } }, { pause = '100ms' }]");
    assert!(
        paced.at_most && (paced.count - 220.0).abs() < 1e-6,
        "{paced:?}"
    );
    let script = "count = 3\nscript = [{ publish = { count = 5 } }, { publish = {} }]";
    let estimate = Estimate::of(&plan(&format!("[clients.a]\nrepeat = 2\n{script}")));
    assert_eq!(estimate.messages.count, 36.0);
    assert_eq!(estimate.burst, 15);
    assert!(estimate.deliveries.at_most);
}

#[test]
fn a_directory_stands_for_its_scenarios_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let shown = |paths: &[PathBuf]| files(paths).map_err(|errors| errors.to_string());
    assert!(
        shown(&[dir.path().into()])
            .unwrap_err()
            .contains("holds no scenario")
    );
    for name in ["b.toml", "a.toml", "notes.md"] {
        std::fs::write(path(name), "").unwrap();
    }
    let expected = [path("a.toml"), path("b.toml"), path("notes.md")];
    assert_eq!(
        shown(&[dir.path().into(), path("notes.md")]).unwrap(),
        expected
    );
    assert!(
        shown(&[path("c.toml")])
            .unwrap_err()
            .contains("cannot read")
    );
}

/// A value for a key, right or wrong.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\"1s\"".to_owned()),
        Just("\"forever\"".to_owned()),
        Just("\"poisson\"".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[{ publish = { count = 2 } }, { pause = \"1ms\" }]".to_owned()),
        Just("[{ duration = \"1s\", rate = 5.5 }]".to_owned()),
        Just("{ size = 100 }".to_owned()),
        Just("{ min = \"1KiB\", max = 2048 }".to_owned()),
        Just("[\"p99 < 1s\"]".to_owned()),
        Just("[\"sent > 1\"]".to_owned()),
        (-5i64..5_000).prop_map(|n| n.to_string()),
        (-1.0..1e6f64).prop_map(|x| format!("{x:?}")),
        any::<bool>().prop_map(|b| b.to_string()),
    ]
}

/// Settings that make a valid scenario of `[clients.talkers]`.
fn valid_settings() -> impl Strategy<Value = Vec<String>> {
    let text = |texts: &'static [&'static str]| prop::sample::select(texts).prop_map(str::to_owned);
    let load = prop_oneof![
        Just(String::new()),
        (0.001..1e6f64).prop_map(|rate| format!("rate={rate:?}")),
        (1..100_000u32).prop_map(|rate| format!("rate={rate}")),
        (1..1_000u32).prop_map(|n| format!("in_flight={n}")),
        text(&[
            "stages=[{ duration = '1s', rate = 5 }, { duration = '0s', rate = 0 }]",
            "stages=[{ duration = '1h 5m', rate = 0.5 }]",
            "script=[]",
            "script=[{ connect = {} }, { publish = {} }, { disconnect = 'abort' }]",
            "script=[{ pause = '1s' }, { send_raw = { hex = 'ff00', every = '1ms' } }, { expect_error = { code = 'malformed' } }]",
            "script=[{ await_acks = {} }, { stop_reading = '1s' }, { pause = { min = '1ms', max = '1s' } }]",
        ]),
    ];
    let other = text(&[
        "run.warmup=0s",
        "run.duration=1m30s",
        "run.drain=250ms",
        "run.connect_rate=0.5",
        "run.observers=0",
        "run.shards=1",
        "seed=18446744073709551615",
        "description=a \"quoted\" why",
        "target.url=ndjson://[::1]:1253",
        "target.url=embedded",
        "target.connect_timeout=10s",
        "verify.late_after=none",
        "verify.order=total",
        "verify.use_seq=false",
        "verify={ use_seq = false, ack = 'exactly-once', relay = 'at-least-once', order = 'fifo', echo = true }",
        "thresholds.relay=['p99.9 < 1s', 'max<1m']",
        "thresholds.rates=['sent > 1.5']",
        "clients.talkers.count=17",
        "clients.talkers.payload={ min = '1KiB', max = 2048 }",
    ]);
    (load, prop::collection::vec(other, 0..6)).prop_map(|(load, mut settings)| {
        if !load.is_empty() {
            settings.push(format!("clients.talkers.{load}"));
        }
        settings
    })
}

fn check_settings(settings: &[String]) -> Result<Plan, Diagnostics> {
    parse("case.toml", "[clients.talkers]", settings, None, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_panics(text in "[ -~\n\u{e4}\u{1f600}]{0,80}", argument in "[ -~\u{e4}]{0,30}") {
        let _ = check(&text, &[&argument]).map_err(|errors| errors.to_string());
        let _ = check(TWO_GROUPS, &[&argument]).map_err(|errors| errors.to_string());
    }

    #[test]
    fn no_value_of_a_key_panics_and_errors_are_shown(
        keys in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), value()), 1..6),
    ) {
        let settings: Vec<String> = keys.iter().map(|(section, key, value)| {
            let (section, keys) = section.get(&section::KEYS);
            let key = key.get(keys);
            match section.replace('*', "talkers").as_str() {
                "" => format!("{key}={value}"),
                section => format!("{section}.{key}={value}"),
            }
        }).collect();
        if let Err(errors) = check_settings(&settings) {
            prop_assert!(errors.has_errors() && !errors.to_string().is_empty());
        }
    }

    #[test]
    fn what_is_resolved_reads_back_as_the_same_plan(settings in valid_settings()) {
        let plan = check_settings(&settings).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let text = toml::to_string(&plan.resolved).unwrap();
        let again = check(&text, &[]).map_err(|e| TestCaseError::fail(format!("{text}\n{e}")))?;
        prop_assert_eq!(&again.resolved, &plan.resolved);
        prop_assert_eq!(format!("{:?}", again.run), format!("{:?}", plan.run));
        prop_assert_eq!(format!("{:?}", again.target), format!("{:?}", plan.target));
        prop_assert_eq!(format!("{:?}", again.groups), format!("{:?}", plan.groups));
        prop_assert_eq!(again.promises, plan.promises);
        prop_assert_eq!(again.thresholds, plan.thresholds);
    }
}
