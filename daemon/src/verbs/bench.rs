//! `bench`: steady load on a mesh, from as many connections as wanted, and the proof that nothing was lost or applied twice.

use super::args::BenchArgs;
use crate::config::Target;
use crate::connect::{connect, target};
use crate::failure::{Exit, Failure, INTERRUPTED};
use crate::output::{Printer, Style, Table, say};
use crate::remote::{self, unreachable};
use serde_json::{Value, json};
use statemesh_client::{Ask, ErrorCode, Op};
use statemesh_load::{
    Each, Endpoint, HistoryChecker, MAX_SLOTS, OpenError, Pace, Refusal, Round, Sends, Spec, Work, run,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// The machine that is defined if none is named, and its event.
const MACHINE: &str = "statemesh-bench";
const EVENT: &str = "ADD";
/// Connections at most: a thread each.
const MAX_CONNECTIONS: usize = 256;
/// Instances that are looked at, or stopped, at a time when all is done.
const LOOKED_AT: usize = 64;
/// Between two lines that say how far a run is.
const PROGRESS: Duration = Duration::from_secs(10);
/// Between two attempts to connect for that.
const CONNECT_AGAIN: Duration = Duration::from_millis(100);

/// Sends load for a while, and prints what came of it.
pub(crate) async fn bench(args: &BenchArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let plan = Plan::of(args)?;
    let target = target(&args.connect, file)?;
    match &args.machine {
        None => define(args, file)?,
        Some(machine) => must_be_defined(machine, args, file)?,
    }
    let stop = Arc::new(AtomicBool::new(false));
    tokio::spawn(heed_signals(Arc::clone(&stop)));
    say!("{}; Ctrl-C ends it early", plan.in_words());
    let progress = tokio::spawn(progress(plan.spec.warm_up + plan.spec.measured));
    let ran = tokio::task::spawn_blocking(move || {
        let result = plan.run(&target, &stop);
        (plan, target, result)
    });
    let ran = ran.await;
    progress.abort();
    let (plan, target, result) = ran.map_err(|error| Failure::new(Exit::Refused, "bench", error.to_string()))?;
    let result = result.map_err(|error| unreachable(&target.addresses.join(", "), &error.to_string()))?;
    let report = plan.report(&result);
    printer.answer(&report, || table(&report))?;
    if result.moved_nothing() && result.round.answered == 0 {
        let message = "no event was answered: this has measured nothing";
        return Err(Failure::new(Exit::Refused, "nothing_moved", message).hint("--duration gives it more time"));
    }
    if result.moved_nothing() {
        let message = format!("no {} was a transition: this has measured events that come to nothing", plan.event);
        return Err(Failure::new(Exit::Refused, "nothing_moved", message).hint(
            "statemesh explain MACHINE/KEY EVENT says why; statemesh check and draw show what a machine reacts to",
        ));
    }
    if result.is_flawless() { Ok(()) } else { Err(Failure::silent(Exit::Refused)) }
}

/// A long run is seen to go on.
async fn progress(whole: Duration) {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(PROGRESS);
    // The first tick comes at once.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        say!("{} s of {} s", began.elapsed().as_secs(), whole.as_secs());
    }
}

/// A machine that is not defined would be refused as often as there are events. A client that may not list machines finds out so.
fn must_be_defined(machine: &str, args: &BenchArgs, file: Option<&Path>) -> Result<(), Failure> {
    let mut client = connect(&args.connect, file)?;
    let Ok(machines) = client.ask(&remote::ask(Op::Machines)) else { return Ok(()) };
    let names: Vec<_> =
        machines["machines"].as_array().into_iter().flatten().map(|found| super::text(&found["id"])).collect();
    if names.iter().any(|name| name == machine) {
        return Ok(());
    }
    Err(super::unknown_machine(machine, &names))
}

/// A first signal ends the run early, a second one the program.
async fn heed_signals(stop: Arc<AtomicBool>) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    }
}

