//! CSV: every sample, and the percentiles that plots are made of, for those who want to draw their own conclusions.

use std::fmt::Write;

use crate::rounds::{Measured, Sample};

/// Quantiles of every table.
pub(crate) const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// The first line of [`samples`].
pub(crate) const SAMPLES_HEAD: &str = "pace,round,server,client,events,errors,seconds,events_per_second,p50_us,p99_us,\
p99.9_us,max_us,server_cpu_us_per_event,client_cpu_us_per_event,other_cores_busy\n";

/// One line for each contender's turn in each round.
pub(crate) fn samples(pace: &str, measured: &[Measured]) -> String {
    let mut out = String::new();
    for (of, sample) in measured.iter().flat_map(|of| of.samples.iter().map(move |sample| (of, sample))) {
        let _ = writeln!(out, "{pace},{}", line(of, sample));
    }
    out
}

fn line(of: &Measured, sample: &Sample) -> String {
    let [p50, p99, p999] = QUANTILES.map(|(_, quantile)| micros(sample.latency.value_at_quantile(quantile)));
    format!(
        "{},\"{}\",{},{},{},{:.3},{:.0},{p50:.2},{p99:.2},{p999:.2},{:.2},{:.3},{:.3},{:.3}",
        sample.round,
        of.server,
        of.client,
        sample.events,
        sample.errors,
        sample.elapsed.as_secs_f64(),
        sample.rate(),
        micros(sample.latency.max()),
        sample.server_cpu_per_event.as_secs_f64() * 1e6,
        sample.client_cpu_per_event.as_secs_f64() * 1e6,
        sample.others,
    )
}

/// The first line of [`percentiles`].
pub(crate) const PERCENTILES_HEAD: &str = "pace,server,client,percentile,latency_us\n";

/// Latency by percentile, all rounds together.
pub(crate) fn percentiles(pace: &str, measured: &[Measured]) -> String {
    let mut out = String::new();
    for of in measured {
        for (quantile, latency) in curve(of) {
            let _ = writeln!(out, "{pace},\"{}\",{},{},{latency:.2}", of.server, of.client, quantile * 100.0);
        }
    }
    out
}

/// Latency (microseconds) by quantile, closer together the closer to 1, as far as there are events to tell.
pub(crate) fn curve(of: &Measured) -> Vec<(f64, f64)> {
    const STEPS_PER_NINE: u32 = 20;
    const NINES: u32 = 5;
    let latency = of.latency();
    let finest = 1.0 / latency.len().max(1) as f64;
    let quantiles =
        (0..=NINES * STEPS_PER_NINE).map(|step| 1.0 - 10f64.powf(-f64::from(step) / f64::from(STEPS_PER_NINE)));
    let known = quantiles.filter(|quantile| 1.0 - quantile >= finest);
    known.map(|quantile| (quantile, micros(latency.value_at_quantile(quantile)))).collect()
}

/// Nanoseconds as microseconds.
pub(crate) fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}
