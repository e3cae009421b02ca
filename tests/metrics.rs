//! `--prometheus` as a scraper sees it: a live run and a live server, read by a parser that
//! forgives nothing, and compared with the names that docs/METRICS.md promises.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/probe.rs"]
mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use binary::{chatbench, output, stderr};
use probe::ENDLESS;
use rustix::process::{Pid, Signal, kill_process};

/// The longest anything here may take before it counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(60);

/// A running chatbench that is killed with its test.
struct Running {
    child: Child,
    url: String,
    said: Box<dyn BufRead>,
}

impl Running {
    /// Starts it, and reads the lines of one of its streams up to the one that names the URL.
    fn start(args: &[&str], on_stdout: bool) -> (Self, Vec<String>) {
        let mut command = chatbench(args);
        if on_stdout {
            command.stdout(Stdio::piped()).stderr(Stdio::null());
        } else {
            command.stderr(Stdio::piped()).stdout(Stdio::null());
        }
        let child = command.spawn().unwrap();
        let (url, said) = (String::new(), Box::new(std::io::empty()));
        let mut running = Self { child, url, said };
        running.said = if on_stdout {
            Box::new(BufReader::new(running.child.stdout.take().unwrap()))
        } else {
            Box::new(BufReader::new(running.child.stderr.take().unwrap()))
        };
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(
                running.said.read_line(&mut line).unwrap() > 0,
                "it ended: {lines:?}"
            );
            if let Some(url) = line.trim().strip_prefix("metrics on ") {
                running.url = url.to_owned();
                return (running, lines);
            }
            lines.push(line.trim().to_owned());
        }
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// What it exits with, once it has said all it has to say.
    fn end(mut self) -> Option<i32> {
        let mut rest = Vec::new();
        self.said.read_to_end(&mut rest).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Scrapes until the page is as it should be.
    fn scrape_until(&self, is_right: impl Fn(&Page) -> bool) -> Page {
        let began = Instant::now();
        loop {
            let page = Page::parse(&scrape(&self.url));
            if is_right(&page) {
                return page;
            }
            assert!(began.elapsed() < HUNG_AFTER, "{page:#?}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of what a URL answers.
fn scrape(url: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let (host, path) = address.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(HUNG_AFTER)).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("\r\nContent-Type: text/plain; version=0.0.4"),
        "{head}"
    );
    let length = format!("\r\nContent-Length: {}\r\n", body.len());
    assert!(head.contains(&length), "{head}");
    body.to_owned()
}

/// A page of the text format, version 0.0.4.
#[derive(Debug)]
struct Page {
    families: BTreeMap<String, Family>,
}

#[derive(Debug)]
struct Family {
    kind: String,
    /// The suffix of the sample's name, its labels, its value.
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Page {
    /// Takes nothing but what the format says: HELP, then TYPE, then the family's samples, each
    /// family once, each line ended.
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line is not ended");
        let mut families = BTreeMap::<String, Family>::new();
        let mut help_of = None;
        let mut current: Option<String> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(!help.is_empty() && help_of.is_none(), "{line}");
                help_of = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(help_of.take().as_deref(), Some(name), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let family = Family {
                    kind: kind.to_owned(),
                    samples: Vec::new(),
                };
                let before = families.insert(name.to_owned(), family);
                assert!(before.is_none(), "twice: {line}");
                current = Some(name.to_owned());
            } else {
                let family = current.as_ref().expect(line);
                assert!(help_of.is_none(), "a sample before its TYPE: {line}");
                let (name, labels, value) = sample(line);
                let suffix = name.strip_prefix(family.as_str()).expect(line).to_owned();
                families[family].check_suffix(&suffix, line);
                let samples = &mut families.get_mut(family).unwrap().samples;
                let same = |(s, l, _): &(String, BTreeMap<String, String>, f64)| {
                    (s, l) == (&suffix, &labels)
                };
                assert!(!samples.iter().any(same), "twice: {line}");
                samples.push((suffix, labels, value));
            }
        }
        for (name, family) in &families {
            family.check(name);
        }
        Self { families }
    }

    fn names(&self) -> BTreeSet<String> {
        self.families.keys().cloned().collect()
    }

    /// The value of a family with one sample, or of a histogram's count.
    fn value(&self, name: &str) -> f64 {
        let family = self.families.get(name).unwrap_or_else(|| panic!("{name}"));
        let suffix = if family.kind == "histogram" {
            "_count"
        } else {
            ""
        };
        let mut values = family.samples.iter().filter(|(s, ..)| s == suffix);
        let value = values.next().unwrap().2;
        assert!(values.next().is_none(), "{name} has several");
        value
    }

    fn labels(&self, name: &str) -> Vec<(&BTreeMap<String, String>, f64)> {
        let samples = self.families[name].samples.iter();
        samples.map(|(_, labels, value)| (labels, *value)).collect()
    }
}

impl Family {
    fn check_suffix(&self, suffix: &str, line: &str) {
        let allowed: &[&str] = if self.kind == "histogram" {
            &["_bucket", "_sum", "_count"]
        } else {
            &[""]
        };
        assert!(allowed.contains(&suffix), "{line}");
    }

    fn check(&self, name: &str) {
        assert!(name.starts_with("chatbench_"), "{name}");
        assert!(!self.samples.is_empty(), "{name}");
        assert_eq!(name.ends_with("_total"), self.kind == "counter", "{name}");
        if self.kind != "histogram" {
            assert!(self.samples.iter().all(|(.., v)| *v >= 0.0), "{name}");
            return;
        }
        assert!(name.ends_with("_seconds"), "{name}");
        let bounds: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter(|(suffix, ..)| suffix == "_bucket")
            .map(|(_, labels, value)| {
                let le = labels["le"].replace("+Inf", "inf");
                (le.parse().unwrap(), *value)
            })
            .collect();
        assert!(
            bounds.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
            "{name}: {bounds:?}"
        );
        let (last, all) = *bounds.last().unwrap();
        let single = |wanted: &str| {
            let found: Vec<_> = self.samples.iter().filter(|(s, ..)| s == wanted).collect();
            assert_eq!(found.len(), 1, "{name}{wanted}");
            found[0].2
        };
        assert!(last.is_infinite() && all == single("_count"), "{name}");
        assert!(single("_sum") >= 0.0, "{name}");
    }
}

/// `name{label="value",…} value`.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect(line);
    let value: f64 = value.parse().expect(line);
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    assert!(!name.is_empty() && name.chars().all(valid), "{line}");
    assert!(!name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    let mut rest = labels;
    let mut found = BTreeMap::new();
    while rest != "}" {
        let (label, after) = rest.split_once("=\"").expect(line);
        assert!(!label.is_empty() && label.chars().all(valid), "{line}");
        let mut text = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect(line) {
                (at, '"') => break at,
                (_, '\\') => text.push(match chars.next().expect(line).1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    other => panic!("\\{other}: {line}"),
                }),
                (_, c) => text.push(c),
            }
        };
        assert!(found.insert(label.to_owned(), text).is_none(), "{line}");
        rest = after[end + 1..].trim_start_matches(',');
    }
    (name.to_owned(), found, value)
}

