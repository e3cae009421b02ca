//! A trace on disk: a line with the version, then blocks, each compressed and with its checksum.
//!
//! A thread of its own compresses and writes. A block is one `write`, so that a run that is killed
//! leaves whole blocks in the file, and a trace without its trailer is known to have ended early.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::Serialize;
use thiserror::Error;

use super::tape::{Block, JUDGE, Writing};
use super::version_1::{FormerHeader, Spoken};
use super::{Header, TraceError, Trailer, VERSION};
use crate::judge::Judge;
use crate::ledger::Ledger;

/// The beginning of every trace; the version and a line end follow.
pub const MAGIC: &str = "chatbench-trace ";

/// The stream of the header block and of the trailer.
const FRAME: u16 = u16::MAX - 1;

/// Shards that a trace can hold.
pub const MAX_SHARDS: u16 = FRAME;

/// Stream, length, stored length, checksum.
const BLOCK_HEADER_BYTES: usize = 14;

/// The longest block that is accepted. A block ends with a whole read, so it can be longer than the
/// size at which its shard ends blocks, but not by so much.
const MAX_BLOCK_BYTES: u32 = 64 << 20;

/// Blocks that may wait for the writer. A shard that finds the queue full waits, which shows in its
/// send lag: the disk may be 16 MiB late.
const BLOCKS_AT_ONCE: usize = 256;

/// Why a trace cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// An earlier trace would be lost.
    #[error("{} exists: name another file, or add --force", .0.display())]
    Exists(PathBuf),
    /// The system refused.
    #[error("cannot write the trace {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A trace that is being written.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    sink: SyncSender<Block>,
    writer: thread::JoinHandle<io::Result<Written>>,
}

/// The outcome of the writer's thread.
#[derive(Debug)]
struct Written {
    file: File,
    bytes: u64,
    blocks: u64,
}

impl Recording {
    /// Creates the file, before anything is run.
    ///
    /// # Errors
    /// [`WriteError::Exists`] unless `force`, or whatever the system says.
    pub fn create(path: &Path, force: bool) -> Result<Self, WriteError> {
        let failed = |source| WriteError::Io {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        options.write(true).truncate(true);
        let file = if force {
            options.create(true).open(path)
        } else {
            options.create_new(true).open(path)
        };
        let mut file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => WriteError::Exists(path.to_owned()),
            _ => failed(error),
        })?;
        let magic = format!("{MAGIC}{VERSION}\n");
        file.write_all(magic.as_bytes()).map_err(failed)?;
        let written = Written {
            file,
            bytes: magic.len() as u64,
            blocks: 0,
        };
        let (sink, blocks) = mpsc::sync_channel(BLOCKS_AT_ONCE);
        let writer = thread::Builder::new().name("trace".to_owned());
        let writer = writer.spawn(move || written.write_all(&blocks));
        Ok(Self {
            path: path.to_owned(),
            sink,
            writer: writer.map_err(failed)?,
        })
    }

    /// Writes the header: everything that is known before the first observation.
    pub fn begin(&self, header: &Header) {
        let _ = self.sink.send(frame(header)); // a writer that has failed says so at the end
    }

    /// Records from here on what all the `ledgers` of a run and its `judge` are told, where they
    /// are in one thread.
    pub fn attach(&self, ledgers: &mut [Ledger], judge: &mut Judge) {
        for (index, ledger) in ledgers.iter_mut().enumerate() {
            ledger.record_on(self.shard(index));
        }
        judge.record_on(self.judge());
    }

    /// The tape of shard `index`.
    #[must_use]
    pub fn shard(&self, index: usize) -> Writing {
        Writing::new(index as u16, self.sink.clone())
    }

    /// The tape of the judge.
    #[must_use]
    pub fn judge(&self) -> Writing {
        Writing::new(JUDGE, self.sink.clone())
    }

    /// Ends the trace, once every tape is dropped. Returns its length in bytes.
    ///
    /// # Errors
    /// [`WriteError::Io`] if any of it could not be written.
    pub fn finish(self, doubts: Vec<String>) -> Result<u64, WriteError> {
        let Self { path, sink, writer } = self;
        drop(sink);
        let written = writer.join().expect("it does not panic");
        let written = written.and_then(|mut written| {
            let trailer = Trailer {
                blocks: written.blocks,
                doubts,
            };
            written.write(&frame(&trailer))?;
            Ok(written.bytes)
        });
        written.map_err(|source| WriteError::Io { path, source })
    }

    /// Removes the file: nothing worth keeping was recorded.
    pub fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Written {
    fn write_all(mut self, blocks: &Receiver<Block>) -> io::Result<Self> {
        for block in blocks {
            self.write(&block)?;
        }
        Ok(self)
    }

    fn write(&mut self, block: &Block) -> io::Result<()> {
        let stored = vec![0; BLOCK_HEADER_BYTES];
        let mut encoder = DeflateEncoder::new(stored, Compression::fast());
        encoder.write_all(&block.bytes)?;
        let mut stored = encoder.finish()?;
        let stored_len = (stored.len() - BLOCK_HEADER_BYTES) as u32;
        stored[..2].copy_from_slice(&block.stream.to_le_bytes());
        stored[2..6].copy_from_slice(&(block.bytes.len() as u32).to_le_bytes());
        stored[6..10].copy_from_slice(&stored_len.to_le_bytes());
        let sum = checksum(&stored[..10], &stored[BLOCK_HEADER_BYTES..]);
        stored[10..14].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all(&stored)?;
        self.bytes += stored.len() as u64;
        self.blocks += 1;
        Ok(())
    }
}

