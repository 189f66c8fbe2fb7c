//! The other members as ownership sees them: who is alive, who is linked, what is under way to each, and who knows that this leaving
//! member holds nothing any more.

use std::collections::BTreeMap;

use statemesh_protocol::identity::MemberName;

/// What is known of another member.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer {
    pub(super) live: bool,
    pub(super) linked: bool,
    pub(super) incarnation: u64,
    /// It has said whether it holds this member for dead.
    pub(super) met: bool,
    /// It is leaving, and said that it holds nothing any more.
    pub(super) drained: bool,
    /// Partitions offered to it or under way to it.
    busy: usize,
    /// It was told that this leaving member holds nothing any more.
    told_drained: bool,
    /// It said that it sends nothing here any more.
    noted_drained: bool,
}

impl Peer {
    /// The link to it is gone, with what it was told.
    pub(super) fn unlinked(&mut self) {
        self.linked = false;
        (self.told_drained, self.noted_drained) = (false, false);
    }
}

/// All members that are alive or linked, but this one.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<MemberName, Peer>,
}

impl Peers {
    pub(super) fn get(&self, name: &MemberName) -> Option<&Peer> {
        self.peers.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &MemberName) -> Option<&mut Peer> {
        self.peers.get_mut(name)
    }

    /// A member that is met now, if it is not known.
    pub(super) fn meet(&mut self, name: &MemberName) -> &mut Peer {
        self.peers.entry(name.clone()).or_default()
    }

    pub(super) fn remove(&mut self, name: &MemberName) {
        self.peers.remove(name);
    }

    pub(super) fn contains(&self, name: &MemberName) -> bool {
        self.peers.contains_key(name)
    }

    pub(super) fn is_linked(&self, name: &MemberName) -> bool {
        self.get(name).is_some_and(|peer| peer.linked)
    }

    /// Whether a member is alive, and there is a link to it.
    pub(super) fn is_reachable(&self, name: &MemberName) -> bool {
        self.get(name).is_some_and(|peer| peer.live && peer.linked)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &MemberName> {
        self.peers.keys()
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &MemberName> {
        self.peers.iter().filter(|(_, peer)| peer.live).map(|(name, _)| name)
    }

    pub(super) fn linked(&self) -> impl Iterator<Item = &MemberName> + Clone {
        self.peers.iter().filter(|(_, peer)| peer.linked).map(|(name, _)| name)
    }

    /// One more partition is offered to a linked member, if fewer than `limit` are offered or under way to it. Says whether it is.
    pub(super) fn begin_handoff(&mut self, to: &MemberName, limit: usize) -> bool {
        let free = self.get_mut(to).filter(|peer| peer.linked && peer.busy < limit);
        free.map(|peer| peer.busy += 1).is_some()
    }

    /// It is not known what arrived of so many partitions that were sent to a member.
    pub(super) fn await_confirmation(&mut self, of: &MemberName, partitions: usize) {
        if let Some(peer) = self.get_mut(of) {
            peer.busy += partitions;
        }
    }

    /// One partition less is offered or under way to a member.
    pub(super) fn end_handoff(&mut self, to: &MemberName) {
        if let Some(peer) = self.get_mut(to) {
            peer.busy = peer.busy.saturating_sub(1);
        }
    }

    /// Nothing is offered or under way to a member any more.
    pub(super) fn end_handoffs(&mut self, to: &MemberName) {
        if let Some(peer) = self.get_mut(to) {
            peer.busy = 0;
        }
    }

    /// This leaving member holds nothing. Gives those that are to be told: each of them once.
    pub(super) fn tell_drained(&mut self) -> Vec<MemberName> {
        let untold = self.peers.iter_mut().filter(|(_, peer)| peer.linked && !peer.told_drained);
        let tell = |(name, peer): (&MemberName, &mut Peer)| {
            peer.told_drained = true;
            name.clone()
        };
        untold.map(tell).collect()
    }

    /// This leaving member holds something: what was told and noted before does not count.
    pub(super) fn forget_drained(&mut self) {
        for peer in self.peers.values_mut() {
            (peer.told_drained, peer.noted_drained) = (false, false);
        }
    }

    /// A member sends nothing here any more, as it was told.
    pub(super) fn note_drained(&mut self, from: &MemberName) {
        if let Some(peer) = self.get_mut(from) {
            peer.noted_drained = peer.told_drained;
        }
    }

    /// Whether no member sends anything here any more. One that lives and is not linked just now may have other lanes.
    pub(super) fn all_noted_drained(&self) -> bool {
        !self.peers.values().any(|peer| peer.live && !peer.noted_drained)
    }
}
