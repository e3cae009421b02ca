//! A server in this process, and clients that know nothing but sockets and JSON.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use chatbench::server::{self, Config, Stats};
use chatbench::wire::Dialect;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

/// Nothing here takes near as long: a test that waits in vain fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server on a thread and a free port of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The same server, for clients of the classic dialect.
    pub(crate) classic_address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Stats>,
}

impl Server {
    pub(crate) fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listeners = [Dialect::Ndjson, Dialect::Classic].map(|dialect| {
                    let any_port = "127.0.0.1:0".parse().unwrap();
                    server::listen(dialect, any_port).unwrap()
                });
                let addresses = [0, 1].map(|i: usize| listeners[i].local_addr().unwrap());
                bound.send(addresses).unwrap();
                let shutdown = async {
                    let _ = stopped.await;
                };
                server::run(listeners.into(), config, shutdown).await
            })
        });
        let [address, classic_address] = address.recv_timeout(PATIENCE).unwrap();
        Self {
            address,
            classic_address,
            stop,
            thread,
        }
    }

    pub(crate) fn with_defaults() -> Self {
        Self::start(Config::default())
    }

    /// A client that has got its welcome.
    pub(crate) fn join(&self) -> Client {
        let mut client = Client::connect(self.address);
        client.welcome = client.expect("welcome");
        client
    }

    /// Asks the server to shut down, without waiting for it.
    pub(crate) fn begin_stop(self) -> JoinHandle<Stats> {
        self.stop.send(()).unwrap();
        self.thread
    }

    /// Shuts the server down.
    pub(crate) fn stop(self) -> Stats {
        self.begin_stop().join().unwrap()
    }
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    reader: BufReader<TcpStream>,
    pub(crate) welcome: Value,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// A client whose kernel takes little for it: one that does not read is soon known for it.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::new(stream.try_clone().unwrap()),
            stream,
            welcome: Value::Null,
        }
    }

    /// This end's address, as the server must see it.
    pub(crate) fn address(&self) -> String {
        self.stream.local_addr().unwrap().to_string()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn publish(&mut self, message: &str, id: u64) {
        let frame = serde_json::json!({ "message": message, "id": id });
        self.send(format!("{frame}\n"));
    }

    /// The next line as it is, LF included; empty at the end of the stream.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) fn frame(&mut self) -> Option<Value> {
        let line = self.line();
        assert!(line.is_empty() || line.ends_with('\n'), "torn: {line}");
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The next frame, which is of this type.
    pub(crate) fn expect(&mut self, frame_type: &str) -> Value {
        let frame = self.frame().expect("the server has hung up");
        assert_eq!(frame["type"], frame_type, "{frame}");
        frame
    }

    /// The next frame, an error of this code.
    pub(crate) fn expect_error(&mut self, code: &str) -> Value {
        let error = self.expect("error");
        assert_eq!(error["code"], code, "{error}");
        error
    }

    /// The server hangs up next, without a frame more.
    pub(crate) fn expect_end(&mut self) {
        assert_eq!(self.frame(), None);
    }

    /// Ends the sending side (J2).
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Leaves politely: everything that was still owed, `bye` excluded, and `bye`'s number.
    pub(crate) fn leave(mut self) -> (Vec<Value>, u64) {
        self.half_close();
        let mut frames: Vec<Value> = std::iter::from_fn(|| self.frame()).collect();
        let bye = frames.pop().expect("a bye");
        assert_eq!(bye["type"], "bye", "{bye}");
        (frames, bye["seq"].as_u64().unwrap())
    }

    /// Vanishes with a reset (J3).
    pub(crate) fn reset(self) {
        let socket = Socket::from(self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Whatever comes until the server hangs up, one way or another.
    pub(crate) fn read_to_any_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut chunk = [0; 65_536];
        loop {
            match self.reader.read(&mut chunk) {
                Ok(0) => return all,
                Ok(n) => all.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return all,
                Err(e) => panic!("{e}"),
            }
        }
    }
}
