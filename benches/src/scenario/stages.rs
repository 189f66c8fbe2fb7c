//! Where a round trip's time goes: the stages that a reply tells of (`"timing":true`) and the wire, beside what the client saw.
//!
//! The wire cannot be seen from either end, so it is the round trip to an echo by the same reactor, with the same bytes, in the
//! same round.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use omq_proto::SocketType;
use serde_json::Value;
use statemesh_client::Connection as Client;

use crate::contender::{FORWARDED, LOCAL, OWN_ECHO};
use crate::environment::Environment;
use crate::failure::{Outcome, While, failure};
use crate::mesh::{Mesh, Owner};
use crate::peers;
use crate::report::figure::{Figure, Unit};
use crate::report::table;
use crate::rounds::median;
use crate::scenario::Report;

/// Round trips of a turn, and before it.
const TRIPS: usize = 5_000;
const WARM_UP: usize = 500;
/// What the stages and the wire may differ by from what the client saw.
const WITHIN: f64 = 1.05;
const PATIENCE: Duration = Duration::from_secs(5);
const STAGES: [&str; 7] = ["read", "route", "queue", "step", "persist", "write", "forward"];

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    let daemon = environment.daemon()?;
    let own = std::env::current_exe().while_at("this program's path")?;
    let (_echo, echo) = peers::start_with_port(OWN_ECHO, Command::new(own).arg("echo"))?;
    let meshes = [(LOCAL, Mesh::start(&daemon, 1)?, Owner::Asked), (FORWARDED, Mesh::start(&daemon, 3)?, Owner::Other)];
    let mut report = Report::default();
    let mut rows = Vec::new();
    for (name, mesh, owner) in &meshes {
        mesh.define(&environment.machine("lamp"))?;
        let keys = mesh.keys(*owner)?;
        let (mut seen, mut told, mut wire) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..environment.rounds {
            wire.push(turn(echo, &keys)?.seen);
            let turn = turn(mesh.address(), &keys)?;
            seen.push(turn.seen);
            told.push(turn.told);
        }
        let ratios = seen.iter().zip(told.iter().zip(&wire)).map(|(seen, (told, wire))| seen / (told + wire));
        let ratio = median(ratios.collect());
        // Further off in either direction is worse.
        let off = ratio.max(1.0 / ratio);
        report.figures.push(Figure::at_most(
            &format!("RTT p50, {name}, direct client : its stages and the wire, in either direction"),
            WITHIN,
            off,
            Unit::Times,
        ));
        let micros = |of: Vec<f64>| format!("{:.1}", median(of));
        rows.push(vec![(*name).to_owned(), micros(seen), micros(told), micros(wire), format!("{ratio:.3}")]);
    }
    report.body = format!(
        "Microseconds, medians of {} rounds of the median of {TRIPS} round trips, one in flight, direct client, `\"timing\":true`. The \
         wire is the round trip of the same bytes to an echo by the same reactor.\n\n{}",
        environment.rounds,
        table::markdown(&["", "client saw", "stages", "wire", "seen : told"], &rows)
    );
    Ok(report)
}

/// Medians, in microseconds.
struct Turn {
    /// What the client saw.
    seen: f64,
    /// What the replies' stages add up to; 0 from an echo.
    told: f64,
}

fn turn(address: SocketAddr, keys: &[String]) -> Outcome<Turn> {
    let mut client = Client::connect(address, SocketType::Dealer, PATIENCE).while_at("the direct client")?;
    client.set_spin(PATIENCE);
    let (mut seen, mut told) = (Vec::with_capacity(TRIPS), Vec::with_capacity(TRIPS));
    for (trip, key) in keys.iter().cycle().take(WARM_UP + TRIPS).enumerate() {
        let request = format!(
            r#"{{"op":"send","id":{trip},"machine":"lamp","key":"{key}","event":{{"type":"NEXT"}},"timing":true}}"#
        );
        let start = Instant::now();
        client.push(request.as_bytes());
        client.flush().while_at("the direct client")?;
        let reply = client.receive(PATIENCE).while_at("the direct client")?;
        let took = start.elapsed();
        if trip >= WARM_UP {
            seen.push(took.as_secs_f64() * 1e6);
            told.push(stages(reply.part_slice(reply.len().saturating_sub(1)).unwrap_or_default(), trip)?);
        }
    }
    Ok(Turn { seen: median(seen), told: median(told) })
}

/// The sum of a reply's stages, in microseconds.
fn stages(reply: &[u8], id: usize) -> Outcome<f64> {
    let reply: Value = serde_json::from_slice(reply).while_at("a reply")?;
    if reply["id"] != id || reply["ok"] == false {
        return failure(format!("the answer to {id} is {reply}"));
    }
    Ok(STAGES.iter().filter_map(|stage| reply["timing"][stage].as_f64()).sum::<f64>() / 1e3)
}
