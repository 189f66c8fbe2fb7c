//! What an unrelated event notices of a million timers that are due within one second. The same load runs before they are
//! due, and while they are.

use std::path::Path;
use std::time::{Duration, Instant};

use statemesh_client::{Ask, Encoding, Op};

use crate::client::{self, spec};
use crate::environment::Environment;
use crate::failure::{Outcome, failure};
use crate::filling;
use crate::mesh::{self, Mesh};
use crate::report::figure::{Figure, Unit, thousands};
use crate::report::table;
use crate::scenario::Report;
use crate::work::{self, Work};
use statemesh_load::{Pace, Round};

const NAME: &str = "a million timers due within one second: what that adds to an unrelated event's p99";
const ADDED_NANOS: f64 = 1_000_000.0;
const TIMERS: usize = 1_000_000;
/// They are due evenly spread over this.
const WITHIN: Duration = Duration::from_secs(1);
/// From the first event to the first timer: all have to be set by then, and the calm round be over.
const LEAD: Duration = Duration::from_secs(60);
/// Before the timers are due the load begins, so that it does not measure its own beginning.
const WARM_UP: Duration = Duration::from_millis(500);
/// Offered load: a tenth of a percent of it is enough for a p99.9.
const PER_SECOND: u32 = 5_000;
/// Instances that are looked at afterwards.
const LOOKED_AT: usize = 1_000;
/// Timers that are later than this count as lost.
const LATE_AT_MOST: Duration = Duration::from_secs(60);

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
    let mesh = Mesh::start(daemon, 1)?;
    mesh.define(&environment.machine("alarm"))?;
    mesh.define(&environment.machine("lamp"))?;
    let work = Work::new(&work::keys(0, work::KEYS));
    let due = Instant::now() + LEAD;
    let begun = Instant::now();
    filling::fill(&mesh, TIMERS, |n| arm(n, due))?;
    let filled = begun.elapsed();
    let spec = spec(Pace::Open { per_second: PER_SECOND }, WARM_UP, WITHIN);
    let calm = client::direct(mesh.address(), &work, &spec)?;
    let Some(left) = due.checked_duration_since(Instant::now() + WARM_UP) else {
        return failure(format!("setting the timers took {filled:?}, too long for {LEAD:?}"));
    };
    std::thread::sleep(left);
    let busy = client::direct(mesh.address(), &work, &spec)?;
    if calm.errors.total() + busy.errors.total() > 0 {
        return failure(format!("{} events without a good answer", calm.errors.total() + busy.errors.total()));
    }
    let late = all_rang(&mesh, due + WITHIN)?;
    Ok(report(&calm, &busy, filled, late))
}

fn arm(n: usize, due: Instant) -> String {
    let ms = (due.saturating_duration_since(Instant::now()).as_millis()) as usize + n % WITHIN.as_millis() as usize;
    format!(
        "{{\"op\":\"send\",\"id\":{n},\"machine\":\"alarm\",\"key\":\"{n:07}\",\"event\":{{\"type\":\"ARM\",\"ms\":{ms}}}}}"
    )
}

/// Waits until each of some instances has fired, and says how long after the last was due that was.
fn all_rang(mesh: &Mesh, last_due: Instant) -> Outcome<Duration> {
    let mut client = mesh::connect(mesh.address())?;
    for n in (0..TIMERS).step_by(TIMERS / LOOKED_AT) {
        let key = format!("{n:07}");
        let get = Ask::about(Op::Get, Encoding::Json, "alarm", &key);
        while mesh::ask(&mut client, &get)?["value"] != "rang" {
            if last_due.elapsed() > LATE_AT_MOST {
                return failure(format!("the timer of alarm/{n:07} did not fire within {LATE_AT_MOST:?}"));
            }
        }
    }
    Ok(last_due.elapsed())
}

fn report(calm: &Round, busy: &Round, filled: Duration, late: Duration) -> Report {
    let quantile = |round: &Round, of: f64| round.latency.value_at_quantile(of) as f64;
    let row = |name: &str, round: &Round| {
        let cells = [0.5, 0.99, 0.999, 1.0].map(|of| thousands(quantile(round, of) / 1_000.0));
        let counts = [round.events.to_string(), round.errors.total().to_string()];
        std::iter::once(name.to_owned()).chain(cells).chain(counts).collect()
    };
    let rows: Vec<Vec<String>> = vec![row("before", calm), row("while they are due", busy)];
    let added = quantile(busy, 0.99) - quantile(calm, 0.99);
    Report {
        figures: vec![Figure::at_most(NAME, ADDED_NANOS, added.max(0.0), Unit::Nanos)],
        body: format!(
            "One daemon; {} instances, set within {:.1} s; {PER_SECOND} events a second to other instances, open loop. {LOOKED_AT} \
             instances were looked at: all had fired at the latest {:.2} s after the last timer was due.\n\n{}",
            thousands(TIMERS as f64),
            filled.as_secs_f64(),
            late.as_secs_f64(),
            table::markdown(&["", "p50 us", "p99 us", "p99.9 us", "max us", "events", "errors"], &rows)
        ),
        ..Report::default()
    }
}
