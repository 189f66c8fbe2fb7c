//! New connections.

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use super::{Closed, ConnId, Event, Handler, Listening, Origin, Reactor};
use crate::kernel::Ending;
use crate::limits::{Kind, Refusal};
use crate::link::{Link, Side};
use crate::turns::ACCEPT_PAUSE;

impl<H: Handler> Reactor<H> {
    /// Takes one connection from a listener. Says whether there was one.
    pub(super) fn accept(&mut self, index: usize, now: Instant) -> bool {
        let Some(listening) = self.listeners.get(index) else {
            return false;
        };
        let origin = Origin::Accepted(listening.number);
        match self.io.kernel.accept(index, self.io.flow.table.next_index()) {
            Ok(from) => {
                let Listening { kind, bounds, .. } = *listening;
                let link = Link::new(Side::Accepted, listening.socket_type, bounds, &listening.security);
                let id = self.io.flow.insert(link, origin, kind, self.io.now);
                self.accepted(id, kind, from.ip(), origin);
                return true;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.turns.is_empty(index),
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
            Err(error) => {
                // Usually EMFILE. The socket stays readable without a new event, so come back by the clock.
                if self.io.flow.usage.accept_failures == 0 {
                    // Once: a peer that opens connections all the time must not fill the log.
                    tracing::warn!(%error, "cannot accept a connection; trying again every {ACCEPT_PAUSE:?}");
                }
                self.io.flow.usage.accept_failures += 1;
                self.turns.failed(index, now);
            }
        }
        false
    }

    /// Keeps a new connection, if there is room for it or can be made.
    fn accepted(&mut self, id: ConnId, kind: Kind, from: IpAddr, origin: Origin) {
        let now = self.io.now;
        let mut entered = self.io.flow.enter(id, from, now);
        if entered == Err(Refusal::TooMany)
            && let Some(oldest) = self.io.flow.makes_room(kind, now)
        {
            self.ended(oldest, &Closed::MadeRoom);
            entered = self.io.flow.enter(id, from, now);
        }
        match entered {
            // Without it nothing is ever heard of this connection, and the handler has not heard of it yet.
            Ok(()) => _ = self.io.begin(id),
            Err(refusal) => {
                self.io.give_up(id, Ending::Reset);
                self.handler.handle(Event::Refused(origin, refusal), &mut self.io);
            }
        }
    }
}
