//! What a million instances of examples/order weigh, each with an item in it: so each has a context of its own and a timer.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::environment::Environment;
use crate::failure::Outcome;
use crate::filling::{self, BATCH};
use crate::mesh::Mesh;
use crate::proc;
use crate::report::figure::{Figure, Unit, thousands};
use crate::scenario::Report;
use crate::scenario::idle::megabytes;

const NAME: &str = "a million instances of examples/order, resident";
const RESIDENT_MB: f64 = 512.0;
const INSTANCES: usize = 1_000_000;
/// What was allocated only to take the load in is given back, or kept for good, after this.
const SETTLES_FOR: Duration = Duration::from_secs(3);

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    match environment.daemon().and_then(|daemon| fill(environment, &daemon)) {
        Ok(report) => Ok(report),
        Err(why) => Ok(Report {
            figures: vec![Figure::not_measured(NAME, &why.to_string())],
            body: format!("Not measured: {why}"),
            ..Report::default()
        }),
    }
}

fn fill(environment: &Environment, daemon: &Path) -> Outcome<Report> {
    let mesh = Mesh::start(daemon, 1)?;
    mesh.define(&environment.root().join("examples/order/machine.json"))?;
    let pid = mesh.pids().first().copied().unwrap_or_default();
    let empty = proc::resident_bytes(pid)?;
    let begin = Instant::now();
    filling::fill(&mesh, INSTANCES, request)?;
    let seconds = begin.elapsed().as_secs_f64();
    std::thread::sleep(SETTLES_FOR);
    let full = proc::resident_bytes(pid)?;
    let each = full.saturating_sub(empty) as f64 / INSTANCES as f64;
    Ok(Report {
        figures: vec![Figure::below(NAME, RESIDENT_MB, megabytes(full), Unit::Megabytes)],
        body: format!(
            "One daemon, {} instances with 7-byte keys, one `ADD` each, {BATCH} requests to a frame: {:.1} MB before, {:.1} MB after, \
             {each:.0} bytes for each instance (state, context, timer, key, history and tables). They were created in {seconds:.1} s, {}/s.",
            thousands(INSTANCES as f64),
            megabytes(empty),
            megabytes(full),
            thousands(INSTANCES as f64 / seconds)
        ),
        ..Report::default()
    })
}

fn request(n: usize) -> String {
    format!(
        "{{\"op\":\"send\",\"id\":{n},\"machine\":\"order\",\"key\":\"{n:07}\",\"event\":{{\"type\":\"ADD\",\"price\":3,\"quantity\":2}}}}"
    )
}
