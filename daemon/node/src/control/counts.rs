//! What the control plane counts, as the scrape reads it.

use parking_lot::Mutex;
use statemesh_mesh::gossip::Drops;
use statemesh_mesh::membership;

use super::waiting::Waiting;
use crate::counters::Kind;
use crate::metrics::Gauge;

/// Figures of the control plane, written by it and read by the scrape.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    figures: Mutex<Figures>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Figures {
    pub(super) drops: Drops,
    pub(super) membership: membership::Counters,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) held: u64,
    /// Keys of instances elsewhere that are kept, and those that were not for want of room.
    pub(super) known_keys: u64,
    pub(super) unknown_keys: u64,
    pub(super) deaths: u64,
    /// Partitions of which it is not known which instances are lost.
    pub(super) unnamed: u64,
    /// Machines given as files of which the mesh runs another version, or none.
    pub(super) files_differing: u64,
    /// Why it has not joined, as a label.
    pub(super) waiting: Option<&'static str>,
}

/// A figure without labels, as the scrape shows it.
struct Row {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    value: fn(&Figures) -> u64,
}

impl Row {
    const fn gauge(name: &'static str, help: &'static str, value: fn(&Figures) -> u64) -> Self {
        Self { name, help, kind: Kind::Gauge, value }
    }

    const fn counter(name: &'static str, help: &'static str, value: fn(&Figures) -> u64) -> Self {
        Self { name, help, kind: Kind::Counter, value }
    }
}

/// Figures without labels, in the order in which they are shown.
const ROWS: [Row; 11] = [
    Row::gauge(
        "statemesh_machine_files_differing",
        "Machines given to this daemon as files of which the mesh runs another version, or none.",
        |figures| figures.files_differing,
    ),
    Row::gauge("statemesh_partitions_held", "Partitions served here.", |figures| figures.held),
    Row::gauge(
        "statemesh_known_keys",
        "Keys of instances of other daemons that this one keeps, to name what is lost with them.",
        |figures| figures.known_keys,
    ),
    Row::counter(
        "statemesh_refused_known_keys_total",
        "Keys of instances of other daemons that were not kept because of limits.known_keys.",
        |figures| figures.unknown_keys,
    ),
    Row::counter("statemesh_gossip_sent_total", "Gossip datagrams sent.", |figures| figures.sent),
    Row::counter(
        "statemesh_gossip_received_total",
        "Gossip datagrams received, the dropped ones included.",
        |figures| figures.received,
    ),
    Row::counter("statemesh_gossip_malformed_total", "Gossip datagrams under our key that are malformed.", |figures| {
        figures.membership.malformed
    }),
    Row::counter("statemesh_member_deaths_total", "Members declared dead, as this daemon saw it.", |figures| {
        figures.deaths
    }),
    Row::counter(
        "statemesh_partitions_lost_unnamed_total",
        "Partitions adopted here whose holder died together with all that knew their keys: which instances are lost is not known.",
        |figures| figures.unnamed,
    ),
    Row::counter(
        "statemesh_member_renewals_total",
        "How often the mesh held this daemon for dead, wrongly.",
        |figures| figures.membership.renewals,
    ),
    Row::counter(
        "statemesh_process_pauses_total",
        "How often this process found that it had been paused.",
        |figures| figures.membership.pauses,
    ),
];

impl Counts {
    pub(super) fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock());
    }

    /// The figures as metrics.
    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        let figures = *self.figures.lock();
        let dropped = figures.drops.counts().map(|(reason, n)| by_reason(reason.label(), n as f64));
        let kept_out = Waiting::LABELS.iter().map(|label| by_reason(label, f64::from(figures.waiting == Some(label))));
        let labelled = [
            Gauge {
                name: "statemesh_gossip_dropped_total",
                help: "Gossip datagrams dropped, by reason.",
                kind: Kind::Counter,
                samples: dropped.collect(),
            },
            Gauge {
                name: "statemesh_kept_out",
                help: "1 while this daemon is not ready because it has not joined, by reason; 0 otherwise.",
                kind: Kind::Gauge,
                samples: kept_out.collect(),
            },
        ];
        let plain = ROWS.iter().map(|Row { name, help, kind, value }| {
            let samples = vec![(Vec::new(), value(&figures) as f64)];
            Gauge { name, help, kind: *kind, samples }
        });
        labelled.into_iter().chain(plain).collect()
    }
}

/// A sample that a reason labels.
fn by_reason(reason: &str, value: f64) -> (Vec<(&'static str, String)>, f64) {
    (vec![("reason", reason.to_owned())], value)
}
