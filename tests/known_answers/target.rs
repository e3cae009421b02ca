//! A correct target that answers when it is told to, and keeps a record of when it really did.
//!
//! One thread a connection reads; one thread, the clockwork, numbers, answers and writes, each
//! answer at its appointed time. It shares nothing with the reference server but the codec.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chatbench::wire::{ndjson, payload};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// When a message that came is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Service {
    /// At once.
    Immediate,
    /// So much later.
    Fixed(Duration),
    /// At once, but the `from`-th message and all that come within `length` of it are answered
    /// when that is over.
    Stall { from: u64, length: Duration },
    /// At once, but every `every`-th takes so much longer, and what comes meanwhile waits for it.
    EveryNth { every: u64, delay: Duration },
    /// One after another, each taking a time drawn from the exponential distribution.
    Exponential { mean: Duration, seed: u64 },
    /// At once, but the connection that came `receiver`-th (from 0) gets its relays so much later.
    SlowReceiver { receiver: usize, delay: Duration },
}

/// What was done, by the target's own account.
#[derive(Debug, Default, Clone)]
pub(crate) struct Record {
    /// Messages in the order they were answered.
    pub messages: Vec<Answered>,
    /// How late each answer was against its appointed time, ns.
    pub lateness_ns: Vec<u64>,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    /// The load message's own statement: ns since the run's epoch.
    pub intended_ns: u64,
    /// When the read that brought it returned.
    pub received: Instant,
    /// When its ack was about to be written.
    pub acked: Instant,
    /// When each relay was about to be written.
    pub relayed: Vec<Instant>,
}

/// A running target. Its threads end with the test's process.
pub(crate) struct Target {
    address: SocketAddr,
    record: Arc<Shared>,
}

/// The record, and a bell for each message.
#[derive(Default)]
struct Shared {
    record: Mutex<Record>,
    answered: Condvar,
}

impl Target {
    pub(crate) fn start(service: Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::<Shared>::default();
        let (tell, told) = mpsc::channel();
        let clockwork = Clockwork::new(service, record.clone());
        thread::spawn(move || clockwork.run(&told));
        thread::spawn(move || accept(&listener, &tell));
        Self { address, record }
    }

    pub(crate) fn url(&self) -> String {
        format!("ndjson://{}", self.address)
    }

    /// What was done so far.
    pub(crate) fn record(&self) -> Record {
        self.record.record.lock().unwrap().clone()
    }

    /// Waits until so many messages were answered.
    pub(crate) fn wait_for(&self, messages: usize) {
        let record = self.record.record.lock().unwrap();
        let too_few = |record: &mut Record| record.messages.len() < messages;
        let (record, wait) = self
            .record
            .answered
            .wait_timeout_while(record, Duration::from_secs(60), too_few)
            .unwrap();
        assert!(!wait.timed_out(), "only {} came", record.messages.len());
    }
}

/// What the readers tell the clockwork.
enum Told {
    Joined(usize, TcpStream),
    Published(usize, Box<Publish>),
    Left(usize),
}

struct Publish {
    id: Option<u64>,
    message: String,
    received: Instant,
}

fn accept(listener: &TcpListener, tell: &Sender<Told>) {
    for (connection, stream) in listener.incoming().enumerate() {
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        let tell = tell.clone();
        tell.send(Told::Joined(connection, stream.try_clone().unwrap()))
            .unwrap();
        thread::spawn(move || read(stream, connection, &tell));
    }
}

fn read(stream: TcpStream, connection: usize, tell: &Sender<Told>) {
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let received = Instant::now();
        if let Ok(publish) = ndjson::decode_publish(line.strip_suffix(b"\n").unwrap_or(&line)) {
            let publish = Box::new(Publish {
                id: publish.id,
                message: publish.message.into_owned(),
                received,
            });
            let _ = tell.send(Told::Published(connection, publish));
        }
        line.clear();
    }
    let _ = tell.send(Told::Left(connection));
}

struct Clockwork {
    service: Service,
    random: Pcg64,
    came: u64,
    stall_ends: Option<Instant>,
    busy_until: Instant,
    seq: u64,
    peers: HashMap<usize, Peer>,
    appointments: BinaryHeap<Reverse<Appointment>>,
    made: u64,
    record: Arc<Shared>,
}

struct Peer {
    address: String,
    stream: TcpStream,
    leaving: bool,
    /// Appointments it is part of.
    waits: usize,
}

/// Something to be done at a time; in the order they were made where the time is the same.
struct Appointment {
    at: Instant,
    order: u64,
    connection: usize,
    what: What,
}

enum What {
    Answer(Box<Publish>),
    /// A relay held back for a slow receiver, and where its time is to be noted.
    Relay(Vec<u8>, usize),
}

impl Ord for Appointment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Appointment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Appointment {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Appointment {}

impl Clockwork {
    fn new(service: Service, record: Arc<Shared>) -> Self {
        let seed = match service {
            Service::Exponential { seed, .. } => seed,
            _ => 0,
        };
        Self {
            service,
            random: Pcg64::seed_from_u64(seed),
            came: 0,
            stall_ends: None,
            busy_until: Instant::now(),
            seq: 0,
            peers: HashMap::new(),
            appointments: BinaryHeap::new(),
            made: 0,
            record,
        }
    }

