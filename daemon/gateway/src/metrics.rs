//! The server's own metrics.

use crate::settings::Settings;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// A metric: its name, kind and labels, and help.
type Metric = (&'static str, &'static str, &'static str);

const REQUESTS: Metric =
    ("statemesh_http_requests_total", "counter, by `code`", "HTTP requests answered, by status code");
const OPEN: Metric =
    ("statemesh_http_connections", "gauge", "Open HTTP connections, but for those in the places for probes");
const OPEN_LIMIT: Metric =
    ("statemesh_http_connections_limit", "gauge", "HTTP connections that may be open: http.connections");
const PROBES: Metric = ("statemesh_http_probe_connections", "gauge", "Open HTTP connections in the places for probes");
const PROBES_LIMIT: Metric =
    ("statemesh_http_probe_connections_limit", "gauge", "Places for probes: http.probe_connections");
const EVICTED: Metric = (
    "statemesh_evicted_http_connections_total",
    "counter",
    "HTTP connections that asked nothing and were closed to make room for new ones",
);
const REFUSED: Metric = (
    "statemesh_refused_http_connections_total",
    "counter",
    "HTTP connections closed at once because all places were taken by connections that wait for an answer",
);
const UNSENT: Metric =
    ("statemesh_http_unsent_bytes", "gauge", "Bodies of HTTP answers that are made or wait to be read, in bytes");
const UNSENT_LIMIT: Metric =
    ("statemesh_http_unsent_bytes_limit", "gauge", "Bytes that those may be: http.unsent_bytes");

/// Every metric; the reference is made of this list.
pub const METRICS: [Metric; 9] =
    [REQUESTS, OPEN, OPEN_LIMIT, PROBES, PROBES_LIMIT, EVICTED, REFUSED, UNSENT, UNSENT_LIMIT];

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) open: IntGauge,
    pub(crate) probes: IntGauge,
    pub(crate) evicted: IntCounter,
    pub(crate) refused: IntCounter,
    pub(crate) unsent: IntGauge,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry, settings: &Settings) -> Result<Metrics, prometheus::Error> {
        let limits = [
            (OPEN_LIMIT, settings.connections),
            (PROBES_LIMIT, settings.probe_connections),
            (UNSENT_LIMIT, settings.unsent_bytes),
        ];
        for (metric, limit) in limits {
            gauge(registry, metric)?.set(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        let requests = IntCounterVec::new(Opts::new(REQUESTS.0, REQUESTS.2), &["code"])?;
        registry.register(Box::new(requests.clone()))?;
        Ok(Metrics {
            requests,
            open: gauge(registry, OPEN)?,
            probes: gauge(registry, PROBES)?,
            evicted: counter(registry, EVICTED)?,
            refused: counter(registry, REFUSED)?,
            unsent: gauge(registry, UNSENT)?,
        })
    }
}

fn gauge(registry: &Registry, metric: Metric) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(metric.0, metric.2)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counter(registry: &Registry, metric: Metric) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(metric.0, metric.2)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}
