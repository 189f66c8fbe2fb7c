//! Flow control as a value: which connections are read, stalled, paused or over, what is unsent and unread, which were silent for
//! too long, and whose handshake takes too long. It has no socket and no clock: the time comes in, and what it decides is seen in
//! its lists.
//!
//! A link between daemons is never stalled and never paused ([`Kind`]).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::heartbeat::{Rounds, Silence, Verdict};
use crate::limits::{ConnectionLimiter, Kind, Refusal, Settings};
use crate::link::Link;
use crate::reactor::{Closed, ConnId, Origin, Usage};
use crate::table::{Conn, Course, Stage, Table};

/// A handshake that has lasted this long makes room for a new connection when there are too many.
const EVICT_AGE: Duration = Duration::from_millis(250);
/// How many of the oldest handshakes are looked at to find one that can make room.
const EVICT_LOOK: usize = 16;
/// Silent connections that are looked at in one turn.
const TURN_LOOKS: usize = 16;

/// The connections of one reactor, and what each may do.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) settings: Settings,
    pub(crate) table: Table,
    /// Connections with something to read or write in this turn.
    pub(crate) busy: Vec<ConnId>,
    /// Connections in their handshake that have something to read.
    pub(crate) knocking: VecDeque<ConnId>,
    /// Connections that are over, and of which the handler is still to be told.
    pub(crate) ended: VecDeque<(ConnId, Closed)>,
    /// Connections of whose messages too many are under way.
    paused: Vec<ConnId>,
    /// Connections whose handshake is not complete, in the order of their deadlines.
    handshakes: VecDeque<(Instant, ConnId)>,
    /// Connections whose handshake is complete, in the order in which they are looked at for signs of life.
    rounds: Rounds,
    /// Accepted connections, of other reactors too.
    pub(crate) limiter: Arc<ConnectionLimiter>,
    pub(crate) usage: Usage,
}

/// Lists a connection that has something to do.
fn list(busy: &mut Vec<ConnId>, id: ConnId, conn: &mut Conn) {
    if !std::mem::replace(&mut conn.listed, true) {
        busy.push(id);
    }
}

