//! The links that one reactor opens to other daemons.
//!
//! Requests, and what goes with them (moves, control), travel on the link that their sender opened, answers come back on
//! the same one: so what one daemon sends another about a partition arrives in the order in which it was sent.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use statemesh_transport::{ConnId, Io};

use crate::access::PeerKeys;
use crate::shared::ENDED_LINKS;
use statemesh_mesh::delivery::ended::Ended;
use statemesh_protocol::peer::frame::{LinkId, PeerFrame};

/// A frame that waits for its link, with the correlation of the request that it carries, if it carries one.
type Waiting = (Option<u64>, Vec<u8>);

#[derive(Debug)]
enum State {
    /// Not connected; the next try is not before this.
    Down(Instant),
    /// Connecting, or waiting for the answer to our greeting, until then.
    Greeting(ConnId, Instant),
    /// Ready.
    Ready(ConnId),
}

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    state: State,
    failures: u32,
    waiting: VecDeque<Waiting>,
    /// The last link that was there, or is about to be.
    link: LinkId,
    /// How many of the ends that others told were told on it.
    told_ended: u64,
    /// Since when there is no link.
    without: Instant,
    /// The control plane was told that there is none.
    told: bool,
}

/// One reactor's links, by the number that this process gave each member.
#[derive(Debug)]
pub(crate) struct Peers {
    by_member: BTreeMap<u32, Peer>,
    max_waiting: usize,
    /// Which of its daemon's reactors this is. Control and moving partitions travel in lane 0, whose links are kept open;
    /// those of other reactors are opened when there is something to send.
    lane: u8,
    /// Links that have ended while something was under way on them, for those that are opened later.
    ended: Ended,
    /// Ends of links that others told, the last ones, and how many there were.
    heard: Ended,
    heard_ever: u64,
    keys: PeerKeys,
}

const FIRST_RETRY: Duration = Duration::from_millis(20);
/// So many of this daemon's own are named on each new link: as many as a large mesh has members.
const OWN_ENDED: usize = 256;
const MAX_RETRY: Duration = Duration::from_secs(2);
/// How long the first try may take, each next one twice as long. TCP sends a lost first packet again after a second, and
/// what follows a packet that was lost after three; another connection has its chance much sooner.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
const MAX_PATIENCE: Duration = Duration::from_secs(5);
/// A member without a link for so long is worth a line in the log: no other member may have what it holds.
const TELLING: Duration = Duration::from_secs(5);

impl Peers {
    /// No links. At most `max_waiting` frames wait for each one.
    pub(crate) fn new(lane: u8, max_waiting: usize, keys: PeerKeys) -> Self {
        let (ended, heard) = (Ended::new(OWN_ENDED), Ended::new(ENDED_LINKS));
        Self { by_member: BTreeMap::new(), max_waiting, lane, ended, heard, heard_ever: 0, keys }
    }

    /// Links that are open, ready or not.
    pub(crate) fn open_links(&self) -> Vec<ConnId> {
        let open = |peer: &Peer| match peer.state {
            State::Greeting(conn, _) | State::Ready(conn) => Some(conn),
            State::Down(_) => None,
        };
        self.by_member.values().filter_map(open).collect()
    }

    /// The last link to a member.
    pub(crate) fn link(&self, member: u32) -> Option<LinkId> {
        self.by_member.get(&member).map(|peer| peer.link)
    }

    /// Says on all links that one has ended, ahead of what they carry from now on.
    pub(crate) fn say_ended(&mut self, link: LinkId, io: &mut Io) {
        self.ended.add(link);
        for peer in self.by_member.values() {
            if let State::Ready(conn) = peer.state {
                say(conn, &PeerFrame::Ended(vec![link]), io);
            }
        }
    }

    /// A member told on its link that others have ended.
    pub(crate) fn heard_ended(&mut self, links: &[LinkId]) {
        // Two that pass on each other's requests tell each other what they heard of each other.
        self.heard_ever += links.iter().filter(|link| self.heard.add(**link)).count() as u64;
    }

    /// Says on a link what others told so, ahead of a request of theirs.
    pub(crate) fn relay_ended(&mut self, member: u32, io: &mut Io) {
        let Some(peer) = self.by_member.get_mut(&member) else { return };
        let State::Ready(conn) = peer.state else { return };
        let new = usize::try_from(self.heard_ever - peer.told_ended).unwrap_or(usize::MAX);
        peer.told_ended = self.heard_ever;
        if new > 0 {
            say(conn, &PeerFrame::Ended(self.heard.last(new)), io);
        }
    }

