//! `[protocol]` as its writers get it wrong, and right.

mod frames;

use super::presets;
use crate::scenario::parse;
use crate::scenario::plan::{AckPromise, OrderPromise, Plan};
use crate::wire::application::spec::{Ack, Heartbeat, Spec, Transport};
use crate::wire::protocol::Spoken;

const TARGET: &str = "[target]\nurl = 'ws://127.0.0.1:9/chat?user={client}'\n";
const PUBLISH: &str = r#"publish = '{"room":"{room}","id":{id},"text":"{payload}"}'"#;
const JOIN: &str = r#"join = [{ send = '{"join":"{room}"}', expect = { type = "joined" } }]"#;
const PEOPLE: &str = "[clients.people]\nrate = 1\nrooms = 2\n";

fn plan(text: &str) -> Result<Plan, String> {
    parse("case.toml", text, &[], None, None).map_err(|errors| errors.to_string())
}

/// What is said of a scenario with these lines in `[protocol]`.
fn said(lines: &str) -> String {
    let text = format!("{TARGET}[protocol]\n{PUBLISH}\n{JOIN}\n{lines}\n{PEOPLE}");
    match plan(&text) {
        Ok(plan) => format!("valid\n{}", plan.warnings),
        Err(errors) => errors,
    }
}

fn spec(plan: &Plan) -> &Spec {
    match &plan.target.spoken {
        Spoken::Application(spec) => spec,
        other => panic!("{other}"),
    }
}

#[test]
fn scripts_ask_in_the_words_of_the_protocol() {
    let script = |steps: &str| {
        format!("[clients.b]\nscript = [{{ send = 'x' }}]\n[clients.c]\nscript = [{steps}]\n")
    };
    let with = |steps: &str| {
        plan(&format!(
            "{TARGET}[protocol]\n{PUBLISH}\n{JOIN}\n{PEOPLE}{}",
            script(steps)
        ))
    };
    let good = with(
        "{ send = 'WHO {id}', expect = { you = '{key}' }, within = '1s' }, { send = 'USE {key}' }, { expect = 'bye' }",
    )
    .unwrap();
    let asks = &spec(&good).asks;
    // Numbered over all groups: the first is of another one.
    assert_eq!(asks.len(), 4);
    assert_eq!(asks[1].within_ns, 1_000_000_000);
    assert!(asks[2].expect.is_none() && asks[3].send.is_none());
    let resolved = toml::to_string(&good.resolved).unwrap();
    assert_eq!(plan(&resolved).unwrap().resolved, good.resolved);
    for (steps, parts) in [
        (
            "{ send = 'a', expct = 'b' }",
            &["did you mean `expect`?"][..],
        ),
        (
            "{ expect = '*' }",
            &["`clients.c.script.0.expect`: takes whatever comes"],
        ),
        (
            "{ send = '{clinet}' }",
            &["`clients.c.script.0.send`", "did you mean `{client}`?"],
        ),
        ("{ send = '{payload}' }", &["{payload} has no value"]),
        ("{ send = '{room}' }", &["{room} has no value"]),
        ("{ send = 7 }", &["`clients.c.script.0.send`: expected"]),
        (
            "{ send = 'a', within = 'soon' }",
            &["`clients.c.script.0.within`: expected"],
        ),
        (
            "{ disconnect = 'polite' }, { send = 'a' }",
            &["`clients.c.script.1`: needs a connection"],
        ),
    ] {
        let errors = with(steps).unwrap_err();
        for part in parts {
            assert!(errors.contains(part), "{steps}: no {part:?} in\n{errors}");
        }
    }
    let errors = plan(&script("{ expect = 'b' }")).unwrap_err();
    assert!(
        errors.contains("`clients.b.script.0`: only of a target with a [protocol]"),
        "{errors}"
    );
}

