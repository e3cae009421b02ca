//! The endpoint for Prometheus: a thread that answers `GET /metrics` and nothing else.
//!
//! Input is not trusted to be HTTP, to be short, or to come at all. One connection is one request
//! and one answer; the head of a request has a limit in bytes and in time. The number of open
//! connections is limited, and one more makes the oldest be dropped: a scrape takes milliseconds,
//! so a connection that has been open for long is none.
//!
//! Nor is the client trusted to be a scraper. A web page can make its browser ask for a name of the
//! page's own domain that resolves to this machine, and could then read the answer (DNS rebinding).
//! So the `Host` of a request must be an address, `localhost`, or a name that the user gave.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::families::CONTENT_TYPE;

/// The path that is answered.
pub const PATH: &str = "/metrics";

/// The longest head of a request. Prometheus's own is some 300 bytes.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Headers of a request, at most.
const MAX_HEADERS: usize = 64;

/// Time for a request to come, and for its answer to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Open connections, at most.
const MAX_CONNECTIONS: usize = 64;

/// The pause after a failed accept: out of descriptors, which passes.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of input that are discarded after a request, at most, so that closing does not send a
/// reset, which could discard the answer.
const LINGER_BYTES: u64 = 256 * 1024;

/// How long to wait for such input: time for a client to close once it is answered.
const LINGER: Duration = Duration::from_secs(1);

/// Why there is no endpoint.
#[derive(Debug, Error)]
pub enum Error {
    /// The text names no address.
    #[error(
        "--prometheus {given}: no address: give HOST:PORT, or a port of 127.0.0.1; 0 is any free one"
    )]
    NoAddress {
        /// The value as given.
        given: String,
    },
    /// The host is unknown.
    #[error("--prometheus {given}: {source}")]
    Resolve {
        /// The value as given.
        given: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// Other machines could ask too.
    #[error(
        "--prometheus {address} can be reached from other machines, and whoever asks is \
         answered: add --allow-remote if that is meant, or name a port of 127.0.0.1"
    )]
    Remote {
        /// The address.
        address: SocketAddr,
    },
    /// The system refused.
    #[error("--prometheus {address}: {source}; name another port, or 0 for any free one")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

/// A bound address at which no thread answers yet.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
    names: Names,
}

impl Endpoint {
    /// Binds `given`: `HOST:PORT`, or `PORT` of 127.0.0.1. Requests may name it by address, by
    /// `localhost`, by the host of `given`, or by one of `names`.
    ///
    /// # Errors
    ///
    /// [`enum@Error`], which names what was given.
    pub fn bind(given: &str, names: &[String], allow_remote: bool) -> Result<Self, Error> {
        let address = resolve(given)?;
        if !allow_remote && !address.ip().to_canonical().is_loopback() {
            return Err(Error::Remote { address });
        }
        let bound = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let names = Names::new(given, names);
            Ok(Self {
                listener,
                address,
                names,
            })
        });
        bound.map_err(|source| Error::Bind { address, source })
    }

    /// The URL to ask at; if port 0 was asked for, with the port that was assigned.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Answers each request with a fresh `page`, on a thread of its own, until the process ends.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn serve(self, page: impl Fn() -> String + Send + Sync + 'static) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener)?
        };
        thread::Builder::new()
            .name("prometheus".to_owned())
            .spawn(move || runtime.block_on(accept(listener, self.names, Arc::new(page))))?;
        Ok(())
    }
}

/// The address that was given.
fn resolve(given: &str) -> Result<SocketAddr, Error> {
    let no_address = || Error::NoAddress {
        given: given.to_owned(),
    };
    if let Ok(port) = given.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let (host, port) = given.rsplit_once(':').ok_or_else(no_address)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(no_address());
    }
    let mut addresses = given.to_socket_addrs().map_err(|source| Error::Resolve {
        given: given.to_owned(),
        source,
    })?;
    addresses.next().ok_or_else(no_address)
}

