//! Who takes part in a run: each client of the plan by name, its part, and the shard it falls to.

use std::thread;
use std::time::Duration;

use super::fleet::Rank;
use super::script::Script;
use super::shard::Member;
use super::source::Source;
use crate::measure::group;
use crate::scenario::plan::{Group, Load, PayloadSize, Plan};
use crate::verify::directory::ClientId;

/// Half of the cores, so that the target has the other half; at least one, and not more than
/// there are clients for. One where the order is told by who reads what first, which two threads
/// could not agree on.
pub(super) fn shard_count(plan: &Plan) -> usize {
    if !plan.promises.use_seq {
        return 1;
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let chosen = plan.run.shards.map_or(cores / 2, |n| n as usize);
    chosen.clamp(1, plan.clients().max(1) as usize)
}

/// The names of all clients, observers first, and each shard's share of them.
pub(super) fn members(plan: &Plan, shards: usize) -> (Vec<String>, Vec<Vec<Member>>) {
    let mut names = Vec::new();
    let mut shares: Vec<Vec<Member>> = (0..shards).map(|_| Vec::new()).collect();
    let mut add = |name: String, group: usize, rank, payload, source, script, connect_after| {
        let claims = plan.groups.get(group).and_then(|g| g.claims.as_deref());
        let id = ClientId(names.len() as u32);
        shares[names.len() % shards].push(Member {
            id,
            rank,
            group: group::place(group),
            payload,
            source,
            script,
            claims: claims.and_then(|name| client_named(plan, name)),
            connect_after,
        });
        names.push(name);
    };
    for n in 1..=plan.run.observers {
        let payload = PayloadSize { min: 0, max: 0 };
        let name = format!("observer-{n}");
        add(
            name,
            plan.groups.len(), // behind the scenario's own
            Rank::Observer,
            payload,
            Source::None,
            None,
            Duration::ZERO,
        );
    }
    let mut place = 0;
    for (index, group) in plan.groups.iter().enumerate() {
        for n in 0..group.count {
            let (rank, source, script) = part(plan, group, index, n);
            let connect_after = Duration::from_secs_f64(f64::from(place) / plan.run.connect_rate);
            place += 1;
            let name = format!("{}-{}", group.name, n + 1);
            add(
                name,
                index,
                rank,
                group.payload,
                source,
                script,
                connect_after,
            );
        }
    }
    (names, shares)
}

/// The client of this name, as [`members`] numbers and names them.
fn client_named(plan: &Plan, name: &str) -> Option<ClientId> {
    let (group, n) = name.rsplit_once('-')?;
    let n: u32 = n.parse().ok()?;
    let mut first = plan.run.observers;
    for other in &plan.groups {
        if other.name == group {
            return (1..=other.count)
                .contains(&n)
                .then(|| ClientId(first + n - 1));
        }
        first += other.count;
    }
    let observer = group == "observer" && (1..=plan.run.observers).contains(&n);
    observer.then(|| ClientId(n - 1))
}

/// What client `n` of a group does.
fn part(plan: &Plan, group: &Group, index: usize, n: u32) -> (Rank, Source, Option<Script>) {
    match &group.load {
        Load::Listen => (Rank::Listener, Source::None, None),
        Load::Open { .. } => {
            let schedule = plan.schedule(index, n);
            (
                Rank::Talker,
                schedule.map_or(Source::None, Source::open),
                None,
            )
        }
        Load::Closed { in_flight } => (
            Rank::Talker,
            Source::Closed {
                in_flight: *in_flight,
            },
            None,
        ),
        Load::Script { steps, repeat } => {
            let script = Script {
                steps: steps.clone(),
                repeat: *repeat,
            };
            (Rank::Scripted, Source::None, Some(script))
        }
    }
}
