//! A leader changes the copies of its place, and hands over.

use std::sync::Arc;
use std::time::Instant;

use super::config::{Change, Replica};
use super::group::{Group, Role};
use super::leader::Refused;
use super::message::{Body, Message};
use super::outputs::Output;
use super::progress::Progress;

impl Group {
    /// Changes the copies of the place. Returns the index of the entry that says so, which is the generation of a learner that it adds. A change
    /// of voters ends by itself, with a second entry.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn reconfigure(&mut self, change: &Change, now: Instant, out: &mut Vec<Output>) -> Result<u64, Refused> {
        self.forget();
        let (commit, configured_at) = (self.commit, self.log.configured_at());
        let leader = self.leading()?;
        // Until an entry of its term is committed a leader does not know whether the last change is.
        if commit < leader.began || configured_at > commit {
            return Err(Refused::Changing);
        }
        if let Change::Voters(voters) = change {
            let votes = |voter: &Replica| self.log.configuration().votes(voter);
            let caught_up = |voter: &Replica| self.progress(voter).is_some_and(Progress::is_streaming);
            if voters.iter().any(|voter| !votes(voter) && !caught_up(voter)) {
                return Err(Refused::Behind);
            }
        }
        let index = self.log.last().index + 1;
        let next = self.log.configuration().after(change, index).ok_or(Refused::Impossible)?;
        Ok(self.extend(Body::Configuration(Arc::new(next)), now, out))
    }

    /// Begins to send to copies that are new, those of the configuration before too as long as the last one is not committed: they
    /// are to know that they are removed.
    pub(super) fn follow_configuration(&mut self, now: Instant, out: &mut Vec<Output>) {
        let next = self.log.last().index;
        let Self { role: Role::Leader(leader), me, log, lost, commit, .. } = self else { return };
        let before = log.configuration_before().filter(|_| log.configured_at() > *commit);
        let all = log.configuration().replicas().chain(before.into_iter().flat_map(|before| before.replicas()));
        let mut added = Vec::new();
        for replica in all.filter(|replica| *replica != me) {
            if leader.followers.iter().all(|(other, _)| other != replica) {
                leader.followers.push((replica.clone(), Progress::new(next)));
                added.push(replica.clone());
            }
        }
        let lost = lost.clone();
        self.each(|to, progress, source| {
            if added.contains(to) && !lost.contains(&to.name) {
                progress.probe(to, source, now, out);
            }
        });
    }

    /// Goes on with a change of voters as far as it is committed.
    pub(super) fn configuration_is_committed(&mut self, now: Instant, out: &mut Vec<Output>) {
        let configuration = Arc::clone(self.log.configuration());
        if self.log.configured_at() > self.commit {
            return;
        }
        if configuration.is_joint() {
            self.extend(Body::Configuration(Arc::new(configuration.settled())), now, out);
            // One voter alone has committed it when it is durable; others will answer.
            return self.try_to_commit(now, out);
        }
        let Role::Leader(leader) = &self.role else { return };
        if leader.followers.iter().any(|(replica, _)| !configuration.has(replica)) {
            // So that they know.
            self.each(|to, progress, source| {
                if !configuration.has(to) {
                    progress.tell(to, source, now, out);
                }
            });
            if let Role::Leader(leader) = &mut self.role {
                leader.followers.retain(|(replica, _)| configuration.has(replica));
            }
        }
        if !configuration.votes(&self.me) {
            self.leave(now, out);
        }
    }

    /// Stops leading a place that this copy is no voter of any more (Raft, section 6), and names who is to ask for votes first.
    fn leave(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.each(|to, progress, source| progress.tell(to, source, now, out));
        let Role::Leader(leader) = &self.role else { return };
        let voters = leader.followers.iter().filter(|(replica, _)| self.log.configuration().votes(replica));
        let best = voters.max_by_key(|(_, progress)| (progress.is_streaming(), progress.matched()));
        if let Some((best, _)) = best {
            self.send(best.clone(), Message::TimeoutNow { term: self.ballot.term }, out);
        }
        self.abdicate(now, out);
    }

    /// Hands over to a voter: from now on nothing is proposed; when it has all, it is told to ask for votes. [`Output::RolledBack`]
    /// says that it was elected; after [`super::settings::Settings::transfer`] this copy goes on.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn transfer(&mut self, to: &Replica, now: Instant, out: &mut Vec<Output>) -> Result<(), Refused> {
        self.forget();
        let possible = self.log.configuration().votes(to) && *to != self.me;
        let until = now.checked_add(self.settings.transfer).ok_or(Refused::Impossible)?;
        let streaming = self.progress(to).is_some_and(Progress::is_streaming);
        let leader = self.leading()?;
        if !possible {
            return Err(Refused::Impossible);
        }
        if !streaming {
            return Err(Refused::Behind);
        }
        leader.transfer = Some((to.clone(), false, until));
        self.try_to_transfer(out);
        Ok(())
    }

    pub(super) fn try_to_transfer(&mut self, out: &mut Vec<Output>) {
        let Self { role: Role::Leader(leader), log, .. } = self else { return };
        let Some((to, told, _)) = &mut leader.transfer else { return };
        let has =
            leader.followers.iter().any(|(other, progress)| other == to && progress.matched() == log.last().index);
        if has && !*told {
            *told = true;
            let (to, term) = (to.clone(), self.ballot.term);
            self.send(to, Message::TimeoutNow { term }, out);
        }
    }
}