/// The names that a request's `Host` may have, besides addresses.
#[derive(Debug, Clone)]
struct Names(Arc<[String]>);

impl Names {
    fn new(given: &str, names: &[String]) -> Self {
        let given = given.rsplit_once(':').map(|(host, _)| host.to_owned());
        let known = ["localhost".to_owned()].into_iter();
        Self(known.chain(given).chain(names.iter().cloned()).collect())
    }

    /// Whether a `Host` header names this endpoint. An address is safe: to a browser, its origin is
    /// the address itself, never a foreign page's domain.
    fn include(&self, host: &[u8]) -> bool {
        let Ok(host) = std::str::from_utf8(host) else {
            return false;
        };
        let host = host.trim();
        let after_address = host.rfind(']').map_or(0, |bracket| bracket + 1);
        let name = match host[after_address..].find(':') {
            Some(colon) => &host[..after_address + colon],
            None => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let name = name.strip_suffix('.').unwrap_or(name);
        address.parse::<IpAddr>().is_ok()
            || self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Accepts connections for ever.
async fn accept<P>(listener: tokio::net::TcpListener, names: Names, page: Arc<P>)
where
    P: Fn() -> String + Send + Sync + 'static,
{
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() == MAX_CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let (names, page) = (names.clone(), page.clone());
                let answering = tokio::spawn(async move { answer(stream, &names, &*page).await });
                open.push_back(answering.abort_handle());
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// The page; without its body for HEAD.
    Page { body: bool },
    /// A status, and an explanation.
    Refusal(&'static str, &'static str),
}

const BAD: Reply = Reply::Refusal("400 Bad Request", "this is no HTTP");
const NOT_HERE: Reply = Reply::Refusal(
    "421 Misdirected Request",
    "the Host header names another server: ask by address, or allow the name with \
     --prometheus-name",
);
const NOT_FOUND: Reply = Reply::Refusal("404 Not Found", "there is only /metrics here");
const BAD_METHOD: Reply = Reply::Refusal("405 Method Not Allowed", "there is only GET and HEAD");
const TIMEOUT: Reply = Reply::Refusal("408 Request Timeout", "the request took too long");
const TOO_LARGE: Reply = Reply::Refusal(
    "431 Request Header Fields Too Large",
    "the head of the request is too long",
);

/// Takes one request, answers it, and closes so that the answer arrives.
async fn answer<S>(mut stream: S, names: &Names, page: &(impl Fn() -> String + Sync))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let reply = match timeout(PATIENCE, request(&mut stream, names)).await {
        Ok(Ok(Some(reply))) => reply,
        Ok(Ok(None) | Err(_)) => return, // it has gone
        Err(_) => TIMEOUT,
    };
    let response = render(reply, page);
    let (read, mut write) = tokio::io::split(stream);
    let sent = async {
        write.write_all(response.as_bytes()).await?;
        write.shutdown().await
    };
    // While the answer is sent: a client that is refused early may still be writing, and read only
    // after that.
    let mut rest = read.take(LINGER_BYTES);
    let mut nowhere = tokio::io::sink();
    let discarded = timeout(LINGER, tokio::io::copy(&mut rest, &mut nowhere));
    let _ = timeout(PATIENCE, async { tokio::join!(sent, discarded) }).await;
}

/// Reads a request up to the end of its head; `None` if it ends before.
async fn request(
    stream: &mut (impl AsyncRead + Unpin),
    names: &Names,
) -> io::Result<Option<Reply>> {
    let mut head = [0; MAX_HEAD_BYTES];
    let mut filled = 0;
    loop {
        let n = stream.read(&mut head[filled..]).await?;
        if n == 0 {
            return Ok(None);
        }
        filled += n;
        if let Some(reply) = reply_to(&head[..filled], names) {
            return Ok(Some(reply));
        }
        if filled == head.len() {
            return Ok(Some(TOO_LARGE));
        }
    }
}

/// The answer to a request whose first bytes are `head`; `None` while the head is incomplete.
fn reply_to(head: &[u8], names: &Names) -> Option<Reply> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Some(TOO_LARGE),
        Err(_) => return Some(BAD),
    }
    // HTTP/1.0 clients may leave it out; a browser never does.
    let is_host = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("host");
    let mut hosts = request.headers.iter().filter(is_host);
    if !hosts.all(|host| names.include(host.value)) {
        return Some(NOT_HERE);
    }
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    Some(match request.method {
        _ if path != PATH => NOT_FOUND,
        Some("GET") => Reply::Page { body: true },
        Some("HEAD") => Reply::Page { body: false },
        _ => BAD_METHOD,
    })
}

