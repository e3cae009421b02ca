//! Carries out a case: server and driver in one thread, in virtual time.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use chatbench::cli::selftest::cell::Judge;
use chatbench::driver::outcome::Outcome;
use chatbench::driver::run;
use chatbench::net::simulated::{Break, Conditions, Network, Partition};
use chatbench::net::{Listener, Net};
use chatbench::report::verdict;
use chatbench::scenario::{self, plan::Plan};
use chatbench::server::fault::catalogue::Fault;
use chatbench::server::fault::request::{Rate, Request};
use chatbench::server::{self, Config, Stats};
use chatbench::signals::Signals;
use chatbench::target::host::Host;
use chatbench::verify::trace::file::{Recording, WriteError};
use chatbench::wire::protocol::Protocol;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use super::case::{Case, Event, Span};

/// Where the server listens.
const ADDRESS: &str = "127.0.0.1:7000";

/// The outcome of a case.
pub(crate) struct Ran {
    /// The run's outcome, or why it did not start.
    pub(crate) outcome: Result<Outcome, String>,
    /// The server's statistics; `None` if it was killed.
    pub(crate) stats: Option<Stats>,
    /// How long the run took in virtual time.
    pub(crate) took: Duration,
}

/// Carries out `case`.
pub(crate) fn carry_out(case: &Case) -> Ran {
    in_virtual_time(case, &plan(case), None)
}

/// Carries out `case`, and records the verifier's input into the file at `path`.
///
/// # Errors
/// The error that keeps it from being written.
pub(crate) fn record(case: &Case, path: &Path) -> Result<(), WriteError> {
    let plan = plan(case);
    let recording = Recording::create(path, true)?;
    let outcome = in_virtual_time(case, &plan, Some(&recording)).outcome;
    let doubts = outcome.map(|outcome| verdict::doubts(&plan, &outcome, 1));
    recording.finish(doubts.unwrap_or_default()).map(drop)
}

fn in_virtual_time(case: &Case, plan: &Plan, recording: Option<&Recording>) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O asks nothing of the system");
    runtime.block_on(both_sides(case, plan, recording))
}

/// The plan of a case.
fn plan(case: &Case) -> Plan {
    let mut overrides = vec![
        format!("run.shards={}", case.shards),
        // Long enough to wait for clients that are cut off for a while.
        "run.drain=\"20s\"".to_owned(),
    ];
    overrides.push(format!("target.url=\"{}://{ADDRESS}\"", protocol(case)));
    if matches!(case.judge, Judge::Outside | Judge::Fifo) {
        overrides.push("verify.use_seq=false".to_owned());
    }
    if case.judge == Judge::Fifo {
        overrides.push("verify.order=\"fifo\"".to_owned());
    }
    let parsed = scenario::parse(
        "drawn.toml",
        &case.scenario,
        &overrides,
        Some(case.seed),
        None,
    );
    parsed.unwrap_or_else(|wrong| panic!("{case}\n{}", wrong.render(false)))
}

