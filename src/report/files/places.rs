//! Finds outputs that are one file, of which one would be lost silently. Files are told apart by
//! their identity and not by their paths.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::Error;

/// The most links followed, where links lead to links.
const MOST_LINKS: usize = 40;

/// The files that a verb reads and writes, each once.
#[derive(Debug, Default)]
pub struct Places {
    taken: HashMap<Identity, Place>,
}

#[derive(Debug)]
struct Place {
    name: String,
    is_input: bool,
}

/// The identity of a file, whatever it is called.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Identity {
    /// There is one already.
    Present { device: u64, inode: u64 },
    /// There will be one.
    Absent(PathBuf),
}

impl Places {
    /// No file but those that standard output and standard error are redirected to.
    #[must_use]
    pub fn new() -> Self {
        let mut places = Self::default();
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let streams = [
            ("standard output", stdout.as_fd()),
            ("standard error", stderr.as_fd()),
        ];
        for (name, stream) in streams {
            let found = stream.try_clone_to_owned().map(File::from);
            let identity = found.and_then(|file| file.metadata());
            // Both may go to one file: neither replaces it.
            if let Some(identity) = identity.ok().and_then(|found| Identity::present(&found)) {
                let name = name.to_owned();
                let is_input = false;
                places.take(identity, Place { name, is_input });
            }
        }
        places
    }

    /// Adds a file that is read: no output may be the same one.
    pub fn input(&mut self, name: &str, path: &Path) {
        if let Some(identity) = Identity::of(path) {
            let name = format!("{name} {}", path.display());
            self.take(
                identity,
                Place {
                    name,
                    is_input: true,
                },
            );
        }
    }

    /// Adds a file that is to be written.
    ///
    /// # Errors
    ///
    /// [`Error::SameFile`] if it is one that is read, or another output.
    pub fn output(&mut self, option: &str, path: &Path) -> Result<(), Error> {
        let Some(identity) = Identity::of(path) else {
            return Ok(());
        };
        let name = format!("{option} {}", path.display());
        match self.taken.get(&identity) {
            Some(other) => Err(Error::SameFile {
                one: name,
                other: other.name.clone(),
                is_input: other.is_input,
            }),
            None => {
                let is_input = false;
                self.take(identity, Place { name, is_input });
                Ok(())
            }
        }
    }

    fn take(&mut self, identity: Identity, place: Place) {
        self.taken.entry(identity).or_insert(place);
    }
}

impl Identity {
    /// The identity of the file at `path`; `None` for a device, a pipe or a directory, where no
    /// earlier content is lost.
    fn of(path: &Path) -> Option<Self> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            match fs::metadata(&path) {
                Ok(found) => return Self::present(&found),
                // A link that leads nowhere yet.
                Err(_) => match fs::read_link(&path) {
                    Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
                    Err(_) => break,
                },
            }
        }
        Some(Self::Absent(absolute(&path)))
    }

    fn present(found: &Metadata) -> Option<Self> {
        found.is_file().then(|| Self::Present {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

/// The one spelling of a path of which the last part, or more, does not exist.
fn absolute(path: &Path) -> PathBuf {
    let mut present = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut absent: Vec<PathBuf> = Vec::new();
    let found = loop {
        if let Ok(found) = fs::canonicalize(&present) {
            break found;
        }
        let last = present.components().next_back();
        match last {
            Some(last @ (Component::Normal(_) | Component::ParentDir)) => {
                absent.push(PathBuf::from(OsStr::new(&last)));
            }
            _ => break present.clone(),
        }
        if !present.pop() {
            break present.clone();
        }
    };
    // Parts of a path that do not exist yet are no links, so `..` can be resolved lexically.
    absent.iter().rev().fold(found, |mut whole, part| {
        if part == Path::new("..") {
            whole.pop();
        } else {
            whole.push(part);
        }
        whole
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Whether the second of two outputs is refused.
    fn is_one(one: &Path, other: &Path) -> bool {
        let mut places = Places::default();
        places.output("--json", one).unwrap();
        let refused = places.output("--trace", other);
        if let Err(error) = &refused {
            let says = error.to_string();
            assert!(
                says.contains("--json") && says.contains("--trace"),
                "{says}"
            );
        }
        refused.is_err()
    }

    #[test]
    fn one_file_is_one_however_it_is_spelt() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("file"), "dear").unwrap();
        fs::hard_link(at("file"), at("hard")).unwrap();
        symlink("file", at("soft")).unwrap();
        symlink("absent", at("dangling")).unwrap();
        symlink("sub", at("dir")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let same = [
            ("file", "file"),
            ("file", "sub/../file"),
            ("file", "./file"),
            ("file", "hard"),
            ("file", "soft"),
            ("soft", "hard"),
            ("absent", "absent"),
            ("absent", "sub/../absent"),
            ("absent", "dangling"),
            ("sub/new", "dir/new"),
            ("new/result.json", "new/result.json"),
            ("new/result.json", "new/deep/../result.json"),
            ("dir/new/result.json", "sub/new/./result.json"),
            ("loop", "loop"),
        ];
        for (one, other) in same {
            assert!(is_one(&at(one), &at(other)), "{one} and {other}");
            assert!(is_one(&at(other), &at(one)), "{other} and {one}");
        }
        let apart = [
            ("file", "absent"),
            ("sub/file", "file"),
            ("new/result.json", "newer/result.json"),
            ("absent", "dir/absent"),
        ];
        for (one, other) in apart {
            assert!(!is_one(&at(one), &at(other)), "{one} and {other}");
        }
        // Nothing written there is kept anyway.
        assert!(!is_one(Path::new("/dev/null"), Path::new("/dev/null")));
        // Relative to the working directory.
        assert!(is_one(Path::new("no-such"), Path::new("./no-such")));
        assert!(is_one(
            Path::new("Cargo.toml"),
            Path::new("src/../Cargo.toml")
        ));
    }

    #[test]
    fn what_is_read_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fanout.toml");
        fs::write(&file, "dear").unwrap();
        let mut places = Places::default();
        places.input("the scenario", &file);
        places.input("the scenario", &file);
        let error = places.output("--html", &file).unwrap_err().to_string();
        assert!(
            error.contains("--html") && error.contains("would overwrite the scenario"),
            "{error}"
        );
    }
}
