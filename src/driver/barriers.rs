//! The barriers that the scripts of a run wait at, whichever shard they are in.

use std::collections::HashMap;

use tokio::sync::Barrier;

use crate::scenario::plan::{Group, Load, Step};

/// The barriers of a run, by name, over all shards.
#[derive(Debug, Default)]
pub(super) struct Barriers(HashMap<String, Barrier>);

impl Barriers {
    /// A barrier for each name, as wide as there are clients whose script names it.
    pub(super) fn of(groups: &[Group]) -> Self {
        let mut widths: HashMap<&str, u32> = HashMap::new();
        for group in groups {
            let Load::Script { steps, .. } = &group.load else {
                continue;
            };
            let mut names: Vec<&str> = steps
                .iter()
                .filter_map(|s| {
                    if let Step::Barrier(name) = s {
                        Some(&**name)
                    } else {
                        None
                    }
                })
                .collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                *widths.entry(name).or_default() += group.count;
            }
        }
        let barrier = |(name, width): (&str, u32)| (name.to_owned(), Barrier::new(width as usize));
        Self(widths.into_iter().map(barrier).collect())
    }

    /// The barrier of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Barrier> {
        self.0.get(name)
    }
}
