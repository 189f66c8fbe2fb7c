//! Connections: wishes, answers, bytes on their way, ends and resets.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::events::Event;
use super::outgoing::InFlight;
use super::socket::{Phase, Socket, SocketId};
use super::{HostId, Listener, Net, PollerId};
use crate::dice::nanos;

/// Connections that wait to be accepted; a further wish is not answered.
const BACKLOG: usize = 512;
/// A wish that is not answered is repeated after this long, then after twice as long.
const REPEAT: Duration = Duration::from_secs(1);
/// After so many repetitions it is given up.
const REPEATS: u32 = 4;
/// While nothing gets across, it is tried again this often.
const RETRANSMIT: Duration = Duration::from_millis(200);

impl Net {
    /// Listens at an address, for a loop; several loops of a host may listen at the same one.
    pub fn listen(&mut self, poller: PollerId, address: SocketAddr) {
        let Some(loops) = self.loops.get_mut(poller) else { return };
        let number = loops.listeners.len();
        loops.listeners.push(address);
        self.listeners.entry(address).or_default().push(Listener { poller, number, backlog: VecDeque::new() });
    }

    pub(super) fn stop_listening(&mut self, poller: PollerId, address: SocketAddr) {
        let Some(all) = self.listeners.get_mut(&address) else { return };
        let at = all.iter().position(|listener| listener.poller == poller);
        let Some(gone) = at.map(|at| all.remove(at)) else { return };
        if all.is_empty() {
            self.listeners.remove(&address);
        }
        for socket in gone.backlog {
            self.reset(socket);
        }
    }

    pub(super) fn begin_connect(&mut self, poller: PollerId, to: SocketAddr, key: usize) -> io::Result<()> {
        let host = self.take_descriptor(poller)?;
        let local = SocketAddr::new(self.ip(host), self.sockets.fresh_port());
        let id = self.sockets.add(Socket::new(host, local, to));
        self.own(id, poller, key);
        let mut at = self.now + self.delay();
        if to.port() == crate::daemon::PEERS && !self.faults.connect_max.is_zero() {
            at += nanos(self.dice.time(Duration::ZERO, self.faults.connect_max));
        }
        self.events.add(at, Event::Syn { from: id, to, tries: 0 });
        Ok(())
    }

    fn take_descriptor(&mut self, poller: PollerId) -> io::Result<HostId> {
        let id = self.loops.get(poller).map_or(0, |poller| poller.host);
        let Some(host) = self.hosts.get_mut(id) else { return Err(io::ErrorKind::NotFound.into()) };
        if host.open >= host.descriptors {
            const EMFILE: i32 = 24;
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        host.open += 1;
        Ok(id)
    }

    fn own(&mut self, id: SocketId, poller: PollerId, key: usize) {
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.registration.owner = Some((poller, key));
        }
        if let Some(poller) = self.loops.get_mut(poller) {
            poller.sockets.insert(key, id);
        }
    }

    /// A wish for a connection has arrived, or is lost on its way.
    pub(super) fn syn(&mut self, from: SocketId, to: SocketAddr, tries: u32) {
        let Some(socket) = self.sockets.get(from) else { return };
        let (local, from_host) = (socket.local, socket.host);
        let to_host = self.host_of(to.ip());
        let lost = to_host.is_none_or(|to| self.is_cut(from_host, to) || self.is_cut(to, from_host));
        let listening = self.listeners.get(&to).map_or(0, Vec::len);
        let chosen = self.dice.index(listening);
        let full = self.listeners.get(&to).and_then(|all| all.get(chosen)).is_some_and(|l| l.backlog.len() >= BACKLOG);
        if lost || full {
            return self.repeat_syn(from, to, tries);
        }
        let peer = (listening > 0).then(|| {
            let mut end = Socket::new(to_host.unwrap_or_default(), to, local);
            end.phase = Phase::Open;
            end.peer = Some(from);
            self.sockets.add(end)
        });
        if let Some(peer) = peer {
            self.traffic.connections += 1;
            if let Some(listener) = self.listeners.get_mut(&to).and_then(|all| all.get_mut(chosen)) {
                listener.backlog.push_back(peer);
                let (poller, number) = (listener.poller, listener.number);
                if let Some(poller) = self.loops.get_mut(poller) {
                    poller.knocked.insert(number);
                }
                self.loops.want(poller);
            }
        } else {
            self.traffic.refused += 1;
        }
        let at = self.now + self.delay();
        self.events.add(at, Event::Answered { socket: from, peer });
    }

    fn repeat_syn(&mut self, from: SocketId, to: SocketAddr, tries: u32) {
        if tries >= REPEATS {
            return self.break_off(from, io::ErrorKind::TimedOut);
        }
        let at = self.now + (nanos(REPEAT) << tries);
        self.events.add(at, Event::Syn { from, to, tries: tries + 1 });
    }

