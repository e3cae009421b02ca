//! How much memory a plan may take, before it is run.
//!
//! The figures are the bounds that the driver and the verifier keep to (docs/VERIFICATION.md,
//! "Bounds"), with what a run takes in any case as it was measured (docs/PERFORMANCE.md).

use super::estimate::Estimate;
use super::plan::{Group, Load, Plan};

const MIB: u64 = 1 << 20;

/// Memory of a driver without any client: its code, tables, buffers.
const DRIVER_BYTES: u64 = 20 * MIB;

/// Memory of an idle client. Measured: 1.53 KiB.
const CLIENT_BYTES: u64 = 2 << 10;

/// Memory of a membership in a room, in the driver and in the embedded server. Measured: 232 and
/// 125 bytes.
const MEMBERSHIP_BYTES: u64 = 250;
const SERVER_MEMBERSHIP_BYTES: u64 = 300;

/// Memory of a room in the verifier of each shard and in its judge, and in the embedded server.
const ROOM_BYTES: u64 = 4 << 10;

/// Memory of a message that waits for its ack.
const UNACKED_BYTES: u64 = 40;

/// Unacked messages of all open loops and scripts together, at most: 640 MiB. Each has its share.
const ALL_UNACKED: u64 = 1 << 24;

/// The bounds of one client's share; with so many unacked messages it waits for acks.
const MOST_UNACKED: u64 = 1 << 16;
const LEAST_UNACKED: u64 = 1 << 10;

/// The most that may wait for a full socket, besides one message.
const UNSENT_BYTES: u64 = 64 << 10;

/// Memory of the lines that a shard keeps until its slowest receiver has got them, at most.
const LINES_BYTES: u64 = 64 * MIB;

/// The verifier's state for unsettled sequence numbers, and batches on their way to the judge, at
/// most.
const JUDGE_BYTES: u64 = 65 * MIB;

/// Memory of the embedded server: its log at most, and itself.
const SERVER_BYTES: u64 = 24 * MIB;

/// Memory of the embedded server per session. Measured: 1.54 KiB.
const SESSION_BYTES: u64 = 2 << 10;

/// Bytes of memory that a plan takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// The driver's, with every closed loop's window full and all else well.
    pub driver: u64,
    /// The driver's at most: the target acks nothing, reads nothing and delivers unevenly.
    pub driver_at_most: u64,
    /// The embedded server's at most; 0 where the target is another.
    pub server: u64,
}

impl Footprint {
    /// Works out what `plan` may take.
    #[must_use]
    pub fn of(plan: &Plan, estimate: &Estimate) -> Self {
        let clients = plan.clients();
        let memberships = estimate.rooms.map_or(0, |rooms| rooms.memberships_at_most);
        let rooms = plan.rooms.len() as u64 * ROOM_BYTES;
        let mut driver = DRIVER_BYTES + clients * CLIENT_BYTES;
        driver += memberships * MEMBERSHIP_BYTES + rooms;
        let mut more = LINES_BYTES.min(estimate.bytes_in.count as u64) + JUDGE_BYTES;
        if estimate.bytes_in.open_ended {
            more = LINES_BYTES + JUDGE_BYTES;
        }
        let most_unacked = most_unacked(plan);
        let mut longest = 0;
        for (group, messages) in plan.groups.iter().zip(&estimate.group_messages) {
            let count = u64::from(group.count);
            let message = u64::from(group.payload.max);
            match &group.load {
                Load::Listen => continue,
                Load::Closed { .. } => driver += window_bytes(group),
                Load::Open { .. } | Load::Script { .. } => {
                    let each = match messages.open_ended {
                        true => most_unacked,
                        false => most_unacked.min((messages.count / count as f64).ceil() as u64),
                    };
                    more += count * each * UNACKED_BYTES;
                }
            }
            more += count * (UNSENT_BYTES + message);
            longest = longest.max(message);
        }
        // A line that has not come to its end is kept for each client.
        more += clients * longest;
        let server = match plan.target.url.is_embedded() {
            true => {
                let clients = clients * SESSION_BYTES;
                SERVER_BYTES + clients + memberships * SERVER_MEMBERSHIP_BYTES + rooms
            }
            false => 0,
        };
        Self {
            driver,
            driver_at_most: driver + more,
            server,
        }
    }

