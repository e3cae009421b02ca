//! What must hold of everything that reads what other programs, other people or a target wrote.
//!
//! Each module is one reader: it says how an input of the fuzzer becomes a file or a stream, and
//! what must hold of whatever is read from it. A plain byte mutator does not get past a checksum,
//! or a time that must not go back, so the module computes those itself. The fuzz targets of the
//! same names run these, and `cargo test` replays their corpora (`tests/reader_corpora.rs`).

pub(crate) mod input;
pub(crate) mod judge;
pub(crate) mod observations;
pub(crate) mod result;
pub(crate) mod scenario;
pub(crate) mod trace;
pub(crate) mod websocket;