#[test]
fn the_ten_lines_of_ones_own_chat() {
    let text = format!(
        "{TARGET}[protocol]\n{JOIN}\n{PUBLISH}\nack = {{ type = \"ok\", id = \"{{id}}\" }}\n{PEOPLE}"
    );
    let plan = plan(&text).unwrap();
    let spec = spec(&plan);
    assert_eq!((spec.join.len(), spec.login.len()), (1, 0));
    assert!(matches!(
        spec.transport,
        Transport::WebSocket { binary: false, .. }
    ));
    assert!(matches!(&spec.ack, Ack::Match(all) if all.len() == 1));
    assert_eq!(plan.promises.ack, AckPromise::ExactlyOnce);
    assert!(!plan.promises.use_seq);
    let capabilities = spec.capabilities();
    assert!(!capabilities.welcome && capabilities.joined && capabilities.rooms);
    // As it is resolved it is a scenario that says the same.
    let resolved = toml::to_string(&plan.resolved).unwrap();
    let again =
        super::tests::plan(&resolved).unwrap_or_else(|errors| panic!("{resolved}\n{errors}"));
    assert_eq!(again.resolved, plan.resolved);
}

#[test]
fn every_key_is_read() {
    let text = r#"
        run.observers = 0
        [target]
        url = "tcp://127.0.0.1:6667"
        [protocol]
        login = [{ expect = "hello {sid}" }, { send = "login {token} {sig}", expect = "ok*", within = "2s" }]
        publish = "say {room} {payload}"
        join = [{ send = "join {room}" }]
        leave = { send = "part {room}", expect = { left = "{room}" } }
        ack = "next"
        refusal = "no*"
        error = ["err*", { error = "*", fatal = true, code = 7, "a.b" = false }]
        ignore = [{ meta = { kind = "noise" } }]
        heartbeat = [{ on = "PING {t}", send = "PONG {t}" }, { every = "30s", send = "PING" }]
        split = ";"
        end = ";\n"
        vars = { token = "sesame", sig = { hmac_sha256 = "{sid}:{client}", key = "{token}" } }
        reconnect = { after = "1s..5s", at_most = 3 }
        [clients.people]
        rate = 1
        rooms = 2
    "#;
    let plan = plan(text).unwrap();
    let spec = spec(&plan);
    assert_eq!(spec.transport, Transport::Stream);
    assert_eq!(spec.login[1].within_ns, 2_000_000_000);
    assert_eq!(spec.split.as_deref(), Some(&b";"[..]));
    assert_eq!(&*spec.end, b";\n");
    assert_eq!(
        (spec.ack.clone(), spec.error.len(), spec.leave.len()),
        (Ack::Next, 2, 1)
    );
    assert!(matches!(
        &spec.heartbeats[..],
        [Heartbeat::On { .. }, Heartbeat::Every { .. }]
    ));
    let reconnect = spec.reconnect.unwrap();
    assert_eq!(
        (reconnect.after_min_ns, reconnect.at_most),
        (1_000_000_000, 3)
    );
    assert!(!spec.capabilities().joined, "nothing answers a join");
    // What is secret is in no result.
    let resolved = plan.resolved.to_string();
    assert!(!resolved.contains("sesame"), "{resolved}");
    assert!(resolved.contains("{sid}:{client}") && resolved.contains("\"{token}\""));
}

