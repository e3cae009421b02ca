//! `chatbench chat`: the original's interactive client, for people. Typed lines are published, and
//! the others' messages are shown with their senders.

mod classic;
mod command;
mod conversation;
mod editor;
mod screen;
mod typed;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use classic::Classic;
use command::{Command, HELP};
use conversation::{Broken, Conversation, Server};
use editor::Editor;
use screen::{Screen, Shown};
use typed::Typed;

use super::tls::TlsArgs;

use crate::net::Stream;
use crate::scenario::addresses::Url;
use crate::signals::Signals;
use crate::target;
use crate::terminal;
use crate::wire::Dialect;
use crate::wire::line::LineBuffer;
use crate::wire::protocol::Protocol;

/// Exit code where a line of a pipe was not taken.
const EXIT_REFUSED: u8 = 1;

/// Exit code where nothing can be said to the server, or no more.
const EXIT_NO_CONVERSATION: u8 = 3;

/// Exit code where a second Ctrl-C cut the leave short.
const EXIT_INTERRUPTED: u8 = 130;

/// How long connecting, the welcome, the last answers and the goodbye may each take.
const PATIENCE: Duration = Duration::from_secs(5);

/// No more lines are read from stdin while so many are unanswered: a piped file waits for the
/// server, not in memory.
const MAX_UNANSWERED: usize = 1024;

/// The longest line taken from a server. It states its own limit in its first line, which must be
/// read without knowing it; a single client can afford to be generous.
const MAX_SERVER_LINE_BYTES: usize = 16 << 20;

const READ_BYTES: usize = 64 * 1024;

/// Arguments of `chatbench chat`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Lines typed are published; /q, /quit, Ctrl-D or Ctrl-C leave, /help lists all commands. A line that \
begins with a slash is sent by putting another before it: //text. With a pipe on stdin every line is \
published, and the client leaves when all are acked. What others say goes to stdout, all else to \
stderr.

A classic server is one like the original: what it sends is shown as it comes, acks too.

Exit codes:
    0  left politely
    1  left politely, but lines from a pipe were refused, each as it says on stderr
    2  bad usage
    3  no connection, not this protocol, or the server ended the conversation
  130  a second Ctrl-C: left without waiting for the goodbye")]
pub struct Args {
    /// The server: HOST, HOST:PORT or ndjson://HOST:PORT; ndjson+tls://HOST:PORT with TLS;
    /// classic://HOST:PORT for one like the original. The port is 1253 where none is given
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:1253")]
    address: Url,

    #[command(flatten)]
    tls: TlsArgs,
}

/// Why a conversation did not end as the person wished.
#[derive(Debug, Error)]
enum ChatError {
    #[error("cannot connect to {address}: {source}")]
    Connect { address: Url, source: io::Error },
    #[error(
        "chat does not speak WebSocket: where {0} is `chatbench serve`, open {page} in a browser",
        page = page(.0)
    )]
    WebSocket(Url),
    #[error("{0} is plain TCP: with TLS it would be {over_tls}", over_tls = .0.over_tls())]
    NotTls(Url),
    #[error(
        "the server said nothing for {} s: it may not speak this protocol, or wait for TLS: \
         ndjson+tls://HOST:PORT",
        PATIENCE.as_secs()
    )]
    NoWelcome,
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("the server sent a line of more than {MAX_SERVER_LINE_BYTES} bytes")]
    LineTooLong,
    #[error("the server says goodbye: it is shutting down{}", unanswered(*.0))]
    Goodbye(usize),
    #[error("the server closed the connection without a goodbye: it was killed, or hung up")]
    Closed,
    #[error("the connection was cut off: the server was killed, or hung up on this client")]
    Reset,
    #[error("the connection was lost: {0}")]
    Lost(io::Error),
    #[error("the server did not say goodbye within {} s", PATIENCE.as_secs())]
    NoGoodbye,
    #[error("the server left {0} of the lines sent unanswered")]
    Unanswered(usize),
    #[error("lines that were not taken: {0}, each as said above")]
    Refused(usize),
    #[error("interrupted before the server said goodbye")]
    Interrupted,
}

/// The page to chat in of a server over WebSocket.
fn page(url: &Url) -> String {
    let scheme = if url.tls { "https" } else { "http" };
    format!("{scheme}://{}", url.list)
}

