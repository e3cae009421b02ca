//! The promises of comparisons, held against many of them whose truth is known: simulated
//! runs, seeded, with the figures of a table hanging together as those of real runs do.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::report::compare::judge::{self, Judged, Runs};
use crate::report::compare::{Outcome, Terms};

/// Figures of a table: classes of four percentiles that hang together, and some on their own.
const FIGURES: usize = 16;

struct World {
    random: Pcg64Mcg,
    terms: Terms,
}

impl World {
    fn new(seed: u64, tolerance: f64) -> Self {
        Self {
            random: Pcg64Mcg::seed_from_u64(seed),
            terms: Terms {
                tolerance,
                ..Terms::default()
            },
        }
    }

    /// A standard normal deviate.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.random.random_range(f64::MIN_POSITIVE..1.0).ln()).sqrt();
        radius * (self.random.random_range(0.0..1.0) * std::f64::consts::TAU).cos()
    }

    /// A table of so many runs a side, each figure with the noise `sd` (one run in ten has three
    /// times as much), the new side's figures multiplied by `factor` if `changed` says so.
    fn table(
        &mut self,
        runs: [usize; 2],
        sd: f64,
        factor: f64,
        changed: fn(usize) -> bool,
    ) -> Vec<Judged> {
        let mut figures: Vec<Runs> = (0..FIGURES)
            .map(|_| Runs {
                base: Vec::new(),
                new: Vec::new(),
                more_is_better: false,
            })
            .collect();
        for run in 0..runs[0] + runs[1] {
            let new = run >= runs[0];
            let bad = if self.random.random_range(0..10) == 0 {
                3.0
            } else {
                1.0
            };
            let mut shared = 0.0;
            for (i, figure) in figures.iter_mut().enumerate() {
                if i % 4 == 0 {
                    shared = self.normal();
                }
                let own = self.normal();
                let noise = bad * sd * (0.8 * shared + 0.6 * own);
                let shift = if new && changed(i) { factor } else { 1.0 };
                let value = Some(1_000.0 * shift * noise.exp());
                if new {
                    figure.new.push(value);
                } else {
                    figure.base.push(value);
                }
            }
        }
        let judged = judge::all(&figures, &self.terms);
        judged.into_iter().map(Option::unwrap).collect()
    }

    /// In what share of `times` tables something holds.
    fn share(&mut self, times: u32, mut holds: impl FnMut(&mut Self) -> bool) -> f64 {
        let held = (0..times).filter(|_| holds(self)).count();
        held as f64 / f64::from(times)
    }
}

fn any(table: &[Judged], outcome: Outcome) -> bool {
    table.iter().any(|figure| figure.outcome == outcome)
}

/// Nothing has changed: with any number of runs, and even without a tolerance, at most one
/// comparison of twenty says that something is worse. 600 comparisons stray from that by less than
/// 2.7 points in 999 of 1,000 cases.
#[test]
fn false_alarms_keep_to_the_stated_rate_over_the_whole_table() {
    for (seed, runs) in [[3, 3], [4, 4], [5, 2], [5, 5], [3, 6]]
        .into_iter()
        .enumerate()
    {
        let mut world = World::new(seed as u64, 0.0);
        let alarms = world.share(600, |world| {
            any(&world.table(runs, 0.1, 1.0, |_| false), Outcome::Worse)
        });
        assert!(alarms <= 0.077, "{runs:?}: {alarms}");
    }
}

/// The range of the runs as a band of noise, as it was once done, never noticed anything: here it
/// is the more runs, the more is noticed, and in the end everything.
#[test]
fn more_runs_find_more() {
    let found = [1, 3, 4, 6, 8].map(|runs| {
        let mut world = World::new(7, 0.05);
        world.share(100, |world| {
            let table = world.table([runs, runs], 0.05, 1.15, |i| i == 5);
            table[5].outcome == Outcome::Worse
        })
    });
    assert!(found.windows(2).all(|pair| pair[0] <= pair[1]), "{found:?}");
    assert!(found[0] <= 0.05 && found[4] >= 0.8, "{found:?}");
}

/// A change twice as wide as the noise of all figures is found with the fewest runs already.
#[test]
fn a_change_of_all_figures_is_found_with_three_runs() {
    let mut world = World::new(8, 0.05);
    let found = world.share(100, |world| {
        any(&world.table([3, 3], 0.02, 1.5, |_| true), Outcome::Worse)
    });
    assert!(found > 0.95, "{found}");
}

/// What has changed by twice the tolerance is called the same in at most one case of twenty,
/// however noisy, and what is the same is called that more often the more runs there are.
#[test]
fn the_same_is_what_was_shown_to_be() {
    for (seed, sd) in [0.01, 0.05, 0.2].into_iter().enumerate() {
        let mut world = World::new(seed as u64, 0.05);
        let wrong = world.share(300, |world| {
            world.table([4, 4], sd, 1.051, |i| i == 0)[0].outcome == Outcome::Same
        });
        assert!(wrong <= 0.09, "noise of {sd}: {wrong}");
    }
    let shown = [3, 5, 8].map(|runs| {
        let mut world = World::new(9, 0.05);
        world.share(60, |world| {
            world.table([runs, runs], 0.02, 1.0, |_| false)[0].outcome == Outcome::Same
        })
    });
    assert!(shown[0] < shown[2] && shown[2] > 0.8, "{shown:?}");
}

/// In nine cases of ten the interval holds the truth.
#[test]
fn the_interval_holds_the_truth() {
    for (seed, runs) in [[3, 3], [5, 5], [8, 4]].into_iter().enumerate() {
        let mut world = World::new(seed as u64, 0.05);
        let held = world.share(400, |world| {
            let change = world.table(runs, 0.1, 1.3, |i| i == 0)[0].change.unwrap();
            change.low <= 0.3 && 0.3 <= change.high
        });
        assert!(held >= 0.86, "{runs:?}: {held}");
    }
}

/// With the number of runs that is advised, most figures are decided, and not by chance.
#[test]
fn the_advised_number_of_runs_does() {
    let mut world = World::new(11, 0.05);
    let (mut advised, mut decided) = (0, 0);
    while advised < 60 {
        let table = world.table([4, 4], 0.05, 1.12, |i| i == 5);
        let Some(runs) = table[5].runs_needed.filter(|runs| *runs < 60) else {
            continue;
        };
        advised += 1;
        let again = world.table([runs, runs], 0.05, 1.12, |i| i == 5);
        decided += u32::from(again[5].outcome == Outcome::Worse);
    }
    assert!(decided >= 40, "{decided} of {advised}");
}
