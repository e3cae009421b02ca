//! Where `chatbench run` puts its results: found to be writable before anything runs.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use super::{Args, print};
use crate::report::compare::Comparison;
use crate::report::files::{COMPARED, Destination, Directory};
use crate::report::html::compared;
use crate::report::{Rendered, Report, RunResult, Style, junit, summary};
use crate::scenario::plan::Plan;
use crate::terminal;

/// Where results go: found to be writable before anything runs.
pub(super) struct Outputs {
    json: Option<Destination>,
    html: Option<Destination>,
    junit: Option<Destination>,
    compared: Option<Destination>,
    directories: Vec<Directory>,
    quiet: bool,
}

impl Outputs {
    /// Checks every place that the results of `plans` go to.
    ///
    /// # Errors
    ///
    /// Names the option or the path, and what is wrong with it.
    pub(super) fn prepare(args: &Args, plans: &[(PathBuf, Plan)]) -> Result<Self, String> {
        let json = args.json.clone().map(Destination::from);
        let html = args.html.clone().map(Destination::File);
        let junit = args.junit.clone().map(Destination::File);
        let one_result = [("--json", &json), ("--html", &html)];
        for (option, _) in one_result.iter().filter(|(_, given)| given.is_some()) {
            let count = plans.len() * args.repeat.get();
            if count > 1 {
                return Err(format!(
                    "{option} takes one result, not {count}: use --out DIR"
                ));
            }
        }
        for destination in [&json, &html, &junit].into_iter().flatten() {
            destination.check(args.force).map_err(|e| e.to_string())?;
        }
        let mut directories = Vec::new();
        if let Some(out) = &args.out {
            let mut names = HashSet::new();
            for (_, plan) in plans {
                if !names.insert(&plan.name) {
                    let name = &plan.name;
                    return Err(format!(
                        "two scenarios are named {name}: in --out DIR one would overwrite the other"
                    ));
                }
                let path = if plans.len() > 1 {
                    out.join(&plan.name)
                } else {
                    out.clone()
                };
                for repeat in 1..=args.repeat.get() {
                    let path = if args.repeat.get() > 1 {
                        path.join(repeat.to_string())
                    } else {
                        path.clone()
                    };
                    directories
                        .push(Directory::prepare(&path, args.force).map_err(|e| e.to_string())?);
                }
            }
        }
        // Beside the results, which --baseline takes of one scenario only.
        let beside = args.out.as_ref().filter(|_| args.baseline.is_some());
        let compared = beside.map(|out| Destination::File(out.join(COMPARED)));
        if let Some(compared) = &compared {
            compared.check(args.force).map_err(|e| e.to_string())?;
        }
        Ok(Self {
            json,
            html,
            junit,
            compared,
            directories,
            quiet: args.quiet,
        })
    }

    /// Whether standard output is taken by the JSON.
    pub(super) fn json_on_stdout(&self) -> bool {
        matches!(self.json, Some(Destination::Stdout))
    }

    /// Writes the result of run number `index`, counted over plans and repeats.
    ///
    /// # Errors
    ///
    /// Names the path, and what the system said.
    pub(super) fn write(&self, index: usize, report: &Report) -> Result<(), String> {
        let rendered = Rendered::new(report);
        // A summary has blank lines of its own: two in a row stand a line apart all the same.
        let gap = if index > 0 { "\n" } else { "" };
        if !self.json_on_stdout() {
            let text = summary::render(report, Style::detect(&io::stdout()));
            print(&format!("{gap}{text}"));
        } else if !self.quiet {
            let text = summary::render(report, Style::detect(&io::stderr()));
            terminal::tell_page(&format!("{gap}{text}"));
        }
        if let Some(json) = &self.json {
            json.write(rendered.json()).map_err(|e| e.to_string())?;
        }
        if let Some(destination) = &self.html {
            destination
                .write(rendered.page().as_bytes())
                .map_err(|e| e.to_string())?;
        }
        if let Some(directory) = self.directories.get(index) {
            directory.write(&rendered).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Writes the page of the comparison with the baseline.
    ///
    /// # Errors
    ///
    /// As [`Outputs::write`].
    pub(super) fn write_compared(&self, comparison: Comparison<'_>) -> Result<(), String> {
        let Some(destination) = &self.compared else {
            return Ok(());
        };
        let page = compared::render(&[comparison]);
        destination
            .write(page.as_bytes())
            .map_err(|e| e.to_string())
    }

    /// Writes the verdicts of all runs.
    ///
    /// # Errors
    ///
    /// As [`Outputs::write`].
    pub(super) fn write_junit(&self, reports: &[Report]) -> Result<(), String> {
        let Some(destination) = &self.junit else {
            return Ok(());
        };
        let results: Vec<_> = reports.iter().map(RunResult::of).collect();
        destination
            .write(junit::render(&results).as_bytes())
            .map_err(|e| e.to_string())
    }
}
