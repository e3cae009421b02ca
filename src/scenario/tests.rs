mod documented;
mod guards;
mod overrides;
mod properties;

use std::collections::BTreeSet;
use std::time::Duration;

use super::estimate::Estimate;
use super::plan::{
    Arrival, Comparison, LateCounts, Leave, Load, Metric, PayloadSize, Promises, Raw, Repeat, Stat,
    Step, TargetUrl,
};
use super::promises::promised_in_words;
use super::rooms::{GroupRooms, Pick, Present};
use super::*;
use crate::wire::protocol::Protocol;
use crate::wire::rooms::RoomId;

const TWO_GROUPS: &str = "[clients.talkers]\nrate = 5\n[clients.guests]\ncount = 2\nscript = [{ publish = {} }, { pause = '1s' }]";

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
    assert_eq!(plan.target.url, TargetUrl::Embedded(Protocol::Ndjson));
    assert_eq!(plan.target.connect_timeout, Duration::from_secs(5));
    assert_eq!(plan.run.warmup, Duration::from_secs(1));
    assert_eq!(plan.run.duration, Duration::from_secs(10));
    assert_eq!(plan.run.drain, Duration::from_secs(5));
    assert_eq!(plan.run.connect_rate, 1000.0);
    assert_eq!(plan.run.observers, 1);
    assert_eq!(plan.run.shards, None);
    assert_eq!(plan.promises.late_after, Some(Duration::from_secs(5)));
    assert_eq!(plan.late, LateCounts::AsViolations);
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
fn raw_bytes_come_in_pieces_wherever_they_are_cut() {
    let raw = Raw::new(*b"abc", 5);
    assert_eq!(raw.len(), 15);
    for bytes in [1, 2, 4, 15, 16] {
        let pieces: Vec<Vec<u8>> = raw.pieces(bytes).collect();
        assert_eq!(pieces.concat(), b"abcabcabcabcabc");
        let whole = pieces
            .iter()
            .rev()
            .skip(1)
            .all(|piece| piece.len() == bytes);
        assert!(whole, "{pieces:?}");
    }
}

/// A file of a few kB may ask for terabytes, one after another: they are not laid out beforehand.
#[test]
fn raw_bytes_take_no_memory_before_they_are_sent() {
    let steps = "{ send_raw = { text = 'x', repeat = '16MiB' } },".repeat(100_000);
    let plan = plan(&format!("[clients.a]\nscript = [{steps}]"));
    let Load::Script { steps, .. } = &plan.groups[0].load else {
        panic!("{:?}", plan.groups[0].load);
    };
    assert_eq!(steps.len(), 100_002);
}

#[test]
fn stages_longer_than_any_run_are_cut_at_the_longest() {
    let stages = "[clients.ramp]\nstages = [{ duration = '20days', rate = 1 }, { duration = '20days', rate = 2 }]";
    let plan = plan(stages);
    assert_eq!(plan.run.duration, Duration::from_secs(30 * 24 * 3600));
    assert_eq!(plan.warnings.iter().count(), 1, "{}", plan.warnings);
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
                bytes: Raw::new([0xff, 0], 2),
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
late = "threshold"
[thresholds]
relay = ["p99.9 <= 5us"]
"#,
    );
    assert_eq!(plan.description.as_deref(), Some("why"));
    assert_eq!(plan.seed, u64::MAX);
    assert_eq!(
        plan.target.url,
        TargetUrl::At("ndjson://[::1]:1253".parse().unwrap())
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
    assert_eq!(plan.late, LateCounts::AsThreshold);
    let threshold = &plan.thresholds[0];
    assert_eq!(threshold.metric, Metric::Relay);
    assert_eq!(threshold.stat, Stat::Percentile(99.9));
    assert_eq!(threshold.op, Comparison::LessOrEqual);
    assert_eq!(threshold.limit, 5_000.0);
    assert_eq!(threshold.expr, "p99.9 <= 5us");
    assert!(plan.warnings.is_empty(), "{}", plan.warnings);
}

