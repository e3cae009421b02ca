//! The end of a run: what its shards, its judge and its server leave behind.

use std::time::Duration;

use super::Coordinator;
use crate::driver::outcome::{Outcome, ProcessUse, Unfinished};
use crate::driver::process;
use crate::measure::Window;
use crate::measure::health::Health;
use crate::scenario::plan::Load;
use crate::target::embedded::Embedded;

impl Coordinator<'_> {
    /// Everything is in: the judgement and the figures.
    pub(super) async fn conclude(mut self) -> Outcome {
        let ended_ns = self.clock.now_ns();
        let elapsed = Duration::from_nanos(ended_ns);
        for thread in self.threads.drain(..) {
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
            faults = embedded.stop().await;
        }
        let Self {
            judge,
            mut collector,
            ..
        } = self;
        let findings = judge.finish(self.target_gone_ns.is_some(), |message| {
            collector.message(
                message.intended_ns,
                message.first_ns,
                message.last_ns,
                message.receivers,
            );
        });
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
        let unfinished = (clients > 0 && self.window != Window::NEVER).then_some(Unfinished {
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
        let mut health = Health::new(&measured, self.totals.behind, self.totals.loads);
        health.cut_off = self.totals.cut_off;
        health.longest_pause_ns = health.longest_pause_ns.max(self.totals.longest_pause_ns);
        let used = process::own_use();
        Outcome {
            started: self.started,
            epoch: self.clock.instant(0),
            elapsed,
            target_url: self.url,
            embedded,
            clients: self.plan.clients(),
            connected: self.live.connected(),
            sent_by_group: self.totals.sent_by_group,
            interrupted: self.interrupted,
            findings,
            measured,
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
        }
    }
}
