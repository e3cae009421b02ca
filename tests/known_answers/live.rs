//! Real sockets, real threads, real time.

use std::path::Path;
use std::time::{Duration, Instant};

use chatbench::driver::outcome::Outcome;
use chatbench::driver::run;
use chatbench::measure::health::own_ns;
use chatbench::scenario::{self, plan::Plan};
use hdrhistogram::Histogram;

use super::target::{Answered, Record, Service, Target};
use super::{alone, exact, ks_exponential, tolerance_ns};

/// How often an attempt that the machine disturbed is repeated.
const ATTEMPTS: usize = 20;

/// A run that is over, and both sides' accounts of it.
struct Told {
    plan: Plan,
    outcome: Outcome,
    record: Record,
}

impl Told {
    fn of(service: Service, scenario: &str) -> Self {
        let _alone = alone();
        let target = Target::start(service);
        let text = format!("[run]\nwarmup = \"0s\"\ndrain = \"30s\"\n{scenario}");
        let plan = scenario::parse("known", &text, &[], Some(42), Some(&target.url()))
            .unwrap_or_else(|e| panic!("{e}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let outcome = runtime
            .block_on(run::run(
                &plan,
                Path::new(env!("CARGO_BIN_EXE_chatbench")),
                None,
                &mut |_, _| (),
            ))
            .unwrap();
        let findings = &outcome.findings;
        assert_eq!(findings.violation_count(), 0, "{:#?}", findings.violations);
        assert_eq!(outcome.inconclusive, Vec::<String>::new());
        assert_eq!(findings.counts.acked, findings.counts.sent);
        Self {
            plan,
            outcome,
            record: target.record(),
        }
    }

    /// And not the generator.
    #[track_caller]
    fn assert_the_target_was_slow(&self) {
        let health = &self.outcome.health;
        assert!(!health.is_saturated(), "{health:?}");
    }

    fn since_epoch_ns(&self, at: Instant) -> u64 {
        (at - self.outcome.epoch.into_std()).as_nanos() as u64
    }

    /// Messages due in the measured phase.
    fn messages(&self) -> impl Iterator<Item = &Answered> {
        let window = self.outcome.measured.window;
        let all = self.record.messages.iter();
        all.filter(move |m| window.contains(m.intended_ns))
    }

    /// From each message's intended send to the moment its ack was written, sorted.
    fn true_acks(&self) -> Vec<u64> {
        let mut truth: Vec<u64> = self
            .messages()
            .map(|m| self.since_epoch_ns(m.acked) - m.intended_ns)
            .collect();
        truth.sort_unstable();
        truth
    }

    /// The same for each delivery.
    fn true_relays(&self) -> Vec<u64> {
        let mut truth: Vec<u64> = self
            .messages()
            .flat_map(|m| {
                m.relayed
                    .iter()
                    .map(|&at| self.since_epoch_ns(at) - m.intended_ns)
            })
            .collect();
        truth.sort_unstable();
        truth
    }

    /// From the first to the last relay of each message, sorted.
    fn true_spreads(&self) -> Vec<u64> {
        let mut truth: Vec<u64> = self
            .messages()
            .filter_map(|m| Some(*m.relayed.iter().max()? - *m.relayed.iter().min()?))
            .map(|spread| spread.as_nanos() as u64)
            .collect();
        truth.sort_unstable();
        truth
    }

    /// Evidence, independent of the latencies reported, that the machine kept someone waiting:
    /// by how much one message of a hundred may be off for it.
    fn disturbance_ns(&self) -> u64 {
        let mut late = self.record.lateness_ns.clone();
        late.sort_unstable();
        own_ns(&self.outcome.measured, 99.0) + exact(&late, 99.0)
    }
}

/// A figure and what it must be.
struct Figure {
    name: String,
    reported_ns: u64,
    answer_ns: u64,
    /// Where the answer is a closed form: what the target itself says it was.
    true_ns: Option<u64>,
}

fn agree(a_ns: u64, b_ns: u64) -> bool {
    a_ns.abs_diff(b_ns) <= tolerance_ns(a_ns.min(b_ns))
}

/// Runs until all figures agree, or an undisturbed run disagrees.
fn must_agree(attempt: impl Fn() -> Told, figures: impl Fn(&Told) -> Vec<Figure>) -> Told {
    let mut evidence = Vec::new();
    for _ in 0..ATTEMPTS {
        let told = attempt();
        let figures = figures(&told);
        assert!(!figures.is_empty());
        let wrong = figures.iter().find(|f| !agree(f.reported_ns, f.answer_ns));
        let Some(wrong) = wrong else {
            return told;
        };
        let disturbance_ns = told.disturbance_ns();
        let said = format!(
            "{}: reported {} ns, the answer is {} ns, the target says {:?} ns; the machine kept \
             them waiting for {disturbance_ns} ns",
            wrong.name, wrong.reported_ns, wrong.answer_ns, wrong.true_ns
        );
        // A disturbance well under the tolerance explains no disagreement.
        let off = wrong
            .true_ns
            .is_some_and(|true_ns| !agree(true_ns, wrong.answer_ns));
        let disturbed = disturbance_ns > tolerance_ns(wrong.answer_ns) / 3;
        assert!(off || disturbed, "{said}");
        evidence.push(said);
    }
    panic!("undecided, the machine is too busy for this test: {evidence:#?}");
}

/// What was reported at `percentile` of `latency` against the exact percentile of `truth`.
fn recorded(name: &str, latency: &Histogram<u64>, percentile: f64, truth: &[u64]) -> Figure {
    assert_eq!(
        latency.len(),
        truth.len() as u64,
        "{name}: every one is there"
    );
    Figure {
        name: format!("{name} p{percentile}"),
        reported_ns: latency.value_at_quantile(percentile / 100.0),
        answer_ns: exact(truth, percentile),
        true_ns: None,
    }
}

/// What was reported against a closed form, which holds as far as `truth` followed it.
fn closed_form(
    name: &str,
    latency: &Histogram<u64>,
    percentile: f64,
    truth: &[u64],
    answer_ns: u64,
) -> Figure {
    Figure {
        answer_ns,
        true_ns: Some(exact(truth, percentile)),
        ..recorded(name, latency, percentile, truth)
    }
}

/// Acks and relays against the target's own account.
fn against_the_record(told: &Told, percentiles: &[f64]) -> Vec<Figure> {
    let measured = &told.outcome.measured;
    let (acks, relays) = (told.true_acks(), told.true_relays());
    let both = percentiles.iter().flat_map(|&p| {
        [
            recorded("ack", &measured.ack, p, &acks),
            recorded("relay", &measured.relay, p, &relays),
        ]
    });
    both.collect()
}

/// Acks and relays against a closed form, ns at a percentile.
fn against_the_formula(
    told: &Told,
    percentiles: &[f64],
    formula: impl Fn(f64) -> f64,
) -> Vec<Figure> {
    let measured = &told.outcome.measured;
    let (acks, relays) = (told.true_acks(), told.true_relays());
    let both = percentiles.iter().flat_map(|&p| {
        let answer_ns = formula(p).max(0.0) as u64;
        [
            closed_form("ack", &measured.ack, p, &acks, answer_ns),
            closed_form("relay", &measured.relay, p, &relays, answer_ns),
        ]
    });
    both.collect()
}

const PERCENTILES: [f64; 4] = [25.0, 50.0, 90.0, 99.0];

#[test]
fn an_immediate_server_shows_the_floor_of_the_instrument() {
    let scenario = "duration = \"2s\"\n[clients.t]\nrate = 500\n";
    must_agree(
        || Told::of(Service::Immediate, scenario),
        |told| {
            let mut figures = against_the_record(told, &PERCENTILES);
            figures.extend(against_the_formula(told, &[25.0, 50.0], |_| 0.0));
            figures
        },
    );
}

#[test]
fn a_fixed_delay_is_every_percentile() {
    const DELAY: Duration = Duration::from_millis(200);
    let scenario = "duration = \"2s\"\n[clients.t]\ncount = 2\nrate = 400\n";
    must_agree(
        || Told::of(Service::Fixed(DELAY), scenario),
        |told| {
            let delay_ns = DELAY.as_nanos() as u64;
            let mut figures = against_the_record(told, &PERCENTILES);
            figures.extend(against_the_formula(told, &PERCENTILES, |_| delay_ns as f64));
            let measured = &told.outcome.measured;
            let (acks, relays) = (told.true_acks(), told.true_relays());
            for p in PERCENTILES {
                let ack = &measured.ack_service;
                figures.push(closed_form("ack_service", ack, p, &acks, delay_ns));
                let relay = &measured.relay_service;
                figures.push(closed_form("relay_service", relay, p, &relays, delay_ns));
            }
            figures
        },
    );
}

/// One stall of D in a window of T: what is due in it waits for its end, so
/// L(p) = D − (1 − p)·T for p > 1 − D/T. A tool that waits for answers before it sends on would
/// see one slow message.
#[test]
fn a_stall_is_seen_by_every_message_that_was_due_in_it() {
    const STALL_S: f64 = 1.0;
    const WINDOW_S: f64 = 4.0;
    let service = Service::Stall {
        from: 500,
        length: Duration::from_secs_f64(STALL_S),
    };
    let scenario = "duration = \"4s\"\n[clients.t]\nrate = 500\n";
    let told = must_agree(
        || Told::of(service, scenario),
        |told| {
            let mut figures = against_the_record(told, &PERCENTILES);
            figures.extend(against_the_formula(told, &[50.0, 80.0, 90.0, 99.0], |p| {
                (STALL_S - (1.0 - p / 100.0) * WINDOW_S) * 1e9
            }));
            figures
        },
    );
    told.assert_the_target_was_slow();
}

/// Every thousandth message takes D, and holds up what comes meanwhile: at 1,000 a second a stall
/// of D in every second, L(p) = D − (1 − p)·1 s for p > 1 − D/1 s.
#[test]
fn every_thousandth_message_slow_is_seen_by_what_waits_for_it() {
    const DELAY_S: f64 = 0.2;
    let service = Service::EveryNth {
        every: 1_000,
        delay: Duration::from_secs_f64(DELAY_S),
    };
    // To the 4,000th, whose stall ends after the window: four of them.
    let scenario = "duration = \"4s\"\n[clients.t]\nrate = 1000\n";
    let told = must_agree(
        || Told::of(service, scenario),
        |told| {
            let mut figures = against_the_record(told, &PERCENTILES);
            // The last stall has one message due in it; there are three whole ones and that.
            figures.extend(against_the_formula(told, &[50.0, 90.0, 95.0, 99.0], |p| {
                (DELAY_S - (1.0 - p / 100.0) * 4.0 / 3.0) * 1e9
            }));
            figures
        },
    );
    told.assert_the_target_was_slow();
}

/// M/M/1: exponential service, Poisson arrivals. The closed form holds in the long run, which
/// [`super::simulated`] takes; here the answer is what the target really did.
#[test]
fn a_queue_is_seen_as_it_was() {
    let service = Service::Exponential {
        mean: Duration::from_millis(4),
        seed: 5,
    };
    let scenario = "duration = \"4s\"\n[clients.t]\ncount = 3\nrate = 200\narrival = \"poisson\"\n";
    let told = must_agree(
        || Told::of(service, scenario),
        |told| against_the_record(told, &PERCENTILES),
    );
    arrivals_are_poisson(&told, 200.0);
}

/// What was sent, as its receiver saw it: the gaps between intended times are exponential, they
/// are those of the schedule to the nanosecond, and nothing came before it was due.
fn arrivals_are_poisson(told: &Told, rate: f64) {
    let mut due: Vec<u64> = told.messages().map(|m| m.intended_ns).collect();
    due.sort_unstable();
    let mut gaps: Vec<f64> = due.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
    let distance = ks_exponential(&mut gaps, 1e9 / rate);
    assert!(
        distance < 1.95,
        "√n·D = {distance} over {} gaps",
        gaps.len()
    );

    let start_ns = told.outcome.measured.window.start_ns;
    let end_ns = told.outcome.measured.window.end_ns;
    let mut scheduled: Vec<u64> = (0..3)
        .flat_map(|client| told.plan.schedule(0, client).unwrap())
        .map(|due_ns| start_ns + due_ns)
        .filter(|due_ns| *due_ns < end_ns)
        .collect();
    scheduled.sort_unstable();
    assert_eq!(due, scheduled);
    for message in told.messages() {
        assert!(told.since_epoch_ns(message.received) >= message.intended_ns);
    }
}

#[test]
fn one_slow_receiver_moves_only_its_own_latencies() {
    const DELAY: Duration = Duration::from_millis(200);
    // Connections come in the order of the plan at this pace: the talker first.
    let service = Service::SlowReceiver {
        receiver: 4,
        delay: DELAY,
    };
    let scenario = "duration = \"3s\"\nobservers = 0\nconnect_rate = 200\n\
                    [clients.t]\nrate = 200\n[clients.listeners]\ncount = 9\n";
    let told = must_agree(
        || Told::of(service, scenario),
        |told| {
            let measured = &told.outcome.measured;
            let delay_ns = DELAY.as_nanos() as u64;
            let (acks, relays) = (told.true_acks(), told.true_relays());
            let mut figures = against_the_record(told, &[50.0, 80.0, 95.0, 99.0]);
            // One of nine: up to p88 the others, from p90 on the slow one.
            for (p, answer_ns) in [(50.0, 0), (90.0, delay_ns), (99.0, delay_ns)] {
                figures.push(closed_form("relay", &measured.relay, p, &relays, answer_ns));
            }
            figures.push(closed_form("ack", &measured.ack, 50.0, &acks, 0));
            let spreads = told.true_spreads();
            for p in [10.0, 50.0, 90.0] {
                figures.push(recorded("spread", &measured.spread, p, &spreads));
                figures.push(closed_form(
                    "spread",
                    &measured.spread,
                    p,
                    &spreads,
                    delay_ns,
                ));
            }
            figures
        },
    );
    told.assert_the_target_was_slow();
}

/// Offered and achieved rate agree within 1 %, at both ends and in the middle.
#[test]
fn what_is_offered_is_sent() {
    for (rate, duration_s) in [(0.2, 6.0), (50.0, 1.0), (5_000.0, 1.0)] {
        let scenario = format!(
            "duration = \"{duration_s}s\"\nobservers = 0\n[clients.t]\ncount = 2\nrate = {rate}\n"
        );
        let told = Told::of(Service::Immediate, &scenario);
        let measured = &told.outcome.measured;
        let asked = f64::ceil(rate * duration_s);
        assert_eq!(measured.offered, Some(asked as u64), "{rate}/s");
        // However busy the machine: what was due was sent, if late.
        assert_eq!(measured.due_and_sent, asked as u64, "{rate}/s");
        assert_eq!(measured.unsent, 0, "{rate}/s");
        assert_eq!(told.messages().count(), asked as usize, "{rate}/s");
    }
}
