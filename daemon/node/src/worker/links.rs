//! Links between this reactor and other daemons. Each daemon opens its own: it sends requests on that, and hears the answers.

use std::collections::BTreeMap;

use statemesh_protocol::peer::frame::{LinkId, PeerFrame};
use statemesh_transport::{ConnId, Io};

use crate::peers::{Peers, say};

/// Links in both directions.
#[derive(Debug)]
pub(super) struct Links {
    /// Those that this reactor opens.
    pub(super) to: Peers,
    /// Those that other daemons opened and greeted on.
    pub(super) from: Accepted,
}

impl Links {
    /// None, but those that this reactor opens when it hears of members.
    pub(super) fn new(to: Peers) -> Self {
        Self { to, from: Accepted::default() }
    }

    /// Says in both directions that links have ended.
    pub(super) fn say_ended(&mut self, links: Vec<LinkId>, io: &mut Io) {
        for link in &links {
            self.to.say_ended(*link, io);
        }
        // Requests that came on them were passed on, and some of those may be of others.
        self.from.say(&PeerFrame::Ended(links), io);
    }

    /// Connections of all of them, ready or not.
    pub(super) fn conns(&self) -> Vec<ConnId> {
        self.from.links.keys().copied().chain(self.to.open_links()).collect()
    }
}

/// A link that another daemon opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Greeted {
    pub(super) member: u32,
    pub(super) lane: u8,
    /// Its name.
    pub(super) link: LinkId,
    /// The number of its greeting.
    greeting: u64,
    /// The control plane ended it: nothing that comes on it counts any more.
    pub(super) is_ended: bool,
    /// Until the member has said this number back, requests on it may be old.
    fence: Option<u64>,
}

impl Greeted {
    /// A member has greeted on a lane.
    pub(super) fn new(member: u32, lane: u8, link: LinkId, greeting: u64) -> Self {
        Self { member, lane, link, greeting, is_ended: false, fence: None }
    }
}

/// Links that other daemons opened and greeted on, and how old what comes by them may be.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    links: BTreeMap<ConnId, Greeted>,
    /// The last request that was kept when this daemon began to doubt: what members passed on before is old.
    doubted: u64,
    /// The number of the last fence: an answer to an earlier one lifts none.
    fences: u64,
}

impl Accepted {
    /// A member has greeted.
    pub(super) fn add(&mut self, conn: ConnId, greeted: Greeted) {
        self.links.insert(conn, greeted);
    }

    /// A link, if a member has greeted on it.
    pub(super) fn get(&self, conn: ConnId) -> Option<&Greeted> {
        self.links.get(&conn)
    }

    /// A link has ended.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Greeted> {
        self.links.remove(&conn)
    }

    /// The links of a member's lane that it greeted on before this greeting.
    pub(super) fn older(&self, member: u32, lane: u8, greeting: u64) -> Vec<ConnId> {
        let older = |(conn, greeted): (&ConnId, &Greeted)| {
            let is_older = greeted.member == member && greeted.lane == lane && greeted.greeting < greeting;
            (is_older && !greeted.is_ended).then_some(*conn)
        };
        self.links.iter().filter_map(older).collect()
    }

    /// The control plane ends a member's control links. Gives those.
    pub(super) fn end_control(&mut self, member: u32) -> Vec<ConnId> {
        let its = self.links.iter_mut().filter(|(_, greeted)| greeted.member == member && greeted.lane == 0);
        its.map(|(conn, greeted)| {
            greeted.is_ended = true;
            *conn
        })
        .collect()
    }

    /// Closes the links of a member that it greeted on before this greeting.
    pub(super) fn close_older(&self, member: u32, greeting: u64, io: &mut Io) {
        let is_older = |greeted: &Greeted| greeted.member == member && greeted.greeting < greeting;
        for (conn, _) in self.links.iter().filter(|(_, greeted)| is_older(greeted)) {
            io.close(*conn);
        }
    }

    /// Says something on all of them.
    pub(super) fn say(&self, frame: &PeerFrame<'_>, io: &mut Io) {
        for (conn, _) in self.links.iter().filter(|(_, greeted)| !greeted.is_ended) {
            say(*conn, frame, io);
        }
    }

    /// What was kept until this request is old from now on.
    pub(super) fn doubt(&mut self, last: u64) {
        self.doubted = last;
    }

    /// Asks on every link for an answer: what comes before it is old as well.
    pub(super) fn fence(&mut self, io: &mut Io) {
        self.fences += 1;
        for (conn, greeted) in self.links.iter_mut().filter(|(_, greeted)| !greeted.is_ended) {
            greeted.fence = Some(self.fences);
            say(*conn, &PeerFrame::Fence(self.fences), io);
        }
    }

    /// A member has said a fence's number back.
    pub(super) fn unfence(&mut self, conn: ConnId, number: u64) {
        if let Some(greeted) = self.links.get_mut(&conn).filter(|greeted| greeted.fence == Some(number)) {
            greeted.fence = None;
        }
    }

    /// Whether what comes on this link may be old.
    pub(super) fn is_fenced(&self, conn: ConnId) -> bool {
        self.get(conn).is_some_and(|greeted| greeted.fence.is_some())
    }

    /// Whether a request that came on this link is to be discarded, as the link has ended or it is old.
    pub(super) fn discards(&self, conn: ConnId, arrival: u64) -> bool {
        !self.links.contains_key(&conn) || arrival <= self.doubted
    }
}
