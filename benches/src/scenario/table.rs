//! What the scenarios that compare contenders have in common: their tables, notes and plots.

use crate::contender::{
    DIRECT, FORWARDED, ITS_OWN, LIBZMQ_ECHO, LOCAL, NATS, OWN_ECHO, PEKKO, PROTO_ACTOR, RABBITMQ, REDIS, RESERVED,
};
use crate::report::csv::{self, QUANTILES, micros};
use crate::report::figure::thousands;
use crate::report::plot::{Axis, COLOURS, Line, Plot};
use crate::report::table;
use crate::rounds::{Measured, Sample};

const HEAD: [&str; 9] = [
    "server, client",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "max us",
    "events/s",
    "server CPU s/M",
    "client CPU s/M",
    "others",
];

/// One line for each contender, all rounds together; what is said by round is the median of the rounds.
pub(crate) fn contenders(measured: &[Measured]) -> String {
    let row = |of: &Measured| {
        let latency = of.latency();
        let mut row = vec![format!("{}, {}", of.server, of.client)];
        row.extend(QUANTILES.map(|(_, quantile)| number(micros(latency.value_at_quantile(quantile)))));
        row.push(number(micros(latency.max())));
        row.push(thousands(of.median(Sample::rate)));
        // Microseconds for each event are seconds for a million.
        row.push(format!("{:.2}", of.median(|sample| sample.server_cpu_per_event.as_secs_f64() * 1e6)));
        row.push(format!("{:.2}", of.median(|sample| sample.client_cpu_per_event.as_secs_f64() * 1e6)));
        row.push(format!("{:.0} %", of.median(|sample| sample.others * 100.0)));
        row
    };
    table::markdown(&HEAD, &measured.iter().map(row).collect::<Vec<_>>())
}

/// How it was measured, how busy the machine was, and what did not take part.
pub(crate) fn note(rounds: usize, measured: &[Measured], left_out: &[String]) -> String {
    let all = || measured.iter().flat_map(|of| &of.samples);
    let samples = all().count();
    let noisy = all().filter(|sample| sample.others > NOISY).count();
    let worst = all().map(|sample| sample.others).fold(0.0, f64::max);
    let errors: u64 = measured.iter().map(Measured::errors).sum();
    let mut note = format!(
        "{} interleaved rounds. Something else used more than {:.0} % of a core in {noisy} of {samples} turns, at most {:.0} %. \
         {errors} answers were missing or not good.",
        rounds,
        NOISY * 100.0,
        worst * 100.0
    );
    for why in left_out {
        note += &format!(" Left out: {}.", why.trim_end_matches('.').replace('\n', " "));
    }
    note + "\n"
}

/// Beyond this share of a core a turn is called noisy.
const NOISY: f64 = 0.2;

/// The contender of this server and client, if it took part.
pub(crate) fn find<'a>(measured: &'a [Measured], server: &str, client: &str) -> Option<&'a Measured> {
    measured.iter().find(|of| of.server == server && of.client == client)
}

/// A server keeps its colour in every plot.
pub(crate) fn colour(server: &str) -> &'static str {
    let own = [LOCAL, FORWARDED, REDIS, NATS, RABBITMQ, PEKKO, PROTO_ACTOR, LIBZMQ_ECHO, OWN_ECHO];
    let server = if server == RESERVED { LOCAL } else { server };
    let place = own.iter().position(|name| *name == server);
    COLOURS[place.unwrap_or(COLOURS.len() - 1)]
}

/// Latency by percentile: the axis is stretched so that each further nine has the same room. It ends where one of the lines
/// has no more than a few events left to tell of: what is beyond is chance, and in the CSV.
pub(crate) fn by_percentile(title: &str, subtitle: &str, measured: &[&Measured]) -> String {
    let known = measured.iter().map(|of| (of.latency().len() as f64 / EVENTS_BEYOND).log10());
    let furthest = known.fold(NINES, f64::min).max(1.0);
    let points = |of: &Measured| {
        let all = csv::curve(of).into_iter().map(|(quantile, us)| (-(1.0 - quantile).log10(), us.log10()));
        all.filter(|(nines, _)| *nines <= furthest + 1e-9).collect()
    };
    let lines: Vec<Line> = measured
        .iter()
        .map(|of| Line {
            name: if of.client == ITS_OWN { of.server.to_owned() } else { format!("{}, {}", of.server, of.client) },
            colour: colour(of.server),
            dashed: !matches!(of.client, DIRECT | ITS_OWN),
            points: points(of),
        })
        .collect();
    let (low, high) = extent(&lines);
    let ticks = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"];
    let ticks = ticks.iter().enumerate().map(|(nines, label)| (nines as f64, (*label).to_owned()));
    let mut ticks: Vec<(f64, String)> = ticks.filter(|(nines, _)| *nines <= furthest + 1e-9).collect();
    ticks.insert(1, (-(0.5f64.log10()), "50 %".to_owned()));
    Plot {
        title: title.to_owned(),
        subtitle: subtitle.to_owned(),
        x: Axis { label: "percentile".to_owned(), ticks, low: 0.0, high: furthest },
        y: microseconds(low, high),
        lines,
        marked: false,
    }
    .svg()
}

/// Slower events than a percentile that a plot shows, at least.
const EVENTS_BEYOND: f64 = 10.0;
/// The furthest that a plot goes: 99.999 %.
const NINES: f64 = 5.0;

/// A logarithmic axis of latencies.
pub(crate) fn microseconds(low: f64, high: f64) -> Axis {
    Axis::logarithmic("latency", low, high, |us| match us {
        ..1e3 => format!("{us:.0} us"),
        ..1e6 => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.0} s", us / 1e6),
    })
}

/// The least and the most latency of lines that are plotted as logarithms, with a little room.
pub(crate) fn extent(lines: &[Line]) -> (f64, f64) {
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if low.is_finite() { (10f64.powf(low) / 1.15, 10f64.powf(high) * 1.15) } else { (1.0, 1_000.0) }
}

/// Microseconds for a table.
pub(crate) fn number(us: f64) -> String {
    if us < 100.0 { format!("{us:.1}") } else { thousands(us) }
}
