use proptest::prelude::*;

use super::*;

const S: u64 = 1_000_000_000;

fn schedule(profile: &Profile, arrival: Arrival, seed: u64, client: u32, clients: u32) -> Vec<u64> {
    Schedule::new(Arc::new(profile.clone()), arrival, seed, client, clients).collect()
}

/// All clients' sends, in the order of time.
fn union(profile: &Profile, arrival: Arrival, seed: u64, clients: u32) -> Vec<u64> {
    let mut all: Vec<u64> = (0..clients)
        .flat_map(|client| schedule(profile, arrival, seed, client, clients))
        .collect();
    all.sort_unstable();
    all
}

fn stage(ms: u64, rate: f64) -> Stage {
    Stage {
        duration: Duration::from_millis(ms),
        rate,
    }
}

/// Stages with jumps and silences, a silent warm-up, and an end before or after the last stage.
fn profiles() -> impl Strategy<Value = Profile> {
    let rate = prop_oneof![Just(0.0), 0.05..3_000.0f64];
    let stage = (prop_oneof![Just(0u64), 1..2_000u64], rate).prop_map(|(ms, rate)| stage(ms, rate));
    let stages = prop::collection::vec(stage, 1..5);
    prop_oneof![
        (0.05..3_000.0f64, 1..4 * S).prop_map(|(rate, end)| Profile::constant(rate, end)),
        (0..2 * S, stages, 1..6 * S)
            .prop_map(|(start, stages, end)| { Profile::stages(start, &stages, end) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_clients_of_a_constant_group_send_exactly_the_groups_schedule(
        profile in profiles(),
        clients in 1u32..8,
    ) {
        let group = schedule(&profile, Arrival::Constant, 1, 0, 1);
        prop_assert_eq!(group.len() as f64, profile.messages().ceil());
        prop_assert_eq!(union(&profile, Arrival::Constant, 1, clients), group);
    }

    #[test]
    fn each_message_is_due_when_the_integral_of_the_rate_passes_it(profile in profiles()) {
        let due = schedule(&profile, Arrival::Constant, 1, 0, 1);
        for (i, &due_ns) in due.iter().enumerate() {
            let error = (profile.due_by(due_ns) - i as f64).abs();
            // One ns of rounding at the steepest rate, and the square root's last bits.
            prop_assert!(error <= 3_000.0 / NS_PER_S + 1e-9, "message {i} is off by {error}");
        }
    }

    #[test]
    fn every_schedule_ascends_and_ends_with_its_profile(
        profile in profiles(),
        seed: u64,
        clients in 1u32..8,
        poisson: bool,
    ) {
        let arrival = if poisson { Arrival::Poisson } else { Arrival::Constant };
        let end_ns = profile.pieces().last().map_or(0, |piece| piece.end_ns);
        for client in 0..clients {
            let due = schedule(&profile, arrival, seed, client, clients);
            prop_assert!(due.is_sorted());
            prop_assert!(due.last().is_none_or(|&last| last < end_ns));
            prop_assert!(due.iter().all(|&t| profile.rate_at(t) > 0.0 || profile.rate_at(t + 1) > 0.0));
        }
    }

    #[test]
    fn a_due_time_is_exact_to_the_nanosecond_ten_hours_in(
        rate in 1u64..200_000,
        share in 0.0..1.0f64,
    ) {
        let end_ns = 36_000 * S;
        let i = (share * (rate * 36_000 - 1) as f64) as u64;
        let profile = Profile::constant(rate as f64, end_ns);
        let due_ns = profile.due_ns(i as f64, &mut 0).unwrap();
        // Against integer arithmetic: |due − i/rate| ≤ half a ns of rounding and a little.
        let error = (i128::from(due_ns) * i128::from(rate) - i128::from(i) * i128::from(S)).abs();
        prop_assert!(error * 100 <= i128::from(rate) * 53, "{error}/{rate} ns off");
    }

    #[test]
    fn a_decimal_rate_sends_what_its_decimals_say(
        thousandths in 1u64..10_000_000,
        seconds in 1u64..36_000,
    ) {
        let profile = Profile::constant(thousandths as f64 / 1e3, seconds * S);
        let exact = (thousandths * seconds).div_ceil(1_000);
        prop_assert_eq!(profile.messages().ceil(), exact as f64);
    }

    #[test]
    fn stages_are_cut_at_the_end_not_squeezed(ms in 1u64..20_000, rate in 1.0..1e5f64) {
        let whole = Profile::stages(0, &[stage(20_000, rate)], 20 * S);
        let cut = Profile::stages(0, &[stage(20_000, rate)], ms * 1_000_000);
        let expected = whole.due_by(ms * 1_000_000);
        prop_assert!((cut.messages() - expected).abs() <= expected * 1e-9);
    }
}

#[test]
fn a_group_slower_than_a_message_a_second_sends_on_time() {
    let profile = Profile::constant(0.2, 60 * S);
    let expected: Vec<u64> = (0..12).map(|i| i * 5 * S).collect();
    assert_eq!(union(&profile, Arrival::Constant, 1, 3), expected);
}

#[test]
fn a_hundred_thousand_a_second_are_evenly_spaced() {
    let due = union(
        &Profile::constant(100_000.0, 2 * S),
        Arrival::Constant,
        1,
        7,
    );
    let expected: Vec<u64> = (0..200_000).map(|i| i * 10_000).collect();
    assert_eq!(due, expected);
}

#[test]
fn a_ramp_from_silence_begins_with_its_stage_and_holds_its_last_rate() {
    // 2 s of warm-up, 0 → 10/s over 2 s (10 messages), then 10/s for 1 s.
    let profile = Profile::stages(2 * S, &[stage(2_000, 10.0)], 5 * S);
    let due = schedule(&profile, Arrival::Constant, 1, 0, 1);
    assert_eq!(due.len(), 20);
    assert_eq!(due[0], 2 * S);
    assert_eq!(due[10], 4 * S);
    assert_eq!(due[19], 4 * S + 900_000_000);
    // Λ(t) = 2.5 t² within the ramp.
    assert_eq!(due[1], 2 * S + 632_455_532);
}

#[test]
fn a_stage_of_no_length_is_a_jump() {
    let profile = Profile::stages(0, &[stage(0, 100.0), stage(1_000, 100.0)], S);
    assert_eq!(
        schedule(&profile, Arrival::Constant, 1, 0, 1),
        schedule(&Profile::constant(100.0, S), Arrival::Constant, 1, 0, 1)
    );
}

#[test]
fn stages_behind_the_end_send_nothing() {
    let profile = Profile::stages(2 * S, &[stage(1_000, 10.0)], 2 * S);
    assert!(schedule(&profile, Arrival::Constant, 1, 0, 1).is_empty());
    assert!(schedule(&profile, Arrival::Poisson, 1, 0, 1).is_empty());
}

/// The largest distance between the empirical distribution of `gaps` and 1 − e⁻ˣ.
fn kolmogorov_smirnov(mut gaps: Vec<f64>) -> f64 {
    gaps.sort_by(f64::total_cmp);
    let n = gaps.len() as f64;
    gaps.iter().enumerate().fold(0.0, |worst, (i, gap)| {
        let expected = 1.0 - (-gap).exp();
        let below = (expected - i as f64 / n).abs();
        let above = ((i + 1) as f64 / n - expected).abs();
        f64::max(worst, f64::max(below, above))
    })
}

/// The gaps between sends, in messages that the profile made due meanwhile: unit-exponential if
/// the sends are a Poisson process of that profile.
fn gaps(profile: &Profile, due: &[u64]) -> Vec<f64> {
    let mut before = 0.0;
    due.iter()
        .map(|&t| {
            let now = profile.due_by(t);
            now - std::mem::replace(&mut before, now)
        })
        .collect()
}

#[test]
fn poisson_arrivals_have_exponential_gaps_alone_and_superposed() {
    let constant = Profile::constant(5_000.0, 10 * S);
    let ramp = Profile::stages(S, &[stage(5_000, 8_000.0), stage(3_000, 500.0)], 10 * S);
    for profile in [constant, ramp] {
        for clients in [1, 4, 100] {
            let due = union(&profile, Arrival::Poisson, 42, clients);
            let (n, expected) = (due.len() as f64, profile.messages());
            assert!((n - expected).abs() < 4.0 * expected.sqrt(), "{n} sends");
            let gaps = gaps(&profile, &due);
            let mean = gaps.iter().sum::<f64>() / n;
            assert!((mean - 1.0).abs() < 4.0 / n.sqrt(), "mean gap {mean}");
            // 1.63/√n: the test's bound at a significance of 1 %.
            let distance = kolmogorov_smirnov(gaps);
            assert!(distance < 1.63 / n.sqrt(), "{clients} clients: {distance}");
        }
    }
}

#[test]
fn poisson_schedules_repeat_by_seed_and_differ_by_seed_and_client() {
    let profile = Profile::constant(100.0, 10 * S);
    let poisson = |seed, client| schedule(&profile, Arrival::Poisson, seed, client, 4);
    assert_eq!(poisson(1, 0), poisson(1, 0));
    assert_ne!(poisson(1, 0), poisson(1, 1));
    assert_ne!(poisson(1, 0), poisson(2, 0));
    // Neither is one client's schedule another seed's of its neighbour.
    assert_ne!(poisson(1, 1), poisson(2, 0));
}

#[test]
#[should_panic(expected = "client 4 of 4")]
fn a_client_beyond_its_group_is_refused() {
    let _ = Schedule::new(
        Arc::new(Profile::constant(1.0, S)),
        Arrival::Constant,
        1,
        4,
        4,
    );
}
