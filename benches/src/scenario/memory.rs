//! What a million instances of examples/order weigh, each with an item in it: so each has a context of its own and a timer.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Outcome, While, failure};
use crate::lab::Lab;
use crate::mesh::{self, Mesh};
use crate::proc;
use crate::report::figure::{Figure, Unit, thousands};
use crate::scenario::Report;
use crate::scenario::idle::megabytes;

const NAME: &str = "a million instances of examples/order, resident";
const RESIDENT_MB: f64 = 512.0;
const INSTANCES: usize = 1_000_000;
/// Requests in one frame.
const BATCH: usize = 500;
/// Frames without an answer.
const IN_FLIGHT: usize = 8;
const PATIENCE: Duration = Duration::from_secs(30);
/// What was allocated only to take the load in is given back, or kept for good, after this.
const SETTLES_FOR: Duration = Duration::from_secs(3);

pub(crate) fn run(lab: &Lab) -> Outcome<Report> {
    match lab.daemon().and_then(|daemon| fill(lab, &daemon)) {
        Ok(report) => Ok(report),
        Err(why) => Ok(Report {
            figures: vec![Figure::not_measured(NAME, &why.to_string())],
            body: format!("Not measured: {why}"),
            ..Report::default()
        }),
    }
}

fn fill(lab: &Lab, daemon: &Path) -> Outcome<Report> {
    let mesh = Mesh::start(daemon, 1)?;
    mesh.define(&lab.root().join("examples/order/machine.json"))?;
    let pid = mesh.pids().first().copied().unwrap_or_default();
    let empty = proc::resident_bytes(pid)?;
    let begin = Instant::now();
    create(&mesh)?;
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

fn create(mesh: &Mesh) -> Outcome {
    let mut client = mesh::connect(mesh.address())?;
    let (mut next, mut answered) = (0, 0);
    while answered < INSTANCES {
        while next < INSTANCES && next - answered < IN_FLIGHT * BATCH {
            client.push(frame(next).as_bytes());
            next += BATCH;
        }
        client.flush().while_at("the direct client")?;
        let reply = client.receive(PATIENCE).while_at("the direct client")?;
        let replies: Value = serde_json::from_slice(reply.part_slice(0).unwrap_or_default()).while_at("a reply")?;
        let replies = replies.as_array().map_or(&[][..], Vec::as_slice);
        if let Some(bad) = replies.iter().find(|reply| reply["ok"] != true) {
            return failure(format!("a daemon refused an event: {bad}"));
        }
        if replies.len() != BATCH {
            return failure(format!("{} replies to {BATCH} requests", replies.len()));
        }
        answered += BATCH;
    }
    Ok(())
}

/// An array of requests.
fn frame(from: usize) -> String {
    let request = |n: usize| {
        format!(
            "{{\"op\":\"send\",\"id\":{n},\"machine\":\"order\",\"key\":\"{n:07}\",\"event\":{{\"type\":\"ADD\",\"price\":3,\"quantity\":2}}}}"
        )
    };
    let requests: Vec<String> = (from..from + BATCH).map(request).collect();
    format!("[{}]", requests.join(","))
}
