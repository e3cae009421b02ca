//! Which clients have to be driven by one shard, where the order is inferred and there are rooms.
//!
//! Where one log is promised, or causes before effects, what the members of a room got is compared by
//! the ledger of one shard, so a room is pinned to a shard, and with it the clients that are ever in
//! it. Clients that share a room, or share one with a client that does, and so on, are a *cluster*;
//! clusters are dealt out so that the shards have as much to do as each other.
//!
//! Where no more than each sender's own order is promised, a room's members can be on any shards,
//! which tell one another of its messages. That costs a little for each message, so a cluster is kept
//! together all the same, unless that leaves one shard with more to do than the others.

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostic, Span};
use super::estimate::rooms::{deliveries, publishes_in_unnamed};
use super::plan::{Load, Plan, Step};
use super::section::Problems;
use crate::wire::rooms::RoomId;

/// The clients of a plan, in clusters.
#[derive(Debug)]
pub struct Pinned {
    /// The cluster of each client, in the order of the plan, observers first; `None` if any shard
    /// can have it.
    cluster_of: Vec<Option<usize>>,
    /// What each cluster weighs: its expected deliveries, and one for each client.
    weights: Vec<f64>,
    /// Clients in no cluster have something to do.
    others_count: bool,
    /// The clients of a cluster have to be on one shard.
    is_strict: bool,
}

/// How much more than its share a shard may have to do before a cluster is dealt to all shards.
const UNEVEN: f64 = 1.1;

impl Pinned {
    /// The clusters of `plan`; `None` if any shard can have any client: where the order is not
    /// inferred, or nobody is ever in a room that has a name.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Self> {
        if plan.promises.use_seq || plan.rooms.is_empty() {
            return None;
        }
        let observers = plan.run.observers as usize;
        let clients = plan.clients() as usize;
        // A tree for each cluster: rooms by number, then clients.
        let mut trees = Trees::new(plan.rooms.len() + 1 + clients);
        let first = plan.rooms.len() + 1;
        let in_unnamed = (0..plan.groups.len()).any(|group| publishes_in_unnamed(plan, group));
        let is_strict = plan.promises.need_one_shard();
        // Everyone is in the unnamed room. It need not be pinned where no more than FIFO is
        // promised, or nobody says anything there.
        if in_unnamed && is_strict {
            (0..clients).for_each(|client| trees.join(RoomId::UNNAMED.0 as usize, first + client));
        }
        let mut client = observers;
        for (index, group) in plan.groups.iter().enumerate() {
            let dealt = plan.dealt_rooms(index);
            let scripted: Vec<RoomId> = match &group.load {
                Load::Script { steps, .. } => rooms_of_script(plan, steps.iter()).collect(),
                _ => Vec::new(),
            };
            for n in 0..group.count {
                for room in dealt.of(n).iter().chain(&scripted) {
                    trees.join(first + client, room.0 as usize);
                }
                client += 1;
            }
        }
        Some(Self::from_trees(plan, &mut trees, in_unnamed))
    }

    fn from_trees(plan: &Plan, trees: &mut Trees, in_unnamed: bool) -> Self {
        let first = plan.rooms.len() + 1;
        let clients = plan.clients() as usize;
        let mut clusters = BTreeMap::new();
        let mut weights = Vec::new();
        let mut cluster_of = Vec::with_capacity(clients);
        for client in 0..clients {
            let root = trees.root(first + client);
            let alone = trees.sizes[root] == 1;
            cluster_of.push((!alone).then(|| {
                let cluster = *clusters.entry(root).or_insert_with(|| {
                    weights.push(0.0);
                    weights.len() - 1
                });
                weights[cluster] += 1.0;
                cluster
            }));
        }
        for (room, deliveries) in deliveries(plan).into_iter().enumerate() {
            if let Some(cluster) = clusters.get(&trees.root(room)) {
                weights[*cluster] += deliveries;
            }
        }
        Self {
            cluster_of,
            weights,
            others_count: in_unnamed,
            is_strict: plan.promises.need_one_shard(),
        }
    }

    /// How many shards can have something to do.
    #[must_use]
    pub fn most_shards(&self) -> usize {
        let others = self.cluster_of.iter().filter(|of| of.is_none()).count();
        let in_clusters = match self.is_strict {
            true => self.weights.len(),
            false => self.cluster_of.len() - others,
        };
        let others = if self.others_count { others } else { 0 };
        (in_clusters + others).max(1)
    }

    /// The shard of each client, if there are so many: the heaviest cluster first, each to the shard
    /// that has least; clients of no cluster in turn. So are those of a cluster that is too heavy for
    /// one shard, where that may be.
    #[must_use]
    pub fn deal(&self, shards: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.weights.len()).collect();
        order.sort_by(|&a, &b| self.weights[b].total_cmp(&self.weights[a]));
        let share = self.weights.iter().sum::<f64>() / shards as f64;
        let mut loads = vec![0.0; shards];
        let mut shard_of = vec![None; self.weights.len()];
        for cluster in order {
            let shard = least(&loads);
            let weight = self.weights[cluster];
            if !self.is_strict && loads[shard] + weight > share * UNEVEN {
                let each = weight / shards as f64;
                loads.iter_mut().for_each(|load| *load += each);
            } else {
                loads[shard] += weight;
                shard_of[cluster] = Some(shard);
            }
        }
        // Each cluster in turns of its own: so the clients of each are spread evenly.
        let mut turns = vec![0; self.weights.len() + 1];
        let in_turn = |cluster: &Option<usize>| {
            if let Some(shard) = cluster.and_then(|cluster| shard_of[cluster]) {
                return shard;
            }
            let turn: &mut usize = &mut turns[cluster.unwrap_or(self.weights.len())];
            *turn += 1;
            (*turn - 1) % shards
        };
        self.cluster_of.iter().map(in_turn).collect()
    }
}

