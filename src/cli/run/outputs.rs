//! Where `chatbench run` puts its results: found to be writable before anything runs.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use super::RunOptions;
use crate::cli::overrides::Invalid;
use crate::cli::print;
use crate::report::compare::{Comparison, Side};
use crate::report::files::{COMPARED, Destination, Directory, Places};
use crate::report::html::compared;
use crate::report::junit::Suite;
use crate::report::summary::{self, Detail};
use crate::report::{Rendered, Report, RunResult, Style, junit};
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
    /// How much the summary says.
    detail: Detail,
}

impl Outputs {
    /// Checks every place that the results of `plans` go to.
    ///
    /// # Errors
    ///
    /// Names the option or the path, and what is wrong with it.
    pub(super) fn prepare(args: &RunOptions, plans: &[(PathBuf, Plan)]) -> Result<Self, String> {
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
        let mut places = Places::new();
        for (file, _) in plans {
            places.input("the scenario", file);
        }
        for file in baseline_files(args)? {
            places.input("the baseline", &file);
        }
        let files = [("--json", &json), ("--html", &html), ("--junit", &junit)];
        for (option, destination) in files {
            if let Some(destination) = destination {
                claim(option, destination, &mut places)?;
            }
        }
        if let Some(trace) = &args.trace {
            claim("--trace", &Destination::File(trace.clone()), &mut places)?;
        }
        let mut paths = Vec::new();
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
                    Directory::claim(&path, &mut places).map_err(|e| e.to_string())?;
                    paths.push(path);
                }
            }
        }
        // Beside the results, which --baseline takes of one scenario only.
        let beside = args.out.as_ref().filter(|_| args.baseline.is_some());
        let compared = beside.map(|out| Destination::File(out.join(COMPARED)));
        if let Some(compared) = &compared {
            claim("--out", compared, &mut places)?;
        }
        // Nothing is made, or looked at, before all is known to be apart.
        for (_, destination) in files {
            if let Some(destination) = destination {
                destination.check(args.force).map_err(|e| e.to_string())?;
            }
        }
        let prepare = |path| Directory::prepare(path, args.force).map_err(|e| e.to_string());
        let directories = paths.iter().map(|path| prepare(path));
        let directories = directories.collect::<Result<Vec<_>, _>>()?;
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
            detail: match args.verbose {
                true => Detail::Full,
                false => Detail::Brief,
            },
        })
    }

    /// Whether standard output is taken by the JSON.
    pub(super) fn json_on_stdout(&self) -> bool {
        matches!(self.json, Some(Destination::Stdout))
    }

    /// Writes the result of run number `index`, counted over plans and repeats, into every place
    /// that it goes to: what one does not take, the others still do.
    ///
    /// # Errors
    ///
    /// Names the first path that did not take it, and what the system said.
    pub(super) fn write(&self, index: usize, report: &Report) -> Result<(), String> {
        let rendered = Rendered::new(report);
        let mut lost = None;
        // A summary has blank lines of its own: two in a row stand a line apart all the same.
        let gap = if index > 0 { "\n" } else { "" };
        if report.outcome.error.is_some() {
            // The error has been printed, and there is nothing to sum up.
        } else if !self.json_on_stdout() {
            let text = summary::render(report, Style::detect(&io::stdout()), self.detail);
            lost = print(&format!("{gap}{text}")).err();
        } else if !self.quiet {
            let text = summary::render(report, Style::detect(&io::stderr()), self.detail);
            terminal::tell_page(&format!("{gap}{text}"));
        }
        if let Some(json) = &self.json {
            lost = lost.or(json.write(rendered.json()).err());
        }
        if let Some(destination) = &self.html {
            lost = lost.or(destination.write(rendered.page().as_bytes()).err());
        }
        if let Some(directory) = self.directories.get(index) {
            lost = lost.or(directory.write(&rendered).err());
        }
        lost.map_or(Ok(()), |error| Err(error.to_string()))
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

    /// Writes the verdicts of all runs; `not_run` are the scenarios whose turn never came.
    ///
    /// # Errors
    ///
    /// As [`Outputs::write`].
    pub(super) fn write_junit(
        &self,
        results: &[RunResult],
        not_run: &[&str],
    ) -> Result<(), String> {
        let Some(destination) = &self.junit else {
            return Ok(());
        };
        let not_run = not_run.iter().map(|name| Suite::NotRun {
            name,
            why: "not run: an earlier run was interrupted",
        });
        let suites = results.iter().map(Suite::Result).chain(not_run);
        destination
            .write(junit::render(suites).as_bytes())
            .map_err(|e| e.to_string())
    }
}

/// Says in the JUnit file, if one was asked for, that nothing was run, and why.
///
/// # Errors
///
/// Names the path, and what is wrong with it.
pub(super) fn write_invalid(args: &RunOptions, scenarios: &Invalid) -> Result<(), String> {
    let Some(junit) = args.junit.clone().map(Destination::File) else {
        return Ok(());
    };
    let mut places = Places::new();
    for (file, _) in scenarios {
        places.input("the scenario", file);
    }
    claim("--junit", &junit, &mut places)?;
    junit.check(args.force).map_err(|e| e.to_string())?;
    let names: Vec<_> = scenarios
        .iter()
        .map(|(file, _)| {
            file.file_stem()
                .unwrap_or(file.as_os_str())
                .to_string_lossy()
        })
        .collect();
    let suites = names
        .iter()
        .zip(scenarios)
        .map(|(name, (_, wrong))| Suite::NotRun {
            name,
            why: wrong
                .as_deref()
                .unwrap_or("not run: another scenario is invalid"),
        });
    junit
        .write(junit::render(suites).as_bytes())
        .map_err(|e| e.to_string())
}

fn claim(option: &str, destination: &Destination, places: &mut Places) -> Result<(), String> {
    destination.claim(option, places).map_err(|e| e.to_string())
}

/// The results that are compared with.
fn baseline_files(args: &RunOptions) -> Result<Vec<PathBuf>, String> {
    let Some(path) = &args.baseline else {
        return Ok(Vec::new());
    };
    Side::files(path).map_err(|e| e.to_string())
}
