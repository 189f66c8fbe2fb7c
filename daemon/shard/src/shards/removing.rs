//! Removing instances: what they leave, and who is told.

use statemesh_engine::Millis;
use statemesh_protocol::hash;
use statemesh_protocol::image;
use statemesh_protocol::run::RunId;
use std::collections::VecDeque;
use std::sync::Arc;

use super::ops::{At, Done, Failed, vanished};
use super::{Fresh, KeyNote, KnownKey, Run, State};
use crate::change::change;
use crate::dedup::Tokens;
use crate::instance::Entry;
use crate::machines::Version;
use crate::removed::Left;
use crate::unsaid_conflict::UnsaidConflict;

/// After this time the standbys are told again how a key stands whose instance was removed, or of which a reply has said a conflict. Two
/// reactors that remove and create it in two turns may tell that in the wrong order, and what a reactor tells may overtake what the
/// control plane tells of a whole partition; by then both have.
const RESTATE_MS: u64 = 1_000;
/// Keys of one shard of which the standbys are to be told again; beyond it they are told earlier.
const RESTATING: usize = 4_096;
/// Keys that are told again, and removed instances that are forgotten, in one go.
const PER_GO: usize = 256;

/// What the standbys are told again.
#[derive(Debug)]
pub(super) enum Restated {
    /// How a key stands whose instance was removed.
    Key(Fresh),
    /// That a reply has said a conflict, and the partition.
    Said(u16, UnsaidConflict),
}

/// What the standbys are told again, and when: the earliest first.
#[derive(Debug, Default)]
pub(super) struct Restating {
    all: VecDeque<(u64, Restated)>,
}

impl Restating {
    /// Gives what has to be told at once for want of room.
    fn push(&mut self, at: u64, one: Restated) -> Option<Restated> {
        let first = if self.all.len() >= RESTATING { self.all.pop_front() } else { None };
        self.all.push_back((at, one));
        first.map(|(_, one)| one)
    }

    fn next(&self) -> Option<u64> {
        self.all.front().map(|(at, _)| *at)
    }

    fn pop_due(&mut self, now: u64) -> Option<Restated> {
        self.all.pop_front_if(|(at, _)| *at <= now).map(|(_, one)| one)
    }
}

impl State {
    /// `delete`: stops an instance if it is active. It goes once its reply is written ([`State::remove_for_good`]).
    pub(super) fn delete(&mut self, at: At<'_>, run: &mut Run) -> Result<Done, Box<Failed>> {
        let number = self.existing(at)?;
        self.check_conditions(at, Some(number))?;
        let Some(Entry { key, version, instance, .. }) = self.entries.get_mut(number) else {
            return Err(vanished());
        };
        let seq = instance.seq();
        run.step.engine.clear();
        if let Err(error) = version.machine.stop(instance, Millis(run.now), &mut run.step.engine) {
            // What cannot be stopped can be removed all the same: nothing else would free its key.
            tracing::warn!(machine = %version.name, %key, %error, "removed, and could not be stopped first");
            run.step.engine.clear();
        }
        let event = if instance.seq() == seq { "" } else { "xstate.stop" };
        self.publish_removal(number, event, "delete", run);
        Ok(Done { number, changed: true, removed: true, ..Done::default() })
    }

    /// Tells watchers where an instance stood when it went. `run.step.engine` holds what its stop did.
    pub(super) fn publish_removal(&self, number: u32, event: &str, reason: &'static str, run: &mut Run) {
        let Some(entry) = self.entries.get(number) else { return };
        run.counts.effects += run.step.engine.effects.len() as u64;
        if run.watched {
            run.step.changes.push(Arc::new(change(entry, event, reason, true, &run.step.engine.effects)));
        }
    }

    /// Takes an instance out. Its tokens stay for a while; its key's standbys hear that there is nothing to be lost.
    pub(super) fn remove_for_good(&mut self, partition: u16, hash: u64, number: u32, run: &mut Run) {
        let Some(Entry { key, run: life, version, tokens, .. }) = self.remove(partition, hash, number) else { return };
        self.lives.removed(life);
        self.wake_key(partition, hash, run);
        run.counts.removed += 1;
        let machine = Arc::clone(&version.name);
        if let Some(tokens) = tokens {
            let until = run.now.saturating_add(self.daemon.rules.dedup_for_ms);
            run.counts.forgotten.tokens +=
                self.removed.put(partition, hash, Left { until, run: life, version, tokens });
        }
        let key = Fresh { partition, machine, key, run: life };
        self.restate(Restated::Key(key.clone()), run);
        run.keys.push(KeyNote { key, is_there: false, tenure: self.tenure(partition) });
        self.timers.changed();
    }

