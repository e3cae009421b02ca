//! The model of a search, of which its text, its page and `search.json` are made, whether it has
//! just ended or is read back.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Limit, Probe, Search};
use crate::report::result::{self, Error, Target};
use crate::report::thresholds::name;
use crate::report::{Environment, json};
use crate::scenario::plan::{Plan, TargetUrl, Threshold};

/// The format's version.
const SCHEMA: u64 = 1;

/// The word that tells a search from a run's result.
const KIND: &str = "search";

/// A search, as `chatbench search --json` writes it: schema 1. Keys may be added and are never
/// renamed: a reader ignores what it does not know. Latencies are integers in nanoseconds, rates
/// are a second; the unit is in the key. `null` is a figure that is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Found {
    /// The version of this format.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    schema: u64,
    /// The word that tells a search from a run's result.
    #[cfg_attr(test, schemars(extend("const" = KIND)))]
    kind: String,
    /// The version that searched.
    pub chatbench: String,
    /// The scenario, the target and the machine.
    #[serde(flatten)]
    pub about: About,
    /// The key of the scenario that was varied, as a dotted path.
    pub vary: String,
    /// The lowest value.
    #[cfg_attr(test, schemars(extend("exclusiveMinimum" = 0)))]
    pub from: f64,
    /// The highest value.
    #[cfg_attr(test, schemars(extend("exclusiveMinimum" = 0)))]
    pub max: f64,
    /// How near the limit was to be known, a share of it.
    #[cfg_attr(test, schemars(extend("exclusiveMinimum" = 0)))]
    pub precision: f64,
    /// Whether it was cut short.
    pub interrupted: bool,
    /// The highest value that held; null if none did.
    #[cfg_attr(test, schemars(extend("exclusiveMinimum" = 0)))]
    pub holds: Option<f64>,
    /// The lowest value that did not hold; null if all did.
    #[cfg_attr(test, schemars(extend("exclusiveMinimum" = 0)))]
    pub fails: Option<f64>,
    /// The limit that the lowest value which did not hold met; null if all held.
    pub limit: Option<Limit>,
    /// Every run, by value; of a value's runs those that held first.
    pub probes: Vec<Probe>,
}

/// The subject of a search. Searches of earlier versions do not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct About {
    /// The scenario that was run.
    pub scenario: Scenario,
    /// The target that was driven.
    pub target: Target,
    /// When the first probe began.
    #[cfg_attr(test, schemars(extend("format" = "date-time")))]
    pub started: String,
    /// Where the driver ran.
    pub environment: Option<Environment>,
    /// The command that searches the same again.
    pub rerun: String,
    /// The limits on latency that a load had to keep. Those on rates are left out of a search.
    pub thresholds: Vec<Kept>,
}

/// The scenario of a search.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// The question that the scenario asks.
    pub description: Option<String>,
    /// Where all randomness came from.
    pub seed: u64,
}

/// A threshold on a latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Kept {
    /// The class of latency. `relay.listeners` is that of a group of clients.
    #[cfg_attr(
        test,
        schemars(regex(
            pattern = r"^((ack|relay)(\.[A-Za-z0-9_-]+)?|last_relay|spread|send_lag|connect|rooms)$"
        ))
    )]
    pub metric: String,
    /// The expression as it was written.
    pub expr: String,
    /// The latency in it.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub limit_ns: f64,
}

impl About {
    /// The subject of a search with `plan`.
    #[must_use]
    pub fn new(plan: &Plan, started: String, rerun: String) -> Self {
        let kept = |threshold: &Threshold| Kept {
            metric: name(threshold),
            expr: threshold.expr.clone(),
            limit_ns: threshold.limit,
        };
        Self {
            scenario: Scenario {
                name: plan.name.clone(),
                description: plan.description.clone(),
                seed: plan.seed,
            },
            target: Target {
                url: plan.target_url().to_owned(),
                embedded: matches!(plan.target.url, TargetUrl::Embedded(_)),
                faults: Vec::new(),
            },
            started,
            environment: Some(Environment::here()),
            rerun,
            thresholds: plan.thresholds.iter().map(kept).collect(),
        }
    }
}