fn render(reply: Reply, page: impl Fn() -> String) -> String {
    let (status, kind, text) = match reply {
        Reply::Page { .. } => ("200 OK", CONTENT_TYPE, page()),
        Reply::Refusal(status, what) => (status, "text/plain; charset=utf-8", format!("{what}\n")),
    };
    let allow = if reply == BAD_METHOD {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let mut response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}\
         Connection: close\r\n\r\n",
        text.len()
    );
    if reply != (Reply::Page { body: false }) {
        response.push_str(&text);
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// The bytes that a client reads until the end, and how long that took, in paused time.
    async fn asked(send: impl AsyncFnOnce(&mut DuplexStream)) -> (String, Duration) {
        let (mut client, server) = duplex(64);
        let page = || "figures 1\n".repeat(100);
        let names = Names::new("0", &["metrics.example".to_owned()]);
        let began = tokio::time::Instant::now();
        let asking = async {
            send(&mut client).await;
            let mut text = String::new();
            client.read_to_string(&mut text).await.unwrap();
            text
        };
        let (text, ()) = tokio::join!(asking, answer(server, &names, &page));
        (text, began.elapsed())
    }

    async fn asked_at_once(request: &str) -> String {
        let (text, took) = asked(async |client| {
            // A request that is refused early may be closed before all of it is taken.
            let _ = client.write_all(request.as_bytes()).await;
        })
        .await;
        assert!(took < PATIENCE, "{took:?}: {text}");
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_scrape_gets_the_page_whole() {
        let text = asked_at_once("GET /metrics HTTP/1.1\r\nHost: localhost:9464\r\n\r\n").await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Type: text/plain; version=0.0.4"));
        assert!(head.contains("Content-Length: 1000"), "{head}");
        assert_eq!(body, "figures 1\n".repeat(100));
        let with_query = asked_at_once("GET /metrics?x=1 HTTP/1.0\r\n\r\n").await;
        assert!(with_query.starts_with("HTTP/1.1 200"), "{with_query}");
    }

    #[tokio::test(start_paused = true)]
    async fn head_gets_no_body() {
        let text = asked_at_once("HEAD /metrics HTTP/1.1\r\n\r\n").await;
        assert!(text.contains("Content-Length: 1000") && text.ends_with("\r\n\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_else_comes_is_refused_with_its_reason() {
        let long = format!("GET /metrics HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(9_000));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("GET /metricsx HTTP/1.1\r\n\r\n", "404"),
            (
                "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                "405",
            ),
            ("\x16\x03\x01 TLS", "400"),
            ("{\"type\":\"publish\"}\n", "400"),
            (long.as_str(), "431"),
            (many.as_str(), "431"),
        ] {
            let text = asked_at_once(request).await;
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status} ")),
                "{request}: {text}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_finish_asking_is_told_so_and_closed() {
        let (text, took) = asked(async |client| {
            client.write_all(b"GET /metrics HT").await.unwrap();
        })
        .await;
        assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
        assert!(took >= PATIENCE && took < 2 * PATIENCE, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_the_answer_is_let_go() {
        let names = Names::new("0", &[]);
        let (mut client, server) = duplex(64);
        client
            .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        let page = || "x".repeat(100_000);
        timeout(2 * PATIENCE, answer(server, &names, &page))
            .await
            .expect("it ends");
        drop(client);
    }

    #[test]
    fn a_request_is_for_an_address_localhost_or_a_name_that_was_given() {
        let names = Names::new("box.lan:9464", &["Metrics.example".to_owned()]);
        for (host, allowed) in [
            ("127.0.0.1", true),
            ("127.0.0.1:9464", true),
            ("[::1]:9464", true),
            ("[::1]", true),
            ("192.0.2.7:9464", true),
            ("localhost", true),
            ("LocalHost:9464", true),
            ("localhost.:9464", true),
            ("box.lan:9464", true),
            ("metrics.example", true),
            ("evil.example:9464", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:9464", false),
            ("[::1].evil.example", false),
            ("", false),
        ] {
            assert_eq!(names.include(host.as_bytes()), allowed, "{host}");
            let head = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let reply = reply_to(head.as_bytes(), &names).unwrap();
            assert_eq!(reply != NOT_HERE, allowed, "{host}: {reply:?}");
        }
        assert!(!names.include(b"\xff"));
        // Of two headers, the second must not be believed.
        let two = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n\r\n";
        assert_eq!(reply_to(two, &names), Some(NOT_HERE));
        let old = b"GET /metrics HTTP/1.0\r\n\r\n";
        assert_eq!(reply_to(old, &names), Some(Reply::Page { body: true }));
    }

    #[test]
    fn a_scrape_does_not_wait_for_those_who_do_not_finish_asking() {
        use std::io::{ErrorKind, Read, Write};
        use std::net::TcpStream;

        let endpoint = Endpoint::bind("0", &[], false).unwrap();
        let address = endpoint.address;
        endpoint.serve(|| "figures 1\n".to_owned()).unwrap();
        let mut slow: Vec<TcpStream> = (0..4 * MAX_CONNECTIONS)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET /metrics HT").unwrap();
                stream
            })
            .collect();
        let mut scrape = TcpStream::connect(address).unwrap();
        scrape.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        scrape.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("figures 1\n"), "{text}");
        // The newest are still open, so it was not their time that ran out; the first was dropped.
        let (first, last) = (&mut slow.remove(0), &mut slow.pop().unwrap());
        last.set_nonblocking(true).unwrap();
        let waits = last.read(&mut [0; 1]).unwrap_err();
        assert_eq!(waits.kind(), ErrorKind::WouldBlock);
        let mut told = Vec::new();
        let _ = first.read_to_end(&mut told); // an end or a reset
        assert_eq!(told, b"");
    }

    #[test]
    fn addresses_are_ports_of_loopback_or_hosts_with_one() {
        for (given, address) in [
            ("9464", "127.0.0.1:9464"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(resolve(given).unwrap().to_string(), address);
        }
        for given in ["", "x", ":5", "127.0.0.1", "h:65536", "127.0.0.1:", "70000"] {
            let error = resolve(given).unwrap_err();
            assert!(matches!(error, Error::NoAddress { .. }), "{given}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_bound_says_why() {
        let first = Endpoint::bind("0", &[], false).unwrap();
        let port = first.address.port().to_string();
        assert_eq!(first.url(), format!("http://127.0.0.1:{port}/metrics"));
        let taken = Endpoint::bind(&port, &[], false).unwrap_err().to_string();
        assert!(
            taken.contains(&port) && taken.contains("name another port"),
            "{taken}"
        );
        let remote = Endpoint::bind("0.0.0.0:0", &[], false)
            .unwrap_err()
            .to_string();
        assert!(remote.contains("--allow-remote"), "{remote}");
        Endpoint::bind("0.0.0.0:0", &[], true).unwrap();
    }
}
