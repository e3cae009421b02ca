//! The figures that are compared, and how each is read from a result.

use crate::measure::censored::AtLeast;
use crate::report::figures;
use crate::report::result::{Rates, RunResult, class_name};
use crate::scenario::diagnostic::nearest;

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// ns.
    Latency,
    /// Events per second.
    Rate,
    /// Bytes.
    Memory,
    /// A number of things.
    Count,
}

impl Unit {
    /// A figure in words.
    pub(super) fn show(self, figure: f64) -> String {
        match self {
            Self::Latency => figures::latency(figure.round() as u64),
            Self::Rate => figures::rate(figure),
            Self::Memory => figures::bytes(figure),
            Self::Count => figures::count(figure.round() as u64),
        }
    }
}

/// A figure by its name, and which way is better.
pub(super) struct Figure {
    pub name: String,
    pub unit: Unit,
    pub more_is_better: bool,
    pub of: Reading,
}

/// A figure of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    pub figure: f64,
    /// Whether it may be more, by samples that had not come when the run stopped listening.
    pub open: bool,
}

impl From<f64> for Known {
    fn from(figure: f64) -> Self {
        Self {
            figure,
            open: false,
        }
    }
}

pub(super) type Reading = Box<dyn Fn(&RunResult) -> Option<Known>>;

/// Percentiles that are compared. The maximum is not: it is one sample, and as noisy as one.
const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// All that is compared, in the order of the tables.
pub(super) fn all() -> Vec<Figure> {
    let mut all = vec![Figure {
        name: "violations".to_owned(),
        unit: Unit::Count,
        more_is_better: false,
        of: Box::new(|run| Some((run.violation_count() as f64).into())),
    }];
    for class in ["ack", "relay", "last_relay"] {
        let shown = class_name(class);
        for percentile in PERCENTILES {
            all.push(Figure {
                name: format!("{shown} p{percentile}"),
                unit: Unit::Latency,
                more_is_better: false,
                of: Box::new(move |run| {
                    let AtLeast { ns, open } = run.latency_ns.get(class)?.at(percentile)?;
                    let figure = ns as f64;
                    Some(Known { figure, open })
                }),
            });
        }
    }
    all.push(Figure {
        name: "rooms p99".to_owned(),
        unit: Unit::Latency,
        more_is_better: false,
        of: Box::new(worst_room),
    });
    type Rate = fn(&Rates) -> Option<f64>;
    let rates: [(&str, Rate); 3] = [
        ("sent", |rates| rates.sent),
        ("acked", |rates| rates.acked),
        ("delivered", |rates| rates.delivered),
    ];
    for (name, rate) in rates {
        all.push(Figure {
            name: name.to_owned(),
            unit: Unit::Rate,
            more_is_better: true,
            of: Box::new(move |run| rate(&run.rates).map(Known::from)),
        });
    }
    all.push(Figure {
        name: "server cpu per delivery".to_owned(),
        unit: Unit::Latency,
        more_is_better: false,
        of: Box::new(|run| run.server_cpu_per_delivery().map(Known::from)),
    });
    all.push(Figure {
        name: "server rss".to_owned(),
        unit: Unit::Memory,
        more_is_better: false,
        of: Box::new(|run| Some((run.server?.max_rss_bytes as f64).into())),
    });
    all
}

/// The relays' 99th percentile in the room where it is longest, of those that have enough samples for
/// it. Of what had not come, it is not known in which room.
fn worst_room(run: &RunResult) -> Option<Known> {
    let longest = run.rooms.as_ref()?.spread.as_ref()?.relay_p99_max_ns;
    let relays = run.latency_ns.get("relay");
    Some(Known {
        figure: longest as f64,
        open: relays.is_some_and(|relays| relays.outstanding() > 0),
    })
}

/// The figure, or the figures of the class, that `name` stands for: `relay p99`, `relay`.
///
/// # Errors
///
/// Says what there is, and which of them is the nearest.
pub fn named(name: &str) -> Result<String, String> {
    let name = name.trim();
    let names: Vec<String> = all().into_iter().map(|figure| figure.name).collect();
    if names.iter().any(|figure| stands_for(name, figure)) {
        return Ok(name.to_owned());
    }
    let hint = nearest(name, names.iter().map(String::as_str))
        .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    Err(format!(
        "no such figure{hint} There are: {}",
        names.join(", ")
    ))
}

/// Whether `name` chooses `figure`: by its whole name, or by its first words.
pub(super) fn stands_for(name: &str, figure: &str) -> bool {
    figure
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}
