//! The statistics of few runs: a permutation test of many figures at once, and an interval of a
//! ratio.
//!
//! All of it is about two samples of a figure, base and new, by run. Ratios are what matters, so
//! everything is done on logarithms, and a figure is negated beforehand where more is better:
//! *greater* always means *worse*.
//!
//! **The verdict** is that of an exact permutation test. If nothing has changed, each way of
//! calling `n` of the runs "new" is as likely as the one that happened. For each of them the
//! statistic of every figure is computed, and the greatest over all figures is kept: a figure has
//! changed if its own statistic is among the greatest [`LEVEL`] of those (the "max T" method of
//! Westfall and Young). This keeps the rate of false alarms *of the whole table* to the level,
//! however many figures it has and however they are correlated, and assumes nothing about their
//! distribution. The statistic is Student's t, so that figures of different noise weigh alike.
//!
//! **The interval** of a ratio is the one that belongs to the exact rank test of Mann, Whitney and
//! Wilcoxon: between two order statistics of all ratios of a new run to a base run, with 5 % on
//! either side. A bootstrap of three to five runs would be far too narrow: it never leaves the
//! range of what was seen.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

/// The rate of false alarms that is kept to: of one table for changes, and of one figure for
/// "the same".
pub(super) const LEVEL: f64 = 0.05;

/// More ways than this to label the runs are not tried one by one but drawn.
const MOST_LABELLINGS: usize = 20_000;

/// Added to each standard error: histograms hold three digits, so that runs without any spread
/// still are not known more closely than this.
const RESOLUTION: f64 = 0.001;

/// A figure in each run, base runs first, as logarithms; `None` in a run that lacks it.
pub(super) type Sample = Vec<Option<f64>>;

/// The chance of a figure to stand out as much in a table in which nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Chances {
    /// To be as much greater on the new side.
    pub greater: f64,
    /// To be as much less.
    pub less: f64,
}

/// The number of ways to label `new` of `base + new` runs as new.
pub(super) fn labellings(base: usize, new: usize) -> f64 {
    (1..=base.min(new)).fold(1.0, |ways, i| ways * (base + new + 1 - i) as f64 / i as f64)
}

/// Whether so many runs can tell anything at [`LEVEL`]: three against three, five against two.
pub(super) fn can_tell(base: usize, new: usize) -> bool {
    base > 0 && new > 0 && labellings(base, new).round() * LEVEL >= 1.0
}

/// The fewest new runs that can tell anything against so many base runs.
pub(super) fn fewest_new(base: usize) -> Option<usize> {
    (1..=3).chain([19]).find(|&new| can_tell(base, new))
}

/// Tests all figures of a table at once; the first `base` places of each are the base's.
pub(super) fn test(figures: &[Sample], base: usize) -> Vec<Chances> {
    let figures: Vec<Figure> = figures.iter().map(|sample| Figure::new(sample)).collect();
    let runs = figures.first().map_or(0, |f| f.values.len());
    if runs <= base {
        return Vec::new();
    }
    let seen: Vec<usize> = (base..runs).collect();
    let seen: Vec<Option<f64>> = figures.iter().map(|f| f.statistic(&seen)).collect();
    let mut reached = vec![(0_u32, 0_u32); figures.len()];
    let mut tried = 0_u32;
    for_each_labelling(runs, runs - base, |new| {
        let all = figures.iter().filter_map(|f| f.statistic(new));
        let (least, greatest) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, g), t| {
            (l.min(t), g.max(t))
        });
        for (seen, (greater, less)) in seen.iter().zip(&mut reached) {
            if let Some(seen) = *seen {
                // Sums of the same numbers in another order differ in the last digits.
                let slack = 1e-9 * (1.0 + seen.abs());
                *greater += u32::from(greatest >= seen - slack);
                *less += u32::from(least <= seen + slack);
            }
        }
        tried += 1;
    });
    let share = |n: u32| f64::from(n) / f64::from(tried);
    seen.iter()
        .zip(reached)
        .map(|(seen, (greater, less))| match seen {
            Some(_) => Chances {
                greater: share(greater),
                less: share(less),
            },
            None => Chances {
                greater: 1.0,
                less: 1.0,
            },
        })
        .collect()
}