fn frame(content: &impl Serialize) -> Block {
    Block {
        stream: FRAME,
        bytes: serde_json::to_vec(content).expect("string keys and plain values"),
    }
}

fn checksum(header: &[u8], stored: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(header);
    sum.update(stored);
    sum.finalize()
}

/// The header of a trace; and for one of version 1, the protocol that was spoken.
type Beginning = (Header, Option<Spoken>);

/// A trace that is being read: blocks by stream, in order.
#[derive(Debug)]
pub(super) struct Blocks<R> {
    source: R,
    /// Bytes read so far.
    at: u64,
    blocks: u64,
    /// Blocks that were read and not asked for yet: compressed, with where they begin.
    waiting: Vec<(u16, VecDeque<Stored>)>,
    pub(super) trailer: Option<Trailer>,
}

/// A block as it is in the file.
#[derive(Debug)]
struct Stored {
    at: u64,
    len: u32,
    bytes: Vec<u8>,
}

impl<R: BufRead> Blocks<R> {
    /// Reads the version and the header; nothing where the trace ends before it.
    ///
    /// # Errors
    /// [`TraceError`] if it is no trace, a newer one, or damaged.
    pub(super) fn open(mut source: R) -> Result<(Self, Option<Beginning>), TraceError> {
        let mut line = Vec::new();
        source.by_ref().take(64).read_until(b'\n', &mut line)?;
        let version = line.strip_prefix(MAGIC.as_bytes());
        let version = version.and_then(|v| v.strip_suffix(b"\n"));
        let version = version.and_then(|v| std::str::from_utf8(v).ok()?.parse::<u32>().ok());
        let version = match version {
            None | Some(0) => return Err(TraceError::NotATrace),
            Some(version) if version > VERSION => return Err(TraceError::TooNew(version)),
            Some(2) => return Err(TraceError::Unreleased(2)),
            Some(version) => version,
        };
        let mut blocks = Self {
            source,
            at: line.len() as u64,
            blocks: 0,
            waiting: Vec::new(),
            trailer: None,
        };
        let Some((stream, stored)) = blocks.read()? else {
            return Ok((blocks, None));
        };
        let header = (stream == FRAME).then(|| stored.inflate()).transpose()?;
        let header = header.and_then(|json| match version {
            1 => {
                let former: FormerHeader = serde_json::from_slice(&json).ok()?;
                let (header, spoken) = former.today()?;
                Some((header, Some(spoken)))
            }
            _ => Some((serde_json::from_slice(&json).ok()?, None)),
        });
        match header {
            Some(header) => Ok((blocks, Some(header))),
            None => Err(TraceError::Damaged {
                at: stored.at,
                what: "where the header belongs there is something else",
            }),
        }
    }

