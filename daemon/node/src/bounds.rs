//! How near a daemon is to its bounds: a gauge of each, and a word in the log before one is hit.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use statemesh_shard::Cell;
use statemesh_transport::Kind;

use crate::counters::Counters;
use crate::shared::Shared;

/// Of a bound, the share beyond which the log says so.
const WARN: f64 = 0.8;
/// Below this share the log says so again when it grows.
const CALM: f64 = 0.6;
/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Of each bound that fills up, the share that is in use; of what every reactor has by itself, that of the fullest. Those of one connection
/// (`array_bytes`, `unsent_bytes`, `subscriber_bytes`) are not among them: its client reaches them alone, by its own doing. What all
/// connections have together is, such as the replies of open arrays in `unsent_total_bytes`.
pub(crate) fn used(shared: &Shared) -> Vec<(&'static str, f64)> {
    let limits = &shared.options.limits;
    let most = |of: fn(&Counters) -> &Cell| shared.counters.iter().map(|one| of(one).get()).max().unwrap_or(0) as f64;
    let sum = |of: fn(&Counters) -> &Cell| shared.counters.iter().map(|one| of(one).get()).sum::<u64>() as f64;
    let [guests, links] = [Kind::Guest, Kind::Link].map(|kind| shared.connections.connections(kind) as f64);
    let gauges = [
        ("connections", guests, limits.connections),
        ("links", links, limits.links),
        ("unread_bytes", sum(|one| &one.unread_bytes), limits.unread_bytes),
        ("unsent_total_bytes", sum(|one| &one.unsent_bytes), limits.unsent_total_bytes),
        ("control_bytes", shared.control.bytes() as f64, limits.control_bytes),
        ("in_flight", most(|one| &one.in_flight), limits.in_flight),
        ("waits", most(|one| &one.waits), limits.waits),
        ("parked", most(|one| &one.parked), limits.parked),
        ("parked_bytes", most(|one| &one.parked_bytes), limits.parked_bytes),
        ("subscriptions_total", sum(|one| &one.subscriptions), limits.subscriptions_total),
        ("subscriber_total_bytes", sum(|one| &one.subscriber_waiting), limits.subscriber_total_bytes),
        ("instances", shared.shards.instances() as f64, limits.instances),
        ("removed", shared.shards.removed() as f64, limits.removed),
        ("marks", shared.shards.marks() as f64, limits.marks),
    ];
    gauges.into_iter().map(|(name, level, limit)| (name, level / (limit.max(1) as f64))).collect()
}

/// What the log was told.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    looked: Option<Instant>,
    told: BTreeSet<&'static str>,
}

impl Warnings {
    /// Looks at the bounds, if it is time to. Gives those of which the log is to be told, with the share that is in use.
    pub(crate) fn look(&mut self, shared: &Shared, now: Instant) -> Vec<(&'static str, f64)> {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < EVERY) {
            return Vec::new();
        }
        self.looked = Some(now);
        self.judge(used(shared))
    }

    fn judge(&mut self, used: Vec<(&'static str, f64)>) -> Vec<(&'static str, f64)> {
        self.told.retain(|name| used.iter().any(|(of, share)| of == name && *share >= CALM));
        used.into_iter().filter(|(name, share)| *share >= WARN && self.told.insert(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn a_bound_is_named_once_when_it_is_nearly_hit_and_again_after_it_was_calm() {
        let mut warnings = Warnings::default();
        let mut told = |share| !warnings.judge(vec![("instances", share), ("parked", 0.1)]).is_empty();
        let all = [0.5, 0.79, 0.8, 0.9, 1.0, 0.7, 0.85, 0.5, 0.85].map(&mut told);
        assert_eq!(all, [false, false, true, false, false, false, false, false, true]);
    }

    #[test]
    fn every_bound_that_fills_up_is_a_limit() {
        let names: Vec<&str> = Limits::ROWS.iter().map(|row| row.name).collect();
        for name in [
            "connections",
            "links",
            "unread_bytes",
            "unsent_total_bytes",
            "in_flight",
            "parked",
            "instances",
            "removed",
            "marks",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }
}
