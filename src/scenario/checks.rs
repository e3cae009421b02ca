//! Checks that need the whole scenario: groups against each other, against the phases, and against
//! the thresholds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clients::{Draft, DraftLoad};
use super::diagnostic::{Diagnostic, Span};
use super::plan::{
    Arrival, GROUPS_APART, Group, Load, Metric, OBSERVERS, OTHERS, Repeat, Run, Step, Threshold,
};
use super::section::Problems;
use crate::wire::payload::MAX_SENDER;
use crate::wire::protocol::Spoken;

/// Notes every conflict between the parts.
pub(super) fn check(
    problems: &Problems,
    drafts: &[Draft],
    run: &Run,
    thresholds: &[(Threshold, Span)],
) {
    names(problems, drafts, run);
    barriers(problems, drafts);
    sessions(problems, drafts);
    stages_within_duration(problems, drafts, run.duration);
    something_to_measure(problems, drafts, run, thresholds);
}

/// Rejects a group with a name that results use for something else in this scenario (`observers`,
/// `others`): two rows of one name, or two clients, could not be told apart.
fn names(problems: &Problems, drafts: &[Draft], run: &Run) {
    let groups = drafts.len() + usize::from(run.observers > 0);
    for draft in drafts {
        let what = match draft.name.as_str() {
            "observer" | OBSERVERS if run.observers > 0 => {
                "results have the clients of `run.observers` under that name"
            }
            OTHERS if groups > GROUPS_APART => {
                "results have the groups from the sixteenth on under that name"
            }
            _ => continue,
        };
        let title = format!("`clients.{}` has a name that is taken", draft.name);
        let diagnostic = Diagnostic::error(title).at(&draft.span, what);
        problems.push(diagnostic.help("give the group another name"));
    }
}

/// One place at which a script names a barrier.
struct Mention<'a> {
    draft: &'a Draft,
    span: &'a Span,
    /// How often each client of the group gets there; `None`: until the end.
    passes: Option<u64>,
}

/// Rejects barriers that are waited at in vain: those that only one client names, or that groups
/// pass unequally often.
fn barriers(problems: &Problems, drafts: &[Draft]) {
    let mut named: BTreeMap<&str, Vec<Mention<'_>>> = BTreeMap::new();
    for draft in drafts {
        let DraftLoad::Script(script, repeat) = &draft.load else {
            continue;
        };
        for (name, span) in &script.barriers {
            let mentions = named.entry(name).or_default();
            let passes = match repeat {
                Repeat::Times(times) => Some(u64::from(*times)),
                Repeat::Forever => None,
            };
            match mentions.last_mut().filter(|m| std::ptr::eq(m.draft, draft)) {
                Some(mention) => mention.passes = mention.passes.zip(passes).map(|(a, b)| a + b),
                None => mentions.push(Mention {
                    draft,
                    span,
                    passes,
                }),
            }
        }
    }
    for (name, mentions) in named {
        let first = &mentions[0];
        if mentions.len() == 1 && first.draft.count == 1 {
            let title =
                format!("barrier {name:?} is named by one client only, which waits for nobody");
            problems.push(Diagnostic::error(title).at(first.span, ""));
        }
        for other in &mentions[1..] {
            if other.passes != first.passes {
                let title = format!(
                    "barrier {name:?} is reached more often by one group than by another, which would wait for ever"
                );
                problems.push(
                    Diagnostic::error(title)
                        .at(other.span, times(other.passes))
                        .at(first.span, times(first.passes))
                        .help("the groups' `repeat` times their barriers must agree"),
                );
            }
        }
    }
}

fn times(passes: Option<u64>) -> String {
    match passes {
        Some(1) => "once".to_owned(),
        Some(passes) => format!("{passes} times"),
        None => "until the end".to_owned(),
    }
}

