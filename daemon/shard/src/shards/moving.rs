//! Partitions that are handed off, received, and reopened where a hand-off failed.

use std::sync::Arc;

use statemesh_engine::{Instance, Millis, Status};
use statemesh_expr::Str;
use statemesh_mesh::key_index::LostKey;
use statemesh_mesh::ownership::Winner;
use statemesh_protocol::hash;
use statemesh_protocol::image::{self, Image, Input, Record};
use statemesh_protocol::peer::ownership::HandoffNumber;
use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::{Tenure, Tenures, Trail};

use super::merging::Merging;
use super::{Fresh, Incoming, KnownKey, LostLife, Part, Phase, Run, State};
use crate::change::lost_change;
use crate::dedup::Tokens;
use crate::history::History;
use crate::instance::Entry;
use crate::marks::{Conflict, ConflictReason, lost_life};
use crate::removed::Left;
use crate::unsaid_conflict::UnsaidConflict;

/// What a partition had when its hand-off began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandedOff {
    /// Instances in it.
    pub instances: usize,
    /// Whether it was here at all.
    pub held: bool,
}

/// What came with one part of a moving partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Instances read.
    pub instances: u64,
    /// Records that could not be read: unknown definition, or bytes that are none of ours.
    pub rejected: u64,
    /// With this part or an earlier one came what cannot be read, and the partition is not served here: it must not be confirmed.
    pub refused: bool,
}

impl State {
    /// Serves a partition from now on, empty. `lost`: keys whose instances went with its last owner; who watches is told.
    pub fn adopt(&mut self, partition: u16, lost: &[LostKey], run: &mut Run) {
        self.mark_gone(partition, lost, run);
        self.begin_tenure(partition, run);
        self.serve(partition, run);
    }

    /// The copy of a partition is another one from now on than those that others may have.
    fn begin_tenure(&mut self, partition: u16, run: &Run) {
        let after = self.part(partition).map(|part| part.tenures.last()).unwrap_or_default();
        let tenure = self.lives.tenure(run.now, after);
        if let Some(part) = self.part_mut(partition) {
            part.tenures.begin(tenure);
        }
    }

    /// Marks what is `lost` of a partition. One that is not here is kept with nothing but that, to be merged with another copy, and is
    /// not served.
    pub fn mourn(&mut self, partition: u16, lost: &[LostKey], run: &mut Run) {
        self.unpack(partition, run);
        if self.part(partition).is_some_and(|part| matches!(part.phase, Phase::Away)) {
            self.set_phase(partition, Phase::Suspended);
            self.begin_tenure(partition, run);
        }
        self.mark_gone(partition, lost, run);
        self.leave(partition, run);
    }

    /// These keys were served by a daemon that died. One that has no instance here is lost; one that has is as it was before.
    fn mark_gone(&mut self, partition: u16, gone: &[LostKey], run: &mut Run) {
        for &LostKey { ref machine, ref key, run: life, before, tenure } in gone {
            if self.part(partition).is_some_and(|part| part.tenures.has(tenure)) {
                // What that copy had is here.
                continue;
            }
            if before {
                // It was published and counted; only its hash is known.
                if let Ok(hash) = u64::from_str_radix(key, 16) {
                    let lost = LostLife { hash, run: life, tenure };
                    if !self.marks.is_loss_said(partition, lost) {
                        self.mark_lost(partition, lost, run);
                    }
                } else if let Some(unsaid) = UnsaidConflict::parse(key) {
                    self.marks.add_unsaid(partition, &unsaid);
                }
                continue;
            }
            let hash = hash::key_hash(machine, key);
            match self.find(partition, hash, machine, key) {
                None if self.marks.is_loss_said(partition, LostLife { hash, run: life, tenure }) => {}
                Some(number) => self.mark_older(partition, LostLife { hash, run: life, tenure }, number, run),
                None => {
                    let key: Str = (**key).into();
                    self.lose(&Fresh { partition, machine: Arc::clone(machine), key, run: life }, tenure, run);
                }
            }
        }
        self.drop_needless_marks(partition, run);
        self.settle_marks(run);
    }

    /// Marks have changed: standbys are told by what, and those that found no room are counted.
    pub(super) fn settle_marks(&mut self, run: &mut Run) {
        run.counts.forgotten.marks += self.marks.take_forgotten();
        for (partition, known) in self.marks.take_news() {
            self.note(partition, known, run);
        }
    }

    /// Of the life that is here what came behind its last transition is gone; another life is gone as a whole.
    fn mark_older(&mut self, partition: u16, lost: LostLife, number: u32, run: &mut Run) {
        let Some(entry) = self.entries.get(number) else { return };
        let lost_from =
            if entry.run == lost.run { self.before(partition, &self.trail(partition, number)) + 1 } else { 1 };
        let conflict = Conflict { reason: ConflictReason::OwnerLost, lost_from, run: lost.run };
        if self.marks.add_conflict(partition, lost.hash, conflict, lost.tenure) {
            self.publish_conflict(number, conflict, run);
        }
    }

