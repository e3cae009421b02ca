//! The pure parts by a virtual clock: schedule in, percentiles out, and between them a server that
//! is a formula. What comes out must be the closed form, to the three digits of a histogram.

use std::sync::Arc;

use chatbench::measure::health::Health;
use chatbench::measure::{Collector, Measured, ShardRecorder, Window};
use chatbench::scenario::pace::{Profile, Schedule};
use chatbench::scenario::plan::Arrival;
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::ks_exponential;

const MS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// One sender's schedule over `seconds`.
fn schedule(rate: f64, seconds: u64, arrival: Arrival) -> Schedule {
    let profile = Profile::constant(rate, seconds * SECOND_NS);
    Schedule::new(Arc::new(profile), arrival, 42, 0, 1)
}

/// Sends what falls due in `seconds` at `send(due)`, has it answered at `answer(sent)`, and hands
/// in every second, as a shard does.
fn drive(
    due: impl Iterator<Item = u64>,
    seconds: u64,
    mut send: impl FnMut(u64) -> u64,
    mut answer: impl FnMut(u64) -> u64,
) -> Measured {
    let window = Window {
        start_ns: 0,
        end_ns: seconds * SECOND_NS,
    };
    let mut recorder = ShardRecorder::new(window);
    let mut collector = Collector::new(window, 1);
    let mut offered = 0;
    let mut second = 0;
    for due_ns in due.take_while(|&due_ns| due_ns < window.end_ns) {
        while due_ns / SECOND_NS > second {
            collector.absorb(0, second, recorder.take_interval(), 1);
            second += 1;
        }
        offered += 1;
        let sent_ns = send(due_ns);
        let answered_ns = answer(sent_ns);
        recorder.sent(due_ns, sent_ns, false, 100);
        recorder.ack(0, due_ns, answered_ns);
        recorder.ack_service(due_ns, sent_ns, answered_ns);
        recorder.relay(0, due_ns, answered_ns);
        recorder.relay_service(due_ns, sent_ns, answered_ns);
        collector.message(due_ns, answered_ns, answered_ns, 1);
    }
    collector.absorb(0, second, recorder.take_interval(), 1);
    collector.finish(Some(offered))
}

/// `histogram` holds `answer_ns` at `percentile`, within `share` of it.
fn assert_at(histogram: &Histogram<u64>, percentile: f64, answer_ns: f64, share: f64) {
    let value = histogram.value_at_quantile(percentile / 100.0) as f64;
    assert!(
        (value - answer_ns).abs() <= answer_ns * share + 1.0,
        "p{percentile}: {value} ns, the answer is {answer_ns} ns"
    );
}

/// Three digits.
const EXACT: f64 = 0.001;

const PERCENTILES: [f64; 6] = [10.0, 50.0, 90.0, 99.0, 99.9, 99.99];

#[test]
fn a_fixed_delay() {
    let measured = drive(
        schedule(10_000.0, 10, Arrival::Constant),
        10,
        |due| due,
        |sent| sent + 7 * MS,
    );
    for p in PERCENTILES {
        for latency in [&measured.ack, &measured.relay, &measured.last_relay] {
            assert_at(latency, p, 7e6, EXACT);
        }
    }
    assert_eq!(measured.ack.len(), 100_000);
    assert_eq!(
        (measured.counts.sent, measured.offered),
        (100_000, Some(100_000))
    );
}

/// L(p) = D − (1 − p)·T, for p > 1 − D/T.
#[test]
fn one_stall() {
    let stall = 3 * SECOND_NS..5 * SECOND_NS;
    let measured = drive(
        schedule(10_000.0, 20, Arrival::Constant),
        20,
        |due| due,
        |sent| {
            if stall.contains(&sent) {
                stall.end
            } else {
                sent
            }
        },
    );
    for p in [91.0, 95.0, 99.0, 99.9, 99.99] {
        let answer_ns = 2e9 - (1.0 - p / 100.0) * 20e9;
        assert_at(&measured.ack, p, answer_ns, EXACT);
        assert_at(&measured.relay, p, answer_ns, EXACT);
    }
    assert_at(&measured.ack, 89.9, 0.0, EXACT);
}

/// The same stall in the generator: late by the schedule, and none of it the target's.
#[test]
fn a_generator_that_stood_still() {
    let stall = 3 * SECOND_NS..3 * SECOND_NS + 500 * MS;
    let measured = drive(
        schedule(10_000.0, 20, Arrival::Constant),
        20,
        |due| if stall.contains(&due) { stall.end } else { due },
        |sent| sent + MS,
    );
    for p in [99.0, 99.9, 99.99] {
        let lag_ns = 0.5e9 - (1.0 - p / 100.0) * 20e9;
        assert_at(&measured.send_lag, p, lag_ns, EXACT);
        assert_at(&measured.ack, p, lag_ns + 1e6, EXACT);
        assert_at(&measured.ack_service, p, 1e6, EXACT);
        assert_at(&measured.relay_service, p, 1e6, EXACT);
    }
    let health = Health::new(&measured, 0, Vec::new());
    assert!(health.is_saturated(), "{health:?}");
}