/// Checks claimed addresses: the protocol must state a publish's origin, and the claimed client
/// must exist.
pub(super) fn claims(problems: &Problems, drafts: &[Draft], run: &Run, spoken: &Spoken) {
    let is_one_of = |n: &str, count: u32| matches!(n.parse(), Ok(n) if (1..=count).contains(&n));
    let is_client = |name: &str| {
        let (group, n) = name.rsplit_once('-').unwrap_or_default();
        group == "observer" && is_one_of(n, run.observers)
            || drafts
                .iter()
                .any(|d| d.name == group && is_one_of(n, d.count))
    };
    for draft in drafts {
        let Some((claimed, span)) = &draft.claims else {
            continue;
        };
        let path = format!("`clients.{}.client_ip`", draft.name);
        if !spoken.capabilities().claims {
            let title =
                format!("{path}: only a message of the classic dialect says whom it is from");
            let label = format!("this target is {spoken}");
            problems.push(Diagnostic::error(title).at(span, label));
        } else if !is_client(claimed) {
            let title = format!("{path}: no client is called {claimed:?}");
            problems.push(
                Diagnostic::error(title)
                    .at(span, "")
                    .help("a group's clients are GROUP-1, GROUP-2, …; the observers observer-1, …"),
            );
        }
    }
}

/// Limits the number of sessions: each is a sender of its own in the room without a name and in
/// every room that it joins, and payloads have a bounded sender number.
fn sessions(problems: &Problems, drafts: &[Draft]) {
    let mut total = 0u64;
    for draft in drafts {
        let each = match &draft.load {
            DraftLoad::Script(script, Repeat::Times(times)) => {
                let once = script.steps.iter().map(|step| match step {
                    Step::Connect => 1 + draft.rooms_each(),
                    Step::Join(_) => 1,
                    _ => 0,
                });
                once.sum::<u64>().saturating_mul(u64::from(*times))
            }
            _ => 1 + draft.rooms_each(),
        };
        total = total.saturating_add(each.saturating_mul(u64::from(draft.count)));
        if total > u64::from(MAX_SENDER) {
            let title = format!(
                "`clients.{}`: more sessions in all than a run can number, {MAX_SENDER}",
                draft.name
            );
            problems.push(Diagnostic::error(title).at(&draft.span, ""));
            return;
        }
    }
}

/// Warns of stages that `run.duration` cuts off: a shorter duration runs the first part of the same
/// load.
fn stages_within_duration(problems: &Problems, drafts: &[Draft], duration: Duration) {
    for draft in drafts {
        let DraftLoad::Stages { stages, span, .. } = &draft.load else {
            continue;
        };
        let staged: Duration = stages.iter().map(|stage| stage.duration).sum();
        if staged > duration {
            let (staged, duration) = (
                humantime::format_duration(staged),
                humantime::format_duration(duration),
            );
            let title = format!(
                "`clients.{}.stages` take {staged} and run.duration is {duration}: they are cut there",
                draft.name
            );
            problems.push(Diagnostic::warning(title).at(span, ""));
        }
    }
}

/// A run that asks nothing of its target cannot pass: say so before it runs.
pub(super) fn something_to_verify(
    problems: &Problems,
    drafts: &[Draft],
    thresholds: &[(Threshold, Span)],
) {
    let asks_nothing = |draft: &Draft| match &draft.load {
        DraftLoad::Listen => true,
        DraftLoad::Script(script, repeat) => !repeat.puts_to_the_test(&script.steps),
        DraftLoad::Rate(..) | DraftLoad::Stages { .. } | DraftLoad::Closed { .. } => false,
    };
    let Some(first) = drafts.first() else {
        return;
    };
    if thresholds.is_empty() && drafts.iter().all(asks_nothing) && !problems.has_errors() {
        let title = "no client publishes, and no threshold is set: there is nothing to verify";
        problems.push(
            Diagnostic::warning(title)
                .at(&first.span, "only listens")
                .help(
                    "the run will be inconclusive; give a group a `rate`, `in_flight` or `script`",
                ),
        );
    }
}

