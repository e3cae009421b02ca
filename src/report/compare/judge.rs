//! The judgement of each figure, from nothing but its values in each run.

use serde::{Serialize, Serializer};

use super::Terms;
use super::figure::Known;
use super::statistics::{self, LEVEL, Sample};

/// No more runs than this are advised.
pub(super) const MOST_RUNS: usize = 1_000;

/// A figure in every run, as it was read; `None` in a run that lacks it.
pub(super) struct Read {
    pub base: Vec<Option<Known>>,
    pub new: Vec<Option<Known>>,
    pub more_is_better: bool,
}

/// The value of a latency that never came: greater than any other.
const NEVER: f64 = 1e18;

impl Read {
    fn is_open(&self) -> bool {
        let mut all = self.base.iter().chain(&self.new).flatten();
        all.any(|value| value.open)
    }

    /// The figures, with open ones replaced by the value given for their side, or else at their
    /// lower bounds.
    fn taken(&self, base: Option<f64>, new: Option<f64>) -> Runs {
        let taken = |values: &[Option<Known>], open: Option<f64>| {
            let values = values.iter().map(|value| {
                let Known {
                    figure,
                    open: is_open,
                } = (*value)?;
                Some(open.filter(|_| is_open).unwrap_or(figure))
            });
            values.collect()
        };
        Runs {
            base: taken(&self.base, base),
            new: taken(&self.new, new),
            more_is_better: self.more_is_better,
        }
    }
}

/// A figure in every run; `None` in a run that lacks it.
pub(super) struct Runs {
    pub base: Vec<Option<f64>>,
    pub new: Vec<Option<f64>>,
    pub more_is_better: bool,
}

/// The judgement of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Changed for the worse: a regression.
    Worse,
    /// Changed for the better.
    Better,
    /// The same within the tolerance.
    Same,
    /// These runs cannot tell.
    TooNoisy,
    /// It depends on when that would have come which was outstanding when a run stopped listening.
    Undecided,
    /// One side has no such figure.
    OneSided,
}

/// A figure on both sides, and what is said of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Judged {
    /// Whether it changed, and which way.
    pub outcome: Outcome,
    /// The median of the base's runs (of violations, the worst run): ns, events a second, bytes, or
    /// a count.
    pub base: Option<f64>,
    /// The same of the new side.
    pub new: Option<f64>,
    /// By how much it changed; `None` if there is nothing to divide by.
    #[serde(flatten, serialize_with = "Change::serialize")]
    #[cfg_attr(test, schemars(with = "ChangeKeys"))]
    pub change: Option<Change>,
    /// Of a figure that is too noisy: about how many runs of each side would tell. null where 1,000
    /// would not.
    pub runs_needed: Option<usize>,
    /// Whether base is only known to be no less, since something was outstanding when a run stopped
    /// listening.
    pub base_at_least: bool,
    /// The same of new.
    pub new_at_least: bool,
}

/// By how much a figure changed, as a share of the base: 0.05 is 5 % more.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// Of the medians.
    pub share: f64,
    /// Between what it lies in truth, with a chance of 90 %.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The chance that as great a change is seen somewhere in the table though nothing has
    /// changed; `None` where the interval is an assumption, for want of runs.
    pub p: Option<f64>,
}

/// The keys of a change: always there, and null where there is none.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ChangeKeys {
    /// From base to new, as a share of the base; null of a count, where the base is 0, and where
    /// something was outstanding.
    change: Option<f64>,
    /// The lower end of the 90 % interval of the change.
    change_low: Option<f64>,
    /// Its upper end.
    change_high: Option<f64>,
    /// The source of the interval: the rank test over the runs, or assumed_noise for want of
    /// runs.
    #[cfg_attr(test, schemars(extend("enum" = ["ranks", "assumed", null])))]
    interval: Option<&'static str>,
    /// The chance to see as great a change somewhere in the table though nothing has changed; null
    /// where the runs are too few for a test.
    p: Option<f64>,
}

