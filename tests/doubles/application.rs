//! A chat with rooms over WebSocket and messages of its own, as somebody writes one in an afternoon,
//! in threads of a test's own process. It commits one bug, or none: then a run must pass.

#![allow(dead_code)] // each file of tests takes what it needs

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use chatbench::wire::websocket::{Asked, Handshake, Kind, Received, Sender as Frames, Server};
use serde_json::{Value, json};

/// What the chat does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Nothing.
    None,
    /// One member of the room does not get a message.
    LostToOne,
    /// One member gets a message twice.
    Doubled,
    /// A message goes to the members of another room, too.
    WrongRoom,
    /// One member gets a message after the next one.
    Reordered,
    /// One member gets a message of which a letter is another.
    Altered,
    /// A message is acked and goes to nobody.
    AckedAndDropped,
    /// A member that is behind is skipped.
    SlowReaderSkipped,
    /// Who joins during traffic is told so and does not get the next message.
    LateJoinLost,
    /// A member that has said something is hung up on, every now and then.
    HangsUp,
}

/// Who says every so many-th message is hung up on.
const HANGS_UP_EVERY: usize = 30;

/// The message at which a bug is committed.
const BUG_AT: usize = 40;

/// Messages that wait for a member from which on it counts as slow.
const SLOW_FROM: usize = 20;

/// A running double. Its threads end with the test's process.
pub(crate) struct Double {
    address: SocketAddr,
}

#[derive(Default)]
struct Chat {
    rooms: HashMap<String, Vec<Member>>,
    /// Messages that were said.
    said: usize,
    /// A message that is held back, and who is to get it in which room after the next.
    held: Option<(String, usize, Vec<u8>)>,
    /// Who has joined and does not get the next message in the room.
    late: Vec<(String, usize)>,
}

#[derive(Clone)]
struct Member {
    /// Its connection's number.
    id: usize,
    bytes: Sender<Vec<u8>>,
    /// Writes that wait.
    waiting: Arc<AtomicUsize>,
}

impl Member {
    fn send(&self, bytes: Vec<u8>) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _ = self.bytes.send(bytes);
    }
}

