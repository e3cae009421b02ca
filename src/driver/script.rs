//! Scripted clients: the steps of a scenario's `script`, one after another.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::client;
use super::clock::ns;
use super::fleet::{Fleet, WRITE_BYTES};
use super::member::Script;
use super::shard::Shard;
use crate::scenario::plan::{Leave, Raw, Repeat, Step};
use crate::wire::rooms::RoomId;

/// Why a script does not go on.
enum Stop {
    /// The connection is gone, and the step needs one: the next round begins anew.
    Disconnected,
    /// It cannot connect any more.
    Unreachable,
    /// The measured phase is over, and the script runs until then.
    LoadOver,
}

/// Goes through the script of `client`, then leaves politely if it is still connected.
pub(super) async fn play(shard: Rc<Shard>, client: usize, script: Script) {
    let forever = script.repeat == Repeat::Forever;
    let mut round = 0;
    loop {
        match play_once(&shard, client, &script.steps, forever).await {
            Ok(()) | Err(Stop::Disconnected) => {}
            Err(Stop::Unreachable | Stop::LoadOver) => break,
        }
        round += 1;
        match script.repeat {
            Repeat::Times(times) if round >= times => break,
            Repeat::Forever if shard.load_over() => break,
            // A script that never waits must not keep everyone else from running.
            _ => tokio::task::yield_now().await,
        }
    }
    leave(&shard, client).await;
    shard.fleet().script_ends();
}

async fn play_once(
    shard: &Rc<Shard>,
    client: usize,
    steps: &[Step],
    forever: bool,
) -> Result<(), Stop> {
    for step in steps {
        if forever && shard.load_over() {
            return Err(Stop::LoadOver);
        }
        if !matches!(step, Step::Connect | Step::Pause { .. } | Step::Barrier(_))
            && !shard.is_connected(client)
        {
            if matches!(step, Step::Disconnect(_)) {
                continue; // the target was quicker
            }
            return Err(Stop::Disconnected);
        }
        play_step(shard, client, step, forever).await?;
    }
    Ok(())
}

async fn play_step(
    shard: &Rc<Shard>,
    client: usize,
    step: &Step,
    forever: bool,
) -> Result<(), Stop> {
    match step {
        Step::Connect => {
            if !shard.is_connected(client)
                && let Err(error) = client::connect(shard, client).await
            {
                shard.trouble(client, &error);
                return Err(Stop::Unreachable);
            }
        }
        Step::Publish { count, every, room } => {
            let room = room.as_ref().map(|name| shard.rooms.id(name));
            publish(shard, client, *count, *every, room).await;
        }
        Step::Join(name) => ask(shard, client, name, Fleet::join).await,
        Step::LeaveRoom(name) => ask(shard, client, name, Fleet::leave_room).await,
        Step::AwaitAcks { within } => await_acks(shard, client, *within).await,
        Step::Pause { min, max } => {
            let pause = shard.draw(client, *min, *max);
            rest(shard, pause, forever).await;
        }
        Step::StopReading(pause) => {
            shard.fleet().pause_reading(client, true);
            rest(shard, *pause, forever).await;
            shard.fleet().pause_reading(client, false);
        }
        Step::SendRaw { bytes, every } => send_raw(shard, client, bytes, *every).await,
        Step::ExpectError { code, within } => expect_error(shard, client, code, *within).await,
        Step::Ask { nth, within } => {
            if let Err(why) = ask_target(shard, client, *nth, *within).await {
                shard.stuck(client, why);
                return Err(Stop::Unreachable);
            }
        }
        Step::Barrier(name) => {
            if let Some(barrier) = shard.barriers.get(name) {
                tokio::select! {
                    biased;
                    _ = barrier.wait() => {}
                    () = shard.load_ends() => {}
                }
            }
        }
        Step::Disconnect(Leave::Polite) => leave(shard, client).await,
        Step::Disconnect(how) => shard.fleet().let_go(client, *how == Leave::Abort),
    }
    Ok(())
}

/// Waits for `pause`, or until the load is over if the script only lasts that long.
async fn rest(shard: &Rc<Shard>, pause: Duration, until_load_ends: bool) {
    if until_load_ends {
        let _ = timeout(pause, shard.load_ends()).await;
    } else {
        tokio::time::sleep(pause).await;
    }
}

