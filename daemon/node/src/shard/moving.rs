//! Partitions that move: freezing, installing, taking back.

use std::sync::Arc;

use statemesh_engine::{Instance, Millis};
use statemesh_mesh::placement;

use super::ops::lost_change;
use super::{Fresh, Phase, Run, State};
use crate::instance::Entry;
use crate::transfer::{Input, Record};

/// What a partition had when it was frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Instances in it.
    pub instances: usize,
    /// Whether it was here at all.
    pub held: bool,
}

/// What came with one part of a moving partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    /// Instances read.
    pub instances: u64,
    /// Records that could not be read: unknown definition, or bytes that are none of ours.
    pub rejected: u64,
    /// Keys that were here as well; the one with the higher seq won.
    pub conflicts: u64,
}

impl State {
    /// Serves a partition from now on, empty. `lost`: keys whose instances went with its last owner; who watches is told.
    pub(crate) fn take_over(&mut self, partition: u16, lost: &[Fresh], run: &mut Run) {
        for fresh in lost {
            self.lost.insert(placement::key_hash(&fresh.machine, &fresh.key), partition);
            run.changes.push(Arc::new(lost_change(&fresh.machine, &fresh.key)));
        }
        self.serve(partition, run);
    }

    /// Serves what has arrived of a partition.
    pub(crate) fn serve(&mut self, partition: u16, run: &mut Run) {
        if let Some(part) = self.part_mut(partition) {
            part.phase = Phase::Held;
        }
        self.tell_unread(partition, run);
    }

    /// What arrived of a partition that is served here and could not be read is lost: who watches is told, and who asks next.
    fn tell_unread(&mut self, partition: u16, run: &mut Run) {
        let (unread, others) = std::mem::take(&mut self.unread).into_iter().partition(|of| of.partition == partition);
        self.unread = others;
        let mut unread: Vec<Fresh> = unread;
        // One that is here as well stays what it is here.
        let hash = |of: &Fresh| placement::key_hash(&of.machine, &of.key);
        unread.retain(|of| self.find(partition, hash(of), &of.machine, &of.key).is_none());
        if let Some(first) = unread.first() {
            tracing::warn!(
                partition,
                instances = unread.len(),
                machine = &*first.machine,
                key = &*first.key,
                "instances that were handed over cannot be read here and are lost; the first is named: its definition is not \
                 here, or it came from another release"
            );
        }
        for lost in unread {
            self.lost.insert(hash(&lost), partition);
            run.changes.push(Arc::new(lost_change(&lost.machine, &lost.key)));
        }
    }

    /// Instances of this partition will arrive. Unless it is served here already (`merge`), whatever is left of an earlier
    /// try goes.
    pub(crate) fn expect(&mut self, partition: u16, merge: bool) {
        if !merge {
            self.take_all(partition);
            self.unread.retain(|of| of.partition != partition);
            if let Some(part) = self.part_mut(partition) {
                part.phase = Phase::Arriving;
            }
        }
    }

    /// What has arrived of a partition is void. One that is served here stays.
    pub(crate) fn discard(&mut self, partition: u16) {
        if self.part(partition).is_some_and(|part| matches!(part.phase, Phase::Arriving)) {
            self.take_all(partition);
            self.unread.retain(|of| of.partition != partition);
            if let Some(part) = self.part_mut(partition) {
                part.phase = Phase::Away;
            }
        }
    }

    /// Stops serving a partition and gives its instances in parts of about `part_bytes`, at least one. A copy is kept
    /// until [`State::forget`] or [`State::take_back`].
    pub(crate) fn freeze(&mut self, partition: u16, part_bytes: usize, now: u64) -> (Moved, Vec<Vec<u8>>) {
        if !self.holds(partition) {
            return (Moved::default(), Vec::new());
        }
        let entries = self.take_all(partition);
        let mut parts = vec![Vec::new()];
        let (mut snapshot, mut extra) = (Vec::new(), Vec::new());
        for entry in &entries {
            snapshot.clear();
            extra.clear();
            entry.instance.to_bytes(&entry.version.machine, Millis(now), &mut snapshot);
            entry.encode_memory(now, &mut extra);
            let record = Record {
                definition: &entry.version.hash,
                machine: &entry.version.name,
                key: &entry.key,
                snapshot: &snapshot,
                extra: &extra,
            };
            if parts.last().is_none_or(|part| part.len() >= part_bytes) {
                parts.push(Vec::new());
            }
            if let Some(part) = parts.last_mut() {
                record.encode(part);
            }
        }
        self.lost.retain(|_, of| *of != partition);
        if let Some(part) = self.part_mut(partition) {
            part.phase = Phase::Sent(parts.clone());
        }
        (Moved { instances: entries.len(), held: true }, parts)
    }

    /// The other side has the partition: the copy goes.
    pub(crate) fn forget(&mut self, partition: u16) {
        if let Some(part) = self.part_mut(partition)
            && matches!(part.phase, Phase::Sent(_))
        {
            part.phase = Phase::Away;
        }
    }

