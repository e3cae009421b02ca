//! A shard's thread: it carries out what the coordinator asks for, and hands over what the shard
//! has learned.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::sleep_until;

use super::channel::{Command, Report};
use super::clock::ns;
use super::member::Rank;
use super::pulse::BEAT_EVERY;
use super::shard::{Shard, Spec};
use super::{client, pacer, script};
use crate::measure::Window;
use crate::verify::batch::Batch;

/// Connections of one shard that may be under way at once: well under the 4,096 of a listen
/// queue.
const CONNECTING_AT_ONCE: usize = 256;

/// How often a shard hands over what it has learned, at least.
const HAND_OVER_EVERY: Duration = Duration::from_millis(50);

const SECOND_NS: u64 = 1_000_000_000;

/// Runs a shard to its end. Blocks its thread.
pub(super) fn run_shard(
    spec: Spec,
    commands: mpsc::UnboundedReceiver<Command>,
    reports: mpsc::Sender<Report>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, serve(spec, commands, reports));
    Ok(())
}

/// Carries out what `commands` say, to the end of the shard. Must be polled within a `LocalSet`: its
/// tasks run beside it.
pub(super) async fn serve(
    spec: Spec,
    mut commands: mpsc::UnboundedReceiver<Command>,
    reports: mpsc::Sender<Report>,
) {
    let shard = Shard::new(spec, reports);
    spawn_local(client::flush_blocked(shard.clone()));
    spawn_local(client::bring_back(shard.clone()));
    let pacer = spawn_local(pacer::pace(shard.clone()));
    let pulse = spawn_local(beat(shard.clone()));
    let stop = Rc::new(Notify::new());
    let ticker = spawn_local(hand_over_regularly(shard.clone(), stop.clone()));
    let mut connecting = JoinSet::new();
    let mut until_ns = u64::MAX;
    while let Some(command) = commands.recv().await {
        match command {
            Command::Connect {
                observers,
                start_ns,
            } => {
                connecting.spawn_local(connect_all(shard.clone(), observers, start_ns));
            }
            Command::StopConnecting => {
                connecting.shutdown().await;
                shard.fleet().give_up_connecting();
            }
            Command::BeginLoad { start_ns, window } => {
                spawn_local(begin_load(shard.clone(), start_ns, window));
            }
            Command::EndLoad { end_ns } => shard.end_load(end_ns),
            Command::Leave(rank) => shard.fleet().leave_all(rank),
            Command::Stop { judge_until_ns } => {
                until_ns = judge_until_ns;
                break;
            }
        }
    }
    // Not aborted: it may hold a batch that the channel has no room for.
    stop.notify_one();
    let _ = ticker.await;
    pacer.abort();
    pulse.abort();
    let totals = shard.fleet().end();
    hand_over_rest(&shard, until_ns).await;
    let second = shard.clock.now_ns() / SECOND_NS;
    hand_over_seconds(&shard, second + 1).await;
    shard.report(Report::Done(totals)).await;
}

/// Connects the observers, or everyone else, each at its time.
async fn connect_all(shard: Rc<Shard>, observers: bool, start_ns: u64) {
    let slots = Arc::new(Semaphore::new(CONNECTING_AT_ONCE));
    let start = shard.clock.instant(start_ns);
    let mut attempts = JoinSet::new();
    for client in 0..shard.clients() {
        if (shard.fleet().rank_of(client) == Rank::Observer) != observers {
            continue;
        }
        sleep_until(start + shard.connect_after(client)).await;
        let slot = slots
            .clone()
            .acquire_owned()
            .await
            .expect("it is never closed");
        let shard = shard.clone();
        attempts.spawn_local(async move {
            if let Err(error) = client::connect(&shard, client).await {
                shard.trouble(client, &error);
            }
            drop(slot);
        });
        while attempts.try_join_next().is_some() {}
    }
    while attempts.join_next().await.is_some() {}
}

async fn begin_load(shard: Rc<Shard>, start_ns: u64, window: Window) {
    shard.fleet().set_window(window);
    sleep_until(shard.clock.instant(start_ns)).await;
    shard.fleet().begin_load(start_ns, shard.clock.now_ns());
    for client in 0..shard.clients() {
        if let Some(script) = shard.script(client) {
            spawn_local(script::play(shard.clone(), client, script.clone()));
        }
    }
}

/// The shard's pulse, for ever. Not a tokio sleep: that would be late by up to its own millisecond.
async fn beat(shard: Rc<Shard>) -> std::io::Result<()> {
    let timer = shard.clock.timer()?;
    timer.set_every(BEAT_EVERY)?;
    // Read after the call: the beats are due no later than this says, so what lateness is
    // recorded is at most a few µs short.
    let mut due_ns = shard.clock.now_ns();
    loop {
        let beats = timer.expired().await?;
        let now_ns = shard.clock.now_ns();
        let mut fleet = shard.fleet();
        for _ in 0..beats {
            due_ns += ns(BEAT_EVERY);
            fleet.beat(due_ns, now_ns);
        }
        fleet.look(now_ns);
    }
}

/// Hands over new observations of the ledger 20 times per second, sooner if many gather, and
/// recordings once per second, until `stop`.
async fn hand_over_regularly(shard: Rc<Shard>, stop: Rc<Notify>) {
    let filled = shard.fleet().wake_hand_over.clone();
    let mut second = shard.clock.now_ns() / SECOND_NS;
    let mut tick = tokio::time::interval(HAND_OVER_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.notified() => return,
            _ = tick.tick() => {}
            () = filled.notified() => {}
        }
        hand_over(&shard).await;
        let now_second = shard.clock.now_ns() / SECOND_NS;
        if now_second > second {
            hand_over_seconds(&shard, now_second).await;
            second = now_second;
        }
    }
}

async fn hand_over(shard: &Rc<Shard>) {
    let batch = shard.fleet().take_batch();
    report_batch(shard, batch).await;
}

/// Hands over all that is left, or, where there is too much of it to be judged by `until_ns`, how
/// much that is.
async fn hand_over_rest(shard: &Rc<Shard>, until_ns: u64) {
    loop {
        let (batch, more) = shard.fleet().take_rest();
        report_batch(shard, batch).await;
        if !more {
            return;
        }
        if shard.clock.now_ns() >= until_ns {
            shard.fleet().stop_judging();
        }
    }
}

async fn report_batch(shard: &Rc<Shard>, batch: Batch) {
    let report = Report::Batch {
        shard: shard.index,
        batch: Box::new(batch),
    };
    shard.report(report).await;
}

/// Hands over every second before `second`: after the thread was suspended there are several.
async fn hand_over_seconds(shard: &Rc<Shard>, second: u64) {
    let (seconds, clients) = shard.fleet().take_seconds(second);
    for (second, interval) in seconds {
        let report = Report::Interval {
            shard: shard.index,
            second,
            interval: Box::new(interval),
            clients,
        };
        shard.report(report).await;
    }
}
