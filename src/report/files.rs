//! Where results go: a file, a directory, or standard output.
//!
//! Checked before the run, so that ten minutes of load do not end in "no such directory". A file
//! is written beside its place and renamed into it, so that an earlier result stays whole until
//! the new one is.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

mod places;

pub use places::Places;

use super::{Rendered, Style, hdr, junit, result, summary};

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
        /// What it is as well.
        other: String,
        /// Whether that is read.
        is_input: bool,
    },
    /// The system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where one result goes.
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

    /// Claims the file that it is, if it is one.
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
        put(SUMMARY, summary::render(report, Style::FILE).as_bytes())?;
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

/// Checks that a file can be written, without touching what may be there and without leaving
/// anything behind.
///
/// # Errors
///
/// Names the path and the reason: it is a directory, its directory is missing, or the system
/// refuses.
pub fn check_writable(path: &Path) -> Result<(), Error> {
    let Place::Beside { temporary, .. } = Place::of(path)? else {
        return Ok(());
    };
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary);
    created.map_err(io_error(path))?;
    fs::remove_file(&temporary).map_err(io_error(&temporary))
}

/// Writes `content` to `path`; what was there stays until all of the new is on disk.
///
/// # Errors
///
/// As [`check_writable`].
pub fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    match Place::of(path)? {
        Place::Special => OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(content))
            .map_err(io_error(path)),
        Place::Beside { temporary, target } => {
            let replaced = fill(&temporary, &target, content)
                .and_then(|()| fs::rename(&temporary, &target))
                .map_err(io_error(path));
            if replaced.is_err() {
                // The first error is the one to report.
                let _ = fs::remove_file(&temporary);
            }
            replaced
        }
    }
}

/// Makes `temporary` with `content` and the permissions of `target`, if that exists.
fn fill(temporary: &Path, target: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    if let Ok(existing) = fs::metadata(target) {
        file.set_permissions(existing.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()
}

/// How a path can be written.
enum Place {
    /// A regular file or nothing yet: write beside it and rename.
    Beside { temporary: PathBuf, target: PathBuf },
    /// A device or a pipe (`/dev/null`, `>(gzip)`): renaming over it would destroy it.
    Special,
}

impl Place {
    fn of(path: &Path) -> Result<Self, Error> {
        let target = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Err(Error::IsDirectory(path.to_owned())),
            Ok(metadata) if !metadata.is_file() => return Ok(Self::Special),
            // Where a link leads to is replaced, not the link.
            Ok(_) => fs::canonicalize(path).map_err(io_error(path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(io_error(path)(error)),
        };
        let Some(name) = target.file_name() else {
            return Err(Error::IsDirectory(path.to_owned()));
        };
        let parent = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if !parent.is_dir() {
            let (path, parent) = (path.to_owned(), parent.to_owned());
            return Err(Error::NoParent { path, parent });
        }
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(OsStr::new(&format!(".{}.tmp", std::process::id())));
        Ok(Self::Beside {
            temporary: parent.join(hidden),
            target,
        })
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::report::{Report, sample};

    fn names(dir: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_check_leaves_nothing_behind_and_what_was_there_alone() {
        let dir = tempfile::tempdir().unwrap();
        check_writable(&dir.path().join("new.json")).unwrap();
        assert!(names(dir.path()).is_empty());
        let old = dir.path().join("old.json");
        fs::write(&old, "old").unwrap();
        check_writable(&old).unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
        assert_eq!(names(dir.path()), ["old.json"]);
    }

    #[test]
    fn what_cannot_be_written_is_named_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        // Not even root may create a file in /proc.
        let table = [
            (dir.path().to_owned(), "is a directory: name a file in it"),
            (at("missing/result.json"), "there is no directory"),
            (at("file/result.json"), "Not a directory"),
            (
                PathBuf::from("/proc/result.json"),
                "cannot write /proc/result.json: ",
            ),
        ];
        for (path, reason) in table {
            for result in [check_writable(&path), write(&path, b"x")] {
                let message = result.unwrap_err().to_string();
                assert!(message.contains(reason), "{message}");
                assert!(message.contains(&path.display().to_string()), "{message}");
            }
        }
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn a_new_result_replaces_the_old_one_with_its_permissions_and_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("result.json"), dir.path().join("latest"));
        fs::write(&file, "old and longer").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        write(&link, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(dir.path()), ["latest", "result.json"]);
    }

    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let null = Path::new("/dev/null");
        check_writable(null).unwrap();
        write(null, b"gone").unwrap();
        assert!(!fs::metadata(null).unwrap().is_file());
    }

    #[test]
    fn a_dash_is_standard_output() {
        assert_eq!(Destination::from(OsString::from("-")), Destination::Stdout);
        let file = Destination::from(OsString::from("a.json"));
        assert_eq!(file, Destination::File("a.json".into()));
        Destination::Stdout.check(false).unwrap();
        let missing = Destination::File("/nowhere/at/all".into());
        assert!(matches!(missing.check(false), Err(Error::NoParent { .. })));
    }

    #[test]
    fn a_directory_gets_result_and_summary_and_keeps_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results/today");
        let report = sample::report(|_, _| ());
        Directory::prepare(&out, false)
            .unwrap()
            .write(&Rendered::new(&report))
            .unwrap();
        assert_eq!(names(&out), written(&report));
        assert_eq!(fs::read(out.join(RESULT)).unwrap(), report.result.json());
        let summary = fs::read_to_string(out.join(SUMMARY)).unwrap();
        assert!(summary.starts_with("fanout · seed 42"));

        let again = Directory::prepare(&out, false).unwrap_err();
        assert!(
            matches!(&again, Error::HasResult(path) if *path == out),
            "{again}"
        );
        Directory::prepare(&out, true)
            .unwrap()
            .write(&Rendered::new(&report))
            .unwrap();
        assert_eq!(names(&out), written(&report));
    }

    #[test]
    fn what_lies_in_a_directory_without_its_result_is_not_lost_either() {
        for name in [SUMMARY, HTML, JUNIT, HLOG, "relay.hgrm"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), "dear").unwrap();
            let error = Directory::prepare(dir.path(), false).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(names(dir.path()), [name]);
            Directory::prepare(dir.path(), true).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.txt"), "of no concern").unwrap();
        Directory::prepare(dir.path(), false).unwrap();
    }

    /// All that a directory gets, in the order of the alphabet.
    fn written(report: &Report) -> Vec<OsString> {
        let result = report.result.clone();
        let mut names: Vec<_> = [RESULT, SUMMARY, HTML, JUNIT, HLOG]
            .map(str::to_owned)
            .into();
        names.extend(result.classes().map(|(class, ..)| format!("{class}.hgrm")));
        names.sort();
        assert!(names.len() >= 11, "{names:?}");
        names.into_iter().map(OsString::from).collect()
    }

    #[test]
    fn an_earlier_file_is_not_lost_without_force_and_an_empty_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("result.json");
        let destination = Destination::File(path.clone());
        destination.check(false).unwrap();
        fs::write(&path, "").unwrap();
        destination.check(false).unwrap();
        fs::write(&path, "dear").unwrap();
        let error = destination.check(false).unwrap_err();
        assert!(matches!(&error, Error::Exists(p) if *p == path), "{error}");
        destination.check(true).unwrap();
        Destination::File("/dev/null".into()).check(false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear");
    }

    #[test]
    fn a_directory_that_is_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            Directory::prepare(&file, true),
            Err(Error::Io { .. })
        ));
    }
}