    /// The other side is gone without having said that it has the partition: serve the copy again.
    pub(crate) fn take_back(&mut self, partition: u16, run: &mut Run) {
        let Some(part) = self.part_mut(partition) else { return };
        let parts = match &mut part.phase {
            Phase::Sent(parts) => std::mem::take(parts),
            // It never left: what was to move it was dropped on the way.
            _ => return,
        };
        part.phase = Phase::Arriving;
        for part in &parts {
            self.install(partition, part, run);
        }
        self.serve(partition, run);
    }

    /// Takes a part of a partition that moves here; nothing if nobody expects it. What is here already stays, unless the part has a higher seq for the
    /// same key.
    pub(crate) fn install(&mut self, partition: u16, bytes: &[u8], run: &mut Run) -> Option<Installed> {
        if !self.part(partition).is_some_and(|part| matches!(part.phase, Phase::Arriving | Phase::Held)) {
            return None;
        }
        let mut installed = Installed::default();
        let mut input = Input::new(bytes);
        while !input.is_empty() {
            let Ok(record) = input.record() else {
                // Whose the rest is cannot be read either.
                tracing::error!(partition, "a part of a hand-over is damaged");
                installed.rejected += 1;
                break;
            };
            match self.install_one(partition, &record, run) {
                Some(conflict) => {
                    installed.instances += 1;
                    installed.conflicts += u64::from(conflict);
                }
                None => {
                    installed.rejected += 1;
                    self.unread.push(Fresh { partition, machine: record.machine.into(), key: record.key.into() });
                }
            }
        }
        if self.holds(partition) {
            self.tell_unread(partition, run);
        }
        self.update_due(run);
        Some(installed)
    }

    /// Says whether the key was here as well, with another state; `None` if the record can't be read.
    fn install_one(&mut self, partition: u16, record: &Record<'_>, run: &mut Run) -> Option<bool> {
        let version = Arc::clone(self.machines.table().by_hash(record.definition)?);
        let hash = placement::key_hash(record.machine, record.key);
        if placement::partition_of_hash(hash, self.partition_count()) != partition {
            return None;
        }
        run.output.clear();
        let instance =
            Instance::from_bytes(&version.machine, record.snapshot, Millis(run.now), &mut run.output).ok()?;
        let (history, answers) = Entry::decode_memory(&version, record.extra, run.now, self.rules.history).ok()?;
        let mut conflict = false;
        let number = match self.find(partition, hash, record.machine, record.key) {
            Some(number) => {
                let here = self.entries.get_mut(number)?;
                conflict = true;
                if here.instance.seq() < instance.seq() {
                    here.version = version;
                    here.instance = instance;
                    here.history = history;
                    here.answers = answers;
                }
                number
            }
            None => {
                let key = record.key.into();
                self.add(partition, Entry { hash, key, version, instance, armed: None, history, answers }, run)
            }
        };
        if conflict {
            self.publish_conflict(number, run);
        }
        self.arm(number);
        Some(conflict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::{Machines, Version};
    use crate::shard::{Outcome, Rules, Shards};
    use statemesh_engine::{Limits, Machine};
    use statemesh_mesh::client_protocol::reply::Encoding;
    use statemesh_mesh::client_protocol::request::Request;

    const PARTITIONS: u16 = 1;

    fn shards(machines: &Arc<Machines>) -> Shards {
        Shards::new(machines, Rules { partitions: PARTITIONS, history: 4, instances: 10 })
    }

    /// The parts of a partition that has one instance, m/k.
    fn parts() -> Vec<Vec<u8>> {
        let text = br#"{"id":"m","initial":"a","states":{"a":{}}}"#;
        let machine = Machine::compile(text, &Limits::default(), &|_| None).unwrap().machine;
        let machines = Arc::new(Machines::default());
        machines.add(Version { name: "m".into(), hash: *machine.hash(), number: 1, machine });
        let here = shards(&machines);
        let mut state = here.of(0).try_claim().unwrap();
        let mut run = Run::default();
        state.take_over(0, &[], &mut run);
        let request = Request::parse(br#"{"op":"start","machine":"m","key":"k"}"#, Encoding::Json).unwrap();
        let hash = placement::key_hash("m", "k");
        assert_eq!(state.run(&request, hash, 0, &mut run, &mut Vec::new()), Outcome::Replied);
        let (moved, parts) = state.freeze(0, 1_000, 0);
        assert_eq!(moved.instances, 1);
        parts
    }

    #[test]
    fn what_arrives_and_cannot_be_read_is_told_as_lost_when_its_partition_is_served() {
        let there = shards(&Arc::new(Machines::default()));
        let mut state = there.of(0).try_claim().unwrap();
        let mut run = Run::default();
        for sent_back in [true, false] {
            state.expect(0, false);
            for part in parts() {
                assert_eq!(state.install(0, &part, &mut run).unwrap().rejected, 1);
            }
            assert_eq!(run.changes.len(), 0, "it may still be served where it came from");
            if sent_back {
                state.discard(0);
            }
        }
        state.serve(0, &mut run);
        assert_eq!(&*run.changes.first().unwrap().topic, b"m/k");
        assert_eq!((run.changes.len(), state.unread.len(), state.lost.len()), (1, 0, 1));
    }
}
