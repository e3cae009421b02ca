//! The report of a faulty server to its parent process: each fault that it committed, and whether
//! a client could see it. One line each on standard output, when it has shut down: only then is it
//! known which clients went away without reading.

use std::fmt;
use std::str::FromStr;

use super::catalogue::Fault;

/// Committed faults that are kept in a run; the rest are only counted.
pub const KEPT: usize = 4000;

/// A fault that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The fault.
    pub fault: Fault,
    /// Whether the affected clients stayed to the end. A client that resets its connection may or
    /// may not have read it.
    pub seen: bool,
    /// A description of what was done, and to which client.
    pub what: String,
}

const APPLIED: &str = "applied";
const UNSEEN: &str = "unseen";

impl fmt::Display for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = if self.seen { APPLIED } else { UNSEEN };
        write!(f, "fault {} {seen}: {}", self.fault, self.what)
    }
}

/// The line is not a report of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAFault;

impl FromStr for Committed {
    type Err = NotAFault;

    fn from_str(line: &str) -> Result<Self, NotAFault> {
        let (head, what) = line.split_once(": ").ok_or(NotAFault)?;
        let mut words = head.split(' ');
        let (first, name, seen) = (words.next(), words.next(), words.next());
        let fault = name.and_then(Fault::by_name).ok_or(NotAFault)?;
        let seen = match seen {
            Some(APPLIED) => true,
            Some(UNSEEN) => false,
            _ => return Err(NotAFault),
        };
        if first != Some("fault") || words.next().is_some() {
            return Err(NotAFault);
        }
        Ok(Self {
            fault,
            seen,
            what: what.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let committed = Committed {
            fault: Fault::DropRelay,
            seen: true,
            what: "number 7: not sent to 127.0.0.1:5".to_owned(),
        };
        let line = committed.to_string();
        assert_eq!(
            line,
            "fault drop-relay applied: number 7: not sent to 127.0.0.1:5"
        );
        assert_eq!(line.parse(), Ok(committed.clone()));
        let unseen = Committed {
            seen: false,
            ..committed
        };
        assert_eq!(unseen.to_string().parse(), Ok(unseen));
        for line in [
            "",
            "listening on ndjson://127.0.0.1:1",
            "fault nonsense applied: x",
            "fault echo perhaps: x",
        ] {
            assert_eq!(line.parse::<Committed>(), Err(NotAFault), "{line}");
        }
    }
}
