//! What daemons with nothing to do cost: three that form a mesh, watched for a while.

use std::time::{Duration, Instant};

use crate::environment::Environment;
use crate::failure::Outcome;
use crate::mesh::Mesh;
use crate::proc;
use crate::report::figure::{Figure, Unit};
use crate::report::table;
use crate::scenario::Report;

const CPU: &str = "idle daemon of three, CPU";
const RESIDENT: &str = "idle daemon of three, resident";
const CPU_PERCENT: f64 = 1.0;
const RESIDENT_MB: f64 = 30.0;
const DAEMONS: usize = 3;
/// Joining is over, and so is what it set in motion.
const SETTLES_FOR: Duration = Duration::from_secs(5);
const WATCHED_FOR: Duration = Duration::from_secs(30);

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    match environment.daemon().and_then(|daemon| watch(environment, &Mesh::start(&daemon, DAEMONS)?)) {
        Ok(report) => Ok(report),
        Err(why) => Ok(Report {
            figures: [CPU, RESIDENT].map(|name| Figure::not_measured(name, &why.to_string())).to_vec(),
            body: format!("Not measured: {why}"),
            ..Report::default()
        }),
    }
}

fn watch(environment: &Environment, mesh: &Mesh) -> Outcome<Report> {
    mesh.define(&environment.machine("lamp"))?;
    std::thread::sleep(SETTLES_FOR);
    let pids = mesh.pids();
    let before: Vec<Duration> = pids.iter().map(|pid| proc::cpu(*pid)).collect();
    let begin = Instant::now();
    std::thread::sleep(WATCHED_FOR);
    let elapsed = begin.elapsed().as_secs_f64();
    let mut rows = Vec::new();
    let (mut most_cpu, mut most_resident) = (0.0f64, 0.0f64);
    for (index, (pid, before)) in pids.iter().zip(before).enumerate() {
        let cpu = proc::cpu(*pid).saturating_sub(before).as_secs_f64() / elapsed * 100.0;
        let resident = megabytes(proc::resident_bytes(*pid)?);
        (most_cpu, most_resident) = (most_cpu.max(cpu), most_resident.max(resident));
        rows.push(vec![format!("bench-{index}"), Unit::Percent.show(cpu), Unit::Megabytes.show(resident)]);
    }
    Ok(Report {
        figures: vec![
            Figure::below(CPU, CPU_PERCENT, most_cpu, Unit::Percent),
            Figure::below(RESIDENT, RESIDENT_MB, most_resident, Unit::Megabytes),
        ],
        body: format!(
            "Over {} s, {} s after the mesh was formed; the figure is the worst of the three.\n\n{}",
            WATCHED_FOR.as_secs(),
            SETTLES_FOR.as_secs(),
            table::markdown(&["daemon", "CPU of a core", "resident"], &rows)
        ),
        ..Report::default()
    })
}

/// Bytes in units of 2^20.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
