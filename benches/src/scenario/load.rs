//! Open loop: requests leave by the clock, whatever becomes of the answers, as they do when many users send them.

use crate::contender::{Arena, BYTE_ECHO, Contender, DIRECT, Field, RESERVED};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::report::csv::{self, micros};
use crate::report::figure::thousands;
use crate::report::plot::{Axis, Line, Plot};
use crate::report::table::markdown;
use crate::rounds::{self, Measured, Sample};
use crate::scenario::{Report, table};
use statemesh_load::Pace;

/// Requests a second.
const OFFERED: [u32; 7] = [1_000, 5_000, 20_000, 50_000, 100_000, 200_000, 500_000];
/// Enough for a median; seven loads take their time.
pub(super) const MAX_ROUNDS: usize = 3;
/// Contenders' turns in each round.
pub(super) const TURNS: usize = OFFERED.len() * 5;
/// A contender that answers less of what was offered than this, in the time of the offer and the wait, has fallen behind.
const KEEPS_UP: f64 = 0.95;

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    let mut arena = Arena::start(environment, Field::ZeroMq)?;
    // A client that polls and a server that never sleeps would leave no core to other processes; an
    // echo that reads no messages is there to show what a client can do when it does not poll.
    let takes_part = |of: &&Contender| of.client == DIRECT && ![RESERVED, BYTE_ECHO].contains(&of.server);
    let contenders: Vec<_> = arena.contenders.iter().filter(takes_part).collect();
    let rounds = environment.rounds.min(MAX_ROUNDS);
    let (mut samples, mut percentiles) = (csv::SAMPLES_HEAD.to_owned(), csv::PERCENTILES_HEAD.to_owned());
    let mut steps = Vec::new();
    for per_second in OFFERED {
        let measured =
            rounds::interleave(&contenders, &environment.spec(Pace::Open { per_second }), rounds, &mut arena.left_out);
        let pace = format!("open {per_second}/s");
        samples += &csv::samples(&pace, &measured);
        percentiles += &csv::percentiles(&pace, &measured);
        steps.push((per_second, measured));
    }
    let all: Vec<Measured> = steps.iter().flat_map(|(_, measured)| measured.clone()).collect();
    Ok(Report {
        figures: Vec::new(),
        body: format!(
            "p50 / p99 in microseconds by offered load, direct client (which polls, so its core is awake). Who has a star answered less \
             than {:.0} % of it in time: such a latency grows for as long as the load lasts.\n\n{}\n{}",
            KEEPS_UP * 100.0,
            by_load(&steps),
            table::note(rounds, &all, &arena.left_out)
        ),
        files: vec![("load.csv".to_owned(), samples), ("load-percentiles.csv".to_owned(), percentiles)],
        plots: [("load-p50.svg", 0.5, "Median"), ("load.svg", 0.99, "99th percentile of")]
            .map(|(name, quantile, what)| (name.to_owned(), plot(&steps, quantile, what)))
            .to_vec(),
    })
}

type Step = (u32, Vec<Measured>);

fn latency(of: &Measured, quantile: f64) -> f64 {
    micros(of.latency().value_at_quantile(quantile))
}

fn by_load(steps: &[Step]) -> String {
    let offered: Vec<String> =
        steps.iter().map(|(per_second, _)| format!("{}/s", thousands(f64::from(*per_second)))).collect();
    let head: Vec<&str> = std::iter::once("server").chain(offered.iter().map(String::as_str)).collect();
    let servers = steps.first().map_or(&[][..], |(_, measured)| measured);
    let row = |server: &str| {
        let cells = steps.iter().map(|(per_second, measured)| {
            table::find(measured, server, DIRECT).map_or("-".to_owned(), |of| {
                let [p50, p99] = [0.5, 0.99].map(|quantile| thousands(latency(of, quantile)));
                let behind = of.median(Sample::rate) < KEEPS_UP * f64::from(*per_second);
                format!("{p50} / {p99}{}", if behind { " *" } else { "" })
            })
        });
        std::iter::once(server.to_owned()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = servers.iter().map(|of| row(of.server)).collect();
    markdown(&head, &rows)
}

fn plot(steps: &[Step], quantile: f64, what: &str) -> String {
    let servers = steps.first().map_or(&[][..], |(_, measured)| measured);
    let line = |server: &'static str| Line {
        name: server.to_owned(),
        colour: table::colour(server),
        dashed: false,
        points: steps
            .iter()
            .filter_map(|(per_second, measured)| Some((*per_second, table::find(measured, server, DIRECT)?)))
            .map(|(per_second, of)| (f64::from(per_second).log10(), latency(of, quantile).log10()))
            .collect(),
    };
    let lines: Vec<Line> = servers.iter().map(|of| line(of.server)).collect();
    let (low, high) = table::extent(&lines);
    let (least, most) = (f64::from(OFFERED[0]), f64::from(OFFERED[OFFERED.len() - 1]));
    Plot {
        title: format!("{what} latency by offered load"),
        subtitle:
            "open loop, counted from when a request was due; one connection of the direct client; both axes logarithmic"
                .to_owned(),
        x: Axis::logarithmic("events a second", least, most, |rate| format!("{:.0}k", rate / 1_000.0)),
        y: table::microseconds(low, high),
        lines,
        marked: true,
    }
    .svg()
}
