//! Targets over TLS: a run against the reference server, and everything that keeps one from it.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/probe.rs"]
mod probe;
#[path = "binary/secure.rs"]
mod secure;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};

use binary::{chatbench, output, stderr};
use probe::{Scenario, stdout};
use secure::{Certificates, Server};
use serde_json::Value;

fn run(scenario: &Scenario, target: &str, options: &[&str]) -> Output {
    let run = ["run", scenario.path(), "--quiet", "--target", target];
    output(&[&run, options].concat())
}

/// What is said of a run that cannot begin, and the exit code.
fn refused(target: &str, options: &[&str]) -> (Option<i32>, String) {
    let scenario = Scenario::new(probe::SMALL);
    let refused = run(&scenario, target, options);
    (refused.status.code(), stderr(&refused))
}

/// Many short messages and few long ones; some clients come and go, each in its way.
const LIVELY: &str = r#"
[run]
warmup = "0s"
duration = "500ms"
drain = "30s"
[clients.talkers]
count = 5
rate = 400
payload = { min = 50, max = 20000 }
[clients.guests]
count = 2
repeat = 3
script = [
    { connect = {} }, { publish = { count = 3 } }, { await_acks = { within = "10s" } }, { disconnect = "polite" },
    { connect = {} }, { publish = { count = 3 } }, { disconnect = "close" },
    { connect = {} }, { publish = { count = 3 } }, { disconnect = "abort" },
]
"#;

#[test]
fn a_run_over_tls_is_verified_as_any_other_and_both_hear_each_other() {
    let certificates = Certificates::new();
    let listen = [
        "ndjson+tls://127.0.0.1:0",
        "ndjson://127.0.0.1:0",
        "classic+tls://127.0.0.1:0",
        "wss://127.0.0.1:0",
    ];
    let server = Server::start(&certificates, "server", &listen);
    assert!(
        server.urls[0].starts_with("ndjson+tls://127.0.0.1:"),
        "{:?}",
        server.urls
    );
    assert!(
        server.urls[1].starts_with("ndjson://127.0.0.1:"),
        "{:?}",
        server.urls
    );
    let ca = certificates.name("ca.pem");
    let scenario = Scenario::new(LIVELY);
    let passed = run(&scenario, server.url(), &["--cacert", &ca, "--json", "-"]);
    assert_eq!(passed.status.code(), Some(0), "{}", stderr(&passed));
    let result: Value = serde_json::from_slice(&passed.stdout).unwrap();
    assert_eq!(result["target"]["url"], server.url());
    let rerun = result["rerun"].as_str().unwrap();
    assert!(rerun.ends_with(&format!(" --cacert {ca}")), "{rerun}");
    assert_eq!(
        result["scenario"]["resolved"]["target"]["tls"]["cacert"],
        ca.as_str()
    );

    let small = Scenario::new(probe::SMALL);
    for (url, scheme) in server.urls[2..].iter().zip(["classic+tls", "wss"]) {
        assert!(url.starts_with(&format!("{scheme}://127.0.0.1:")), "{url}");
        let passed = run(&small, url, &["--cacert", &ca]);
        assert_eq!(passed.status.code(), Some(0), "{}", stderr(&passed));
    }
    let plain = server.urls[3].replace("wss://", "ws://");
    let (code, error) = refused(&plain, &[]);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("it speaks TLS: name it wss://"), "{error}");

    // What is said by TLS is heard in plain text.
    let mut plain = TcpStream::connect(server.urls[1].split_once("://").unwrap().1).unwrap();
    let mut heard = BufReader::new(plain.try_clone().unwrap());
    let mut line = String::new();
    heard.read_line(&mut line).unwrap();
    assert!(line.contains("welcome"), "{line}");
    let mut chat = chatbench(&["chat", server.url(), "--cacert", &ca])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    chat.stdin
        .take()
        .unwrap()
        .write_all(b"sent by TLS\n")
        .unwrap();
    line.clear();
    heard.read_line(&mut line).unwrap();
    assert!(line.contains("sent by TLS"), "{line}");
    assert_eq!(chat.wait().unwrap().code(), Some(0));
    plain.flush().unwrap();
}

