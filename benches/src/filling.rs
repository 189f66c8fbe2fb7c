//! Many instances in one daemon, soon: requests in arrays, some arrays in flight.

use std::time::Duration;

use serde_json::Value;

use crate::failure::{Outcome, While, failure};
use crate::mesh::{self, Mesh};

/// Requests in one frame.
pub(crate) const BATCH: usize = 500;
/// Frames without an answer.
const IN_FLIGHT: usize = 8;
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends the first daemon `count` requests, a multiple of [`BATCH`], of which each must be answered with `"ok":true`.
pub(crate) fn fill(mesh: &Mesh, count: usize, request: impl Fn(usize) -> String) -> Outcome {
    let mut client = mesh::connect(mesh.address())?;
    let (mut next, mut answered) = (0, 0);
    while answered < count {
        while next < count && next - answered < IN_FLIGHT * BATCH {
            let requests: Vec<String> = (next..next + BATCH).map(&request).collect();
            client.push(format!("[{}]", requests.join(",")).as_bytes());
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
