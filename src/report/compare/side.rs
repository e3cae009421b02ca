//! A side of a comparison: one result, or several runs of one scenario.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use crate::report::files::{RESULT, SEARCH};
use crate::report::result::RunResult;

/// One result, or several of the same scenario.
#[derive(Debug)]
pub struct Side {
    /// The path that it was read from.
    pub name: String,
    /// Its runs, at least one.
    pub runs: Vec<RunResult>,
}

impl Side {
    /// Reads a result file, a directory with one, or a directory of such directories, as
    /// `run --repeat --out` writes it.
    ///
    /// # Errors
    ///
    /// Names the file or directory, and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let runs = Self::files(path)?;
        // The runs of a search are of different loads: no side.
        let search = path.join(SEARCH);
        if !path.join(RESULT).exists() && search.exists() {
            RunResult::load(&search)?;
        }
        let runs = runs.iter().map(|file| RunResult::load(file));
        Ok(Self {
            name: path.display().to_string(),
            runs: runs.collect::<Result<_, _>>()?,
        })
    }

    /// The files that [`Side::load`] reads, in their order.
    ///
    /// # Errors
    ///
    /// A directory that cannot be read, or has no result in it.
    pub fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
        if !path.is_dir() || path.join(RESULT).exists() {
            return Ok(vec![RunResult::file(path)]);
        }
        let cannot = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(cannot)? {
            let file = entry.map_err(cannot)?.path().join(RESULT);
            if file.exists() {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(Error::Empty(path.to_owned()));
        }
        found.sort_by_key(|file| numbered(file));
        Ok(found)
    }

    /// The verdicts of its runs, each once, in their order.
    pub(super) fn verdicts(&self) -> Vec<&str> {
        let mut verdicts: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !verdicts.contains(&run.verdict.as_str()) {
                verdicts.push(&run.verdict);
            }
        }
        verdicts
    }
}

/// Where a run's result stands among the others: those of `--repeat` by their numbers, 2 before 10.
fn numbered(file: &Path) -> (Option<u64>, PathBuf) {
    let directory = file.parent().and_then(Path::file_name);
    let number = directory.and_then(|name| name.to_str()?.parse().ok());
    (number, file.to_owned())
}
