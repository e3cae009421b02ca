//! Being told to end: by Ctrl-C, by SIGTERM, and by SIGHUP, which comes when a terminal closes.

use std::fs;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for the signals that end a program, for as long as it exists.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Absent where whoever started this program had it ignore SIGHUP, as `nohup` does.
    hangup: Option<Signal>,
}

impl Signals {
    /// Begins to listen. From here on the signals do not end the process by themselves.
    ///
    /// # Errors
    /// What the system said.
    pub fn catch() -> io::Result<Self> {
        let ignored = hangup_ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: (!ignored)
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
        })
    }

    /// Waits for the next one; returns its name, as people know it. Cancel-safe.
    pub async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
            _ = hangup => "SIGHUP",
        }
    }

    /// Whether one has come since it was last asked for.
    pub async fn came(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.next() => true,
            () = std::future::ready(()) => false,
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
