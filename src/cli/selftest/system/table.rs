//! The table of the runs by proxy: one row per fault, one of clean runs, and in full whatever went
//! wrong.

use super::super::cell::Verdict;
use super::super::table::{INDENT, NAME, word};
use super::{Ran, Subject, subject};
use crate::report::columns::{Align, Columns, Listed};
use crate::report::{self, Style};

/// What the runs of one fault came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    runs: usize,
    applied: usize,
    right: usize,
    word: &'static str,
}

impl Row {
    fn of(ran: &[&Ran]) -> Self {
        let count = |verdict: Verdict| ran.iter().filter(|ran| ran.verdict == verdict).count();
        let has = |verdict| count(verdict) > 0;
        let word = match () {
            () if has(Verdict::Imagined) => "IMAGINED",
            () if has(Verdict::Missed) => "MISSED",
            () if has(Verdict::Misnamed) => "MISNAMED",
            () if has(Verdict::Inconclusive) => "inconclusive",
            () if has(Verdict::Right) => "caught",
            () if has(Verdict::NotObservable) => "not observable",
            () => "not applied",
        };
        let without = count(Verdict::NotApplied) + count(Verdict::Imagined);
        Self {
            runs: ran.len(),
            applied: ran.len() - without,
            right: count(Verdict::Right),
            word,
        }
    }
}

fn of<'r>(ran: &'r [Ran], wanted: &Subject) -> Vec<&'r Ran> {
    let mine = ran.iter().filter(|ran| ran.fault == Some(wanted.0));
    mine.collect()
}

/// The verdict over all runs. A fault that was never committed was not tried.
pub(super) fn overall(subjects: &[Subject], ran: &[Ran]) -> report::Verdict {
    let any = |verdicts: &[Verdict]| ran.iter().any(|ran| verdicts.contains(&ran.verdict));
    let untried = subjects.iter().filter(|(_, expected)| expected.is_ok());
    let mut untried = untried.map(|subject| Row::of(&of(ran, subject)));
    if any(&[Verdict::Missed, Verdict::Misnamed, Verdict::Imagined]) {
        report::Verdict::Fail
    } else if any(&[Verdict::Inconclusive]) || untried.any(|row| row.applied == 0) {
        report::Verdict::Inconclusive
    } else {
        report::Verdict::Pass
    }
}

/// The table, below it the faults that have no place, and every run that did not come out right.
pub(super) fn render(
    subjects: &[Subject],
    ran: &[Ran],
    verbose: bool,
    rerun: &dyn Fn(&Ran) -> String,
    style: Style,
) -> String {
    let mut out = String::new();
    let mut table = Columns::new("fault", NAME, NAME);
    table.column("must be reported as", 0, Align::Left, Listed::Named);
    for head in ["applied", "right"] {
        table.column(head, 0, Align::Right, Listed::Named);
    }
    table.column("verdict", 0, Align::Left, Listed::Bare);
    let mut rows = 0;
    for wanted in subjects {
        let (fault, Ok(kinds)) = wanted else { continue };
        let row = Row::of(&of(ran, wanted));
        if row.runs == 0 {
            continue;
        }
        rows += 1;
        let cells = [
            kinds.join(", "),
            format!("{}/{}", row.applied, row.runs),
            row.right.to_string(),
            row.word.to_owned(),
        ];
        table.row(fault.name(), cells.to_vec());
    }
    if rows > 0 {
        table.render(style, &mut out);
    }
    let clean: Vec<&Ran> = ran.iter().filter(|ran| ran.fault.is_none()).collect();
    if !clean.is_empty() {
        let count = |verdict| clean.iter().filter(|ran| ran.verdict == verdict).count();
        let (imagined, doubtful) = (count(Verdict::Imagined), count(Verdict::Inconclusive));
        let runs = clean.len();
        let words = format!("{runs} clean runs: {imagined} false alarms, {doubtful} inconclusive");
        style.paragraph(&mut out, "", INDENT, &words);
    }
    let without_place = subjects.iter().filter_map(|(fault, expected)| {
        let why = expected.err()?;
        Some((fault.name(), why))
    });
    for (nth, (name, why)) in without_place.enumerate() {
        if nth == 0 {
            out.push_str("\nno faults of this target:\n");
        }
        style.paragraph(&mut out, "  ", INDENT + 2, &format!("{name}: {why}"));
    }
    for ran in ran {
        let is_fine = matches!(
            ran.verdict,
            Verdict::Right | Verdict::NotApplied | Verdict::NotObservable
        );
        if is_fine && !verbose {
            continue;
        }
        let head = format!("{}: {}", subject(ran.fault, ran.seed), word(&ran.verdict));
        out.push('\n');
        style.paragraph(&mut out, "", INDENT, &head);
        for detail in &ran.details {
            style.paragraph(&mut out, "  ", INDENT + 2, detail);
        }
        style.command(&mut out, "  again: ", INDENT + 2, &rerun(ran));
    }
    out
}
