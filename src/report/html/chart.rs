//! Charts for a page's script, as JSON: their axes and lines. The meaning of the lines is decided
//! here; `page.js` knows no run, no class of latency, only how to draw.
//!
//! Times along a run are in seconds, latencies in ns; `null` is a gap in a line.

use maud::PreEscaped;
use serde::{Serialize, Serializer};

/// Everything that a page draws.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Drawing {
    pub(crate) charts: Vec<Chart>,
    /// Stretches to shade, on all x axes but those of percentiles.
    pub(crate) spans: Vec<Span>,
    /// Moments to mark, on all time axes.
    pub(crate) marks: Vec<Marks>,
}

/// Moments that are marked alike, and named in the legend.
#[derive(Debug, Serialize)]
pub(crate) struct Marks {
    pub(crate) name: String,
    /// Which of the page's colours; `None` for that of what is bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shade: Option<usize>,
    pub(crate) of: Vec<Moments>,
}

/// Moments at which the same happened.
#[derive(Debug, Serialize)]
pub(crate) struct Moments {
    /// The text that names them.
    pub(crate) says: String,
    /// When, in seconds: a thousandth of one is less than a pixel.
    #[serde(serialize_with = "thousandths")]
    pub(crate) at: Vec<f64>,
}

/// One chart. The page has a place for it, made by [`super::chart`].
#[derive(Debug, Serialize)]
pub(crate) struct Chart {
    pub(crate) id: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Scale,
    pub(crate) height_px: u32,
    /// Whether each point is a dot on its line: where there are few.
    pub(crate) dots: bool,
    /// Where the points are, ascending.
    #[serde(serialize_with = "short")]
    pub(crate) at: Vec<f64>,
    pub(crate) lines: Vec<Line>,
}

/// The axis from left to right.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum Axis {
    /// 1/(1−q), logarithmic: each power of ten is another nine.
    Percentile,
    /// Seconds of a run that is `end_s` long; a point stands for `step_s` of them.
    Time { step_s: u64, end_s: f64 },
    /// The load, logarithmic.
    Load { name: String },
}

/// The axis from bottom to top.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scale {
    /// ns, logarithmic.
    Latency,
    /// Numbers of things, from zero.
    Amount,
    /// Numbers of things over several decades.
    LogAmount,
}

/// A value for each place of the chart.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Which of the page's colours.
    pub(crate) shade: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dash: Option<[u8; 2]>,
    #[serde(serialize_with = "short_or_null")]
    pub(crate) values: Vec<Option<f64>>,
    /// The range around the values: the least and the greatest of each place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<[Column; 2]>,
}

/// Values at the places of a chart.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Column(#[serde(serialize_with = "short_or_null")] pub(crate) Vec<Option<f64>>);

/// A stretch of an x axis.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Span {
    pub(crate) name: &'static str,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Line {
    /// A line of latencies.
    pub(crate) fn of_ns(name: &str, shade: usize, ns: impl Iterator<Item = Option<u64>>) -> Self {
        Self::new(name, shade, ns.map(|ns| ns.map(|ns| ns as f64)).collect())
    }

    /// A solid line.
    pub(crate) fn new(name: &str, shade: usize, values: Vec<Option<f64>>) -> Self {
        Self {
            name: name.to_owned(),
            shade,
            values,
            ..Self::default()
        }
    }

    /// The same, broken into dashes and gaps of so many pixels.
    pub(crate) fn dashed(self, dash: [u8; 2]) -> Self {
        Self {
            dash: Some(dash),
            ..self
        }
    }
}

impl Drawing {
    /// The content of a script element, with `<` escaped: nothing else can end or nest it.
    pub(crate) fn json(&self) -> PreEscaped<String> {
        let json = serde_json::to_string(self).expect("plain values");
        PreEscaped(json.replace('<', "\\u003c"))
    }
}

/// A number in as few characters as possible: most are whole, and a page has thousands.
struct Short(f64);

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Above 2^53 a whole number is not exact anyway.
        if self.0.fract() == 0.0 && self.0.abs() < 9e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

#[allow(clippy::ptr_arg)] // the shape that serialize_with takes
fn short<S: Serializer>(numbers: &Vec<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(numbers.iter().copied().map(Short))
}

#[allow(clippy::ptr_arg)]
fn thousandths<S: Serializer>(numbers: &Vec<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    let rounded = numbers.iter().map(|number| (number * 1e3).round() / 1e3);
    serializer.collect_seq(rounded.map(Short))
}

#[allow(clippy::ptr_arg)]
fn short_or_null<S: Serializer>(
    numbers: &Vec<Option<f64>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(numbers.iter().map(|number| number.map(Short)))
}

/// The charts of a page, read back from it.
#[cfg(test)]
pub(crate) fn data_of(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_gaps_are_null_and_nothing_ends_the_element() {
        let drawing = Drawing {
            charts: vec![Chart {
                id: "relay",
                x: Axis::Load {
                    name: "</script>".to_owned(),
                },
                y: Scale::LogAmount,
                height_px: 100,
                dots: true,
                at: vec![0.5, 2.0],
                lines: vec![Line {
                    range: Some([Column(vec![Some(1.0), None]), Column::default()]),
                    ..Line::of_ns("a", 1, [Some(1_234_567), None].into_iter()).dashed([2, 4])
                }],
            }],
            spans: Vec::new(),
            marks: vec![Marks {
                name: "b".to_owned(),
                shade: None,
                of: vec![Moments {
                    says: "c".to_owned(),
                    at: vec![1.500_000_1, 2.0],
                }],
            }],
        };
        let text = drawing.json().0;
        assert_eq!(
            text,
            r#"{"charts":[{"id":"relay","x":{"kind":"load","name":"\u003c/script>"},"y":"log-amount","height_px":100,"dots":true,"at":[0.5,2],"lines":[{"name":"a","shade":1,"dash":[2,4],"values":[1234567,null],"range":[[1,null],[]]}]}],"spans":[],"marks":[{"name":"b","of":[{"says":"c","at":[1.5,2]}]}]}"#
        );
    }
}
