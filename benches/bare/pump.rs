//! A process that writes, and times its writes.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use socket2::{Domain, Socket, Type};

use super::thread_cpu_ns;

/// The first argument of a bench that is started to be a pump.
const ROLE: &str = "--be-a-pump";

/// What the pump is told over its control connection: a round, or to report.
const ROUND: u8 = b'r';
const REPORT: u8 = b'?';

/// A child process that writes; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Pump {
    child: Child,
    address: SocketAddr,
    control: TcpStream,
}

impl Pump {
    /// Starts this very bench again as a pump for so many sockets.
    pub(crate) fn start(sockets: usize, write_bytes: usize) -> Self {
        let mut child = Command::new(env::current_exe().expect("this bench"))
            .args([ROLE, &sockets.to_string(), &write_bytes.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("it says where it listens");
        let address = line.trim_end().parse().expect("an address");
        let control = TcpStream::connect(address).expect("it listens");
        control.set_nodelay(true).expect("nodelay");
        Self {
            child,
            address,
            control,
        }
    }

    /// Where its receivers connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it write once to every socket.
    pub(crate) fn round(&mut self) {
        self.control.write_all(&[ROUND]).expect("it reads");
    }

    /// How often it has written so far, and the CPU time that took, in ns.
    pub(crate) fn report(&mut self) -> (u64, u64) {
        self.control.write_all(&[REPORT]).expect("it reads");
        let mut report = [0; 16];
        self.control.read_exact(&mut report).expect("it reports");
        let (sends, cpu_ns) = report.split_at(8);
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        (number(sends), number(cpu_ns))
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
    let [_, role, sockets, write_bytes] = &arguments[..] else {
        return;
    };
    if role == ROLE {
        let number = |text: &str| text.parse().expect("a number");
        serve(number(sockets), number(write_bytes));
        std::process::exit(0);
    }
}

fn serve(sockets: usize, write_bytes: usize) {
    raise_file_limit();
    let listener = listen();
    println!("{}", listener.local_addr().expect("bound"));
    let mut control = listener.accept().expect("the bench").0;
    control.set_nodelay(true).expect("nodelay");
    let mut sockets: Vec<TcpStream> = (0..sockets)
        .map(|_| {
            let socket = listener.accept().expect("a receiver").0;
            socket.set_nodelay(true).expect("nodelay");
            socket
        })
        .collect();
    let bytes = vec![b'x'; write_bytes];
    let (mut sends, mut cpu_ns) = (0_u64, 0_u64);
    let mut orders = [0; 64];
    loop {
        let n = match control.read(&mut orders) {
            Ok(0) | Err(_) => return, // the bench is over
            Ok(n) => n,
        };
        for &order in &orders[..n] {
            if order == REPORT {
                let report = [sends.to_le_bytes(), cpu_ns.to_le_bytes()].concat();
                control.write_all(&report).expect("the bench waits");
                continue;
            }
            let before_ns = thread_cpu_ns();
            for socket in &mut sockets {
                // One call each: it blocks until all is taken.
                socket.write_all(&bytes).expect("it is read");
            }
            cpu_ns += thread_cpu_ns() - before_ns;
            sends += sockets.len() as u64;
        }
    }
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
