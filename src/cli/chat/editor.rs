//! A line editor for input at a terminal, with a history; what arrives is shown above the line
//! being typed.
//!
//! A terminal that edits lines itself passes on no more than [`MAX_TERMINAL_LINE_BYTES`] of one, and
//! writes what arrives into the middle of what is being typed.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use rustyline::history::MemHistory;
use rustyline::{Config, ExternalPrinter};
use tokio::sync::mpsc;

use super::typed::Typed;

/// The prompt before the line that is being typed.
const PROMPT: &str = "> ";

/// Ends the mode in which a terminal marks what is pasted.
const BRACKETED_PASTE_OFF: &str = "\x1b[?2004l";

type Lines = rustyline::Editor<(), MemHistory>;

/// A line editor at work.
pub(super) struct Editor {
    /// Puts a text above the line that is being typed.
    pub(super) printer: Box<dyn ExternalPrinter>,
    /// Gives the terminal back when it is dropped.
    _terminal: Restored,
}

impl Editor {
    /// Begins to read lines, where standard input and output are a terminal that can be edited on.
    pub(super) fn begin() -> Option<(Self, mpsc::Receiver<Typed>)> {
        let before = tcgetattr(io::stdin()).ok()?;
        // A paste arrives as a whole, however many lines it has, and waits for Enter.
        let config = Config::builder().bracketed_paste(true).build();
        let history = MemHistory::with_config(&config);
        let mut lines = Lines::with_history(config, history).ok()?;
        let printer = lines.create_external_printer().ok()?;
        tcsetattr(io::stdin(), OptionalActions::Now, &between_lines(&before)).ok()?;
        let is_editing = Arc::new(AtomicBool::new(false));
        let terminal = Restored {
            before,
            is_editing: Arc::clone(&is_editing),
        };
        let editor = Self {
            printer: Box::new(printer),
            _terminal: terminal,
        };
        Some((editor, read_lines(lines, is_editing)))
    }
}

/// The mode in which the editor finds the terminal each time that it begins a line, and in which it
/// leaves it. In the usual one a Ctrl-D that is pressed between two lines would be lost: the
/// terminal keeps it as the end of a line, and passes on a NUL once an editor reads key by key.
fn between_lines(before: &Termios) -> Termios {
    let mut mode = before.clone();
    mode.local_modes
        .remove(LocalModes::ICANON | LocalModes::ECHO);
    mode.special_codes[SpecialCodeIndex::VMIN] = 1;
    mode.special_codes[SpecialCodeIndex::VTIME] = 0;
    mode
}

/// Reads lines on a thread of its own until a person ends them, with Ctrl-D or Ctrl-C.
fn read_lines(mut lines: Lines, is_editing: Arc<AtomicBool>) -> mpsc::Receiver<Typed> {
    // The editor never waits for the conversation, which may wait for it to show something, so the
    // channel is unbounded: it holds only what one person typed.
    let (enter, entered) = std_mpsc::channel();
    thread::spawn(move || {
        loop {
            is_editing.store(true, Ordering::SeqCst);
            let text = lines.readline(PROMPT);
            is_editing.store(false, Ordering::SeqCst);
            let Ok(text) = text else { break };
            let _ = lines.add_history_entry(&text);
            let mut said = text.lines().map(|line| Typed::Line(line.to_owned()));
            if said.any(|line| enter.send(line).is_err()) {
                break;
            }
        }
    });
    let (send, receive) = mpsc::channel(1);
    thread::spawn(move || {
        for line in entered {
            if send.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receive
}

/// The terminal as it was found. The thread that edits may be in the middle of a line when the
/// conversation ends, and nobody waits for it.
struct Restored {
    before: Termios,
    is_editing: Arc<AtomicBool>,
}

impl Drop for Restored {
    fn drop(&mut self) {
        if self.is_editing.load(Ordering::SeqCst) {
            let _ = write!(io::stdout(), "{BRACKETED_PASTE_OFF}\r\n");
        }
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
