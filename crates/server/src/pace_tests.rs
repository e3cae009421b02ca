use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    slack_bytes: 1000,
    steady_bytes: 100,
    brisk_bytes: 500,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn standing(pace: &Pace, at: u64, end: u64, now: Duration) -> Standing {
    pace.standing(at, end, &LIMITS, PATIENCE, now)
}

#[test]
fn who_is_hardly_behind_is_waited_for_by_nobody_and_given_up_by_nobody() {
    let mut pace = Pace::new(ms(0));
    pace.fall_behind(ms(0));
    for now in [0, 99, 100, 1000, 100_000] {
        assert_eq!(standing(&pace, 0, 1000, ms(now)), Standing::Near);
    }
}

#[test]
fn who_stops_is_waited_for_then_kept_for_then_given_up() {
    let mut pace = Pace::new(ms(0));
    pace.catch_up();
    pace.fall_behind(ms(500));
    for (now, expected) in [
        (500, Standing::WaitedFor),
        (599, Standing::WaitedFor),
        (600, Standing::KeptFor),
        (1499, Standing::KeptFor),
        (1500, Standing::GivenUp),
    ] {
        assert_eq!(standing(&pace, 0, 1001, ms(now)), expected, "{now}");
    }
    // A byte does not help, what makes a steady reader does.
    pace.take(1, 2000, &LIMITS, ms(1600));
    assert_eq!(standing(&pace, 1, 2000, ms(1600)), Standing::GivenUp);
    pace.take(99, 2000, &LIMITS, ms(1700));
    assert_eq!(standing(&pace, 100, 2000, ms(1700)), Standing::KeptFor);
    assert_eq!(standing(&pace, 100, 2000, ms(2700)), Standing::GivenUp);
}

#[test]
fn while_a_brisk_reader_catches_up_the_log_grows_half_as_fast_as_it_reads() {
    let mut pace = Pace::new(ms(0));
    pace.fall_behind(ms(0));
    // It goes on after a pause, 100,000 behind.
    pace.take(500, 100_000, &LIMITS, ms(5000));
    assert_eq!(standing(&pace, 500, 100_250, ms(5001)), Standing::KeptFor);
    assert_eq!(standing(&pace, 500, 100_251, ms(5001)), Standing::WaitedFor);
    pace.take(500, 100_251, &LIMITS, ms(5002));
    assert_eq!(standing(&pace, 1000, 100_500, ms(5003)), Standing::KeptFor);
    assert_eq!(
        standing(&pace, 1000, 100_501, ms(5003)),
        Standing::WaitedFor
    );
}

#[test]
fn patience_halves_with_each_that_is_cut_off_and_comes_back() {
    let mut patience = Patience::default();
    assert_eq!(patience.left(ms(0)), PATIENCE);
    patience.lose(ms(1000));
    patience.lose(ms(1049)); // of the same moment
    assert_eq!(patience.left(ms(1049)), PATIENCE / 2);
    patience.lose(ms(1100));
    assert_eq!(patience.left(ms(1100)), PATIENCE / 4);
    for k in 0..20 {
        patience.lose(ms(1200 + 50 * k));
    }
    assert_eq!(patience.left(ms(2200)), LEAST_PATIENCE);
    let last = ms(1200 + 50 * 19);
    assert_eq!(patience.left(last + 9 * RECOVERY), PATIENCE);
    patience.lose(last + 9 * RECOVERY);
    assert_eq!(patience.left(last + 10 * RECOVERY), PATIENCE);
}

proptest! {
    /// However it is drawn when and how much: who takes enough in every patience is not given up,
    /// and who does not is, until it does.
    #[test]
    fn who_takes_enough_in_time_is_never_given_up(
        takes in prop::collection::vec((0_u64..900, 1_u64..300), 1..100),
    ) {
        let mut pace = Pace::new(ms(0));
        pace.fall_behind(ms(0));
        let (mut now, mut at, end) = (ms(0), 0, u64::MAX / 2);
        // The reader's own account: when it had last taken enough, and what since.
        let (mut enough_at, mut since) = (ms(0), 0);
        let (mut brisk_at, mut brisk_since) = (ms(0), 0);
        for (wait, bytes) in takes {
            for step in [wait / 2, wait - wait / 2] {
                now += ms(step);
                let given_up = standing(&pace, at, end, now) == Standing::GivenUp;
                let late = now - enough_at >= PATIENCE && now - brisk_at >= BRISK_TIME;
                prop_assert_eq!(given_up, late, "at {:?}, steady at {:?}", now, enough_at);
            }
            at += bytes;
            pace.take(bytes, end, &LIMITS, now);
            since += bytes;
            if since >= LIMITS.steady_bytes {
                (enough_at, since) = (now, 0);
            }
            brisk_since += bytes;
            if brisk_since >= LIMITS.brisk_bytes {
                (brisk_at, brisk_since) = (now, 0);
            }
        }
    }
}
