//! Requests and their answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use statemesh_protocol::reply::Encoding;
use statemesh_protocol::reply_reader::Fields;
use statemesh_protocol::request::{Class, Op};
use statemesh_protocol::request_parts::Conditions;
use statemesh_protocol::request_writer::{Ask, Event};
use statemesh_transport::curve::Security;

use crate::answers::{Defined, Instance, Member, Outcome, Reply, Whereabouts};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::error::{ClientError, Refusal};
use crate::owners::Owners;
use crate::retry::{Retries, Step, Trouble};

/// Connections to daemons that serve keys, beside the one to the daemon that is asked for everything else.
const MAX_LINKS: usize = 256;

/// What a client is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of daemons, `tcp://host:port` or `host:port`; one is used, the others when it does not answer.
    pub addresses: Vec<String>,
    /// The client's keys, if the mesh has security on.
    pub security: Security,
    /// For a connection, its handshake, and each answer.
    pub timeout: Duration,
    /// For how long a request is sent again, where its error says that this helps; zero: not at all.
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
}

/// A client of a mesh.
#[derive(Debug)]
pub struct Client {
    options: Options,
    endpoints: Vec<Endpoint>,
    /// The endpoint whose turn it is.
    turn: usize,
    home: Option<Connection>,
    owners: Option<Owners>,
    links: BTreeMap<String, Connection>,
    request: Vec<u8>,
    next_id: u64,
    next_token: u64,
}

/// Where an attempt goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    /// To the daemon that is asked for everything.
    Home,
    /// To the daemon that serves the key.
    Owner(String),
}

impl Client {
    /// Connects to the first address that takes the connection.
    ///
    /// # Errors
    /// None does.
    pub fn connect(options: Options) -> Result<Self, ClientError> {
        let mut client = Self::new(options);
        client.home = Some(client.open()?);
        Ok(client)
    }