    pub(super) fn answered(&mut self, id: SocketId, peer: Option<SocketId>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            // Who asked is gone.
            return peer.into_iter().for_each(|peer| self.reset_arrives(peer, usize::MAX));
        };
        let Some(peer) = peer else { return self.break_off(id, io::ErrorKind::ConnectionRefused) };
        socket.peer = Some(peer);
        socket.phase = Phase::Open;
        self.trace.note(self.now, &[2, id, peer], &[]);
        self.report(id, false);
        self.pump(id);
    }

    pub(super) fn accept_from(&mut self, poller: PollerId, listener: usize, key: usize) -> io::Result<SocketAddr> {
        let address = self.loops.get(poller).and_then(|poller| poller.listeners.get(listener)).copied();
        let mine = address
            .and_then(|address| self.listeners.get(&address))
            .and_then(|all| all.iter().position(|l| l.poller == poller));
        let (Some(address), Some(mine)) = (address, mine) else { return Err(io::ErrorKind::WouldBlock.into()) };
        let waits = self.listeners.get(&address).and_then(|all| all.get(mine)).is_some_and(|l| !l.backlog.is_empty());
        if !waits {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.take_descriptor(poller)?;
        let next =
            self.listeners.get_mut(&address).and_then(|all| all.get_mut(mine)).and_then(|l| l.backlog.pop_front());
        let Some(id) = next else { return Err(io::ErrorKind::WouldBlock.into()) };
        self.own(id, poller, key);
        self.sockets.get(id).map(|socket| socket.remote).ok_or_else(|| io::ErrorKind::ConnectionAborted.into())
    }

    /// Puts a connection into its loop's list of what is ready.
    pub(super) fn report(&mut self, id: SocketId, readable: bool) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let Some((poller, key)) = socket.registration.report(readable) else { return };
        if let Some(poller) = self.loops.get_mut(poller) {
            poller.ready.push_back(key);
        }
        self.loops.want(poller);
    }

    /// Sends what fits into the other end's buffer.
    pub(super) fn pump(&mut self, id: SocketId) {
        loop {
            let Some(socket) = self.sockets.get(id) else { return };
            let (Some(peer), Phase::Open) = (socket.peer, socket.phase) else { return };
            let to = self.sockets.get(peer);
            let host = to.map(|to| to.host).or_else(|| self.host_of(socket.remote.ip())).unwrap_or_default();
            if self.is_cut(socket.host, host) {
                return self.stall(id);
            }
            let received = to.map_or(0, |to| to.received.len());
            let room = socket.outgoing.sendable(received, self.faults.receive_buffer);
            if room == 0 {
                return self.pump_end(id);
            }
            let mut size = room.min(self.faults.segment);
            if self.dice.chance(self.faults.short_segments) {
                size = 1 + self.dice.index(size);
            }
            let at = self.now + self.delay();
            let Some(socket) = self.sockets.get_mut(id) else { return };
            self.events.add(socket.outgoing.send(size, at), Event::Arrival { from: id });
        }
    }

    fn pump_end(&mut self, id: SocketId) {
        let at = self.now + self.delay();
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if let Some(at) = socket.outgoing.send_end(at) {
            self.events.add(at, Event::Arrival { from: id });
        }
    }

    fn stall(&mut self, id: SocketId) {
        let (low, high) = self.faults.give_up;
        let patience = nanos(self.dice.time(low, high));
        let now = self.now;
        if self.sockets.get_mut(id).is_some_and(|socket| socket.outgoing.stall(now)) {
            self.events.add(now + patience, Event::GiveUp { socket: id, since: now });
        }
    }

    /// What was cut hears again.
    pub(super) fn unstall(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(id) else { return };
        let host = self.host_of(socket.remote.ip()).unwrap_or_default();
        if self.is_cut(host, socket.host) || self.is_cut(socket.host, host) {
            return;
        }
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.outgoing.unstall();
        }
        self.pump(id);
        self.room_again(id);
    }

    fn room_again(&mut self, id: SocketId) {
        let most = self.faults.send_buffer;
        if self.sockets.get_mut(id).is_some_and(|socket| socket.outgoing.room_again(most)) {
            self.report(id, false);
        }
    }

    pub(super) fn give_up(&mut self, id: SocketId, since: u64) {
        if self.sockets.get(id).is_some_and(|socket| socket.outgoing.is_stalled_since(since)) {
            self.break_off(id, io::ErrorKind::TimedOut);
        }
    }

    /// The oldest of what is in flight arrives; behind a cut, later.
    pub(super) fn arrival(&mut self, from: SocketId) {
        let Some(socket) = self.sockets.get(from) else { return };
        let (from_host, Some(peer)) = (socket.host, socket.peer) else { return };
        let to_host = self.host_of(socket.remote.ip()).unwrap_or_default();
        if self.is_cut(from_host, to_host) {
            self.stall(from);
            let at = self.now + nanos(RETRANSMIT);
            return self.events.add(at, Event::Arrival { from });
        }
        let deaf = self.is_cut(to_host, from_host);
        let Some(socket) = self.sockets.get_mut(from) else { return };
        let Some(what) = socket.outgoing.arrives(deaf) else { return };
        if deaf {
            self.stall(from);
        }
        self.deliver(from, peer, what);
        self.room_again(from);
        self.pump(from);
        self.bury(from);
    }

    fn deliver(&mut self, from: SocketId, to: SocketId, what: InFlight) {
        let (now, host) = (self.now, self.sockets.get(from).map_or(0, |socket| socket.host));
        let deaf_or_gone = match self.sockets.get(to) {
            Some(socket) => socket.orphan || socket.is_broken(),
            None => true,
        };
        if deaf_or_gone {
            // It has no reader: the kernel says so.
            if matches!(what, InFlight::Bytes(_)) {
                let to_host = self.sockets.get(from).and_then(|s| self.host_of(s.remote.ip())).unwrap_or(host);
                let at = now + self.delay();
                self.events.add(at, Event::Reset { to: from, from_host: to_host });
            }
            return;
        }
        match what {
            InFlight::Bytes(bytes) => {
                self.traffic.bytes += bytes.len() as u64;
                self.trace.note(now, &[3, to], &bytes);
                if let Some(socket) = self.sockets.get_mut(to) {
                    socket.received.extend(bytes);
                }
            }
            InFlight::End => {
                self.trace.note(now, &[4, to], &[]);
                if let Some(socket) = self.sockets.get_mut(to) {
                    socket.ended = true;
                }
            }
        }
        self.report(to, true);
    }

    /// Forgets a socket of which nothing more can come.
    pub(super) fn bury(&mut self, id: SocketId) {
        if self.sockets.get(id).is_some_and(Socket::is_over) {
            self.sockets.remove(id);
        }
    }

    /// This end breaks by itself.
    pub(super) fn break_off(&mut self, id: SocketId, kind: io::ErrorKind) {
        self.traffic.resets += 1;
        self.trace.note(self.now, &[5, id], &[]);
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.phase = Phase::Broken(kind);
            socket.outgoing.clear();
        }
        self.report(id, true);
        self.bury(id);
    }

    /// This end says that it is gone, with what was still to be sent.
    pub(super) fn reset(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.remove(id) else { return };
        if let (Some(peer), Phase::Open) = (socket.peer, socket.phase) {
            let at = socket.outgoing.behind(self.now + self.delay());
            self.events.add(at, Event::Reset { to: peer, from_host: socket.host });
        }
    }

    pub(super) fn reset_arrives(&mut self, to: SocketId, from_host: HostId) {
        let Some(socket) = self.sockets.get(to) else { return };
        if !self.is_cut(from_host, socket.host) && !socket.is_broken() {
            self.break_off(to, io::ErrorKind::ConnectionReset);
        }
    }

    /// Both ends of a connection between two hosts break in the middle of what they say. Says how many there were.
    pub fn break_between(&mut self, a: HostId, b: HostId) -> usize {
        let pairs = [(a, b), (b, a)];
        let between =
            |socket: &Socket| self.host_of(socket.remote.ip()).is_some_and(|to| pairs.contains(&(socket.host, to)));
        let ids = self.sockets.which(between);
        ids.iter().for_each(|id| self.break_off(*id, io::ErrorKind::ConnectionReset));
        ids.len() / 2
    }

    pub(super) fn close(&mut self, poller: PollerId, key: usize, reset: bool) {
        let Some(id) = self.loops.get_mut(poller).and_then(|poller| poller.sockets.remove(&key)) else { return };
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let unread = socket.abandon();
        if let Some(host) = self.hosts.get_mut(socket.host) {
            host.open = host.open.saturating_sub(1);
        }
        // What has no reader makes an orderly end impossible, on Linux too.
        if reset || unread || socket.phase == Phase::Connecting {
            return self.reset(id);
        }
        if socket.peer.is_some_and(|peer| self.sockets.get(peer).is_none()) {
            self.sockets.remove(id);
            return;
        }
        self.pump(id);
        self.bury(id);
        let keeps = |socket: &&mut Socket| socket.outgoing.has_something_to_say();
        let now = self.now;
        if self.sockets.get_mut(id).filter(keeps).is_some_and(|socket| socket.outgoing.stall(now)) {
            // An orphan is not kept for ever.
            self.events.add(now + nanos(ORPHAN), Event::GiveUp { socket: id, since: now });
        }
    }
}

/// How long a kernel keeps what a process has written before it gave a connection up.
const ORPHAN: Duration = Duration::from_secs(60);
