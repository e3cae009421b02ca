//! How much is remembered for the sake of what may still come. `docs/VERIFICATION.md` says what
//! comes beyond each of these.

/// Numbers that one session may skip, and later messages that may overtake one where order is
/// promised, before it is not waited for any longer.
pub(super) const fn reorder_window() -> usize {
    1024
}

/// Runs of numbers that a session remembers to have given up.
pub(super) const fn given_up_runs() -> usize {
    1024
}

/// Frames of a session that are ahead of their time. Where more wait for their explanation,
/// numbers come in no order that could explain them.
pub(super) const fn early_frames() -> usize {
    16
}

/// Numbers that may wait to be settled. Past it the oldest are settled with what is known, and
/// what comes of them later counts as not compared.
pub(super) const fn records() -> usize {
    1 << 18
}

/// Anomalies that may wait for their number to be settled, and losses. Past it the oldest are
/// judged with what is known.
pub(super) const fn open_anomalies() -> usize {
    1 << 17
}

/// Losses that are not certain before the end.
pub(super) const fn deferred_losses() -> usize {
    1 << 16
}

/// Messages that may wait for the slowest session where no order is stated. Past it the oldest
/// are settled without it.
pub(super) const fn slots() -> usize {
    1 << 18
}

/// Settled messages that are remembered, to know what comes of them later.
pub(super) const fn history() -> usize {
    4096
}

/// Deliveries of which it is not known yet whether they were owed. Past it they are taken for
/// not owed.
pub(super) const fn doubts() -> usize {
    1 << 16
}

/// Deliveries out of the order of the others that are remembered for each session, to find out
/// who was wrong. Past it they are not judged, and the run says so.
pub(super) const fn late_deliveries() -> usize {
    4096
}

/// Sessions that are over and got what is not judged yet. Past it the oldest are forgotten, and
/// the run says so.
pub(super) const fn past_sessions() -> usize {
    1 << 16
}

/// Sessions that are over and have messages of which nobody got anything.
pub(super) const fn ended_senders() -> usize {
    1 << 16
}

/// Messages that are settled before whoever waits for the last of them is asked whether there is
/// time for more.
pub(super) const fn settled_at_once() -> usize {
    1 << 14
}

/// Steps of comparison that may be saved up.
pub(super) const fn saved_effort() -> usize {
    1 << 22
}
