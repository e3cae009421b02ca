//! Connections on one thread that read what comes, and time their reads.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use super::thread_cpu_ns;

/// What one read takes at most: as much as the server's and the driver's.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// What reading has cost so far.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) reads: u64,
    pub(crate) bytes: u64,
    pub(crate) cpu_ns: u64,
}

/// Connections, by index in the order that they were made.
pub(crate) struct Receivers {
    streams: Vec<TcpStream>,
    epoll: rustix::fd::OwnedFd,
    ready: Vec<epoll::Event>,
    input: Vec<u8>,
    pub(crate) spent: Spent,
}

impl Receivers {
    /// So many connections to one address.
    pub(crate) fn connect(address: SocketAddr, count: usize) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
        let mut streams = Vec::with_capacity(count);
        for id in 0..count {
            let stream = TcpStream::connect(address).expect("connect");
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
            input: vec![0; READ_BYTES],
            spent: Spent::default(),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.streams.len()
    }

    /// Waits until something can be read, and reads once from each that has something.
    pub(crate) fn read_ready(&mut self, mut take: impl FnMut(usize, &[u8])) {
        self.ready.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut self.ready), None).expect("epoll");
        let before_ns = thread_cpu_ns();
        for event in &self.ready {
            let id = event.data.u64() as usize;
            let n = match (&self.streams[id]).read(&mut self.input) {
                Ok(0) => panic!("the other side hung up"),
                Ok(n) => n,
                Err(error) => panic!("it was said to be readable: {error}"),
            };
            self.spent.reads += 1;
            self.spent.bytes += n as u64;
            take(id, &self.input[..n]);
        }
        self.spent.cpu_ns += thread_cpu_ns() - before_ns;
    }

    /// Sends all of `bytes` on one connection. The other side always reads on, and what is sent
    /// is small: it takes no waiting worth an epoll.
    pub(crate) fn send(&self, id: usize, mut bytes: &[u8]) {
        let mut stream = &self.streams[id];
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}