/// Defines the machine. A client that may not do that may still find it defined.
fn define(args: &BenchArgs, file: Option<&Path>) -> Result<(), Failure> {
    let mut client = connect(&args.connect, file)?;
    let definition = machine().to_string();
    let define = Ask { definition: Some(definition.as_bytes()), ..remote::ask(Op::Define) };
    let Err(failure) = client.ask(&define) else { return Ok(()) };
    let machines = client.ask(&remote::ask(Op::Machines)).unwrap_or_default();
    let defined = machines["machines"].as_array().into_iter().flatten().any(|machine| machine["id"] == MACHINE);
    if failure.reply == Some(ErrorCode::Forbidden) && defined {
        return Ok(());
    }
    Err(failure.hint("--machine and --event use a machine that is defined"))
}

/// It counts its events, and does nothing else.
fn machine() -> Value {
    let count = json!({"@expr": "context.count + 1"});
    json!({
        "id": MACHINE, "context": {"count": 0}, "initial": "counting",
        "states": {"counting": {"on": {EVENT: {"actions": [{"type": "@xstate.assign", "context": {"count": count}}]}}}}
    })
}

/// What is to be done.
#[derive(Clone, Debug)]
struct Plan {
    machine: String,
    event: String,
    /// Begins the names of this run's keys, so that no other client writes them.
    prefix: String,
    keys: usize,
    connections: usize,
    /// The machine is the bench's own: its instances are stopped at the end.
    own: bool,
    spec: Spec,
}

