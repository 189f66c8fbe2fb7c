//! Closed loop, one in flight: what a round trip costs.

use crate::contender::{Arena, DIRECT, FORWARDED, Field, LIBZMQ, LIBZMQ_ECHO, LOCAL, OWN_ECHO};
use crate::failure::Outcome;
use crate::lab::Lab;
use crate::load::Pace;
use crate::report::csv;
use crate::report::figure::{Figure, Unit};
use crate::rounds::{self, Measured, p50_us};
use crate::scenario::{Report, table};

/// Name, server, the server it is compared with, client, at most this many times its p50.
const FIGURES: [(&str, &str, &str, &str, f64); 7] = [
    ("RTT p50, local owner : echo by the same reactor, direct client", LOCAL, OWN_ECHO, DIRECT, 1.15),
    ("RTT p50, local owner : echo by the same reactor, libzmq client", LOCAL, OWN_ECHO, LIBZMQ, 1.15),
    ("RTT p50, forwarded : local owner, direct client", FORWARDED, LOCAL, DIRECT, 2.2),
    ("RTT p50, forwarded : local owner, libzmq client", FORWARDED, LOCAL, LIBZMQ, 2.2),
    ("RTT p50, forwarded : echo by the same reactor, direct client", FORWARDED, OWN_ECHO, DIRECT, 2.2),
    ("RTT p50, forwarded : echo by the same reactor, libzmq client", FORWARDED, OWN_ECHO, LIBZMQ, 2.2),
    ("RTT p50, local owner : libzmq echo, libzmq client", LOCAL, LIBZMQ_ECHO, LIBZMQ, 0.75),
];

pub(crate) fn run(lab: &Lab) -> Outcome<Report> {
    let arena = Arena::start(lab, Field::All)?;
    let spec = lab.spec(Pace::Closed { in_flight: 1 });
    let measured = rounds::interleave(&arena.contenders, &spec, lab.rounds)?;
    let subtitle = "64-byte event to one of 1,000 keys, one in flight, TCP loopback; each line all rounds together";
    Ok(Report {
        figures: FIGURES.iter().map(|figure| compare(&measured, *figure)).collect(),
        body: format!("{}\n{}", table::contenders(&measured), table::note(lab, &measured, &arena)),
        files: vec![
            ("rtt.csv".to_owned(), csv::SAMPLES_HEAD.to_owned() + &csv::samples("closed 1", &measured)),
            (
                "rtt-percentiles.csv".to_owned(),
                csv::PERCENTILES_HEAD.to_owned() + &csv::percentiles("closed 1", &measured),
            ),
        ],
        plots: vec![("rtt.svg".to_owned(), table::by_percentile("Round trip by percentile", subtitle, &measured))],
    })
}

fn compare(measured: &[Measured], (name, ours, theirs, client, limit): (&str, &str, &str, &str, f64)) -> Figure {
    match (table::find(measured, ours, client), table::find(measured, theirs, client)) {
        (Some(ours), Some(theirs)) => Figure::at_most(name, limit, ours.against(theirs, p50_us), Unit::Times),
        _ => Figure::not_measured(name, "a contender was left out"),
    }
}