/// The rooms that the steps of a script join.
pub(crate) fn rooms_of_script<'p>(
    plan: &'p Plan,
    steps: impl Iterator<Item = &'p Step>,
) -> impl Iterator<Item = RoomId> {
    steps.filter_map(|step| match step {
        Step::Join(name) => Some(plan.rooms.id(name)),
        _ => None,
    })
}

/// The place of the least of them, the first of several.
fn least(loads: &[f64]) -> usize {
    let places = loads.iter().enumerate();
    let least = places.min_by(|(_, a), (_, b)| a.total_cmp(b));
    least.map_or(0, |(at, _)| at)
}

/// Sets of things that are joined until they are asked for.
struct Trees {
    parents: Vec<usize>,
    sizes: Vec<usize>,
}

impl Trees {
    fn new(things: usize) -> Self {
        Self {
            parents: (0..things).collect(),
            sizes: vec![1; things],
        }
    }

    fn root(&mut self, mut thing: usize) -> usize {
        while self.parents[thing] != thing {
            self.parents[thing] = self.parents[self.parents[thing]];
            thing = self.parents[thing];
        }
        thing
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if one == other {
            return;
        }
        let (small, large) = match self.sizes[one] < self.sizes[other] {
            true => (one, other),
            false => (other, one),
        };
        self.parents[small] = large;
        self.sizes[large] += self.sizes[small];
    }
}

