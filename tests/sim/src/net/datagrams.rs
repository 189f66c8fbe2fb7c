//! Datagrams: lost, late, twice, in another order.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::events::Event;
use super::{HostId, Inbox, Net, PollerId};

/// Datagrams that a socket keeps; more are lost, as in a kernel.
const INBOX: usize = 256;

impl Net {
    /// Binds a datagram socket, which gives this loop turns.
    pub fn bind_datagrams(&mut self, poller: PollerId, address: SocketAddr) {
        let Some(host) = self.loops.get(poller).map(|poller| poller.host) else { return };
        if let Some(host) = self.hosts.get_mut(host) {
            host.inboxes.insert(address, Inbox { poller, waiting: VecDeque::new() });
        }
    }

    /// Sends a datagram.
    pub fn send_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let copies = 1 + usize::from(self.dice.chance(self.faults.duplicate));
        for _ in 0..copies {
            if self.dice.chance(self.faults.loss) || self.cut_between(from, to) {
                continue;
            }
            let at = self.now + self.delay();
            self.events.add(at, Event::Datagram { from, to, bytes: bytes.to_vec() });
        }
    }

    /// The next datagram that has arrived at this address.
    pub fn receive_datagram(&mut self, host: HostId, at: SocketAddr) -> Option<(SocketAddr, Vec<u8>)> {
        self.hosts.get_mut(host)?.inboxes.get_mut(&at)?.waiting.pop_front()
    }

    fn cut_between(&self, from: SocketAddr, to: SocketAddr) -> bool {
        match (self.host_of(from.ip()), self.host_of(to.ip())) {
            (Some(from), Some(to)) => self.is_cut(from, to),
            _ => true,
        }
    }

    pub(super) fn datagram_arrives(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let Some(host) = self.host_of(to.ip()).and_then(|host| self.hosts.get_mut(host)) else { return };
        let Some(inbox) = host.inboxes.get_mut(&to) else { return };
        if inbox.waiting.len() >= INBOX {
            return;
        }
        self.traffic.datagrams += 1;
        self.trace.note(self.now, &[1, u64::from(to.port()), u64::from(from.port())], &bytes);
        inbox.waiting.push_back((from, bytes));
        let poller = inbox.poller;
        self.loops.want(poller);
    }
}
