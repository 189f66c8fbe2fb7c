//! How groups begin: born, or as a leader has left them. What led there is done by the core itself, so a core with a mistake begins with it.

use super::check::Ghost;
use super::model::{Action, Place, Shared, State};
use super::node::{Disk, Node};
use super::replication::Ballot;
use super::replication::config::{Configuration, Replica};
use super::replication::message::{Body, Entry, Envelope};
use crate::bounds::{Plan, Start};
use statemesh_protocol::identity::MemberName;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Place {
    /// All that a model may begin with.
    pub(super) fn beginnings(&self) -> Vec<State> {
        let mut disks = self.disks();
        let mut ghost = Ghost::default();
        match self.bounds.start {
            Start::Parted => parted(&mut disks, &mut ghost, 1),
            Start::Longer => parted(&mut disks, &mut ghost, 2),
            Start::Birth | Start::Swapping | Start::Doubted => {}
        }
        let node = |disk| Shared::new(Node::start(disk, Arc::clone(&self.settings), self.now));
        let nodes: Vec<_> = disks.into_iter().map(node).collect();
        // The first voter asks for votes first, so it is one of its own; the others are alike.
        let slow = 0..if self.bounds.crashes > 0 { 2 } else { 1 };
        slow.map(|slow| self.begin(State::new(nodes.clone(), slow, ghost.clone()))).collect()
    }

    fn disks(&self) -> Vec<Disk> {
        let names = ["a", "b", "c", "d", "e", "f"].map(|name| MemberName::new(name).unwrap());
        let volume = 7;
        let voters = names.iter().take(self.bounds.voters).map(|name| (name.clone(), volume));
        let configuration = Arc::new(Configuration::first(voters));
        let disk = |name: &MemberName| {
            let me = Replica { generation: 0, volume, name: name.clone() };
            let there = configuration.votes(&me);
            Disk::new(me, if there { Arc::clone(&configuration) } else { Arc::default() }, !there)
        };
        let count = self.bounds.voters + usize::from(self.bounds.plan == Plan::Swap);
        names.iter().take(count).map(disk).collect()
    }

    fn begin(&self, mut state: State) -> State {
        let done = match self.bounds.start {
            Start::Birth | Start::Parted | Start::Longer => Ok(()),
            Start::Swapping => self.swapping(&mut state),
            Start::Doubted => self.doubted(&mut state),
        };
        state.violation = done.err();
        state
    }

    fn swapping(&self, state: &mut State) -> Result<(), String> {
        self.perform(state, Action::Campaign(0))?;
        self.deliver(state, |_| true)?;
        self.perform(state, Action::Learn(0))?;
        self.deliver(state, |_| true)?;
        state.network.clear();
        self.perform(state, Action::Change(0))
    }

    fn doubted(&self, state: &mut State) -> Result<(), String> {
        let doubted = self.newcomer();
        let name = state.nodes[doubted].group.me().name.clone();
        // It is damage that the leader believes in: there is no other one.
        state.damaged = true;
        self.perform(state, Action::Campaign(0))?;
        self.deliver(state, |_| true)?;
        state.network.clear();
        self.perform(state, Action::Learn(0))?;
        self.deliver(state, |envelope| envelope.to.generation == 0 && envelope.from.name != name)?;
        state.network.retain(|envelope| envelope.to.generation > 0 || envelope.from.name == name);
        Ok(())
    }

    /// Delivers all such messages, and those that follow from them, each once.
    fn deliver(&self, state: &mut State, which: impl Fn(&Envelope) -> bool) -> Result<(), String> {
        let mut delivered = BTreeSet::new();
        loop {
            let open = state.network.iter().filter(|envelope| which(envelope) && !delivered.contains(*envelope));
            let Some(next) = open.min_by(|one, other| Envelope::cmp(one, other)).cloned() else { return Ok(()) };
            delivered.insert(next.clone());
            self.perform(state, Action::Deliver(next))?;
        }
    }
}

fn parted(disks: &mut [Disk], ghost: &mut Ghost, entries: u64) {
    let entry = |term, index| Entry { term, index, body: Body::Term };
    let second = disks[1].me.clone();
    for (number, disk) in disks.iter_mut().enumerate() {
        disk.ballot = Ballot { term: 2, vote: (number > 0).then(|| second.clone()) };
    }
    disks[0].entries = (1..=entries).map(|index| entry(1, index)).collect();
    disks[1].entries = vec![entry(2, 1)];
    ghost.leaders.extend([(1, 0), (2, 1)]);
}
