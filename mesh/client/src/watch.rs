//! Changes of every daemon of a mesh, in one stream. A daemon publishes what it serves, so each is subscribed to; those that join are
//! found within [`REFRESH`], and one whose connection ends is tried again.
//!
//! A daemon that hangs takes connections and questions without an answer. So members are asked for by a thread of their own, and each
//! subscription is opened by the thread that reads it: changes of the others come meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use statemesh_protocol::reply_reader::Fields;
use statemesh_transport::SocketType;

use crate::answers::{Member, run};
use crate::client::{Client, Options};
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
    /// When it arrived here. It may be taken later, by as long as the program is busy with something else.
    pub at: SystemTime,
    /// How it follows the one before it; `None`: it has no number, as that a key was lost has none.
    pub order: Option<Order>,
}

impl Change {
    fn new(published: Published, seen: &mut Seen) -> Self {
        let Published { topic, body, address, at } = published;
        let fields = Fields::read(&body).unwrap_or_default();
        let order = fields.uint("seq").map(|seq| seen.note(&topic, run(&fields), seq));
        Self { topic, body, daemon: address.to_string(), at, order }
    }

    /// Its fields.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields::read(&self.body).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Published {
    topic: Vec<u8>,
    body: Vec<u8>,
    address: Arc<str>,
    at: SystemTime,
}

/// What the threads of a watcher tell it.
#[derive(Debug)]
enum Told {
    /// What the mesh answered about its members.
    Members(Result<Vec<Member>, ClientError>),
    Subscribed(String),
    Published(Published),
    /// The subscription could not be made, or is over.
    Ended {
        address: String,
        why: String,
    },
}

/// Follows the changes of a mesh.
#[derive(Debug)]
pub struct Watcher {
    options: Options,
    topic: String,
    watched: BTreeSet<String>,
    /// Those to which a connection is being made.
    opening: BTreeSet<String>,
    /// Those of which was told that they are not watched.
    silent: BTreeSet<String>,
    seen: Seen,
    sender: SyncSender<Told>,
    told: Receiver<Told>,
    /// Each word makes the thread that has the client ask for the members.
    questions: SyncSender<()>,
    /// When to ask next; `None`: the answer is not here yet.
    refresh: Option<Instant>,
    /// What came while the first daemons were subscribed to.
    waiting: VecDeque<Told>,
}