#[test]
fn what_is_set_in_the_file_holds_and_the_command_line_is_over_it() {
    let certificates = Certificates::new();
    certificates.issue("other", "chat.example", None);
    let server = Server::of(&certificates, "other");
    let ca = certificates.name("ca.pem");
    let text = format!(
        "{}\n[target]\nurl = '{}'\ntls = {{ cacert = '{ca}', server_name = 'chat.example' }}\n",
        probe::SMALL,
        server.url()
    );
    let scenario = Scenario::new(&text);
    let passed = output(&["run", scenario.path(), "--quiet"]);
    assert_eq!(passed.status.code(), Some(0), "{}", stderr(&passed));
    let refused = output(&[
        "run",
        scenario.path(),
        "--quiet",
        "--server-name",
        "b.example",
    ]);
    assert!(
        stderr(&refused).contains("not for b.example"),
        "{}",
        stderr(&refused)
    );
    let insecure = run(
        &scenario,
        server.url(),
        &["--insecure", "--server-name", "b.example"],
    );
    assert_eq!(insecure.status.code(), Some(0), "{}", stderr(&insecure));
    let valid = output(&["validate", scenario.path()]);
    assert_eq!(valid.status.code(), Some(0), "{}", stderr(&valid));
    assert!(stdout(&valid).contains(server.url()), "{}", stdout(&valid));
}

