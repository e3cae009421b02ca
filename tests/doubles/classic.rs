//! A small server of the classic dialect that re-enacts the original tutorial's defects, one at a
//! time, in threads of a test's own process. Without one it is correct: then the run must pass.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use chatbench::wire::classic::objects::ObjectBuffer;
use chatbench::wire::classic::{decode_publish, encode_ack, encode_relay};

/// What the original does wrong, and this double in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Nothing.
    None,
    /// Relays begin with the address of who gets them.
    RelayNamesRecipient,
    /// The ack goes to whom `client_ip` names, and everyone else, the sender too, gets the relay.
    SpoofableAck,
    /// The same, with the first client in the room for whom everyone claims to be.
    AcksTheFirst,
    /// What one read brings is taken for one object: two in one write are lost.
    LoseCoalesced,
    /// Read 1,024 bytes at a time, each read taken for one object: a longer one is lost.
    Truncate1024,
    /// Garbage is relayed: as a message without text, to everyone.
    BlankRelays,
    /// One writer for all, which waits for the slowest.
    BlockOnSlow,
    /// It welcomes its clients, as an ndjson server does, and says nothing else.
    SpeaksNdjson,
    /// It answers as a web server would.
    SpeaksHttp,
}

/// A running double. Its threads end with the test's process.
pub(crate) struct Double {
    address: SocketAddr,
}

impl Double {
    pub(crate) fn start(defect: Defect) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let room = Arc::new(Mutex::new(Vec::new()));
        thread::spawn(move || {
            loop {
                // The address is asked for here: of a connection that was reset since, there is
                // none to be had.
                let (stream, peer) = listener.accept().unwrap();
                let room = room.clone();
                join(&stream, peer, &room, defect);
                thread::spawn(move || serve(stream, peer, &room, defect));
            }
        });
        Self { address }
    }

    pub(crate) fn url(&self) -> String {
        format!("classic://{}", self.address)
    }
}

/// A client in the room, and how texts get to it: through a writer of its own, or directly.
struct Client {
    address: SocketAddr,
    texts: Sender<Vec<u8>>,
    stream: TcpStream,
}

type Room = Mutex<Vec<Client>>;

fn join(stream: &TcpStream, address: SocketAddr, room: &Room, defect: Defect) {
    let (texts, written) = mpsc::channel::<Vec<u8>>();
    let mut socket = stream.try_clone().unwrap();
    let _ = socket.set_nodelay(true);
    match defect {
        Defect::SpeaksNdjson => {
            let _ = socket.write_all(
                b"{\"type\":\"welcome\",\"protocol\":1,\"client_ip\":\"127.0.0.1:1\",\"seq\":0,\
                  \"max_line\":65536}\n",
            );
        }
        Defect::SpeaksHttp => {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
        _ => {}
    }
    thread::spawn(move || {
        // Ends when the client has left the room and is sent everything.
        for text in written {
            if socket.write_all(&text).is_err() {
                return;
            }
        }
        let _ = socket.shutdown(Shutdown::Both);
    });
    room.lock().unwrap().push(Client {
        address,
        texts,
        stream: stream.try_clone().unwrap(),
    });
}

/// Reads a client to its end.
fn serve(mut stream: TcpStream, peer: SocketAddr, room: &Room, defect: Defect) {
    let mut objects = ObjectBuffer::new(1 << 16);
    let takes_a_read_for_one = matches!(defect, Defect::LoseCoalesced | Defect::Truncate1024);
    let mut bytes = vec![
        0;
        if defect == Defect::Truncate1024 {
            1024
        } else {
            1 << 16
        }
    ];
    'reading: while let Ok(n @ 1..) = stream.read(&mut bytes) {
        if takes_a_read_for_one {
            if let Ok(publish) = decode_publish(&bytes[..n]) {
                broadcast(
                    room,
                    peer,
                    publish.client_ip.as_deref(),
                    &publish.message,
                    defect,
                );
            }
            continue;
        }
        let mut is_garbage = false;
        let mut chunk = objects.feed(&bytes[..n]);
        while let Some(object) = chunk.next() {
            match object.ok().and_then(|object| decode_publish(object).ok()) {
                Some(publish) => {
                    broadcast(
                        room,
                        peer,
                        publish.client_ip.as_deref(),
                        &publish.message,
                        defect,
                    );
                }
                None if defect == Defect::BlankRelays => {
                    broadcast(room, peer, None, "", defect);
                    is_garbage = true;
                }
                None => break 'reading,
            }
        }
        if is_garbage {
            objects = ObjectBuffer::new(1 << 16);
        }
    }
    // Dropping its sender lets its writer come to an end.
    room.lock().unwrap().retain(|client| client.address != peer);
}

/// One message to everyone, under the room's lock: so all get all messages in the same order.
fn broadcast(room: &Room, from: SocketAddr, claims: Option<&str>, message: &str, defect: Defect) {
    let mut room = room.lock().unwrap();
    let acked = match claims {
        Some(claimed) if defect == Defect::SpoofableAck => claimed.to_owned(),
        _ if message.is_empty() => String::new(), // nobody's
        _ if defect == Defect::AcksTheFirst => room[0].address.to_string(),
        _ => from.to_string(),
    };
    for client in room.iter_mut() {
        let own = client.address.to_string();
        let mut text = Vec::new();
        if own == acked {
            encode_ack(&mut text, &own);
        } else if defect == Defect::RelayNamesRecipient {
            encode_relay(&mut text, &own, message);
        } else {
            encode_relay(&mut text, &from.to_string(), message);
        }
        if defect == Defect::BlockOnSlow {
            let _ = client.stream.write_all(&text);
        } else {
            let _ = client.texts.send(text);
        }
    }
}
