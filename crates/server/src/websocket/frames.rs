//! Lines into messages, for one write.

use chatbench_wire::websocket::{Kind, Sender};

use crate::cursor::Gather;
use crate::log::Log;

/// The frames of one write, made of the lines that were gathered for it. One is enough for all
/// sessions of a thread; its memory is reused, and its frames are, if the next session is to be sent
/// the same stretch of the log.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// What goes first of a session, and the frames after it.
    bytes: Vec<u8>,
    /// Where the frames begin.
    from: usize,
    /// For each frame, how many bytes of frames there are up to its end, and how many of lines.
    ends: Vec<(usize, usize)>,
    /// The stretch of the log that these are, if nothing else is in them.
    of: Option<(u64, usize)>,
    /// A line of which only a part was gathered so far.
    part: Vec<u8>,
    /// The last frame is a fragment, and others of its message follow.
    leaves_open: bool,
}

impl Frames {
    /// Makes the frames of what was gathered, after `first`. `in_message` is whether the session has
    /// been sent a part of the first line.
    pub(crate) fn make(&mut self, first: &[u8], gather: &Gather, log: &Log, in_message: bool) {
        let run = gather.run_of_log().filter(|_| !in_message);
        if run.is_some() && self.of == run && first.is_empty() && self.from == 0 {
            return;
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(first);
        self.from = first.len();
        self.ends.clear();
        self.part.clear();
        self.leaves_open = false;
        self.of = run.filter(|_| first.is_empty());
        let mut continues = in_message;
        let (slices, count) = gather.slices(log);
        for slice in &slices[..count] {
            for line in slice.split_inclusive(|&byte| byte == b'\n') {
                match line.strip_suffix(b"\n") {
                    Some(line) if self.part.is_empty() && !continues => self.add(line),
                    Some(line) => {
                        self.part.extend_from_slice(line);
                        let line = std::mem::take(&mut self.part);
                        match std::mem::take(&mut continues) {
                            true => self.add_fragment(&line, false, true),
                            false => self.add(&line),
                        }
                    }
                    None => self.part.extend_from_slice(line),
                }
            }
        }
        // A line that is longer than a write goes in fragments. Otherwise its beginning waits for
        // the next write.
        if !self.part.is_empty() && self.bytes.is_empty() {
            let part = std::mem::take(&mut self.part);
            self.add_fragment(&part, !continues, false);
            self.leaves_open = true;
        }
    }

    /// All that is to be written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes of lines the first `bytes` of the frames are, and the rest of the last of them.
    pub(super) fn sent(&self, bytes: usize) -> (usize, &[u8]) {
        let last = self.ends.partition_point(|(end, _)| *end < bytes);
        let Some(&(end, lines_bytes)) = self.ends.get(last) else {
            return (0, &[]);
        };
        (lines_bytes, &self.bytes[self.from + bytes..self.from + end])
    }

    /// Whether the message of the last frame goes on in the next write.
    pub(super) fn leaves_message_open(&self) -> bool {
        self.leaves_open
    }

    #[inline]
    fn add(&mut self, line: &[u8]) {
        // A blank line is no frame. No server writes one, but a faulty one.
        if !line.is_empty() {
            Sender::of_server().send(&mut self.bytes, Kind::Text, line);
        }
        self.end(line.len() + 1);
    }

    fn add_fragment(&mut self, part: &[u8], is_first: bool, is_last: bool) {
        let kind = is_first.then_some(Kind::Text);
        Sender::of_server().fragment(&mut self.bytes, kind, part, is_last);
        self.end(part.len() + usize::from(is_last));
    }

    #[inline]
    fn end(&mut self, line_bytes: usize) {
        let before = self.ends.last().map_or(0, |(_, lines_bytes)| *lines_bytes);
        let end = self.bytes.len() - self.from;
        self.ends.push((end, before + line_bytes));
    }
}