impl Watcher {
    /// Watches all topics that begin with `topic`. `client` is asked for the members. Returns once each of them is watched or is known
    /// not to be, or once as many changes have come as are kept.
    ///
    /// # Errors
    /// The members cannot be asked for.
    pub fn new(mut client: Client, topic: &str) -> Result<Self, ClientError> {
        let (sender, told) = sync_channel(UNSEEN);
        let (questions, asked) = sync_channel(1);
        let members = client.members()?;
        client.learn_addresses(members.iter().map(|member| member.clients.as_str()));
        let options = client.options().clone();
        let answers = sender.clone();
        std::thread::spawn(move || ask(client, &asked, &answers));
        let mut watcher = Self {
            options,
            topic: topic.to_owned(),
            watched: BTreeSet::new(),
            opening: BTreeSet::new(),
            silent: BTreeSet::new(),
            seen: Seen::new(KEYS),
            sender,
            told,
            questions,
            refresh: None,
            waiting: VecDeque::new(),
        };
        watcher.join(members);
        watcher.wait_for_the_first();
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
            let now = Instant::now();
            if self.refresh.is_some_and(|at| now >= at) {
                self.refresh = None;
                // One question is under way at a time, and its thread lives as long as this one: there is room.
                let _ = self.questions.try_send(());
            }
            let told = match self.waiting.pop_front() {
                Some(told) => told,
                None if now >= end => return None,
                None => {
                    let until = self.refresh.map_or(end, |at| at.min(end));
                    match self.told.recv_timeout(until.saturating_duration_since(now)) {
                        Ok(told) => told,
                        // A sender of our own is always there.
                        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => continue,
                    }
                }
            };
            if let Some(notice) = self.hear(told) {
                return Some(notice);
            }
        }
    }

    fn hear(&mut self, told: Told) -> Option<Notice> {
        match told {
            Told::Published(published) => Some(Notice::Change(Change::new(published, &mut self.seen))),
            Told::Members(Ok(members)) => {
                self.join(members);
                None
            }
            // The daemon that was asked may be gone: those that are watched already still are, and another one is asked next.
            Told::Members(Err(_)) => {
                self.refresh = Some(Instant::now() + RECONNECT);
                None
            }
            Told::Subscribed(address) => {
                self.subscribed(&address);
                Some(Notice::Joined(address))
            }
            Told::Ended { address, why } => self.ended(&address).then_some(Notice::Silent { address, why }),
        }
    }

    fn subscribed(&mut self, address: &str) {
        self.opening.remove(address);
        self.silent.remove(address);
        self.watched.insert(address.to_owned());
    }

    /// Says whether that is news.
    fn ended(&mut self, address: &str) -> bool {
        self.opening.remove(address);
        self.watched.remove(address);
        self.refresh = self.refresh.map(|at| at.min(Instant::now() + RECONNECT));
        self.silent.insert(address.to_owned())
    }

    /// Subscribes to those members that are not watched yet.
    fn join(&mut self, members: Vec<Member>) {
        let alive = members.into_iter().filter(|member| member.status == "alive" && !member.changes.is_empty());
        let alive: BTreeSet<_> = alive.map(|member| member.changes).collect();
        self.silent.retain(|address| alive.contains(address));
        for address in alive {
            if !self.watched.contains(&address) && self.opening.insert(address.clone()) {
                self.subscribe(address);
            }
        }
        self.refresh = Some(Instant::now() + REFRESH);
    }

    fn subscribe(&self, address: String) {
        let (options, topic, sender) = (self.options.clone(), self.topic.clone(), self.sender.clone());
        std::thread::spawn(move || {
            let ended = match open(&address, options, &topic) {
                Ok(mut connection) => {
                    if sender.send(Told::Subscribed(address.clone())).is_err() {
                        return;
                    }
                    read(&mut connection, &sender, &address)
                }
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = ended {
                // There is no watcher any more that could be told.
                let _ = sender.send(Told::Ended { address, why });
            }
        });
    }

    /// Waits until each of the first members is watched, or is known not to be. What is told meanwhile is kept in its order, and the
    /// channel it comes through is bounded: it is as much as arrives within one attempt to connect.
    fn wait_for_the_first(&mut self) {
        let mut opening = self.opening.clone();
        while !opening.is_empty() && self.waiting.len() < UNSEEN {
            let Ok(told) = self.told.recv() else { return };
            match &told {
                Told::Subscribed(address) => {
                    opening.remove(address);
                    self.subscribed(address);
                }
                Told::Ended { address, .. } => _ = opening.remove(address),
                Told::Members(_) | Told::Published(_) => {}
            }
            self.waiting.push_back(told);
        }
    }
}

/// Asks for the members whenever that is wanted, until the watcher ends.
fn ask(mut client: Client, asked: &Receiver<()>, sender: &SyncSender<Told>) {
    while asked.recv().is_ok() {
        let members = client.members();
        match &members {
            // The one that was asked may be the next to end: then another one is asked.
            Ok(members) => client.learn_addresses(members.iter().map(|member| member.clients.as_str())),
            Err(_) => client.leave_home(),
        }
        if sender.send(Told::Members(members)).is_err() {
            return;
        }
    }
}

fn open(address: &str, options: Options, topic: &str) -> Result<Connection, ClientError> {
    let mut connection = Endpoint::new(address, options.security, options.timeout, 0).open_as(SocketType::Sub)?;
    connection.subscribe(topic.as_bytes());
    connection.flush()?;
    Ok(connection)
}

/// Passes on what one daemon publishes, until it or the watcher ends; says why the daemon did.
fn read(connection: &mut Connection, sender: &SyncSender<Told>, address: &str) -> Option<String> {
    let shared: Arc<str> = address.into();
    loop {
        match connection.receive(SILENCE) {
            Ok(message) => {
                let part = |index| message.part_slice(index).map(<[u8]>::to_vec).unwrap_or_default();
                let (topic, body, at) = (part(0), part(1), SystemTime::now());
                let published = Published { topic, body, address: Arc::clone(&shared), at };
                sender.send(Told::Published(published)).ok()?;
            }
            Err(ConnectionError::Io { source, .. }) if source.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => return Some(error.to_string()),
        }
    }
}
