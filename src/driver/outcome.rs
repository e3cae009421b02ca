//! The outcome of a run, as it is handed to the report.

use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::process;
use super::run::RunError;
use super::snapshot::Phase;
use crate::measure::health::Health;
use crate::measure::rooms::ByRoom;
use crate::measure::{Collector, Measured, Window};
use crate::scenario::plan::{Plan, TargetUrl};
use crate::verify::findings::Findings;

/// Everything a run saw, before it is judged against thresholds and put into words.
#[derive(Debug)]
pub struct Outcome {
    /// When the run began, by the wall clock.
    pub started: SystemTime,
    /// The zero of every time in ns, by the monotonic clock.
    pub epoch: Instant,
    /// From the first connection to the end of the drain.
    pub elapsed: Duration,
    /// The address that was driven, `ndjson://127.0.0.1:40123`.
    pub target_url: String,
    /// Whether the target was the embedded server.
    pub embedded: bool,
    /// Clients the plan has, observers included.
    pub clients: u64,
    /// How many of them got their first welcome.
    pub connected: u64,
    /// Connections that the target closed, and that were made again as `[protocol]` says.
    pub reconnected: u64,
    /// Messages that the clients of each group sent, by the group's
    /// [place](crate::measure::group::place).
    pub sent_by_group: Vec<u64>,
    /// The signal that ended the run early, if one did.
    pub interrupted: Option<Interruption>,
    /// The findings of verification.
    pub findings: Findings,
    /// The measured figures.
    pub measured: Measured,
    /// Latencies in each room that has a name.
    pub by_room: ByRoom,
    /// The driver's own process.
    pub generator: ProcessUse,
    /// How the driver did: whether it, and not the target, set the numbers.
    pub health: Health,
    /// The embedded server's process.
    pub server: Option<ProcessUse>,
    /// The faults that the embedded server reports to have committed on purpose, one line per
    /// fault.
    pub faults: Vec<String>,
    /// Why nothing can be said, in words: the target is gone, a client could not connect again.
    pub inconclusive: Vec<String>,
    /// The reason why the run did not come about, or was not judged: then there is nothing else.
    pub error: Option<Failure>,
    /// Clients were cut, because the time was up.
    pub unfinished: Option<Unfinished>,
}

/// The reason why a run did not come about, or was not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub what: String,
    /// Whether it was a signal.
    pub interrupted: bool,
}

impl Outcome {
    /// The outcome of a run of `plan` which did not come about, or was ended before it could be
    /// judged.
    #[must_use]
    pub fn of_error(plan: &Plan, started: SystemTime, error: &RunError) -> Self {
        let measured = Collector::new(Window::NEVER, 0).finish(None);
        Self {
            started,
            epoch: Instant::now(),
            elapsed: started.elapsed().unwrap_or_default(),
            target_url: plan.target_url().to_owned(),
            embedded: matches!(plan.target.url, TargetUrl::Embedded(_)),
            clients: plan.clients(),
            connected: 0,
            reconnected: 0,
            sent_by_group: Vec::new(),
            interrupted: None,
            findings: Findings::default(),
            health: Health::new(&measured, 0, Vec::new()),
            measured,
            by_room: ByRoom::default(),
            generator: process::own_use(),
            server: None,
            faults: Vec::new(),
            inconclusive: Vec::new(),
            unfinished: None,
            error: Some(Failure {
                what: error.to_string(),
                interrupted: matches!(error, RunError::Aborted | RunError::NotBegun(_)),
            }),
        }
    }
}

/// The drain was over before all clients had got to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// How many had not.
    pub clients: u64,
    /// Of these, how many had left, and waited for the target to answer.
    pub unanswered: u64,
    /// How long the drain was; `None` if it was not over when everyone else had left.
    pub drain: Option<Duration>,
    /// When the target had last said anything to anyone, in ns since the run's epoch; 0 for never.
    pub heard_ns: u64,
    /// When the run stopped listening.
    pub ended_ns: u64,
}

/// A signal that ended a run early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruption {
    /// Its name, as people know it: Ctrl-C, SIGTERM, SIGHUP.
    pub signal: &'static str,
    /// Where the run was when it came.
    pub phase: Phase,
    /// Whether a second signal came, and nothing was waited for from then on.
    pub at_once: bool,
}

impl Interruption {
    /// Whether it came before all load had been sent, so that what was not seen is missing for that
    /// reason.
    #[must_use]
    pub fn cut_the_load_short(&self) -> bool {
        self.phase != Phase::Drain || self.at_once
    }
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = self.signal;
        if self.at_once {
            let when = match self.phase {
                Phase::Connect => "while clients were connecting",
                Phase::WarmUp => "in the warm-up",
                Phase::Measure => "in the measured phase",
                Phase::Drain => "in the drain",
            };
            return write!(
                f,
                "ended at once by a second signal after {signal} {when}: this is what was known by \
                 then"
            );
        }
        match self.phase {
            Phase::Connect => write!(
                f,
                "ended by {signal} while clients were connecting: no load was sent"
            ),
            Phase::WarmUp => write!(f, "ended by {signal} in the warm-up: nothing was measured"),
            Phase::Measure => write!(
                f,
                "ended early by {signal}; these are the results until then"
            ),
            Phase::Drain => write!(f, "{signal} came in the drain, when all load had been sent"),
        }
    }
}

/// CPU time and memory that a process used, from the start to the end of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessUse {
    /// CPU time, user and system.
    pub cpu: Duration,
    /// Peak resident memory, bytes.
    pub max_rss_bytes: u64,
}