/// Of so few messages on average a Poisson process makes none due in one run of twenty.
const FEW_MESSAGES: f64 = 3.0;

/// A run in which a group that publishes sends nothing cannot pass: say so before it runs, where that
/// is known.
pub(super) fn each_group_sends(problems: &Problems, groups: &[Group], spans: &[Span], run: &Run) {
    for (group, span) in groups.iter().zip(spans) {
        let name = &group.name;
        let (title, help) = match &group.load {
            Load::Open {
                profile,
                arrival: Arrival::Poisson,
            } if profile.messages() < FEW_MESSAGES => (
                format!(
                    "`clients.{name}`: {:.1} messages are due on average in the whole run, so it \
                     may well be none",
                    profile.messages()
                ),
                "a run in which a group sends nothing is inconclusive; raise the rate, run longer, \
                 or leave `arrival` out, which makes at least one due",
            ),
            Load::Script { steps, .. }
                if pause_before_publishing(steps) > run.warmup + run.duration + run.drain =>
            {
                (
                    format!(
                        "`clients.{name}`: the script pauses for longer than the run lasts before it \
                     publishes anything"
                    ),
                    "a run in which a group sends nothing is inconclusive; pause for less, or run longer",
                )
            }
            _ => continue,
        };
        problems.push(Diagnostic::warning(title).at(span, "").help(help));
    }
}

/// How long a script pauses at least before its first publish; nothing where it has none.
fn pause_before_publishing(steps: &[Step]) -> Duration {
    let mut paused = Duration::ZERO;
    for step in steps {
        match step {
            Step::Pause { min, .. } => paused = paused.saturating_add(*min),
            Step::Publish { .. } => return paused,
            _ => {}
        }
    }
    Duration::ZERO
}

/// Whether the clients of a group publish anything.
fn publishes(draft: &Draft) -> bool {
    match &draft.load {
        DraftLoad::Listen => false,
        DraftLoad::Rate(..) | DraftLoad::Stages { .. } | DraftLoad::Closed { .. } => true,
        DraftLoad::Script(script, _) => script
            .steps
            .iter()
            .any(|step| matches!(step, Step::Publish { .. })),
    }
}

/// A threshold without samples makes a run inconclusive: say so before it runs.
fn something_to_measure(
    problems: &Problems,
    drafts: &[Draft],
    run: &Run,
    thresholds: &[(Threshold, Span)],
) {
    let mut scripts_publish = false;
    let mut until_the_end = false;
    for draft in drafts.iter().filter(|draft| publishes(draft)) {
        if let DraftLoad::Script(_, repeat) = &draft.load {
            scripts_publish = true;
            until_the_end |= *repeat == Repeat::Forever;
        } else {
            until_the_end = true;
        }
    }
    for (threshold, span) in thresholds {
        let Some(group) = threshold
            .group
            .as_ref()
            .filter(|_| threshold.metric == Metric::Ack)
        else {
            continue;
        };
        let publishes = drafts.get(group.position).is_some_and(publishes);
        if !publishes {
            let title = format!(
                "a threshold without samples: clients of `{}` publish nothing",
                group.name
            );
            problems.push(Diagnostic::warning(title).at(span, ""));
        }
    }
    let needs_messages = |(t, _): &&(Threshold, Span)| t.metric != Metric::Connect;
    let Some((_, span)) = thresholds.iter().find(needs_messages) else {
        return;
    };
    if !scripts_publish && !until_the_end {
        let title = "a threshold without samples: no client publishes";
        problems.push(Diagnostic::warning(title).at(span, ""));
    } else if !until_the_end && !run.warmup.is_zero() {
        problems.push(
            Diagnostic::warning(
                "only scripts publish, and what they send within the warm-up is not measured",
            )
            .at(span, "measured from the end of the warm-up")
            .help("run.warmup = \"0s\" measures all of it"),
        );
    }
}
