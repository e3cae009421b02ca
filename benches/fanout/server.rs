//! The server, published to and read by bare sockets.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::bare::Orders;
use super::bare::receivers::Receivers;
use super::framing::{Counter, Framing};
use super::selection::{Kind, Selection};
use super::sides::{Side, print_and_stop, print_head, take_turns};
use super::{Load, bare};

/// This build's server.
pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_chatbench");

/// Messages that a talker with a full window sends in one write at most.
const BATCH: usize = 16;

/// What it costs to be asked for a fault that never comes.
pub(crate) const FAULT_ARMED: &[&str] = &["--fault", "drop-relay=after=1000000000000"];

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) receivers: usize,
    pub(crate) talkers: usize,
    pub(crate) payload: usize,
    pub(crate) load: Load,
    pub(crate) framing: Framing,
    pub(crate) arguments: &'static [&'static str],
}

/// What one measurement of a row found.
#[derive(Debug, Clone, Copy)]
struct Figures {
    delivery_ns: f64,
    write_ns: f64,
    write_bytes: f64,
    /// The bare `send`, and the write's share of the bare `recv`s that brought the messages.
    floor_ns: f64,
}

/// The rows that are asked for, in the order of the table.
fn rows(asked: &Selection) -> Vec<Row> {
    let mut rows = Vec::new();
    for &receivers in asked.receivers() {
        for payload in [16, 100, 1 << 10, 16 << 10] {
            for (talkers, load) in [(1, Load::Unbatched), (1, Load::Full), (16, Load::Full)] {
                let kind = Kind {
                    talkers,
                    payload,
                    load,
                };
                if asked.has(kind) {
                    rows.push(Row {
                        receivers,
                        talkers,
                        payload,
                        load,
                        framing: Framing::Lines,
                        arguments: &[],
                    });
                }
            }
        }
    }
    rows
}

pub(crate) fn table(asked: &Selection) {
    println!("\nserver, CPU time; deliveries are relays that arrived");
    println!(
        "{:>9} {:>7} {:>8} {:>10} {:>12} {:>11} {:>9} {:>10} {:>10}",
        "receivers",
        "talkers",
        "payload",
        "load",
        "ns/delivery",
        "bytes/write",
        "ns/write",
        "floor ns",
        "efficiency"
    );
    for row in rows(asked) {
        print_row(row, asked);
    }
}

/// Another build's server and this one, taking turns.
pub(crate) fn compare(asked: &Selection, binary: &str) {
    let (rounds, usual) = if bare::only_test() {
        (2, Duration::from_millis(5))
    } else {
        (15, Duration::from_millis(150))
    };
    let time = asked
        .seconds
        .map_or(usual, |all| all.div_f64(f64::from(rounds)));
    for row in rows(asked) {
        let mut sides = [
            ("the other", binary),
            ("the other once more", binary),
            ("this", OURS),
        ]
        .map(|(name, binary)| Side::start(name, binary, row));
        take_turns(&mut sides, rounds as usize, time);
        println!(
            "\n{} receivers, talkers: {}, payload: {}, {}",
            row.receivers,
            row.talkers,
            row.payload,
            row.load.name()
        );
        print_head();
        print_and_stop(sides.into());
    }
}

fn print_row(row: Row, asked: &Selection) {
    let time = asked.time(Duration::from_millis(400));
    let figures: Vec<Figures> = (0..asked.times()).map(|_| measure(row, time)).collect();
    let median = |of: fn(&Figures) -> f64| bare::median(figures.iter().map(of).collect());
    println!(
        "{:>9} {:>7} {:>8} {:>10} {:>12.1} {:>11.0} {:>9.0} {:>10.0} {:>10.2}",
        row.receivers,
        row.talkers,
        row.payload,
        row.load.name(),
        median(|f| f.delivery_ns),
        median(|f| f.write_bytes),
        median(|f| f.write_ns),
        median(|f| f.floor_ns),
        median(|f| f.floor_ns / f.write_ns),
    );
}

/// Bare sockets that are welcomed clients of a server.
pub(crate) struct Clients {
    sockets: Receivers,
    counters: Vec<Counter>,
}

impl Clients {
    /// So many, all welcomed.
    pub(crate) fn connect(server: &Server, count: usize, framing: Framing) -> Self {
        let sockets = Receivers::connect(server.address, count);
        framing.shake_hands(&sockets);
        let counters = (0..count).map(|_| Counter::new(framing)).collect();
        let mut clients = Self { sockets, counters };
        let mut welcomes = 0;
        while welcomes < count as u64 {
            welcomes += clients.read_frames();
        }
        clients
    }

