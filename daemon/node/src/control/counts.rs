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

impl Counts {
    pub(super) fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock());
    }

    /// The figures as metrics.
    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        let figures = *self.figures.lock();
        let reasons = figures.drops.counts().map(|(reason, n)| (vec![("reason", reason.label().to_owned())], n as f64));
        let plain = |name, help, value: u64| Gauge {
            name,
            help,
            kind: Kind::Counter,
            samples: vec![(Vec::new(), value as f64)],
        };
        let kept_out = Waiting::LABELS
            .iter()
            .map(|reason| (vec![("reason", (*reason).to_owned())], f64::from(figures.waiting == Some(reason))));
        let held = vec![(Vec::new(), figures.held as f64)];
        vec![
            Gauge {
                name: "statemesh_gossip_dropped_total",
                help: "Gossip datagrams dropped, by reason.",
                kind: Kind::Counter,
                samples: reasons.collect(),
            },
            Gauge {
                name: "statemesh_kept_out",
                help: "1 while this daemon is not ready because it has not joined, by reason; 0 otherwise.",
                kind: Kind::Gauge,
                samples: kept_out.collect(),
            },
            Gauge {
                name: "statemesh_machine_files_differing",
                help: "Machines given to this daemon as files of which the mesh runs another version, or none.",
                kind: Kind::Gauge,
                samples: vec![(Vec::new(), figures.files_differing as f64)],
            },
            Gauge {
                name: "statemesh_partitions_held",
                help: "Partitions served here.",
                kind: Kind::Gauge,
                samples: held,
            },
            Gauge {
                name: "statemesh_known_keys",
                help: "Keys of instances of other daemons that this one keeps, to name what is lost with them.",
                kind: Kind::Gauge,
                samples: vec![(Vec::new(), figures.known_keys as f64)],
            },
            plain(
                "statemesh_refused_known_keys_total",
                "Keys of instances of other daemons that were not kept because of limits.known_keys.",
                figures.unknown_keys,
            ),
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
                "statemesh_partitions_lost_unnamed_total",
                "Partitions adopted here whose holder died together with all that knew their keys: which instances are lost is not known.",
                figures.unnamed,
            ),
            plain(
                "statemesh_member_renewals_total",
                "How often the mesh held this daemon for dead, wrongly.",
                figures.membership.renewals,
            ),
            plain(
                "statemesh_process_pauses_total",
                "How often this process found that it had been paused.",
                figures.membership.pauses,
            ),
        ]
    }
}