    /// The last transition of an instance before its copy became another one than those that others may have gone on with.
    fn before(&self, partition: u16, trail: &Trail) -> u64 {
        let Some(Part { tenures, merging, .. }) = self.part(partition) else { return 0 };
        let last = [tenures.current(), merging.coming.current()];
        trail.known(|tenure| !last.contains(&tenure)).unwrap_or_else(|| trail.end())
    }

    /// A life that is there after all is not lost; where another one is, that is a conflict.
    fn drop_needless_marks(&mut self, partition: u16, run: &mut Run) {
        let marked: Vec<u64> = self.marks.saying_lost(partition).collect();
        marked.into_iter().for_each(|hash| self.drop_needless_mark(partition, hash, run));
    }

    /// The same of one key. Who watches the life that is lost would skip what the other one does, if that began earlier.
    fn drop_needless_mark(&mut self, partition: u16, hash: u64, run: &mut Run) {
        if !self.marks.has((partition, hash)) {
            return;
        }
        let Some(number) = self.find_by_hash(partition, hash) else { return };
        let Some(entry) = self.entries.get(number) else { return };
        let (life, before) = (entry.run, self.before(partition, &self.trail(partition, number)));
        self.marks.found((partition, hash), life, before);
        let gone = self.marks.show(partition, hash).map(|mark| mark.gone).unwrap_or_default();
        if self.marks.is_there((partition, hash), life) {
            self.publish_conflict(number, lost_life(gone), run);
        }
    }

    /// What was held for lost with copies that are here, or come, is not. Standbys hear of that: if the key has no instance, nothing else
    /// tells them.
    fn drop_void_mark(&mut self, partition: u16, hash: u64, run: &mut Run) {
        let Self { marks, daemon, partitions, .. } = self;
        if let Some(part) = partitions.get(usize::from(partition) / daemon.shards) {
            let void = marks.drop_void((partition, hash), |tenure| part.has(tenure));
            void.into_iter().for_each(|life| self.note(partition, KnownKey::NotLost(life), run));
        }
    }

    /// Takes in which copy comes, in a merge beside the one that is here. False if it cannot be read.
    fn receive_tenures(&mut self, partition: u16, tenures: &[u8], merges: bool, run: &Run) -> bool {
        let (Some(part), Ok(tenures)) = (self.part_mut(partition), Tenures::decode(tenures)) else { return false };
        if merges {
            part.merging.coming = tenures;
            return true;
        }
        // A copy that was kept has them.
        if matches!(part.phase, Phase::Receiving) {
            part.tenures = tenures;
            self.begin_tenure(partition, run);
        }
        true
    }

    /// Takes in a mark, in a merge beside what is here. False if it cannot be read.
    fn receive_mark(&mut self, partition: u16, mark: &image::KeyMark<'_>, merges: bool, run: &mut Run) -> bool {
        let Self { marks, daemon, partitions, .. } = self;
        let Some(part) = partitions.get_mut(usize::from(partition) / daemon.shards) else { return false };
        if merges && part.merging.is_mark_merged(mark) {
            return true;
        }
        let is_read = marks.receive(partition, mark, |tenure| merges && part.tenures.has(tenure)).is_ok();
        if let Some(lost) = self.marks.gone(partition, mark.hash) {
            self.note(partition, KnownKey::Lost(lost), run);
        }
        is_read
    }

    /// Neither serves a partition nor fires its timers: others may have adopted it.
    pub fn suspend(&mut self, partition: u16) {
        if self.holds(partition) {
            self.set_phase(partition, Phase::Suspended);
            // Where the mesh was apart, a life that was said to be lost may have gone on.
            self.marks.forget_said(partition);
        }
    }

    pub(super) fn set_phase(&mut self, partition: u16, phase: Phase) {
        let Some(part) = self.part_mut(partition) else { return };
        let is_idle = |phase: &Phase| matches!(phase, Phase::Suspended | Phase::Receiving);
        let (was, is) = (is_idle(&part.phase), is_idle(&phase));
        part.phase = phase;
        self.idle = self.idle + usize::from(is) - usize::from(was);
        if was && !is {
            self.arm_all(partition);
        }
    }

    /// Timers of a partition that was suspended, or arrived, may have come up meanwhile.
    fn arm_all(&mut self, partition: u16) {
        let numbers: Vec<u32> =
            self.part(partition).into_iter().flat_map(|part| part.index.iter().map(|slot| slot.number)).collect();
        numbers.into_iter().for_each(|number| self.arm(number));
    }