/// Warns of more shards than can have something to do; `asked` is where they were asked for.
pub(super) fn check(problems: &Problems, plan: &Plan, asked: Option<&Span>) {
    let (Some(shards), Some(asked)) = (plan.run.shards, asked) else {
        return;
    };
    let most = Pinned::of(plan).map_or(usize::MAX, |pinned| pinned.most_shards());
    if shards as usize <= most {
        return;
    }
    let use_up = match most {
        1 => "one shard has all there is to do".to_owned(),
        most => format!("only {most} shards can have something to do"),
    };
    let title = format!("`run.shards`: {use_up}");
    let warning = Diagnostic::warning(title).at(asked, "more than can be used");
    problems.push(warning.help(
        "where the order of several senders is inferred, clients that meet in a room are on one shard; \
         clients in one room each, or fewer rooms that share clients, can be dealt to more",
    ));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::parse;

    fn plan(text: &str) -> Plan {
        let plan = parse("case.toml", text, &[], None, None);
        plan.unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn pinned(promises: &str, groups: &str) -> Pinned {
        let text = format!("verify = {{ use_seq = false, {promises} }}\n{groups}");
        Pinned::of(&plan(&text)).unwrap()
    }

    #[test]
    fn rooms_whose_members_are_in_no_other_are_on_shards_of_their_own() {
        let rooms = "[clients.a]\ncount = 40\nrate = 10\nrooms = 10\n";
        let ten = pinned("order = 'total'", rooms);
        assert_eq!(ten.most_shards(), 10, "the observer has nothing to do");
        let mut on = [0; 3];
        ten.deal(3)[1..].iter().for_each(|&shard| on[shard] += 1);
        on.sort_unstable();
        assert_eq!(on, [12, 12, 16]);
    }

    #[test]
    fn a_client_in_two_rooms_has_both_on_its_shard() {
        let rooms = "[clients.a]\ncount = 40\nrate = 10\nrooms = 10\n";
        let two = "[clients.b]\nrooms = { names = ['room-1', 'room-2'], each = 2 }\n";
        assert_eq!(pinned("", &format!("{rooms}{two}")).most_shards(), 9);
        let looks_in = "[clients.b]\nscript = [{ join = 'room-1' }, { leave = 'room-1' }, \
                        { join = 'room-7' }]\n";
        assert_eq!(pinned("", &format!("{rooms}{looks_in}")).most_shards(), 9);
    }

    #[test]
    fn who_talks_in_the_unnamed_room_has_all_on_one_shard_where_its_order_is_promised() {
        let groups = "[clients.a]\ncount = 40\nrate = 10\nrooms = 10\n\
                      [clients.b]\ncount = 5\nrate = 1\n";
        assert_eq!(pinned("order = 'total'", groups).most_shards(), 1);
        assert_eq!(pinned("order = 'causal'", groups).most_shards(), 1);
        assert_eq!(pinned("order = 'fifo'", groups).most_shards(), 46);
        let silent = groups.replace("rate = 1\n", "");
        assert_eq!(pinned("order = 'total'", &silent).most_shards(), 10);
        let late = "[clients.a]\ncount = 9\nscript = [{ publish = {} }, { join = 'x' }]\n\
                    [clients.b]\nrate = 1\nrooms = { names = ['x', 'y'] }\n";
        assert_eq!(pinned("", late).most_shards(), 1);
        let early = late.replace(
            "{ publish = {} }, { join = 'x' }",
            "{ join = 'x' }, { publish = {} }",
        );
        assert_eq!(
            pinned("", &early).most_shards(),
            1,
            "nobody is in y, or nobody else"
        );
    }

    #[test]
    fn where_the_target_states_its_order_nobody_is_pinned() {
        assert!(Pinned::of(&plan("[clients.a]\nrate = 1\nrooms = 2\ncount = 4\n")).is_none());
        let no_rooms = "verify.use_seq = false\nclients.a = { rate = 1, count = 4 }\n";
        assert!(Pinned::of(&plan(no_rooms)).is_none());
    }

    #[test]
    fn a_giant_room_has_a_shard_for_itself_and_the_small_ones_the_others() {
        let groups = "[clients.crowd]\ncount = 300\nrate = 50\nrooms = { names = ['lobby'] }\n\
                      [clients.teams]\ncount = 60\nrate = 60\nrooms = 20\n";
        let dealt = pinned("", groups).deal(2);
        assert!(dealt[1..301].iter().all(|&shard| shard == 0));
        assert!(dealt[301..].iter().all(|&shard| shard == 1));
    }

    #[test]
    fn a_cluster_too_heavy_for_one_shard_is_dealt_to_all_where_no_order_of_several_is_promised() {
        let groups = "[clients.crowd]\ncount = 300\nrate = 50\nrooms = { names = ['lobby'] }\n\
                      [clients.teams]\ncount = 60\nrate = 60\nrooms = 20\n";
        let lobby_on = |promises: &str, shard| {
            let dealt = pinned(promises, groups).deal(3);
            dealt[1..301].iter().filter(|&&of| of == shard).count()
        };
        assert_eq!(
            [0, 1, 2].map(|shard| lobby_on("order = 'fifo'", shard)),
            [100; 3]
        );
        assert_eq!(
            [0, 1, 2].map(|shard| lobby_on("order = 'causal'", shard)),
            [300, 0, 0]
        );
        // Small rooms are kept together.
        let plan = plan(&format!(
            "verify = {{ use_seq = false, order = 'fifo' }}\n{groups}"
        ));
        let dealt = Pinned::of(&plan).unwrap().deal(3);
        let (teams, mut shard_of) = (plan.dealt_rooms(1), BTreeMap::new());
        for client in 0..60 {
            let shard = dealt[301 + client as usize];
            let room = teams.of(client)[0];
            assert_eq!(*shard_of.entry(room).or_insert(shard), shard, "{room:?}");
        }
    }

    proptest! {
        /// Whoever meets in a room is on one shard, every client is on one, and each shard has
        /// somebody if there are enough clusters.
        #[test]
        fn who_meets_in_a_room_is_on_one_shard(
            counts in prop::collection::vec((1..30_u32, 1..20_u32, 1..4_u32), 1..4),
            shards in 1..6_usize,
        ) {
            let mut text = "verify.use_seq = false\n".to_owned();
            for (n, (count, rooms, each)) in counts.iter().enumerate() {
                let each = each.min(rooms);
                text.push_str(&format!(
                    "[clients.g{n}]\ncount = {count}\nrate = 1\n\
                     rooms = {{ count = {rooms}, each = {each} }}\n"
                ));
            }
            let plan = plan(&text);
            let pinned = Pinned::of(&plan).unwrap();
            let shards = shards.min(pinned.most_shards());
            let dealt = pinned.deal(shards);
            prop_assert_eq!(dealt.len() as u64, plan.clients());
            let mut shard_of = BTreeMap::new();
            let mut client = plan.run.observers as usize;
            for (index, group) in plan.groups.iter().enumerate() {
                let rooms = plan.dealt_rooms(index);
                for n in 0..group.count {
                    for room in rooms.of(n) {
                        let shard = *shard_of.entry(room.0).or_insert(dealt[client]);
                        prop_assert_eq!(shard, dealt[client]);
                    }
                    client += 1;
                }
            }
            let mut used: Vec<usize> = shard_of.into_values().collect();
            used.sort_unstable();
            used.dedup();
            prop_assert_eq!(used.len(), shards);
        }
    }
}
