//! Errors that name no message, and the messages that they may be about.
//!
//! An `error` frame answers one frame of the client's. It need not say which one: the `id` stands
//! in it only where it could be read. So as long as a message waits for its answer, such an error
//! may be that; once every message sent before the error has been answered otherwise, nothing
//! accounts for it.

use super::violation::ErrorFrame;

/// Errors that one session keeps for each message that waits, on top of [`KEPT`]. Past both, those
/// are reported that nothing can account for any more.
const KEPT_FOR_EACH: usize = 2;

/// Errors that one session keeps however few messages wait.
const KEPT: usize = 64;

/// An error that names none of its client's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnnamedError {
    /// The last message that had been sent when it came.
    pub(super) last_k: u64,
    pub(super) at_ns: u64,
    pub(super) frame: ErrorFrame,
}

/// Those that a message without an answer may account for, in the order they came.
#[derive(Debug, Default)]
pub(super) struct UnnamedErrors(Vec<UnnamedError>);

impl UnnamedErrors {
    pub(super) fn push(&mut self, error: UnnamedError) {
        self.0.push(error);
    }

    /// Whether so many are kept, with `waiting` messages, that [`Self::unexplained`] is due.
    pub(super) fn are_many(&self, waiting: usize) -> bool {
        self.0.len() > KEPT_FOR_EACH * waiting + KEPT
    }

    /// Takes out those that none of the messages `waiting` (their k, ascending) accounts for: each
    /// accounts for one error that came after it was sent.
    pub(super) fn unexplained(&mut self, waiting: &[u64]) -> Vec<UnnamedError> {
        let mut waiting = waiting.iter().peekable();
        let explained = |error: &mut UnnamedError| {
            let sent_before = waiting.next_if(|k| **k <= error.last_k);
            sent_before.is_none()
        };
        self.0.extract_if(.., explained).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came_after(last_k: u64) -> UnnamedError {
        UnnamedError {
            last_k,
            at_ns: 0,
            frame: ErrorFrame {
                code: "malformed".into(),
                detail: "".into(),
            },
        }
    }

    /// The arguments: when each error came, which messages have no answer, how many errors nothing
    /// accounts for.
    #[test]
    fn a_message_without_an_answer_accounts_for_one_error_after_it() {
        let table: &[(&[u64], &[u64], usize)] = &[
            (&[1], &[], 1),
            (&[1], &[1], 0),
            (&[1, 1], &[1], 1),
            (&[1], &[2], 1),
            (&[1, 2], &[2], 1),
            (&[2, 2, 5], &[1, 2], 1),
            (&[2, 2, 5], &[1, 4], 1),
            (&[2, 5, 5], &[2, 3, 4], 0),
        ];
        for (errors, waiting, unexplained) in table {
            let mut kept = UnnamedErrors::default();
            errors.iter().for_each(|&k| kept.push(came_after(k)));
            let found = kept.unexplained(waiting).len();
            assert_eq!(found, *unexplained, "{errors:?} and {waiting:?}");
            assert_eq!(kept.0.len(), errors.len() - unexplained);
        }
    }
}