impl Double {
    pub(crate) fn start(bug: Bug) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let chat = Arc::new(Mutex::new(Chat::default()));
        thread::spawn(move || {
            for (id, stream) in listener.incoming().enumerate() {
                let (stream, chat) = (stream.unwrap(), chat.clone());
                thread::spawn(move || serve(id, &stream, &chat, bug));
            }
        });
        Self { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(id: usize, stream: &TcpStream, chat: &Mutex<Chat>, bug: Bug) {
    let _ = stream.set_nodelay(true);
    // So that one who does not read is noticed before megabytes are on their way to it.
    let _ = socket2::SockRef::from(stream).set_send_buffer_size(64 << 10);
    let (bytes, to_write) = mpsc::channel::<Vec<u8>>();
    let waiting = Arc::new(AtomicUsize::new(0));
    let member = Member {
        id,
        bytes,
        waiting: waiting.clone(),
    };
    let mut writer = stream.try_clone().unwrap();
    thread::spawn(move || {
        for bytes in to_write {
            if writer.write_all(&bytes).is_err() {
                break;
            }
            waiting.fetch_sub(1, Ordering::SeqCst);
        }
        let _ = writer.shutdown(Shutdown::Write);
    });
    read(stream, &member, chat, bug);
    let mut chat = chat.lock().unwrap();
    for members in chat.rooms.values_mut() {
        members.retain(|one| one.id != id);
    }
}

/// Reads what a client sends to its end.
fn read(mut stream: &TcpStream, member: &Member, chat: &Mutex<Chat>, bug: Bug) {
    let mut handshake = Handshake::default();
    let mut server = None;
    let mut buffer = [0; 16 << 10];
    loop {
        let Ok(n @ 1..) = stream.read(&mut buffer) else {
            return;
        };
        let mut input = &buffer[..n];
        let mut out = Vec::new();
        if server.is_none() {
            match handshake.next(&mut input) {
                None => continue,
                Some(Asked::Upgrade(upgrade)) => {
                    upgrade.accept(None, &mut out);
                    server = Some(Server::new(1 << 20));
                }
                Some(_) => return,
            }
        }
        let Some(server) = &mut server else {
            continue;
        };
        let mut said = Vec::new();
        while let Some(received) = server.next(&mut input, &mut out) {
            if let Received::Message { payload, .. } = received {
                said.push(serde_json::from_slice::<Value>(payload).unwrap());
            }
        }
        if !out.is_empty() {
            member.send(out);
        }
        for message in said {
            let mut chat = chat.lock().unwrap();
            chat.take(member, &message, bug);
            let is_its_turn = message["type"] == "say" && chat.said.is_multiple_of(HANGS_UP_EVERY);
            if bug == Bug::HangsUp && is_its_turn {
                return;
            }
        }
        if server.is_closed() {
            return;
        }
    }
}

fn frame(message: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    Frames::of_server().send(&mut out, Kind::Text, message.to_string().as_bytes());
    out
}

impl Chat {
    fn take(&mut self, member: &Member, message: &Value, bug: Bug) {
        let room = message["room"].as_str().unwrap().to_owned();
        match message["type"].as_str() {
            Some("join") => {
                if bug == Bug::LateJoinLost && self.said >= BUG_AT {
                    self.late.push((room.clone(), member.id));
                }
                let members = self.rooms.entry(room.clone()).or_default();
                members.push(member.clone());
                member.send(frame(&json!({ "type": "joined", "room": room })));
            }
            Some("leave") => {
                self.rooms
                    .entry(room.clone())
                    .or_default()
                    .retain(|one| one.id != member.id);
                member.send(frame(&json!({ "type": "left", "room": room })));
            }
            Some("say") => {
                self.say(member, &room, message, bug);
                member.send(frame(&json!({ "type": "ok", "id": message["id"] })));
            }
            _ => {}
        }
    }

    fn say(&mut self, from: &Member, room: &str, message: &Value, bug: Bug) {
        self.said += 1;
        let text = message["text"].as_str().unwrap();
        let said = frame(&json!({ "type": "said", "room": room, "text": text }));
        let now = self.said == BUG_AT;
        let others: Vec<Member> = self
            .rooms
            .get(room)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let others = others.into_iter().filter(|one| one.id != from.id);
        if bug == Bug::AckedAndDropped && now {
            return;
        }
        let late: Vec<(String, usize)> = std::mem::take(&mut self.late);
        let (late, still): (Vec<_>, Vec<_>) = late.into_iter().partition(|(of, _)| of == room);
        self.late = still;
        for (nth, other) in others.enumerate() {
            match bug {
                Bug::LostToOne if now && nth == 0 => continue,
                Bug::Doubled if now && nth == 0 => other.send(said.clone()),
                Bug::Altered if now && nth == 0 => {
                    let text =
                        text.replace(&text[30..31], if &text[30..31] == "A" { "B" } else { "A" });
                    other.send(frame(
                        &json!({ "type": "said", "room": room, "text": text }),
                    ));
                    continue;
                }
                Bug::Reordered if now && nth == 0 => {
                    self.held = Some((room.to_owned(), other.id, said.clone()));
                    continue;
                }
                Bug::SlowReaderSkipped if other.waiting.load(Ordering::SeqCst) > SLOW_FROM => {
                    continue;
                }
                Bug::LateJoinLost if late.iter().any(|(_, id)| *id == other.id) => continue,
                _ => {}
            }
            other.send(said.clone());
            let is_held = |(of, id, _): &(String, usize, Vec<u8>)| of == room && *id == other.id;
            if self.held.as_ref().is_some_and(is_held)
                && let Some((_, _, held)) = self.held.take()
            {
                other.send(held);
            }
        }
        if bug == Bug::WrongRoom && now {
            let others = self.rooms.iter().filter(|(name, _)| *name != room);
            others
                .flat_map(|(_, members)| members)
                .for_each(|one| one.send(said.clone()));
        }
    }
}
