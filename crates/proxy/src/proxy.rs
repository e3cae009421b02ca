//! The listening sockets, and the thread that serves their connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chatbench_net::{Listener, Net, Stream};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::link::{Shared, carry, lock};
use super::meddler::{Committed, Meddler};

/// How long a connection to the target may take to stand.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Where one listening socket's connections go.
#[derive(Debug, Clone)]
pub struct Towards {
    /// The target's addresses, the first of which that answers is taken.
    pub addresses: Vec<SocketAddr>,
    /// The network that it is reached over, TLS included.
    pub net: Net,
}

/// A running proxy. Dropping it ends all of its connections.
#[derive(Debug)]
pub struct Proxy {
    addresses: Vec<SocketAddr>,
    meddler: Shared,
    trouble: Arc<Mutex<Option<String>>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a proxy did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// The fault that it committed, if it did.
    pub committed: Option<Committed>,
    /// Why a connection to the target failed, the first of those that did.
    pub trouble: Option<String>,
}

impl Proxy {
    /// Starts a proxy that listens on a free port of the loopback device for each of `towards`.
    ///
    /// # Errors
    /// The system's error.
    pub fn start(towards: Vec<Towards>, meddler: Meddler) -> io::Result<Self> {
        let mut sockets = Vec::with_capacity(towards.len());
        let mut addresses = Vec::with_capacity(towards.len());
        for towards in towards {
            let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            addresses.push(socket.local_addr()?);
            sockets.push((socket, towards));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let meddler = Arc::new(Mutex::new(meddler));
        let trouble = Arc::new(Mutex::new(None));
        let (end, ended) = oneshot::channel::<()>();
        let shared = (Arc::clone(&meddler), Arc::clone(&trouble));
        let serve = move || {
            let tasks = LocalSet::new();
            tasks.block_on(&runtime, async move {
                for (socket, towards) in sockets {
                    spawn_local(accept(socket, towards, shared.0.clone(), shared.1.clone()));
                }
                let _ = ended.await; // also if the proxy was dropped
            });
        };
        let thread = thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(serve)?;
        Ok(Self {
            addresses,
            meddler,
            trouble,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// The addresses that it listens on, in the order of where they lead.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Ends all connections, and says what was done.
    #[must_use]
    pub fn stop(mut self) -> Served {
        self.end();
        let committed = lock(&self.meddler).committed().cloned();
        let trouble = self.trouble.lock();
        let trouble = trouble.unwrap_or_else(PoisonError::into_inner).take();
        Served { committed, trouble }
    }

    fn end(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic was printed
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
    }
}

/// Takes connections, one after another: a target that takes them in the order in which they are
/// made is to see them in that order.
async fn accept(
    socket: std::net::TcpListener,
    towards: Towards,
    meddler: Shared,
    trouble: Arc<Mutex<Option<String>>>,
) {
    let note = |error: String| {
        let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.get_or_insert(error);
    };
    let mut listener: Listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener.into(),
        Err(error) => return note(error.to_string()),
    };
    let towards = Rc::new(towards);
    loop {
        let (client, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                note(error.to_string());
                tokio::time::sleep(Duration::from_millis(10)).await; // out of descriptors
                continue;
            }
        };
        let connected = timeout(CONNECT_WITHIN, connect(&towards)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let target = match connected.and_then(|target| Ok((target.local_addr()?, target))) {
            Ok(target) => target,
            Err(error) => {
                note(error.to_string());
                let mut client = client;
                client.reset_when_closed();
                continue;
            }
        };
        let (own, target) = target;
        let id = lock(&meddler).opened(peer, own);
        spawn_local(carry(client, target, id, Arc::clone(&meddler)));
    }
}

async fn connect(towards: &Towards) -> io::Result<Stream> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in &towards.addresses {
        match towards.net.connect(*address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
