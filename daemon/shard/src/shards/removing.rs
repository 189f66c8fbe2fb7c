//! Removing instances: what they leave, and who is told.

use statemesh_engine::Millis;
use statemesh_protocol::image;
use statemesh_protocol::run::RunId;
use std::sync::Arc;

use super::ops::{At, Done, Failed, vanished};
use super::{KnownKey, Run, State};
use crate::change::change;
use crate::dedup::Tokens;
use crate::instance::Entry;
use crate::machines::Version;
use crate::removed::Left;

/// Removed instances that are forgotten in one go.
const PER_GO: usize = 256;

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
        self.note(partition, KnownKey::Removed { machine, key, run: life, tenure: self.tenure(partition) }, run);
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
        self.removed.next()
    }

    /// Forgets what removed instances left long enough ago.
    pub(super) fn see_to_removed(&mut self, now: u64) {
        self.removed.expire(now, PER_GO);
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