    fn run(mut self, told: &Receiver<Told>) {
        loop {
            let now = Instant::now();
            let next = self.appointments.peek().map(|Reverse(a)| a.at);
            let news = match next {
                Some(at) if at <= now => Err(RecvTimeoutError::Timeout),
                Some(at) => told.recv_timeout(at - now),
                None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match news {
                Ok(Told::Joined(connection, stream)) => self.joined(connection, stream),
                Ok(Told::Published(connection, publish)) => self.published(connection, publish),
                Ok(Told::Left(connection)) => {
                    if let Some(peer) = self.peers.get_mut(&connection) {
                        peer.leaving = true;
                    }
                    self.let_go(connection);
                }
                Err(RecvTimeoutError::Timeout) => self.keep_appointment(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn joined(&mut self, connection: usize, mut stream: TcpStream) {
        let address = stream.peer_addr().unwrap().to_string();
        let mut line = Vec::new();
        ndjson::encode_welcome(&mut line, &address, self.seq, 65_536);
        let _ = stream.write_all(&line);
        let peer = Peer {
            address,
            stream,
            leaving: false,
            waits: 0,
        };
        self.peers.insert(connection, peer);
    }

    fn published(&mut self, connection: usize, publish: Box<Publish>) {
        self.came += 1;
        let received = publish.received;
        let at = match self.service {
            Service::Immediate | Service::SlowReceiver { .. } => received,
            Service::Fixed(delay) => received + delay,
            Service::Stall { from, length } => {
                if self.came == from {
                    self.stall_ends = Some(received + length);
                }
                self.stall_ends.map_or(received, |end| end.max(received))
            }
            Service::EveryNth { every, delay } => {
                if self.came.is_multiple_of(every) {
                    self.stall_ends = Some(received + delay);
                }
                self.stall_ends.map_or(received, |end| end.max(received))
            }
            Service::Exponential { mean, .. } => {
                let draw = -(1.0 - self.random.random::<f64>()).ln();
                self.busy_until = self.busy_until.max(received) + mean.mul_f64(draw);
                self.busy_until
            }
        };
        self.appoint(at, connection, What::Answer(publish));
    }

    fn appoint(&mut self, at: Instant, connection: usize, what: What) {
        self.made += 1;
        self.peers.get_mut(&connection).unwrap().waits += 1;
        self.appointments.push(Reverse(Appointment {
            at,
            order: self.made,
            connection,
            what,
        }));
    }

    fn keep_appointment(&mut self) {
        let Some(Reverse(appointment)) = self.appointments.pop() else {
            return;
        };
        let late = appointment.at.elapsed();
        let connection = appointment.connection;
        match appointment.what {
            What::Answer(publish) => self.answer(connection, &publish),
            What::Relay(line, message) => {
                let peer = self.peers.get_mut(&connection).unwrap();
                let mut record = self.record.record.lock().unwrap();
                record.messages[message].relayed.push(Instant::now());
                drop(record);
                let _ = peer.stream.write_all(&line);
            }
        }
        let mut record = self.record.record.lock().unwrap();
        record.lateness_ns.push(late.as_nanos() as u64);
        drop(record);
        self.peers.get_mut(&connection).unwrap().waits -= 1;
        self.let_go(connection);
    }

    fn answer(&mut self, connection: usize, publish: &Publish) {
        self.seq += 1;
        let seq = self.seq;
        let (mut ack, mut relay) = (Vec::new(), Vec::new());
        ndjson::encode_ack(&mut ack, seq, publish.id);
        let sender = &self.peers[&connection].address;
        ndjson::encode_relay(&mut relay, seq, sender, &publish.message);
        let acked = Instant::now();
        let peer = self.peers.get_mut(&connection).unwrap();
        let _ = peer.stream.write_all(&ack);
        let message = self.record.record.lock().unwrap().messages.len();
        let mut relayed = Vec::new();
        let receivers: Vec<usize> = self.peers.keys().copied().collect();
        for receiver in receivers.into_iter().filter(|&r| r != connection) {
            match self.service {
                Service::SlowReceiver {
                    receiver: slow,
                    delay,
                } if slow == receiver => {
                    let what = What::Relay(relay.clone(), message);
                    self.appoint(publish.received + delay, receiver, what);
                }
                _ => {
                    relayed.push(Instant::now());
                    let peer = self.peers.get_mut(&receiver).unwrap();
                    let _ = peer.stream.write_all(&relay);
                }
            }
        }
        // The header, without checking the filler: that is the driver's business.
        let header = payload::decode(publish.message.as_bytes(), 0, u32::MAX).unwrap();
        self.record.record.lock().unwrap().messages.push(Answered {
            intended_ns: header.intended_ns,
            received: publish.received,
            acked,
            relayed,
        });
        self.record.answered.notify_all();
    }

    /// Says goodbye to a connection that has left, once nothing of it or for it is waiting.
    fn let_go(&mut self, connection: usize) {
        let done = |peer: &&mut Peer| peer.leaving && peer.waits == 0;
        let Some(peer) = self.peers.get_mut(&connection).filter(done) else {
            return;
        };
        let mut bye = Vec::new();
        ndjson::encode_bye(&mut bye, self.seq);
        let _ = peer.stream.write_all(&bye);
        let _ = peer.stream.shutdown(Shutdown::Both);
        self.peers.remove(&connection);
    }
}
