//! The lines of a shard that are named by number in its stream.

use std::collections::VecDeque;

/// Lines of one shard that are held for those that get them later: more than a ledger holds.
const MAX_NAMED_LINES: usize = 1 << 20;

/// And their bytes.
const MAX_NAMED_BYTES: usize = 192 << 20;

/// The lines of a shard that others get, by number, and which is next for each session.
#[derive(Debug, Default)]
pub(super) struct NamedLines {
    /// The number of the first that is held.
    first: u32,
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    next: Vec<u32>,
}

impl NamedLines {
    /// A session begins: what comes next is next for it.
    pub(super) fn begin(&mut self, session: usize) {
        let newest = self.end();
        match self.next.get_mut(session) {
            Some(next) => *next = newest,
            None => self.next.push(newest),
        }
    }

    /// Whether a session has ever had this slot.
    pub(super) fn is_known(&self, session: usize) -> bool {
        session < self.next.len()
    }

    fn end(&self) -> u32 {
        self.first.wrapping_add(self.lines.len() as u32)
    }

    pub(super) fn push(&mut self, parts: &[&[u8]]) -> Result<(), &'static str> {
        let line = parts.concat().into_boxed_slice();
        self.bytes += line.len();
        self.lines.push_back(line);
        if self.lines.len() > MAX_NAMED_LINES || self.bytes > MAX_NAMED_BYTES {
            return Err("more lines than a shard holds");
        }
        Ok(())
    }

    pub(super) fn drop_first(&mut self, lines: u64) {
        let lines = lines.min(self.lines.len() as u64) as usize;
        let dropped = self.lines.drain(..lines);
        self.bytes -= dropped.map(|line| line.len()).sum::<usize>();
        self.first = self.first.wrapping_add(lines as u32);
    }

    pub(super) fn ahead(&self, session: usize, ahead: i64) -> u32 {
        self.next[session].wrapping_add(ahead as u32)
    }

    pub(super) fn get(&self, line: u32) -> Result<&[u8], &'static str> {
        let line = self.lines.get(line.wrapping_sub(self.first) as usize);
        Ok(line.ok_or("a line that this shard does not know")?)
    }

    pub(super) fn got(&mut self, session: usize, line: u32) {
        self.next[session] = line.wrapping_add(1);
    }

    pub(super) fn got_newest(&mut self, session: usize) {
        self.next[session] = self.end();
    }
}
