//! A connection over WebSocket before it is a session: its handshake, bounded in bytes and in time.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::connection;
use crate::hub::{HANGING_UP, Hub};
use crate::session::Stream;
use chatbench_wire::websocket::{Asked, Handshake, Plain, Upgrade, answer};

/// How long a client may take for its request.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of one read of it.
const READ_BYTES: usize = 4096;

/// Connections, at most, whose handshake is under way. Any more are closed at once.
const MAX_HANDSHAKES: usize = 1024;

const TEXT: &str = "text/plain; charset=utf-8";

/// A page to chat in, for whoever opens the address in a browser.
const PAGE: &str = include_str!("page.html");

/// What the page may do: run what is in it, and talk to this server.
const PAGE_FIELDS: &str = "Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; \
     style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'\r\n\
     X-Content-Type-Options: nosniff\r\nCache-Control: no-cache\r\n";

/// Reads a request, and makes the connection a session if it asks for WebSocket.
pub(crate) async fn shake_hands<S>(hub: Rc<Hub<S>>, mut stream: S, client_ip: String)
where
    S: Stream + 'static,
{
    let Some(place) = hub.begin_handshake(MAX_HANDSHAKES) else {
        return;
    };
    let asked = timeout(REQUEST_WITHIN, read_request(&mut stream)).await;
    drop(place);
    let mut out = Vec::new();
    match asked {
        Ok(Some((Asked::Upgrade(upgrade), rest))) => {
            if !upgrade.is_same_origin() {
                refuse_page(&upgrade, &client_ip, &mut out);
            } else {
                upgrade.accept(None, &mut out);
                match hub.join_websocket(stream, &client_ip, out, &rest) {
                    Ok(id) => return drop(spawn_local(connection::serve(hub, id))),
                    Err(full) => {
                        stream = full;
                        out = Vec::new();
                        let clients = hub.config.max_clients;
                        let body = format!("there are {clients} clients already\n");
                        let status = "503 Service Unavailable";
                        answer(&mut out, status, "", TEXT, body.as_bytes());
                    }
                }
            }
        }
        Ok(Some((Asked::Plain(plain), _))) => answer_plain(&plain, &mut out),
        Ok(Some((Asked::Bad(bad), _))) => {
            info!(%client_ip, why = %bad, "no WebSocket handshake");
            bad.answer(&mut out);
        }
        Ok(None) => return, // it hung up
        Err(_) => {
            let seconds = REQUEST_WITHIN.as_secs();
            let body = format!("no whole request within {seconds} s\n");
            answer(&mut out, "408 Request Timeout", "", TEXT, body.as_bytes());
        }
    }
    // The socket of a new connection takes an answer at once; otherwise it is not worth a wait.
    let sent = timeout(HANGING_UP, stream.write_all(&out)).await;
    if matches!(sent, Ok(Ok(()))) {
        connection::linger(&hub, stream).await;
    }
}

/// The request, and what came after it; `None` where the client hung up.
async fn read_request<S: Stream>(stream: &mut S) -> Option<(Asked, Vec<u8>)> {
    let mut handshake = Handshake::default();
    let mut bytes = [0; READ_BYTES];
    loop {
        let read = poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
            Poll::Ready(read.map(|()| buffer.filled().len()))
        });
        let read = read.await.ok().filter(|bytes| *bytes > 0)?;
        let mut input = &bytes[..read];
        if let Some(asked) = handshake.next(&mut input) {
            return Some((asked, input.to_vec()));
        }
    }
}

/// Refuses a page of another host, which its reader's browser sends here: it must not be able to
/// talk to a server that only that machine reaches.
fn refuse_page(upgrade: &Upgrade, client_ip: &str, out: &mut Vec<u8>) {
    let origin = upgrade.origin.as_deref().unwrap_or("");
    info!(%client_ip, origin, "refused: a page of another host");
    let body = format!(
        "pages of {origin} may not talk to this server: open one at http://{}\n",
        upgrade.host
    );
    answer(out, "403 Forbidden", "", TEXT, body.as_bytes());
}

/// Answers a request that asks for no WebSocket: with the page, or with why not.
fn answer_plain(plain: &Plain, out: &mut Vec<u8>) {
    debug!(method = plain.method, path = plain.path, "a plain request");
    const HTML: &str = "text/html; charset=utf-8";
    let path = plain.path.split('?').next();
    let (status, fields, content_type, body) = match (&*plain.method, path) {
        ("GET" | "HEAD", Some("/")) => ("200 OK", PAGE_FIELDS, HTML, PAGE),
        ("GET" | "HEAD", _) => ("404 Not Found", "", TEXT, "nothing is here but /\n"),
        _ => (
            "405 Method Not Allowed",
            "Allow: GET, HEAD\r\n",
            TEXT,
            "only GET is answered here\n",
        ),
    };
    answer(out, status, fields, content_type, body.as_bytes());
    if plain.method == "HEAD" {
        out.truncate(out.len() - body.len());
    }
}