impl Change {
    fn serialize<S: Serializer>(change: &Option<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = ChangeKeys {
            change: change.map(|c| c.share),
            change_low: change.map(|c| c.low),
            change_high: change.map(|c| c.high),
            interval: change.map(|c| if c.p.is_some() { "ranks" } else { "assumed" }),
            p: change.and_then(|c| c.p),
        };
        keys.serialize(serializer)
    }
}

impl Judged {
    /// A figure that one side may lack, of which nothing more is known.
    pub(super) const fn new(base: Option<f64>, new: Option<f64>) -> Self {
        Self {
            outcome: Outcome::OneSided,
            base,
            new,
            change: None,
            runs_needed: None,
            base_at_least: false,
            new_at_least: false,
        }
    }
}

/// Judges all figures of a table, of which some are known only as lower bounds.
///
/// The truth lies between the best case for the new side, in which nothing outstanding on the base
/// ever came and everything on the new side came at once, and the worst case, the other way round.
/// A figure that is worse in the best case is worse, one that is better in the worst case is
/// better, and one with the same outcome in both has that outcome; the rest is undecided.
pub(super) fn read(figures: &[Read], terms: &Terms) -> Vec<Option<Judged>> {
    let judged = |base, new| {
        let taken: Vec<Runs> = figures.iter().map(|read| read.taken(base, new)).collect();
        all(&taken, terms)
    };
    let known = judged(None, None);
    if !figures.iter().any(Read::is_open) {
        return known;
    }
    let cases = judged(Some(NEVER), None)
        .into_iter()
        .zip(judged(None, Some(NEVER)));
    let open = |((known, read), (best, worst)): ((Option<Judged>, &Read), (_, Option<Judged>))| {
        let (known, best, worst): (Judged, Judged, Judged) = (known?, best?, worst?);
        if !read.is_open() {
            return Some(known);
        }
        Some(Judged {
            outcome: match (best.outcome, worst.outcome) {
                (Outcome::Worse, _) => Outcome::Worse,
                (_, Outcome::Better) => Outcome::Better,
                (best, worst) if best == worst => best,
                _ => Outcome::Undecided,
            },
            // No change is stated of a figure that is not fully known.
            change: None,
            base_at_least: best.base != known.base,
            new_at_least: worst.new != known.new,
            ..known
        })
    };
    known
        .into_iter()
        .zip(figures)
        .zip(cases)
        .map(open)
        .collect()
}

/// Judges all figures of a table together; `None` for one that neither side has.
pub(super) fn all(figures: &[Runs], terms: &Terms) -> Vec<Option<Judged>> {
    let logarithms: Vec<Logarithms> = figures.iter().map(Logarithms::of).collect();
    let tested: Vec<usize> = (0..figures.len())
        .filter(|&i| logarithms[i].can_tell())
        .collect();
    let samples: Vec<Sample> = tested.iter().map(|&i| logarithms[i].harm()).collect();
    let runs = figures.first().map_or(0, |runs| runs.base.len());
    let mut chances = vec![None; figures.len()];
    for (&i, chance) in tested.iter().zip(statistics::test(&samples, runs)) {
        chances[i] = Some(chance);
    }
    let judge = |((runs, logarithms), chances)| one(runs, &logarithms, chances, terms);
    figures
        .iter()
        .zip(logarithms)
        .zip(chances)
        .map(judge)
        .collect()
}

fn one(
    runs: &Runs,
    logarithms: &Logarithms,
    chances: Option<statistics::Chances>,
    terms: &Terms,
) -> Option<Judged> {
    let (base, new) = (median_of(&runs.base), median_of(&runs.new));
    if base.is_none() && new.is_none() {
        return None;
    }
    let mut judged = Judged::new(base, new);
    let (Some(from), Some(to)) = (base, new) else {
        return Some(judged);
    };
    let (here, there) = (present(&logarithms.base), present(&logarithms.new));
    let shift = logarithms.log(to) - logarithms.log(from);
    let (low, high) = statistics::interval(&here, &there).unwrap_or_else(|| {
        let noise = assumed(&here, &there, terms);
        (shift - noise, shift + noise)
    });
    let worse = (shift > 0.0) != runs.more_is_better;
    let p = chances.map(|c| if worse { c.greater } else { c.less });
    let share = |log: f64| log.exp_m1();
    let within = |log: f64| share(log).abs() <= terms.tolerance + 1e-9;
    let outside = low > 0.0 || high < 0.0;
    judged.outcome = if within(low) && within(high) {
        Outcome::Same
    } else if outside && !within(shift) && p.is_none_or(|p| p <= LEVEL + 1e-9) {
        if worse {
            Outcome::Worse
        } else {
            Outcome::Better
        }
    } else {
        judged.runs_needed = runs_needed(&here, &there, shift, terms);
        Outcome::TooNoisy
    };
    // A change as a share of zero is undefined.
    judged.change = (from > 0.0).then(|| Change {
        share: share(shift),
        low: share(low),
        high: share(high),
        p,
    });
    Some(judged)
}

