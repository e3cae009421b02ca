//! Reading a result: from where, which version, and how much of its content is trusted.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use super::{Group, Latency, RunResult, SCHEMA};
use crate::input;
use crate::report::files::RESULT;
use crate::report::json;

/// Why a result cannot be read.
#[derive(Debug, Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The text is no JSON, or a key is missing or of another kind.
    #[error("{}: damaged, or no chatbench result: {key}{source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The key that is wrong and a colon, `window.sent: `; empty where it is the whole.
        key: String,
        /// The first thing that is wrong, with its line and column.
        source: serde_json::Error,
    },
    /// The result of a search, which has runs of its own.
    #[error(
        "{}: what a search found, not the result of a run: each of its probes has one, in the \
         directories that search --out wrote beside it",
        .0.display()
    )]
    Search(PathBuf),
    /// Another version of the format.
    #[error(
        "{}: a result of schema {found}; this chatbench reads schema {SCHEMA}: use the version \
         that wrote it, or run again",
        path.display()
    )]
    OtherSchema {
        /// The file.
        path: PathBuf,
        /// The version it states.
        found: u64,
    },
}

/// The longest result that is read: two weeks of timeline.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

impl RunResult {
    /// As JSON, with a newline at its end.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        json::document(self)
    }

    /// The file that [`RunResult::load`] reads.
    #[must_use]
    pub fn file(path: &Path) -> PathBuf {
        if path.is_dir() {
            path.join(RESULT)
        } else {
            path.to_owned()
        }
    }

    /// Reads a result file, or the one in a directory that `run --out` wrote.
    ///
    /// # Errors
    ///
    /// Names the file, and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let path = Self::file(path);
        match input::read(&path, MAX_FILE_BYTES) {
            Ok(bytes) => Self::parse(&path, &bytes),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// Reads a result; `path` is what an error calls it.
    ///
    /// # Errors
    ///
    /// As [`RunResult::load`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        if kind(bytes).is_some_and(|kind| kind == "search") {
            return Err(Error::Search(path.to_owned()));
        }
        document(path, bytes, SCHEMA)
    }
}

/// The kind of document that `bytes` are, where they say; a run's result says nothing.
pub(crate) fn kind(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Kind {
        kind: Option<String>,
    }
    serde_json::from_slice(bytes)
        .ok()
        .and_then(|Kind { kind }| kind)
}

/// Reads a document of version `schema`; `path` is what an error calls it.
pub(crate) fn document<T: DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    schema: u64,
) -> Result<T, Error> {
    // In a result of another version only the version can be relied on.
    #[derive(Deserialize)]
    struct Versioned {
        schema: u64,
    }
    let damaged = |key: String, source| Error::Damaged {
        path: path.to_owned(),
        key,
        source,
    };
    let whole = |source| damaged(String::new(), source);
    // serde would take an array for a struct, and complain of its length.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(whole(de::Error::custom("no JSON object")));
    }
    let Versioned { schema: found } = serde_json::from_slice(bytes).map_err(whole)?;
    if found != schema {
        return Err(Error::OtherSchema {
            path: path.to_owned(),
            found,
        });
    }
    // Parsing the version has shown that it is JSON with nothing after it.
    let mut document = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut document).map_err(|error| {
        let key = match error.path().iter().next() {
            Some(_) => format!("{}: ", error.path()),
            None => String::new(),
        };
        damaged(key, error.into_inner())
    })
}

/// Classes of latency, and groups of clients, that a result may have: each holds histograms, which
/// are short in the file and long in memory.
const MOST_CLASSES: usize = 64;

pub(super) fn classes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<IndexMap<String, Latency>, D::Error> {
    struct Classes;
    impl<'de> Visitor<'de> for Classes {
        type Value = IndexMap<String, Latency>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MOST_CLASSES} classes of latency")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut classes = IndexMap::new();
            while let Some((class, latency)) = map.next_entry()? {
                classes.insert(class, latency);
                if classes.len() > MOST_CLASSES {
                    return Err(de::Error::invalid_length(classes.len(), &self));
                }
            }
            Ok(classes)
        }
    }
    deserializer.deserialize_map(Classes)
}

pub(super) fn groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Group>, D::Error> {
    struct Groups;
    impl<'de> Visitor<'de> for Groups {
        type Value = Vec<Group>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MOST_CLASSES} groups")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut groups = Vec::new();
            while let Some(group) = list.next_element()? {
                groups.push(group);
                if groups.len() > MOST_CLASSES {
                    return Err(de::Error::invalid_length(groups.len(), &self));
                }
            }
            Ok(groups)
        }
    }
    deserializer.deserialize_seq(Groups)
}
