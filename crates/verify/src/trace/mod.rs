//! Traces: a run's observations in a file, and the verdict from the file alone.
//!
//! A trace holds everything that the ledgers and the judge are told ([`tape`]), and its order over
//! all threads ([`view`]). [`mod@file`] writes and reads the blocks; [`replay`] tells it all again,
//! in that order, to ledgers, a directory and a judge: the same verifier comes to the same
//! findings, another one to those that it would have had in the run. [`version_1`] reads traces of
//! the former format; [`observed`] reads what other programs write about their own systems. The
//! formats are specified in `docs/TRACE.md`.

pub mod file;
mod named;
pub mod observed;
pub mod replay;
pub(crate) mod tag;
pub(crate) mod tape;
pub(crate) mod told;
mod version_1;
pub(crate) mod view;

use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::tape::Writing;
use super::findings::Findings;
use super::ledger::Terms;
use crate::promises::Promises;

/// The version of the format that is written, and the latest that is read.
pub const VERSION: u32 = 3;

/// Why a trace cannot be verified.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It does not begin as a trace does.
    #[error("this is no trace: it begins neither with `chatbench-trace` nor with a JSON object")]
    NotATrace,
    /// A later chatbench wrote it.
    #[error(
        "a trace of version {0}, where this chatbench reads {VERSION}: verify it with a newer one"
    )]
    TooNew(u32),
    /// No release wrote this version.
    #[error(
        "a trace of version {0}, which no release of chatbench wrote: record it again, or verify it \
         with the chatbench that recorded it"
    )]
    Unreleased(u32),
    /// It ends in the middle of a block.
    #[error("cut off at byte {at}: a block begins there and is not all there; copy the file again")]
    CutOff {
        /// The place where the block begins.
        at: u64,
    },
    /// A block's checksum does not fit.
    #[error("damaged at byte {at}: {what}; copy the file again")]
    Damaged {
        /// The place where the block begins.
        at: u64,
        /// The fault in it.
        what: &'static str,
    },
    /// Whole blocks with events that cannot have happened in this order.
    #[error("out of order in the block at byte {at}, {within} bytes into it: {what}")]
    OutOfOrder {
        /// The place where the block begins.
        at: u64,
        /// How far into its contents.
        within: usize,
        /// The event that cannot be.
        what: String,
    },
    /// The promises are in the trace.
    #[error(
        "a recorded trace says itself what its target promised: leave out --order, --relay, --ack \
         and --echo, which are for observations"
    )]
    Promised,
    /// An observation that another program wrote.
    #[error("line {line}: {what}")]
    Line {
        /// From 1.
        line: u64,
        /// The fault in it.
        what: String,
    },
}

/// The header of a trace: everything that the ledgers and the judge knew beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The scenario's name.
    pub scenario: String,
    /// The address that was driven.
    pub target: String,
    /// The terms that the shards verified against.
    pub terms: Terms,
    /// The number of shards.
    pub shards: u16,
    /// The clients' names, by number.
    pub clients: Vec<String>,
    /// The names of the rooms that have one, from number 1 on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<String>,
}

/// The last block of a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// Blocks before this one: a trace that lost some is no whole trace.
    pub blocks: u64,
    /// Why the run could not pass, for reasons that the observations do not show.
    pub doubts: Vec<String>,
}

/// The result of verifying a trace.
#[derive(Debug)]
pub struct Verified {
    /// The name of what was observed: scenario and target.
    pub title: String,
    /// The findings.
    pub findings: Findings,
    /// Reasons why it cannot pass, beside the findings.
    pub doubts: Vec<String>,
}

/// Verifies a trace of either kind: its first bytes tell which.
///
/// # Errors
/// [`TraceError`] if it can not be read to its end.
pub fn verify(source: impl BufRead) -> Result<Verified, TraceError> {
    verify_against(source, None)
}

/// Verifies a trace as [`verify`] does; observations against `promises`, if there are any.
///
/// # Errors
/// [`TraceError`] if it can not be read to its end, or is a recorded one that says itself what was
/// promised.
pub fn verify_against(
    mut source: impl BufRead,
    promises: Option<Promises>,
) -> Result<Verified, TraceError> {
    match source.fill_buf()?.first() {
        Some(b'c') if promises.is_some() => Err(TraceError::Promised),
        Some(b'c') => replay::verify(source),
        Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') => observed::verify(source, promises),
        _ => Err(TraceError::NotATrace),
    }
}