/// What is wrong is said with its key, its line and what was probably meant.
#[test]
fn what_is_wrong_is_said_at_its_place() {
    for (lines, expected) in [
        (
            "ack = \"ehco\"",
            &[
                "`protocol.ack`: expected",
                "did you mean \"echo\"?",
                "case.toml:6:7",
            ][..],
        ),
        ("ack = \"*\"", &["`protocol.ack`: takes whatever comes"]),
        ("ack = {}", &["takes whatever comes"]),
        ("ack = \"{anything}\"", &["takes whatever comes"]),
        ("ack = \"ok {payload}\"", &["messages are found without it"]),
        ("ack = \"{a}{b}\"", &["nothing says where one value ends"]),
        (
            "ack = { id = [1] }",
            &["`protocol.ack.id`: expected a text"],
        ),
        ("refusal = [7]", &["`protocol.refusal.0`: expected a match"]),
        (
            "login = [{ send = 'a {clinet} b' }]",
            &[
                "{clinet} is no known name",
                "did you mean `{client}`?",
                "case.toml:6:22",
            ],
        ),
        (
            "refusal = [{ a = 'x', b = '{rooom}' }]",
            &[
                "`protocol.refusal.0.b`",
                "did you mean `{room}`?",
                "case.toml:6:28",
            ],
        ),
        (
            "login = [{ within = '1s' }]",
            &["neither sends nor expects", "nothing is expected"],
        ),
        (
            "login = [{ send = '{room}' }]",
            &["{room} has no value here"],
        ),
        ("login = [{ sedn = 'x' }]", &["did you mean `send`?"]),
        (
            "heartbeat = { send = 'x' }",
            &["expected one of `on` and `every`"],
        ),
        (
            "heartbeat = { every = '1s' }",
            &["`protocol.heartbeat.send` is missing"],
        ),
        (
            "vars = { id = 'x' }",
            &["`protocol.vars.id`: stands for something else"],
        ),
        ("vars = { a = '{b}', b = '{a}' }", &["is made of itself"]),
        (
            "vars = { a = { hmac_sha256 = 'x' } }",
            &["`protocol.vars.a.key` is missing"],
        ),
        (
            "vars = { a = { base64 = 'x', key = 'y' } }",
            &["base64 takes no key"],
        ),
        (
            "vars = { a = { md5 = 'x' } }",
            &["expected one of hmac_sha256, base64, url, json"],
        ),
        (
            "vars = { a = '{env.CHATBENCH_NOT_SET}' }",
            &["the environment has no variable CHATBENCH_NOT_SET"],
        ),
        (
            "headers = { Host = 'x' }",
            &["the handshake has it of its own"],
        ),
        ("headers = { 'a b' = 'x' }", &["no name of a header field"]),
        (
            "headers = { A = \"x\\r\\nB: y\" }",
            &["a header field is one line"],
        ),
        (
            "reconnect = { after = '5s..1s' }",
            &["the shortest and the longest"],
        ),
        ("users = 'no-such.csv'", &["cannot use no-such.csv"]),
        (
            "preset = 'socketio'",
            &["no such preset", "did you mean \"socket.io\"?"],
        ),
        ("publihs = 'x'", &["did you mean `publish`?"]),
        ("split = ''", &["a text that is not empty"]),
    ] {
        let said = said(lines);
        for part in expected {
            assert!(said.contains(part), "{lines}: no {part:?} in\n{said}");
        }
        assert!(!said.starts_with("valid"), "{lines}");
    }
}

#[test]
fn what_does_not_fit_the_rest_of_the_scenario_is_said() {
    for (text, expected) in [
        (
            format!("{TARGET}[protocol]\nack = 'echo'\n{PEOPLE}"),
            "`protocol.publish` is missing",
        ),
        (
            format!("{TARGET}[protocol]\npublish = 'x'\n{JOIN}\n{PEOPLE}"),
            "has no {payload} in it",
        ),
        (
            format!(
                "{TARGET}[protocol]\n{JOIN}\npublish = '{{room}} {{payload}}'\nack = 'ok {{id}}'\n{PEOPLE}"
            ),
            "waits for an {id} that nothing sends",
        ),
        (
            format!("{TARGET}[protocol]\n{PUBLISH}\n{PEOPLE}"),
            "has no rooms",
        ),
        (
            format!("{TARGET}[protocol]\n{PUBLISH}\n{JOIN}\n[clients.a]\nrate = 1\n"),
            "is in no room, and `publish` names one",
        ),
        (
            format!("[target]\nurl = 'ndjson://h:1'\n[protocol]\n{PUBLISH}\n{JOIN}\n{PEOPLE}"),
            "only of a target at ws://",
        ),
        (
            format!("[protocol]\n{PUBLISH}\n{JOIN}\n{PEOPLE}"),
            "only of a target at ws://",
        ),
        (
            format!(
                "[target]\nurl = 'tcp://h:1'\n[protocol]\nbinary = true\n{PUBLISH}\n{JOIN}\n{PEOPLE}"
            ),
            "belongs to WebSocket targets",
        ),
        (
            format!("[target]\nurl = 'tcp://h'\n[protocol]\n{PUBLISH}\n{JOIN}\n{PEOPLE}"),
            "is not HOST:PORT",
        ),
        (
            format!(
                "[run]\nobservers = 2\n[target]\nurl = 'ws://h/{{room}}'\n[protocol]\npublish = '{{payload}}'\n{PEOPLE}"
            ),
            "`run.observers`: must be 0",
        ),
        (
            format!(
                "{TARGET}[protocol]\n{PUBLISH}\n{JOIN}\n{PEOPLE}[clients.b]\nrooms = 2\nscript = [{{ join = 'x' }}, {{ publish = {{}} }}, {{ leave = 'x' }}]\n"
            ),
            "nothing says how to leave \"x\"",
        ),
    ] {
        let said = plan(&text)
            .map(|_| String::new())
            .unwrap_or_else(|errors| errors);
        assert!(
            said.contains(expected),
            "{text}\nno {expected:?} in\n{said}"
        );
    }
    let said = plan(&format!(
        "{TARGET}[protocol]\n{JOIN}\npublish = '{{payload}}'\n{PEOPLE}"
    ));
    let warnings = said.unwrap().warnings.to_string();
    assert!(
        warnings.contains("does not say in which room"),
        "{warnings}"
    );
}