    /// Whether the links of this reactor carry control.
    pub(crate) fn is_control_lane(&self) -> bool {
        self.lane == 0
    }

    /// A member is there, at this address. A link to an older address is closed.
    pub(crate) fn member(&mut self, member: u32, address: SocketAddr, now: Instant, io: &mut Io) {
        let peer = self.by_member.entry(member).or_insert_with(|| Peer {
            address,
            state: State::Down(now),
            failures: 0,
            waiting: VecDeque::new(),
            link: LinkId::default(),
            told_ended: 0,
            without: now,
            told: false,
        });
        if peer.address != address {
            peer.address = address;
            if let State::Greeting(conn, _) | State::Ready(conn) = peer.state {
                io.close(conn);
            }
        }
    }

    /// A member is gone for good. What waited for it comes back: it was never sent.
    pub(crate) fn gone(&mut self, member: u32, io: &mut Io) -> Vec<u64> {
        let Some(peer) = self.by_member.remove(&member) else {
            return Vec::new();
        };
        if let State::Greeting(conn, _) | State::Ready(conn) = peer.state {
            io.close(conn);
        }
        peer.waiting.into_iter().filter_map(|(correlation, _)| correlation).collect()
    }

    /// Links that are ready.
    pub(crate) fn ready(&self) -> usize {
        self.by_member.values().filter(|peer| matches!(peer.state, State::Ready(_))).count()
    }

    /// Sends a frame; one with a request lets itself wait for the link. `false` if it was not taken.
    pub(crate) fn send(
        &mut self,
        member: u32,
        correlation: Option<u64>,
        frame: &[u8],
        now: Instant,
        io: &mut Io,
    ) -> bool {
        let Some(peer) = self.by_member.get_mut(&member) else {
            return false;
        };
        if let State::Ready(conn) = peer.state {
            return io.send(conn, &[frame]);
        }
        // What is said to a member's process must not reach its successor: only requests, which anybody may answer, wait.
        if correlation.is_none() || peer.waiting.len() >= self.max_waiting {
            return false;
        }
        peer.waiting.push_back((correlation, frame.to_vec()));
        Self::open(member, peer, &self.keys, now, io);
        true
    }

    /// How many bytes the link takes; nothing if there is none yet.
    pub(crate) fn room(&self, member: u32, io: &mut Io) -> Option<usize> {
        match self.by_member.get(&member)?.state {
            State::Ready(conn) => Some(io.room(conn)),
            State::Down(_) | State::Greeting(..) => None,
        }
    }

    /// Whether a request for the member can be sent, or waits for its link: the member is known, and not too many wait.
    pub(crate) fn takes(&self, member: u32) -> bool {
        self.by_member
            .get(&member)
            .is_some_and(|peer| matches!(peer.state, State::Ready(_)) || peer.waiting.len() < self.max_waiting)
    }

    /// Whether the link is ready.
    pub(crate) fn is_ready(&self, member: u32) -> bool {
        self.by_member.get(&member).is_some_and(|peer| matches!(peer.state, State::Ready(_)))
    }

    /// Closes the link; another one is opened in its place. Links of other lanes than control's stay.
    pub(crate) fn close(&mut self, member: u32, io: &mut Io) {
        if let Some(Peer { state: State::Greeting(conn, _) | State::Ready(conn), .. }) = self.by_member.get(&member)
            && self.lane == 0
        {
            io.close(*conn);
        }
    }

    /// Whether the request of this correlation still waits, so was never sent; it is taken out.
    pub(crate) fn withdraw(&mut self, member: u32, correlation: u64) -> bool {
        let Some(peer) = self.by_member.get_mut(&member) else {
            return false;
        };
        let at = peer.waiting.iter().position(|(c, _)| *c == Some(correlation));
        at.is_some_and(|at| peer.waiting.remove(at).is_some())
    }