    /// Of a partition that was suspended the time of some that have ended may be over, and no timer looks at them again.
    fn note_ended_of(&mut self, partition: u16, now: u64) {
        let slots = self.part(partition).into_iter().flat_map(|part| &part.index);
        let unarmed = |number: &u32| self.entries.get(*number).is_some_and(|entry| entry.armed.is_none());
        let numbers: Vec<u32> = slots.map(|slot| slot.number).filter(unarmed).collect();
        numbers.into_iter().for_each(|number| self.note_arrival(number, now));
    }

    /// The next reply about a key has to say that its instance was lost; the standbys have to know of it like of what is there.
    fn mark_lost(&mut self, partition: u16, lost: LostLife, run: &mut Run) {
        self.marks.set_gone(partition, lost);
        self.note(partition, KnownKey::Lost(lost), run);
    }

    /// An instance is gone: who watches is told now, and who asks next.
    fn lose(&mut self, lost: &Fresh, tenure: Tenure, run: &mut Run) {
        let hash = hash::key_hash(&lost.machine, &lost.key);
        self.mark_lost(lost.partition, LostLife { hash, run: lost.run, tenure }, run);
        run.step.changes.push(Arc::new(lost_change(&lost.machine, &lost.key)));
        run.counts.lost += 1;
    }

    /// Serves what has arrived of a partition.
    pub fn serve(&mut self, partition: u16, run: &mut Run) {
        self.set_phase(partition, Phase::Held);
        self.note_ended_of(partition, run.now);
        self.tell_unread(partition, run);
        self.leave(partition, run);
        self.update_due(run);
    }

    /// What arrived of a partition that is served here and could not be read is lost.
    fn tell_unread(&mut self, partition: u16, run: &mut Run) {
        let (unread, others) = std::mem::take(&mut self.unread).into_iter().partition(|of| of.partition == partition);
        self.unread = others;
        let mut unread: Vec<Fresh> = unread;
        // One that is here as well stays what it is here.
        let hash = |of: &Fresh| hash::key_hash(&of.machine, &of.key);
        unread.retain(|of| self.find(partition, hash(of), &of.machine, &of.key).is_none());
        if let Some(first) = unread.first() {
            tracing::warn!(
                partition,
                instances = unread.len(),
                machine = &*first.machine,
                key = &*first.key,
                "instances that were handed off cannot be read here and are lost; the first is named: its definition is not \
                 here, or it came from another release"
            );
        }
        for lost in unread {
            self.lose(&lost, Tenure::default(), run);
        }
    }

    /// Instances of this partition will arrive, by this hand-off. Unless there is a copy here already (`merge`), whatever is left
    /// of an earlier try goes.
    pub fn receive(&mut self, partition: u16, number: HandoffNumber, merge: Option<Winner>, run: &mut Run) {
        if merge.is_none() {
            self.clear(partition);
            self.set_phase(partition, Phase::Receiving);
        } else {
            self.unpack(partition, run);
        }
        if let Some(part) = self.part_mut(partition) {
            part.incoming = Some(Incoming { number, merge });
            part.merging.coming = Tenures::default();
        }
    }

    /// Makes instances of a copy that was sent and kept, and that others may have as well.
    fn unpack(&mut self, partition: u16, run: &mut Run) {
        let Some(Part { phase: Phase::Sent { at, parts }, .. }) = self.part_mut(partition) else { return };
        let (at, parts) = (*at, std::mem::take(parts));
        self.set_phase(partition, Phase::Suspended);
        // Whatever is done or told from now on is in another copy than those that others have.
        self.begin_tenure(partition, run);
        // What was left of times then is not left any more.
        let now = std::mem::replace(&mut run.now, at);
        parts.iter().for_each(|part| _ = self.receive_records(partition, part, None, run));
        run.now = now;
    }

    /// What has arrived of a partition is void. One that is served here stays.
    pub fn discard(&mut self, partition: u16) {
        let Some(part) = self.part_mut(partition) else { return };
        part.incoming = None;
        part.merging.coming = Tenures::default();
        self.unread.retain(|of| of.partition != partition);
        let Some(part) = self.part(partition) else { return };
        if matches!(part.phase, Phase::Receiving) {
            self.clear(partition);
            self.set_phase(partition, Phase::Away);
        }
    }

    /// Takes out whatever is here of a partition.
    fn clear(&mut self, partition: u16) {
        self.take_all(partition);
        self.removed.take_all(partition);
        self.marks.forget(partition);
        if let Some(part) = self.part_mut(partition) {
            (part.merging, part.tenures) = Default::default();
        }
        self.unread.retain(|of| of.partition != partition);
    }

