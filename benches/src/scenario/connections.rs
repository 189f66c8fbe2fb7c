//! Many connections, each sending once a second: what one weighs when it is idle, and what many of them do to latency. They are
//! compared with few that send as much in all, so that what differs is their number.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::client::{Client, Session, spec};
use crate::environment::Environment;
use crate::failure::{Outcome, failure};
use crate::mesh::{Mesh, Owner};
use crate::peers;
use crate::proc;
use crate::report::csv::micros;
use crate::report::figure::{Figure, Unit, thousands};
use crate::report::table;
use crate::rounds::median;
use crate::scenario::idle::megabytes;
use crate::scenario::{self, Report};
use crate::work::Work;
use statemesh_load::{Pace, Round};

const WEIGHT: &str = "an idle connection of 10,000, resident";
const P99: &str = "p99, 10,000 connections : 10 connections, 10,000 events/s in all";
const WEIGHT_BYTES: f64 = 8_192.0;
const P99_TIMES: f64 = 2.0;
const FEW: usize = 10;
const MANY: usize = 10_000;
const PER_SECOND: u32 = 10_000;
const MEASURED: Duration = Duration::from_secs(2);
pub(super) const MAX_ROUNDS: usize = 5;
/// What was needed only for the handshakes, or for the load, is given back, or kept for good, after this.
const SETTLES_FOR: Duration = Duration::from_secs(3);
/// Both ends of the connections, and what a daemon has open besides.
const FILES: u64 = MANY as u64 + 1_000;

/// A daemon with its connections.
struct Side {
    mesh: Mesh,
    work: Work,
    client: Client,
    empty: u64,
    rounds: Vec<Round>,
}

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    match environment.daemon().and_then(|daemon| measure(environment, &daemon)) {
        Ok(report) => Ok(report),
        Err(why) => Ok(Report {
            figures: [WEIGHT, P99].map(|name| Figure::not_measured(name, &why.to_string())).to_vec(),
            body: format!("Not measured: {why}"),
            ..Report::default()
        }),
    }
}

fn measure(environment: &Environment, daemon: &Path) -> Outcome<Report> {
    let open = proc::allow_open_files();
    if open < FILES {
        return failure(format!("this process may have {open} files open, {FILES} are needed (ulimit -n)"));
    }
    let program = peers::compile(environment, "many_client", &[])?;
    let mut few = connect(environment, daemon, &program, FEW)?;
    let mut many = connect(environment, daemon, &program, MANY)?;
    std::thread::sleep(SETTLES_FOR);
    let connected = each(&many)?;
    let spec = spec(Pace::Open { per_second: PER_SECOND }, MEASURED / 4, MEASURED);
    for round in 0..environment.rounds.min(MAX_ROUNDS) {
        let mut sides = [&mut few, &mut many];
        sides.rotate_left(round % 2);
        for side in sides {
            let (result, _) = side.client.run(side.mesh.address(), &side.work, &spec, environment.out())?;
            side.rounds.push(result);
        }
    }
    std::thread::sleep(SETTLES_FOR);
    let idle = each(&many)?;
    let quotients = many.rounds.iter().zip(&few.rounds).map(|(many, few)| at(many, 0.99) / at(few, 0.99).max(0.1));
    let row = |connections: usize, side: &Side| {
        let of = |quantile| median(side.rounds.iter().map(|round| at(round, quantile)).collect());
        let errors: u64 = side.rounds.iter().map(|round| round.errors.total()).sum();
        let resident =
            resident(side).map_or_else(|why| why.to_string(), |bytes| Unit::Megabytes.show(megabytes(bytes)));
        let latency = [0.5, 0.99, 0.999].map(|quantile| scenario::table::number(of(quantile)));
        [&[thousands(connections as f64)], &latency[..], &[resident, errors.to_string()]].concat()
    };
    Ok(Report {
        figures: vec![
            Figure::at_most(WEIGHT, WEIGHT_BYTES, connected.max(idle), Unit::Bytes),
            Figure::at_most(P99, P99_TIMES, median(quotients.collect()), Unit::Times),
        ],
        body: format!(
            "Open loop, {} events/s in all, so each of {} connections sends once a second; latency from when a request was due, \
             medians of {} interleaved rounds. A daemon for each; a connection has added {} bytes before its first event, {} after \
             all rounds, idle for {} s (the daemon's resident memory; the kernel's buffers are not in it).\n\n{}",
            thousands(f64::from(PER_SECOND)),
            thousands(MANY as f64),
            few.rounds.len(),
            thousands(connected),
            thousands(idle),
            SETTLES_FOR.as_secs(),
            table::markdown(
                &["connections", "p50 us", "p99 us", "p99.9 us", "daemon", "errors"],
                &[row(FEW, &few), row(MANY, &many)]
            )
        ),
        ..Report::default()
    })
}

fn connect(environment: &Environment, daemon: &Path, program: &Path, count: usize) -> Outcome<Side> {
    // What asks for keys and definitions needs some too.
    let limit = (MANY + 100).to_string();
    let mesh = Mesh::start_with(
        daemon,
        1,
        &[
            "--limits-connections",
            &limit,
            "--limits-connections-per-address",
            &limit,
            "--limits-connections-per-second",
            &limit,
        ],
    )?;
    mesh.define(&environment.machine("lamp"))?;
    let work = Work::new(&mesh.keys(Owner::Asked)?);
    let empty = mesh.pids().first().map_or(Ok(0), |pid| proc::resident_bytes(*pid))?;
    let session = Session::start(Command::new(program).args([mesh.address().port().to_string(), count.to_string()]))?;
    session.wait()?;
    Ok(Side { mesh, work, client: Client::Session(session), empty, rounds: Vec::new() })
}

/// Microseconds.
fn at(round: &Round, quantile: f64) -> f64 {
    micros(round.latency.value_at_quantile(quantile))
}

fn resident(side: &Side) -> Outcome<u64> {
    side.mesh.pids().first().map_or(Ok(0), |pid| proc::resident_bytes(*pid))
}

/// Bytes that each of the many connections has added.
fn each(side: &Side) -> Outcome<f64> {
    Ok(resident(side)?.saturating_sub(side.empty) as f64 / MANY as f64)
}
