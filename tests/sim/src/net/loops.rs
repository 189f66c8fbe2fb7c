//! Loops of processes, each with what an epoll instance is to a thread: what it waits for, and what is ready.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::socket::SocketId;
use super::{HostId, PollerId};

/// What one loop waits for.
#[derive(Debug, Default)]
pub(super) struct Poller {
    pub(super) host: HostId,
    pub(super) listeners: Vec<SocketAddr>,
    /// The loop's connections by its own keys.
    pub(super) sockets: BTreeMap<usize, SocketId>,
    /// Connections with something to report, once each.
    pub(super) ready: VecDeque<usize>,
    /// Listeners with something to report.
    pub(super) knocked: BTreeSet<usize>,
    pub(super) woken: bool,
    /// It is in the list of those that are to have a turn.
    listed: bool,
    /// Its process is gone.
    gone: bool,
}

/// All loops, and those that are to have a turn.
#[derive(Debug, Default)]
pub(super) struct Loops {
    all: Vec<Poller>,
    wanted: Vec<PollerId>,
}

impl Loops {
    /// A loop of a process on this host.
    pub(super) fn add(&mut self, host: HostId) -> PollerId {
        self.all.push(Poller { host, ..Poller::default() });
        self.all.len() - 1
    }

    pub(super) fn get(&self, id: PollerId) -> Option<&Poller> {
        self.all.get(id)
    }

    pub(super) fn get_mut(&mut self, id: PollerId) -> Option<&mut Poller> {
        self.all.get_mut(id)
    }

    /// The loops of a host, those of processes that are gone too.
    fn of_host(&self, host: HostId) -> impl Iterator<Item = PollerId> {
        self.all.iter().enumerate().filter(move |(_, poller)| poller.host == host).map(|(id, _)| id)
    }

    /// Gives a loop a turn.
    pub(super) fn want(&mut self, id: PollerId) {
        if let Some(poller) = self.all.get_mut(id)
            && !poller.listed
            && !poller.gone
        {
            poller.listed = true;
            self.wanted.push(id);
        }
    }

    /// Gives all loops of a host a turn.
    pub(super) fn want_all_of(&mut self, host: HostId) {
        self.of_host(host).collect::<Vec<_>>().into_iter().for_each(|poller| self.want(poller));
    }

    /// Wakes a loop, as another thread does.
    pub(super) fn wake(&mut self, id: PollerId) {
        if let Some(poller) = self.all.get_mut(id) {
            poller.woken = true;
        }
        self.want(id);
    }

    /// Loops that are to have a turn, since something is ready for them.
    pub(super) fn take_wanted(&mut self) -> Vec<PollerId> {
        let wanted = std::mem::take(&mut self.wanted);
        for id in &wanted {
            if let Some(poller) = self.all.get_mut(*id) {
                poller.listed = false;
            }
        }
        wanted
    }

    /// The loops of the process that runs on a host.
    pub(super) fn living(&self, host: HostId) -> Vec<PollerId> {
        self.of_host(host).filter(|id| self.all.get(*id).is_some_and(|poller| !poller.gone)).collect()
    }

    /// A loop ends: it has no turns any more. Gives what it listened at, and its connections.
    pub(super) fn end(&mut self, id: PollerId) -> (Vec<SocketAddr>, Vec<usize>) {
        let Some(poller) = self.all.get_mut(id) else { return Default::default() };
        poller.gone = true;
        (std::mem::take(&mut poller.listeners), poller.sockets.keys().copied().collect())
    }
}
