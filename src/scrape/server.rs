//! The reference server's figures.

use super::families::Families;
use crate::server::Stats;

/// The page of a server whose statistics are `stats`.
#[must_use]
pub fn page(stats: &Stats) -> String {
    let mut page = Families::of_this_build();
    page.gauge(
        "chatbench_server_connections",
        "Clients connected now.",
        stats.clients as f64,
    );
    page.counter(
        "chatbench_server_connections_total",
        "Connections welcomed.",
        stats.joined,
    );
    page.counter(
        "chatbench_server_refused_connections_total",
        "Connections turned away because the server was full.",
        stats.refused,
    );
    page.counter(
        "chatbench_server_aborted_connections_total",
        "Connections that ended before all that they were owed was sent.",
        stats.aborted,
    );
    page.gauge(
        "chatbench_server_rooms",
        "Rooms with a name that have members now.",
        stats.rooms as f64,
    );
    page.gauge(
        "chatbench_server_memberships",
        "Memberships in rooms with a name now.",
        stats.memberships as f64,
    );
    page.counter(
        "chatbench_server_publishes_total",
        "Messages accepted.",
        stats.published,
    );
    page.counter(
        "chatbench_server_relays_total",
        "Relays owed: one for each message accepted and each other client at that moment.",
        stats.relays,
    );
    page.counter(
        "chatbench_server_received_bytes_total",
        "Bytes read from clients.",
        stats.bytes_in,
    );
    page.counter(
        "chatbench_server_sent_bytes_total",
        "Bytes written to clients.",
        stats.bytes_out,
    );
    page.gauge(
        "chatbench_server_backlog_bytes",
        "Bytes of messages kept for clients that are behind.",
        stats.backlog_bytes as f64,
    );
    page.gauge(
        "chatbench_server_unfinished_bytes",
        "Bytes of lines that clients have begun and not ended.",
        stats.unfinished_bytes as f64,
    );
    page.counter(
        "chatbench_server_slow_consumers_total",
        "Clients closed because they stopped reading and fell behind by more than the backlog.",
        stats.slow_consumers,
    );
    page.counter(
        "chatbench_server_errors_total",
        "Input answered with an error, or refused.",
        stats.errors,
    );
    page.text()
}
