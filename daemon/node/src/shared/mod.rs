//! What the threads of one daemon share.

mod clock;
mod control;
mod lease;
mod links;
mod reactors;
mod standbys;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use statemesh_protocol::place::Tier;
use statemesh_shard::machines::Machines;
use statemesh_shard::{Log, Origin, Rules, Shards};
use statemesh_transport::limits::ConnectionLimiter;
use tokio::sync::mpsc;

use self::clock::Clock;
pub(crate) use self::control::ControlQueue;
use self::lease::Lease;
use self::links::Links;
pub(crate) use self::links::{ENDED_LINKS, Greeter, Judge};
use self::reactors::Reactors;
use self::standbys::Standbys;
use crate::access::ListenerAuths;
use crate::beats::Beats;
use crate::counters::Counters;
use crate::directory::Directory;
use crate::mailbox::ToControl;
use crate::options::Options;
use crate::subscribers::Watching;
use crate::volume::Volume;

/// Milliseconds from 1970 to the beginning of mesh time, 2026-01-01T00:00:00Z.
const MESH_TIME_BEGAN_UNIX_MS: u64 = 1_767_225_600_000;

/// What the threads of one daemon share.
pub struct Shared {
    /// What the daemon was told.
    pub options: Options,
    /// The daemon's clock.
    pub(crate) clock: Clock,
    /// Who may connect, and with which keys.
    pub(crate) auth: ListenerAuths,
    /// The accepted connections of all reactors.
    pub(crate) connections: Arc<ConnectionLimiter>,
    /// Subscriptions and what waits for subscribers, of all reactors.
    pub(crate) watching: Arc<Watching>,
    /// The instances.
    pub(crate) shards: Shards,
    /// The definitions.
    pub(crate) machines: Arc<Machines>,
    /// Whether the loops still turn.
    pub(crate) beats: Beats,
    /// What each reactor counts.
    pub counters: Vec<Arc<Counters>>,
    /// What is known of the mesh.
    pub(crate) mesh: Known,
    /// Links between daemons.
    pub(crate) links: Links,
    /// What reactors tell the control plane.
    pub(crate) control: ControlQueue,
    /// What reactors are told.
    pub(crate) reactors: Reactors,
    /// Until when reactors may answer for partitions that are here.
    pub(crate) lease: Lease,
    /// Where durable instances are kept, once it is read back.
    pub(crate) volume: OnceLock<Volume>,
}

/// What the control plane tells the reactors of the mesh.
pub(crate) struct Known {
    /// The members that are to know which keys exist here.
    pub(crate) standbys: Standbys,
    view: RwLock<Arc<Directory>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.options.name).finish_non_exhaustive()
    }
}

impl Shared {
    /// What the threads share at the start: no instances, no definitions, no members.
    #[must_use]
    pub(crate) fn new(
        options: Options,
        auth: ListenerAuths,
        reactors: usize,
        origin: Origin,
        now: Instant,
        control: mpsc::Sender<ToControl>,
    ) -> Self {
        let machines = Arc::new(Machines::default());
        let (partitions, control_bytes) = (options.partitions, options.limits.control_bytes);
        let places = options.mailboxes.reactor;
        let log = options.storage.data.as_ref().map(|_| Arc::new(Log::new(partitions)));
        // What is on a volume outlives the process, so its times must mean the same in the next one.
        let (shows, origin) = match &log {
            None => (0, origin),
            Some(_) => {
                let shows = origin.unix_ms.saturating_sub(MESH_TIME_BEGAN_UNIX_MS);
                (shows, Origin { unix_ms: origin.unix_ms - shows, ..origin })
            }
        };
        let shards = Shards::with_log(&machines, rules(&options), reactors, origin, log);
        Self {
            options,
            clock: Clock::new(now, shows),
            auth,
            connections: Arc::default(),
            watching: Arc::default(),
            shards,
            machines,
            beats: Beats::new(reactors),
            counters: (0..reactors).map(|_| Arc::default()).collect(),
            mesh: Known { standbys: Standbys::new(partitions), view: RwLock::default() },
            links: Links::new(origin.seed),
            control: ControlQueue::new(control, control_bytes),
            reactors: Reactors::new(reactors, places),
            lease: Lease::new(),
            volume: OnceLock::new(),
        }
    }

    /// How long the journal has waited for the volume to take one batch; nothing where it waits for none.
    pub(crate) fn volume_stall(&self, now: Instant) -> Duration {
        let since = self.volume.get().and_then(Volume::journal_at_work_since);
        since.map_or(Duration::ZERO, |since| Duration::from_millis(self.clock.millis(now).saturating_sub(since)))
    }

    /// Instances that are on the volume, and outlive this process.
    pub(crate) fn instances_on_volume(&self) -> usize {
        if self.shards.log().is_none() {
            return 0;
        }
        let current = self.machines.table().current();
        let durable = current.iter().filter(|version| version.tier == Tier::Disk).map(|version| version.instances());
        usize::try_from(durable.sum::<u64>()).unwrap_or(usize::MAX)
    }

    /// There are records for the journal.
    pub(crate) fn wake_journal(&self) {
        if let Some(volume) = self.volume.get() {
            volume.wake_journal();
        }
    }

    /// The reactor that minds a shard's timers.
    #[must_use]
    pub(crate) fn timer_owner(&self, shard: usize) -> usize {
        shard % self.reactors.len().max(1)
    }

    /// The mesh as it was last published.
    #[must_use]
    pub(crate) fn view(&self) -> Arc<Directory> {
        Arc::clone(&self.mesh.view.read())
    }

    /// Publishes the mesh.
    pub(crate) fn publish_view(&self, view: Directory) {
        *self.mesh.view.write() = Arc::new(view);
    }
}

/// What shards go by.
fn rules(options: &Options) -> Rules {
    let limits = &options.limits;
    Rules {
        partitions: options.partitions,
        history: limits.history,
        instances: limits.instances,
        dedup_bytes: limits.dedup_bytes,
        output_bytes: limits.output_bytes,
        feed_bytes: limits.subscriber_total_bytes,
        removed: limits.removed,
        marks: limits.marks,
        keep_ms: u64::try_from(limits.keep.as_millis()).unwrap_or(u64::MAX),
        dedup_for_ms: u64::try_from(limits.dedup_for.as_millis()).unwrap_or(u64::MAX),
    }
}
