//! Limits on how much is remembered for the sake of later observations. `docs/VERIFICATION.md` says
//! what happens past each of these. Each can be drawn small in a test, for its own thread, so that
//! short histories reach it.

/// Declares each bound as a function, which is a constant but in tests.
macro_rules! bounds {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $usual:expr;)*) => {
        $(
            $(#[$doc])*
            #[cfg(not(test))]
            #[inline]
            pub(super) const fn $name() -> $type {
                $usual
            }

            $(#[$doc])*
            #[cfg(test)]
            pub(super) fn $name() -> $type {
                CURRENT.get().$name
            }
        )*

        /// All of them.
        #[cfg(test)]
        #[derive(Debug, Clone, Copy)]
        pub(super) struct Bounds {
            $(pub(super) $name: $type,)*
        }

        #[cfg(test)]
        impl Bounds {
            /// Those outside of tests.
            pub(super) const USUAL: Self = Self { $($name: $usual,)* };
        }
    };
}

bounds! {
    /// Numbers that one session may skip, and later messages that may overtake one where order is
    /// promised, before it is not waited for any longer.
    reorder_window: usize = 1024;

    /// Runs of numbers that a session remembers to have given up.
    given_up_runs: usize = 1024;

    /// Early frames of a session, under numbers after the one due. Where more wait for their
    /// explanation, numbers come in no order that could explain them.
    early_frames: usize = 16;

    /// Runs of numbers that wrong lines stood for, of each session.
    excused_runs: usize = 64;

    /// Refused or echoed messages that a session remembers, to know a late ack for what it is.
    waived_acks: usize = 4096;

    /// Numbers that a shard's window of lines spans.
    reference_numbers: usize = 1 << 18;

    /// Bytes of lines that the window holds.
    reference_bytes: usize = 64 << 20;

    /// Numbers that may wait to be settled. Past it the oldest are settled with what is known, and
    /// later observations of them count as not compared.
    records: usize = 1 << 18;

    /// Settled numbers that are remembered. Another number of the same message is looked for in
    /// half that distance, so that both sides are covered.
    settled_numbers: usize = 1024;

    /// Messages of one sender that are remembered to have no number where a later one has.
    passed_over: usize = 1024;

    /// Causes remembered so that each is counted once; and of each sort, messages whose fate is
    /// decided by what may still come.
    remembered: usize = 1 << 16;

    /// Anomalies that may wait for their number to be settled, and losses. Past it the oldest are
    /// judged with what is known.
    open_anomalies: usize = 1 << 17;

    /// Losses that are not certain before the end.
    deferred_losses: usize = 1 << 16;

    /// Skipped runs of numbers that wait for the end, when unacked messages may explain them.
    gaps: usize = 1 << 12;

    /// Sessions remembered for each of them.
    gap_witnesses: usize = 64;

    /// A longer run of numbers that were settled without a receiver is no longer believed to have
    /// existed number by number.
    settled_run: u64 = 1 << 18;

    /// Messages that may wait for the slowest session where no order is stated. Past it the oldest
    /// are settled without it.
    slots: usize = 1 << 18;

    /// Bytes of lines that these hold.
    slot_bytes: usize = 64 << 20;

    /// Settled messages that are remembered, to judge later observations of them.
    history: usize = 4096;

    /// Deliveries of which it is not known yet whether they were owed. Past it they are taken for
    /// not owed.
    doubts: usize = 1 << 16;

    /// Deliveries out of the order of the others that are remembered for each session, to find out
    /// who was wrong. Past it they are not judged, and the run says so.
    late_deliveries: usize = 4096;

    /// Sessions that are over and got messages that are not judged yet. Past it the oldest are
    /// forgotten, and the run says so.
    past_sessions: usize = 1 << 16;

    /// Sessions that are over and have messages of which nobody got anything.
    ended_senders: usize = 1 << 16;

    /// Messages that are settled before the caller that waits for the last of them is asked whether
    /// there is time for more.
    settled_at_once: usize = 1 << 14;

    /// Notices that some shard has not read, where the order is inferred on several. Past it the
    /// oldest are dropped, and what such a shard hears of messages that it does not know is not
    /// judged.
    notices: usize = 1 << 20;

    /// Messages of which some shard has not told its part, where the order is inferred on several;
    /// and of those that all have told, how many are remembered.
    parted_messages: usize = 1 << 18;

    /// Steps of comparison that may be saved up.
    saved_effort: usize = 1 << 22;
}

#[cfg(test)]
thread_local! {
    static CURRENT: std::cell::Cell<Bounds> = const { std::cell::Cell::new(Bounds::USUAL) };
}

/// Does something within other bounds.
#[cfg(test)]
pub(super) fn within<T>(bounds: Bounds, act: impl FnOnce() -> T) -> T {
    /// Restores what was before, after a panic too.
    struct Restore(Bounds);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(bounds));
    act()
}
