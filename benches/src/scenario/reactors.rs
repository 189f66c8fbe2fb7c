//! Two clients of one daemon that has one reactor, and of one that has two: whether the second brings anything.

use std::path::Path;

use crate::client;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::mesh::{Mesh, Owner};
use crate::report::figure::{Figure, Unit, thousands};
use crate::report::table;
use crate::scenario::Report;
use crate::work::Work;
use statemesh_load::{Pace, Spec};

const NAME: &str = "events/s of 2 clients, 64 in flight each, 2 reactors : 1 reactor";
const IN_FLIGHT: usize = 64;
const CLIENTS: usize = 2;

/// A daemon, and what it did in each round.
struct Side {
    reactors: usize,
    mesh: Mesh,
    work: Work,
    rates: Vec<f64>,
}

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    match environment.daemon().and_then(|daemon| measure(environment, &daemon)) {
        Ok(report) => Ok(report),
        Err(why) => Ok(Report {
            figures: vec![Figure::not_measured(NAME, &why.to_string())],
            body: format!("Not measured: {why}"),
            ..Report::default()
        }),
    }
}

fn measure(environment: &Environment, daemon: &Path) -> Outcome<Report> {
    let mut sides = [start(environment, daemon, 1)?, start(environment, daemon, 2)?];
    let spec = environment.spec(Pace::Closed { in_flight: IN_FLIGHT });
    for round in 0..environment.rounds {
        for turn in 0..sides.len() {
            let index = (turn + round) % sides.len();
            if let Some(side) = sides.get_mut(index) {
                side.rates.push(rate(side, &spec)?);
            }
        }
    }
    let mean = |side: &Side| side.rates.iter().sum::<f64>() / side.rates.len().max(1) as f64;
    let row = |side: &Side| {
        let (least, most) = side.rates.iter().fold((f64::INFINITY, 0f64), |(l, m), rate| (l.min(*rate), m.max(*rate)));
        vec![side.reactors.to_string(), thousands(least), thousands(mean(side)), thousands(most)]
    };
    let [one, two] = &sides;
    Ok(Report {
        figures: vec![Figure::at_least(NAME, 1.0, mean(two) / mean(one).max(1.0), Unit::Times)],
        body: format!(
            "{CLIENTS} direct clients at a time, a thread each, {IN_FLIGHT} in flight each; {} interleaved rounds. The kernel deals new \
             connections out to the reactors by a hash, so in half of the rounds both clients have the same reactor: \
             the figure compares means.\n\n{}",
            environment.rounds,
            table::markdown(&["reactors", "least events/s", "mean", "most"], &[row(one), row(two)])
        ),
        ..Report::default()
    })
}

fn start(environment: &Environment, daemon: &Path, reactors: usize) -> Outcome<Side> {
    let mesh = Mesh::start_with(daemon, 1, &["--reactor-threads", &reactors.to_string()])?;
    mesh.define(&environment.machine("lamp"))?;
    let work = Work::new(&mesh.keys(Owner::Asked)?);
    Ok(Side { reactors, mesh, work, rates: Vec::new() })
}

/// Events a second of all clients together.
fn rate(side: &Side, spec: &Spec) -> Outcome<f64> {
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| client::direct(side.mesh.address(), &side.work, spec))).collect();
        clients.into_iter().try_fold(0.0, |sum, client| {
            let round = client.join().map_err(|_| Failure("a client's thread ended with a panic".to_owned()))??;
            Ok(sum + round.events as f64 / round.elapsed.as_secs_f64())
        })
    })
}
