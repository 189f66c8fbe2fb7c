//! Requests whose answers are futures. They need no runtime: a thread of the client's own has the connections, and wakes who waits.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use statemesh_protocol::reply::Encoding;
use statemesh_protocol::request::Op;
use statemesh_protocol::request_writer::{Ask, Event};

use crate::answers::{Defined, Instance, Member, Outcome, Reply, Whereabouts};
use crate::client::Options;
use crate::driver::Driver;
use crate::mailbox::{AsyncError, Claim, Mailbox, Room};
use crate::requests::{self, Typed};

/// A client of a mesh with many requests under way. A clone is the same client; its thread ends with the last of them and the
/// last of their futures.
///
/// It retries, routes and makes tokens as the blocking [`Client`](crate::Client) does, by the same [`Options`]. What differs:
///
/// - A request is on its way once it is made, also before its future is polled. Requests about one key are sent in the order in which
///   they were made, and so applied, as long as none has to be sent again or the key moves: who needs more waits for each answer.
/// - One whose future is dropped is forgotten: it is not sent any more if it was not yet, and not sent again. Whether it was carried out
///   is not known.
/// - What is under way is bounded by [`Room`]; one request more is answered [`AsyncError::Full`] at once.
/// - Where no answer comes within [`Options::timeout`] the request is given up alone, and its connection too if that is silent.
#[derive(Debug)]
pub struct AsyncClient {
    mailbox: Arc<Mailbox>,
    encoding: Encoding,
}

impl Clone for AsyncClient {
    fn clone(&self) -> Self {
        self.mailbox.add_client();
        Self { mailbox: Arc::clone(&self.mailbox), encoding: self.encoding }
    }
}

impl Drop for AsyncClient {
    fn drop(&mut self) {
        self.mailbox.remove_client();
    }
}

impl AsyncClient {
    /// A client that connects with its first request.
    ///
    /// # Errors
    /// The operating system has no thread for it, or nothing to wake that with.
    pub fn new(options: Options) -> io::Result<Self> {
        Self::with_room(options, Room::default())
    }

    /// The same with another bound of what is under way.
    ///
    /// # Errors
    /// As for [`AsyncClient::new`].
    pub fn with_room(options: Options, room: Room) -> io::Result<Self> {
        let encoding = options.encoding;
        Ok(Self { mailbox: Driver::start(options, room)?, encoding })
    }

    /// Sends an event to an instance.
    pub fn send(&self, machine: &str, key: &str, event: Event<'_>) -> Answer<Outcome> {
        self.typed(&requests::send(self.encoding, machine, key, event))
    }

    /// Creates an instance with an input, a whole value in the client's encoding.
    pub fn start(&self, machine: &str, key: &str, input: Option<&[u8]>) -> Answer<Outcome> {
        self.typed(&requests::start(self.encoding, machine, key, input))
    }

    /// Stops an instance.
    pub fn stop(&self, machine: &str, key: &str) -> Answer<Outcome> {
        self.typed(&requests::stop(self.encoding, machine, key))
    }

    /// Reads an instance whole.
    pub fn get(&self, machine: &str, key: &str) -> Answer<Instance> {
        self.typed(&requests::get(self.encoding, machine, key))
    }

    /// Says which daemon serves a key.
    pub fn whereabouts(&self, machine: &str, key: &str) -> Answer<Whereabouts> {
        self.typed(&requests::whereabouts(self.encoding, machine, key))
    }

    /// Lists the daemons of the mesh.
    pub fn members(&self) -> Answer<Vec<Member>> {
        self.typed(&requests::members(self.encoding))
    }

    /// Gives a definition, as it is written, to every daemon of the mesh.
    pub fn define(&self, definition: &[u8]) -> Answer<Defined> {
        self.typed(&requests::define(self.encoding, definition))
    }

    /// A request in the client's encoding.
    #[must_use]
    pub fn of<'a>(&self, op: Op) -> Ask<'a> {
        Ask::new(op, self.encoding)
    }

    /// The same about one instance.
    #[must_use]
    pub fn about<'a>(&self, op: Op, machine: &'a str, key: &'a str) -> Ask<'a> {
        Ask::about(op, self.encoding, machine, key)
    }

    /// Asks, again and elsewhere as long as that helps and is harmless, and gives the reply that is good. A `tell` has none: it is over
    /// once it is on its way.
    pub fn ask(&self, ask: &Ask<'_>) -> Answer<Reply> {
        self.typed(&Typed { ask: *ask, read: |reply| reply })
    }

    fn typed<A>(&self, typed: &Typed<'_, A>) -> Answer<A> {
        let stage = self.mailbox.ask(&typed.ask).map_or_else(|error| Stage::Refused(Some(error)), Stage::Asked);
        Answer { stage, read: typed.read }
    }
}

/// The answer to a request, once it is there. Dropped before, the request is forgotten.
#[must_use = "a request whose future is dropped is forgotten"]
#[derive(Debug)]
pub struct Answer<A> {
    stage: Stage,
    read: fn(Reply) -> A,
}

#[derive(Debug)]
enum Stage {
    Asked(Claim),
    /// It was not; until that was said.
    Refused(Option<AsyncError>),
}

impl<A> Future for Answer<A> {
    type Output = Result<A, AsyncError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.stage {
            Stage::Asked(claim) => claim.poll(context.waker()),
            Stage::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(AsyncError::Ended))),
        };
        answer.map(|answer| answer.map(self.read))
    }
}