/// Asks each instance once, also if the run has been ended early: the user who did that still wants to know what it has proved. A
/// daemon has listened before, so a first connection is tried again for as long as an event would be.
fn each(endpoint: &mut Endpoint, work: &mut Each, spec: Spec) -> Result<Round, OpenError> {
    let pace = Pace::Closed { in_flight: LOOKED_AT };
    let requests = Some(work.slots() as u64);
    let spec = Spec { pace, warm_up: Duration::ZERO, measured: spec.patience, requests, ..spec };
    let end = Instant::now() + spec.patience;
    loop {
        match run(endpoint, work, &spec, &AtomicBool::new(false)) {
            Err(_) if Instant::now() < end => std::thread::sleep(CONNECT_AGAIN),
            ended => return ended,
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Ran {
    round: Round,
    checker: HistoryChecker,
    /// Instances whose last state is known.
    proved: usize,
    /// Instances that were stopped in the end, as all of its own machine are.
    stopped: usize,
}

impl Ran {
    /// Nothing went wrong, and nothing came of any of it: no event was sent, or none was a transition.
    fn moved_nothing(&self) -> bool {
        let is_answered = self.round.answered > 0 || self.round.errors.total() == 0;
        is_answered && self.checker.unchanged >= self.round.answered
    }

    fn is_flawless(&self) -> bool {
        self.round.errors.total() == 0 && self.checker.lost == 0 && self.checker.doubled == 0
    }
}

impl Plan {
    fn of(args: &BenchArgs) -> Result<Self, Failure> {
        let connections = usize::from(args.connections);
        let least = |what: &str, given: usize| {
            let enough = given >= connections;
            let wrong = || Failure::usage(format!("{what}: {given} is less than one for each connection"));
            enough.then_some(()).ok_or_else(wrong)
        };
        least("--keys", args.keys as usize)?;
        let pace = match (args.rate, args.in_flight) {
            (Some(rate), _) => {
                least("--rate", rate as usize)?;
                Pace::Open { per_second: rate }
            }
            (None, in_flight) => {
                let in_flight = in_flight.unwrap_or(args.connections.into()) as usize;
                least("--in-flight", in_flight)?;
                Pace::Closed { in_flight }
            }
        };
        if args.duration.is_zero() {
            return Err(Failure::usage("--duration: 0 leaves no time to measure").hint("write a time such as 10s"));
        }
        let (warm_up, measured, patience) = (args.warm_up, args.duration, args.patience);
        Ok(Self {
            machine: args.machine.clone().unwrap_or_else(|| MACHINE.to_owned()),
            event: args.event.clone().unwrap_or_else(|| EVENT.to_owned()),
            prefix: format!("bench-{:08x}-", rand::random::<u32>()),
            keys: args.keys as usize,
            connections,
            own: args.machine.is_none(),
            spec: Spec { pace, warm_up, measured, requests: None, patience, polls: false },
        })
    }

    /// The part of one of the connections.
    fn part(&self, of: usize) -> (Spec, Sends) {
        let share = |whole: usize| whole / self.connections + usize::from(of < whole % self.connections);
        let pace = match self.spec.pace {
            Pace::Closed { in_flight } => Pace::Closed { in_flight: share(in_flight) },
            Pace::Open { per_second } => {
                Pace::Open { per_second: u32::try_from(share(per_second as usize)).unwrap_or(per_second) }
            }
        };
        let keys = (of..self.keys).step_by(self.connections).map(|n| format!("{}{n}", self.prefix));
        (Spec { pace, ..self.spec }, Sends::new(&self.machine, &self.event, keys.collect()))
    }

    fn run(&self, target: &Target, stop: &AtomicBool) -> Result<Ran, OpenError> {
        let parts = std::thread::scope(|scope| {
            let parts: Vec<_> =
                (0..self.connections).map(|of| scope.spawn(move || self.run_part(of, target, stop))).collect();
            parts.into_iter().map(|part| part.join()).collect::<Vec<_>>()
        });
        let mut all = Ran::default();
        for part in parts {
            let part = part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            all.round.merge(part.round);
            all.checker.merge(&part.checker);
            all.proved += part.proved;
            all.stopped += part.stopped;
        }
        Ok(all)
    }

    fn run_part(&self, of: usize, target: &Target, stop: &AtomicBool) -> Result<Ran, OpenError> {
        let (spec, mut sends) = self.part(of);
        // Each connection begins with an address of its own, as it does with one of a name's.
        let address = target.addresses.get(of % target.addresses.len().max(1)).map_or("", String::as_str);
        let mut endpoint = Endpoint::new(address, target.security.clone(), target.timeout, of);
        let mut round = run(&mut endpoint, &mut sends, &spec, stop)?;
        // If nothing got through, the reasons are known already.
        if round.answered == 0 {
            return Ok(Ran { round, ..Ran::default() });
        }
        let (mut gets, mut stops) = (sends.gets(), sends.stops());
        let looked = each(&mut endpoint, &mut gets, spec);
        let answers = looked.is_ok();
        match looked {
            Ok(looked) => round.errors.merge(looked.errors),
            Err(error) => round.errors.add(1, &Refusal { code: "not_proved".to_owned(), message: error.to_string() }),
        }
        let (checker, proved) = sends.prove(&gets);
        // Where no daemon listens any more it is not waited for a second time.
        if self.own && answers {
            // What stays is said by how many were stopped; it makes what was measured no worse.
            let _ = each(&mut endpoint, &mut stops, spec);
        }
        Ok(Ran { round, checker, proved, stopped: stops.answered() })
    }

    fn in_words(&self) -> String {
        let pace = match self.spec.pace {
            Pace::Closed { in_flight } => format!("closed loop, {in_flight} in flight"),
            Pace::Open { per_second } => format!("open loop, {per_second} events/s"),
        };
        let (keys, event, seconds) = (self.keys, &self.event, self.spec.measured.as_secs_f64());
        format!("{event} to {keys} keys {}/{}*, {pace}, for {seconds} s", self.machine, self.prefix)
    }

    fn report(&self, ran: &Ran) -> Value {
        let Ran { round, checker, proved, stopped } = ran;
        let elapsed = round.elapsed.as_secs_f64();
        let rate = if elapsed > 0.0 { round.events as f64 / elapsed } else { 0.0 };
        let micros = |nanos: f64| (nanos / 100.0).round() / 10.0;
        let quantile = |of: f64| micros(round.latency.value_at_quantile(of) as f64);
        let errors = round.errors.iter();
        let errors = errors.map(|(code, count, message)| json!({"code": code, "count": count, "message": message}));
        let (how, offered) = match self.spec.pace {
            Pace::Closed { in_flight } => ("closed", json!({"in_flight": in_flight})),
            Pace::Open { per_second } => ("open", json!({"per_second": per_second})),
        };
        json!({
            "machine": self.machine, "event": self.event, "keys": self.keys, "prefix": self.prefix,
            "connections": self.connections, "loop": how, "offered": offered, "seconds": elapsed,
            "events": round.events, "events_per_second": rate.round(),
            "latency_us": {
                "p50": quantile(0.5), "p90": quantile(0.9), "p99": quantile(0.99), "p99_9": quantile(0.999),
                "max": micros(round.latency.max() as f64), "mean": micros(round.latency.mean()),
            },
            "pause_ms": round.pause.as_micros() as f64 / 1e3,
            "acknowledged": round.answered, "errors": round.errors.total(), "error_codes": errors.collect::<Vec<_>>(),
            "retried": round.retried, "reconnects": round.reconnects, "first_reconnect": round.broken,
            "lost": checker.lost, "doubled": checker.doubled, "restarted": checker.restarted, "unchanged": checker.unchanged,
            "proved_keys": proved, "stopped_keys": self.own.then_some(stopped),
        })
    }
}

fn table(report: &Value) -> Table {
    let mut table = Table::new([]);
    let mut line = |name: &str, value: String, style| {
        table.styled([(name.to_owned(), Style::Strong), (value, style)]);
    };
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    let plain = |name: &str| report[name].to_string();
    let since = if report["loop"] == "open" { "from when an event was due" } else { "from when an event left" };
    let seconds = report["seconds"].as_f64().unwrap_or(0.0);
    line("events", format!("{} in {seconds:.1} s", plain("events")), Style::Plain);
    line("events/s", report["events_per_second"].as_f64().unwrap_or(0.0).to_string(), Style::Plain);
    line("latency", format!("microseconds, {} loop: {since}", super::text(&report["loop"])), Style::Faint);
    for (key, name) in [
        ("p50", "  p50"),
        ("p90", "  p90"),
        ("p99", "  p99"),
        ("p99_9", "  p99.9"),
        ("max", "  max"),
        ("mean", "  mean"),
    ] {
        line(name, report["latency_us"][key].to_string(), Style::Plain);
    }
    line("pause", format!("{} ms, the longest without a good answer", plain("pause_ms")), Style::Plain);
    line("retried", plain("retried"), Style::Plain);
    line("reconnects", format!("{} {}", plain("reconnects"), super::text(&report["first_reconnect"])), Style::Plain);
    for (name, bad) in [("errors", Style::Bad), ("lost", Style::Bad), ("doubled", Style::Bad)] {
        line(name, plain(name), if number(name) == 0 { Style::Good } else { bad });
    }
    for error in report["error_codes"].as_array().into_iter().flatten() {
        let [code, message] = ["code", "message"].map(|name| super::text(&error[name]));
        line(&format!("  {code}"), format!("{} {message}", error["count"]), Style::Bad);
    }
    if number("restarted") > 0 {
        line("restarted", format!("{} instances lost their memory", plain("restarted")), Style::Doubtful);
    }
    if number("unchanged") > 0 {
        line("unchanged", format!("{} events were no transition", plain("unchanged")), Style::Doubtful);
    }
    line(
        "proved",
        format!("{} of {} instances looked at in the end", plain("proved_keys"), plain("keys")),
        Style::Plain,
    );
    if report["stopped_keys"].is_u64() {
        line("stopped", format!("{} of {} instances", plain("stopped_keys"), plain("keys")), Style::Plain);
    }
    table
}

/// Keys at most, each a slot of its connection's schedule.
pub(super) const MAX_KEYS: i64 = MAX_SLOTS as i64;
/// Connections at most, for the command line.
pub(super) const CONNECTIONS: std::ops::RangeInclusive<i64> = 1..=MAX_CONNECTIONS as i64;