/// The names in one of the tables of docs/METRICS.md.
fn documented(section: &str) -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned())
        .collect()
}

fn endless() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("endless.toml");
    fs::write(&path, ENDLESS).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

#[test]
fn a_run_with_rooms_says_how_many_and_how_full_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rooms.toml");
    let rooms = ENDLESS.replacen("rate", "rooms = { count = 2, each = 2 }\nrate", 1);
    assert_ne!(rooms, ENDLESS);
    fs::write(&path, rooms).unwrap();
    let args = ["run", path.to_str().unwrap(), "--prometheus", "0"];
    let (running, _) = Running::start(&args, false);
    let page = running.scrape_until(|page| page.value("chatbench_deliveries_total") > 0.0);
    let mut names = documented("A run");
    names.extend(documented("A run with rooms"));
    assert_eq!(page.names(), names);
    assert_eq!(page.value("chatbench_rooms"), 2.0);
    let clients = page.value("chatbench_memberships") / 2.0;
    assert!(clients >= 1.0 && clients.fract() == 0.0, "{clients}");
}

#[test]
fn a_live_run_is_scraped() {
    let (_directory, path) = endless();
    let args = ["run", &path, "--prometheus", "0", "--seed", "7"];
    let (running, _) = Running::start(&args, false);
    let first = running.scrape_until(|page| {
        page.value("chatbench_relay_latency_seconds") > 0.0
            && page.value("chatbench_last_relay_latency_seconds") > 0.0
    });
    assert_eq!(first.names(), documented("A run"));
    assert_eq!(first.value("chatbench_clients"), 6.0);
    assert_eq!(first.value("chatbench_connections"), 6.0);
    assert_eq!(first.value("chatbench_connections_total"), 6.0);
    assert_eq!(first.value("chatbench_violations_total"), 0.0);
    let [(labels, 1.0)] = first.labels("chatbench_run_info")[..] else {
        panic!("{first:#?}");
    };
    assert_eq!(labels["scenario"], "endless");
    assert_eq!(
        (labels["seed"].as_str(), labels["target"].as_str()),
        ("7", "embedded")
    );
    let phases = first.labels("chatbench_phase");
    let present: Vec<_> = phases.iter().filter(|(_, value)| *value == 1.0).collect();
    assert_eq!((phases.len(), present.len()), (4, 1), "{phases:?}");
    assert_eq!(present[0].0["phase"], "measure");

    // Each message goes to everyone but its sender, and all counters only rise.
    let counters = [
        "chatbench_publishes_total",
        "chatbench_acks_total",
        "chatbench_deliveries_total",
        "chatbench_received_bytes_total",
        "chatbench_sent_bytes_total",
        "chatbench_relay_latency_seconds",
        "chatbench_send_lag_seconds",
        "chatbench_wakeup_lag_seconds",
    ];
    let later = running.scrape_until(|page| {
        counters
            .iter()
            .all(|name| page.value(name) > first.value(name))
    });
    let sent = later.value("chatbench_publishes_total");
    let delivered = later.value("chatbench_deliveries_total");
    assert!(delivered <= 5.0 * sent, "{delivered} of {sent}");
    assert!(later.value("chatbench_received_bytes_total") > 100.0 * delivered);
    running.interrupt();
    assert_eq!(running.end(), Some(130));
}

