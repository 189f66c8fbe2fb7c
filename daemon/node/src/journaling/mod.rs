//! A daemon's journal: begun once the volume is read back into the shards, and fed with their records from then on. A shell.
#![expect(clippy::disallowed_methods, reason = "a shell has a clock")]

mod feeder;

use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_journal::journal::{Config, Journal};
use statemesh_journal::thread::JournalThread;
use statemesh_shard::{Clock, Run};
use tokio::sync::watch;

use crate::shared::Shared;
use crate::volume::{Volume, VolumeRefused};

/// How long a start waits for the journal's first segments, which are filled with zeros. Then events are refused until they are there.
const SEGMENTS_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(2);

/// Reads a volume back into the shards, whose definitions must be there, and begins to write its journal. `failing` hears of a disk that
/// fails.
///
/// # Errors
/// It cannot be read at all. What is damaged is marked in the shards, and not served.
pub(crate) fn begin(
    volume: Volume,
    shared: &Arc<Shared>,
    failing: Arc<watch::Sender<Option<String>>>,
) -> Result<JournalThread, VolumeRefused> {
    let config = Config { segment_bytes: shared.options.storage.segment_bytes, ..Config::default() };
    let began = Instant::now();
    let mut run = Run::new(Clock::new(Instant::now));
    let recovered = volume.recover(&config, &shared.shards, &mut run)?;
    shared.clock.not_before(recovered.mesh_time);
    shared.beats.begin(shared.clock.millis(Instant::now()));
    tracing::info!(
        instances = shared.shards.instances(),
        took_s = began.elapsed().as_secs_f64(),
        "the volume is read back"
    );
    let log = shared.shards.log();
    if let Some(log) = log {
        log.set_full(recovered.start.ahead.len() + 1 < config.ahead);
    }
    let written = recovered.start.closed.len() as u64 * config.segment_bytes;
    let bytes = written + recovered.start.at.map_or(0, |at| at.offset);
    let feeder = feeder::Feeder::new(Arc::clone(shared), failing, bytes);
    let is_long = bytes >= shared.options.storage.journal_bytes;
    let journal = Journal::new(config, recovered.start);
    let theirs = Arc::clone(shared);
    let clock = move || theirs.clock.millis(Instant::now());
    let thread = JournalThread::start(volume.disk(), config, journal, feeder, clock)?;
    volume.set_journal(thread.handle());
    let _ = shared.volume.set(volume);
    while !is_long && log.is_some_and(|log| log.is_full() && !log.has_failed()) && began.elapsed() < SEGMENTS_PATIENCE {
        std::thread::sleep(LOOK);
    }
    Ok(thread)
}
