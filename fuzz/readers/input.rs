//! Bytes of the fuzzer, taken from the front. What is not there is zero.

use chatbench::scenario::plan::{AckPromise, OrderPromise, Promises, RelayPromise};

pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        byte
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from(self.u32()) | u64::from(self.u32()) << 32
    }

    /// As many bytes, or as many as there are.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// What a target promises.
    pub(crate) fn promises(&mut self) -> Promises {
        let choice = self.byte();
        if choice & 1 == 0 {
            return Promises::default();
        }
        Promises {
            use_seq: false,
            order: match choice >> 1 & 3 {
                0 => OrderPromise::Total,
                1 => OrderPromise::Causal,
                2 => OrderPromise::Fifo,
                _ => OrderPromise::None,
            },
            relay: match choice >> 3 & 3 {
                0 | 1 => RelayPromise::ExactlyOnce,
                2 => RelayPromise::AtLeastOnce,
                _ => RelayPromise::AtMostOnce,
            },
            ack: match (choice & 32, choice & 128) {
                (0, _) => AckPromise::ExactlyOnce,
                (_, 0) => AckPromise::None,
                _ => AckPromise::Echo,
            },
            echo: choice & 64 != 0,
            ..Promises::default()
        }
    }
}
