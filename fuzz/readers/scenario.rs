//! A scenario and what the command line sets in it.
//!
//! An input: TOML, then a zero byte before each `--set`.
//!
//! - No text panics. What is wrong with it is said, without a control character.
//! - What a plan was resolved to reads back as that plan.
//! - Its estimate is a number, and its schedules do not go back.

use chatbench::scenario;
use chatbench::scenario::estimate::Estimate;
use chatbench::scenario::plan::Plan;

/// Messages of a group that are looked at.
const MESSAGES: usize = 32;

/// # Panics
/// Where something does not hold.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.split('\0');
    let text = parts.next().unwrap_or_default();
    let sets: Vec<String> = parts.map(str::to_owned).collect();
    let plan = match scenario::parse("fuzz.toml", text, &sets, None, None) {
        Ok(plan) => plan,
        Err(diagnostics) => {
            assert!(diagnostics.has_errors() && !diagnostics.is_empty());
            let said = diagnostics.render(false);
            let control = |c: char| c.is_control() && c != '\n' && c != '\t';
            assert!(!said.is_empty() && !said.contains(control), "{said:?}");
            for diagnostic in diagnostics.iter() {
                let _ = diagnostics.position(diagnostic);
            }
            return;
        }
    };
    let _ = plan.warnings.render(true);
    check_plan(&plan);

    let resolved = toml::to_string(&plan.resolved).expect("what is resolved is TOML");
    let again = scenario::parse("fuzz.toml", &resolved, &[], None, None)
        .unwrap_or_else(|wrong| panic!("{resolved}\n{}", wrong.render(false)));
    assert_eq!(again.resolved, plan.resolved);
    assert_eq!(groups(&again), groups(&plan));
    assert_eq!(again.thresholds, plan.thresholds);
}

/// By name: what is resolved has them in that order, and a file in its own.
fn groups(plan: &Plan) -> Vec<String> {
    let mut groups: Vec<_> = plan.groups.iter().collect();
    groups.sort_by_key(|group| &group.name);
    groups.iter().map(|group| format!("{group:?}")).collect()
}

fn check_plan(plan: &Plan) {
    let estimate = Estimate::of(plan);
    for amount in &estimate.group_messages {
        assert!(!amount.count.is_nan() && amount.count >= 0.0, "{amount:?}");
    }
    for (group, of) in plan.groups.iter().enumerate() {
        for client in [0, of.count.saturating_sub(1)] {
            let Some(schedule) = plan.schedule(group, client) else {
                continue;
            };
            let due: Vec<u64> = schedule.take(MESSAGES).collect();
            assert!(due.is_sorted(), "{}: {due:?}", of.name);
        }
    }
}
