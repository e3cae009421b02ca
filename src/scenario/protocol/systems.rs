//! Systems with a protocol of their own, which need no description.

/// A system, as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct System {
    /// The scheme of its URLs.
    pub scheme: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The servers that it was tried against.
    pub tried: &'static str,
}

/// All of them.
pub const ALL: [System; 1] = [System {
    scheme: "nats",
    title: "NATS, rooms as subjects",
    tried: "tried against nats-server 2.9.10 of Debian",
}];
