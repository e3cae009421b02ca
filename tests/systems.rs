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

use probe::result_of;
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
        // It cannot be told to take any port: this one was free just now.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = Command::new(systems().join("servers/run"))
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
        Some(server)
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

impl Drop for Server {
    fn drop(&mut self) {
        // The script ends what it has started when it is told to end, and not when it is killed.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
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
            let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
            let imports = Command::new(python)
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
fn a_chat_in_python() {
    assert_passes("chat", "chat");
}

#[test]
fn a_chat_in_node_that_acks_nothing() {
    assert_passes("ws", "ws");
}