#[test]
fn certificates_that_are_not_accepted_say_why_and_what_to_do() {
    let certificates = Certificates::new();
    certificates.issue("expired", "127.0.0.1", Some(2001));
    certificates.issue("other", "chat.example", None);
    let ca = certificates.name("ca.pem");
    let trusting = ["--cacert", ca.as_str()];
    for (identity, options, said) in [
        (
            "server",
            &[][..],
            "its certificate is signed by nobody who is trusted here: name the authority's, or its own, \
             by cacert, or trust anyone by insecure",
        ),
        ("expired", &trusting, " days ago: it needs a new one"),
        (
            "other",
            &trusting,
            "its certificate is for chat.example, not for 127.0.0.1: connect by a name of it, or give one \
             as server_name",
        ),
    ] {
        let server = Server::of(&certificates, identity);
        let (code, error) = refused(server.url(), options);
        assert_eq!(code, Some(3), "{error}");
        let begin = format!(
            "chatbench: probe: {}: observer-1 could not connect: ",
            server.url()
        );
        assert!(error.starts_with(&begin), "{error}");
        assert!(error.trim_end().ends_with(said), "{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        let chat = output(&[&["chat", server.url()], options].concat());
        assert!(stderr(&chat).contains(said), "{}", stderr(&chat));
        let (_, log) = server.end();
        assert!(
            log.contains("it does not accept this server's certificate"),
            "{log}"
        );
    }
}

#[test]
fn tls_where_there_is_none_and_none_where_there_is_say_so() {
    let certificates = Certificates::new();
    let ca = certificates.name("ca.pem");
    let listen = ["ndjson+tls://127.0.0.1:0", "ndjson://127.0.0.1:0"];
    let server = Server::start(&certificates, "server", &listen);
    let (secure, plain) = (
        server.address(),
        server.urls[1].split_once("://").unwrap().1,
    );
    let (code, error) = refused(&format!("ndjson+tls://{plain}"), &["--cacert", &ca]);
    assert_eq!(code, Some(3), "{error}");
    assert!(
        error.contains("it does not speak TLS: it sent \"{\\\"type\\\":\\\"welcome\\\""),
        "{error}"
    );
    assert!(
        error
            .trim_end()
            .ends_with("use the URL of plain TCP, or the port that speaks TLS"),
        "{error}"
    );

    // Who waits for a welcome says nothing that TLS could answer.
    let (code, error) = refused(
        &format!("ndjson://{secure}"),
        &["--set", "target.connect_timeout='200ms'"],
    );
    assert_eq!(code, Some(3), "{error}");
    assert!(
        error.contains(
            "one that speaks TLS waits for the client's handshake: ndjson+tls://HOST:PORT"
        ),
        "{error}"
    );
    let (code, error) = refused(&format!("classic://{secure}"), &[]);
    assert_eq!(code, Some(3), "{error}");
    assert!(
        error.contains("it speaks TLS: name it classic+tls://HOST:PORT"),
        "{error}"
    );

    let (code, error) = refused(&format!("ndjson://{plain}"), &["--insecure"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("`target.tls`: the target is not reached by TLS"),
        "{error}"
    );
    let chat = output(&["chat", &format!("ndjson://{plain}"), "--insecure"]);
    assert_eq!(
        stderr(&chat),
        format!("ndjson://{plain} is plain TCP: with TLS it would be ndjson+tls://{plain}\n")
    );
    let (_, log) = server.end();
    assert!(log.contains("it does not speak TLS: it sent"), "{log}");
}

/// One that takes connections and is silent: no server of TLS, or one that hangs.
#[test]
fn a_target_that_keeps_silent_is_told_from_one_that_is_slow() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ndjson+tls://{}", listener.local_addr().unwrap());
    let (code, error) = refused(&url, &["--set", "target.connect_timeout='200ms'"]);
    assert_eq!(code, Some(3), "{error}");
    assert!(
        error.contains("no answer to TLS within 0.18 s: does it speak TLS?"),
        "{error}"
    );
}

#[test]
fn files_that_cannot_be_used_are_named_before_anything_runs() {
    let certificates = Certificates::new();
    certificates.write("notes.txt", "no certificate\n");
    let [ca, key, notes, missing] =
        ["ca.pem", "server.key", "notes.txt", "missing.pem"].map(|file| certificates.name(file));
    let server = certificates.name("server.pem");
    certificates.issue("other", "b", None);
    let other = certificates.name("other.key");
    let no_certificate = |file: &str| {
        format!("{file} holds no certificate in PEM: no \"-----BEGIN CERTIFICATE-----\" is in it\n")
    };
    let no_key = format!(
        "{server} holds no private key in PEM: no \"-----BEGIN PRIVATE KEY-----\" is in it\n"
    );
    let not_there = format!("cannot read {missing}: No such file or directory (os error 2)\n");
    let not_its = format!("the key in {other} is not the one of the certificate in {server}\n");
    let scenario = Scenario::new(probe::SMALL);
    for (options, said) in [
        (vec!["--cacert", &missing], &not_there),
        (vec!["--cacert", &notes], &no_certificate(&notes)),
        (vec!["--cert", &key], &no_certificate(&key)),
        (vec!["--cert", &server], &no_key),
        (vec!["--cert", &server, "--key", &other], &not_its),
    ] {
        for verb in ["run", "validate"] {
            let target = ["--target", "ndjson+tls://127.0.0.1:9"];
            let refused = output(&[&[verb, scenario.path()], &target[..], &options].concat());
            assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
            let line = format!("error: TLS with the target: {said}");
            assert!(stderr(&refused).starts_with(&line), "{}", stderr(&refused));
        }
    }
    let tls = "ndjson+tls://127.0.0.1:0";
    for (options, said) in [
        (
            vec!["--listen", tls],
            &format!(
                "{tls} needs a certificate: name it by --tls-cert FILE, and its key by --tls-key FILE\n"
            ),
        ),
        (
            vec!["--listen", "ndjson://127.0.0.1:0", "--tls-cert", &ca],
            &"--tls-cert is of no use: nothing is listened on with TLS; that would be --listen \
              ndjson+tls://127.0.0.1:0\n"
                .to_owned(),
        ),
        (
            vec!["--listen", tls, "--tls-cert", &missing],
            &format!("TLS: {not_there}"),
        ),
        (
            vec!["--listen", tls, "--tls-cert", &server],
            &format!("TLS: {no_key}"),
        ),
        (
            vec!["--listen", tls, "--tls-cert", &server, "--tls-key", &other],
            &format!("TLS: {not_its}"),
        ),
    ] {
        let refused = output(&[&["serve"], &options[..]].concat());
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        assert_eq!(stderr(&refused), format!("chatbench: {said}"));
    }
}
