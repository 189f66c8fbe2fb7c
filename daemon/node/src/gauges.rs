//! Gauges that are read at the scrape: members, instances by state, limits.
#![expect(clippy::disallowed_methods, reason = "a scrape comes with no time")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::bounds;
use crate::control::Counts;
use crate::counters::Kind;
use crate::limits::Limits;
use crate::metrics::{Gauge, Gauges};
use crate::process;
use crate::shared::Shared;
use statemesh_mesh::membership::Status;
use statemesh_shard::Group;
use statemesh_transport::Kind as Whose;

/// Counting instances looks at all of them, a shard at a time; it is done no more often than this.
const COUNT_AGE: Duration = Duration::from_secs(10);
/// Pairs of machine and state in one scrape; the rest is summed as state `(other)`.
const GROUPS_SHOWN: usize = 1_000;

type Counted = Option<(Instant, Gauge)>;

/// The reader of a daemon's gauges.
pub(crate) fn of(shared: Arc<Shared>, counts: Arc<Counts>) -> Gauges {
    let counted: Mutex<Counted> = Mutex::new(None);
    Box::new(move || {
        let mut gauges = vec![members(&shared), partitions(&shared), info(&shared), limits(&shared)];
        gauges.extend(connections(&shared));
        gauges.push(keys(&shared));
        gauges.push(refused_keys(&shared));
        gauges.push(rates(&shared));
        gauges.push(removed(&shared));
        gauges.push(used(&shared));
        gauges.push(instances(&shared, &counted));
        gauges.extend(process::gauges());
        gauges.extend(counts.gauges());
        gauges
    })
}

fn gauge(name: &'static str, help: &'static str, samples: Vec<(Vec<(&'static str, String)>, f64)>) -> Gauge {
    Gauge { name, help, kind: Kind::Gauge, samples }
}

fn members(shared: &Shared) -> Gauge {
    let view = shared.view();
    let samples = [Status::Alive, Status::Suspect, Status::Left, Status::Dead]
        .into_iter()
        .map(|status| {
            let count = view.members.iter().filter(|member| member.status == status).count();
            (vec![("status", status.as_str().to_owned())], count as f64)
        })
        .collect();
    gauge("statemesh_members", "Members of the mesh by status, this daemon included.", samples)
}

fn partitions(shared: &Shared) -> Gauge {
    let view = shared.view();
    let owned = view.members.iter().find(|member| member.is_self).map_or(0, |member| member.partitions);
    gauge(
        "statemesh_partitions_owned",
        "Partitions that this daemon owns by its current view.",
        vec![(Vec::new(), owned as f64)],
    )
}

fn info(shared: &Shared) -> Gauge {
    let labels = vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("mesh", shared.options.mesh.clone()),
        ("node", shared.options.name.clone()),
    ];
    gauge("statemesh_info", "Always 1; the labels say which daemon this is.", vec![(labels, 1.0)])
}

fn keys(shared: &Shared) -> Gauge {
    let known = shared.auth.client_keys().unwrap_or(0);
    gauge(
        "statemesh_client_keys",
        "Keys of clients that are let in; 0 without CURVE.",
        vec![(Vec::new(), known as f64)],
    )
}

fn rates(shared: &Shared) -> Gauge {
    let used = shared.auth.most_used_rate(Instant::now());
    gauge(
        "statemesh_client_rate_used_ratio",
        "Of the requests that a client may send within a second, the share that the one with the largest share has sent.",
        vec![(Vec::new(), used)],
    )
}

fn removed(shared: &Shared) -> Gauge {
    let kept = shared.shards.removed() as f64;
    gauge("statemesh_removed_instances", "Removed instances whose dedup tokens are kept.", vec![(Vec::new(), kept)])
}

fn used(shared: &Shared) -> Gauge {
    let samples = bounds::used(shared).into_iter().map(|(name, share)| (vec![("limit", name.to_owned())], share));
    gauge(
        "statemesh_limit_used_ratio",
        "Of each bound that fills up, the share that is in use (0 to 1); the log names it at 0.8.",
        samples.collect(),
    )
}

fn refused_keys(shared: &Shared) -> Gauge {
    Gauge {
        name: "statemesh_refused_keys_total",
        help: "Handshakes refused because the key is not on the list, by who knocked.",
        kind: Kind::Counter,
        samples: shared
            .auth
            .refused()
            .into_iter()
            .map(|(who, count)| (vec![("from", who.to_owned())], count as f64))
            .collect(),
    }
}

fn connections(shared: &Shared) -> [Gauge; 3] {
    let [guests, links] = [Whose::Guest, Whose::Link].map(|kind| shared.connections.connections(kind) as f64);
    let most = shared.connections.most_from_one_address() as f64;
    [
        gauge("statemesh_connections", "Connections of clients and subscribers.", vec![(Vec::new(), guests)]),
        gauge("statemesh_links_accepted", "Connections that other daemons opened.", vec![(Vec::new(), links)]),
        gauge(
            "statemesh_connections_from_one_address",
            "Connections of clients and subscribers from the address that has most of them.",
            vec![(Vec::new(), most)],
        ),
    ]
}

fn limits(shared: &Shared) -> Gauge {
    let limits = &shared.options.limits;
    let samples = Limits::ROWS.iter().map(|row| (vec![("limit", row.label())], (row.get)(limits))).collect();
    gauge("statemesh_limit", "Bounds of this daemon, as configured.", samples)
}

fn instances(shared: &Shared, counted: &Mutex<Counted>) -> Gauge {
    let mut counted = counted.lock();
    if let Some((at, level)) = counted.as_ref()
        && at.elapsed() < COUNT_AGE
    {
        return level.clone();
    }
    let mut samples: Vec<(Vec<(&'static str, String)>, f64)> = Vec::new();
    let mut other = 0;
    let labels = |machine: String, state: String, status: &str| {
        vec![("machine", machine), ("state", state), ("status", status.to_owned())]
    };
    for (Group { machine, state, status }, count) in shared.shards.count_by_group() {
        if samples.len() < GROUPS_SHOWN {
            samples.push((labels(machine.to_string(), state, status), count as f64));
        } else {
            other += count;
        }
    }
    if other > 0 {
        samples.push((labels("(other)".into(), "(other)".into(), "(other)"), other as f64));
    }
    let help = "Instances on this daemon by machine, state (`refunding.stuck`; regions with `+` between them) and status, `stuck` among them (counted \
                at most every 10 s; beyond 1,000 rows the rest is `(other)`).";
    let level = gauge("statemesh_instances", help, samples);
    *counted = Some((Instant::now(), level.clone()));
    level
}