#[test]
fn users_have_a_row_each_and_their_columns_are_names() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("users.csv"),
        "token,name\nt-1,Ann\nt-2,Bob\n",
    )
    .unwrap();
    let file = directory.path().join("case.toml");
    let text = |count: u32| {
        format!(
            "[target]\nurl = 'ws://h'\n[protocol]\nusers = 'users.csv'\nvars = {{ token = 'none' }}\n\
             login = [{{ send = '{{token}} {{name}}' }}]\npublish = '{{payload}}'\n\
             [clients.a]\nrate = 1\ncount = {count}\n"
        )
    };
    let parse = |count| parse(&file.display().to_string(), &text(count), &[], None, None);
    let plan = parse(1).unwrap();
    assert_eq!(spec(&plan).users.len(), 2, "an observer is somebody, too");
    let resolved = plan.resolved.to_string();
    assert!(
        !resolved.contains("t-1") && !resolved.contains("Ann"),
        "{resolved}"
    );
    let said = parse(2).unwrap_err().to_string();
    assert!(
        said.contains("users.csv has 2 rows, and there are 3 clients"),
        "{said}"
    );
    assert!(!said.contains("t-1") && !said.contains("Ann"), "{said}");
}

#[test]
fn every_preset_is_a_scenario_and_its_keys_can_be_changed_one_by_one() {
    for preset in presets::ALL {
        // Names in a preset that are taken from the environment.
        let text = preset
            .text
            .replace("{env.PUSHER_KEY}", "key")
            .replace("{env.PUSHER_SECRET}", "s");
        let text = format!("{text}\n[clients.people]\ncount = 8\nrate = 1\nrooms = 2\n");
        let alone = plan(&text).unwrap_or_else(|errors| panic!("{}\n{errors}", preset.name));
        assert!(
            alone.warnings.is_empty(),
            "{}\n{}",
            preset.name,
            alone.warnings
        );
        assert!(
            !preset.title().is_empty() && preset.text.starts_with("# "),
            "{}",
            preset.name
        );
    }
    let of = |lines: &str| {
        let people = "[clients.people]\nrate = 1\ncount = 8\nrooms = 2\n";
        let text = format!("target = {{ url = 'ws://h:3000' }}\n{lines}\n{people}");
        plan(&text).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let short = of("protocol = 'socket.io'");
    let long = of("[protocol]\npreset = 'socket.io'");
    assert_eq!(short.target.spoken, long.target.spoken);
    assert_eq!(short.target.spoken.to_string(), "socket.io");
    assert_eq!(
        short.target_url(),
        "ws://h:3000/socket.io/?EIO=4&transport=websocket"
    );
    assert_eq!(short.promises.order, OrderPromise::Total);
    let own = of(
        "[verify]\norder = 'fifo'\n[protocol]\npreset = 'socket.io'\nack = 'none'\nvars = { other = 'x' }",
    );
    assert_eq!(own.promises.order, OrderPromise::Fifo);
    assert_eq!(own.promises.ack, AckPromise::None);
    assert_eq!(spec(&own).login.len(), spec(&short).login.len());
}
