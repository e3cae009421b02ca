//! The inbox of a scripted client: errors that came and its script has not looked at yet.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::Notify;

/// Errors kept: of a target that complains without end the latest.
const MOST_ERRORS: usize = 1024;

/// The inbox of one script.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Something came, or the connection ended.
    pub(super) news: Notify,
    /// Codes of the errors that came and were not expected yet.
    errors: RefCell<VecDeque<Box<str>>>,
}

impl Inbox {
    /// Adds an error that came.
    pub(super) fn add_error(&self, code: Box<str>) {
        let mut errors = self.errors.borrow_mut();
        if errors.len() == MOST_ERRORS {
            errors.pop_front();
        }
        errors.push_back(code);
    }

    /// Forgets the errors that came so far.
    pub(super) fn clear_errors(&self) {
        self.errors.borrow_mut().clear();
    }

    /// Whether an error of this code came.
    pub(super) fn has_error(&self, code: &str) -> bool {
        self.errors.borrow().iter().any(|e| **e == *code)
    }

    /// Takes the first error of this code out, and those before it; whether there was one.
    pub(super) fn take_error(&self, code: &str) -> bool {
        let mut errors = self.errors.borrow_mut();
        let at = errors.iter().position(|e| **e == *code);
        at.map(|at| errors.drain(..=at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_errors_are_kept_and_each_is_taken_once() {
        let inbox = Inbox::default();
        inbox.add_error("first".into());
        for n in 0..MOST_ERRORS {
            inbox.add_error(n.to_string().into());
        }
        assert!(!inbox.has_error("first"), "it made room for a later one");
        assert!(inbox.has_error("7") && inbox.take_error("7"));
        assert!(
            !inbox.take_error("7") && !inbox.take_error("3"),
            "before the one taken"
        );
        assert!(inbox.take_error("8"));
        inbox.clear_errors();
        assert!(!inbox.has_error("9"));
    }
}
