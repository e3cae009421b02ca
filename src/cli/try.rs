//! `chatbench try`: one client's session, message by message: what goes over the wire, what each
//! message was taken for, by which key, and how long it took.
//!
//! It is played by the same code as in a run, so what is shown is what a run does.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep_until, timeout};

use super::overrides::Overrides;
use super::{EXIT_USAGE, complain, fail, print};
use crate::net::Stream;
use crate::report::Style;
use crate::scenario::plan::{Plan, TargetUrl};
use crate::target::{self, Secure};
use crate::terminal::visible;
use crate::wire::application::session::{Watched, What};
use crate::wire::application::spec::{Ack, Spec};
use crate::wire::payload::{self, Header, SenderId};
use crate::wire::protocol::application::Application;
use crate::wire::protocol::{Me, Opening, Spoken};
use crate::wire::rooms::RoomId;
use crate::wire::seen::{Conn, Goodbye, Publishing, Seen};

/// Exit code where the session did not come to its end.
const EXIT_FAILED: u8 = 1;

/// Arguments of `chatbench try`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Two clients of the first group that publishes are played, since a message has to come to somebody: \
the first one is shown, and of the second what it gets of the first one's message.

Exit codes:
    0  logged in, joined, published, acked and delivered, as the scenario says
    1  something of that did not come: what was expected, and what came instead, is said
    2  bad usage or an invalid scenario")]
pub struct Args {
    /// The scenario
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// How long to wait for each answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    within: Duration,

    #[command(flatten)]
    overrides: Overrides,
}

/// Carries out the verb.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let plan = match args.overrides.load(&args.file, &[]) {
        Ok(plan) => plan,
        Err(diagnostics) => {
            complain(&diagnostics);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    complain(&plan.warnings);
    let (TargetUrl::Described(url), Spoken::Application(spec)) =
        (&plan.target.url, &plan.target.spoken)
    else {
        let error = "only a target with a [protocol] is tried: chatbench chat talks to ndjson and \
                     classic servers";
        return fail(EXIT_USAGE, error);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread needs an epoll descriptor and no more");
    let played = runtime.block_on(play(&plan, spec, &url.addresses[0], args.within));
    runtime.shutdown_background();
    match played {
        Ok(summary) => {
            let done = print(&format!("\n{summary}\n"));
            done.map_or_else(
                |error| fail(EXIT_USAGE, &error.to_string()),
                |()| ExitCode::SUCCESS,
            )
        }
        Err(what) => fail(EXIT_FAILED, &what),
    }
}

/// One client on its connection.
struct Side<'p> {
    stream: Stream,
    conn: Application,
    out: Vec<u8>,
    /// How its lines begin.
    who: &'static str,
    /// Whether all of its messages are shown.
    is_shown: bool,
    began: Instant,
    asked: Instant,
    style: Style,
    spec: &'p Spec,
}

/// What a side waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Ready,
    Login,
    Join,
    AckAndEcho,
    Delivery,
    Leave,
    End,
}

/// Plays both clients. Returns what it amounts to.
async fn play(
    plan: &Plan,
    spec: &Arc<Spec>,
    address: &str,
    within: Duration,
) -> Result<String, String> {
    let group = plan
        .groups
        .iter()
        .position(|group| group.payload.max > 0)
        .unwrap_or(0);
    let name = &plan.groups[group].name;
    let room = plan
        .dealt_rooms(group)
        .of(0)
        .first()
        .copied()
        .unwrap_or(RoomId::UNNAMED);
    let began = Instant::now();
    let run = std::process::id() ^ 0x5eed;
    let first_number =
        plan.run.observers + plan.groups[..group].iter().map(|g| g.count).sum::<u32>();
    let hosts = target::resolve(&[address.to_owned()], Secure::with(&plan.target)).await;
    let hosts = hosts.map_err(|error| error.to_string())?;
    let host = &hosts[0];
    let mut sides = Vec::new();
    for (nth, who) in ["", "the other client "].into_iter().enumerate() {
        let client = format!("{name}-{}", nth + 1);
        let last = spec.users.len().saturating_sub(1) as u32;
        let number = (first_number + nth as u32).min(last.max(first_number));
        let stream = timeout(within, host.connect())
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| format!("cannot connect to {address}: {error}"))?;
        let mut out = Vec::new();
        let opening = Opening {
            max_frame_bytes: 1 << 20,
            rooms: plan.rooms.clone(),
            host: host.name(),
            me: Me {
                name: &client,
                number,
            },
            room,
            run,
            draw: u64::from(run) + nth as u64,
            ..Opening::default()
        };
        let mut conn = Application::open(spec, &opening, &mut out);
        conn.session().watch();
        let mut side = Side {
            stream,
            conn,
            out,
            who,
            is_shown: nth == 0,
            began,
            asked: Instant::now(),
            style: Style::detect(&io::stdout()),
            spec,
        };
        side.say(&format!("connected to {address} as {client}"));
        side.wait(Awaited::Ready, within).await?;
        if side.spec.is_websocket() {
            side.say("the WebSocket is open");
        }
        side.wait(Awaited::Login, within).await?;
        if room.is_named() {
            side.conn.join(&mut side.out, room);
            side.wait(Awaited::Join, within).await?;
        }
        sides.push(side);
    }
    let [talker, listener] = &mut sides[..] else {
        return Err("two clients are played".to_owned());
    };
    let mut text = Vec::new();
    let header = Header {
        run,
        sender: SenderId(1),
        k: 1,
        last: false,
        intended_ns: 0,
        previous_ns: 0,
    };
    payload::encode(&mut text, plan.seed, &header, payload::HEADER_BYTES + 16);
    let publishing = Publishing {
        room,
        text: std::str::from_utf8(&text).map_err(|error| error.to_string())?,
        id: 1,
        claims: None,
    };
    let published = Instant::now();
    talker.asked = published;
    listener.asked = published;
    talker.conn.publish(&mut talker.out, publishing);
    talker.flush().await?;
    let ((), ()) = tokio::try_join!(
        talker.wait(Awaited::AckAndEcho, within),
        listener.wait(Awaited::Delivery, within)
    )?;
    let took = published.elapsed();
    if room.is_named() && !spec.leave.is_empty() {
        talker.asked = Instant::now();
        talker.conn.leave(&mut talker.out, room);
        talker.wait(Awaited::Leave, within).await?;
    }
    for side in &mut sides {
        if side.conn.close(&mut side.out) == Goodbye::HalfClose {
            side.flush().await?;
            side.stream.half_close();
        }
        side.wait(Awaited::End, within).await?;
    }
    let ack = match &spec.ack {
        Ack::None => "delivered; no ack is promised",
        _ => "acked and delivered",
    };
    Ok(format!(
        "logged in, {}published; {ack} within {}",
        if room.is_named() { "joined, " } else { "" },
        milliseconds(took).trim(),
    ))
}

impl Side<'_> {
    /// Writes what is to be sent, and shows what was.
    async fn flush(&mut self) -> Result<(), String> {
        self.show();
        let sent = self.stream.write_all(&self.out).await;
        self.out.clear();
        sent.map_err(|error| format!("{}cannot send: {error}", self.who))
    }

    /// Reads until what is awaited has come.
    async fn wait(&mut self, awaited: Awaited, within: Duration) -> Result<(), String> {
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

    fn say(&self, what: &str) {
        if self.is_shown {
            let at = milliseconds(self.began.elapsed());
            let _ = print(&format!("{at}    {}\n", visible(what)));
        }
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:8.1} ms", time.as_secs_f64() * 1e3)
}