async fn both_sides(case: &Case, plan: &Plan, recording: Option<&Recording>) -> Ran {
    let begun = Instant::now();
    let address: SocketAddr = ADDRESS.parse().expect("it is one");
    let network = Network::new(case.seed, conditions(case, begun));
    let (stop, stopped) = oneshot::channel::<()>();
    let mut server = pin!(serve(case, &network, address, begun, async {
        let _ = stopped.await;
    }));
    let mut driver = pin!(drive(case, plan, &network, address, begun, recording));
    let mut stats = None;
    let mut stop = Some(stop);
    let mut outcome = None;
    poll_fn(|cx| {
        // The server is stopped once the driver is done.
        if stats.is_none()
            && let Poll::Ready(ended) = server.as_mut().poll(cx)
        {
            stats = Some(ended);
        }
        if outcome.is_none()
            && let Poll::Ready(ended) = driver.as_mut().poll(cx)
        {
            outcome = Some((ended, begun.elapsed()));
            drop(stop.take());
            cx.waker().wake_by_ref();
        }
        match (&stats, &outcome) {
            (Some(_), Some(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    let (outcome, took) = outcome.expect("it was waited for");
    Ran {
        outcome,
        stats: stats.expect("it was waited for"),
        took,
    }
}

fn conditions(case: &Case, begun: Instant) -> Conditions {
    let network = &case.network;
    let partition = |(span, one_in): &(Span, u64)| Partition {
        time: begun + span.from..=begun + span.to,
        one_in: *one_in,
    };
    let break_at = |(at, one_in): &(Duration, u64)| Break {
        at: begun + *at,
        one_in: *one_in,
    };
    Conditions {
        buffer_bytes: network.buffer_bytes,
        delay: network.delay.clone(),
        piece_bytes: network.piece_bytes,
        partial: network.partial,
        reset_discards: network.reset_discards,
        partitions: network.partitions.iter().map(partition).collect(),
        breaks: match &case.event {
            Event::ConnectionsBroken(breaks) => breaks.iter().map(break_at).collect(),
            _ => Vec::new(),
        },
    }
}

/// Runs the server, until `shutdown` or until it is killed.
async fn serve(
    case: &Case,
    network: &Network,
    address: SocketAddr,
    begun: Instant,
    shutdown: impl Future<Output = ()>,
) -> Option<Stats> {
    let config = Config {
        faults: case.fault.map(once).into_iter().collect(),
        seed: case.seed,
        ..Config::default()
    };
    let socket = network.listen(address).expect("nobody else does");
    let listener = server::Listener::new(protocol(case), Listener::Simulated(socket));
    let (pauses, killed) = match &case.event {
        Event::ServerPaused(spans) | Event::MachineSuspended(spans) => (&spans[..], None),
        Event::ServerKilled(at) => (&[][..], Some(begun + *at)),
        _ => (&[][..], None),
    };
    let serving = paused(server::run(vec![listener], config, shutdown), pauses, begun);
    match killed {
        // Dropping the future drops all that it holds, sockets included.
        Some(at) => tokio::time::timeout_at(at, serving).await.ok(),
        None => Some(serving.await),
    }
}

fn once(fault: Fault) -> Request {
    Request {
        fault,
        rate: Rate::Once,
    }
}

fn protocol(case: &Case) -> Protocol {
    match case.judge {
        Judge::Numbers | Judge::Outside | Judge::Fifo => Protocol::Ndjson,
        Judge::Classic => Protocol::Classic,
        Judge::Websocket => Protocol::WebSocket,
    }
}

/// Runs the driver.
async fn drive(
    case: &Case,
    plan: &Plan,
    network: &Network,
    address: SocketAddr,
    begun: Instant,
    recording: Option<&Recording>,
) -> Result<Outcome, String> {
    let hosts = vec![Host::from(address).over(Net::Simulated(network.clone()))];
    let (sender, signals) = mpsc::unbounded_channel();
    let run = case.seed as u32 | 1;
    let watch = &mut |_: &_, _: &_| {};
    let tasks = LocalSet::new();
    let driving = async {
        if let Event::Interrupted(at) = &case.event {
            let at: Vec<_> = at.iter().map(|at| begun + *at).collect();
            tokio::task::spawn_local(async move {
                for at in at {
                    sleep_until(at).await;
                    let _ = sender.send("SIGTERM");
                }
            });
        }
        let signals = Signals::of_program(signals);
        run::simulate(plan, hosts, signals, run, recording, watch).await
    };
    let pauses = match &case.event {
        Event::DriverPaused(spans) | Event::MachineSuspended(spans) => &spans[..],
        _ => &[],
    };
    let outcome = paused(tasks.run_until(driving), pauses, begun).await;
    outcome.map_err(|error| error.to_string())
}

/// Polls `future`, but not during `pauses`, in which time goes on and it stands still.
async fn paused<T>(future: impl Future<Output = T>, pauses: &[Span], begun: Instant) -> T {
    let mut future = pin!(future);
    let mut wake = pin!(sleep_until(begun));
    poll_fn(|cx| {
        loop {
            let now = begun.elapsed();
            let ends = pauses.iter().filter(|p| p.from <= now && now < p.to);
            let Some(end) = ends.map(|pause| pause.to).max() else {
                return future.as_mut().poll(cx);
            };
            wake.as_mut().reset(begun + end);
            if wake.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}