    /// A client that connects with its first request.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let of = |address: &String| Endpoint::new(address, options.security.clone(), options.timeout, 0);
        Self {
            endpoints: options.addresses.iter().map(of).collect(),
            options,
            turn: 0,
            home: None,
            owners: None,
            links: BTreeMap::new(),
            request: Vec::new(),
            next_id: 1,
            next_token: 1,
        }
    }

    /// What it was told.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Adds daemons to those that are asked when the one that was asked no longer answers.
    pub(crate) fn learn_addresses<'a>(&mut self, addresses: impl Iterator<Item = &'a str>) {
        let bare = |address: &str| address.strip_prefix("tcp://").unwrap_or(address).to_owned();
        for address in addresses.filter(|address| !address.is_empty()).map(bare) {
            if self.endpoints.len() < MAX_LINKS && !self.endpoints.iter().any(|known| known.name() == address) {
                let (security, timeout) = (self.options.security.clone(), self.options.timeout);
                self.endpoints.push(Endpoint::new(&address, security, timeout, 0));
            }
        }
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
        let ask = Ask { event: Some(event), ..self.about(Op::Send, machine, key) };
        self.ask(&ask).map(|reply| Outcome::of(&reply.fields()))
    }

    /// Creates an instance with an input, a whole value in the client's encoding.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn start(&mut self, machine: &str, key: &str, input: Option<&[u8]>) -> Result<Outcome, ClientError> {
        let ask = Ask { input, ..self.about(Op::Start, machine, key) };
        self.ask(&ask).map(|reply| Outcome::of(&reply.fields()))
    }

    /// Stops an instance.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn stop(&mut self, machine: &str, key: &str) -> Result<Outcome, ClientError> {
        let ask = self.about(Op::Stop, machine, key);
        self.ask(&ask).map(|reply| Outcome::of(&reply.fields()))
    }

    /// Reads an instance whole.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn get(&mut self, machine: &str, key: &str) -> Result<Instance, ClientError> {
        let ask = self.about(Op::Get, machine, key);
        self.ask(&ask).map(|reply| Instance::of(&reply.fields()))
    }

    /// Says which daemon serves a key.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn whereabouts(&mut self, machine: &str, key: &str) -> Result<Whereabouts, ClientError> {
        let ask = self.about(Op::Where, machine, key);
        self.ask(&ask).map(|reply| Whereabouts::of(&reply.fields()))
    }

    /// Lists the daemons of the mesh.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn members(&mut self) -> Result<Vec<Member>, ClientError> {
        self.ask(&self.of(Op::Members)).map(|reply| Member::all(&reply.fields()))
    }

    /// Gives a definition, as it is written, to every daemon of the mesh.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn define(&mut self, definition: &[u8]) -> Result<Defined, ClientError> {
        let ask = Ask { definition: Some(definition), ..self.of(Op::Define) };
        self.ask(&ask).map(|reply| Defined::of(&reply.fields()))
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
        let token = self.token(ask);
        let dedup = ask.conditions.dedup.or(token.as_deref());
        let ask = Ask { conditions: Conditions { dedup, ..ask.conditions }, ..*ask };
        let is_harmless = !ask.op.changes() || ask.op == Op::Define || dedup.is_some();
        let mut retries = Retries::new(Instant::now(), self.options.patience, is_harmless);
        let mut to = self.destination(&ask);
        loop {
            let error = match self.attempt(&to, &ask) {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            self.learn(&to, &ask, &error);
            match retries.next(Trouble::from(&error), Instant::now()) {
                Step::GiveUp => return Err(error),
                Step::To(address) => to = To::Owner(address),
                Step::Again(wait) => {
                    std::thread::sleep(wait);
                    to = self.destination(&ask);
                }
                Step::Elsewhere(wait) => {
                    std::thread::sleep(wait);
                    if to == To::Home {
                        self.leave_home();
                    }
                    to = To::Home;
                }
            }
        }
    }

    /// A token for a request that has none and may not be carried out twice.
    fn token(&mut self, ask: &Ask<'_>) -> Option<String> {
        let is_kept = matches!(ask.op, Op::Send | Op::Start | Op::Stop | Op::Retry | Op::Skip | Op::Delete);
        let prefix = self.options.tokens.as_ref().filter(|_| is_kept && ask.conditions.dedup.is_none())?;
        let token = format!("{prefix}-{}", self.next_token);
        self.next_token += 1;
        Some(token)
    }

    /// The daemon that serves the key, if this client goes there and knows who it is.
    fn destination(&mut self, ask: &Ask<'_>) -> To {
        let (Some(machine), Some(key)) = (ask.machine, ask.key) else { return To::Home };
        if !self.options.to_owners || ask.op.class() != Class::Keyed {
            return To::Home;
        }
        if self.owners.is_none() {
            let placement = self.attempt(&To::Home, &self.of(Op::Placement));
            self.owners = placement.ok().and_then(|reply| Owners::read(&reply.fields()));
        }
        let owner = self.owners.as_ref().and_then(|owners| owners.of(machine, key));
        owner.map_or(To::Home, |address| To::Owner(address.to_owned()))
    }

    /// What a failure says about who serves what.
    fn learn(&mut self, to: &To, ask: &Ask<'_>, error: &ClientError) {
        match (error, to) {
            (ClientError::Refused(refusal), _) => {
                if let (Some(owners), Some(address)) = (&mut self.owners, &refusal.address)
                    && let (Some(machine), Some(key)) = (ask.machine, ask.key)
                {
                    owners.moved(machine, key, address);
                }
            }
            // A daemon is gone, and its keys are elsewhere, or will be.
            (_, To::Owner(_)) => self.owners = None,
            (_, To::Home) => {}
        }
    }

    /// One attempt; a connection that did not bring it through is not used again.
    fn attempt(&mut self, to: &To, ask: &Ask<'_>) -> Result<Reply, ClientError> {
        let mut connection = self.connection(to)?;
        let ask = Ask { forward: ask.forward && *to == To::Home, ..*ask };
        let answer = self.exchange(&mut connection, &ask);
        if !matches!(answer, Err(ClientError::Broken(_) | ClientError::Unreadable { .. })) {
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
            return match reply.refused() {
                None => Ok(Reply(frame)),
                Some(refused) => {
                    let refusal = Refusal::of(refused, Vec::new());
                    Err(ClientError::Refused(Box::new(Refusal { reply: frame, ..refusal })))
                }
            };
        }
    }

    fn connection(&mut self, to: &To) -> Result<Connection, ClientError> {
        let known = match to {
            To::Home => self.home.take(),
            To::Owner(address) => self.links.remove(address),
        };
        match (known, to) {
            (Some(connection), _) => Ok(connection),
            (None, To::Home) => self.open(),
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
        self.turn += 1;
    }

    fn open(&mut self) -> Result<Connection, ClientError> {
        let mut failed = None;
        for _ in 0..self.endpoints.len() {
            let turn = self.turn % self.endpoints.len();
            let Some(endpoint) = self.endpoints.get_mut(turn) else { break };
            match endpoint.open() {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = Some(error),
            }
            self.turn += 1;
        }
        Err(failed.unwrap_or(crate::endpoint::OpenError::NoAddress("the client".to_owned())).into())
    }
}
