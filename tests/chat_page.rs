//! The page to chat in, in a real browser: two tabs hear each other, see their acks, say that the
//! connection is lost and come back. The browser is directed over its DevTools protocol, which is a
//! WebSocket itself.
//!
//! Needs Chromium, as `browser.rs` does: without one the test says so and checks nothing, unless
//! `CHROMIUM` is set.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The reference server on this address.
fn serve(address: &str) -> (Process, SocketAddr) {
    let mut server = Command::new(env!("CARGO_BIN_EXE_chatbench"))
        .args(["serve", "--listen", &format!("ws://{address}")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut announced = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut announced).unwrap();
    let address = announced.trim().strip_prefix("listening on ws://").unwrap();
    (Process(server), address.parse().unwrap())
}

/// A browser, and the conversation with it.
struct Browser {
    _process: Process,
    _profile: tempfile::TempDir,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    last_id: u64,
    /// Pages that are loaded, by the tab and the name that the browser gives to the loading.
    loaded: HashSet<(String, String)>,
}

impl Browser {
    /// Starts one; `None` if there is none.
    fn start() -> Option<Self> {
        let named = std::env::var_os("CHROMIUM");
        let program = named.clone().unwrap_or_else(|| OsString::from("chromium"));
        let profile = tempfile::tempdir().unwrap();
        let started = Command::new(&program)
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-sync", "--disable-component-update"])
            .args(["--remote-debugging-port=0", "--window-size=390,800"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match started {
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
                eprintln!("skipped: there is no {program:?}; install it, or set CHROMIUM");
                return None;
            }
            started => started.unwrap(),
        };
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let process = Process(child);
        let url = said.find_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("DevTools listening on ")
                .map(str::to_owned)
        });
        // Whatever it says later must not fill the pipe.
        std::thread::spawn(move || said.for_each(drop));
        let (socket, _) = tungstenite::connect(url.unwrap()).unwrap();
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            let patience = Duration::from_secs(60);
            stream.set_read_timeout(Some(patience)).unwrap();
        }
        Some(Self {
            _process: process,
            _profile: profile,
            socket,
            last_id: 0,
            loaded: HashSet::new(),
        })
    }

    /// Has it do something, and returns what comes of it.
    fn order(&mut self, tab: Option<&str>, method: &str, params: &Value) -> Value {
        self.last_id += 1;
        let mut order = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(tab) = tab {
            order["sessionId"] = tab.into();
        }
        self.socket.send(Message::text(order.to_string())).unwrap();
        loop {
            let answer = self.read();
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// The next message of the browser; a page that is loaded is noted.
    fn read(&mut self) -> Value {
        let message = self.socket.read().unwrap();
        let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap_or_default();
        let event = &message["params"];
        if message["method"] == "Page.lifecycleEvent" && event["name"] == "load" {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            self.loaded
                .insert((text(&message["sessionId"]), text(&event["loaderId"])));
        }
        message
    }

    /// Opens a page in a tab of its own, and waits until it is loaded: what is evaluated before that
    /// may be answered by the empty page that a tab begins with, or by an error.
    fn open(&mut self, url: &str) -> String {
        let blank = json!({ "url": "about:blank" });
        let target = self.order(None, "Target.createTarget", &blank);
        let params = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.order(None, "Target.attachToTarget", &params);
        let tab = attached["sessionId"].as_str().unwrap().to_owned();
        // As if a person looked at each of them: others are not drawn.
        let focused = json!({ "enabled": true });
        self.order(Some(&tab), "Emulation.setFocusEmulationEnabled", &focused);
        self.order(Some(&tab), "Page.enable", &json!({}));
        let enabled = json!({ "enabled": true });
        self.order(Some(&tab), "Page.setLifecycleEventsEnabled", &enabled);
        let loading = self.order(Some(&tab), "Page.navigate", &json!({ "url": url }));
        let loading = loading["loaderId"].as_str().unwrap().to_owned();
        let awaited = (tab.clone(), loading);
        while !self.loaded.contains(&awaited) {
            self.read();
        }
        tab
    }

    fn evaluate(&mut self, tab: &str, expression: &str) -> Value {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let answer = self.order(Some(tab), "Runtime.evaluate", &params);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until the page shows something, and returns all of its text.
    fn sees(&mut self, tab: &str, shown: &str) -> String {
        self.waits(
            tab,
            &format!("document.body.innerText.includes({})", json!(shown)),
        )
    }

    /// Waits until something holds of the page, and returns all of its text.
    fn waits(&mut self, tab: &str, condition: &str) -> String {
        let expression = format!(
            "new Promise((holds) => {{
                const look = () => {{
                    if (document.body && {condition}) holds(document.body.innerText);
                    else setTimeout(look, 20);
                }};
                look();
            }})"
        );
        self.evaluate(tab, &expression).as_str().unwrap().to_owned()
    }

    /// Types a text and presses Enter, as a person does.
    fn type_in(&mut self, tab: &str, text: &str) {
        self.order(Some(tab), "Input.insertText", &json!({ "text": text }));
        for kind in ["keyDown", "keyUp"] {
            let enter = json!({
                "type": kind, "key": "Enter", "code": "Enter", "text": "\r",
                "windowsVirtualKeyCode": 13,
            });
            self.order(Some(tab), "Input.dispatchKeyEvent", &enter);
        }
    }
}

#[test]
fn two_tabs_talk_and_come_back() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (server, address) = serve("127.0.0.1:0");
    let url = format!("http://{address}/");
    let (ann, bob) = (browser.open(&url), browser.open(&url));
    for tab in [&ann, &bob] {
        let text = browser.sees(tab, "you are 127.0.0.1:");
        assert!(text.contains("connected"), "{text}");
        // A phone's width: nothing is wider than the screen.
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.evaluate(tab, fits), true);
    }
    browser.type_in(&ann, "hello, <b>Bob</b>");
    let anns = browser.sees(&ann, "✓ 1");
    assert!(anns.contains("hello, <b>Bob</b>"), "{anns}");
    let bobs = browser.sees(&bob, "hello, <b>Bob</b>");
    assert!(bobs.contains("heard from 127.0.0.1:"), "{bobs}");
    let bold = "document.querySelectorAll('b').length";
    assert_eq!(browser.evaluate(&bob, bold), 0, "a text is no markup");
    browser.type_in(&bob, "good evening");
    browser.sees(&bob, "✓ 2");
    browser.sees(&ann, "good evening");

    // Somebody in a room hears nothing of it.
    let eve = browser.open(&format!("{url}#cellar"));
    browser.sees(&eve, "you are 127.0.0.1:");
    browser.type_in(&eve, "anyone in the cellar?");
    browser.sees(&eve, "✓ 1");
    browser.type_in(&ann, "three");
    let bobs = browser.sees(&bob, "three");
    assert!(!bobs.contains("cellar?"), "{bobs}");

    drop(server);
    for tab in [&ann, &bob] {
        browser.sees(tab, "connection lost");
        browser.sees(tab, "reconnecting");
    }
    let (_server, _) = serve(&address.to_string());
    for tab in [&ann, &bob] {
        let state = "document.getElementById('state').textContent === 'connected'";
        browser.waits(tab, state);
    }
    browser.type_in(&bob, "back again");
    browser.sees(&bob, "✓ 1");
    browser.sees(&ann, "back again");
}