    fn open(member: u32, peer: &mut Peer, keys: &PeerKeys, now: Instant, io: &mut Io) {
        let State::Down(not_before) = peer.state else {
            return;
        };
        if now < not_before {
            return;
        }
        match io.connect(peer.address, u64::from(member), &keys.dialling(peer.failures)) {
            Ok(conn) => peer.state = State::Greeting(conn, now + peer.patience()),
            Err(error) => {
                tracing::debug!(address = %peer.address, %error, "cannot open a peer link");
                peer.failed(now);
            }
        }
    }

    /// The transport's handshake is complete: greet. The answer has its time: the other side takes the lane for open when it
    /// answers.
    pub(crate) fn opened(&mut self, member: u32, conn: ConnId, link: LinkId, hello: &[u8], now: Instant, io: &mut Io) {
        if let Some(Peer { state: State::Greeting(c, until), link: of_peer, .. }) = self.by_member.get_mut(&member)
            && *c == conn
        {
            *until = now + MAX_PATIENCE;
            *of_peer = link;
            say(conn, &PeerFrame::Hello { lane: self.lane, link, greeting: hello }, io);
        }
    }

    /// The other side accepted our greeting: send what waits. Says whether that was news.
    pub(crate) fn accepted(&mut self, member: u32, conn: ConnId, io: &mut Io) -> bool {
        let Some(peer) = self.by_member.get_mut(&member) else {
            return false;
        };
        if !matches!(peer.state, State::Greeting(c, _) if c == conn) {
            return false;
        }
        peer.state = State::Ready(conn);
        peer.failures = 0;
        if std::mem::take(&mut peer.told) {
            tracing::info!(address = %peer.address, "there is a link to this member again");
        }
        // Requests that have waited may be those of others.
        let ended: Vec<LinkId> = self.ended.all().into_iter().chain(self.heard.all()).collect();
        peer.told_ended = self.heard_ever;
        if !ended.is_empty() {
            say(conn, &PeerFrame::Ended(ended), io);
        }
        for (_, frame) in peer.waiting.drain(..) {
            io.send(conn, &[&frame]);
        }
        true
    }

    /// A link is gone, or could not be had. Says whether it was ready, that is, whether requests may be lost with it.
    pub(crate) fn closed(&mut self, member: u32, conn: ConnId, now: Instant) -> bool {
        let Some(peer) = self.by_member.get_mut(&member) else {
            return true;
        };
        match peer.state {
            State::Greeting(c, _) | State::Ready(c) if c == conn => {
                let was_ready = matches!(peer.state, State::Ready(_));
                if was_ready {
                    peer.without = now;
                }
                peer.failed(now);
                was_ready
            }
            _ => false,
        }
    }

    /// Opens links for which something waits, and anew those that take too long. Gives when to ask again.
    pub(crate) fn turn(&mut self, now: Instant, io: &mut Io) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for (&member, peer) in &mut self.by_member {
            if peer.waiting.is_empty() && self.lane != 0 {
                continue;
            }
            if let State::Greeting(conn, until) = peer.state
                && until <= now
            {
                io.close(conn);
                peer.failed(now);
            }
            Self::open(member, peer, &self.keys, now, io);
            if let State::Down(at) | State::Greeting(_, at) = peer.state {
                next = Some(next.map_or(at, |n| n.min(at)));
                // Other lanes are opened when there is something to send.
                if self.lane == 0 {
                    peer.tell(now);
                }
            }
        }
        next
    }
}

/// Says something on a link, in either direction.
pub(crate) fn say(conn: ConnId, frame: &PeerFrame<'_>, io: &mut Io) {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    io.send(conn, &[&bytes]);
}

impl Peer {
    /// A time that doubles with each failure in a row.
    fn doubled(&self, first: Duration) -> Duration {
        first.saturating_mul(1 << self.failures.min(10))
    }

    fn patience(&self) -> Duration {
        self.doubled(FIRST_PATIENCE).min(MAX_PATIENCE)
    }

    /// Says once that there is no link.
    fn tell(&mut self, now: Instant) {
        if !self.told && now.saturating_duration_since(self.without) >= TELLING {
            self.told = true;
            tracing::warn!(
                address = %self.address,
                "no link to a member that gossip reaches: what it may hold waits; is its peer port open to this daemon?"
            );
        }
    }

    fn failed(&mut self, now: Instant) {
        let wait = self.doubled(FIRST_RETRY).min(MAX_RETRY);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Down(now + wait);
    }
}
