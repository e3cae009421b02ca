//! A budget for lookups delivery by delivery, and pair by pair. A target that keeps some order
//! takes next to nothing of it. One that keeps none would take more with every message, and the
//! clients would wait for the verifier: so each delivery earns a few steps, and where they are used
//! up, messages that are out of order are judged all at once ([`super::disorder`]).

use std::cell::Cell;

use crate::bounds;

/// Steps that each delivery earns. A step takes some 50 ns.
const PER_DELIVERY: u64 = 16;

/// Steps that may still be taken.
#[derive(Debug)]
pub(super) struct Effort {
    left: Cell<u64>,
    /// How often there was none left.
    refused: Cell<u64>,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            left: Cell::new(bounds::saved_effort() as u64),
            refused: Cell::new(0),
        }
    }
}

impl Effort {
    pub(super) fn earn(&self, deliveries: u64) {
        let earned = deliveries.saturating_mul(PER_DELIVERY);
        let left = self.left.get().saturating_add(earned);
        self.left.set(left.min(bounds::saved_effort() as u64));
    }

    /// Spends `steps`, if so many are left; returns whether they were.
    pub(super) fn spend(&self, steps: u64) -> bool {
        let left = self.left.get().checked_sub(steps);
        match left {
            Some(left) => self.left.set(left),
            None => self.refused.set(self.refused.get() + 1),
        }
        left.is_some()
    }

    /// How often steps were refused since this was asked.
    pub(super) fn take_refused(&self) -> u64 {
        self.refused.take()
    }
}
