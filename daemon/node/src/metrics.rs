//! /metrics: sums the reactors' counters and reads the daemon's gauges at each scrape.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::request::Op;
use statemesh_shard::{BOUNDS_NS, Durations, Stage};

use crate::counters::{Counters, FIGURES, Kind};

/// A gauge, or a count, with its labels, read at the scrape.
#[derive(Debug, Clone)]
pub struct Gauge {
    /// Metric name.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// Label names and values, and the value.
    pub samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// Reads the daemon's own gauges (members, instances by state, limits ...).
pub type Gauges = Box<dyn Fn() -> Vec<Gauge> + Send + Sync>;

/// Collects everything that this daemon counts.
pub struct NodeCollector {
    counters: Vec<Arc<Counters>>,
    gauges: Gauges,
    desc: Desc,
}

impl NodeCollector {
    /// A collector over the counters of all reactors.
    ///
    /// # Errors
    /// Never in practice: the one description that it registers is constant.
    pub fn new(counters: Vec<Arc<Counters>>, gauges: Gauges) -> prometheus::Result<Self> {
        let desc = Desc::new("statemesh_node".into(), "This daemon.".into(), Vec::new(), Default::default())?;
        Ok(Self { counters, gauges, desc })
    }

    fn sum(&self, read: impl Fn(&Counters) -> u64) -> f64 {
        self.counters.iter().map(|c| read(c)).sum::<u64>() as f64
    }

    fn requests(&self) -> MetricFamily {
        let metrics = Op::ALL
            .iter()
            .enumerate()
            .map(|(i, op)| counter(self.sum(|c| c.requests.get(i).map_or(0, |n| n.get())), &[("op", op.as_str())]))
            .collect();
        family("statemesh_requests_total", "Requests by op.", MetricType::COUNTER, metrics)
    }

    fn errors(&self) -> MetricFamily {
        let metrics = ErrorCode::ALL
            .iter()
            .enumerate()
            .map(|(i, code)| counter(self.sum(|c| c.errors.get(i).map_or(0, |n| n.get())), &[("code", code.as_str())]))
            .collect();
        family("statemesh_errors_total", "Error replies by code.", MetricType::COUNTER, metrics)
    }

    fn stages(&self) -> MetricFamily {
        let metrics = Stage::ALL
            .iter()
            .enumerate()
            .map(|(i, stage)| self.durations(&[("stage", stage.as_str())], |c| c.stages.get(i)))
            .collect();
        family(STAGES.0, STAGES.1, MetricType::HISTOGRAM, metrics)
    }

    fn durations(&self, pairs: &[(&str, &str)], read: impl Fn(&Counters) -> Option<&Durations>) -> Metric {
        let mut counts = [0u64; BOUNDS_NS.len() + 1];
        let mut sum_ns = 0u64;
        for durations in self.counters.iter().filter_map(|counters| read(counters)) {
            let (buckets, sum) = durations.read();
            counts.iter_mut().zip(buckets).for_each(|(total, n)| *total += n);
            sum_ns = sum_ns.wrapping_add(sum);
        }
        let mut histogram = Histogram::default();
        let mut cumulated = 0;
        let mut buckets = Vec::with_capacity(BOUNDS_NS.len());
        for (bound, count) in BOUNDS_NS.iter().zip(counts) {
            cumulated += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e9);
            bucket.set_cumulative_count(cumulated);
            buckets.push(bucket);
        }
        histogram.set_bucket(buckets);
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum_ns as f64 / 1e9);
        let mut metric = Metric::from_label(labels(pairs));
        metric.set_histogram(histogram);
        metric
    }
}

impl Collector for NodeCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families: Vec<MetricFamily> = FIGURES
            .iter()
            .map(|figure| match figure.kind {
                Kind::Counter => {
                    family(figure.name, figure.help, MetricType::COUNTER, vec![counter(self.sum(figure.read), &[])])
                }
                Kind::Gauge => {
                    family(figure.name, figure.help, MetricType::GAUGE, vec![gauge(self.sum(figure.read), &[])])
                }
            })
            .collect();
        families.push(self.requests());
        families.push(self.errors());
        families.push(self.stages());
        families.push(family(
            ROUND_TRIP.0,
            ROUND_TRIP.1,
            MetricType::HISTOGRAM,
            vec![self.durations(&[], |c| Some(&c.round_trip))],
        ));
        families.push(family(
            FORWARD.0,
            FORWARD.1,
            MetricType::HISTOGRAM,
            vec![self.durations(&[], |c| Some(&c.forward))],
        ));
        for reading in (self.gauges)() {
            let (kind, metrics) = match reading.kind {
                Kind::Counter => (MetricType::COUNTER, samples(&reading, counter)),
                Kind::Gauge => (MetricType::GAUGE, samples(&reading, gauge)),
            };
            if !metrics.is_empty() {
                families.push(family(reading.name, reading.help, kind, metrics));
            }
        }
        families
    }
}

/// Name and help of the histogram of requests that are passed on.
pub const FORWARD: (&str, &str) = (
    "statemesh_forward_seconds",
    "From reading a client's request to having the answer of its owner elsewhere (one request in 16 is timed).",
);
/// Name and help of the histograms of stages.
pub const STAGES: (&str, &str) =
    ("statemesh_stage_seconds", "Time of each stage of a request at its owner (one request in 16 is timed).");
/// Name and help of the histogram of round trips.
pub const ROUND_TRIP: (&str, &str) = (
    "statemesh_round_trip_seconds",
    "From reading a request to having made its reply, at its owner (one request in 16 is timed).",
);

fn samples(gauge: &Gauge, make: fn(f64, &[(&str, &str)]) -> Metric) -> Vec<Metric> {
    gauge
        .samples
        .iter()
        .map(|(labels, value)| {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            make(*value, &labels)
        })
        .collect()
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
    pairs
        .iter()
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value((*value).into());
            pair
        })
        .collect()
}

fn counter(value: f64, pairs: &[(&str, &str)]) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::from_label(labels(pairs));
    metric.set_counter(counter);
    metric
}

fn gauge(value: f64, pairs: &[(&str, &str)]) -> Metric {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(labels(pairs));
    metric.set_gauge(gauge);
    metric
}
