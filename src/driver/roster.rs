//! Who takes part in a run: each client of the plan by name, its part, and the shard it falls to.

use std::thread;
use std::time::Duration;

use super::member::{Member, Rank, Script};
use super::source::Source;
use crate::measure::group;
use crate::scenario::draws::Draws;
use crate::scenario::pinned::{Pinned, rooms_of_script};
use crate::scenario::plan::{Group, Load, PayloadSize, Plan};
use crate::verify::directory::ClientId;

/// Half of the cores, so that the target has the other half; at least one, and not more than there
/// are clients for, or where rooms are pinned to shards can have something to do. One if all clients
/// have to be driven by one thread: by what is promised where there are no rooms, or since clients
/// send in the name of others, whose addresses they ask for. A run that is recorded, and in which the
/// order is inferred, has one, too.
fn shard_count(plan: &Plan, pinned: Option<&Pinned>, is_recorded: bool) -> usize {
    let claims = plan.groups.iter().any(|group| group.claims.is_some());
    let infers = !plan.promises.use_seq;
    let in_one_room = plan.promises.need_one_shard() && pinned.is_none();
    if in_one_room || infers && (claims || is_recorded) {
        return 1;
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let chosen = plan.run.shards.map_or(cores / 2, |n| n as usize);
    let most = pinned.map_or(plan.clients() as usize, Pinned::most_shards);
    chosen.clamp(1, most.max(1))
}

/// The names of all clients, observers first, and each shard's share of them.
pub(super) fn deal(plan: &Plan, is_recorded: bool) -> (Vec<String>, Vec<Vec<Member>>) {
    let pinned = Pinned::of(plan);
    let shards = shard_count(plan, pinned.as_ref(), is_recorded);
    let dealt = pinned.map(|pinned| pinned.deal(shards));
    members(plan, shards, |client| match &dealt {
        Some(dealt) => dealt[client],
        None => client % shards,
    })
}

/// The same, where each client falls to the shard that `shard_of` says.
fn members(
    plan: &Plan,
    shards: usize,
    shard_of: impl Fn(usize) -> usize,
) -> (Vec<String>, Vec<Vec<Member>>) {
    let mut names = Vec::new();
    let mut shares: Vec<Vec<Member>> = (0..shards).map(|_| Vec::new()).collect();
    let mut add = |name: String, group: usize, part: Part, payload, draws, connect_after, rooms| {
        let claims = plan.groups.get(group).and_then(|g| g.claims.as_deref());
        let id = ClientId(names.len() as u32);
        shares[shard_of(names.len())].push(Member {
            id,
            rank: part.rank,
            group: group::place(group),
            payload,
            draws,
            source: part.source,
            script: part.script,
            claims: claims.and_then(|name| client_named(plan, name)),
            connect_after,
            rooms,
        });
        names.push(name);
    };
    for n in 1..=plan.run.observers {
        let payload = PayloadSize { min: 0, max: 0 };
        let name = format!("observer-{n}");
        add(
            name,
            plan.groups.len(), // after the scenario's own
            Part::silent(Rank::Observer),
            payload,
            Draws::new(plan.seed, n), // it draws nothing
            Duration::ZERO,
            Box::default(),
        );
    }
    let mut place = 0;
    for (index, group) in plan.groups.iter().enumerate() {
        let dealt = plan.dealt_rooms(index);
        for n in 0..group.count {
            let connect_after = Duration::from_secs_f64(f64::from(place) / plan.run.connect_rate);
            place += 1;
            let name = format!("{}-{}", group.name, n + 1);
            add(
                name,
                index,
                Part::of(plan, group, index, n),
                group.payload,
                plan.draws(index, n),
                connect_after,
                dealt.of(n).into(),
            );
        }
    }
    (names, shares)
}

/// How many clients join each room when they connect, by its number, on the shard that has most of
/// them; of so many rooms that have names.
pub(super) fn members_by_room(shares: &[Vec<Member>], rooms: usize) -> Vec<u32> {
    if rooms == 0 {
        return Vec::new();
    }
    let mut most = vec![0; rooms + 1];
    for share in shares {
        let mut here = vec![0; rooms + 1];
        for room in share.iter().flat_map(|member| &member.rooms) {
            here[room.0 as usize] += 1;
        }
        for (most, here) in most.iter_mut().zip(here) {
            *most = here.max(*most);
        }
    }
    most
}

/// The shards that are ever to have members in each room, by its number, in order; of nobody's rooms
/// if the target states its order, so that the shards have nothing to tell one another.
pub(super) fn shards_by_room(plan: &Plan, shares: &[Vec<Member>]) -> Vec<Vec<usize>> {
    if plan.promises.use_seq || plan.rooms.is_empty() {
        return Vec::new();
    }
    let mut by_room = vec![Vec::new(); plan.rooms.len() + 1];
    for (shard, share) in shares.iter().enumerate() {
        for member in share {
            let steps = member.script.iter().flat_map(|script| &*script.steps);
            let scripted = rooms_of_script(plan, steps);
            for room in member.rooms.iter().copied().chain(scripted) {
                let shards: &mut Vec<usize> = &mut by_room[room.0 as usize];
                if shards.last() != Some(&shard) {
                    shards.push(shard);
                }
            }
        }
    }
    by_room
}

/// Where the latencies of each client go, by its number.
pub(super) fn groups(shares: &[Vec<Member>]) -> Vec<usize> {
    let members = shares.iter().flatten();
    let mut groups = vec![0; members.clone().count()];
    for member in members {
        groups[member.id.0 as usize] = member.group;
    }
    groups
}

/// The client of this name, as [`deal`] numbers and names them.
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

/// The part of a client in a run: when it joins and leaves, and what it sends.
struct Part {
    rank: Rank,
    source: Source,
    script: Option<Script>,
}

impl Part {
    /// A client that only connects, listens, and leaves when its rank does.
    fn silent(rank: Rank) -> Self {
        Self {
            rank,
            source: Source::None,
            script: None,
        }
    }

    /// The part of client `n` of `group`, the plan's `index`-th.
    fn of(plan: &Plan, group: &Group, index: usize, n: u32) -> Self {
        match &group.load {
            Load::Listen => Self::silent(Rank::Listener),
            Load::Open { .. } => Self {
                source: plan.schedule(index, n).map_or(Source::None, Source::open),
                ..Self::silent(Rank::Talker)
            },
            Load::Closed { in_flight } => Self {
                source: Source::Closed {
                    in_flight: *in_flight,
                },
                ..Self::silent(Rank::Talker)
            },
            Load::Script { steps, repeat } => Self {
                script: Some(Script {
                    steps: steps.clone(),
                    repeat: *repeat,
                }),
                ..Self::silent(Rank::Scripted)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// Everything that is drawn or scheduled for one client: due times, sizes, pauses.
    #[derive(Debug, PartialEq)]
    struct Workload {
        due_ns: Vec<u64>,
        sizes: Vec<u32>,
        pauses: Vec<Duration>,
    }

    /// The workload of every client by name, from the roster as the shards get it.
    fn workloads(plan: &Plan) -> BTreeMap<String, Workload> {
        let (names, shares) = deal(plan, false);
        let of = |mut member: Member| {
            member.source.begin(0);
            let first = member.source.due_ns();
            let later = std::iter::repeat_with(|| member.source.next_due_ns()).map_while(|due| due);
            let due_ns = first.into_iter().chain(later).take(50).collect();
            let payload = member.payload;
            let longest = Duration::from_secs(1);
            Workload {
                due_ns,
                sizes: (0..20).map(|_| member.draws.size(payload)).collect(),
                pauses: (0..20)
                    .map(|_| member.draws.pause(Duration::ZERO, longest))
                    .collect(),
            }
        };
        shares
            .into_iter()
            .flatten()
            .map(|member| (names[member.id.0 as usize].clone(), of(member)))
            .collect()
    }

    /// Groups of every kind of load, all of whose clients draw.
    const GROUPS: [&str; 4] = [
        "[clients.steady]\ncount = 3\nrate = 40\npayload = { min = 48, max = 4096 }\n",
        "[clients.random]\ncount = 2\nrate = 30\narrival = 'poisson'\n\
         payload = { min = 48, max = 4096 }\n",
        "[clients.ramp]\ncount = 2\narrival = 'poisson'\n\
         stages = [{ duration = '2s', rate = 50 }, { duration = '3s', rate = 10 }]\n\
         payload = { min = 48, max = 4096 }\n",
        "[clients.guests]\ncount = 3\npayload = { min = 48, max = 4096 }\n\
         script = [{ publish = { count = 9 } }, { pause = { min = '0s', max = '1s' } }]\n",
    ];

    #[test]
    fn one_thread_has_all_clients_where_one_order_is_inferred() {
        let of = |rooms: &str, run: &str, verify: &str, is_recorded| {
            let clients = format!("[clients.a]\ncount = 9\nrate = 1\n{rooms}");
            let text = format!("{run}\n[verify]\n{verify}\n{clients}");
            let plan = crate::scenario::parse("case.toml", &text, &[], None, None);
            let plan = plan.unwrap_or_else(|errors| panic!("{errors}"));
            deal(&plan, is_recorded).1.len()
        };
        let count = |run: &str, verify: &str, is_recorded| of("", run, verify, is_recorded);
        let three = "run.shards = 3";
        let fifo = "use_seq = false\norder = 'fifo'";
        assert_eq!(count("", "use_seq = false", false), 1);
        assert_eq!(count(three, fifo, false), 3);
        assert_eq!(count(three, fifo, true), 1);
        assert_eq!(count(three, "", true), 3, "by numbers");
        assert_eq!(count(three, "use_seq = false\norder = 'none'", false), 3);
        assert_eq!(of("rooms = 4", three, "use_seq = false", false), 3);
        assert_eq!(of("rooms = 4", three, "use_seq = false", true), 1);
        assert_eq!(of("rooms = 2", three, "use_seq = false", false), 2);
        assert_eq!(of("rooms = 1", three, fifo, false), 3);
        assert_eq!(of("rooms = 1", three, "use_seq = false", false), 1);
    }

    #[test]
    fn the_members_of_a_room_are_counted_on_the_shard_that_has_most() {
        let groups = "[clients.a]\ncount = 5\nrate = 1\nrooms = { names = ['x', 'y'], each = 2 }\n";
        let on = |shards| {
            let plan = plan(groups, 0, shards);
            members_by_room(&deal(&plan, false).1, plan.rooms.len())
        };
        assert_eq!(on(1), [0, 5, 5]);
        assert_eq!(on(2), [0, 3, 3]);
        assert_eq!(members_by_room(&[], 0), [0; 0]);
    }

    #[test]
    fn a_room_is_on_the_shards_that_are_ever_to_have_members_in_it() {
        let groups = "verify = { use_seq = false, order = 'fifo' }\n\
                      [clients.a]\ncount = 4\nrate = 1\nrooms = { names = ['x'] }\n\
                      [clients.b]\nscript = [{ join = 'y' }, { leave = 'y' }, { join = 'x' }]\n";
        let on = |groups: &str, shards| {
            let plan = plan(groups, 0, shards);
            let by_room = shards_by_room(&plan, &deal(&plan, false).1);
            let room = |name| by_room.get(plan.rooms.id(name).0 as usize).cloned();
            [room("x"), room("y")].map(Option::unwrap_or_default)
        };
        let [x, y] = on(groups, 3);
        assert_eq!((x, y.len()), (vec![0, 1, 2], 1));
        assert_eq!(on(groups, 1), [[0], [0]]);
        let numbered = groups.replace("verify = { use_seq = false, order = 'fifo' }\n", "");
        assert_eq!(on(&numbered, 3), [[0; 0]; 2]);
    }

    fn plan(groups: &str, observers: u32, shards: u32) -> Plan {
        let mut text = String::new();
        let _ = write!(
            text,
            "seed = 9\nrun = {{ observers = {observers}, shards = {shards}, duration = '5s' }}\n\
             {groups}"
        );
        crate::scenario::parse("case.toml", &text, &[], None, None)
            .unwrap_or_else(|errors| panic!("{errors}"))
    }

    proptest! {
        /// Whoever else takes part, and on however many shards, a client's workload is that of its
        /// group running alone.
        #[test]
        fn a_groups_workload_depends_on_the_seed_and_its_name_alone(
            order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
            observers in 0..5_u32,
            shards in 1..6_u32,
            strangers in 0..4_u32,
        ) {
            let mut text = String::new();
            for &group in &order {
                for n in 0..strangers {
                    let _ = write!(text, "[clients.stranger-{group}-{n}]\nrate = 7\n");
                }
                text.push_str(GROUPS[group]);
            }
            let together = workloads(&plan(&text, observers, shards));
            for group in GROUPS {
                for (name, alone) in workloads(&plan(group, 0, 1)) {
                    prop_assert_eq!(&together[&name], &alone, "{}", name);
                }
            }
        }
    }
}
