//! What thresholds came to, as reasons.

use crate::report::figures;
use crate::report::thresholds::Judged;

/// Thresholds without the samples that they take.
pub(super) fn unjudged(thresholds: &[Judged]) -> Vec<String> {
    let unjudged = thresholds.iter();
    unjudged
        .filter(|judged| judged.ok.is_none() && judged.excuse.is_none() && !is_open(judged))
        .map(|Judged { metric, expr, samples, wanted, is_rate, .. }| {
            if *is_rate {
                return format!("{metric} {expr} cannot be judged: there was no measured phase");
            }
            format!(
                "{metric} {expr} cannot be judged: {} samples, it takes {}; run longer, or at a \
                 higher rate",
                figures::count(*samples),
                figures::count(*wanted),
            )
        })
        .collect()
}

/// Thresholds that what had not come by the end decides.
pub(super) fn left_open(thresholds: &[Judged]) -> Vec<String> {
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
fn is_open(judged: &Judged) -> bool {
    let undecided = judged.ok.is_none() && judged.excuse.is_none();
    undecided && !judged.is_rate && judged.samples >= judged.wanted
}

/// Thresholds that the generator may have crossed.
pub(super) fn excused(thresholds: &[Judged]) -> Vec<String> {
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
pub(super) fn crossed(thresholds: &[Judged]) -> Vec<String> {
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
