//! Figures as families of metrics, in Prometheus's text format.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::buckets::{BOUNDS_NS, Buckets};

/// The content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Families of metrics, in the order in which they were added.
#[derive(Debug, Default)]
pub struct Families(Vec<MetricFamily>);

impl Families {
    /// A page that has only the version of chatbench on it yet.
    #[must_use]
    pub fn of_this_build() -> Self {
        let mut page = Self::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.info(
            "chatbench_build_info",
            "The chatbench that answers.",
            &version,
        );
        page
    }

    /// Adds a counter, which only ever rises: its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = Metric::default();
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, vec![metric]);
    }

    /// Adds a gauge, which rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.add(name, help, MetricType::GAUGE, vec![gauge(&[], value)]);
    }

    /// Adds gauges of one family, told apart by a label.
    pub fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        let values = values.into_iter();
        let metrics = values.map(|(named, value)| gauge(&[(label, named)], value));
        self.add(name, help, MetricType::GAUGE, metrics.collect());
    }

    /// Adds a description in labels: the value is always 1.
    pub fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) {
        self.add(name, help, MetricType::GAUGE, vec![gauge(labels, 1.0)]);
    }

    /// Adds a distribution of durations: its name ends in `_seconds`.
    pub fn histogram(&mut self, name: &str, help: &str, buckets: &Buckets) {
        let bounds = BOUNDS_NS.iter().zip(&buckets.up_to);
        let bounds = bounds.map(|(&bound_ns, &count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound_ns as f64 / 1e9);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = prometheus::proto::Histogram::default();
        histogram.set_bucket(bounds.collect());
        histogram.set_sample_count(buckets.count);
        histogram.set_sample_sum(buckets.sum_s);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.add(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    /// All of them as text.
    #[must_use]
    pub fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.0)
            .expect("no family is without a name or a metric")
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let labels = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::default();
    metric.set_label(labels.collect());
    metric.set_gauge(gauge);
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_as_the_format_has_it() {
        let mut families = Families::default();
        families.counter("c_total", "How many.", 3);
        families.gauge("g_bytes", "How much.", 1.5);
        families.gauges("phase", "Where.", "phase", [("a", 0.0), ("b", 1.0)]);
        families.info("i", "What.", &[("said", "a \"word\"\\\n")]);
        assert_eq!(
            families.text(),
            "# HELP c_total How many.\n# TYPE c_total counter\nc_total 3\n\
             # HELP g_bytes How much.\n# TYPE g_bytes gauge\ng_bytes 1.5\n\
             # HELP phase Where.\n# TYPE phase gauge\nphase{phase=\"a\"} 0\nphase{phase=\"b\"} 1\n\
             # HELP i What.\n# TYPE i gauge\ni{said=\"a \\\"word\\\"\\\\\\n\"} 1\n"
        );
    }

    #[test]
    fn a_histogram_has_its_bounds_in_seconds_and_ends_in_infinity() {
        let mut samples = crate::measure::histogram();
        samples.record_n(1_000_000, 5).unwrap();
        let mut families = Families::default();
        families.histogram("h_seconds", "How long.", &Buckets::of(&samples));
        let text = families.text();
        for line in [
            "# TYPE h_seconds histogram",
            "h_seconds_bucket{le=\"0.00001\"} 0",
            "h_seconds_bucket{le=\"0.000015\"} 0",
            "h_seconds_bucket{le=\"0.0007\"} 0",
            "h_seconds_bucket{le=\"0.001\"} 5",
            "h_seconds_bucket{le=\"60\"} 5",
            "h_seconds_bucket{le=\"+Inf\"} 5",
            "h_seconds_count 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
    }
}