#[test]
fn a_live_server_is_scraped() {
    let args = [
        "serve",
        "--listen",
        "ndjson://127.0.0.1:0",
        "--prometheus",
        "127.0.0.1:0",
    ];
    let (server, lines) = Running::start(&args, true);
    let address = lines[0].strip_prefix("listening on ndjson://").unwrap();
    let before = server.scrape_until(|_| true);
    assert_eq!(before.names(), documented("The server"));

    let connect = || BufReader::new(TcpStream::connect(address).unwrap());
    let (mut talker, mut listener) = (connect(), connect());
    let mut line = String::new();
    for client in [&mut talker, &mut listener] {
        client.read_line(&mut line).unwrap();
    }
    let input = b"{\"type\":\"publish\",\"message\":\"hello\"}\nnonsense\n";
    talker.get_mut().write_all(input).unwrap();
    listener.read_line(&mut line).unwrap();
    assert!(line.contains("hello"), "{line}");
    talker.read_line(&mut line).unwrap();
    talker.read_line(&mut line).unwrap();
    // The welcomes, the relay, the ack and the error, to the byte.
    let sent = "chatbench_server_sent_bytes_total";
    let page = server.scrape_until(|page| page.value(sent) == line.len() as f64);
    for (name, value) in [
        ("chatbench_server_connections", 2.0),
        ("chatbench_server_connections_total", 2.0),
        ("chatbench_server_publishes_total", 1.0),
        ("chatbench_server_relays_total", 1.0),
        ("chatbench_server_received_bytes_total", input.len() as f64),
        ("chatbench_server_errors_total", 1.0),
        ("chatbench_server_slow_consumers_total", 0.0),
        ("chatbench_server_backlog_bytes", 0.0),
    ] {
        assert_eq!(page.value(name), value, "{name}");
    }
    drop((talker, listener));
    server.scrape_until(|page| page.value("chatbench_server_connections") == 0.0);
}

#[test]
fn a_slow_consumer_is_counted_and_what_it_is_owed_is_the_backlog() {
    let args = [
        "serve",
        "--listen",
        "ndjson://127.0.0.1:0",
        "--prometheus",
        "0",
        "--backlog",
        "128KiB",
    ];
    let (server, lines) = Running::start(&args, true);
    let address = lines[0].strip_prefix("listening on ndjson://").unwrap();
    let _slow = TcpStream::connect(address).unwrap(); // it never reads
    let mut talker = BufReader::new(TcpStream::connect(address).unwrap());
    let mut line = String::new();
    talker.read_line(&mut line).unwrap();
    let publish = format!(
        "{{\"type\":\"publish\",\"message\":\"{}\"}}\n",
        "x".repeat(30_000)
    );
    let mut backlog = 0.0_f64;
    let began = Instant::now();
    loop {
        talker.get_mut().write_all(publish.as_bytes()).unwrap();
        line.clear();
        talker.read_line(&mut line).unwrap();
        let page = Page::parse(&scrape(&server.url));
        backlog = backlog.max(page.value("chatbench_server_backlog_bytes"));
        if backlog > 0.0 && page.value("chatbench_server_slow_consumers_total") > 0.0 {
            break;
        }
        assert!(began.elapsed() < HUNG_AFTER, "{page:#?}");
    }
    assert!(backlog <= 128.0 * 1024.0, "{backlog}");
}

#[test]
fn an_address_that_cannot_be_had_is_said_before_anything_runs() {
    let (directory, path) = endless();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let out = directory.path().join("out");
    let out = out.to_str().unwrap();
    let run = ["run", path.as_str(), "--out", out];
    let serve = ["serve", "--listen", "ndjson://127.0.0.1:0"];
    for verb in [&run[..], &serve] {
        for (address, says) in [
            (port.as_str(), "name another port, or 0"),
            ("0.0.0.0:0", "--allow-remote"),
            ("nonsense", "give HOST:PORT"),
        ] {
            let output = output(&[verb, &["--prometheus", address]].concat());
            let stderr = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{address}: {stderr}");
            assert!(
                stderr.contains(&format!("--prometheus {address}")) || stderr.contains(&port),
                "{address}: {stderr}"
            );
            assert!(stderr.contains(says), "{address}: {stderr}");
            assert!(output.stdout.is_empty(), "{address}");
        }
    }
}
