//! The binary on a terminal: a pseudo-terminal, of which this is the other side.

#![allow(dead_code)] // each file of tests takes what it needs

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// Longer than anything here takes: a hang becomes a failure.
const BOUND: Duration = Duration::from_secs(60);

/// A process on a terminal of its own.
pub(crate) struct Terminal {
    keyboard: File,
    /// Kept open, so that the terminal can be asked about after the process has gone.
    line: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Terminal {
    /// Starts `command` with standard input, output and error on a terminal so wide.
    pub(crate) fn start(mut command: Command, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let line = OpenOptions::new().read(true).write(true).open(name);
        let line = line.unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&line, size).unwrap();
        let child = command
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR")
            .stdin(line.try_clone().unwrap())
            .stdout(line.try_clone().unwrap())
            .stderr(line.try_clone().unwrap())
            .spawn()
            .unwrap();
        let keyboard = File::from(master);
        let mut display = keyboard.try_clone().unwrap();
        let (show, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = display.read(&mut chunk) {
                if show.send(chunk[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            keyboard,
            line,
            screen,
            seen: String::new(),
            child,
        }
    }

    /// Types `text` as it is.
    pub(crate) fn press(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Pastes `text` as a terminal does that was asked to mark what is pasted.
    pub(crate) fn paste(&mut self, text: &str) {
        self.press(&format!("\x1b[200~{text}\x1b[201~"));
    }

    /// Waits until `text` has been shown; returns what was shown up to its end, and forgets that.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let until = Instant::now() + BOUND;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = until.saturating_duration_since(Instant::now());
            let Ok(chunk) = self.screen.recv_timeout(left) else {
                panic!("{text:?} was not shown: {:?}", self.seen);
            };
            self.seen.push_str(&String::from_utf8_lossy(&chunk));
        }
    }

    /// The process's id, for signals.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the terminal echoes and edits lines itself: not while a line editor has it.
    pub(crate) fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for the end of the process; returns its status and everything not yet waited for.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        // What was written before the end can be read before this.
        const END: &str = "\u{4}the end\u{4}";
        self.line.write_all(END.as_bytes()).unwrap();
        let mut rest = self.wait_for(END);
        rest.truncate(rest.len() - END.len());
        (status, rest)
    }
}

impl Terminal {
    /// [`Terminal::end`], and whether the terminal was left as it was found.
    pub(crate) fn left(mut self) -> (Option<i32>, bool, String) {
        self.child.wait().unwrap();
        let cooked = self.is_cooked();
        let (status, rest) = self.end();
        (status.code(), cooked, rest)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
