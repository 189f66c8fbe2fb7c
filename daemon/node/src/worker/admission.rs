//! Clients and daemons come in with keys, and may lose what these allow.

use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::request::{Op, Request};
use statemesh_protocol::rights::Right;
use statemesh_transport::{ConnId, Io};

use super::{Asked, ReplyTo, Worker};
use crate::access::Client;

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
        let hint = match code {
            ErrorCode::Forbidden => "use another key, or have the daemon's keys file changed",
            ErrorCode::Leaving => "send it to another daemon",
            ErrorCode::ReservedEvent => {
                "give the event a name of your own, the key the right `engine`, or the machine \"@statemesh\": {\"engineEvents\": true}"
            }
            _ => {
                self.counters.rate_limited.add(1);
                "send less, or have the key's events_per_second raised"
            }
        };
        let asked = Asked { encoding: request.encoding, id: request.id, reply_to };
        self.fail(asked, code, message, hint, io);
    }

    /// Whether an event of the engine may come from a client: in one process that is how XState has it, over a network it fires the
    /// timers of others and ends their children. A machine that is not known here allows nothing, so that no event slips through while
    /// its definition is on its way.
    pub(super) fn takes_engine_events(&self, request: &Request<'_>, client: Option<&Client>) -> bool {
        // What `explain` looks at does not happen.
        if !matches!(request.op, Op::Send | Op::Tell) || client.is_some_and(|client| client.has(Right::Engine)) {
            return true;
        }
        let table = self.shared.machines.table();
        table.by_name(&request.machine).is_some_and(|version| version.machine.takes_engine_events())
    }

    /// The client may not send this event of the engine.
    pub(super) fn refuse_reserved(
        &mut self,
        request: &Request<'_>,
        reply_to: ReplyTo,
        client: Option<&Client>,
        io: &mut Io,
    ) {
        let event: String = request.event_type.chars().take(64).collect();
        let message =
            format!("{event:?} is an event of the engine, which clients may not send to machine {}", request.machine);
        self.clients.audit.note(client.map(Client::name), request, Some(&message), self.time.now);
        self.refuse(request, reply_to, ErrorCode::ReservedEvent, &message, io);
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