    /// Stops serving a partition and gives its instances and marks in parts of about `part_bytes`, at least one. A copy is kept
    /// until [`State::release`] or [`State::reopen`].
    pub fn hand_off(&mut self, partition: u16, part_bytes: usize, run: &mut Run) -> (HandedOff, Vec<Vec<u8>>) {
        // A copy that came back from another hand-off has less of its times left by now.
        self.unpack(partition, run);
        let now = run.now;
        if !self.part(partition).is_some_and(|part| matches!(part.phase, Phase::Held | Phase::Suspended)) {
            return (HandedOff::default(), Vec::new());
        }
        let entries = self.take_all(partition);
        let mut parts = Parts { parts: vec![Vec::new()], part_bytes };
        let mut tenures = Vec::new();
        self.part(partition).into_iter().for_each(|part| part.tenures.encode(&mut tenures));
        parts.add(&Record::Copy(&tenures));
        for (hash, body) in self.marks.records(partition) {
            parts.add(&Record::Mark(image::KeyMark { hash, body: &body }));
        }
        self.marks.forget(partition);
        let misses_ms = self.removed.misses_for(partition, now);
        if misses_ms > 0 {
            parts.add(&Record::Forgotten { left_ms: misses_ms });
        }
        let removed = self.removed.take_all(partition);
        removed
            .iter()
            .filter(|(_, left)| left.until > now)
            .for_each(|(hash, left)| parts.add_removed(*hash, left, now));
        entries.iter().for_each(|(entry, trail)| parts.add_entry(entry, trail, now));
        if let Some(part) = self.part_mut(partition) {
            part.merging = Merging::default();
        }
        self.set_phase(partition, Phase::Sent { at: now, parts: parts.parts.clone() });
        (HandedOff { instances: entries.len(), held: true }, parts.parts)
    }

    /// The other side has the partition: the copy goes.
    pub fn release(&mut self, partition: u16) {
        if let Some(part) = self.part_mut(partition)
            && matches!(part.phase, Phase::Sent { .. })
        {
            (part.phase, part.tenures) = (Phase::Away, Tenures::default());
        }
    }

    /// Serves again the copy that was sent, or is in doubt: no other member has the partition, or none that is known.
    /// `lost`: keys that were served elsewhere meanwhile, by a daemon that died.
    pub fn reopen(&mut self, partition: u16, lost: &[LostKey], run: &mut Run) {
        self.unpack(partition, run);
        let here = |part: &Part| matches!(part.phase, Phase::Suspended | Phase::Held);
        if self.part(partition).is_some_and(here) {
            self.mark_gone(partition, lost, run);
            self.serve(partition, run);
        }
    }

    /// Takes a part of a partition that moves here by this hand-off; nothing if that is not expected (any more).
    pub fn receive_part(
        &mut self,
        partition: u16,
        number: HandoffNumber,
        bytes: &[u8],
        is_last: bool,
        run: &mut Run,
    ) -> Option<Received> {
        let expected = self.part(partition)?.incoming.filter(|incoming| incoming.number == number)?;
        let installed = self.receive_records(partition, bytes, expected.merge, run);
        // What could not be read is still where it comes from.
        if is_last
            && !installed.refused
            && expected.merge.is_some()
            && let Some(part) = self.part_mut(partition)
        {
            let coming = std::mem::take(&mut part.merging.coming);
            part.tenures.join(&coming);
            part.merging.is_over();
            let void = self.marks.drop_void_of(partition, &coming);
            void.into_iter().for_each(|life| self.note(partition, KnownKey::NotLost(life), run));
            self.settle_marks(run);
        }
        Some(installed)
    }

    fn receive_records(&mut self, partition: u16, bytes: &[u8], merge: Option<Winner>, run: &mut Run) -> Received {
        let mut installed = Received::default();
        let mut input = Input::new(bytes);
        while !input.is_empty() {
            let record = input.record();
            let about = match &record {
                Ok(Record::Mark(mark)) => Some(mark.hash),
                Ok(Record::Image(image)) if !self.marks.is_empty() => Some(hash::key_hash(image.machine, image.key)),
                _ => None,
            };
            match record {
                Ok(Record::Mark(mark)) => {
                    if !self.receive_mark(partition, &mark, merge.is_some(), run) {
                        self.not_read(partition, &mut installed);
                    }
                }
                Ok(Record::Image(image)) => self.receive_image(partition, &image, merge, &mut installed, run),
                Ok(Record::Copy(tenures)) => {
                    if !self.receive_tenures(partition, tenures, merge.is_some(), run) {
                        self.not_read(partition, &mut installed);
                    }
                }
                Ok(Record::Removed(removed)) => {
                    if !self.receive_removed(partition, &removed, merge.is_some(), run) {
                        self.not_read(partition, &mut installed);
                    }
                }
                Ok(Record::Forgotten { left_ms }) => {
                    let until = run.now.saturating_add(left_ms.min(self.daemon.rules.dedup_for_ms));
                    self.removed.miss(partition, until);
                }
                Err(error) => {
                    tracing::error!(partition, %error, "a part of a hand-off is damaged, or of another release");
                    self.not_read(partition, &mut installed);
                }
            }
            if let Some(hash) = about.filter(|_| merge.is_some()) {
                self.drop_needless_mark(partition, hash, run);
            }
        }
        self.settle_marks(run);
        installed.refused = self.unread.iter().any(|of| of.partition == partition);
        self.leave(partition, run);
        self.update_due(run);
        installed
    }

