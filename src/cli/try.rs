//! `chatbench try`: one client's session, message by message: what goes over the wire, what each
//! message was taken for, by which key, and how long it took.
//!
//! It is played by the same code as in a run, so what is shown is what a run does.

mod reference;
mod side;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::overrides::Overrides;
use super::protocol_args::{ProtocolArgs, string};
use super::{EXIT_USAGE, complain, fail, print};
use crate::report::Style;
use crate::scenario::diagnostic::Diagnostics;
use crate::scenario::plan::{Plan, TargetUrl};
use crate::target::{self, Secure};
use crate::wire::application::spec::{Ack, Spec};
use crate::wire::payload::{self, Header, SenderId};
use crate::wire::protocol::application::Application;
use crate::wire::protocol::{Me, Opening, Spoken};
use crate::wire::rooms::RoomId;
use crate::wire::seen::{Conn, Goodbye, Publishing};
use side::{Awaited, Side, milliseconds};

/// Exit code where the session did not come to its end.
const EXIT_FAILED: u8 = 1;

/// What a scenario without a file is called.
const NAME: &str = "try";

/// Arguments of `chatbench try`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Two clients of the first group that publishes are played, since a message has to come to somebody: \
the first one is shown, and of the second what it gets of the first one's message. A target that \
speaks the reference protocol, at ndjson:// or, without --protocol and --publish, at ws://, is \
played as a [protocol] would describe it.

Exit codes:
    0  logged in, joined, published, acked and delivered, as the scenario says
    1  something of that did not come: what was expected, and what came instead, is said
    2  bad usage or an invalid scenario")]
pub struct Args {
    /// The scenario; or a target: with --protocol or --publish an application's at ws://, wss://,
    /// tcp:// or tls://, else ndjson://HOST:PORT or ws://HOST:PORT/PATH, or over TLS
    /// ndjson+tls:// or wss://
    #[arg(value_name = "FILE|URL")]
    of: String,

    /// How long to wait for each answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    within: Duration,

    #[command(flatten)]
    protocol: ProtocolArgs,

    #[command(flatten)]
    overrides: Overrides,
}

/// Carries out the verb.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let plan = match plan(args) {
        Ok(Ok(plan)) => plan,
        Ok(Err(diagnostics)) => {
            complain(&diagnostics);
            return ExitCode::from(EXIT_USAGE);
        }
        Err(usage) => return fail(EXIT_USAGE, &usage),
    };
    complain(&plan.warnings);
    let (spec, addresses) = match (&plan.target.url, &plan.target.spoken) {
        (TargetUrl::Described(url), Spoken::Application(spec)) => {
            (Arc::clone(spec), &url.addresses)
        }
        (TargetUrl::At(url), _) => match reference::describe(url, !plan.rooms.is_empty()) {
            Some(Ok(spec)) => (spec, &url.addresses),
            Some(Err(diagnostics)) => {
                complain(&diagnostics);
                return ExitCode::from(EXIT_USAGE);
            }
            None => {
                let error = format!(
                    "{url}: what comes there is not in messages that could be shown one by one; \
                     chatbench chat talks to it"
                );
                return fail(EXIT_USAGE, &error);
            }
        },
        (TargetUrl::Described(url), spoken) => {
            let error = format!(
                "{url}: the frames of {spoken} are not shown one by one; chatbench load {url} \
                 drives it"
            );
            return fail(EXIT_USAGE, &error);
        }
        _ => {
            let error = "there is no embedded server to try: start one with `chatbench serve`, \
                         and try the address that it says";
            return fail(EXIT_USAGE, error);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread needs an epoll descriptor and no more");
    let played = runtime.block_on(play(&plan, &spec, &addresses[0], args.within));
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

/// The plan of the scenario, or of the one that a URL and the options amount to.
///
/// # Errors
/// How the options do not go together.
fn plan(args: &Args) -> Result<Result<Plan, Diagnostics>, String> {
    let of = &args.of;
    let is_address = of.contains(':') && !Path::new(of).exists();
    if !is_address && !of.starts_with("embedded") {
        if args.protocol.are_given() {
            return Err(format!(
                "{of} is a file, which says itself how its target talks; --set protocol.KEY=VALUE \
                 sets a key over it. The options of a [protocol] go with a URL"
            ));
        }
        return Ok(args.overrides.load(Path::new(of), &[]));
    }
    if args.overrides.names_target() {
        return Err(format!("--target: {of} is the target already"));
    }
    let mut text = format!("[target]\nurl = {}\n", string(of));
    text.push_str(&args.protocol.section());
    text.push_str("\n[clients.people]\ncount = 2\nrate = 1\n");
    if args.protocol.needs_room(of) {
        text.push_str("rooms = 1\n");
    }
    Ok(args.overrides.parse(NAME, &text))
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
