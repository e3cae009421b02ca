//! Where results go: a file, a directory, or standard output.
//!
//! Checked before the run, so that ten minutes of load do not end in "no such directory". A file
//! is written beside its place and renamed into it, so that an earlier result stays whole until
//! the new one is.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

mod places;
mod replace;

pub use places::Places;
use replace::io_error;
pub use replace::{check_writable, write};

use super::summary::{self, Detail};
use super::{Rendered, Style, hdr, junit, result};

/// The JSON result in an output directory.
pub const RESULT: &str = "result.json";

/// The summary in an output directory.
pub const SUMMARY: &str = "summary.txt";

/// The HTML report in an output directory.
pub const HTML: &str = "report.html";

/// A search as JSON in its output directory.
pub const SEARCH: &str = "search.json";

/// The page of a search in its output directory.
pub const SEARCH_HTML: &str = "search.html";

/// The page of a comparison with a baseline in an output directory.
pub const COMPARED: &str = "compare.html";

/// The verdicts as JUnit XML in an output directory.
pub const JUNIT: &str = "junit.xml";

/// The histograms in an output directory; beside it stands a `.hgrm` for each class of latency.
pub const HLOG: &str = "latency.hlog";

/// Why a result cannot be written.
#[derive(Debug, Error)]
pub enum Error {
    /// The path is a directory.
    #[error("{} is a directory: name a file in it", .0.display())]
    IsDirectory(PathBuf),
    /// The path's directory does not exist.
    #[error("cannot write {}: there is no directory {}; make it first", path.display(), parent.display())]
    NoParent {
        /// The file that was to be written.
        path: PathBuf,
        /// The directory that is missing.
        parent: PathBuf,
    },
    /// An earlier result would be lost.
    #[error("{} holds a result already: name another directory, or add --force", .0.display())]
    HasResult(PathBuf),
    /// An earlier file would be lost.
    #[error("{} exists already: name another file, or add --force", .0.display())]
    Exists(PathBuf),
    /// Two outputs are one file, or one is a file that is read.
    #[error("{one} {}: {}", if *is_input { format!("would overwrite {other}") } else {
        format!("and {other} are one file")
    }, if *is_input { "name another file" } else { "one would overwrite the other" })]
    SameFile {
        /// The output.
        one: String,
        /// The other thing that it is.
        other: String,
        /// Whether that is read.
        is_input: bool,
    },
    /// The system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// The destination of one result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output, written `-` on the command line.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl From<OsString> for Destination {
    fn from(argument: OsString) -> Self {
        if argument == "-" {
            Self::Stdout
        } else {
            Self::File(argument.into())
        }
    }
}

impl Destination {
    /// Checks before the run that it can be written after it, and that nothing is lost by that
    /// unless `force` is given. An empty file (`mktemp` makes one) holds nothing to lose.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], or as [`check_writable`].
    pub fn check(&self, force: bool) -> Result<(), Error> {
        let Self::File(path) = self else {
            return Ok(());
        };
        let holds_something = |found: fs::Metadata| found.is_file() && found.len() > 0;
        if !force && fs::metadata(path).is_ok_and(holds_something) {
            return Err(Error::Exists(path.clone()));
        }
        check_writable(path)
    }

    /// Claims its file, if it is one.
    ///
    /// # Errors
    ///
    /// [`Error::SameFile`], as [`Places::output`].
    pub fn claim(&self, option: &str, places: &mut Places) -> Result<(), Error> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(path) => places.output(option, path),
        }
    }

    /// Writes all of `content`.
    ///
    /// A reader of standard output that has gone away has had enough: that is no error.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], with an earlier file still in place.
    pub fn write(&self, content: &[u8]) -> Result<(), Error> {
        match self {
            Self::File(path) => write(path, content),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                match stdout.write_all(content).and_then(|()| stdout.flush()) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    result => result.map_err(io_error(Path::new("standard output"))),
                }
            }
        }
    }
}

/// The directory of one run's results: [`RESULT`], and everything that is made of it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Claims all the files that a run may write into the directory at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::SameFile`], as [`Places::output`].
    pub fn claim(path: &Path, places: &mut Places) -> Result<(), Error> {
        for name in [RESULT, SUMMARY, HTML, JUNIT, HLOG] {
            places.output("--out", &path.join(name))?;
        }
        for class in result::class_names() {
            places.output("--out", &path.join(format!("{class}.hgrm")))?;
        }
        Ok(())
    }

    /// Makes the directory, and checks that files can be written into it.
    ///
    /// # Errors
    ///
    /// [`Error::HasResult`] if there is one already, or [`Error::Exists`] if another file would be
    /// lost, and `force` is not given; [`Error::Io`] if the directory cannot be made or written to.
    pub fn prepare(path: &Path, force: bool) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(io_error(path))?;
        if !force {
            if path.join(RESULT).exists() {
                return Err(Error::HasResult(path.to_owned()));
            }
            for file in fs::read_dir(path).map_err(io_error(path))? {
                let file = file.map_err(io_error(path))?.path();
                if would_be_lost(&file) {
                    return Err(Error::Exists(file));
                }
            }
        }
        for name in [RESULT, SUMMARY, HTML, JUNIT, HLOG] {
            check_writable(&path.join(name))?;
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Writes the JSON result, the plain summary, the HTML report, and the files for other tools.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn write(&self, rendered: &Rendered<'_>) -> Result<(), Error> {
        let put = |name: &str, content: &[u8]| write(&self.path.join(name), content);
        let report = rendered.report;
        let result = &report.result;
        put(RESULT, rendered.json())?;
        put(
            SUMMARY,
            summary::render(report, Style::FILE, Detail::Full).as_bytes(),
        )?;
        put(HTML, rendered.page().as_bytes())?;
        put(
            JUNIT,
            junit::render([junit::Suite::Result(result)]).as_bytes(),
        )?;
        put(HLOG, &hdr::hlog(result, &report.outcome.measured.stretches))?;
        for (class, _, latency) in result.classes() {
            let table = hdr::hgrm(&latency.histogram);
            put(&format!("{class}.hgrm"), table.as_bytes())?;
        }
        Ok(())
    }
}

/// Whether a file in an output directory is one that would be written over.
fn would_be_lost(file: &Path) -> bool {
    let known = [SUMMARY, HTML, JUNIT, HLOG].map(OsStr::new);
    file.file_name().is_some_and(|name| known.contains(&name))
        || file.extension() == Some(OsStr::new("hgrm"))
}

#[cfg(test)]
mod tests;