    /// What is here of a hand-off cannot be read: its holder keeps all of it.
    fn not_read(&mut self, partition: u16, installed: &mut Received) {
        installed.rejected += 1;
        self.unread.push(Fresh { partition, machine: "".into(), key: "".into(), run: RunId::default() });
    }

    fn receive_image(
        &mut self,
        partition: u16,
        image: &Image<'_>,
        merge: Option<Winner>,
        installed: &mut Received,
        run: &mut Run,
    ) {
        match self.receive_one(partition, image, merge, run) {
            Some(()) => installed.instances += 1,
            None => {
                installed.rejected += 1;
                let (machine, key) = (image.machine.into(), image.key.into());
                self.unread.push(Fresh { partition, machine, key, run: image.run });
            }
        }
    }

    /// `None` if the image cannot be read.
    fn receive_one(&mut self, partition: u16, image: &Image<'_>, merge: Option<Winner>, run: &mut Run) -> Option<()> {
        let hash = hash::key_hash(image.machine, image.key);
        if hash::partition_of_hash(hash, self.partition_count()) != partition {
            return None;
        }
        let came = self.read(image, run)?;
        let trail = Trail::decode(image.trail).ok()?;
        let part = self.part_mut(partition)?;
        if merge.is_some() && part.merging.is_merged(hash, came.run, image.trail) {
            return Some(());
        }
        if merge.is_some() {
            self.drop_void_mark(partition, hash, run);
            self.marks.found((partition, hash), came.run, self.before(partition, &trail));
        }
        let Some(number) = self.find(partition, hash, image.machine, image.key) else {
            return self.receive_alone((partition, hash), came, trail, merge.is_some(), run);
        };
        let here = self.entries.get(number)?;
        let here_trail = self.trail(partition, number);
        let (life, before) = (here.run, self.before(partition, &here_trail));
        self.marks.found((partition, hash), life, before);
        let met = self.part(partition).map(|part| meet((&came, &trail), (here, &here_trail), part, merge))?;
        let meeting = [life, came.run];
        let unheard = match (&came.tokens, &here.tokens) {
            (Some(came), Some(here)) => came.unheard(here),
            _ => Vec::new(),
        };
        let is_another = life != came.run;
        if is_another {
            self.marks.met((partition, hash));
        }
        if met.comes {
            let here = self.entries.get_mut(number)?;
            // The wheel's entry stays: it is set anew when it comes up.
            *here = Entry { armed: here.armed, ..came };
            self.trails.insert(number, (here.run, trail));
            if is_another {
                // Standbys keep the latest life that they are told of, which this one need not be.
                self.note_end_of_life(number, life, run);
                self.note_life(number, run);
            }
            // One that has ended is kept as long as it says, whatever the wheel held for the other.
            self.note_arrival(number, run.now);
        }
        self.arm(number);
        unheard.iter().for_each(|said| self.marks.say_again((partition, hash), said, meeting));
        if let Some((lost, tenure)) = met.lost
            && self.marks.add_conflict(partition, hash, lost, tenure)
        {
            self.publish_conflict(number, lost, run);
        }
        Some(())
    }

    /// Takes an instance whose key has none here.
    fn receive_alone(
        &mut self,
        (partition, hash): (u16, u64),
        came: Entry,
        trail: Trail,
        is_merge: bool,
        run: &mut Run,
    ) -> Option<()> {
        let life = came.run;
        let part = self.part(partition)?;
        if is_merge && trail.known(|tenure| part.tenures.has(tenure)) == Some(trail.end()) {
            // All of it was here, and has ended.
            return Some(());
        }
        if is_merge && let (Some(left), Some(tokens)) = (self.removed.get(partition, hash), &came.tokens) {
            let unheard = tokens.unheard(&left.tokens);
            unheard.iter().for_each(|said| self.marks.say_again((partition, hash), said, [life, left.run]));
        }
        let number = self.add(partition, hash, came, run);
        self.trails.insert(number, (life, trail));
        self.inherit(partition, hash, number);
        self.note_arrival(number, run.now);
        self.arm(number);
        if is_merge && self.lives.may_be_removed_after(life) {
            // A client that watched a later life here would skip what this one does.
            self.publish_state(number, None, run);
        }
        Some(())
    }

