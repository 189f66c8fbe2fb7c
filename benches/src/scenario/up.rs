//! How long `statemesh up` takes: from the start of the process until its table is printed, which is when three daemons have
//! found each other through DNS, share the keys, and run the machines under examples/.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::environment::Environment;
use crate::failure::{Outcome, While, failure};
use crate::proc::Process;
use crate::report::figure::{Figure, Unit};
use crate::rounds::median;
use crate::scenario::Report;

const NAME: &str = "`up` is ready, three daemons with the examples";
const READY_SECONDS: f64 = 2.0;
pub(super) const MAX_STARTS: usize = 5;
/// The port that clients of the first daemon have by default.
const CLIENTS_PORT: u16 = 7400;
const ENDS_WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    match starts(environment) {
        Err(why) => Ok(Report {
            figures: vec![Figure::not_measured(NAME, &why.to_string())],
            body: format!("Not measured: {why}"),
            ..Report::default()
        }),
        Ok(seconds) => {
            let shown: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.2}")).collect();
            let slowest = seconds.iter().copied().fold(0.0, f64::max);
            Ok(Report {
                figures: vec![Figure::at_most(NAME, READY_SECONDS, slowest, Unit::Seconds)],
                body: format!(
                    "Seconds until the table is printed, {} starts: {}. Median {:.2}; the figure is the slowest.",
                    seconds.len(),
                    shown.join(", "),
                    median(seconds)
                ),
                ..Report::default()
            })
        }
    }
}

fn starts(environment: &Environment) -> Outcome<Vec<f64>> {
    let daemon = environment.daemon()?;
    if TcpStream::connect((Ipv4Addr::LOCALHOST, CLIENTS_PORT)).is_ok() {
        return failure(format!("port {CLIENTS_PORT} is in use: another mesh runs on this machine"));
    }
    (0..environment.rounds.min(MAX_STARTS)).map(|_| once(environment, &daemon)).collect()
}

fn once(environment: &Environment, daemon: &std::path::Path) -> Outcome<f64> {
    let mut command = Command::new(daemon);
    let said = environment.out().join("up.stderr");
    let stderr = std::fs::File::create(&said).while_at(said.display())?;
    command.arg("up").current_dir(environment.root()).stdout(Stdio::piped()).stderr(stderr);
    let begin = Instant::now();
    let mut process = Process::start(&mut command)?;
    let stdout = process.child().stdout.take();
    let mut lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok);
    // The table comes first; its head alone would be too early.
    if lines.find(|line| line.contains("7400")).is_none() {
        let status = process.child().wait().while_at("statemesh up")?;
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        return failure(format!("`statemesh up` ended with {status} before it was ready: {}", said.trim()));
    }
    let seconds = begin.elapsed().as_secs_f64();
    process.interrupt(ENDS_WITHIN)?;
    Ok(seconds)
}
