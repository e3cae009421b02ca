//! The end of a run: collects the last reports of its shards, its judge and its server.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::time::timeout;

use super::{Coordinator, RunError, settled};
use crate::driver::channel::Command;
use crate::driver::clock::ns;
use crate::driver::outcome::{Interruption, Outcome, ProcessUse, Unfinished};
use crate::driver::process;
use crate::measure::Window;
use crate::measure::health::Health;
use crate::scenario::plan::Load;
use crate::target::embedded::Embedded;
use crate::verify::findings::Findings;
use crate::verify::judge::{Judge, Settled};

/// After a second signal, how long the shards have to hand in what they know, then the embedded
/// server to say what it did, then the judge to come to its end: within a second all is written.
pub(super) const HAND_IN_WITHIN: Duration = Duration::from_millis(300);
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(100);
const JUDGE_WITHIN: Duration = Duration::from_millis(300);

impl Coordinator<'_> {
    /// Ends the run with the results so far.
    ///
    /// # Errors
    /// [`RunError::Aborted`] if they cannot be collected at once.
    pub(super) async fn conclude_at_once(mut self) -> Result<Outcome, RunError> {
        self.judge_until_ns = self.clock.now_ns() + ns(HAND_IN_WITHIN / 2);
        self.tell_shards(Command::Stop {
            judge_until_ns: self.judge_until_ns,
        });
        let handed_in = async {
            while self.shards_done < self.commands.len() {
                self.step().await?;
            }
            Ok(())
        };
        match timeout(HAND_IN_WITHIN, handed_in).await {
            Ok(Ok(())) => self.conclude().await,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(RunError::Aborted),
        }
    }

    /// Everything has been handed in: makes the judgement and the figures.
    ///
    /// # Errors
    /// [`RunError::Aborted`] if the run is to end at once, and the judge does not.
    pub(super) async fn conclude(mut self) -> Result<Outcome, RunError> {
        let at_once = self.interrupted.is_some_and(|i: Interruption| i.at_once);
        let ended_ns = self.clock.now_ns();
        let elapsed = Duration::from_nanos(ended_ns);
        let threads = std::mem::take(&mut self.threads);
        let in_threads = !threads.is_empty();
        for thread in threads {
            let _ = thread.join();
        }
        let server = self
            .embedded
            .as_ref()
            .and_then(Embedded::pid)
            .and_then(process::use_of);
        let embedded = self.embedded.is_some();
        let mut faults = Vec::new();
        if let Some(embedded) = self.embedded.take() {
            faults = if at_once {
                let stopped = timeout(LAST_WORDS_WITHIN, embedded.stop()).await;
                stopped.unwrap_or_default()
            } else {
                embedded.stop().await
            };
        }
        let Self {
            judge,
            mut collector,
            ..
        } = self;
        let target_gone = self.target_gone_ns.is_some();
        let mut settled = |message: Settled| settled(&mut collector, &message);
        let findings = if at_once && in_threads {
            let (findings, messages) =
                finish_within(JUDGE_WITHIN, judge, target_gone).ok_or(RunError::Aborted)?;
            messages.into_iter().for_each(settled);
            findings
        } else {
            judge.finish(target_gone, &mut settled)
        };
        for message in &findings.outstanding {
            if let Some(ack) = message.ack {
                collector.ack_outstanding(ack.group, message.intended_ns, ack.until_ns);
            }
            let relays = message.relays.iter();
            let relays = relays.map(|w| (w.group, w.clients, w.until_ns));
            collector.message_outstanding(message.intended_ns, message.first_ns, relays);
        }
        let open_loop = self
            .plan
            .groups
            .iter()
            .any(|g| matches!(g.load, Load::Open { .. }));
        let mut measured = collector.finish(open_loop.then_some(self.totals.offered));
        measured.unsent = self.totals.unsent;
        let mut inconclusive = Vec::new();
        if let Some(gone_ns) = self.target_gone_ns {
            inconclusive.push(format!(
                "the target went away {:.1} s into the run",
                gone_ns as f64 / 1e9
            ));
        }
        // A script may be at a pause between two connections.
        let clients = self.totals.cut.max(self.live.scripts());
        let ran_out = clients > 0 && self.window != Window::NEVER && !at_once;
        let unfinished = ran_out.then_some(Unfinished {
            clients,
            unanswered: self.totals.unanswered,
            drain: self.drain_over.then_some(self.plan.run.drain),
            heard_ns: self.totals.heard_ns,
            ended_ns,
        });
        for (client, what) in self.unreachable.iter().take(3) {
            let client = self.directory.client_name(*client);
            let again = if self.window == Window::NEVER {
                ""
            } else {
                " again"
            };
            inconclusive.push(format!("{client} could not connect{again}: {what}"));
        }
        for (client, what) in self.stuck.iter().take(3) {
            let client = self.directory.client_name(*client);
            inconclusive.push(format!("the script of {client} could not go on: {what}"));
        }
        let mut health = Health::new(&measured, self.totals.behind, self.totals.loads);
        health.cut_off = self.totals.cut_off;
        health.longest_pause_ns = health.longest_pause_ns.max(self.totals.longest_pause_ns);
        let used = process::own_use();
        Ok(Outcome {
            started: self.started,
            epoch: self.clock.instant(0),
            elapsed,
            target_url: self.url,
            embedded,
            clients: self.plan.clients(),
            connected: self.live.connected(),
            reconnected: self.totals.reconnected,
            sent_by_group: self.totals.sent_by_group,
            interrupted: self.interrupted,
            findings,
            measured,
            by_room: self.totals.by_room,
            generator: ProcessUse {
                cpu: used.cpu.saturating_sub(self.used_before.cpu),
                max_rss_bytes: used.max_rss_bytes,
            },
            health,
            server,
            faults,
            inconclusive,
            error: None,
            unfinished,
        })
    }
}

/// The judge's findings, and the messages that were settled by them; `None` if it takes longer.
fn finish_within(
    limit: Duration,
    judge: Judge,
    target_gone: bool,
) -> Option<(Findings, Vec<Settled>)> {
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let mut messages = Vec::new();
        let findings = judge.finish(target_gone, |message| messages.push(message));
        // Nobody waits for it any more if it took too long.
        let _ = done.send((findings, messages));
    });
    finished.recv_timeout(limit).ok()
}
