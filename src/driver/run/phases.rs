//! The phases of a run: connect, warm up, measure, drain.

use std::time::Duration;

use super::{Coordinator, RunError};
use crate::driver::channel::Command;
use crate::driver::clock::ns;
use crate::driver::member::Rank;
use crate::driver::snapshot::Phase;
use crate::measure::Window;
use crate::scenario::plan::{Load, Step};
use crate::verify::directory::ClientId;
use crate::wire::ndjson;

/// The longest that judging may take after the drain, when nothing more is read.
const JUDGING: Duration = Duration::from_secs(5);

/// The time between telling the shards when the load begins and its beginning.
const LEAD: Duration = Duration::from_millis(20);

impl Coordinator<'_> {
    /// Goes through all phases, to the end of the drain.
    pub(super) async fn go_through_phases(&mut self) -> Result<(), RunError> {
        self.connect().await?;
        self.load().await?;
        self.drain().await
    }

    /// Connects the observers first, then everyone else.
    async fn connect(&mut self) -> Result<(), RunError> {
        let observers = u64::from(self.plan.run.observers);
        for (only_observers, goal) in [(true, observers), (false, self.plan.clients())] {
            let start_ns = self.clock.now_ns();
            self.tell_shards(Command::Connect {
                observers: only_observers,
                start_ns,
            });
            self.wait(u64::MAX, |c| {
                c.live.connected() >= goal || !c.unreachable.is_empty()
            })
            .await?;
        }
        if self.interrupted.is_some() {
            self.tell_shards(Command::StopConnecting);
            return Ok(());
        }
        match self.unreachable.first() {
            Some((client, what)) => Err(self.unreachable_by(*client, what.clone())),
            None => self.check_payloads(),
        }
    }

    /// Whether what is to be sent fits the lines that the target takes, as its welcomes say.
    fn check_payloads(&self) -> Result<(), RunError> {
        let Some(max_line_bytes) = self.live.max_line_bytes() else {
            return Ok(());
        };
        for (index, group) in self.plan.groups.iter().enumerate() {
            let publishes = match &group.load {
                Load::Listen => false,
                Load::Open { .. } | Load::Closed { .. } => true,
                Load::Script { steps, .. } => steps
                    .iter()
                    .any(|step| matches!(step, Step::Publish { .. })),
            };
            let payload_bytes = group.payload.max;
            let line_bytes = ndjson::publish_line_bytes(payload_bytes as usize) as u64
                + self.plan.room_bytes(index);
            if publishes && line_bytes > max_line_bytes {
                return Err(RunError::PayloadTooLong {
                    url: self.url.clone(),
                    group: group.name.clone(),
                    payload_bytes,
                    line_bytes,
                    max_line_bytes,
                });
            }
        }
        Ok(())
    }

    pub(super) fn unreachable_by(&self, client: ClientId, what: String) -> RunError {
        RunError::Unreachable {
            url: self.url.clone(),
            client: self.directory.client_name(client).to_owned(),
            what,
        }
    }

    /// Runs the warm-up and the measured phase.
    async fn load(&mut self) -> Result<(), RunError> {
        if self.interrupted.is_some() {
            return Ok(());
        }
        let start_ns = self.clock.now_ns() + ns(LEAD);
        let warm_ns = start_ns + ns(self.plan.run.warmup);
        let end_ns = warm_ns + ns(self.plan.run.duration);
        self.window = Window {
            start_ns: warm_ns,
            end_ns,
        };
        self.collector.set_window(self.window);
        self.tell_shards(Command::BeginLoad {
            start_ns,
            window: self.window,
        });
        let only_scripts = self
            .plan
            .groups
            .iter()
            .all(|g| matches!(g.load, Load::Script { .. } | Load::Listen))
            && self.live.scripts() > 0;
        let over =
            move |c: &Self| c.target_gone_ns.is_some() || only_scripts && c.live.scripts() == 0;
        if warm_ns > start_ns {
            self.enter(Phase::WarmUp);
            self.wait(warm_ns, over).await?;
        }
        self.enter(Phase::Measure);
        self.wait(end_ns, over).await?;
        let end_ns = end_ns.min(self.clock.now_ns());
        self.window.end_ns = end_ns.max(self.window.start_ns);
        self.collector.set_window(self.window);
        self.tell_shards(Command::EndLoad { end_ns });
        Ok(())
    }

    /// Drains: senders leave first, so that everyone else still gets their last messages.
    async fn drain(&mut self) -> Result<(), RunError> {
        self.enter(Phase::Drain);
        let until_ns = self.clock.now_ns() + ns(self.plan.run.drain);
        if self.window != Window::NEVER {
            self.wait_in_drain(until_ns, |c| c.live.scripts() == 0)
                .await?;
        }
        for rank in [Rank::Scripted, Rank::Talker, Rank::Listener, Rank::Observer] {
            if self.target_gone_ns.is_some() {
                break; // nobody is there to say goodbye to
            }
            self.tell_shards(Command::Leave(rank));
            self.wait_in_drain(until_ns, move |c| c.live.open(rank) == 0)
                .await?;
        }
        if self.target_gone_ns.is_some() {
            // Its connections end by themselves; what they still hold was delivered.
            self.wait_in_drain(until_ns, |c| c.live.all_open() == 0)
                .await?;
        }
        self.drain_over = self.clock.now_ns() >= until_ns;
        self.judge_until_ns = until_ns.max(self.clock.now_ns() + ns(JUDGING));
        self.tell_shards(Command::Stop {
            judge_until_ns: self.judge_until_ns,
        });
        self.wait_in_drain(u64::MAX, |c| c.shards_done == c.commands.len())
            .await?;
        self.tell_watcher(); // all is in, but for what the judgement brings
        Ok(())
    }

    /// Waits until `over` is true, the time comes, or the run is interrupted.
    async fn wait(&mut self, until_ns: u64, over: impl Fn(&Self) -> bool) -> Result<(), RunError> {
        while !over(self) && self.clock.now_ns() < until_ns && self.interrupted.is_none() {
            self.step().await?;
        }
        Ok(())
    }

    /// As [`Self::wait`]; an interrupted run drains as well.
    async fn wait_in_drain(
        &mut self,
        until_ns: u64,
        over: impl Fn(&Self) -> bool,
    ) -> Result<(), RunError> {
        while !over(self) && self.clock.now_ns() < until_ns {
            self.step().await?;
        }
        Ok(())
    }
}