impl Found {
    /// The result of `search` with these runs.
    #[must_use]
    pub fn new(
        about: About,
        vary: &str,
        search: &Search,
        probes: &[Probe],
        interrupted: bool,
    ) -> Self {
        let mut probes = probes.to_vec();
        probes.sort_by(|a, b| a.value.total_cmp(&b.value).then(b.held().cmp(&a.held())));
        let met = probes.iter().find(|p| Some(p.value) == search.fails);
        Self {
            schema: SCHEMA,
            kind: KIND.to_owned(),
            chatbench: env!("CARGO_PKG_VERSION").to_owned(),
            about,
            vary: vary.to_owned(),
            from: search.from,
            max: search.max,
            precision: search.precision,
            interrupted,
            holds: search.holds,
            fails: search.fails,
            limit: met.and_then(|probe| probe.limit),
            probes,
        }
    }

    /// Whether `bytes` are meant to be a search.
    #[must_use]
    pub fn is_search(bytes: &[u8]) -> bool {
        result::kind(bytes).is_some_and(|kind| kind == KIND)
    }

    /// Reads a search back.
    ///
    /// # Errors
    ///
    /// Names `path`, and what is wrong with what was read from it.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        result::document(path, bytes, SCHEMA)
    }

    /// The last key of the path that was varied, which names what it is.
    #[must_use]
    pub fn unit(&self) -> &str {
        self.vary.rsplit('.').next().unwrap_or(&self.vary)
    }

    /// As JSON, with a newline at its end.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        json::document(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::report::thresholds::metric_name;
    use crate::scenario::plan::Metric;
    use crate::search::sample as searched;
    use crate::wire::protocol::Protocol;

    /// Every possible outcome of a search is valid by the published schema.
    #[test]
    fn every_outcome_is_valid() {
        let schema = include_str!("../../docs/search.schema.json");
        let schema = serde_json::from_str(schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let check = |found: &Found| {
            let json = serde_json::from_slice(&found.json()).unwrap();
            let errors: Vec<_> = validator.iter_errors(&json).collect();
            assert!(errors.is_empty(), "{errors:#?}");
        };
        for limit in [
            Limit::Latency,
            Limit::Loss,
            Limit::Throughput,
            Limit::Generator,
            Limit::Inconclusive,
        ] {
            let mut found = searched::found(limit);
            let failed = Probe::failed(9_000.0, limit, "no such host".to_owned());
            found.probes.push(failed);
            check(&found);
        }
        let changes: [searched::Change; 3] = [
            |f| (f.holds, f.interrupted) = (None, true),
            |f| (f.fails, f.limit) = (None, None),
            |f| f.probes.clear(),
        ];
        for change in changes {
            let mut found = searched::found(Limit::Latency);
            change(&mut found);
            check(&found);
        }
        let mut found = searched::found(Limit::Latency);
        for metric in [
            Metric::Ack,
            Metric::Relay,
            Metric::LastRelay,
            Metric::Spread,
            Metric::SendLag,
            Metric::Connect,
            Metric::Rooms,
        ] {
            found.about.thresholds[0].metric = metric_name(metric).to_owned();
            check(&found);
        }
    }

    #[test]
    fn the_embedded_server_is_that_in_either_dialect() {
        let mut plan = sample::plan();
        for (url, of, embedded) in [
            ("embedded", TargetUrl::Embedded(Protocol::Ndjson), true),
            (
                "embedded+classic",
                TargetUrl::Embedded(Protocol::Classic),
                true,
            ),
            (
                "ndjson://[::1]:9",
                TargetUrl::At("[::1]:9".parse().unwrap()),
                false,
            ),
        ] {
            plan.target.url = of;
            plan.resolved = serde_json::json!({"target": {"url": url}});
            let about = About::new(&plan, String::new(), String::new());
            assert_eq!(
                (about.target.url.as_str(), about.target.embedded),
                (url, embedded)
            );
        }
    }
}
