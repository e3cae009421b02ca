//! The handshake of either side, bounded in time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::records::Side;
use super::stream::TlsStream;
use super::words;

/// Bytes of one read in a handshake.
const READ_BYTES: usize = 4 << 10;

/// Shakes hands as the client of a server that goes by `name`.
pub(super) async fn as_client(
    socket: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    within: Duration,
    greeting: &[u8],
) -> io::Result<TlsStream> {
    let side = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut stream = TlsStream::new(socket, Side::Client(side));
    stream.said_before(greeting);
    complete(stream, within).await
}

/// The longest line that a server says before the handshake.
const MAX_GREETING_BYTES: usize = 64 << 10;

/// Reads the line that a server says before the handshake, and no byte more.
pub(super) async fn greeting(socket: &TcpStream, within: Duration) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let reading = async {
        while !line.ends_with(b"\n") && line.len() < MAX_GREETING_BYTES {
            let mut piece = [0; READ_BYTES];
            let count = socket.peek(&mut piece).await?;
            if count == 0 {
                let words = "it closed the connection before it said anything";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words));
            }
            let end = piece[..count].iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(count, |end| end + 1);
            // They are there: they were seen.
            let read = socket.try_read(&mut piece[..taken])?;
            line.extend_from_slice(&piece[..read]);
        }
        Ok(())
    };
    match timeout(within, reading).await {
        Ok(read) => read.map(|()| line),
        Err(_) => {
            let words = format!(
                "it said nothing within {within:?}, where a line in plain text is to come before \
                 the TLS handshake"
            );
            Err(io::Error::new(io::ErrorKind::TimedOut, words))
        }
    }
}

/// Shakes hands as the server.
pub(super) async fn as_server(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    within: Duration,
) -> io::Result<TlsStream> {
    let side = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
    complete(TlsStream::new(socket, Side::Server(side)), within).await
}

async fn complete(mut stream: TlsStream, within: Duration) -> io::Result<TlsStream> {
    let mut heard_any = false;
    match timeout(within, shake(&mut stream, &mut heard_any)).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let words = words::too_slow(heard_any, within);
            Err(io::Error::new(io::ErrorKind::TimedOut, words))
        }
    }
}

async fn shake(stream: &mut TlsStream, heard_any: &mut bool) -> io::Result<()> {
    let mut incoming = Vec::new();
    loop {
        if let Err(error) = stream.go_through(&mut incoming).await? {
            let words = match stream.is_client() {
                true => words::for_client(&error, &incoming),
                false => words::for_server(&error, &incoming),
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        if !stream.is_handshaking() {
            stream.keep(&incoming);
            return Ok(());
        }
        let mut piece = [0; READ_BYTES];
        let count = loop {
            stream.socket().readable().await?;
            match stream.socket().try_read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => break read?,
            }
        };
        if count == 0 {
            let words = words::ended(*heard_any);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words));
        }
        *heard_any = true;
        incoming.extend_from_slice(&piece[..count]);
    }
}