#[test]
fn thresholds_may_be_of_a_group_of_clients() {
    let talk = "[clients.talkers]\nrate = 1\n[clients.listeners]\n[thresholds]\n";
    type Asked = (Metric, Option<(String, usize)>, String);
    let of = |plan: &Plan| -> Vec<Asked> {
        let thresholds = plan.thresholds.iter().cloned();
        thresholds
            .map(|t| {
                (
                    t.metric,
                    t.group.map(|group| (group.name, group.position)),
                    t.expr,
                )
            })
            .collect()
    };
    let by_group = plan(&format!(
        "{talk}relay.listeners = ['p99 < 1ms', 'max < 1s']\nrelay.'*' = ['p50 < 1ms']\n\
         relay.observers = ['max < 2s']\nack.talkers = ['p50 < 3ms']\nspread = ['max < 9s']",
    ));
    let group = |name: &str, position| Some((name.to_owned(), position));
    assert_eq!(
        of(&by_group),
        [
            (Metric::Ack, group("talkers", 0), "p50 < 3ms".into()),
            (Metric::Relay, group("listeners", 1), "p99 < 1ms".into()),
            (Metric::Relay, group("listeners", 1), "max < 1s".into()),
            (Metric::Relay, None, "p50 < 1ms".into()),
            (Metric::Relay, group("observers", 2), "max < 2s".into()),
            (Metric::Spread, None, "max < 9s".into()),
        ]
    );
    assert!(by_group.warnings.is_empty(), "{}", by_group.warnings);
    // What it was resolved to is a scenario that asks the same.
    let again = toml::to_string(&by_group.resolved).unwrap();
    let asked = |plan: &Plan| -> BTreeSet<(Option<String>, String)> {
        let thresholds = plan.thresholds.iter().cloned();
        thresholds
            .map(|t| (t.group.map(|group| group.name), t.expr))
            .collect()
    };
    assert_eq!(asked(&plan(&again)), asked(&by_group));

    for (line, expected) in [
        (
            "relay.listner = ['max < 1s']",
            "5:7 `thresholds.relay.listner`: no group of clients is called so",
        ),
        (
            "relay.listeners = 'max < 1s'",
            "5:19 `thresholds.relay.listeners`: expected an array",
        ),
        (
            "relay.listeners = ['max < 1']",
            "5:20 `thresholds.relay.listeners.0`: expected a latency",
        ),
        (
            "spread.listeners = ['max < 1s']",
            "5:1 `thresholds.spread`: expected an array",
        ),
    ] {
        let errors = errors(&format!("{talk}{line}"));
        assert!(errors[0].starts_with(expected), "{line}: {errors:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
    }
    let unobserved = "[run]\nobservers = 0\n";
    let errors = errors(&format!("{unobserved}{talk}relay.observers = ['max < 1s']"));
    assert!(
        errors[0].contains("no group of clients is called so"),
        "{errors:?}"
    );

    let silent = warnings(&format!("{talk}ack.listeners = ['max < 1s']"));
    assert!(
        silent[0].contains("clients of `listeners` publish nothing"),
        "{silent:?}"
    );
}

#[test]
fn of_too_many_groups_the_last_have_no_thresholds() {
    let groups: String = (0..16)
        .map(|i| format!("[clients.g{i}]\nrate = 1\n"))
        .collect();
    let with = |group: &str| format!("{groups}[thresholds]\nrelay.{group} = ['max < 1s']");
    assert_eq!(plan(&with("g14")).thresholds.len(), 1);
    let errors = errors(&with("g15"));
    assert!(
        errors[0].contains("has no figures of its own"),
        "{errors:?}"
    );
}

#[test]
fn each_kind_of_target_has_its_promises() {
    let numbered = plan("[clients.a]").promises;
    assert!(numbered.use_seq);
    assert_eq!(
        promised_in_words(&numbered).join(", "),
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
        promised_in_words(&weakest.promises).join(", "),
        "by inferred order, from what each client saw, ack none, relay at-most-once, order causal, echo"
    );
}

#[test]
fn one_shard_may_be_asked_for_where_one_is_needed() {
    let plan = plan("verify.use_seq = false\nrun.shards = 1\n[clients.a]\nrate = 1");
    assert_eq!(plan.run.shards, Some(1));
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
fn rooms_have_their_forms_and_are_numbered_over_all_groups() {
    let plan = plan(
        "[clients.a]\ncount = 40\nrate = 1\nrooms = 20\n\
         [clients.b]\ncount = 3\nrooms = { names = ['room-3', 'lobby'], each = 2, pick = 'zipf' }\n\
         [clients.c]\nscript = [{ join = 'lobby' }, { publish = { room = 'lobby' } }, { leave = 'lobby' }]\n\
         [clients.d]\nrate = 1",
    );
    assert_eq!(plan.rooms.len(), 21);
    assert_eq!(plan.rooms.name(RoomId(3)), "room-3");
    assert_eq!(plan.rooms.id("lobby"), RoomId(21));
    let rooms = |group: usize| plan.groups[group].rooms.clone();
    let all: Vec<RoomId> = (1..=20).map(RoomId).collect();
    let (each, pick) = (1, Pick::Even);
    assert_eq!(
        rooms(0),
        Some(GroupRooms {
            rooms: all,
            each,
            pick
        })
    );
    let (each, pick) = (2, Pick::Zipf);
    let named = vec![RoomId(3), RoomId(21)];
    assert_eq!(
        rooms(1),
        Some(GroupRooms {
            rooms: named,
            each,
            pick
        })
    );
    assert_eq!((rooms(2), rooms(3)), (None, None));
    assert_eq!(plan.resolved["clients"]["a"]["rooms"]["count"], 20);
    assert!(plan.resolved["clients"]["d"].get("rooms").is_none());
    let present = Present::of(&plan);
    assert_eq!(present.dealt(RoomId(3)), 2 + 3);
    assert_eq!(
        [3, 4],
        [present.dealt(RoomId(21)), present.at_most(RoomId(21))]
    );
    assert_eq!(present.dealt(RoomId::UNNAMED), plan.clients());
}

/// 40 clients in 20 rooms, two in each but for what others join: a message goes to the members of
/// its room alone.
#[test]
fn an_estimate_counts_deliveries_by_room() {
    let of = |groups: &str| {
        let text = format!("[run]\nwarmup = '0s'\nduration = '10s'\n{groups}");
        Estimate::of(&plan(&text))
    };
    let people = "[clients.people]\ncount = 40\nrate = 100\nrooms = { count = 20, each = 2 }\n";
    let estimate = of(people);
    // 4 members a room, so each of 1,000 messages goes to 3.
    assert!((estimate.deliveries.count - 3_000.0).abs() < 1e-6);
    assert!((estimate.peak_deliveries_per_s - 300.0).abs() < 1e-6);
    let rooms = estimate.rooms.unwrap();
    assert_eq!(
        (rooms.count, rooms.memberships, rooms.memberships_at_most),
        (20, 80, 80)
    );
    let members = rooms.members;
    assert_eq!([members.min, members.mean, members.max], [4.0; 3]);
    let delivered = rooms.peak_deliveries_per_s;
    assert!((delivered.min - 15.0).abs() < 1e-9 && (delivered.max - 15.0).abs() < 1e-9);
    // Without rooms everyone gets it: 40 clients and an observer.
    let everyone = of("[clients.people]\ncount = 40\nrate = 100");
    assert_eq!(everyone.deliveries.count, 40_000.0);
    assert_eq!(everyone.rooms, None);
    assert!(estimate.bytes_out.count > everyone.bytes_out.count);
    // A script publishes in the rooms that it is in, in turn, or in the one that it names.
    let guest = |script: &str| {
        let text = format!(
            "[clients.lobby]\ncount = 5\nrooms = {{ names = ['lobby'] }}\n\
             [clients.hall]\ncount = 7\nrooms = {{ names = ['hall'] }}\n\
             [clients.guest]\nscript = {script}"
        );
        let estimate = of(&text);
        assert!(estimate.deliveries.at_most);
        estimate.deliveries.count
    };
    let publish = "{ publish = { count = 10 } }";
    assert_eq!(guest(&format!("[{publish}]")), 130.0);
    assert_eq!(guest(&format!("[{{ join = 'lobby' }}, {publish}]")), 50.0);
    let both = "{ join = 'lobby' }, { join = 'hall' }";
    assert_eq!(guest(&format!("[{both}, {publish}]")), 60.0);
    assert_eq!(
        guest(&format!(
            "[{both}, {publish}, {{ leave = 'lobby' }}, {publish}]"
        )),
        130.0
    );
    let in_hall = "{ publish = { count = 10, room = 'hall' } }";
    assert_eq!(guest(&format!("[{both}, {in_hall}]")), 70.0);
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