/// A figure, centred: the sum of its values is zero.
struct Figure {
    values: Vec<Option<f64>>,
    present: f64,
    squares: f64,
}

impl Figure {
    fn new(sample: &[Option<f64>]) -> Self {
        let present = sample.iter().flatten().count() as f64;
        let mean = sample.iter().flatten().sum::<f64>() / present;
        let values: Vec<_> = sample.iter().map(|v| v.map(|v| v - mean)).collect();
        let squares = values.iter().flatten().map(|v| v * v).sum();
        Self {
            values,
            present,
            squares,
        }
    }

    /// Student's t of the runs at the places `new` against the others; `None` where one side is
    /// empty or nothing is left to know the noise from.
    fn statistic(&self, new: &[usize]) -> Option<f64> {
        let (mut n, mut sum) = (0.0, 0.0);
        for value in new.iter().filter_map(|&place| self.values[place]) {
            n += 1.0;
            sum += value;
        }
        let others = self.present - n;
        if n == 0.0 || others == 0.0 || self.present < 3.0 {
            return None;
        }
        let within = self.squares - sum * sum * (1.0 / n + 1.0 / others);
        let variance = within.max(0.0) / (self.present - 2.0);
        let error = (variance * (1.0 / n + 1.0 / others)).sqrt();
        Some((sum / n + sum / others) / (error + RESOLUTION))
    }
}

/// Calls `see` with the places of the new runs, for each way to choose `new` of `runs`; where there
/// are too many, for what happened (the last ones) and for others drawn at random.
fn for_each_labelling(runs: usize, new: usize, mut see: impl FnMut(&[usize])) {
    if labellings(runs - new, new) <= MOST_LABELLINGS as f64 {
        let mut chosen: Vec<usize> = (0..new).collect();
        loop {
            see(&chosen);
            // The next in lexicographic order: the last place that can still move moves on.
            let Some(at) = (0..new).rev().find(|&i| chosen[i] < runs - new + i) else {
                return;
            };
            chosen[at] += 1;
            for i in at + 1..new {
                chosen[i] = chosen[i - 1] + 1;
            }
        }
    }
    let mut all: Vec<usize> = (0..runs).collect();
    see(&all[runs - new..]);
    // A fixed seed: the same results must always give the same judgement.
    let mut random = Pcg64Mcg::seed_from_u64(1);
    for _ in 1..MOST_LABELLINGS {
        let (chosen, _) = all.partial_shuffle(&mut random, new);
        see(chosen);
    }
}

/// The pooled standard deviation of two samples; `None` where nothing is left to know it from.
pub(super) fn deviation(base: &[f64], new: &[f64]) -> Option<f64> {
    let squares = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
    };
    let left = (base.len() + new.len()).checked_sub(2)?;
    (left > 0).then(|| ((squares(base) + squares(new)) / left as f64).sqrt())
}

/// The interval of the shift from `base` to `new` that the exact rank test does not reject, with
/// [`LEVEL`] on either side; `None` where so few runs cannot give one.
pub(super) fn interval(base: &[f64], new: &[f64]) -> Option<(f64, f64)> {
    if !can_tell(base.len(), new.len()) {
        return None;
    }
    let mut shifts: Vec<f64> = new
        .iter()
        .flat_map(|n| base.iter().map(move |b| n - b))
        .collect();
    shifts.sort_by(f64::total_cmp);
    let cut = rank_limit(base.len(), new.len());
    Some((shifts[cut], shifts[shifts.len() - 1 - cut]))
}

