//! What the control plane counts, as the scrape reads it.

use parking_lot::Mutex;
use statemesh_mesh::gossip::Drops;
use statemesh_mesh::membership;

use crate::counters::Kind;
use crate::metrics::Level;

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
    pub(super) lost: u64,
    pub(super) held: u64,
    pub(super) deaths: u64,
}

impl Counts {
    pub(super) fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock());
    }

    /// The figures as metrics.
    pub(crate) fn levels(&self) -> Vec<Level> {
        let figures = *self.figures.lock();
        let reasons = figures.drops.counts().map(|(reason, n)| (vec![("reason", reason.label().to_owned())], n as f64));
        let plain = |name, help, value: u64| Level {
            name,
            help,
            kind: Kind::Counter,
            samples: vec![(Vec::new(), value as f64)],
        };
        let held = vec![(Vec::new(), figures.held as f64)];
        vec![
            Level {
                name: "statemesh_gossip_dropped_total",
                help: "Gossip datagrams dropped, by reason.",
                kind: Kind::Counter,
                samples: reasons.collect(),
            },
            Level {
                name: "statemesh_partitions_held",
                help: "Partitions served here.",
                kind: Kind::Gauge,
                samples: held,
            },
            plain("statemesh_gossip_sent_total", "Gossip datagrams sent.", figures.sent),
            plain(
                "statemesh_gossip_received_total",
                "Gossip datagrams received, the dropped ones included.",
                figures.received,
            ),
            plain(
                "statemesh_gossip_malformed_total",
                "Gossip datagrams under our key that are malformed.",
                figures.membership.malformed,
            ),
            plain("statemesh_member_deaths_total", "Members declared dead, as this daemon saw it.", figures.deaths),
            plain(
                "statemesh_member_renewals_total",
                "How often the mesh held this daemon for dead, wrongly.",
                figures.membership.renewals,
            ),
            plain(
                "statemesh_pauses_total",
                "How often this process found that it had been paused.",
                figures.membership.pauses,
            ),
            plain(
                "statemesh_instances_lost_total",
                "Instances that went with a dead owner, reported by its successor.",
                figures.lost,
            ),
        ]
    }
}
