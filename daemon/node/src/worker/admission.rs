//! Clients and daemons come in with keys, and may lose what these allow.

use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::request::Request;
use statemesh_transport::{ConnId, Io};

use super::{Asked, ReplyTo, Worker};

impl Worker {
    /// A client's or a subscriber's connection is open.
    pub(super) fn admitted(&mut self, conn: ConnId, watches: bool, io: &mut Io) {
        let key = io.peer_key(conn);
        self.counters.by_former_key.add(u64::from(io.is_by_former_key(conn)));
        if !self.clients.admissions.opened(conn, key, watches) {
            io.close(conn);
        }
    }

    /// The client may not ask for this.
    pub(super) fn refuse(
        &mut self,
        request: &Request<'_>,
        reply_to: ReplyTo,
        code: ErrorCode,
        message: &str,
        io: &mut Io,
    ) {
        let hint = if code == ErrorCode::Forbidden {
            "use another key, or have the daemon's keys file changed"
        } else {
            self.counters.rate_limited.add(1);
            "send less, or have the key's events_per_second raised"
        };
        let asked = Asked { encoding: request.encoding, id: request.id, reply_to };
        self.fail(asked, code, message, hint, io);
    }

    /// Ends the connections of clients that are no longer on the list.
    pub(super) fn clients_changed(&mut self, io: &mut Io) {
        for conn in self.clients.admissions.review() {
            io.close(conn);
        }
    }

    /// Ends the links that were opened with a key that no longer counts.
    pub(super) fn peer_keys_changed(&mut self, io: &mut Io) {
        let keys = self.shared.auth.peers();
        for conn in self.links.conns() {
            let key = io.peer_key(conn);
            if !keys.still_know(key) {
                io.close(conn);
            }
        }
    }
}
