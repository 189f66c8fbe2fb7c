//! Closed loop with many in flight: how many events a second one client gets through.

use crate::contender::{
    Arena, BYTE_ECHO, Contender, DIRECT, FORWARDED, Field, ITS_OWN, LIBZMQ, LIBZMQ_ECHO, LOCAL, REDIS, RESERVED,
};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::report::bars::{Bar, Bars};
use crate::report::csv;
use crate::report::figure::{Figure, Unit};
use crate::rounds::{self, Measured, Sample};
use crate::scenario::compare::{By, pair, with_before, with_others};
use crate::scenario::{Report, table};
use statemesh_load::Pace;

/// 64 in flight from one client must give at least this many events a second (2 cores).
const EVENTS_PER_SECOND: f64 = 500_000.0;
/// 512 in flight by libzmq: this many times what libzmq's own echo gives.
const TIMES_LIBZMQ: f64 = 1.8;
/// 256 in flight by the direct client: this many times Redis INCR.
const TIMES_REDIS: f64 = 3.0;
/// Requests in flight with which all contenders are compared; the others are for those that speak ZeroMQ.
const FOR_ALL: usize = 256;

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    let mut arena = Arena::start(environment, Field::All)?;
    let mut report = Report::default();
    let (mut samples, mut percentiles) = (csv::SAMPLES_HEAD.to_owned(), csv::PERCENTILES_HEAD.to_owned());
    for in_flight in [64, FOR_ALL, 512] {
        // A server that never sleeps differs from one that has no time to.
        let takes_part = |of: &&Contender| of.server != RESERVED && (in_flight == FOR_ALL || of.client != ITS_OWN);
        let contenders: Vec<_> = arena.contenders.iter().filter(takes_part).collect();
        let measured = rounds::interleave(
            &contenders,
            &environment.spec(Pace::Closed { in_flight }),
            environment.rounds,
            &mut arena.left_out,
        );
        let pace = format!("closed {in_flight}");
        samples += &csv::samples(&pace, &measured);
        percentiles += &csv::percentiles(&pace, &measured);
        report.body += &format!(
            "{in_flight} in flight:\n\n{}\n{}\n",
            table::contenders(&measured),
            table::note(environment.rounds, &measured, &arena.left_out)
        );
        report.figures.extend(match in_flight {
            64 => at_64(&measured),
            FOR_ALL => at_256(&measured),
            _ => at_512(&measured),
        });
        report.figures.extend(with_before(&measured, &format!("events/s, {in_flight} in flight"), By::Rate));
        if in_flight == FOR_ALL {
            report.plots = vec![("rate.svg".to_owned(), plot(&measured))];
        }
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

fn at_256(measured: &[Measured]) -> Vec<Figure> {
    let others = "the best of NATS, RabbitMQ, Pekko, Proto.Actor";
    vec![
        pair(
            measured,
            "events/s, 256 in flight, local owner, direct client : Redis INCR",
            By::Rate,
            (LOCAL, DIRECT),
            (REDIS, ITS_OWN),
            Some(TIMES_REDIS),
        ),
        with_others(measured, &format!("events/s, 256 in flight, local owner, direct client : {others}"), By::Rate),
        with_others(
            measured,
            &format!("p99, 256 in flight, local owner, direct client : {others}"),
            By::Quantile(0.99),
        ),
    ]
}

fn at_512(measured: &[Measured]) -> Vec<Figure> {
    let echo = (LIBZMQ_ECHO, LIBZMQ);
    let name = "events/s, 512 in flight, local owner : libzmq echo, libzmq client";
    let ceiling = "events/s, 512 in flight, bytes given back : libzmq echo, libzmq client (what any server could have)";
    vec![
        pair(measured, name, By::Rate, (LOCAL, LIBZMQ), echo, Some(TIMES_LIBZMQ)),
        pair(measured, ceiling, By::Rate, (BYTE_ECHO, LIBZMQ), echo, None),
    ]
}

fn plot(measured: &[Measured]) -> String {
    let bars = measured.iter().map(|of| Bar {
        name: if of.client == ITS_OWN { of.server.to_owned() } else { format!("{}, {} client", of.server, of.client) },
        colour: table::colour(of.server),
        value: of.median(Sample::rate),
    });
    Bars {
        title: "Events a second".to_owned(),
        subtitle: format!(
            "64-byte events to 1,000 keys, {FOR_ALL} in flight from one connection; median of the rounds"
        ),
        bars: bars.collect(),
    }
    .svg()
}
