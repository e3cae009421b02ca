//! Promises of a target, to which a verifier holds it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Promises of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Promises {
    /// Whether publishes are acked.
    pub ack: AckPromise,
    /// How often a relay comes.
    pub relay: RelayPromise,
    /// In what order.
    pub order: OrderPromise,
    /// Whether the sender gets its own message, once. True where that is the ack.
    pub echo: bool,
    /// Whether to take the order that the target states (`seq`), or to judge by inferred order.
    pub use_seq: bool,
    /// A delivery slower than this is a violation.
    pub late_after: Option<Duration>,
}

impl Promises {
    /// Whether one shard must have all members of a room. Where the order is inferred and one log is
    /// promised, or causes before effects, it is told by who reads what first, which two threads
    /// cannot agree on. Each sender's own order every shard can tell for its own receivers.
    #[must_use]
    pub const fn need_one_shard(&self) -> bool {
        !self.use_seq && matches!(self.order, OrderPromise::Total | OrderPromise::Causal)
    }
}

/// Promises of the reference protocol.
impl Default for Promises {
    fn default() -> Self {
        Self {
            ack: AckPromise::ExactlyOnce,
            relay: RelayPromise::ExactlyOnce,
            order: OrderPromise::Total,
            echo: false,
            use_seq: true,
            late_after: Some(Duration::from_secs(5)),
        }
    }
}

/// Whether publishes are acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AckPromise {
    /// Each accepted publish, once.
    ExactlyOnce,
    /// By being relayed to its sender, once: the echo is the ack.
    Echo,
    /// Not at all.
    None,
}

/// How often a relay comes to each receiver that is owed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RelayPromise {
    /// Once.
    ExactlyOnce,
    /// Once or more.
    AtLeastOnce,
    /// Once or never.
    AtMostOnce,
}

/// In what order relays come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OrderPromise {
    /// The same for all receivers.
    Total,
    /// Causes before effects.
    Causal,
    /// Each sender's in the order sent.
    Fifo,
    /// Any.
    None,
}

/// The words for the choices of a promise, as scenarios and results have them, the default first.
macro_rules! words {
    ($promise:ty: $($word:literal => $choice:ident),*) => {
        impl $promise {
            /// Each choice and its word, the reference protocol's first.
            pub const WORDS: &[(&str, Self)] = &[$(($word, Self::$choice)),*];

            /// The word for it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$choice => $word),*
                }
            }
        }
    };
}

words!(AckPromise: "exactly-once" => ExactlyOnce, "echo" => Echo, "none" => None);
words!(RelayPromise: "exactly-once" => ExactlyOnce, "at-least-once" => AtLeastOnce,
    "at-most-once" => AtMostOnce);
words!(OrderPromise: "total" => Total, "causal" => Causal, "fifo" => Fifo, "none" => None);
