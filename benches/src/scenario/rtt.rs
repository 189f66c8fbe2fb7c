//! Closed loop, one in flight: what a round trip costs.

use crate::contender::{
    Arena, BYTE_ECHO, CRATE_ECHO, DIRECT, FORWARDED, Field, ITS_OWN, LIBZMQ, LIBZMQ_ECHO, LOCAL, OWN_ECHO, REDIS,
    RESERVED,
};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::report::csv;
use crate::report::figure::Figure;
use crate::rounds::{self, Measured};
use crate::scenario::compare::{By, Side, pair, with_before, with_others};
use crate::scenario::{Report, table};
use statemesh_load::Pace;

const P50: By = By::Quantile(0.5);
const P99: By = By::Quantile(0.99);

/// Name, what is compared, ours, theirs, at most this many times theirs.
const FIGURES: [(&str, By, Side, Side, f64); 10] = [
    ("RTT p50, local owner : echo by the same reactor, direct client", P50, (LOCAL, DIRECT), (OWN_ECHO, DIRECT), 1.15),
    ("RTT p50, local owner : echo by the same reactor, libzmq client", P50, (LOCAL, LIBZMQ), (OWN_ECHO, LIBZMQ), 1.15),
    ("RTT p50, forwarded : local owner, direct client", P50, (FORWARDED, DIRECT), (LOCAL, DIRECT), 2.0),
    ("RTT p50, forwarded : local owner, libzmq client", P50, (FORWARDED, LIBZMQ), (LOCAL, LIBZMQ), 2.0),
    ("RTT p50, forwarded : echo by the same reactor, direct client", P50, (FORWARDED, DIRECT), (OWN_ECHO, DIRECT), 2.2),
    ("RTT p50, forwarded : echo by the same reactor, libzmq client", P50, (FORWARDED, LIBZMQ), (OWN_ECHO, LIBZMQ), 2.2),
    ("RTT p50, local owner : libzmq echo, libzmq client", P50, (LOCAL, LIBZMQ), (LIBZMQ_ECHO, LIBZMQ), 0.75),
    ("RTT p50, reserved core : libzmq echo, libzmq client", P50, (RESERVED, LIBZMQ), (LIBZMQ_ECHO, LIBZMQ), 0.5),
    ("RTT p50, local owner, direct client : Redis INCR", P50, (LOCAL, DIRECT), (REDIS, ITS_OWN), 1.0),
    ("RTT p99, local owner, direct client : Redis INCR", P99, (LOCAL, DIRECT), (REDIS, ITS_OWN), 1.0),
];

/// What the plot shows: with all contenders it would show nothing.
const PLOTTED_BY_LIBZMQ: [&str; 3] = [LOCAL, FORWARDED, LIBZMQ_ECHO];

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    let mut arena = Arena::start(environment, Field::All)?;
    let spec = environment.spec(Pace::Closed { in_flight: 1 });
    let contenders: Vec<_> = arena.contenders.iter().collect();
    let measured = rounds::interleave(&contenders, &spec, environment.rounds, &mut arena.left_out);
    let subtitle =
        "64-byte event to one of 1,000 keys, one in flight, TCP loopback; all rounds together; dashed: libzmq client";
    let plotted: Vec<&Measured> = measured.iter().filter(|of| is_plotted(of)).collect();
    Ok(Report {
        figures: figures(&measured),
        body: format!(
            "{}\n{}",
            table::contenders(&measured),
            table::note(environment.rounds, &measured, &arena.left_out)
        ),
        files: vec![
            ("rtt.csv".to_owned(), csv::SAMPLES_HEAD.to_owned() + &csv::samples("closed 1", &measured)),
            (
                "rtt-percentiles.csv".to_owned(),
                csv::PERCENTILES_HEAD.to_owned() + &csv::percentiles("closed 1", &measured),
            ),
        ],
        plots: vec![("rtt.svg".to_owned(), table::by_percentile("Round trip by percentile", subtitle, &plotted))],
    })
}

/// What a user would run; the echoes are for the table.
fn is_plotted(of: &Measured) -> bool {
    let for_the_table = [OWN_ECHO, BYTE_ECHO, CRATE_ECHO, RESERVED].contains(&of.server);
    match of.client {
        LIBZMQ => PLOTTED_BY_LIBZMQ.contains(&of.server),
        _ => !for_the_table && of.server != LIBZMQ_ECHO,
    }
}

fn figures(measured: &[Measured]) -> Vec<Figure> {
    let pairs =
        FIGURES.iter().map(|(name, by, ours, theirs, limit)| pair(measured, name, *by, *ours, *theirs, Some(*limit)));
    let others = [("p50", P50), ("p99", P99)].map(|(percentile, by)| {
        let name =
            format!("RTT {percentile}, local owner, direct client : the best of NATS, RabbitMQ, Pekko, Proto.Actor");
        with_others(measured, &name, by)
    });
    pairs.chain(others).chain(with_before(measured, "RTT p50", P50)).collect()
}
