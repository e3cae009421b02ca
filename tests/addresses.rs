//! The same URLs for every verb: whatever names a server to one of them names it to all.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/probe.rs"]
mod probe;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use binary::{chatbench, output, stderr};
use probe::{Scenario, stdout};

/// A reference server, killed when the test is over.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `chatbench serve --listen` of this URL, and the port it says that it listens on.
fn serve(url: &str) -> (Server, u16) {
    let mut child = chatbench(&["serve", "--listen", url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let server = Server(child);
    let port = line
        .trim()
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    (server, port.unwrap_or_else(|| panic!("{url}: {line:?}")))
}

/// A moment's load, which is done when two messages were acked.
const MOMENT: &str = r#"
[run]
warmup = "0s"
duration = "200ms"
[clients.talkers]
rate = 50
"#;

/// How a server at a port of 127.0.0.1 may be named.
const SPELLINGS: [&str; 7] = [
    "ndjson://127.0.0.1:PORT",
    "ndjson://127.0.0.1:PORT/",
    "NDJSON://127.0.0.1:PORT",
    "127.0.0.1:PORT",
    "127.0.0.1:PORT/",
    "localhost:PORT",
    "ndjson://127.0.0.1-127.0.0.1:PORT/",
];

#[test]
fn every_verb_takes_every_spelling_of_a_url() {
    let scenario = Scenario::new(MOMENT);
    let (_server, port) = serve("ndjson://127.0.0.1:0");
    for spelling in SPELLINGS {
        let (_server, _) = serve(&spelling.replace("PORT", "0"));
        let url = spelling.replace("PORT", &port.to_string());
        let file = scenario.path();
        for args in [
            &["validate", file, "--target", &url][..],
            &[
                "run",
                file,
                "--target",
                &url,
                "-q",
                "--set",
                "run.drain=30s",
            ],
            &[
                "search", file, "--target", &url, "-q", "--from", "50", "--max", "50",
            ],
            &["chat", &url],
        ] {
            let output = output(args);
            let text = stdout(&output) + &stderr(&output);
            // A loaded machine may leave the load undecided; it was carried out all the same.
            let connected =
                matches!(output.status.code(), Some(0 | 3)) && !text.contains("not connect");
            let talked = args[0] == "chat" && output.status.code() == Some(0);
            assert!(connected || talked, "{args:?}: {text}");
        }
    }
}

#[test]
fn every_verb_refuses_what_is_no_url_before_it_does_anything() {
    let scenario = Scenario::new(MOMENT);
    let file = scenario.path();
    for url in [
        "gopher://127.0.0.1:1",
        "ndjson://",
        "ndjson://:1",
        "ndjson://127.0.0.1:1/path",
        "ndjson://user@127.0.0.1:1",
        "ndjson://::1:1",
        "ndjson://127.0.0.1:65536",
        "ndjson://127.0.0.1:+1",
        "127.0.0.1:",
        "",
    ] {
        for args in [
            &["validate", file, "--target", url][..],
            &["run", file, "--target", url],
            &["search", file, "--target", url],
            &["chat", url],
            &["serve", "--listen", url],
        ] {
            let output = output(args);
            assert_eq!(
                output.status.code(),
                Some(2),
                "{args:?}: {}",
                stderr(&output)
            );
            assert_ne!(stderr(&output), "", "{args:?}");
        }
    }
}