    fn read(&self, image: &Image<'_>, run: &mut Run) -> Option<Entry> {
        let table = self.daemon.machines.table();
        let version = Arc::clone(table.by_hash(image.definition)?);
        run.step.engine.clear();
        let machine = &version.machine;
        let instance = Instance::from_bytes(machine, image.snapshot, Millis(run.now), &mut run.step.engine).ok()?;
        let history =
            History::decode(machine, &mut Input::new(image.history), run.now, self.daemon.rules.history).ok()?;
        let tokens = Tokens::decode(image.tokens, &version, &table).ok()?;
        let tokens = (tokens != Tokens::default()).then(|| Box::new(tokens));
        Some(Entry { key: image.key.into(), run: image.run, version, instance, armed: None, history, tokens })
    }
}

/// How two states of a key met.
struct Met {
    /// The one that comes goes on.
    comes: bool,
    /// What of the other is gone, and the last copy that did any of it.
    lost: Option<(Conflict, Tenure)>,
}

/// Which of two states of a key goes on, where another copy comes. One that has nothing but what the other copy has as well lost nothing,
/// and keeps nothing from the other: what both did of one life until they went apart, or what was done in tenures that both went
/// through, also if the life has ended in one of them.
fn meet(came: (&Entry, &Trail), here: (&Entry, &Trail), part: &Part, merge: Option<Winner>) -> Met {
    let Part { tenures, merging, .. } = part;
    let common = if came.0.run == here.0.run { came.1.common(here.1) } else { None };
    let in_common = |trail: &Trail, other: &Tenures| common.max(trail.known(|tenure| other.has(tenure)));
    let known = [in_common(came.1, tenures), in_common(here.1, &merging.coming)];
    let last = [came.1.last_tenure(), here.1.last_tenure()];
    let (came, here) = (came.0, here.0);
    let has_more = |entry: &Entry, known: Option<u64>| known.is_none_or(|seq| entry.instance.seq() > seq);
    let (came_has_more, here_has_more) = (has_more(came, known[0]), has_more(here, known[1]));
    let comes = match merge {
        _ if !came_has_more => false,
        _ if !here_has_more => true,
        Some(Winner::Here) => false,
        Some(Winner::Coming) => true,
        Some(Winner::Longer) | None => is_later(came, here),
    };
    let (loser, known, tenure, has_more) =
        if comes { (here, known[1], last[1], here_has_more) } else { (came, known[0], last[0], came_has_more) };
    let lost_from = known.unwrap_or_default() + 1;
    let lost = Conflict { reason: ConflictReason::Merged, lost_from, run: loser.run };
    Met { comes, lost: has_more.then_some((lost, tenure)) }
}

/// Of two states of a key, whether the first is the one to go on with: in the same life the one with more transitions; of two
/// lives the later one if the other had ended before, else, as it began for want of the other, the one with more transitions.
fn is_later(came: &Entry, here: &Entry) -> bool {
    let (a, b) = (&came.instance, &here.instance);
    let ended = |instance: &Instance| instance.status() != Status::Active;
    let later = came.run > here.run;
    match came.run == here.run {
        true => a.seq() > b.seq(),
        false if ended(if later { b } else { a }) => later,
        false => (a.seq(), came.run) > (b.seq(), here.run),
    }
}

/// The parts of a partition that goes.
struct Parts {
    parts: Vec<Vec<u8>>,
    part_bytes: usize,
}

impl Parts {
    fn add(&mut self, record: &Record<'_>) {
        if self.parts.last().is_none_or(|part| part.len() >= self.part_bytes) {
            self.parts.push(Vec::new());
        }
        if let Some(part) = self.parts.last_mut() {
            record.encode(part);
        }
    }

    fn add_removed(&mut self, hash: u64, left: &Left, now: u64) {
        let Left { until, run, version, tokens } = left;
        let mut known = Vec::new();
        tokens.encode(version, &mut known);
        let left_ms = until.saturating_sub(now);
        let removed = image::Removed { hash, definition: &version.hash, run: *run, left_ms, tokens: &known };
        self.add(&Record::Removed(removed));
    }

