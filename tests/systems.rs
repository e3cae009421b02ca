//! Real servers, driven by the scenarios in `scenarios/systems`: what they promise they keep under
//! load and while clients come and go, and what they do not promise is found.
//!
//! Each is started by `scenarios/systems/servers/run`, on a port of the test's own. Where one is not
//! installed its test says so and checks nothing, unless `SYSTEMS` is set: then all have to be there.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/probe.rs"]
mod probe;
#[path = "binary/schema.rs"]
mod schema;

use std::env;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use probe::{Scenario, result_of};
use serde_json::Value;

/// How long a server may take to listen. Node and nginx take less than a second.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

fn systems() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/systems")
}

/// A server of another project, ended with the test.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts the one of this name; `None` if it is not installed and need not be.
    fn start(name: &str) -> Option<Self> {
        if let Err(missing) = installed(name) {
            assert!(
                env::var_os("SYSTEMS").is_none(),
                "{name} is needed, where SYSTEMS is set, and there is no {missing}"
            );
            eprintln!("{name} is not installed (no {missing}): nothing is checked");
            return None;
        }
        Some(Self::of(
            name,
            &mut Command::new(systems().join("servers/run")),
        ))
    }

    /// Starts it by a command, which takes a name and a port.
    fn of(name: &str, command: &mut Command) -> Self {
        // It cannot be told to take any port: this one was free just now.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = command
            .args([name, &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { process, port };
        let until = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none(), "{name} ended: {ended:?}");
            assert!(Instant::now() < until, "{name} does not listen");
            sleep(Duration::from_millis(10)); // a server that starts announces itself to nobody
        }
        server
    }

    /// The result of its scenario, driven for two seconds.
    fn result_of(&self, scenario: &str, set: &[&str]) -> (Option<i32>, Value) {
        let path = systems().join(format!("{scenario}.toml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let url = text.lines().find_map(|line| line.strip_prefix("url = \""));
        let (before, after) = url.unwrap().split_once("127.0.0.1:").unwrap();
        let path_of_url = after
            .trim_end_matches('"')
            .trim_start_matches(|c: char| c.is_ascii_digit());
        let url = format!("{before}127.0.0.1:{}{path_of_url}", self.port);
        let mut args = vec![path.to_str().unwrap(), "--target", &url];
        let short = ["run.warmup=500ms", "run.duration=2s", "run.drain=30s"];
        for set in short.iter().chain(set) {
            args.extend(["--set", set]);
        }
        result_of(&args)
    }
}

/// The verifier is tried on it: every fault that a proxy commits between it and its clients is found
/// and rightly named, and nothing without a fault.
fn assert_tried(name: &str, scenario: &str, scheme: &str) {
    let Some(server) = Server::start(name) else {
        return;
    };
    let path = systems().join(format!("{scenario}.toml"));
    let url = format!("{scheme}://127.0.0.1:{}", server.port);
    let args = [
        "--target",
        &url,
        "--seeds",
        "1",
        "--clean",
        "2",
        "--no-progress",
    ];
    let ran = binary::output(&[&["selftest", path.to_str().unwrap()][..], &args].concat());
    let text = String::from_utf8_lossy(&ran.stdout);
    assert!(text.contains("2 clean runs: 0 false alarms"), "{text}");
    assert!(text.matches("  caught").count() >= 5, "{text}");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{text}{said}");
}

#[test]
fn the_selftest_passes_on_nats() {
    assert_tried("nats", "nats", "nats");
}

#[test]
fn the_selftest_passes_on_redis() {
    assert_tried("redis", "redis", "redis");
}

