//! A process that reads and writes, and times nothing but its reads and writes.

use std::env;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use socket2::{Domain, Socket, Type};

use super::receivers::READ_BYTES;
use super::thread_cpu_ns;

/// The first argument of a bench that is started to be a pump.
const ROLE: &str = "--be-a-pump";

/// What a pump does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    /// Sockets that it writes to.
    pub(crate) sockets: usize,
    /// The last so many of them are read from, too.
    pub(crate) talkers: usize,
    /// Bytes read for which it writes once to every socket: a *round*.
    pub(crate) order_bytes: usize,
    /// Bytes of a write.
    pub(crate) write_bytes: usize,
}

/// A child process that writes; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Pump {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

/// What a pump has done so far: calls, and the CPU time that they took, in ns.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Pumped {
    pub(crate) sends: u64,
    pub(crate) send_ns: u64,
    pub(crate) reads: u64,
    pub(crate) read_ns: u64,
}

impl Pump {
    /// Starts this very bench again as a pump.
    pub(crate) fn start(task: Task) -> Self {
        let numbers = [
            task.sockets,
            task.talkers,
            task.order_bytes,
            task.write_bytes,
        ];
        let mut child = Command::new(env::current_exe().expect("this bench"))
            .arg(ROLE)
            .args(numbers.map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let asks = child.stdin.take().expect("it is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        answers
            .read_line(&mut line)
            .expect("it says where it listens");
        let address = line.trim_end().parse().expect("an address");
        Self {
            child,
            asks,
            answers,
            address,
        }
    }

    /// Where its receivers connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far.
    pub(crate) fn report(&mut self) -> Pumped {
        self.asks.write_all(b"?").expect("it reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it reports");
        let numbers: Vec<u64> = line
            .split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect();
        let [sends, send_ns, reads, read_ns] = numbers[..] else {
            panic!("four numbers: {line}");
        };
        Pumped {
            sends,
            send_ns,
            reads,
            read_ns,
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// If this process was started to be a pump, it is one to its end.
pub(crate) fn serve_if_asked() {
    let arguments: Vec<String> = env::args().collect();
    let [_, role, sockets, talkers, order_bytes, write_bytes] = &arguments[..] else {
        return;
    };
    if role == ROLE {
        let number = |text: &str| text.parse().expect("a number");
        serve(Task {
            sockets: number(sockets),
            talkers: number(talkers),
            order_bytes: number(order_bytes),
            write_bytes: number(write_bytes),
        });
        std::process::exit(0);
    }
}

/// What the pump's epoll knows its standard input by.
const ASKED: u64 = u64::MAX;

fn serve(task: Task) {
    raise_file_limit();
    let listener = listen();
    println!("{}", listener.local_addr().expect("bound"));
    let mut sockets: Vec<TcpStream> = (0..task.sockets)
        .map(|_| {
            let socket = listener.accept().expect("a receiver").0;
            socket.set_nodelay(true).expect("nodelay");
            socket
        })
        .collect();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    watch(&epoll, std::io::stdin(), ASKED);
    for (id, talker) in sockets.iter().enumerate().rev().take(task.talkers) {
        watch(&epoll, talker, id as u64);
    }
    let mut ready = Vec::with_capacity(64);
    let mut input = vec![0; READ_BYTES];
    let bytes = vec![b'x'; task.write_bytes];
    let clock_ns = clock_ns();
    let (mut pumped, mut ordered_bytes) = (Pumped::default(), 0);
    loop {
        ready.clear();
        epoll::wait(&epoll, spare_capacity(&mut ready), None).expect("epoll");
        for event in &ready {
            let id = event.data.u64();
            if id == ASKED {
                if !matches!(std::io::stdin().read(&mut [0]), Ok(1)) {
                    return; // the bench is over
                }
                let Pumped {
                    sends,
                    send_ns,
                    reads,
                    read_ns,
                } = pumped;
                println!("{sends} {send_ns} {reads} {read_ns}");
                continue;
            }
            let before_ns = thread_cpu_ns();
            match (&sockets[id as usize]).read(&mut input) {
                Ok(0) | Err(_) => return,
                Ok(n) => ordered_bytes += n,
            }
            pumped.read_ns += (thread_cpu_ns() - before_ns).saturating_sub(clock_ns);
            pumped.reads += 1;
        }
        while ordered_bytes >= task.order_bytes {
            ordered_bytes -= task.order_bytes;
            let before_ns = thread_cpu_ns();
            for socket in &mut sockets {
                // One call each: it blocks until all is taken.
                match socket.write_all(&bytes) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return,
                    Err(error) => panic!("{error}"),
                }
            }
            pumped.send_ns += (thread_cpu_ns() - before_ns).saturating_sub(clock_ns);
            pumped.sends += sockets.len() as u64;
        }
    }
}

/// What it costs to time something: a read is not much dearer.
fn clock_ns() -> u64 {
    const TIMES: u64 = 1_000;
    let begun_ns = thread_cpu_ns();
    for _ in 1..TIMES {
        thread_cpu_ns();
    }
    (thread_cpu_ns() - begun_ns) / TIMES
}

fn watch(epoll: &OwnedFd, what: impl AsFd, id: u64) {
    let data = epoll::EventData::new_u64(id);
    epoll::add(epoll, what, data, epoll::EventFlags::IN).expect("epoll");
}

/// With room for a storm of connections: std asks for a queue of 128, and who finds it full tries
/// again after a second.
fn listen() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any_port.into()).expect("a free port");
    socket.listen(4096).expect("it is bound");
    socket.into()
}

/// Open files up to the hard limit: ten thousand sockets are more than the usual soft one.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("raising to the hard limit is allowed");
}
