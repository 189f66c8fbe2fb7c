//! Requests and their answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use statemesh_protocol::reply::Encoding;
use statemesh_protocol::reply_reader::Fields;
use statemesh_protocol::request::Op;
use statemesh_protocol::request_parts::Conditions;
use statemesh_protocol::request_writer::{Ask, Event};
use statemesh_transport::curve::Security;

use crate::addresses::Addresses;
use crate::answers::{Defined, Instance, Member, Outcome, Reply, Whereabouts};
use crate::attempts::{Attempts, MAX_LINKS, Next, Router, Then, To, is_of_connection, judge};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::error::{ClientError, Refusal};
use crate::requests::{self, Typed};
use crate::retry::Trouble;

/// What a client is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of daemons, `tcp://host:port` or `host:port`; one is used, the others when it does not answer.
    pub addresses: Vec<String>,
    /// The client's keys, if the mesh has security on.
    pub security: Security,
    /// For a connection, its handshake, and each answer.
    pub timeout: Duration,
    /// For how long a request is sent again, where its error says that this helps; zero: not at all. If it may go elsewhere, each address is
    /// tried once however long that takes.
    pub patience: Duration,
    /// Begins the tokens that make it harmless to repeat a `send`, `start` or `stop`; no other client's may begin with the same.
    /// `None`: such a request is not repeated once it may have been carried out, unless it brings a token of its own.
    pub tokens: Option<String>,
    /// Whether requests about a key go to the daemon that serves it, by a connection of their own.
    pub to_owners: bool,
    /// How requests are written.
    pub encoding: Encoding,
}

impl Options {
    /// A client of the daemon at `address`, without keys, with five seconds for each answer, in JSON.
    #[must_use]
    pub fn at(address: &str) -> Self {
        Self {
            addresses: vec![address.to_owned()],
            security: Security::None,
            timeout: Duration::from_secs(5),
            patience: Duration::ZERO,
            tokens: None,
            to_owners: false,
            encoding: Encoding::Json,
        }
    }

    /// Addresses beside the first.
    pub(crate) fn others(&self) -> usize {
        self.addresses.len().saturating_sub(1)
    }
}

/// A client of a mesh.
#[derive(Debug)]
pub struct Client {
    options: Options,
    addresses: Addresses,
    router: Router,
    home: Option<Connection>,
    links: BTreeMap<String, Connection>,
    request: Vec<u8>,
    next_id: u64,
}

impl Client {
    /// Connects to the first address that takes the connection.
    ///
    /// # Errors
    /// None does.
    pub fn connect(options: Options) -> Result<Self, ClientError> {
        let mut client = Self::new(options);
        client.home = Some(client.addresses.open()?);
        Ok(client)
    }

