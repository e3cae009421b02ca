//! One client of `try` on its connection: what it waits for, and how its messages are shown.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep_until;

use crate::cli::print;
use crate::net::Stream;
use crate::report::Style;
use crate::terminal::visible;
use crate::wire::application::session::{Watched, What};
use crate::wire::application::spec::{Ack, Spec};
use crate::wire::protocol::application::Application;
use crate::wire::seen::{Conn, Seen};

/// One client on its connection.
pub(super) struct Side<'p> {
    pub(super) stream: Stream,
    pub(super) conn: Application,
    pub(super) out: Vec<u8>,
    /// How its lines begin.
    pub(super) who: &'static str,
    /// Whether all of its messages are shown.
    pub(super) is_shown: bool,
    pub(super) began: Instant,
    pub(super) asked: Instant,
    pub(super) style: Style,
    pub(super) spec: &'p Spec,
}

/// What a side waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Ready,
    Login,
    Join,
    AckAndEcho,
    Delivery,
    Leave,
    End,
}

impl Side<'_> {
    /// Writes what is to be sent, and shows what was.
    pub(super) async fn flush(&mut self) -> Result<(), String> {
        self.show();
        let sent = self.stream.write_all(&self.out).await;
        self.out.clear();
        sent.map_err(|error| format!("{}cannot send: {error}", self.who))
    }

    /// Reads until what is awaited has come.
    pub(super) async fn wait(&mut self, awaited: Awaited, within: Duration) -> Result<(), String> {
        let until = tokio::time::Instant::now() + within;
        let (mut acked, mut came) = (false, false);
        let mut buffer = vec![0; 64 << 10];
        loop {
            self.conn
                .timer(self.began.elapsed().as_nanos() as u64, &mut self.out);
            self.flush().await?;
            if let Some(trouble) = self.conn.trouble().filter(|_| awaited != Awaited::End) {
                return Err(format!("{}{trouble}", self.the_target()));
            }
            let session = self.conn.session();
            let done = match awaited {
                Awaited::Ready => self.conn.is_ready(),
                Awaited::Login | Awaited::Join | Awaited::Leave => !session.is_waiting(),
                Awaited::AckAndEcho => match self.spec.ack {
                    Ack::None => true,
                    Ack::Echo => came,
                    _ => acked,
                },
                Awaited::Delivery => came,
                Awaited::End => self.conn.is_over(),
            };
            if done {
                return Ok(());
            }
            let read = tokio::select! {
                read = self.stream.read(&mut buffer) => read,
                () = sleep_until(until) => return self.nothing_came(awaited, within),
            };
            let n = read.map_err(|error| format!("{}the connection is lost: {error}", self.who))?;
            if n == 0 {
                while self.conn.finish().is_some() {}
                self.show();
                let trouble = self.conn.trouble();
                return match (awaited, trouble) {
                    (Awaited::End, _) => Ok(()),
                    (_, Some(trouble)) => Err(format!("{}{trouble}", self.the_target())),
                    (_, None) => Err(format!(
                        "{}the target closed the connection while this was awaited: {}",
                        self.who,
                        self.words(awaited)
                    )),
                };
            }
            let mut input = &buffer[..n];
            while let Some((_, seen)) = self.conn.next(&mut input, &mut self.out) {
                match seen {
                    Seen::Ack { .. } => acked = true,
                    Seen::Relay(_) => came = true,
                    Seen::Error(complaint) if complaint.code == "refused" => {
                        let detail = complaint.detail.into_owned();
                        self.show();
                        return Err(format!("{}the target refused: {detail}", self.who));
                    }
                    Seen::Malformed(wrong) => {
                        let what = wrong.what.into_owned();
                        return Err(format!("{}{what}", self.who));
                    }
                    _ => {}
                }
            }
        }
    }

    fn the_target(&self) -> String {
        match self.who {
            "" => "the target: ".to_owned(),
            who => format!("the target, to {who}: "),
        }
    }

    /// What is awaited, in words.
    fn words(&self, awaited: Awaited) -> String {
        match awaited {
            Awaited::Ready => "the answer to the WebSocket's handshake".to_owned(),
            Awaited::Login | Awaited::Join | Awaited::Leave => {
                let steps = match awaited {
                    Awaited::Login => ("login", &self.spec.login),
                    Awaited::Join => ("join", &self.spec.join),
                    _ => ("leave", &self.spec.leave),
                };
                let expects = steps.1.iter().filter_map(|step| step.expect.as_ref());
                let all: Vec<&str> = expects.map(|expect| expect.written()).collect();
                format!("{}, which waits for {}", steps.0, all.join(", then "))
            }
            Awaited::AckAndEcho => match &self.spec.ack {
                Ack::Match(all) => {
                    let all: Vec<&str> = all.iter().map(|one| one.written()).collect();
                    format!("the ack, {}", all.join(" or "))
                }
                Ack::Echo => "the message, back to its sender (ack = \"echo\")".to_owned(),
                Ack::Next | Ack::None => "an answer (ack = \"next\")".to_owned(),
            },
            Awaited::Delivery => "the message of the first client".to_owned(),
            Awaited::End => "the end of the connection".to_owned(),
        }
    }

    fn nothing_came(&self, awaited: Awaited, within: Duration) -> Result<(), String> {
        let instead = match self.spec.tally.first_other() {
            Some(other) => format!("; nothing in [protocol] knows this, which came: {other}"),
            None => String::new(),
        };
        let within = humantime::format_duration(within);
        let what = self.words(awaited);
        Err(format!(
            "{}within {within} this did not come: {what}{instead}",
            self.who
        ))
    }

    /// Shows what was sent and came since the last time.
    fn show(&mut self) {
        for watched in self.conn.session().watched() {
            match watched {
                Watched::Sent { shown, rule } => {
                    self.asked = Instant::now();
                    if self.is_shown {
                        self.line(">", &shown, &rule.to_string());
                    }
                }
                Watched::Came { shown, taken } => {
                    let is_delivery = matches!(taken.what, What::Delivery(_));
                    if !self.is_shown && !is_delivery {
                        continue;
                    }
                    let took = milliseconds(self.asked.elapsed());
                    let mut why = match taken.rule.key {
                        "" => taken.what.to_string(),
                        _ => format!("{}, by {}", taken.what, taken.rule),
                    };
                    if taken.what != What::Other {
                        let _ = write!(why, ", after {}", took.trim());
                    }
                    self.line("<", &shown, &why);
                }
            }
        }
    }

    fn line(&self, arrow: &str, message: &str, why: &str) {
        let at = milliseconds(self.began.elapsed());
        let message = visible(message.trim_end_matches('\n'));
        let who = self.who;
        let mut out = String::new();
        let head = format!("{at}  {arrow} ");
        let indent = head.chars().count();
        self.style.paragraph(&mut out, &head, indent, &message);
        let _ = writeln!(out, "{:indent$}{who}{}", "", visible(why));
        let _ = print(&out);
    }

    pub(super) fn say(&self, what: &str) {
        if self.is_shown {
            let at = milliseconds(self.began.elapsed());
            let _ = print(&format!("{at}    {}\n", visible(what)));
        }
    }
}

pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:8.1} ms", time.as_secs_f64() * 1e3)
}