/// Carries out the verb.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread needs an epoll descriptor and no more");
    let result = runtime.block_on(async {
        if args.address.protocol == Protocol::WebSocket {
            return Err(ChatError::WebSocket(args.address));
        }
        let dialect = args.address.protocol.dialect();
        let stream = connect(args.address, &args.tls).await?;
        let local = stream.local_addr().map_err(lost)?;
        let (receiving, sending) = tokio::io::split(stream);
        let mut greetings = Vec::new();
        let mut side = match dialect {
            Dialect::Ndjson => Side::ndjson(),
            Dialect::Classic => {
                let (classic, greeting) = Classic::begin(local);
                greetings.push(greeting);
                Side::Classic(classic)
            }
        };
        let by_hand = io::stdin().is_terminal();
        let (editor, typed) = match Editor::begin() {
            Some((editor, typed)) => (Some(editor), typed),
            None => (None, typed::lines_of_stdin()),
        };
        let mut screen = Screen::of_this_process(editor);
        let _ = screen.show(&greetings); // stderr alone
        let mut not_taken = 0;
        converse(&mut side, receiving, sending, typed, |shown| {
            let refused = shown.iter().filter(|s| matches!(s, Shown::Refused(_)));
            not_taken += refused.count();
            screen.show(shown)
        })
        .await?;
        match not_taken {
            1.. if !by_hand => Err(ChatError::Refused(not_taken)),
            _ => Ok(()),
        }
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::tell(&error);
            ExitCode::from(match error {
                ChatError::Interrupted => EXIT_INTERRUPTED,
                ChatError::Refused(_) => EXIT_REFUSED,
                _ => EXIT_NO_CONVERSATION,
            })
        }
    }
}

async fn connect(address: Url, tls: &TlsArgs) -> Result<Stream, ChatError> {
    if tls.are_given() && !address.tls {
        return Err(ChatError::NotTls(address));
    }
    let connecting = async {
        let within = PATIENCE.mul_f64(0.9); // so that it says itself what it waited for
        let host = target::resolve_as_one(&address, &tls.alone(), within).await;
        host.map_err(io::Error::other)?.connect().await
    };
    let connected = timeout(PATIENCE, connecting)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
    connected.map_err(|source| ChatError::Connect { address, source })
}

/// This side of the conversation, by the server's protocol.
enum Side {
    Ndjson {
        conversation: Conversation,
        lines: LineBuffer,
    },
    Classic(Classic),
}

impl Side {
    fn ndjson() -> Self {
        Self::Ndjson {
            conversation: Conversation::new(),
            lines: LineBuffer::new(MAX_SERVER_LINE_BYTES),
        }
    }

    fn server(&self) -> Server {
        match self {
            Self::Ndjson { conversation, .. } => conversation.server(),
            Self::Classic(classic) => classic.server(),
        }
    }

    fn unanswered(&self) -> usize {
        match self {
            Self::Ndjson { conversation, .. } => conversation.unanswered(),
            Self::Classic(classic) => classic.unanswered(),
        }
    }

    /// Appends the publish of a line to `out`, unless the server would not take it: then says so.
    fn say(&mut self, text: &str, out: &mut Vec<u8>) -> Option<Shown> {
        match self {
            Self::Ndjson { conversation, .. } => conversation.say(text, out),
            Self::Classic(classic) => {
                classic.say(text, out);
                None
            }
        }
    }

    /// Takes the bytes of one read.
    fn hear(&mut self, bytes: &[u8], shown: &mut Vec<Shown>) -> Result<(), ChatError> {
        match self {
            Self::Ndjson {
                conversation,
                lines,
            } => {
                let mut lines = lines.feed(bytes);
                while let Some(line) = lines.next() {
                    let line = line.map_err(|_| ChatError::LineTooLong)?;
                    conversation.hear(line, shown)?;
                }
            }
            Self::Classic(classic) => classic.hear(bytes, shown),
        }
        Ok(())
    }

    /// Why a conversation is over that the server ended.
    fn ended(&self, unanswered: usize) -> ChatError {
        match self {
            Self::Ndjson { .. } => ChatError::Goodbye(unanswered),
            Self::Classic(_) => ChatError::Closed, // an end is all that it can say
        }
    }

    /// Takes the end of what the server sends: its goodbye, where there is no other.
    fn hear_end(&mut self, shown: &mut Vec<Shown>) -> Result<(), ChatError> {
        match self {
            Self::Ndjson { .. } => Err(ChatError::Closed),
            Self::Classic(classic) => {
                classic.hear_end(shown);
                Ok(())
            }
        }
    }
}

