//! `top`: how much happens in a mesh, by machine, second after second, counted from the changes that its daemons publish.

use super::args::TopArgs;
use super::tell_if_unknown;
use super::watch::{broken, change, must_be_allowed, no_publisher};
use crate::connect::connect;
use crate::failure::Failure;
use crate::output::{Painter, Printer, Style, Table, count, say, text};
use serde_json::{Value, json};
use statemesh_client::{Notice, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// Machines that are counted by name; what else is busy counts as `(others)`.
const MAX_MACHINES: usize = 1_000;

/// Prints until Ctrl-C, or as often as was asked for.
pub(crate) fn top(args: &TopArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let topic = args.machine.as_deref().map(|machine| format!("{machine}/")).unwrap_or_default();
    let mut client = connect(&args.connect, file)?;
    if let Some(machine) = &args.machine {
        must_be_allowed(machine, None, &mut client)?;
        tell_if_unknown(machine, &mut client);
    }
    let mut watcher = Watcher::new(client.into_client(), &topic).map_err(|error| broken(&error))?;
    if watcher.watched() == 0 {
        return Err(no_publisher());
    }
    say!("watching {}, a table each {:?}; Ctrl-C ends", count(watcher.watched(), "daemon"), args.every);
    let (mut left, mut away) = (args.count.unwrap_or(u64::MAX), BTreeSet::new());
    while left > 0 {
        let rates = during(&mut watcher, args.every, &mut away);
        let value = rates.per_second(args.every);
        let nothing = if watcher.watched() == 0 { "no daemon is watched" } else { "nothing happens" };
        printer.next(&value, |painter| shown(&value, nothing, painter))?;
        if rates.dropped > 0 {
            say!(
                "warning: {} changes were dropped, and are in no row: there are more than this can read",
                rates.dropped
            );
        }
        left -= 1;
    }
    Ok(())
}

/// `away`: daemons that were watched before.
fn during(watcher: &mut Watcher, time: Duration, away: &mut BTreeSet<String>) -> Rates {
    let (end, mut rates) = (Instant::now() + time, Rates::default());
    loop {
        match watcher.next(end.saturating_duration_since(Instant::now())) {
            Some(Notice::Change(published)) => rates.note(&change(&published)),
            Some(Notice::Silent { address, why }) => {
                say!("warning: {address} is not watched: {why}");
                away.insert(address);
            }
            Some(Notice::Joined(address)) if away.remove(&address) => say!("watching {address} again"),
            Some(Notice::Joined(_)) | None => {}
        }
        if Instant::now() >= end {
            return rates;
        }
    }
}

/// What happened to the instances of one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    events: u64,
    timers: u64,
    started: u64,
    effects: u64,
    lost: u64,
}

/// What happened in a while, by machine.
#[derive(Debug, Default)]
struct Rates {
    by_machine: BTreeMap<String, Counts>,
    /// Changes that daemons threw away, as this was too slow for them.
    dropped: u64,
}

impl Rates {
    fn note(&mut self, change: &Value) {
        self.dropped += change["dropped"].as_u64().unwrap_or_default();
        let mut machine = text(&change["machine"]);
        if self.by_machine.len() >= MAX_MACHINES && !self.by_machine.contains_key(&machine) {
            "(others)".clone_into(&mut machine);
        }
        let counts = self.by_machine.entry(machine).or_default();
        counts.effects += change["effects"].as_array().map_or(0, |effects| effects.len() as u64);
        match change["reason"].as_str().unwrap_or_default() {
            "event" => counts.events += 1,
            "timer" => counts.timers += 1,
            "start" | "restart" => counts.started += 1,
            "lost" => counts.lost += 1,
            _ => {}
        }
    }

    /// The rates as a list, the busiest machine first.
    fn per_second(&self, time: Duration) -> Value {
        let rate = |number: u64| (number as f64 / time.as_secs_f64() * 10.0).round() / 10.0;
        let mut all: Vec<_> = self.by_machine.iter().collect();
        all.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.events + counts.timers));
        let row = |(machine, counts): &(&String, &Counts)| {
            json!({"machine": machine, "events": rate(counts.events), "timers": rate(counts.timers),
                   "started": rate(counts.started), "effects": rate(counts.effects), "lost": rate(counts.lost)})
        };
        all.iter().map(row).collect()
    }
}

fn shown(rates: &Value, nothing: &'static str, painter: Painter) -> String {
    let mut table = Table::new(["MACHINE", "EVENTS/S", "TIMERS/S", "STARTED/S", "EFFECTS/S", "LOST/S"]).or(nothing);
    for row in rates.as_array().into_iter().flatten() {
        let cell = |name: &str| (text(&row[name]), Style::Plain);
        let lost = if row["lost"] == json!(0.0) { Style::Plain } else { Style::Bad };
        table.styled([
            (text(&row["machine"]), Style::Strong),
            cell("events"),
            cell("timers"),
            cell("started"),
            cell("effects"),
            (text(&row["lost"]), lost),
        ]);
    }
    table.render(painter.colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_by_machine_and_the_busiest_is_first() {
        let mut rates = Rates::default();
        let change = |machine: &str, reason: &str| json!({"machine": machine, "reason": reason, "effects": [{}, {}]});
        for (machine, reason) in [("door", "event"), ("order", "event"), ("order", "timer"), ("order", "lost")] {
            rates.note(&change(machine, reason));
        }
        let value = rates.per_second(Duration::from_secs(2));
        let expected =
            json!({"machine": "order", "events": 0.5, "timers": 0.5, "started": 0.0, "effects": 3.0, "lost": 0.5});
        assert_eq!((&value[0], &value[1]["machine"]), (&expected, &json!("door")));
        assert!(shown(&value, "", Painter { colour: false }).starts_with("MACHINE  EVENTS/S"));
        assert_eq!(shown(&json!([]), "nothing happens", Painter { colour: false }), "nothing happens\n");
    }

    #[test]
    fn names_without_end_do_not_fill_memory() {
        let mut rates = Rates::default();
        (0..2 * MAX_MACHINES).for_each(|n| rates.note(&json!({"machine": format!("m{n}"), "reason": "event"})));
        assert_eq!(rates.by_machine.len(), MAX_MACHINES + 1);
        assert_eq!(rates.by_machine["(others)"].events, MAX_MACHINES as u64);
    }
}