/// The distance that two runs of the same may lie apart, where no test can say: as assumed, or as
/// seen if that is more.
fn assumed(base: &[f64], new: &[f64], terms: &Terms) -> f64 {
    let range = |values: &[f64]| {
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        values.iter().map(|v| greatest - v).fold(0.0, f64::max)
    };
    terms.assumed_noise.ln_1p().max(range(base)).max(range(new))
}

/// Runs on each side with which a figure of this spread would probably be decided: four times of
/// five, by the usual formula for a difference of means, at a level that leaves room for the other
/// figures of the table.
fn runs_needed(base: &[f64], new: &[f64], shift: f64, terms: &Terms) -> Option<usize> {
    let fewest = (1..).find(|&n| statistics::can_tell(n, n))?;
    if !statistics::can_tell(base.len(), new.len()) {
        return Some(fewest);
    }
    let deviation = statistics::deviation(base, new)?;
    let distance = shift.exp_m1().abs();
    let (gap, quantiles) = if distance > terms.tolerance {
        // To tell it from none: 1 in 400, and four of five.
        (shift.abs(), 2.807 + 0.842)
    } else {
        // To hold its interval within the tolerance, whose both ends can be missed.
        ((1.0 + terms.tolerance).ln() - shift.abs(), 1.645 + 1.282)
    };
    let runs = 2.0 * (quantiles * deviation / gap).powi(2) + 1.0;
    // At least one more than there are, which have not decided it.
    let runs = runs.ceil().max((base.len().min(new.len()) + 1) as f64);
    (gap > 0.0 && runs <= MOST_RUNS as f64).then_some(runs as usize)
}

/// A figure's values as logarithms, so that differences are ratios.
struct Logarithms {
    base: Vec<Option<f64>>,
    new: Vec<Option<f64>>,
    more_is_better: bool,
    least: f64,
}

impl Logarithms {
    fn of(runs: &Runs) -> Self {
        let values = || runs.base.iter().chain(&runs.new).flatten().copied();
        // Zero has no logarithm: it counts as a thousandth of the least value seen.
        let least = values().filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min) / 1_000.0;
        let mut logarithms = Self {
            base: Vec::new(),
            new: Vec::new(),
            more_is_better: runs.more_is_better,
            least: if least.is_finite() { least } else { 1.0 },
        };
        let of = |values: &[Option<f64>]| {
            values
                .iter()
                .map(|v| v.map(|v| logarithms.log(v)))
                .collect()
        };
        (logarithms.base, logarithms.new) = (of(&runs.base), of(&runs.new));
        logarithms
    }

    fn log(&self, value: f64) -> f64 {
        value.max(self.least).ln()
    }

    fn can_tell(&self) -> bool {
        statistics::can_tell(present(&self.base).len(), present(&self.new).len())
    }

    /// All runs, base first, turned so that greater is worse.
    fn harm(&self) -> Sample {
        let sign = if self.more_is_better { -1.0 } else { 1.0 };
        let all = self.base.iter().chain(&self.new);
        all.map(|v| v.map(|v| sign * v)).collect()
    }
}

fn present(values: &[Option<f64>]) -> Vec<f64> {
    values.iter().flatten().copied().collect()
}

fn median_of(values: &[Option<f64>]) -> Option<f64> {
    let mut present = present(values);
    present.sort_by(f64::total_cmp);
    median(&present)
}

/// The middle of sorted values.
pub(in crate::report) fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}
