//! The signals that end a program: Ctrl-C, SIGTERM, and SIGHUP, which comes when a terminal closes.

use std::fs;
use std::future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Listens for the signals that end a program, for as long as it exists.
#[derive(Debug)]
pub struct Signals(Source);

#[derive(Debug)]
enum Source {
    /// The operating system.
    System {
        interrupt: Signal,
        terminate: Signal,
        /// `None` if this program was started with SIGHUP ignored, as `nohup` does.
        hangup: Option<Signal>,
    },
    /// This program itself.
    Program(mpsc::UnboundedReceiver<&'static str>),
}

impl Signals {
    /// Begins to listen. From then on the signals do not end the process by themselves.
    ///
    /// # Errors
    /// The system's error.
    pub fn catch() -> io::Result<Self> {
        let ignored = hangup_ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        Ok(Self(Source::System {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: (!ignored)
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
        }))
    }

    /// Signals that this program sends itself, each by its name; the system's are not caught.
    #[must_use]
    pub fn of_program(names: mpsc::UnboundedReceiver<&'static str>) -> Self {
        Self(Source::Program(names))
    }

    /// Waits for the next one; returns its name, as users know it. Cancel-safe.
    pub async fn next(&mut self) -> &'static str {
        let (interrupt, terminate, hangup) = match &mut self.0 {
            Source::System {
                interrupt,
                terminate,
                hangup,
            } => (interrupt, terminate, hangup),
            Source::Program(names) => {
                return match names.recv().await {
                    Some(name) => name,
                    None => future::pending().await, // nobody is left to send any
                };
            }
        };
        let hangup = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup => "SIGHUP",
        }
    }

    /// Whether one has come since the last call.
    pub async fn came(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.next() => true,
            () = future::ready(()) => false,
        }
    }
}

/// Whether a process ignores SIGHUP, by its `/proc/PID/status`: signal n is bit n-1 of `SigIgn`.
fn hangup_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_is_ignored_is_read_off_the_mask() {
        let status = |mask| format!("Name:\tx\nSigBlk:\t01\nSigIgn:\t{mask}\nSigCgt:\t01\n");
        assert!(hangup_ignored(&status("0000000000000001")));
        assert!(hangup_ignored(&status("0000000000001001")));
        assert!(!hangup_ignored(&status("0000000000001000")));
        assert!(!hangup_ignored(""));
    }
}