    /// A new life of a key goes on with the tokens that a removed one left.
    pub(super) fn inherit(&mut self, partition: u16, hash: u64, number: u32) {
        if self.removed.is_empty() {
            return;
        }
        if let Some(left) = self.removed.take(partition, hash)
            && let Some(entry) = self.entries.get_mut(number)
        {
            entry.tokens.get_or_insert_default().inherit(*left.tokens);
        }
    }

    /// When something of removed instances is to be done.
    pub(super) fn removal_due(&self) -> Option<u64> {
        [self.restating.next(), self.removed.next()].into_iter().flatten().min()
    }

    /// The standbys are told so once more, when what was told before is there too.
    pub(super) fn said_again_later(&mut self, partition: u16, said: &UnsaidConflict, run: &mut Run) {
        self.restate(Restated::Said(partition, *said), run);
        self.timers.changed();
    }

    fn restate(&mut self, one: Restated, run: &mut Run) {
        if let Some(first) = self.restating.push(run.now + RESTATE_MS, one) {
            self.state_again(first, run);
        }
    }

    /// Does what is due about removed instances.
    pub(super) fn see_to_removed(&mut self, run: &mut Run) {
        self.removed.expire(run.now, PER_GO);
        for _ in 0..PER_GO {
            let Some(one) = self.restating.pop_due(run.now) else { return };
            self.state_again(one, run);
        }
    }

    /// Tells the standbys again how it stands by now.
    fn state_again(&mut self, one: Restated, run: &mut Run) {
        let key = match one {
            Restated::Key(key) => key,
            Restated::Said(partition, said) => {
                if self.holds(partition) && !self.marks.is_unsaid(partition, &said) {
                    run.lost.push((partition, KnownKey::Said(said)));
                }
                return;
            }
        };
        // What is elsewhere by now is told by who has it.
        if self.holds(key.partition) {
            let hash = hash::key_hash(&key.machine, &key.key);
            let number = self.find(key.partition, hash, &key.machine, &key.key);
            let life = number.and_then(|number| self.entries.get(number)).map(|entry| entry.run);
            let key = Fresh { run: life.unwrap_or(key.run), ..key };
            let tenure = self.tenure(key.partition);
            run.keys.push(KeyNote { key, is_there: life.is_some(), tenure });
        }
    }

    /// Takes what a removed instance left at the daemon that its partition comes from. False if that cannot be read.
    pub(super) fn receive_removed(
        &mut self,
        partition: u16,
        removed: &image::Removed<'_>,
        merges: bool,
        run: &mut Run,
    ) -> bool {
        let table = self.daemon.machines.table();
        let Some(version) = table.by_hash(removed.definition) else { return false };
        let Ok(tokens) = Tokens::decode(removed.tokens, version, &table) else { return false };
        let until = run.now.saturating_add(removed.left_ms.min(self.daemon.rules.dedup_for_ms));
        let version: Arc<Version> = Arc::clone(version);
        if merges {
            self.say_unheard(partition, removed, &tokens);
        }
        let left = Left { until, run: removed.run, version, tokens: Box::new(tokens) };
        run.counts.forgotten.tokens += self.removed.put(partition, removed.hash, left);
        self.timers.changed();
        true
    }

    /// What answers about a removed instance, or about what is here of its key, said of a loss, and those of the other copy did not, has to
    /// be said again.
    fn say_unheard(&mut self, partition: u16, removed: &image::Removed<'_>, tokens: &Tokens) {
        let place = (partition, removed.hash);
        let Some(part) = self.part_mut(partition) else { return };
        if part.merging.is_left_merged(removed.hash, removed.tokens) {
            return;
        }
        let entry = self.find_by_hash(partition, removed.hash).and_then(|number| self.entries.get(number));
        let here = entry.and_then(|entry| Some((entry.tokens.as_deref()?, entry.run)));
        let left = self.removed.get(partition, removed.hash).map(|left| (&*left.tokens, left.run));
        let unheard = |(others, run): (&Tokens, RunId)| (tokens.unheard(others), [removed.run, run]);
        let unheard: Vec<_> = here.into_iter().chain(left).map(unheard).collect();
        for (said, meeting) in unheard {
            said.iter().for_each(|said| self.marks.say_again(place, said, meeting));
        }
    }
}