    fn add_entry(&mut self, entry: &Entry, trail: &Trail, now: u64) {
        let Entry { key, run, version, instance, history, tokens, .. } = entry;
        let [mut snapshot, mut past, mut known, mut steps] = [const { Vec::new() }; 4];
        trail.encode(&mut steps);
        instance.to_bytes(&version.machine, Millis(now), &mut snapshot);
        history.encode(&version.machine, now, &mut past);
        if let Some(tokens) = tokens {
            tokens.encode(version, &mut known);
        }
        self.add(&Record::Image(Image {
            definition: &version.hash,
            machine: &version.name,
            key,
            run: *run,
            trail: &steps,
            snapshot: &snapshot,
            history: &past,
            tokens: &known,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lives::Origin;
    use crate::machines::{Machines, Version};
    use crate::shards::{Outcome, Rules, Shards};
    use crate::stages::Clock;
    use statemesh_engine::{Limits, Machine};
    use statemesh_protocol::reply::Encoding;
    use statemesh_protocol::request::Request;
    use std::time::Instant;

    const PARTITIONS: u16 = 1;

    fn shards(machines: &Arc<Machines>) -> Shards {
        let rules = Rules {
            partitions: PARTITIONS,
            history: 4,
            instances: 10,
            dedup_bytes: 64,
            output_bytes: 1 << 20,
            feed_bytes: 1 << 20,
            removed: 10,
            marks: 10,
            dedup_for_ms: 1_000,
            keep_ms: 1_000,
        };
        Shards::new(machines, rules, 1, Origin::default())
    }

    /// A daemon's machines, with one that is `m`.
    fn machines() -> Arc<Machines> {
        let text = br#"{"id":"m","initial":"a","states":{"a":{}}}"#;
        let machine = Machine::compile(text, &Limits::default(), &|_| None).unwrap().machine;
        let machines = Arc::new(Machines::default());
        machines.add(Version::new("m".into(), *machine.hash(), 1, machine));
        machines
    }

    /// Begins to serve a partition, with the instance m/k. Gives the key's hash.
    fn start(state: &mut State, run: &mut Run) -> u64 {
        state.adopt(0, &[], run);
        let request = Request::parse(br#"{"op":"start","machine":"m","key":"k"}"#, Encoding::Json).unwrap();
        let hash = hash::key_hash("m", "k");
        assert_eq!(state.run(&request, hash, 0, run, &mut Vec::new()), Outcome::Replied(None));
        hash
    }

    /// The parts of a partition that has one instance, m/k.
    fn parts() -> Vec<Vec<u8>> {
        let here = shards(&machines());
        let mut state = here.of(0).try_claim().unwrap();
        let mut run = Run::new(Clock::new(Instant::now));
        start(&mut state, &mut run);
        let (moved, parts) = state.hand_off(0, 1_000, &mut run);
        assert_eq!(moved.instances, 1);
        parts
    }

    /// What is published from here on.
    fn topics(shards: &Shards) -> Vec<String> {
        let mut topics = Vec::new();
        let feed = shards.feeds().of(0).unwrap();
        feed.drain(|_, change| topics.push(String::from_utf8_lossy(&change.topic).into_owned()));
        topics
    }

    #[test]
    fn what_arrives_and_cannot_be_read_is_refused_and_told_as_lost_only_if_its_partition_is_served() {
        let there = shards(&Arc::new(Machines::default()));
        there.feeds().of(0).unwrap().set_watched(true);
        let mut state = there.of(0).try_claim().unwrap();
        let mut run = Run::new(Clock::new(Instant::now));
        for sent_back in [true, false] {
            state.receive(0, 1, None, &mut run);
            for part in parts() {
                let installed = state.receive_part(0, 1, &part, true, &mut run).unwrap();
                assert_eq!((installed.rejected, installed.refused), (1, true));
            }
            assert_eq!((topics(&there), run.counts.lost), (Vec::new(), 0), "it may still be served where it came from");
            if sent_back {
                state.discard(0);
            }
        }
        state.serve(0, &mut run);
        assert_eq!(topics(&there), ["m/k"]);
        assert_eq!((run.counts.lost, state.unread.len(), state.marks.len()), (1, 0, 1));
    }

    #[test]
    fn a_loss_that_meets_an_earlier_life_of_its_key_is_a_conflict_for_watchers_too() {
        let machines = machines();
        let here = shards(&machines);
        here.feeds().of(0).unwrap().set_watched(true);
        let mut state = here.of(0).try_claim().unwrap();
        let mut run = Run::new(Clock::new(Instant::now));
        let hash = start(&mut state, &mut run);
        topics(&here);
        // On the other side of a cut it had begun anew.
        let elsewhere = shards(&machines);
        elsewhere.feeds().of(0).unwrap().set_watched(true);
        let mut there = elsewhere.of(0).try_claim().unwrap();
        let lost =
            LostKey { machine: "m".into(), key: "k".into(), run: RunId(u64::MAX), before: false, tenure: Tenure(1) };
        there.mourn(0, &[lost], &mut run);
        assert_eq!(topics(&elsewhere), ["m/k"]);
        assert!(!there.holds(0));
        let (_, parts) = there.hand_off(0, 1_000, &mut run);
        state.receive(0, 1, Some(Winner::Here), &mut run);
        parts.iter().for_each(|part| _ = state.receive_part(0, 1, part, true, &mut run).unwrap());
        let mut told: Vec<serde_json::Value> = Vec::new();
        here.feeds().of(0).unwrap().drain(|_, change| told.push(rmp_serde::from_slice(&change.body).unwrap()));
        let gone = serde_json::json!({"reason": "owner_lost", "lost_from": 1, "run": RunId(u64::MAX).to_string()});
        assert_eq!(told.iter().map(|change| &change["conflict"]).collect::<Vec<_>>(), [&gone], "{told:?}");
        assert!(!state.marks.says_lost(0, hash) && state.marks.take(0, hash).is_some());
    }

    /// Starts and deletes m/`key`, with a token for each.
    fn start_and_delete(state: &mut State, run: &mut Run, key: &str) {
        for op in ["start", "delete"] {
            let said = ask(state, run, op, key, &format!("{op} {key}"), false);
            assert!(said.contains(r#""ok":true"#), "{said}");
        }
    }

    fn ask(state: &mut State, run: &mut Run, op: &str, key: &str, token: &str, uncertain: bool) -> String {
        let text = format!(r#"{{"op":"{op}","machine":"m","key":"{key}","dedup":"{token}"}}"#);
        let mut request = Request::parse(text.as_bytes(), Encoding::Json).unwrap();
        request.transit.uncertain = uncertain;
        let mut reply = Vec::new();
        assert_eq!(state.run(&request, hash::key_hash("m", key), 0, run, &mut reply), Outcome::Replied(None));
        String::from_utf8(reply).unwrap()
    }

    #[test]
    fn that_tokens_of_removed_keys_were_forgotten_is_known_wherever_their_partition_goes() {
        let machines = machines();
        let (here, mut run) = (shards(&machines), Run::new(Clock::new(Instant::now)));
        let mut state = here.of(0).try_claim().unwrap();
        state.adopt(0, &[], &mut run);
        (0..12).for_each(|n| start_and_delete(&mut state, &mut run, &format!("k{n}")));
        let again =
            |state: &mut State, run: &mut Run, key: &str| ask(state, run, "start", key, &format!("start {key}"), true);
        assert!(again(&mut state, &mut run, "k11").contains(r#""ok":true"#), "its token is there");
        assert!(again(&mut state, &mut run, "k0").contains("outcome_unknown"));
        // What a later life of the key left says nothing of the earlier one.
        assert!(ask(&mut state, &mut run, "start", "k0", "other", false).contains(r#""ok":true"#));
        assert!(again(&mut state, &mut run, "k0").contains("outcome_unknown"));
        assert!(ask(&mut state, &mut run, "delete", "k0", "another", false).contains(r#""ok":true"#));
        assert!(again(&mut state, &mut run, "k0").contains("outcome_unknown"));
        let (_, parts) = state.hand_off(0, 1_000, &mut run);
        let there = shards(&machines);
        let mut next = there.of(0).try_claim().unwrap();
        next.receive(0, 1, None, &mut run);
        for (at, part) in parts.iter().enumerate() {
            assert!(!next.receive_part(0, 1, part, at + 1 == parts.len(), &mut run).unwrap().refused);
        }
        next.serve(0, &mut run);
        assert!(again(&mut next, &mut run, "k11").contains(r#""ok":true"#));
        assert!(again(&mut next, &mut run, "k0").contains("outcome_unknown"), "it may have been applied");
        // It comes back with the kept copy, and is over when the tokens would be.
        state.reopen(0, &[], &mut run);
        assert!(again(&mut state, &mut run, "k0").contains("outcome_unknown"));
        run.now += 1_000;
        assert!(again(&mut state, &mut run, "k0").contains(r#""ok":true"#));
    }

    #[test]
    fn marks_go_with_their_partition_and_come_back_with_it() {
        let here = shards(&Arc::new(Machines::default()));
        let mut state = here.of(0).try_claim().unwrap();
        let mut run = Run::new(Clock::new(Instant::now));
        let lost = LostKey { machine: "m".into(), key: "k".into(), run: RunId(3), before: false, tenure: Tenure(1) };
        state.adopt(0, &[lost], &mut run);
        let (_, parts) = state.hand_off(0, 1_000, &mut run);
        assert!(state.marks.is_empty());
        state.reopen(0, &[], &mut run);
        assert!(state.marks.is_gone(0, hash::key_hash("m", "k")));
        let there = shards(&Arc::new(Machines::default()));
        let mut state = there.of(0).try_claim().unwrap();
        state.receive(0, 1, None, &mut run);
        parts
            .iter()
            .for_each(|part| assert_eq!(state.receive_part(0, 1, part, true, &mut run).unwrap(), Received::default()));
        assert!(state.marks.is_gone(0, hash::key_hash("m", "k")));
    }
}
