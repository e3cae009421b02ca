//! The detection table: one row per fault, one of clean runs, and in full whatever went wrong.

use super::cell::{Cell, Judge, Ran, Verdict};
use crate::report::columns::{Align, Columns, Listed};
use crate::report::{self, Style};
use crate::server::fault::catalogue::Fault;

/// Columns of a fault's name.
pub(super) const NAME: usize = 22;

/// Indent, in columns, of the details of a run or of a line.
pub(super) const INDENT: usize = 2;

/// The name of a cell: `drop-relay in churn, seed 3`.
pub(super) fn subject(cell: Cell) -> String {
    let fault = cell.fault.map_or("clean", Fault::name);
    let judged = match cell.judge {
        Judge::Numbers => "",
        Judge::Outside => ", by inferred order",
        Judge::Fifo => ", by FIFO on two shards",
        Judge::Classic => ", in classic",
        Judge::Websocket => ", over WebSocket",
    };
    format!(
        "{fault} in {}, seed {}{judged}",
        cell.scenario.name, cell.seed
    )
}

/// The command that runs a cell again.
pub(super) fn rerun(cell: Cell) -> String {
    let fault = cell.fault.map_or("none", Fault::name);
    let (scenario, seed) = (cell.scenario.name, cell.seed);
    let judge = match cell.judge {
        Judge::Numbers => "",
        Judge::Outside => " --judge outside",
        Judge::Fifo => " --judge fifo",
        Judge::Classic => " --judge classic",
        Judge::Websocket => " --judge websocket",
    };
    format!(
        "chatbench selftest --fault {fault} --scenario {scenario} --seed {seed}{judge} --verbose"
    )
}

pub(super) const fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Right => "right",
        Verdict::NotApplied => "not applied",
        Verdict::NotObservable => "not observable",
        Verdict::Missed => "missed",
        Verdict::Misnamed => "misnamed",
        Verdict::Imagined => "imagined",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// The verdict over all runs.
pub(super) fn overall(ran: &[Ran]) -> report::Verdict {
    let any = |verdicts: &[Verdict]| ran.iter().any(|ran| verdicts.contains(&ran.verdict));
    if any(&[Verdict::Missed, Verdict::Misnamed, Verdict::Imagined]) {
        report::Verdict::Fail
    } else if any(&[Verdict::Inconclusive]) {
        report::Verdict::Inconclusive
    } else {
        report::Verdict::Pass
    }
}

/// The number of cells of a row with each outcome.
#[derive(Debug, Default)]
struct Row {
    runs: usize,
    right: usize,
    not_applied: usize,
    not_observable: usize,
    missed: usize,
    misnamed: usize,
    imagined: usize,
    inconclusive: usize,
}

impl Row {
    fn of<'a>(ran: impl Iterator<Item = &'a Ran>) -> Self {
        let mut row = Self::default();
        for ran in ran {
            row.runs += 1;
            *match ran.verdict {
                Verdict::Right => &mut row.right,
                Verdict::NotApplied => &mut row.not_applied,
                Verdict::NotObservable => &mut row.not_observable,
                Verdict::Missed => &mut row.missed,
                Verdict::Misnamed => &mut row.misnamed,
                Verdict::Imagined => &mut row.imagined,
                Verdict::Inconclusive => &mut row.inconclusive,
            } += 1;
        }
        row
    }

    /// Runs in which the fault was committed.
    fn applied(&self) -> usize {
        self.right + self.not_observable + self.missed + self.misnamed
    }

    /// The verdict of a row, in a word.
    fn verdict(&self) -> &'static str {
        match self {
            Self { imagined: 1.., .. } => "IMAGINED",
            Self { missed: 1.., .. } => "MISSED",
            Self { misnamed: 1.., .. } => "MISNAMED",
            Self {
                inconclusive: 1.., ..
            } => "inconclusive",
            Self { right: 1.., .. } => "caught",
            Self {
                not_observable: 1..,
                ..
            } => "not observable",
            _ => "not applied",
        }
    }
}

/// The tables, one for each way of judging, and below them every run that did not come out right.
pub(super) fn render(ran: &[Ran], verbose: bool, style: Style) -> String {
    let mut out = String::new();
    for (judge, head) in [
        (Judge::Numbers, None),
        (
            Judge::Outside,
            Some("by inferred order, the numbers left aside"),
        ),
        (
            Judge::Fifo,
            Some("by inferred order, as FIFO, on two shards"),
        ),
        (
            Judge::Classic,
            Some("by inferred order, in the classic dialect"),
        ),
        (Judge::Websocket, Some("by the numbers, over WebSocket")),
    ] {
        let mine: Vec<&Ran> = ran.iter().filter(|ran| ran.cell.judge == judge).collect();
        if let Some(head) = head.filter(|_| !mine.is_empty()) {
            let blank = if out.is_empty() { "" } else { "\n" };
            out.push_str(blank);
            let head = format!("judged {head}:");
            style.paragraph(&mut out, "", INDENT, &head);
        }
        write_table(&mut out, &mine, style);
    }
    for ran in ran {
        let is_fine = matches!(
            ran.verdict,
            Verdict::Right | Verdict::NotApplied | Verdict::NotObservable
        );
        if is_fine && !verbose {
            continue;
        }
        let (subject, word) = (subject(ran.cell), word(&ran.verdict));
        out.push('\n');
        style.paragraph(&mut out, "", INDENT, &format!("{subject}: {word}"));
        let indent = " ".repeat(INDENT);
        for detail in &ran.details {
            style.paragraph(&mut out, &indent, INDENT + 2, detail);
        }
        style.command(
            &mut out,
            &(indent + "again: "),
            INDENT + 2,
            &rerun(ran.cell),
        );
    }
    out
}

fn write_table(out: &mut String, ran: &[&Ran], style: Style) {
    let with_faults: Vec<&Ran> = ran
        .iter()
        .copied()
        .filter(|ran| ran.cell.fault.is_some())
        .collect();
    let mut table = Columns::new("fault", NAME, NAME);
    table.column("must be reported as", 0, Align::Left, Listed::Named);
    for head in ["applied", "unseen", "caught", "right"] {
        table.column(head, 0, Align::Right, Listed::Named);
    }
    table.column("verdict", 0, Align::Left, Listed::Bare);
    for fault in Fault::ALL {
        let mine = with_faults
            .iter()
            .filter(|ran| ran.cell.fault == Some(*fault));
        let row = Row::of(mine.copied());
        if row.runs == 0 {
            continue;
        }
        let kinds = fault.entry().reported_as.join(", ");
        let cells = [
            kinds,
            format!("{}/{}", row.applied(), row.runs),
            row.not_observable.to_string(),
            (row.right + row.misnamed).to_string(),
            row.right.to_string(),
            row.verdict().to_owned(),
        ];
        table.row(fault.name(), cells.to_vec());
    }
    if !with_faults.is_empty() {
        table.render(style, out);
    }
    let clean = ran.iter().copied().filter(|ran| ran.cell.fault.is_none());
    let row = Row::of(clean);
    if row.runs > 0 {
        let (runs, imagined, inconclusive) = (row.runs, row.imagined, row.inconclusive);
        let words =
            format!("{runs} clean runs: {imagined} false alarms, {inconclusive} inconclusive");
        style.paragraph(out, "", INDENT, &words);
    }
}