    /// The next block of `stream` and where it begins; `None` at the end of the trace.
    pub(super) fn next(&mut self, stream: u16) -> Result<Option<(u64, Vec<u8>)>, TraceError> {
        loop {
            let mut waiting = self.waiting.iter_mut();
            if let Some((_, queue)) = waiting.find(|(s, _)| *s == stream)
                && let Some(stored) = queue.pop_front()
            {
                return Ok(Some((stored.at, stored.inflate()?)));
            }
            if self.trailer.is_some() {
                return Ok(None);
            }
            let Some((of, stored)) = self.read()? else {
                return Ok(None);
            };
            if of == FRAME {
                self.end(&stored)?;
            } else {
                match self.waiting.iter_mut().find(|(s, _)| *s == of) {
                    Some((_, queue)) => queue.push_back(stored),
                    None => self.waiting.push((of, [stored].into())),
                }
            }
        }
    }

    fn end(&mut self, stored: &Stored) -> Result<(), TraceError> {
        let damaged = |what| TraceError::Damaged {
            at: stored.at,
            what,
        };
        let trailer: Trailer = serde_json::from_slice(&stored.inflate()?)
            .map_err(|_| damaged("where the trailer belongs there is something else"))?;
        if trailer.blocks != self.blocks - 1 {
            return Err(damaged("blocks before it are missing"));
        }
        if !self.source.fill_buf()?.is_empty() {
            return Err(TraceError::Damaged {
                at: self.at,
                what: "there is more after the trailer",
            });
        }
        self.trailer = Some(trailer);
        Ok(())
    }

    /// The next block of the file; `None` at its end.
    fn read(&mut self) -> Result<Option<(u16, Stored)>, TraceError> {
        let at = self.at;
        let mut head = Vec::with_capacity(BLOCK_HEADER_BYTES);
        let wanted = BLOCK_HEADER_BYTES as u64;
        self.source.by_ref().take(wanted).read_to_end(&mut head)?;
        if head.is_empty() {
            return Ok(None);
        }
        let Ok(head) = <[u8; BLOCK_HEADER_BYTES]>::try_from(head) else {
            return Err(TraceError::CutOff { at });
        };
        let word = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
        let (len, stored_len, sum) = (word(2), word(6), word(10));
        let damaged = |what| TraceError::Damaged { at, what };
        if len > MAX_BLOCK_BYTES || stored_len > MAX_BLOCK_BYTES {
            return Err(damaged("the length of a block cannot be"));
        }
        let mut bytes = Vec::new();
        let wanted = u64::from(stored_len);
        self.source.by_ref().take(wanted).read_to_end(&mut bytes)?;
        if bytes.len() < stored_len as usize {
            return Err(TraceError::CutOff { at });
        }
        if checksum(&head[..10], &bytes) != sum {
            return Err(damaged("the checksum does not fit"));
        }
        self.at += BLOCK_HEADER_BYTES as u64 + u64::from(stored_len);
        self.blocks += 1;
        let stream = u16::from_le_bytes([head[0], head[1]]);
        Ok(Some((stream, Stored { at, len, bytes })))
    }
}

impl Stored {
    fn inflate(&self) -> Result<Vec<u8>, TraceError> {
        let mut raw = Vec::with_capacity((self.len as usize).min(1 << 20));
        let decoder = DeflateDecoder::new(&self.bytes[..]);
        let read = decoder.take(u64::from(self.len) + 1).read_to_end(&mut raw);
        if read.is_err() || raw.len() != self.len as usize {
            return Err(TraceError::Damaged {
                at: self.at,
                what: "it does not decompress to its length",
            });
        }
        Ok(raw)
    }
}
