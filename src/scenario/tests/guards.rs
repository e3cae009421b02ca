//! What is wrong with a scenario is said at its place, and what is allowed and not meant, too.

use super::*;

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
            format!("target.url = 'mqtt://h:1'\n{talk}"),
            "1:14 `target.url`: expected a target that this version drives: mqtt://",
        ),
        (
            format!("target.url = 'h'\n{talk}"),
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
        (
            format!("target.tls.insecure = true\n{talk}"),
            "1:8 `target.tls`: the target is not reached by TLS",
        ),
        (
            format!("target.url = 'ndjson://h:1'\ntarget.tls.insecure = true\n{talk}"),
            "2:8 `target.tls`: the target is not reached by TLS",
        ),
        (
            format!("target = {{ url = 'ndjson+tls://h:1', tls = {{ insecure = 1 }} }}\n{talk}"),
            "1:57 `target.tls.insecure`: expected true or false",
        ),
        (
            format!("target = {{ url = 'ndjson+tls://h:1', tls = {{ ca_cert = 'x' }} }}\n{talk}"),
            "1:46 `target.tls.ca_cert`: no such key",
        ),
        (
            format!("target = {{ url = 'ndjson+tls://h:1', tls = {{ key = 'x' }} }}\n{talk}"),
            "1:52 `target.tls.key`: a key is of no use without its certificate",
        ),
        (
            format!("target = {{ url = 'ndjson+tls://h:1', tls = 3 }}\n{talk}"),
            "1:44 `target.tls`: expected a table",
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
            "1:20 `run.connect_rate`: expected a rate from 0.001 to",
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
            format!("verify = {{ ack = 'echo', echo = false, use_seq = false }}\n{talk}"),
            "1:33 `verify.echo`: where `verify.ack` is \"echo\", a message's echo is its ack",
        ),
        (
            format!("verify.ack = 'echo'\n{talk}"),
            "1:14 `verify.ack`: a target that is judged by its numbers promises exactly-once",
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
            "target.url = 'classic://h:1'\nverify.order = 'none'\nrun.shards = 2\n\
             clients.a = { count = 2, rate = 1, client_ip = 'a-1' }".to_owned(),
            "3:14 `run.shards`: a target that states no order is driven by one shard",
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
        // Rooms.
        (
            group("rooms = 0"),
            "2:9 `clients.a.rooms`: expected a whole number from 1 to 65536",
        ),
        (
            group("rooms = 'lobby'"),
            "2:9 `clients.a.rooms`: expected a number of rooms, or a table such as",
        ),
        (
            group("rooms = {}"),
            "2:1 `clients.a.rooms`: expected one of `count` and `names`",
        ),
        (
            group("rooms = { count = 2, names = ['x'] }"),
            "2:1 `clients.a.rooms`: expected one of `count` and `names`",
        ),
        (
            group("rooms = { count = 2, size = 3 }"),
            "2:22 `clients.a.rooms.size`: no such key",
        ),
        (
            group("rooms = { count = 2, each = 3 }"),
            "2:29 `clients.a.rooms.each`: a client cannot be in 3 of 2 rooms",
        ),
        (
            group("rooms = { count = 2, each = 0 }"),
            "2:29 `clients.a.rooms.each`: expected a whole number from 1 to 1024",
        ),
        (
            group("rooms = { count = 2, pick = 'zip' }"),
            "2:29 `clients.a.rooms.pick`: expected \"even\" or \"zipf\"",
        ),
        (
            group("rooms = { names = [] }"),
            "2:19 `clients.a.rooms.names`: expected 1 to 65536 names",
        ),
        (
            group("rooms = { names = 'lobby' }"),
            "2:19 `clients.a.rooms.names`: expected an array",
        ),
        (
            group("rooms = { names = ['x', 3] }"),
            "2:25 `clients.a.rooms.names.1`: expected the name of a room",
        ),
        (
            group("rooms = { names = [''] }"),
            "2:20 `clients.a.rooms.names.0`: expected the name of a room",
        ),
        (
            group(r#"rooms = { names = ["a\u0085"] }"#),
            "2:20 `clients.a.rooms.names.0`: expected the name of a room",
        ),
        (
            group("rooms = { names = ['x', 'y', 'x'] }"),
            "2:30 `clients.a.rooms.names.2`: the room \"x\" is named twice",
        ),
        (
            group("rate = 1\nrooms = 2\npayload = { size = 65400 }\ncount = 9"),
            "1:10 `clients.a.payload`: a message in a room has 65390 bytes at most",
        ),
        (
            group("count = 2\nscript = [{ join = '' }]"),
            "3:20 `clients.a.script.0.join`: expected the name of a room",
        ),
        (
            group("count = 2\nscript = [{ disconnect = 'close' }, { join = 'x' }]"),
            "3:37 `clients.a.script.1`: needs a connection",
        ),
        (
            group("count = 2\nscript = [{ join = 'x' }, { join = 'x' }]"),
            "3:27 `clients.a.script.1`: joins \"x\", and the client is in it already",
        ),
        (
            group("count = 2\nscript = [{ leave = 'x' }]"),
            "3:11 `clients.a.script.0`: leaves \"x\", and the client is not in it",
        ),
        (
            group("count = 2\nscript = [{ publish = { room = 'x' } }]"),
            "3:11 `clients.a.script.0`: publishes in \"x\", and the client is not in it",
        ),
        (
            group("count = 2\nrooms = { names = ['x'] }\nscript = [{ leave = 'x' }, { publish = { room = 'x' } }]"),
            "4:28 `clients.a.script.1`: publishes in \"x\", and the client is not in it",
        ),
        (
            group("count = 2\nrooms = { names = ['x', 'y'] }\nscript = [{ leave = 'x' }]"),
            "4:11 `clients.a.script.0`: leaves \"x\", and only some of the group's clients are in it",
        ),
        (
            format!("target.url = 'classic://h'\n{}", group("rooms = 2\ncount = 4")),
            "3:1 `clients.a.rooms`: the classic dialect has no rooms",
        ),
        (
            format!("target.url = 'classic://h'\n{}", group("count = 2\nscript = [{ join = 'x' }]")),
            "4:11 `clients.a.script.0`: the classic dialect has no rooms",
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
        (
            format!("thresholds.rooms = ['p99 < 1s']\n{talk}"),
            "1:21 `thresholds.rooms`: no group is in any room",
        ),
        (
            format!("thresholds.rooms = ['mean < 1s']\n{talk}rooms = 2\ncount = 4"),
            "1:21 `thresholds.rooms.0`: expected a figure of a room, not `mean`",
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
        warnings("[clients.a]\npayload = { size = 64 }\n[clients.b]\nrate = 1"),
        ["2:1 `clients.a.payload` has no effect: the group only listens"]
    );
    assert_eq!(
        warnings("[clients.a]\nscript = []\npayload = { size = 64 }\n[clients.b]\nrate = 1"),
        ["3:1 `clients.a.payload` has no effect: the group has a script without `publish`"]
    );
    let nothing = "no client publishes, and no threshold is set: there is nothing to verify";
    for idle in [
        "[clients.a]",
        "[clients.a]\nscript = [{ pause = '1s' }]",
        "[clients.a]\nscript = []\n[clients.b]\ncount = 3",
    ] {
        let found = warnings(idle);
        assert!(
            found.len() == 1 && found[0].ends_with(nothing),
            "{idle}: {found:?}"
        );
    }
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
        "[clients.a]\nscript = [{ disconnect = 'abort' }]".to_owned(),
        "[clients.a]\n[clients.b]\nrate = 1".to_owned(),
        format!("run.warmup = '0s'\n{script}"),
        script.replace("script =", "repeat = 'forever'\nscript ="),
        format!("[clients.b]\nrate = 1\n{script}"),
    ] {
        assert_eq!(warnings(&fine), [] as [&str; 0], "{fine}");
    }
}

#[test]
fn more_shards_than_rooms_can_use_are_warned_of() {
    let text = |shards: u32, clients: &str| {
        format!("verify = {{ use_seq = false }}\nrun.shards = {shards}\n{clients}")
    };
    let three = "[clients.a]\nrooms = 3\ncount = 9\nrate = 1\n";
    assert_eq!(warnings(&text(3, three)), [] as [&str; 0]);
    let found = plan(&text(4, three)).warnings;
    let expected = "2:14 `run.shards`: only 3 shards can have something to do";
    assert_eq!(shown(&found), [expected]);
    let lobby = format!("{three}[clients.b]\nrooms = {{ count = 3, each = 3 }}\n");
    let expected = "2:14 `run.shards`: one shard has all there is to do";
    assert_eq!(warnings(&text(2, &lobby)), [expected]);
    assert_eq!(warnings(&text(1, &lobby)), [] as [&str; 0]);
    let by_numbers = text(9, &lobby).replace("false", "true");
    assert_eq!(warnings(&by_numbers), [] as [&str; 0]);
}

#[test]
fn a_group_is_not_called_like_what_results_call_others() {
    for name in ["observer", "observers"] {
        let text = format!("[clients.{name}]\nrate = 1");
        let taken = format!("1:10 `clients.{name}` has a name that is taken");
        assert_eq!(errors(&text), [taken]);
        // Without observers nobody else has it.
        plan(&format!("run.observers = 0\n{text}"));
    }
    let groups = |n: usize| {
        let more = (2..=n).map(|i| format!("[clients.g{i}]\n"));
        format!("[clients.others]\nrate = 1\n{}", more.collect::<String>())
    };
    plan(&groups(15));
    assert_eq!(
        errors(&groups(16)),
        ["1:10 `clients.others` has a name that is taken"]
    );
}

#[test]
fn rooms_in_which_nobody_else_is_are_warned_of() {
    let lobby = "[clients.people]\ncount = 9\nrate = 1\nrooms = { names = ['lobby', 'hall'] }\n";
    let said = |script: &str| {
        let text = format!("{lobby}[clients.guest]\nscript = {script}");
        let found = plan(&text).warnings;
        assert!(!found.has_errors());
        (shown(&found), found.to_string())
    };
    let (titles, text) = said("[{ join = 'loby' }, { publish = { room = 'loby' } }]");
    let expected = "6:11 `clients.guest.script.0`: no other client is ever in room \"loby\"";
    assert_eq!(titles, [expected]);
    assert!(text.contains("did you mean \"lobby\"?"), "{text}");
    let (titles, text) = said("[{ join = 'cellar' }, { leave = 'cellar' }]");
    assert_eq!(titles.len(), 1);
    assert!(text.contains("delivered to nobody"), "{text}");
    assert_eq!(
        said("[{ join = 'hall' }, { leave = 'hall' }]").0,
        [] as [&str; 0]
    );
    // Two of a group meet in a room of their own.
    let pair = format!("{lobby}[clients.pair]\ncount = 2\nscript = [{{ join = 'cellar' }}]");
    assert_eq!(warnings(&pair), [] as [&str; 0]);

    let alone =
        "2:1 `clients.a`: no room has two members, so what is published is delivered to nobody";
    let alone = alone.replacen("2:1", "1:10", 1);
    assert_eq!(warnings(&group("count = 3\nrate = 1\nrooms = 3")), [alone]);
    assert_eq!(
        warnings(&group("count = 4\nrate = 1\nrooms = 3")),
        [] as [&str; 0]
    );
    let met = "[clients.b]\nrooms = 3\ncount = 1";
    assert_eq!(
        warnings(&format!(
            "{}\n{met}",
            group("count = 3\nrate = 1\nrooms = 3")
        )),
        [] as [&str; 0]
    );
}

#[test]
fn a_group_that_may_well_send_nothing_is_warned_of() {
    let talk = "[run]\nwarmup = '1s'\nduration = '9s'\ndrain = '5s'\n[clients.often]\nrate = 100\n";
    let said = |group: &str| warnings(&format!("{talk}[clients.rare]\n{group}"));
    let rare = said("rate = 0.2\narrival = 'poisson'");
    assert!(
        rare.len() == 1 && rare[0].contains("`clients.rare`: 2.0 messages are due on average"),
        "{rare:?}"
    );
    assert_eq!(
        said("rate = 0.3\narrival = 'poisson'"),
        Vec::<String>::new()
    );
    assert_eq!(
        said("rate = 0.01"),
        Vec::<String>::new(),
        "its first is due at once"
    );
    let script = |pause: &str| {
        format!("script = [{{ pause = '{pause}' }}, {{ publish = {{ count = 1 }} }}]")
    };
    let late = said(&script("16s"));
    assert!(
        late.len() == 1 && late[0].contains("pauses for longer than the run lasts"),
        "{late:?}"
    );
    assert_eq!(said(&script("14s")), Vec::<String>::new());
    let silent = "script = [{ connect = {} }, { pause = '1h' }]";
    assert_eq!(said(silent), Vec::<String>::new(), "it publishes nothing");
}
