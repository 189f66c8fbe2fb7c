//! Reading a volume back into the shards, before anything is served.

use std::collections::BTreeMap;

use statemesh_journal::journal::Config;
use statemesh_journal::recover::{Event, Recovered};
use statemesh_journal::replay::{Replay, Verdict};
use statemesh_journal::segments::Segments;
use statemesh_journal::storage::Storage;
use statemesh_protocol::place::{StoredPlace, StoredTier};
use statemesh_protocol::record::{Fields, Record};
use statemesh_shard::{Damaged, Run, Shards};

use super::VolumeRefused;

/// Takes in the journal of a volume. Places that are not as they were acknowledged are marked, and named in the log.
pub(super) fn recover<S: Storage + Clone>(
    storage: &S,
    volume: u64,
    config: &Config,
    shards: &Shards,
    run: &mut Run,
) -> Result<Recovered, VolumeRefused> {
    let shard_of = |place: StoredPlace| u16::try_from(shards.of(place.partition).index()).unwrap_or(u16::MAX);
    let count = u16::try_from(shards.count()).unwrap_or(u16::MAX);
    let mut reading = Reading { shards, replay: Replay::new(count, shard_of), damaged: BTreeMap::new(), run };
    let (from, covered) = reading.replay.needs();
    let mut segments = Segments::new(storage.clone(), config);
    let recovered = segments.recover(volume, from, covered, &mut |event| match event {
        Event::Batch(_, payload) => reading.batch(payload),
        Event::Lost(lsns) => reading.replay.lost(lsns),
    })?;
    reading.finish();
    Ok(recovered)
}

struct Reading<'s, F> {
    shards: &'s Shards,
    replay: Replay<F>,
    damaged: BTreeMap<u16, Damaged>,
    run: &'s mut Run,
}

impl<F: Fn(StoredPlace) -> u16> Reading<'_, F> {
    fn batch(&mut self, payload: &[u8]) {
        let mut records = Fields::new(payload);
        // The batch is checked: all of them can be read.
        while let Ok(record) = Record::read(&mut records) {
            self.record(&record);
        }
        // What was known before is news to no standby.
        self.run.notes.clear();
    }

    fn record(&mut self, record: &Record<'_>) {
        let StoredPlace { tier, partition } = record.head.place;
        let verdict = self.replay.record(&record.head);
        if self.damaged.contains_key(&partition) {
            return;
        }
        let result = match verdict {
            _ if tier != StoredTier::Disk => Err(Damaged("it has records of a replicated place".to_owned())),
            Verdict::Apply => self.shards.of(partition).claim().recover(record, self.run),
            Verdict::Beside | Verdict::LeaveOut => Ok(()),
            Verdict::Replace | Verdict::Void | Verdict::Damaged => Err(Damaged("a record is missing".to_owned())),
        };
        if let Err(Damaged(why)) = result {
            self.damaged.insert(partition, Damaged(format!("record {}: {why}", record.head.index)));
        }
    }

    /// Batches that are lost may have had records of any place of their shards.
    fn note_lost(&mut self) {
        for shard in 0..self.shards.count() {
            let number = u16::try_from(shard).unwrap_or(u16::MAX);
            let Some(lost) = self.replay.lost_of(number).next() else { continue };
            let why = format!("batches {} to {} of the journal are lost", lost.start, lost.end.saturating_sub(1));
            for partition in self.shards.partitions_of(shard) {
                self.damaged.insert(partition, Damaged(why.clone()));
            }
        }
    }

    fn finish(mut self) {
        self.note_lost();
        for (place, _) in self.replay.places().filter(|(place, _)| !self.damaged.contains_key(&place.partition)) {
            self.shards.of(place.partition).claim().recovered(place.partition);
        }
        for (partition, damage) in &self.damaged {
            self.shards.of(*partition).claim().set_damaged(*partition, damage);
        }
        if let Some((partition, first)) = self.damaged.first_key_value() {
            tracing::error!(
                places = self.damaged.len(),
                partition,
                reason = %first,
                "the volume is damaged: durable machines are not served in these partitions (storage_damaged) until it is restored; the \
                 first is named"
            );
        }
    }
}