#[test]
fn every_thousandth_slow() {
    let mut n = 0;
    let measured = drive(
        schedule(10_000.0, 10, Arrival::Constant),
        10,
        |due| due,
        |sent| {
            n += 1;
            sent + if n % 1_000 == 0 { 20 * MS } else { 100_000 }
        },
    );
    for (p, answer_ns) in [(99.0, 1e5), (99.89, 1e5), (99.91, 20e6), (99.99, 20e6)] {
        assert_at(&measured.ack, p, answer_ns, EXACT);
    }
    assert_eq!(measured.ack.count_between(19 * MS, 21 * MS), 100);
}

/// The times a FIFO server with these service times is done.
fn queue(mut service_ns: impl FnMut() -> f64) -> impl FnMut(u64) -> u64 {
    let mut free_ns = 0.0_f64;
    move |sent_ns| {
        free_ns = free_ns.max(sent_ns as f64) + service_ns();
        free_ns.ceil() as u64
    }
}

/// L(p) = −ln(1 − p)/(μ − λ): three million messages, always the same ones.
#[test]
fn an_exponential_server_under_poisson_arrivals() {
    const LAMBDA: f64 = 7_000.0;
    const MU: f64 = 10_000.0;
    let mut random = Pcg64::seed_from_u64(3);
    let service = move || -1e9 / MU * (1.0 - random.random::<f64>()).ln();
    let measured = drive(
        schedule(LAMBDA, 430, Arrival::Poisson),
        430,
        |due| due,
        queue(service),
    );
    assert!(measured.ack.len() > 3_000_000);
    for p in [10.0, 50.0, 90.0, 99.0, 99.9] {
        let answer_ns = -1e9 * (1.0 - p / 100.0_f64).ln() / (MU - LAMBDA);
        assert_at(&measured.ack, p, answer_ns, 0.05);
    }
}

/// Pollaczek and Khinchine: the mean is 1/μ + ρ/(2μ(1 − ρ)).
#[test]
fn a_constant_server_under_poisson_arrivals() {
    const LAMBDA: f64 = 8_000.0;
    const MU: f64 = 10_000.0;
    let measured = drive(
        schedule(LAMBDA, 120, Arrival::Poisson),
        120,
        |due| due,
        queue(|| 1e9 / MU),
    );
    let answer_ns = 1e9 / MU * (1.0 + LAMBDA / MU / (2.0 * (1.0 - LAMBDA / MU)));
    let mean_ns = measured.ack.mean();
    assert!(
        (mean_ns / answer_ns - 1.0).abs() < 0.02,
        "{mean_ns} against {answer_ns}"
    );
}

#[test]
fn one_slow_receiver_of_ten() {
    let window = Window {
        start_ns: 0,
        end_ns: 10 * SECOND_NS,
    };
    let mut recorder = ShardRecorder::new(window);
    let mut collector = Collector::new(window, 1);
    for due_ns in schedule(1_000.0, 10, Arrival::Constant) {
        recorder.ack(0, due_ns, due_ns + MS);
        for receiver in 0..10 {
            let late_ns = if receiver == 3 { 50 * MS } else { MS };
            recorder.relay(0, due_ns, due_ns + late_ns);
        }
        collector.message(due_ns, due_ns + MS, due_ns + 50 * MS, 10);
    }
    collector.absorb(0, 0, recorder.take_interval(), 11);
    let measured = collector.finish(None);
    for (p, answer_ns) in [(50.0, 1e6), (90.0, 1e6), (90.1, 50e6), (99.99, 50e6)] {
        assert_at(&measured.relay, p, answer_ns, EXACT);
    }
    assert_at(&measured.ack, 99.99, 1e6, EXACT);
    assert_at(&measured.spread, 1.0, 49e6, EXACT);
    assert_at(&measured.last_relay, 1.0, 50e6, EXACT);
}

/// What is offered is what was asked for, within a message, over six decades; and Poisson
/// arrivals are Poisson at each.
#[test]
fn offered_rates_from_one_in_five_seconds_to_a_hundred_thousand_a_second() {
    for (rate, seconds) in [
        (0.2, 3_600),
        (1.0, 3_600),
        (50.0, 600),
        (5_000.0, 60),
        (1e5, 10),
    ] {
        let asked = rate * seconds as f64;
        let constant = drive(
            schedule(rate, seconds, Arrival::Constant),
            seconds,
            |due| due,
            |sent| sent,
        );
        assert_eq!(constant.offered, Some(asked as u64), "{rate}/s");
        assert_eq!(constant.counts.sent, asked as u64, "{rate}/s");

        let due: Vec<u64> = schedule(rate, seconds, Arrival::Poisson).collect();
        // Four standard deviations of a Poisson count; within 1 % from 160,000 messages on.
        let off = (due.len() as f64 - asked).abs();
        assert!(
            off < 4.0 * asked.sqrt(),
            "{rate}/s: {} of {asked}",
            due.len()
        );
        let mut gaps: Vec<f64> = due.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let distance = ks_exponential(&mut gaps, 1e9 / rate);
        assert!(distance < 1.95, "{rate}/s: √n·D = {distance}");
    }
}

/// The test of arrivals would notice: constant gaps, and gaps of the wrong rate, are not Poisson.
#[test]
fn arrivals_that_are_not_poisson_are_told_from_those_that_are() {
    let mut constant = vec![1e6; 1_000];
    assert!(ks_exponential(&mut constant, 1e6) > 1.95);
    let due: Vec<u64> = schedule(1_000.0, 10, Arrival::Poisson).collect();
    let mut gaps: Vec<f64> = due.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
    assert!(ks_exponential(&mut gaps, 1.1e6) > 1.95, "ten per cent off");
}
