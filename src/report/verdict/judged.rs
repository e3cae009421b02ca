//! Thresholds that were crossed or cannot be judged, as reasons.

use crate::report::figures;
use crate::report::result::Threshold;

/// Thresholds without the samples that they take.
pub(super) fn unjudged(thresholds: &[Threshold]) -> Vec<String> {
    let unjudged = thresholds.iter();
    unjudged
        .filter(|judged| judged.ok.is_none() && judged.excuse.is_none() && !is_open(judged))
        .map(|judged| {
            let Threshold { metric, expr, .. } = judged;
            if judged.is_rate() {
                return format!("{metric} {expr} cannot be judged: there was no measured phase");
            }
            let which = judged.of_which();
            format!(
                "{metric} {expr} cannot be judged: {} samples{which}, it takes {}; run longer, or \
                 at a higher rate",
                figures::count(judged.samples),
                figures::count(judged.samples_wanted),
            )
        })
        .collect()
}

/// Thresholds that depend on samples which had not come by the end.
pub(super) fn left_open(thresholds: &[Threshold]) -> Vec<String> {
    let open = thresholds.iter().filter(|judged| is_open(judged));
    open.map(|judged| {
        format!(
            "{} {} cannot be judged: it was {}, by what more was still to come",
            judged.metric,
            judged.expr,
            judged
                .observed_text()
                .unwrap_or_else(|| "anything".to_owned()),
        )
    })
    .collect()
}

/// Whether a threshold has all the samples that it takes, and still cannot be judged.
fn is_open(judged: &Threshold) -> bool {
    let undecided = judged.ok.is_none() && judged.excuse.is_none();
    undecided && !judged.is_rate() && judged.samples >= judged.samples_wanted
}

/// Thresholds that the generator may have crossed.
pub(super) fn excused(thresholds: &[Threshold]) -> Vec<String> {
    let excused = thresholds.iter().filter_map(|judged| {
        let excuse = judged.excuse.as_ref()?;
        Some(format!(
            "{} {} cannot be judged: it was {}, {excuse}",
            judged.metric,
            judged.expr,
            judged.observed_text().unwrap_or_default(),
        ))
    });
    excused.collect()
}

/// Thresholds that the target crossed.
pub(super) fn crossed(thresholds: &[Threshold]) -> Vec<String> {
    let crossed = thresholds.iter().filter(|judged| judged.ok == Some(false));
    crossed
        .map(|judged| {
            format!(
                "{} {}: it was {}",
                judged.metric,
                judged.expr,
                judged.observed_text().unwrap_or_default(),
            )
        })
        .collect()
}
