//! Counters that every shard keeps up to date for the coordinator. They change when a connection
//! opens or closes, never per delivery.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use super::member::Rank;

/// Counters over all shards.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Connections that were welcomed and are open, by rank.
    open: [AtomicU64; 4],
    /// Clients that got their first welcome.
    connected: AtomicU64,
    /// Memberships in rooms that have names.
    memberships: AtomicI64,
    /// Scripts that have not come to their end.
    scripts: AtomicU64,
    /// Clients that are about to connect again.
    returning: AtomicU64,
    /// The shortest line that a welcome has set as the limit; 0 while none has.
    max_line_bytes: AtomicU64,
}

impl Live {
    /// A welcome says that lines may be as long as this.
    pub(super) fn heard_max_line(&self, bytes: u64) {
        let shorter = |known| (known == 0 || bytes < known).then_some(bytes);
        // An error means that a welcome had said so before.
        let _ = self.max_line_bytes.fetch_update(Relaxed, Relaxed, shorter);
    }

    /// The longest line that the target takes, if any welcome said so.
    pub(super) fn max_line_bytes(&self) -> Option<u64> {
        Some(self.max_line_bytes.load(Relaxed)).filter(|&bytes| bytes > 0)
    }

    /// A connection of a client of `rank` was welcomed, its client's first if `first`.
    pub(super) fn welcomed(&self, rank: Rank, first: bool) {
        self.open[rank as usize].fetch_add(1, Relaxed);
        self.connected.fetch_add(u64::from(first), Relaxed);
    }

    /// A connection that had been welcomed is over.
    pub(super) fn closed(&self, rank: Rank) {
        self.open[rank as usize].fetch_sub(1, Relaxed);
    }

    /// Clients have joined so many rooms, or left them.
    pub(super) fn memberships(&self, more: i64) {
        self.memberships.fetch_add(more, Relaxed);
    }

    /// Memberships in rooms that have names.
    pub(super) fn all_memberships(&self) -> u64 {
        u64::try_from(self.memberships.load(Relaxed)).unwrap_or(0)
    }

    /// Connections of clients of `rank` that are open.
    pub(super) fn open(&self, rank: Rank) -> u64 {
        self.open[rank as usize].load(Relaxed)
    }

    /// Connections that are open.
    pub(super) fn all_open(&self) -> u64 {
        self.open.iter().map(|n| n.load(Relaxed)).sum()
    }

    /// Clients that got their first welcome.
    pub(super) fn connected(&self) -> u64 {
        self.connected.load(Relaxed)
    }

    /// A client is about to connect again.
    pub(super) fn returns(&self) {
        self.returning.fetch_add(1, Relaxed);
    }

    /// It has, or gave up.
    pub(super) fn has_returned(&self) {
        self.returning.fetch_sub(1, Relaxed);
    }

    /// Clients that are about to connect again.
    pub(super) fn returning(&self) -> u64 {
        self.returning.load(Relaxed)
    }

    /// So many scripts are to be gone through.
    pub(super) fn expect_scripts(&self, count: u64) {
        self.scripts.store(count, Relaxed);
    }

    /// A script has come to its end.
    pub(super) fn script_ends(&self) {
        self.scripts.fetch_sub(1, Relaxed);
    }

    /// Scripts that have not come to their end.
    pub(super) fn scripts(&self) -> u64 {
        self.scripts.load(Relaxed)
    }
}
