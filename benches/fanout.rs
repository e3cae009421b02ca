//! The server over loopback: one sender, N receivers, a window of 256 messages.
//!
//! The server is a child process, so that its CPU time is its own: `cpu` is deliveries a
//! CPU-second of the server (what the design decides), `wall` is deliveries a second with the
//! receivers on the same machine (what one sees). A delivery counts when its line was read.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use memchr::memchr_iter;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

/// Messages on their way at once, and how many of them are sent in one write.
const WINDOW: u64 = 256;
const BATCH: u64 = 16;

const PUBLISH: &str = concat!(
    r#"{"message":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#,
    "\n"
);

/// The server process; it ends when its stdin is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatbench"))
            .args(["serve", "--listen", "ndjson://127.0.0.1:0"])
            .arg("--exit-on-stdin-eof")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("the server says where it listens");
        let port = line.trim_end().rsplit(':').next().expect("a port");
        Self {
            port: port.parse().expect("a port"),
            child,
        }
    }

    /// CPU time of all its threads.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let ran_ns = tasks.map(|task| {
            let path = task.expect("a thread").path().join("schedstat");
            let text = fs::read_to_string(path).expect("schedstat");
            let first = text.split(' ').next().expect("a number");
            first.parse::<u64>().expect("a number")
        });
        Duration::from_nanos(ran_ns.sum())
    }
}

/// One sender and its receivers, on one thread.
struct Fleet {
    /// The sender comes last.
    streams: Vec<TcpStream>,
    epoll: rustix::fd::OwnedFd,
    ready: Vec<epoll::Event>,
    input: Vec<u8>,
}

impl Fleet {
    fn connect(server: &Server, receivers: usize) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
        let mut streams = Vec::new();
        for id in 0..=receivers {
            let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connect");
            let mut welcome = String::new();
            BufReader::with_capacity(1, &stream)
                .read_line(&mut welcome)
                .expect("welcome");
            stream.set_nodelay(true).expect("nodelay");
            stream.set_nonblocking(true).expect("nonblocking");
            let data = epoll::EventData::new_u64(id as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN).expect("epoll");
            streams.push(stream);
        }
        Self {
            streams,
            epoll,
            ready: Vec::with_capacity(1024),
            input: vec![0; 256 * 1024],
        }
    }

    /// Sends `messages` and waits until every receiver has every one of them.
    fn deliver(&mut self, messages: u64) {
        let receivers = self.streams.len() as u64 - 1;
        let batch = PUBLISH.repeat(BATCH as usize);
        let (mut sent, mut lines, mut acks) = (0, 0, 0);
        while lines < messages * receivers || acks < messages {
            while sent < messages && sent + BATCH <= lines / receivers + WINDOW {
                let count = BATCH.min(messages - sent);
                self.send(&batch.as_bytes()[..PUBLISH.len() * count as usize]);
                sent += count;
            }
            self.ready.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut self.ready), None).expect("epoll");
            for event in &self.ready {
                let id = event.data.u64();
                let mut stream = &self.streams[id as usize];
                match stream.read(&mut self.input) {
                    Ok(0) => panic!("the server hung up"),
                    Ok(n) => {
                        let count = memchr_iter(b'\n', &self.input[..n]).count() as u64;
                        *(if id == receivers {
                            &mut acks
                        } else {
                            &mut lines
                        }) += count;
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }

    /// The server always reads on, and a batch is small: it takes no waiting worth an epoll.
    fn send(&mut self, mut bytes: &[u8]) {
        let sender = self.streams.last_mut().expect("the sender");
        while !bytes.is_empty() {
            match sender.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        }
    }
}

fn fanout(c: &mut Criterion) {
    // The last one: what it costs to be asked for a fault that never comes.
    let never: &[&str] = &["--fault", "drop-relay=after=1000000000000"];
    for (receivers, arguments, name) in [
        (10, &[][..], "10 receivers"),
        (100, &[], "100 receivers"),
        (1000, &[], "1000 receivers"),
        (100, never, "100 receivers, a fault armed"),
    ] {
        let mut server = Server::start(arguments);
        let mut fleet = Fleet::connect(&server, receivers);
        let mut group = c.benchmark_group(format!("fanout/{name}"));
        group.throughput(Throughput::Elements(receivers as u64));
        group.bench_function("cpu", |b| {
            b.iter_custom(|messages| {
                let before = server.cpu();
                fleet.deliver(messages);
                server.cpu() - before
            });
        });
        group.bench_function("wall", |b| {
            b.iter_custom(|messages| {
                let before = Instant::now();
                fleet.deliver(messages);
                before.elapsed()
            });
        });
        group.finish();
        drop(fleet);
        drop(server.child.stdin.take());
        server.child.wait().expect("it ends");
    }
}

criterion_group!(benches, fanout);
criterion_main!(benches);
