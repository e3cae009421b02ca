//! A target's promises and what came of them: violations with their examples, thresholds.

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::report::figures;
use crate::scenario::promises;
use crate::verify::findings::Example;

/// By what a target was judged, and what it promised, in a scenario's words.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Promised {
    /// The numbers that the target states (`numbers`), or the order inferred from what each client
    /// saw (`outside`).
    #[cfg_attr(test, schemars(extend("enum" = ["numbers", "outside"])))]
    pub by: String,
    /// Whether publishes are acked.
    #[cfg_attr(test, schemars(with = "crate::scenario::plan::AckPromise"))]
    pub ack: String,
    /// How often a relay comes.
    #[cfg_attr(test, schemars(with = "crate::scenario::plan::RelayPromise"))]
    pub relay: String,
    /// In what order relays come.
    #[cfg_attr(test, schemars(with = "crate::scenario::plan::OrderPromise"))]
    pub order: String,
    /// Whether a sender gets its own messages relayed.
    pub echo: bool,
}

impl Promised {
    /// Whether the order had to be inferred, since the target states no numbers.
    #[must_use]
    pub fn is_inferred(&self) -> bool {
        self.by != "numbers"
    }

    /// The words for how a run is judged: by what, and then each promise.
    #[must_use]
    pub fn in_words(&self) -> [String; 5] {
        let promises = [&*self.ack, &*self.relay, &*self.order];
        promises::in_words(!self.is_inferred(), promises, self.echo)
    }
}

/// All violations of one kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Violations {
    /// The kind, as in the documentation of verification.
    pub kind: String,
    /// The rule of the protocol that it breaks; – if none.
    pub rule: String,
    /// The verdict that these lead to on their own: `fail`, but for relays that came late, which
    /// may count as a crossed threshold (`verify.late`), or be the generator's doing.
    #[serde(default = "fail")]
    #[cfg_attr(test, schemars(extend("enum" = ["fail", "threshold", "inconclusive"])))]
    pub counts_as: String,
    /// How many there were.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub count: u64,
    /// The first of them, at most 100.
    #[cfg_attr(test, schemars(length(max = 100)))]
    pub examples: Vec<Example>,
}

/// The verdict of violations where an older result does not say.
fn fail() -> String {
    "fail".to_owned()
}

impl Violations {
    /// Whether a run fails for these.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.counts_as == "fail"
    }
}

/// A threshold and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Threshold {
    /// The metric, by its name in the scenario: `relay.listeners` is that of a group of
    /// clients.
    #[cfg_attr(
        test,
        schemars(regex(
            pattern = r"^((ack|relay)(\.[A-Za-z0-9_-]+)?|last_relay|spread|send_lag|connect|rooms|rates)$"
        ))
    )]
    pub metric: String,
    /// The expression as it was written.
    pub expr: String,
    /// The observed figure: ns, or events a second; null if there is none.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub observed: Option<Number>,
    /// Whether it holds; null if that cannot be judged.
    pub ok: Option<bool>,
    /// Samples of it; of a rate, the events counted.
    pub samples: u64,
    /// Samples that it takes.
    pub samples_wanted: u64,
    /// Whether it is only known to be no less than `observed`, since something had not come when
    /// the run stopped listening.
    #[serde(default)]
    pub at_least: bool,
    /// Of the samples, those that had not come then; they count as late as that.
    #[serde(default)]
    pub outstanding: u64,
    /// Why it is not held against the target that it was crossed: it may have been the generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(required))]
    pub excuse: Option<String>,
}

impl Threshold {
    /// Whether it is on a rate and not on a time.
    #[must_use]
    pub fn is_rate(&self) -> bool {
        self.metric == "rates"
    }

    /// The observed figure in words, `at least 5.20 s`; `None` if there is none.
    #[must_use]
    pub fn observed_text(&self) -> Option<String> {
        let observed = self.observed.as_ref()?.as_f64()?;
        if self.is_rate() {
            return Some(figures::rate(observed));
        }
        let latency = figures::latency(observed.round() as u64);
        Some(match self.at_least {
            true => format!("at least {latency}"),
            false => latency,
        })
    }

    /// Why there is no figure.
    #[must_use]
    pub fn samples_text(&self) -> String {
        if self.samples >= self.samples_wanted {
            return format!("{} outstanding", figures::count(self.outstanding));
        }
        format!(
            "{} of {} samples{}",
            figures::count(self.samples),
            figures::count(self.samples_wanted),
            self.of_which()
        )
    }

    /// What the samples are of, where that is not all that came: the words after them.
    pub(in crate::report) fn of_which(&self) -> &'static str {
        match self.metric == "rooms" {
            true => " in the room that has the fewest",
            false => "",
        }
    }

    /// Why it cannot be judged.
    #[must_use]
    pub fn doubt(&self) -> String {
        let was = self.observed_text().map(|was| format!("it was {was}, "));
        let was = was.unwrap_or_default();
        let why = match &self.excuse {
            Some(excuse) if !was.is_empty() => format!("{was}{excuse}"),
            _ if self.samples < self.samples_wanted => self.samples_text(),
            _ => format!("{was}with {}", self.samples_text()),
        };
        format!("{why}: it cannot be judged")
    }
}