impl Drop for Server {
    fn drop(&mut self) {
        // The script ends what it has started when it is told to end, and not when it is killed.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

fn python() -> String {
    env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// What a server needs that is not here, as an error.
fn installed(name: &str) -> Result<(), &'static str> {
    let command = |command: &'static str| {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
        folders.push("/usr/sbin".into());
        let found = folders.iter().any(|folder| folder.join(command).exists());
        if found { Ok(()) } else { Err(command) }
    };
    let file = |there: bool, what| if there { Ok(()) } else { Err(what) };
    match name {
        "socket-io" | "graphql-ws" | "ws" => {
            command("node")?;
            let modules = systems().join("servers/node_modules");
            file(modules.exists(), "node_modules (npm ci)")
        }
        "chat" => {
            let imports = Command::new(python())
                .args(["-c", "import websockets"])
                .stderr(Stdio::null())
                .status();
            file(
                imports.is_ok_and(|status| status.success()),
                "Python with websockets",
            )
        }
        "nchan" => {
            command("nginx")?;
            let module = Path::new("/usr/lib/nginx/modules/ngx_nchan_module.so");
            file(module.exists(), "module nchan of nginx")
        }
        "prosody" => command("prosody"),
        "nats" => command("nats-server"),
        "redis" => command("redis-server"),
        _ => command("ngircd"),
    }
}

/// Asserts that a run of `scenario` finds nothing wrong with its server.
fn assert_passes(server: &str, scenario: &str) -> Option<Server> {
    let server = Server::start(server)?;
    let (code, result) = server.result_of(scenario, &[]);
    let shown = || {
        let [why, what] = [&result["reasons"], &result["violations"]];
        format!("{}{why:#}\n{what:#}", result["error"])
    };
    assert_eq!(result["violations"], Value::Array(vec![]), "{}", shown());
    // On a busy machine the generator may say that it, and not the server, was too slow.
    assert!(matches!(code, Some(0 | 3)), "exit {code:?}: {}", shown());
    let delivered = result["counts"]["delivered"].as_u64();
    assert!(
        delivered > Some(500),
        "{delivered:?} delivered: {}",
        shown()
    );
    Some(server)
}

#[test]
fn socket_io() {
    assert_passes("socket-io", "socket-io");
}

#[test]
fn graphql_ws() {
    assert_passes("graphql-ws", "graphql-ws");
}

#[test]
fn nchan() {
    assert_passes("nchan", "nchan");
}

#[test]
fn prosody() {
    assert_passes("prosody", "xmpp-muc");
}

#[test]
fn ngircd() {
    assert_passes("ngircd", "irc");
}

#[test]
fn nats() {
    let Some(server) = assert_passes("nats", "nats") else {
        return;
    };
    // What it does not promise, and does not do: what several clients publish at once comes in
    // another order to each. One pair of subscribers that differ is enough, and not sure to be found
    // in every run.
    let set = [
        "verify.order=total",
        "clients.people.rooms=1",
        "clients.people.rate=4000",
    ];
    let differs = (0..5).any(|_| {
        let (code, result) = server.result_of("nats", &set);
        code == Some(1) && result["violations"].to_string().contains("order")
    });
    assert!(differs, "all subscribers got everything in one order");
}

#[test]
fn redis() {
    let Some(server) = assert_passes("redis", "redis") else {
        return;
    };
    // A client gets what it publishes: a scenario that says it does not is wrong about it.
    let (code, result) = server.result_of("redis", &["verify.echo=false"]);
    assert_eq!(code, Some(1), "{}", result["reasons"]);
    let violations = result["violations"].to_string();
    assert!(violations.contains("echo"), "{violations}");
}

#[test]
fn a_system_that_is_another_is_named() {
    let servers = ["nats", "redis"].map(|name| (name, Server::start(name)));
    for (asked, there) in [("nats", "redis"), ("redis", "nats")] {
        let Some((_, Some(server))) = servers.iter().find(|(name, _)| *name == there) else {
            return;
        };
        let (code, result) = server.result_of(asked, &["target.connect_timeout=1s"]);
        assert_eq!(code, Some(3), "{result:#}");
        let error = result["error"].to_string();
        let expected = match asked {
            "nats" => "a NATS server speaks first",
            _ => "it speaks NATS: name it nats://HOST:PORT",
        };
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_chat_in_python() {
    assert_passes("chat", "chat");
}

#[test]
fn a_chat_in_node_that_acks_nothing() {
    assert_passes("ws", "ws");
}

/// The lines of the documentation for a chat of one's own, and people who talk, who come late, and
/// who do not read for a while.
const OWN_CHAT: &str = r#"
[protocol]
join = [{ send = '{"type":"join","room":"{room}"}', expect = { type = "joined" } }]
publish = '{"type":"say","room":"{room}","id":{id},"text":"{payload}"}'
ack = { type = "ok", id = "{id}" }

[run]
warmup = "0s"
duration = "1500ms"
drain = "30s"
[verify]
late_after = "20s"
[clients.people]
count = 12
rate = 200
rooms = 3
[clients.guests]
count = 2
script = [{ pause = "600ms" }, { join = "room-1" }, { pause = "900ms" }]
[clients.slow]
count = 1
rooms = { names = ["room-2"] }
script = [{ pause = "100ms" }, { stop_reading = "1s" }, { pause = "300ms" }]
"#;

/// The chat in Python is right as it stands, and each of eight bugs of its broadcast is named.
#[test]
fn a_chat_in_python_is_right_until_it_has_a_bug() {
    if let Err(missing) = installed("chat") {
        assert!(env::var_os("SYSTEMS").is_none(), "there is no {missing}");
        eprintln!("no {missing}: nothing is checked");
        return;
    }
    // So much that the sockets of one who does not read are full.
    let large = OWN_CHAT.replace("rate = 200", "rate = 400\npayload = { size = 32000 }");
    for (bug, kind) in [
        ("none", None),
        ("lost-to-one", Some("lost-relay")),
        ("doubled", Some("duplicate-relay")),
        ("wrong-room", Some("wrong-room")),
        ("reordered", Some("order-divergence")),
        ("altered", Some("altered-relay")),
        ("acked-and-dropped", Some("ack-without-relay")),
        ("slow-reader-skipped", Some("lost-relay")),
        ("late-join-lost", Some("lost-relay")),
    ] {
        let double = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doubles/chat_with_a_bug.py");
        let chat = Server::of(bug, Command::new(python()).arg(double));
        let people = match bug {
            "slow-reader-skipped" => &large,
            _ => OWN_CHAT,
        };
        let text = format!(
            "[target]\nurl = \"ws://127.0.0.1:{}/\"\n{people}",
            chat.port
        );
        let (code, result) = result_of(&[Scenario::new(&text).path()]);
        let violations = result["violations"].as_array().unwrap();
        let kinds: Vec<_> = violations
            .iter()
            .map(|v| v["kind"].as_str().unwrap())
            .collect();
        let Some(kind) = kind else {
            assert_eq!(kinds, [""; 0], "{violations:#?}");
            // On a busy machine the generator may say that it, and not the server, was too slow.
            assert!(
                matches!(code, Some(0 | 3)),
                "exit {code:?}: {:#}",
                result["reasons"]
            );
            continue;
        };
        assert_eq!(code, Some(1), "{bug}: {:#}", result["reasons"]);
        assert!(kinds.contains(&kind), "{bug}: {violations:#?}");
        // What is altered, or comes twice or late, may leave its place empty or out of order.
        let follows = [
            "lost-relay",
            "reordered-relay",
            "order-divergence",
            "ack-without-relay",
        ];
        let is_right = |one: &&str| *one == kind || follows.contains(one);
        assert!(kinds.iter().all(is_right), "{bug}: {kinds:?}");
    }
}