/// Waits until `done` or the connection is gone; `done` is asked whenever something comes.
async fn until(shard: &Rc<Shard>, client: usize, done: impl Fn(&Rc<Shard>) -> bool) {
    let Some(inbox) = shard.fleet().inbox_of(client) else {
        return;
    };
    while shard.is_connected(client) && !done(shard) {
        inbox.news.notified().await;
    }
}

async fn publish(
    shard: &Rc<Shard>,
    client: usize,
    count: u32,
    every: Duration,
    room: Option<RoomId>,
) {
    forget_errors(shard, client);
    shard.fleet().begin_burst(client, count, ns(every), room);
    until(shard, client, |s| s.fleet().is_burst_over(client)).await;
    shard.fleet().end_burst(client);
}

/// Asks to join the room of this name, or to leave it, and waits for the answer.
async fn ask(
    shard: &Rc<Shard>,
    client: usize,
    name: &str,
    to: impl FnOnce(&mut Fleet, usize, RoomId),
) {
    let room = shard.rooms.id(name);
    forget_errors(shard, client);
    until(shard, client, |s| s.fleet().is_sent(client)).await;
    to(&mut shard.fleet(), client, room);
    let answered = until(shard, client, |s| !s.fleet().is_waiting_for(client, room));
    if shard
        .within(shard.connect_timeout, answered)
        .await
        .is_none()
    {
        shard.fleet().stop_waiting(client);
    }
}

/// Asks the target what the description has under this number, and waits for the answer.
///
/// # Errors
/// Why nothing could be sent.
async fn ask_target(
    shard: &Rc<Shard>,
    client: usize,
    nth: usize,
    within: Duration,
) -> Result<(), String> {
    forget_errors(shard, client);
    until(shard, client, |s| s.fleet().is_sent(client)).await;
    shard.fleet().ask(client, nth)?;
    let answered = until(shard, client, |s| !s.fleet().is_asking(client));
    shard.within(within, answered).await;
    let within = humantime::format_duration(within).to_string();
    shard.fleet().give_up_asking(client, &within);
    Ok(())
}

async fn await_acks(shard: &Rc<Shard>, client: usize, within: Duration) {
    let acked = until(shard, client, |s| s.fleet().unacked(client) == 0);
    if shard.within(within, acked).await.is_none() {
        let within = humantime::format_duration(within).to_string();
        shard.fleet().overdue_acks(client, &within);
    }
}

/// Sends `bytes` piece by piece, each when the socket has taken the one before it. A dribble is
/// timed against its own beginning, so that late wake-ups do not add up.
async fn send_raw(shard: &Rc<Shard>, client: usize, bytes: &Raw, every: Duration) {
    forget_errors(shard, client);
    let piece_bytes = if every.is_zero() { WRITE_BYTES } else { 1 };
    let start = Instant::now();
    for (i, piece) in bytes.pieces(piece_bytes).enumerate() {
        until(shard, client, |s| s.fleet().is_sent(client)).await;
        if !shard.is_connected(client) {
            return;
        }
        shard.fleet().send_raw(client, &piece);
        if !every.is_zero() {
            sleep_until(start + every * (i as u32 + 1)).await;
        }
    }
}

fn forget_errors(shard: &Rc<Shard>, client: usize) {
    if let Some(inbox) = shard.fleet().inbox_of(client) {
        inbox.clear_errors();
    }
}

async fn expect_error(shard: &Rc<Shard>, client: usize, code: &str, within: Duration) {
    let Some(inbox) = shard.fleet().inbox_of(client) else {
        return;
    };
    // The error may be the last thing before the target closes: look once more after the end.
    let came = async {
        until(shard, client, |_| inbox.has_error(code)).await;
        inbox.take_error(code)
    };
    if shard.within(within, came).await != Some(true) {
        let within = humantime::format_duration(within).to_string();
        shard.fleet().missing_error(client, code, &within);
    }
}

/// Half-closes and reads to the end.
async fn leave(shard: &Rc<Shard>, client: usize) {
    shard.fleet().leave(client);
    until(shard, client, |_| false).await;
}
