//! Changes of every daemon of a mesh, in one stream. A daemon publishes what it serves, so each is subscribed to; those that join are
//! found within [`REFRESH`], and one whose connection ends is tried again.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use statemesh_protocol::reply_reader::Fields;
use statemesh_transport::SocketType;

use crate::answers::run;
use crate::client::Client;
use crate::connection::{Connection, ConnectionError};
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::seen::{Order, Seen};

/// How often the members are asked for again.
const REFRESH: Duration = Duration::from_secs(2);
/// The same while a daemon that is alive is not watched. One that was killed and started at once publishes what it lost within some
/// milliseconds.
const RECONNECT: Duration = Duration::from_millis(50);
/// Changes that were read and not yet asked for; beyond it they stay in the sockets, and at last with their daemons, which count
/// what they drop.
const UNSEEN: usize = 1_024;
/// How long a daemon may have nothing to say before its thread looks whether anybody still listens.
const SILENCE: Duration = Duration::from_secs(60);
/// Keys whose last change is remembered.
const KEYS: usize = 100_000;

/// What a watcher hears.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An instance changed.
    Change(Change),
    /// A daemon is watched from now on.
    Joined(String),
    /// A daemon cannot be watched, or no longer; it is tried again, and told about only once until it has [`Notice::Joined`].
    Silent {
        /// Where it publishes.
        address: String,
        /// Why.
        why: String,
    },
}

/// One published change.
#[derive(Clone, Debug)]
pub struct Change {
    /// `machine/key`.
    pub topic: Vec<u8>,
    /// The map, as it was published.
    pub body: Vec<u8>,
    /// Where it was published: the daemon's address for changes.
    pub daemon: String,
    /// How it follows the one before it; `None`: it has no number, as that a key was lost has none.
    pub order: Option<Order>,
}

impl Change {
    fn new(topic: Vec<u8>, body: Vec<u8>, daemon: String, seen: &mut Seen) -> Self {
        let fields = Fields::read(&body).unwrap_or_default();
        let order = fields.uint("seq").map(|seq| seen.note(&topic, run(&fields), seq));
        Self { topic, body, daemon, order }
    }

    /// Its fields.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields::read(&self.body).unwrap_or_default()
    }
}

enum Told {
    Published { topic: Vec<u8>, body: Vec<u8>, address: Arc<str> },
    Ended { address: String, why: String },
}

/// Follows the changes of a mesh.
#[derive(Debug)]
pub struct Watcher {
    client: Client,
    topic: String,
    watched: BTreeSet<String>,
    /// Those of which was told that they are not watched.
    silent: BTreeSet<String>,
    seen: Seen,
    sender: SyncSender<Told>,
    told: Receiver<Told>,
    /// Notices that were made together with another one.
    waiting: VecDeque<Notice>,
    refresh: Instant,
}

impl Watcher {
    /// Watches all topics that begin with `topic`. `client` is asked for the members.
    ///
    /// # Errors
    /// The members cannot be asked for.
    pub fn new(client: Client, topic: &str) -> Result<Self, ClientError> {
        let (sender, told) = sync_channel(UNSEEN);
        let now = Instant::now();
        let mut watcher = Self {
            client,
            topic: topic.to_owned(),
            watched: BTreeSet::new(),
            silent: BTreeSet::new(),
            seen: Seen::new(KEYS),
            sender,
            told,
            waiting: VecDeque::new(),
            refresh: now + REFRESH,
        };
        watcher.join()?;
        Ok(watcher)
    }

    /// Daemons that are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// What comes next, within `wait`.
    pub fn next(&mut self, wait: Duration) -> Option<Notice> {
        let end = Instant::now() + wait;
        loop {
            if let Some(notice) = self.waiting.pop_front() {
                return Some(notice);
            }
            let now = Instant::now();
            if now >= self.refresh {
                self.refresh = now + if self.silent.is_empty() { REFRESH } else { RECONNECT };
                // The daemon that was asked may be gone: those that are watched already still are, and another one is asked next.
                if self.join().is_err() {
                    self.client.leave_home();
                    self.refresh = now + RECONNECT;
                }
                continue;
            }
            if now >= end {
                return None;
            }
            match self.told.recv_timeout(end.min(self.refresh).saturating_duration_since(now)) {
                Ok(Told::Published { topic, body, address }) => {
                    return Some(Notice::Change(Change::new(topic, body, address.to_string(), &mut self.seen)));
                }
                Ok(Told::Ended { address, why }) => {
                    self.watched.remove(&address);
                    self.silent.insert(address.clone());
                    self.refresh = self.refresh.min(Instant::now() + RECONNECT);
                    return Some(Notice::Silent { address, why });
                }
                // A sender of our own is always there.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    /// Subscribes to those members that are not watched yet.
    fn join(&mut self) -> Result<(), ClientError> {
        let members = self.client.members()?;
        // The one that was asked may be the next to end: then another one is asked.
        self.client.learn_addresses(members.iter().map(|member| member.clients.as_str()));
        let alive = members.into_iter().filter(|member| member.status == "alive" && !member.changes.is_empty());
        let alive: BTreeSet<_> = alive.map(|member| member.changes).collect();
        self.silent.retain(|address| alive.contains(address));
        for address in alive {
            if self.watched.contains(&address) {
                continue;
            }
            match self.subscribe(&address) {
                Ok(()) => {
                    self.silent.remove(&address);
                    self.waiting.push_back(Notice::Joined(address));
                }
                Err(error) => {
                    if self.silent.insert(address.clone()) {
                        self.waiting.push_back(Notice::Silent { address, why: error.to_string() });
                    }
                }
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, address: &str) -> Result<(), ClientError> {
        let options = self.client.options();
        let mut endpoint = Endpoint::new(address, options.security.clone(), options.timeout, 0);
        let mut connection = endpoint.open_as(SocketType::Sub)?;
        connection.subscribe(self.topic.as_bytes());
        connection.flush()?;
        let (sender, from) = (self.sender.clone(), address.to_owned());
        std::thread::spawn(move || read(&mut connection, &sender, from));
        self.watched.insert(address.to_owned());
        Ok(())
    }
}

/// Passes on what one daemon publishes, until it or the watcher ends.
fn read(connection: &mut Connection, sender: &SyncSender<Told>, address: String) {
    let shared: Arc<str> = address.as_str().into();
    loop {
        match connection.receive(SILENCE) {
            Ok(message) => {
                let part = |index| message.part_slice(index).map(<[u8]>::to_vec).unwrap_or_default();
                if sender.send(Told::Published { topic: part(0), body: part(1), address: Arc::clone(&shared) }).is_err()
                {
                    return;
                }
            }
            Err(ConnectionError::Io { source, .. }) if source.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => {
                // There is no watcher any more that could be told.
                let _ = sender.send(Told::Ended { address, why: error.to_string() });
                return;
            }
        }
    }
}