    /// A client that connects with its first request.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            addresses: Addresses::new(&options.addresses, &options.security, options.timeout),
            router: Router::new(&options),
            options,
            home: None,
            links: BTreeMap::new(),
            request: Vec::new(),
            next_id: 1,
        }
    }

    /// What it was told.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Adds daemons to those that are asked when the one that was asked no longer answers.
    pub(crate) fn learn_addresses<'a>(&mut self, addresses: impl Iterator<Item = &'a str>) {
        self.addresses.learn(addresses);
    }

    /// Whether it has no connection: the last one broke, and nothing was asked since.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.home.is_none()
    }

    /// Sends an event to an instance.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn send(&mut self, machine: &str, key: &str, event: Event<'_>) -> Result<Outcome, ClientError> {
        self.typed(&requests::send(self.options.encoding, machine, key, event))
    }

    /// Creates an instance with an input, a whole value in the client's encoding.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn start(&mut self, machine: &str, key: &str, input: Option<&[u8]>) -> Result<Outcome, ClientError> {
        self.typed(&requests::start(self.options.encoding, machine, key, input))
    }

    /// Stops an instance.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn stop(&mut self, machine: &str, key: &str) -> Result<Outcome, ClientError> {
        self.typed(&requests::stop(self.options.encoding, machine, key))
    }

    /// Reads an instance whole.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn get(&mut self, machine: &str, key: &str) -> Result<Instance, ClientError> {
        self.typed(&requests::get(self.options.encoding, machine, key))
    }

    /// Says which daemon serves a key.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn whereabouts(&mut self, machine: &str, key: &str) -> Result<Whereabouts, ClientError> {
        self.typed(&requests::whereabouts(self.options.encoding, machine, key))
    }

    /// Lists the daemons of the mesh.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn members(&mut self) -> Result<Vec<Member>, ClientError> {
        self.typed(&requests::members(self.options.encoding))
    }

    /// Gives a definition, as it is written, to every daemon of the mesh.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn define(&mut self, definition: &[u8]) -> Result<Defined, ClientError> {
        self.typed(&requests::define(self.options.encoding, definition))
    }

    fn typed<A>(&mut self, typed: &Typed<'_, A>) -> Result<A, ClientError> {
        self.ask(&typed.ask).map(typed.read)
    }

    /// A request in the client's encoding.
    #[must_use]
    pub fn of<'a>(&self, op: Op) -> Ask<'a> {
        Ask::new(op, self.options.encoding)
    }

    /// The same about one instance.
    #[must_use]
    pub fn about<'a>(&self, op: Op, machine: &'a str, key: &'a str) -> Ask<'a> {
        Ask::about(op, self.options.encoding, machine, key)
    }

    /// Asks, again and elsewhere as long as that helps and is harmless, and gives the reply that is good. A `tell` has none.
    ///
    /// # Errors
    /// No daemon could be reached, the answer did not come, or it is an error that no repetition mends.
    pub fn ask(&mut self, ask: &Ask<'_>) -> Result<Reply, ClientError> {
        let token = self.router.token(ask);
        let dedup = ask.conditions.dedup.or(token.as_deref());
        let ask = Ask { conditions: Conditions { dedup, ..ask.conditions }, ..*ask };
        let mut attempts = Attempts::new(&ask, Instant::now(), self.options.patience, self.options.others());
        let mut to = self.destination(&ask);
        loop {
            let error = match self.attempt(&to, &ask) {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            self.router.learn(&to, &ask, &error);
            to = match attempts.next(&to, Trouble::from(&error), Instant::now()) {
                Next::GiveUp => return Err(error),
                Next::Now(to) => to,
                Next::After(wait, then) => {
                    std::thread::sleep(wait);
                    self.goes(then, &ask)
                }
            }
        }
    }

    /// Where the next attempt goes, after the pause.
    fn goes(&mut self, then: Then, ask: &Ask<'_>) -> To {
        match then {
            Then::ByKey => return self.destination(ask),
            Then::OtherHome => self.leave_home(),
            Then::Home => {}
        }
        To::Home
    }

    fn destination(&mut self, ask: &Ask<'_>) -> To {
        if self.router.wants_placement(ask)
            && let Ok(reply) = self.attempt(&To::Home, &self.of(Op::Placement))
        {
            self.router.placed(&reply.fields());
        }
        self.router.destination(ask)
    }

    /// One attempt; a connection that did not bring it through is not used again.
    fn attempt(&mut self, to: &To, ask: &Ask<'_>) -> Result<Reply, ClientError> {
        let mut connection = self.connection(to)?;
        let answer = self.exchange(&mut connection, &to.attempt(ask));
        if !answer.as_ref().is_err_and(is_of_connection) {
            self.keep(to, connection);
        }
        answer
    }

    fn exchange(&mut self, connection: &mut Connection, ask: &Ask<'_>) -> Result<Reply, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        self.request.clear();
        ask.write(id, &mut self.request);
        connection.push(&self.request);
        connection.flush()?;
        if ask.op == Op::Tell {
            return Ok(Reply::default());
        }
        let deadline = Instant::now() + self.options.timeout;
        loop {
            let message = connection.receive(deadline.saturating_duration_since(Instant::now()))?;
            let frame = message.part_slice(message.len().saturating_sub(1)).unwrap_or_default().to_vec();
            let reply = Fields::read(&frame)
                .map_err(|source| ClientError::Unreadable { name: connection.address().to_string(), source })?;
            // A request that could not be read is answered without an id; only one is under way, so it was this one.
            if reply.raw("id").is_some() && reply.uint("id") != Some(id) {
                continue;
            }
            let refusal = Refusal::said_in(&reply);
            return judge(frame, refusal);
        }
    }

    fn connection(&mut self, to: &To) -> Result<Connection, ClientError> {
        let known = match to {
            To::Home => self.home.take(),
            To::Owner(address) => self.links.remove(address),
        };
        match (known, to) {
            (Some(connection), _) => Ok(connection),
            (None, To::Home) => Ok(self.addresses.open()?),
            (None, To::Owner(address)) => {
                let mut endpoint = Endpoint::new(address, self.options.security.clone(), self.options.timeout, 0);
                Ok(endpoint.open()?)
            }
        }
    }

    fn keep(&mut self, to: &To, connection: Connection) {
        match to {
            To::Home => self.home = Some(connection),
            To::Owner(address) => {
                if self.links.len() >= MAX_LINKS {
                    self.links.pop_first();
                }
                self.links.insert(address.clone(), connection);
            }
        }
    }

    /// The next connection goes to another address, if there is one.
    pub(crate) fn leave_home(&mut self) {
        self.home = None;
        self.addresses.leave();
    }
}
