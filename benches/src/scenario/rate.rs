//! Closed loop with many in flight: how many events a second one client gets through.

use crate::contender::{Arena, DIRECT, FORWARDED, Field, LIBZMQ, LIBZMQ_ECHO, LOCAL};
use crate::failure::Outcome;
use crate::lab::Lab;
use crate::load::Pace;
use crate::report::csv;
use crate::report::figure::{Figure, Unit};
use crate::rounds::{self, Measured, Sample};
use crate::scenario::{Report, table};

/// 64 in flight from one client must give at least this many events a second (2 cores).
const EVENTS_PER_SECOND: f64 = 500_000.0;
/// 512 in flight by libzmq: this many times what libzmq's own echo gives.
const TIMES_LIBZMQ: f64 = 1.8;

pub(crate) fn run(lab: &Lab) -> Outcome<Report> {
    let arena = Arena::start(lab, Field::All)?;
    let mut report = Report::default();
    let (mut samples, mut percentiles) = (csv::SAMPLES_HEAD.to_owned(), csv::PERCENTILES_HEAD.to_owned());
    for in_flight in [64, 512] {
        let measured = rounds::interleave(&arena.contenders, &lab.spec(Pace::Closed { in_flight }), lab.rounds)?;
        let pace = format!("closed {in_flight}");
        samples += &csv::samples(&pace, &measured);
        percentiles += &csv::percentiles(&pace, &measured);
        report.body += &format!(
            "{in_flight} in flight:\n\n{}\n{}\n",
            table::contenders(&measured),
            table::note(lab, &measured, &arena)
        );
        report.figures.extend(if in_flight == 64 { at_64(&measured) } else { at_512(&measured) });
    }
    report.files = vec![("rate.csv".to_owned(), samples), ("rate-percentiles.csv".to_owned(), percentiles)];
    Ok(report)
}

fn at_64(measured: &[Measured]) -> Vec<Figure> {
    let figure = |name: &str, server, client, target: Option<f64>| match (table::find(measured, server, client), target)
    {
        (None, _) => Figure::not_measured(name, "the contender was left out"),
        (Some(of), Some(target)) => Figure::at_least(name, target, of.median(Sample::rate), Unit::PerSecond),
        (Some(of), None) => Figure::info(name, of.median(Sample::rate), Unit::PerSecond),
    };
    vec![
        figure("events/s, 64 in flight, local owner, direct client", LOCAL, DIRECT, Some(EVENTS_PER_SECOND)),
        figure("events/s, 64 in flight, local owner, libzmq client", LOCAL, LIBZMQ, Some(EVENTS_PER_SECOND)),
        figure("events/s, 64 in flight, forwarded, direct client", FORWARDED, DIRECT, None),
    ]
}

fn at_512(measured: &[Measured]) -> Vec<Figure> {
    let name = "events/s, 512 in flight, local owner : libzmq echo, libzmq client";
    let pair = (table::find(measured, LOCAL, LIBZMQ), table::find(measured, LIBZMQ_ECHO, LIBZMQ));
    let figure = match pair {
        (Some(ours), Some(theirs)) => {
            Figure::at_least(name, TIMES_LIBZMQ, ours.against(theirs, Sample::rate), Unit::Times)
        }
        _ => Figure::not_measured(name, "a contender was left out"),
    };
    vec![figure]
}