    /// The memory of this machine that a run takes when all goes well.
    #[must_use]
    pub fn needed(&self) -> u64 {
        self.driver + self.server
    }
}

/// The number of unacked messages at which an open loop or a script of `plan` waits: messages that
/// a target never acks must not pile up in the driver, however many clients publish.
#[must_use]
pub fn most_unacked(plan: &Plan) -> u64 {
    let publishers: u64 = plan
        .groups
        .iter()
        .filter(|group| matches!(group.load, Load::Open { .. } | Load::Script { .. }))
        .map(|group| u64::from(group.count))
        .sum();
    (ALL_UNACKED / publishers.max(1)).clamp(LEAST_UNACKED, MOST_UNACKED)
}

/// The memory of a closed loop's unacked messages when all its windows are full.
fn window_bytes(group: &Group) -> u64 {
    match group.load {
        Load::Closed { in_flight } => u64::from(group.count) * u64::from(in_flight) * UNACKED_BYTES,
        _ => 0,
    }
}

/// The change that would fit `plan`, which needs `needed` bytes, into `available`: in words, for an
/// error.
#[must_use]
pub fn cure(plan: &Plan, needed: u64, available: u64) -> String {
    let fewer = "lower the clients' count".to_owned();
    let Some(group) = plan.groups.iter().max_by_key(|group| window_bytes(group)) else {
        return fewer;
    };
    let rest = needed - window_bytes(group);
    let each = available.saturating_sub(rest) / (u64::from(group.count) * UNACKED_BYTES);
    match each {
        0 => fewer,
        each => format!(
            "with clients.{}.in_flight = {} it fits, or lower the clients' count",
            group.name,
            round_down(each)
        ),
    }
}

/// Two digits are enough for advice.
fn round_down(number: u64) -> u64 {
    let unit = 10_u64.pow(number.max(1).ilog10().saturating_sub(1));
    number / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Plan, Footprint) {
        let plan = crate::scenario::parse("case.toml", text, &[], None, None)
            .unwrap_or_else(|errors| panic!("{errors}"));
        let footprint = Footprint::of(&plan, &Estimate::of(&plan));
        (plan, footprint)
    }

    #[test]
    fn a_closed_loop_takes_its_windows_and_not_its_payloads() {
        let (_, small) = of("[clients.a]\nin_flight = 1000000\n");
        let (_, large) = of("[clients.a]\nin_flight = 1000000\npayload = { size = 65000 }\n");
        assert_eq!(small.driver, large.driver);
        assert!((40 * MIB..80 * MIB).contains(&large.driver), "{large:?}");
        assert!(large.driver_at_most < 256 * MIB, "{large:?}");
    }

    #[test]
    fn an_open_loop_takes_more_only_where_the_target_falls_behind() {
        let (_, footprint) = of("[clients.a]\ncount = 1000\nrate = 100000000\n");
        assert!(footprint.driver < 32 * MIB, "{footprint:?}");
        assert!(footprint.driver_at_most > 512 * MIB, "{footprint:?}");
        let (_, few) = of("[clients.a]\ncount = 1000\nrate = 1000\n");
        assert!(few.driver_at_most < 512 * MIB, "{few:?}");
    }

    #[test]
    fn many_publishers_share_what_may_be_unacked() {
        let share = |count: u64| {
            let text = format!("[clients.a]\ncount = {count}\nrate = 1\n[clients.b]\n");
            most_unacked(&of(&text).0)
        };
        assert_eq!([share(1), share(256)], [65_536; 2]);
        assert_eq!(share(1_000), 16_777);
        assert_eq!(share(1_000_000), 1_024);
    }

    #[test]
    fn the_cure_names_what_would_fit() {
        let (plan, footprint) = of("[clients.b]\n[clients.a]\ncount = 100\nin_flight = 1000000\n");
        let available = 1 << 30;
        assert!(footprint.needed() > available);
        let cure = cure(&plan, footprint.needed(), available);
        let asked = cure.split_once("in_flight = ").unwrap().1;
        let asked = asked.split(' ').next().unwrap();
        let fitting = format!("[clients.b]\n[clients.a]\ncount = 100\nin_flight = {asked}\n");
        let (_, footprint) = of(&fitting);
        assert!(cure.starts_with("with clients.a."), "{cure}");
        assert!(footprint.needed() <= available, "{cure}");
        assert!(footprint.needed() > available * 8 / 10, "{cure}");
    }
}