    /// Waits until something can be read, and reads it. Returns how many frames there are more.
    fn read_frames(&mut self) -> u64 {
        let mut frames = 0;
        let counters = &mut self.counters;
        self.sockets
            .read_ready(|id, bytes| frames += counters[id].count(bytes));
        frames
    }
}

fn measure(row: Row, time: Duration) -> Figures {
    let server = Server::start(OURS, row.framing, row.arguments);
    let sessions = row.receivers + row.talkers;
    let mut clients = Clients::connect(&server, sessions, row.framing);
    let before_ns = server.cpu_ns();
    let messages = broadcast(&mut clients, row, time);
    let cpu_ns = (server.cpu_ns() - before_ns) as f64;
    drop(clients);
    let stats = server.stop();
    // Each session got its welcome in a write of its own.
    let writes = stats.writes - sessions as f64;
    let write_bytes = stats.bytes_out / writes;
    let lines = messages * sessions as u64;
    // The same talkers order as many rounds as the server made passes, by the same bytes.
    let publishes = Publishes::of(row);
    let passes = writes / sessions as f64;
    let orders = Orders {
        talkers: row.talkers,
        order_bytes: (stats.read_bytes / passes) as usize,
        window_bytes: publishes.window * publishes.frame_bytes,
        batch: publishes.batch,
    };
    let floor = bare::measure_ordered(sessions, write_bytes as usize, &orders, time);
    Figures {
        delivery_ns: cpu_ns / (lines - messages) as f64,
        write_ns: cpu_ns / writes,
        write_bytes,
        floor_ns: floor.send_ns + floor.order_ns * stats.reads / writes,
    }
}

/// What talkers publish.
struct Publishes {
    /// Messages that may be on their way.
    window: usize,
    /// What a talker sends at once.
    batch: Vec<u8>,
    /// Bytes of one message.
    frame_bytes: usize,
}

impl Publishes {
    fn of(row: Row) -> Self {
        let json = format!("{{\"message\":\"{}\"}}", "x".repeat(row.payload));
        let frame = row.framing.frame(&json);
        let window = row.load.in_flight(row.payload, row.receivers);
        Self {
            window,
            batch: frame.repeat(BATCH.min(window.div_ceil(2))),
            frame_bytes: frame.len(),
        }
    }
}

/// Publishes for `time`, by turns, and waits until every session has its frame of every message.
/// Returns how many there were.
pub(crate) fn broadcast(clients: &mut Clients, row: Row, time: Duration) -> u64 {
    let Publishes {
        window,
        batch,
        frame_bytes,
    } = Publishes::of(row);
    let messages = (batch.len() / frame_bytes) as u64;
    let sessions = clients.counters.len() as u64;
    let (mut sent, mut frames, mut turn) = (0_u64, 0_u64, 0);
    let until = Instant::now() + time;
    loop {
        let over = Instant::now() >= until;
        if over && frames == sent * sessions {
            return sent;
        }
        while !over && sent + messages <= frames / sessions + window as u64 {
            clients.sockets.send(row.receivers + turn, &batch);
            turn = (turn + 1) % row.talkers;
            sent += messages;
        }
        frames += clients.read_frames();
    }
}

/// What a server says at its end.
pub(crate) struct Stats {
    pub(crate) published: f64,
    pub(crate) writes: f64,
    pub(crate) bytes_out: f64,
    reads: f64,
    read_bytes: f64,
}

/// The server process; it ends when its stdin is dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(binary: &str, framing: Framing, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary)
            .args(["serve", "--listen"])
            .arg(format!("{}://127.0.0.1:0", framing.scheme()))
            .args(["--stats", "--exit-on-stdin-eof"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("the server says where it listens");
        let address = line.trim_end().rsplit('/').next().expect("a URL");
        Self {
            address: address.parse().expect("an address"),
            stdout,
            child,
        }
    }

    /// CPU time of all its threads.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let ran_ns = tasks.map(|task| {
            let path = task.expect("a thread").path().join("schedstat");
            let text = fs::read_to_string(path).expect("schedstat");
            let first = text.split(' ').next().expect("a number");
            first.parse::<u64>().expect("a number")
        });
        ran_ns.sum()
    }

    /// Ends it; what it did in its life.
    pub(crate) fn stop(mut self) -> Stats {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).expect("text");
        self.child.wait().expect("it ends");
        let figure = |key: &str| {
            let value = said
                .split_whitespace()
                .find_map(|word| word.strip_prefix(key));
            value
                .and_then(|v| v.parse().ok())
                .expect("it tells its stats")
        };
        Stats {
            published: figure("published="),
            writes: figure("writes="),
            bytes_out: figure("bytes_out="),
            reads: figure("reads="),
            read_bytes: figure("bytes_in="),
        }
    }
}