impl Flow {
    /// No connections yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            table: Table::default(),
            busy: Vec::new(),
            knocking: VecDeque::new(),
            ended: VecDeque::new(),
            paused: Vec::new(),
            handshakes: VecDeque::new(),
            rounds: Rounds::default(),
            limiter: Arc::default(),
            usage: Usage::default(),
        }
    }

    /// A connection that is read and written; its handshake has not begun to be waited for.
    pub(crate) fn insert(&mut self, link: Link, origin: Origin, kind: Kind, now: Instant) -> ConnId {
        self.table.insert(link, origin, kind, now)
    }

    /// Counts an accepted connection from this address.
    pub(crate) fn enter(&mut self, id: ConnId, from: IpAddr, now: Instant) -> Result<(), Refusal> {
        if let Some(conn) = self.table.get(id) {
            self.limiter.enter(conn.kind, from, &self.settings, now)?;
            conn.address = Some(from);
        }
        Ok(())
    }

    /// From now on its handshake is waited for.
    pub(crate) fn await_handshake(&mut self, id: ConnId, now: Instant) {
        self.handshakes.push_back((now + self.settings.handshake, id));
    }

    /// Its handshake is complete.
    pub(crate) fn opened(&mut self, id: ConnId, now: Instant) {
        if let Some(conn) = self.table.get(id) {
            let is_known = conn.kind == Kind::Guest || matches!(conn.origin, Origin::Opened(_));
            conn.stage = Stage::Opened;
            self.rounds.add(now + self.settings.heartbeat, id);
            if is_known {
                self.confirm(id);
            }
        }
    }

    /// A connection's peer is known: the daemon that opened this link has greeted.
    pub(crate) fn confirm(&mut self, id: ConnId) {
        let Some(conn) = self.table.get(id) else { return };
        let was_link = conn.is_link();
        conn.stage = Stage::Confirmed;
        if was_link || !conn.is_link() {
            return;
        }
        // Until now it was bounded as guests are, and counted with them.
        self.usage.unread_bytes -= std::mem::take(&mut conn.counted.unread);
        self.usage.unsent_bytes -= conn.counted.unsent;
        self.usage.link_unsent_bytes += conn.counted.unsent;
        if std::mem::take(&mut conn.gate.stalled) {
            conn.intake.supply.ready(true, false);
            list(&mut self.busy, id, conn);
        }
    }

    /// The kernel says that a connection is ready.
    pub(crate) fn ready(&mut self, index: usize, readable: bool, hung_up: bool) {
        let Some((id, conn)) = self.table.at(index) else { return };
        conn.intake.supply.ready(readable, hung_up);
        if !std::mem::replace(&mut conn.listed, true) {
            match conn.origin {
                _ if conn.is_announced() => self.busy.push(id),
                // They are the links to other members, and there are few.
                Origin::Opened(_) => self.knocking.push_front(id),
                Origin::Accepted(_) => self.knocking.push_back(id),
            }
        }
    }

    /// The next of those that have something to say in their handshake.
    pub(crate) fn next_knocking(&mut self) -> Option<ConnId> {
        loop {
            let id = self.knocking.pop_front()?;
            if self.table.get(id).is_some_and(|conn| !conn.is_over()) {
                return Some(id);
            }
        }
    }

    /// Says that what came from this connection was no message as it should be. After too many it is over.
    pub(crate) fn malformed(&mut self, id: ConnId) {
        let Some(conn) = self.table.get(id) else { return };
        conn.malformed = conn.malformed.saturating_add(1);
        self.usage.malformed += 1;
        if conn.malformed == self.settings.malformed.saturating_add(1) {
            self.end(id, Closed::Malformed);
        }
    }

    /// Has a connection end once what is queued is written.
    pub(crate) fn close(&mut self, id: ConnId, now: Instant) {
        let Some(conn) = self.table.get(id) else { return };
        if conn.course == Course::GoesOn {
            conn.course = Course::Closing;
        }
        list(&mut self.busy, id, conn);
        // A peer that does not take what is queued must not keep the connection.
        self.await_handshake(id, now);
    }

    /// A connection is over: nothing more is read of it, and the handler will be told. Of several reasons the first counts.
    /// Links come first: there are few.
    pub(crate) fn end(&mut self, id: ConnId, reason: Closed) {
        let Some(conn) = self.table.get(id).filter(|conn| !conn.is_over()) else { return };
        conn.course = Course::Over;
        if let Some(address) = conn.address.take() {
            // A peer that comes back at once finds its place free.
            self.limiter.leave(conn.kind, address);
        }
        if conn.is_link() || matches!(conn.origin, Origin::Opened(_)) {
            self.ended.push_front((id, reason));
        } else {
            self.ended.push_back((id, reason));
        }
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let conn = self.table.remove(id)?;
        self.usage.unread_bytes -= conn.counted.unread;
        *self.usage.unsent_of(&conn) -= conn.counted.unsent;
        self.usage.malformed -= conn.malformed as usize;
        if let Some(address) = conn.address {
            self.limiter.leave(conn.kind, address);
        }
        Some(conn)
    }

    /// The connection of this kind whose handshake has been waited for the longest, if that is long: a peer that opens
    /// connections and says nothing must not keep others out.
    pub(crate) fn makes_room(&mut self, kind: Kind, now: Instant) -> Option<ConnId> {
        let before = now + self.settings.handshake.saturating_sub(EVICT_AGE);
        let Self { handshakes, table, .. } = self;
        // What is done already is taken out at the front in every turn, so the first ones are those that wait.
        let waiting = handshakes.iter().take_while(|(at, _)| *at <= before).map(|(_, id)| *id);
        let of_kind = waiting.filter_map(|id| {
            let conn = table.get(id).filter(|conn| conn.kind == kind)?;
            Some((id, !conn.is_confirmed() && !conn.is_over() && conn.address.is_some()))
        });
        of_kind.take(EVICT_LOOK).find_map(|(id, goes)| goes.then_some(id))
    }

    /// Too much of what a connection sent is under way: the rest waits.
    pub(crate) fn pause(&mut self, id: ConnId) {
        let Some(conn) = self.table.get(id) else { return };
        conn.gate.paused = true;
        conn.intake.backlog = true;
        self.paused.push(id);
        self.usage.pauses += 1;
    }

    /// Lets connections go on of whose messages enough are answered. There are few, since each has many under way, and these
    /// are bounded together.
    pub(crate) fn resume(&mut self) {
        let Self { paused, table, busy, settings, .. } = self;
        paused.retain(|&id| {
            let Some(conn) = table.get(id) else { return false };
            let stays = conn.gate.stays_paused(settings.in_flight / 2);
            if !stays {
                list(busy, id, conn);
            }
            stays
        });
    }

    /// Connections of whose messages too many are under way.
    pub(crate) fn paused(&self) -> usize {
        self.paused.len()
    }

    /// A connection keeps so many bytes of a message that is not whole. If all keep too many, the one with most of them ends.
    pub(crate) fn count_unread(&mut self, id: ConnId, unread: usize) {
        let Some(conn) = self.table.get(id).filter(|conn| !conn.is_link()) else { return };
        self.usage.unread_bytes = self.usage.unread_bytes + unread - conn.counted.unread;
        conn.counted.unread = unread;
        if self.usage.unread_bytes > self.settings.unread_bytes
            && let Some(worst) = self.table.worst_reader()
            && let Some(conn) = self.table.get(worst)
        {
            self.usage.unread_bytes -= std::mem::take(&mut conn.counted.unread);
            self.end(worst, Closed::HalfSent);
        }
    }

    /// A connection is owed more or less than was counted. A guest that is owed too much is not read, from now on and not only
    /// from the end of its turn: one read holds hundreds of requests, and each may have a large answer. So is a link whose peer
    /// has not greeted: it may be anybody's, and its PINGs are answered. One whose peer has greeted is read all the same: its
    /// answers may be what both sides wait for.
    pub(crate) fn owes(&mut self, id: ConnId) {
        self.count_unsent(id);
        let crowded = self.is_crowded();
        let Some(conn) = self.table.get(id) else { return };
        let owed = conn.counted.unsent;
        let too_much = conn.link.unsent_bytes() > self.settings.unsent_bytes || (crowded && owed > 0);
        if too_much && !conn.is_link() && !conn.gate.stalled {
            conn.gate.stalled = true;
            self.usage.stalls += 1;
        }
    }

    /// Whether guests are owed more than [`Settings::unsent_total_bytes`].
    pub(crate) fn is_crowded(&self) -> bool {
        self.usage.unsent_bytes > self.settings.unsent_total_bytes
    }

    /// More or less is being made for a connection: that counts as what it is owed, though it is read all the same.
    pub(crate) fn withhold(&mut self, id: ConnId, bytes: usize) {
        let Some(conn) = self.table.get(id) else { return };
        conn.dues.withheld = bytes;
        if bytes == 0 && conn.gate.stalled {
            // What it waited for may be gone without having been sent.
            list(&mut self.busy, id, conn);
        }
        self.count_unsent(id);
    }

    /// Whether a link is owed so much that it has to end. Says so where more is queued for it, and where it was written: PONGs are
    /// queued without a word from the handler.
    pub(crate) fn overflows(&mut self, id: ConnId) -> bool {
        let most = self.settings.link_bytes.saturating_mul(2);
        let over = self.table.get(id).is_some_and(|conn| conn.kind == Kind::Link && conn.link.unsent_bytes() > most);
        if over {
            self.end(id, Closed::Overflowed);
        }
        over
    }

    /// Counts what a connection is owed. If all guests are owed far too much, the one that is owed most ends: a guest that is not
    /// read any more may have had much under way before.
    fn count_unsent(&mut self, id: ConnId) {
        let Some(conn) = self.table.get(id) else { return };
        let owed = conn.owed();
        let all = self.usage.unsent_of(conn);
        *all = *all + owed - conn.counted.unsent;
        conn.counted.unsent = owed;
        if self.usage.unsent_bytes > self.settings.unsent_most_bytes
            && let Some(worst) = self.table.worst_taker()
            && let Some(conn) = self.table.get(worst)
        {
            conn.link.drop_unsent();
            conn.dues.withheld = 0;
            self.usage.unsent_bytes -= std::mem::take(&mut conn.counted.unsent);
            self.end(worst, Closed::NotTaken);
        }
    }

    /// A connection was written as far as the kernel takes it: whether it is read depends on what is left.
    pub(crate) fn written(&mut self, id: ConnId, now: Instant) {
        self.owes(id);
        if self.overflows(id) {
            return;
        }
        let crowded = self.is_crowded();
        let Some(conn) = self.table.get(id) else { return };
        let unsent = conn.link.unsent_bytes();
        conn.dues.wants_write = unsent > 0;
        let crowded = crowded && conn.counted.unsent > 0 && !conn.is_link();
        if conn.gate.stalled && unsent <= self.settings.unsent_bytes / 2 && !crowded {
            conn.gate.stalled = false;
            // The kernel did not say so, but there may be something to read.
            conn.intake.supply.ready(true, false);
            // While it was not read it could give no sign of life.
            conn.heard = now;
        }
        if conn.course == Course::Closing && unsent == 0 {
            self.end(id, Closed::ByUs);
        }
    }

    /// The end of a connection's turn: whether it has another depends on what it has left to say.
    pub(crate) fn had_its_turn(&mut self, id: ConnId) {
        let Some(conn) = self.table.get(id) else { return };
        conn.dues.queued = 0;
        conn.listed = conn.has_input();
        if conn.listed {
            self.busy.push(id);
        }
    }

    /// Ends connections whose handshake, or whose end, takes too long. One after another, as the handler hears of them.
    pub(crate) fn expire_handshakes(&mut self, now: Instant) {
        while self.ended.is_empty()
            && let Some(&(at, id)) = self.handshakes.front()
        {
            let reason = match self.table.get(id).map(|conn| (conn.course, conn.is_confirmed())) {
                // It does not take what is queued, and its handshake is not waited for.
                Some((Course::Closing, _)) => Some(Closed::ByUs),
                Some((Course::GoesOn, false)) => Some(Closed::HandshakeTimeout),
                _ => None,
            };
            if reason.is_some() && at > now {
                return;
            }
            self.handshakes.pop_front();
            if let Some(reason) = reason {
                self.end(id, reason);
            }
        }
    }

    /// Asks connections that are silent for a sign of life, and ends those that gave none.
    pub(crate) fn look_after(&mut self, now: Instant) {
        let mut left = TURN_LOOKS;
        while left > 0
            && self.ended.is_empty()
            && let Some(id) = self.rounds.due(now)
        {
            left -= 1;
            let Some(conn) = self.table.get(id) else { continue };
            self.usage.malformed -= std::mem::take(&mut conn.malformed) as usize;
            if conn.gate.paused {
                conn.heard = now;
            }
            let half_sent = !conn.link.is_between_messages() && conn.takes_input();
            match (Silence { span: now.duration_since(conn.heard), half_sent }).judge(&self.settings) {
                Verdict::Alive => {}
                Verdict::Ask => {
                    if conn.link.ping() {
                        list(&mut self.busy, id, conn);
                    }
                }
                Verdict::Dead => {
                    self.end(id, Closed::Silent);
                    continue;
                }
            }
            self.rounds.add(now + self.settings.heartbeat, id);
        }
    }

    /// When the time of a handshake or of a silent connection is over next.
    pub(crate) fn due(&self) -> Option<Instant> {
        let handshake = self.handshakes.front().map(|(at, _)| *at);
        [handshake, self.rounds.next()].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::Security;
    use crate::limits::Bounds;
    use crate::link::{Incoming, Side};
    use bytes::Bytes;
    use omq_proto::SocketType;

    const SETTINGS: Settings = Settings {
        spin: Duration::ZERO,
        connections: 2,
        links: 2,
        connections_per_address: 2,
        connections_per_second: 1_000,
        message_bytes: 1 << 20,
        parts: 16,
        handshake: Duration::from_secs(5),
        handshake_bytes: 1_024,
        heartbeat: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        unread_bytes: 1_000,
        unsent_bytes: 1_000,
        unsent_total_bytes: 1_500,
        unsent_most_bytes: 10_000,
        link_bytes: 10_000,
        in_flight: 2,
        malformed: 2,
    };

    const CLIENT: Origin = Origin::Accepted(0);

    fn link(side: Side, socket_type: SocketType) -> Link {
        Link::new(side, socket_type, Bounds::of_messages(1 << 20), &Security::None)
    }

    fn pass(from: &mut Link, to: &mut Link) {
        let bytes = from.unsent().to_vec();
        from.sent(bytes.len());
        to.receive(Bytes::from(bytes)).unwrap();
    }

    /// Two connections whose handshakes are complete.
    fn two(flow: &mut Flow, kind: Kind, now: Instant) -> [ConnId; 2] {
        [(); 2].map(|()| {
            let (mut ours, mut theirs) =
                (link(Side::Accepted, SocketType::Router), link(Side::Opened, SocketType::Dealer));
            while !(ours.is_ready() && theirs.is_ready()) {
                pass(&mut ours, &mut theirs);
                pass(&mut theirs, &mut ours);
            }
            ours.sent(ours.unsent().len());
            assert!(matches!(ours.poll(), Ok(Some(Incoming::Ready))));
            let id = flow.insert(ours, CLIENT, kind, now);
            flow.await_handshake(id, now);
            flow.opened(id, now);
            id
        })
    }

    fn owe(flow: &mut Flow, id: ConnId, bytes: usize, now: Instant) {
        flow.table.get(id).unwrap().link.send(&[&vec![0; bytes]]);
        flow.written(id, now);
    }

    fn take(flow: &mut Flow, id: ConnId, now: Instant) {
        let link = &mut flow.table.get(id).unwrap().link;
        link.sent(link.unsent().len());
        flow.written(id, now);
    }

    fn is_read(flow: &mut Flow, id: ConnId) -> bool {
        flow.table.get(id).unwrap().takes_input()
    }

    #[test]
    fn who_does_not_take_what_it_is_sent_is_not_read_until_it_does() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let [a, b] = two(&mut flow, Kind::Guest, now);
        owe(&mut flow, a, 1_100, now);
        assert_eq!((is_read(&mut flow, a), is_read(&mut flow, b), flow.usage.stalls), (false, true, 1));
        owe(&mut flow, b, 600, now);
        assert!(!is_read(&mut flow, b), "all together owe too much");
        take(&mut flow, a, now);
        assert!(is_read(&mut flow, a) && flow.table.get(a).unwrap().has_input(), "an edge may have been missed");
    }

    #[test]
    fn when_far_too_much_waits_for_all_the_one_who_takes_least_ends_and_what_it_was_owed_is_gone() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let [a, b] = two(&mut flow, Kind::Guest, now);
        let [link, _] = two(&mut flow, Kind::Link, now);
        flow.confirm(link);
        owe(&mut flow, link, 15_000, now);
        owe(&mut flow, a, 3_000, now);
        owe(&mut flow, b, 6_000, now);
        assert!(flow.is_crowded() && flow.ended.is_empty(), "links have bounds of their own");
        owe(&mut flow, a, 2_000, now);
        assert!(matches!(flow.ended.front(), Some((over, Closed::NotTaken)) if *over == b) && flow.ended.len() == 1);
        assert_eq!(flow.table.get(b).unwrap().link.unsent_bytes(), 0);
        assert!((5_000..5_100).contains(&flow.usage.unsent_bytes), "{}", flow.usage.unsent_bytes);
        flow.remove(b);
        take(&mut flow, a, now);
        assert_eq!(flow.usage.unsent_bytes, 0);
    }

    #[test]
    fn what_is_being_made_for_a_guest_counts_as_owed_and_alone_stalls_nobody() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let [a, b] = two(&mut flow, Kind::Guest, now);
        flow.withhold(a, 1_400);
        owe(&mut flow, a, 50, now);
        assert!(is_read(&mut flow, a), "it is not to blame for what we have not sent");
        owe(&mut flow, b, 90, now);
        assert!(flow.is_crowded() && !is_read(&mut flow, b), "all together are owed too much");
        take(&mut flow, a, now);
        flow.withhold(a, 0);
        take(&mut flow, b, now);
        assert_eq!((flow.usage.unsent_bytes, is_read(&mut flow, b)), (0, true));
        flow.withhold(b, 20_000);
        assert!(matches!(flow.ended.front(), Some((over, Closed::NotTaken)) if *over == b));
    }

    #[test]
    fn a_handshake_has_its_time_and_then_the_connection_is_over() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let id = flow.insert(link(Side::Accepted, SocketType::Router), CLIENT, Kind::Guest, now);
        flow.await_handshake(id, now);
        assert_eq!(flow.due(), Some(now + SETTINGS.handshake));
        flow.expire_handshakes(now);
        assert!(flow.ended.is_empty());
        flow.expire_handshakes(now + SETTINGS.handshake);
        assert!(matches!(flow.ended.front(), Some((over, Closed::HandshakeTimeout)) if *over == id));
    }

    #[test]
    fn who_is_silent_is_asked_and_then_over() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let [a, _] = two(&mut flow, Kind::Guest, now);
        flow.look_after(now + SETTINGS.heartbeat);
        assert!(!flow.table.get(a).unwrap().link.unsent().is_empty(), "asked");
        flow.look_after(now + SETTINGS.idle);
        assert!(matches!(flow.ended.front(), Some((over, Closed::Silent)) if *over == a));
    }

    #[test]
    fn a_reason_to_end_is_told_once_and_a_place_is_free_at_once() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let [a, b] = two(&mut flow, Kind::Guest, now);
        let from = IpAddr::from([10, 0, 0, 1]);
        assert_eq!([flow.enter(a, from, now), flow.enter(b, from, now)], [Ok(()); 2]);
        flow.end(a, Closed::ByPeer);
        flow.end(a, Closed::Silent);
        assert_eq!((flow.ended.len(), flow.limiter.connections(Kind::Guest)), (1, 1));
        assert!(flow.remove(a).is_some() && flow.remove(a).is_none());
        assert_eq!(flow.limiter.connections(Kind::Guest), 1);
    }

    #[test]
    fn a_link_is_read_whatever_it_is_owed_and_stalls_no_guest() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let [link, _] = two(&mut flow, Kind::Link, now);
        flow.confirm(link);
        let [guest, _] = two(&mut flow, Kind::Guest, now);
        owe(&mut flow, link, 5_000, now);
        owe(&mut flow, guest, 10, now);
        assert!(is_read(&mut flow, link) && is_read(&mut flow, guest));
        assert_eq!((flow.usage.stalls, flow.usage.unsent_bytes), (0, 12));
    }

    /// PONGs alone: no handler sends them, and asks for room.
    #[test]
    fn who_connects_as_a_daemon_and_has_not_greeted_is_bounded_as_a_guest_is() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let [link, other] = two(&mut flow, Kind::Link, now);
        owe(&mut flow, link, 1_100, now);
        assert_eq!((is_read(&mut flow, link), is_read(&mut flow, other), flow.usage.stalls), (false, true, 1));
        owe(&mut flow, other, 600, now);
        assert!(flow.is_crowded() && !is_read(&mut flow, other), "all that are not known owe too much together");
        // One that greets all the same, with what was read of it before, is read from then on, and counts as a link.
        flow.confirm(link);
        assert!(is_read(&mut flow, link) && flow.table.get(link).unwrap().has_input());
        assert_eq!((flow.usage.unsent_bytes / 100, flow.usage.link_unsent_bytes / 100), (6, 11));
        owe(&mut flow, other, 20_000, now);
        assert!(matches!(flow.ended.front(), Some((over, _)) if *over == other) && flow.ended.len() == 1);
        for id in [link, other] {
            flow.remove(id);
        }
        assert_eq!((flow.usage.unsent_bytes, flow.usage.link_unsent_bytes), (0, 0));
    }

    #[test]
    fn a_link_that_is_owed_twice_what_it_has_room_for_ends_whatever_it_is_that_was_queued() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let [link, _] = two(&mut flow, Kind::Link, now);
        flow.confirm(link);
        owe(&mut flow, link, 19_000, now);
        assert!(flow.ended.is_empty());
        owe(&mut flow, link, 2_000, now);
        assert!(matches!(flow.ended.front(), Some((over, Closed::Overflowed)) if *over == link));
    }

    #[test]
    fn what_came_half_with_the_end_of_a_handshake_that_we_began_does_not_count_against_guests() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let id = flow.insert(link(Side::Opened, SocketType::Dealer), Origin::Opened(1), Kind::Link, now);
        flow.count_unread(id, 700);
        flow.opened(id, now);
        assert_eq!(flow.usage.unread_bytes, 0);
    }

    #[test]
    fn who_connects_as_a_daemon_and_does_not_greet_is_over() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let [greeted, silent] = two(&mut flow, Kind::Link, now);
        flow.confirm(greeted);
        flow.expire_handshakes(now + SETTINGS.handshake);
        assert!(matches!(flow.ended.front(), Some((over, Closed::HandshakeTimeout)) if *over == silent));
        assert_eq!(flow.ended.len(), 1);
    }

    #[test]
    fn who_does_not_take_our_last_words_is_closed_by_us_and_not_for_its_handshake() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let [deaf, _] = two(&mut flow, Kind::Guest, now);
        owe(&mut flow, deaf, 100, now);
        flow.close(deaf, now);
        flow.expire_handshakes(now + SETTINGS.handshake);
        assert!(matches!(flow.ended.front(), Some((over, Closed::ByUs)) if *over == deaf));
    }

    #[test]
    fn a_guest_makes_room_for_a_guest_only() {
        let now = Instant::now();
        let mut flow = Flow::new(SETTINGS);
        let id = flow.insert(link(Side::Accepted, SocketType::Router), CLIENT, Kind::Guest, now);
        flow.enter(id, IpAddr::from([10, 0, 0, 1]), now).unwrap();
        flow.await_handshake(id, now);
        let later = now + EVICT_AGE;
        assert_eq!((flow.makes_room(Kind::Link, later), flow.makes_room(Kind::Guest, later)), (None, Some(id)));
    }
}
