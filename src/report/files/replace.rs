//! A file replaced as a whole: written beside its place, and renamed into it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Error;

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

/// The ways in which a path can be written.
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

/// The error of a path that the system refused.
pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}
