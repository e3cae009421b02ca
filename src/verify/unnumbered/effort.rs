//! How much may be looked up delivery by delivery, and pair by pair. A target that keeps some order
//! takes next to nothing of it. One that keeps none would take more with every message, and the
//! clients would wait for the verifier: so each delivery earns a few steps, and where they are used
//! up, what is out of order is judged all at once ([`super::disorder`]).

use std::cell::Cell;

use crate::verify::bounds;

/// Steps that each delivery earns. A step takes some 50 ns.
const PER_DELIVERY: u64 = 16;

/// Steps that may still be taken.
#[derive(Debug)]
pub(super) struct Effort {
    left: Cell<u64>,
    /// How often there was none left.
    refused: Cell<u64>,
    /// There was none left for something that nothing is counted for yet.
    fell_short: Cell<bool>,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            left: Cell::new(bounds::saved_effort() as u64),
            refused: Cell::new(0),
            fell_short: Cell::new(false),
        }
    }
}

impl Effort {
    pub(super) fn earn(&self, deliveries: u64) {
        let earned = deliveries.saturating_mul(PER_DELIVERY);
        let left = self.left.get().saturating_add(earned);
        self.left.set(left.min(bounds::saved_effort() as u64));
    }

    /// Whether `steps` may be taken; they are, then.
    pub(super) fn spend(&self, steps: u64) -> bool {
        let left = self.left.get().checked_sub(steps);
        match left {
            Some(left) => self.left.set(left),
            None => self.refused.set(self.refused.get() + 1),
        }
        left.is_some()
    }

    /// As [`Self::spend`], for one of many questions about a delivery, which counts once.
    pub(super) fn spend_on_part(&self, steps: u64) -> bool {
        let left = self.left.get().checked_sub(steps);
        match left {
            Some(left) => self.left.set(left),
            None => self.fell_short.set(true),
        }
        left.is_some()
    }

    /// All that was to be asked about a delivery was asked, or there was no effort left for it.
    pub(super) fn asked(&self) {
        let fell_short = self.fell_short.take();
        self.refused.set(self.refused.get() + u64::from(fell_short));
    }

    /// How often steps were refused since this was asked.
    pub(super) fn take_refused(&self) -> u64 {
        self.refused.take()
    }
}