/// How far this side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is said before the welcome (J1).
    Greeting,
    Talking,
    /// No more is said; the answers to what was said are still to come.
    Settling,
    /// The sending side is closed (J2); all that is owed and the bye are still to come.
    Leaving,
}

/// Talks until one side ends it. `show` fails once stdout is closed.
async fn converse(
    side: &mut Side,
    mut receiving: impl AsyncRead + Unpin,
    mut sending: impl AsyncWrite + Unpin,
    mut typed: mpsc::Receiver<Typed>,
    mut show: impl FnMut(&[Shown]) -> io::Result<()>,
) -> Result<(), ChatError> {
    let mut signals = Signals::catch().map_err(ChatError::Lost)?;
    let mut scratch = vec![0; READ_BYTES];
    let mut out = Vec::new();
    let mut shown = Vec::new();
    let mut stage = match side.server() {
        Server::Silent => Stage::Greeting,
        _ => Stage::Talking,
    };
    let mut deadline = Instant::now() + PATIENCE;

    loop {
        let mut settled = false;
        let listens =
            stage == Stage::Talking && out.len() < READ_BYTES && side.unanswered() < MAX_UNANSWERED;
        let mut leave = false;
        let mut heard = Ok(());
        tokio::select! {
            read = receiving.read(&mut scratch) => heard = match read.map_err(lost)? {
                0 => side.hear_end(&mut shown),
                bytes => side.hear(&scratch[..bytes], &mut shown),
            },
            written = sending.write(&out), if !out.is_empty() => {
                out.drain(..written.map_err(lost)?);
            }
            line = typed.recv(), if listens => match line {
                Some(Typed::Line(text)) => match Command::of(&text) {
                    Command::Nothing => {}
                    Command::Leave => leave = true,
                    Command::Help => shown.extend(HELP.map(|line| Shown::Note(line.to_owned()))),
                    Command::Say(text) => shown.extend(side.say(&text, &mut out)),
                    Command::Unknown(word) => shown.push(Shown::Refused(format!(
                        "not sent: {word} is no command, see /help; to send it as it is, write /{word}"
                    ))),
                },
                Some(Typed::TooLong) => shown.push(refused("too long for any server")),
                Some(Typed::NotText) => shown.push(refused("no UTF-8 text")),
                Some(Typed::Cut) => shown.push(refused(
                    "4095 bytes, all that this terminal passes on of a line: send it from a pipe",
                )),
                None => leave = true,
            },
            _ = signals.next() => match stage {
                Stage::Talking => leave = true,
                _ => return Err(ChatError::Interrupted),
            },
            () = sleep_until(deadline), if stage != Stage::Talking => match stage {
                Stage::Greeting => return Err(ChatError::NoWelcome),
                Stage::Settling => settled = true,
                _ => return Err(ChatError::NoGoodbye),
            },
        }
        leave |= show(&shown).is_err();
        shown.clear();
        heard?;

        if side.server() == Server::Gone {
            return match (stage, side.unanswered()) {
                (Stage::Greeting | Stage::Talking, unanswered) => Err(side.ended(unanswered)),
                (_, 0) => Ok(()),
                (_, unanswered) => Err(ChatError::Unanswered(unanswered)),
            };
        }
        if stage == Stage::Greeting && side.server() == Server::Present {
            stage = Stage::Talking;
        }
        if stage == Stage::Talking && leave {
            stage = Stage::Settling;
            deadline = Instant::now() + PATIENCE;
        }
        settled |= side.unanswered() == 0;
        if stage == Stage::Settling && settled {
            sending.shutdown().await.map_err(lost)?;
            stage = Stage::Leaving;
            deadline = Instant::now() + PATIENCE;
        }
    }
}

fn refused(why: &str) -> Shown {
    Shown::Refused(format!("not sent: that is {why}"))
}

fn unanswered(lines: usize) -> String {
    match lines {
        0 => String::new(),
        1 => "; it left the last line sent unanswered".to_owned(),
        n => format!("; it left the last {n} lines sent unanswered"),
    }
}

fn lost(error: io::Error) -> ChatError {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ChatError::Reset,
        _ => ChatError::Lost(error),
    }
}

#[cfg(test)]
mod tests;