/// The number of ordered pairs of runs that lie outside of the interval on either side: the
/// greatest `k` with P(U < k) at most [`LEVEL`], U as Mann and Whitney count it.
fn rank_limit(base: usize, new: usize) -> usize {
    let pairs = base * new;
    if pairs > 2_500 {
        let (m, n) = (base as f64, new as f64);
        let spread = (m * n * (m + n + 1.0) / 12.0).sqrt();
        return (m * n / 2.0 - 1.645 * spread).floor().max(0.0) as usize;
    }
    // The coefficients of the Gaussian binomial: in how many labellings U has each value.
    let mut ways = vec![0.0; pairs + 1];
    ways[0] = 1.0;
    for i in 1..=new {
        for u in (base + i..=pairs).rev() {
            ways[u] -= ways[u - base - i];
        }
        for u in i..=pairs {
            ways[u] += ways[u - i];
        }
    }
    let all = labellings(base, new);
    let mut below = 0.0;
    let mut k = 0;
    while k < pairs / 2 && (below + ways[k]) / all <= LEVEL {
        below += ways[k];
        k += 1;
    }
    k - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_runs_that_can_tell() {
        let can = [(3, 3), (5, 2), (4, 3), (19, 1), (1, 19), (2, 5)];
        let cannot = [(3, 2), (4, 2), (18, 1), (1, 1), (2, 2), (0, 9), (9, 0)];
        assert!(can.iter().all(|&(base, new)| can_tell(base, new)));
        assert!(!cannot.iter().any(|&(base, new)| can_tell(base, new)));
        let fewest = [1, 2, 3, 4, 5, 18, 19].map(fewest_new);
        assert_eq!(fewest.map(Option::unwrap), [19, 19, 3, 3, 2, 2, 1]);
    }

    #[test]
    fn every_labelling_comes_once_and_what_happened_is_among_them() {
        let mut seen = Vec::new();
        for_each_labelling(6, 3, |new| seen.push(new.to_vec()));
        assert_eq!(seen.len(), 20);
        assert_eq!(seen[19], [3, 4, 5]);
        seen.dedup();
        assert_eq!(seen.len(), 20);
        let mut drawn = 0;
        for_each_labelling(40, 20, |new| {
            assert!(drawn > 0 || *new == (20..40).collect::<Vec<_>>());
            assert_eq!(
                new.iter().collect::<std::collections::HashSet<_>>().len(),
                20
            );
            drawn += 1;
        });
        assert_eq!(drawn, MOST_LABELLINGS);
    }

    /// Tables of the rank test (one-sided 5 %): the greatest U that is rejected.
    #[test]
    fn the_rank_test_is_that_of_the_tables() {
        let table = [
            ((3, 3), 0),
            ((4, 4), 1),
            ((5, 5), 4),
            ((5, 2), 0),
            ((8, 8), 15),
            ((10, 10), 27),
            ((20, 20), 138),
        ];
        for ((base, new), rejected) in table {
            assert_eq!(rank_limit(base, new), rejected, "{base} and {new}");
        }
        // Where it is no longer counted but approximated, the two are the same, or nearly.
        let counted = rank_limit(50, 50) as f64;
        let (m, spread) = (1_250.0, (2_500.0 * 101.0 / 12.0_f64).sqrt());
        assert!((counted - (m - 1.645 * spread)).abs() <= 2.0, "{counted}");
    }

    #[test]
    fn an_interval_of_three_and_three_is_that_of_all_ratios() {
        assert_eq!(
            interval(&[1.0, 2.0, 4.0], &[8.0, 9.0, 11.0]),
            Some((4.0, 10.0))
        );
        assert_eq!(interval(&[1.0, 2.0], &[8.0, 9.0]), None);
    }

    /// A table of one figure is the plain test: 1 of 20 labellings is as extreme.
    #[test]
    fn a_clear_difference_of_one_figure_is_the_most_extreme_labelling() {
        let sample: Sample = [0.0, 0.1, 0.2, 1.0, 1.1, 1.2].map(Some).to_vec();
        let chances = test(&[sample], 3);
        assert_eq!(
            chances,
            [Chances {
                greater: 0.05,
                less: 1.0
            }]
        );
        let flat: Sample = vec![Some(1.0); 6];
        assert_eq!(
            test(&[flat], 3),
            [Chances {
                greater: 1.0,
                less: 1.0
            }]
        );
        assert_eq!(test(&[], 3), []);
    }

    #[test]
    fn runs_that_lack_a_figure_are_left_out_of_it() {
        let gaps = vec![
            Some(0.0),
            None,
            Some(0.1),
            Some(0.1),
            Some(1.0),
            Some(1.1),
            None,
            Some(1.2),
        ];
        let [chances] = test(&[gaps], 4)[..] else {
            panic!("one figure")
        };
        assert!(chances.greater <= 0.1 && chances.less > 0.9, "{chances:?}");
        let one = vec![Some(0.0), None, None, Some(9.0)];
        assert_eq!(test(&[one], 2)[0].greater, 1.0, "two values tell nothing");
    }
}
