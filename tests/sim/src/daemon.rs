//! One daemon as it ships: what its threads share, its control plane and its reactors, each of which takes turns.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use statemesh_mesh::discovery::{Question, Records};
use statemesh_node::options::{Discovery, Limits, Listen, Mailboxes, Options, Reactor as Threads, Security, Storage};
use statemesh_node::parts::{
    self, Birth, Clock, Control, Done, Output, Parts, Shared, ToControl, Unanswered, Wake, Worker,
};
use statemesh_node::{LeaveReport, StartError};
use statemesh_transport::reactor::Due;
use statemesh_transport::{Handler, Reactor};

use crate::dice::{Dice, nanos};
use crate::machines;
use crate::memory;
use crate::net::{HostId, PollerId, SharedNet, VirtualKernel, VirtualWaker};

/// Ports of every daemon.
pub const CLIENTS: u16 = 7400;
/// For changes.
pub const CHANGES: u16 = 7401;
/// For other daemons.
pub const PEERS: u16 = 7402;
/// For gossip.
pub const GOSSIP: u16 = 7403;

/// What a daemon is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Partitions of the mesh.
    pub partitions: u16,
    /// Reactors of each daemon.
    pub reactors: usize,
    /// What may wait between its threads.
    pub mailboxes: Mailboxes,
    /// Bounds.
    pub limits: Limits,
    /// Keys of gossip, the one to use first.
    pub gossip_keys: Vec<[u8; 32]>,
    /// DNS name that finds the others, if that is how.
    pub service: Option<String>,
    /// Gossip addresses that are always tried.
    pub seeds: Vec<SocketAddr>,
    /// After how long it is alone on purpose.
    pub alone_after: Option<Duration>,
    /// Daemons before all of which are linked none is alone.
    pub birth: Vec<String>,
    /// Definitions that are given as files.
    pub machines: Vec<String>,
    /// The revision of these files.
    pub machines_revision: Option<u64>,
}

/// A daemon's place: its host and name stay, processes come and go.
#[derive(Debug)]
pub struct Daemon {
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: HostId,
    /// What it is told.
    pub setup: Setup,
    /// Stopped by SIGSTOP until then.
    pub paused_until: Option<u64>,
    /// What runs, if anything does.
    pub process: Option<Process>,
    /// Shards that other threads have, as bits, and until when.
    pub held: Option<(u64, u64)>,
    lives: u64,
}

/// A running process.
pub struct Process {
    /// What its threads share.
    pub shared: Arc<Shared>,
    control: Control,
    from_reactors: tokio::sync::mpsc::Receiver<ToControl>,
    reactors: Vec<Reactor<Worker>>,
    /// The loops of its reactors, and that of its control plane.
    pub pollers: Vec<PollerId>,
    /// Answers of DNS that are on their way: when, and what they say.
    pub answers: VecDeque<(u64, Result<Records, Unanswered>)>,
    done: VecDeque<(u64, Done)>,
    orders: VecDeque<Wake>,
    /// It has left: the reactors from this one on are to be told to end.
    stopping: Option<usize>,
    /// It is leaving.
    pub leaving: bool,
    /// What became of what it had, once it has left.
    pub left: Option<LeaveReport>,
    /// Why it cannot go on.
    pub failed: Option<String>,
    /// Reactors that have ended.
    ended: usize,
    /// What it has of memory, in bytes.
    pub memory: i64,
    /// How often its reactors told the control plane what, by kind.
    messages: BTreeMap<&'static str, u64>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("pollers", &self.pollers).finish_non_exhaustive()
    }
}

/// Until a reactor whose ring was full is told again.
const RING_PAUSE: Duration = Duration::from_millis(1);

/// What a turn of a control plane brought, beside what it did to its daemon.
#[derive(Debug, Default)]
pub struct Turned {
    /// Datagrams to send.
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Questions for DNS.
    pub questions: Vec<Question>,
    /// When the next turn is wanted, by the daemon's clock; at once if that is past.
    pub due: Option<std::time::Instant>,
}

impl Daemon {
    /// A daemon that does not run yet.
    #[must_use]
    pub fn new(name: String, host: HostId, setup: Setup) -> Self {
        Self { name, host, setup, paused_until: None, process: None, held: None, lives: 0 }
    }

    /// Whether a process of it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it runs and is not stopped.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        self.runs() && self.paused_until.is_none()
    }

    /// Whether it runs, and is not leaving.
    #[must_use]
    pub fn stays(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.leaving && process.failed.is_none())
    }

    fn options(&self, ip: IpAddr) -> Options {
        let at = |port| SocketAddr::new(ip, port);
        let Setup { partitions, reactors, mailboxes, limits, gossip_keys, service, seeds, alone_after, birth, .. } =
            self.setup.clone();
        Options {
            mesh: "sim".to_owned(),
            name: self.name.clone(),
            partitions,
            listen: Listen {
                clients: at(CLIENTS),
                changes: at(CHANGES),
                peers: at(PEERS),
                gossip: at(GOSSIP),
                http: at(7404),
            },
            advertise: Some(ip),
            discovery: Discovery { service, dns_server: None, seeds, alone_after, birth },
            gossip_keys,
            security: Security::None,
            reactor: Threads { threads: reactors, spin: Duration::ZERO },
            mailboxes,
            limits,
            machines: Vec::new(),
            machines_revision: self.setup.machines_revision,
            // All is in memory: a daemon with a volume is alone in this version.
            storage: Storage::default(),
        }
    }

    /// Starts a process.
    ///
    /// # Errors
    /// A definition does not compile.
    pub fn start(&mut self, net: &SharedNet, dice: &mut Dice) -> Result<(), StartError> {
        self.lives += 1;
        memory::apart(|| warm_up(&self.setup.limits));
        let (ip, now, at) = {
            let net = net.lock();
            (net.ip(self.host), net.instant(self.host), net.now())
        };
        let options = self.options(ip);
        let birth = self.birth(ip, at, dice, &options.limits)?;
        let Parts { shared, control, from_reactors } = Parts::new(options, birth, now)?;
        let mut process = Process {
            shared,
            control,
            from_reactors,
            reactors: Vec::new(),
            pollers: Vec::new(),
            answers: VecDeque::new(),
            done: VecDeque::new(),
            orders: VecDeque::new(),
            stopping: None,
            leaving: false,
            left: None,
            failed: None,
            ended: 0,
            memory: 0,
            messages: BTreeMap::new(),
        };
        process.open_loops(net, self.host, self.setup.reactors);
        self.process = Some(process);
        self.paused_until = None;
        Ok(())
    }

    /// What this process has that no other one of its daemon has.
    fn birth(&self, advertise: IpAddr, at: u64, dice: &mut Dice, limits: &Limits) -> Result<Birth, StartError> {
        let sources = self.setup.machines.iter().enumerate();
        let sources =
            sources.map(|(n, text)| (PathBuf::from(format!("{n}.json")), text.clone().into_bytes())).collect();
        let mut session = [0; 16];
        session.copy_from_slice(&dice.bytes()[..16]);
        Ok(Birth {
            advertise,
            // Milliseconds, as of the clock on the wall; and no two lives have the same.
            incarnation: 1_700_000_000_000 + at / 1_000_000 + self.lives,
            seed: dice.bits(),
            session,
            definitions: parts::compile_definitions(sources, limits)?,
            stored: Vec::new(),
        })
    }

    /// The process is gone at once.
    pub fn kill(&mut self, net: &SharedNet) {
        net.lock().kill(self.host);
        self.process = None;
        self.paused_until = None;
    }

    /// It has other keys for gossip from now on, as when the file with them changes.
    ///
    /// # Errors
    /// There are none, or too many.
    pub fn rotate(&mut self, keys: &[[u8; 32]]) -> Result<(), StartError> {
        self.setup.gossip_keys = keys.to_vec();
        if let Some(process) = &mut self.process {
            process.orders.push_back(parts::rotation(keys)?);
        }
        Ok(())
    }

    /// SIGTERM.
    pub fn leave(&mut self) {
        if let Some(process) = self.process.as_mut().filter(|process| !process.leaving) {
            process.leaving = true;
            process.orders.push_back(Wake::Leave { patience: Duration::from_secs(600) });
        }
    }
}

impl Process {
    /// Its reactors with their listeners, and the loop of its control plane.
    fn open_loops(&mut self, net: &SharedNet, host: HostId, reactors: usize) {
        let ip = net.lock().ip(host);
        for index in 0..reactors {
            let poller = {
                let mut net = net.lock();
                let poller = net.add_poller(host);
                for port in [CLIENTS, CHANGES, PEERS] {
                    net.listen(poller, SocketAddr::new(ip, port));
                }
                poller
            };
            let kernel = Box::new(VirtualKernel::new(Arc::clone(net), host, poller));
            let waker = Arc::new(VirtualWaker::new(Arc::clone(net), poller));
            self.reactors.push(parts::reactor(&self.shared, index, kernel, waker, clock(net, host)));
            self.pollers.push(poller);
        }
        let mut net = net.lock();
        let control = net.add_poller(host);
        net.bind_datagrams(control, SocketAddr::new(ip, GOSSIP));
        self.pollers.push(control);
    }

    /// The loop of a reactor; one that no loop has, if there is no such reactor.
    #[must_use]
    pub fn poller(&self, reactor: usize) -> PollerId {
        self.pollers.get(reactor).copied().unwrap_or(usize::MAX)
    }

    /// A turn of a reactor. Gives when the next one is wanted.
    ///
    /// # Errors
    /// Its poll failed, which the virtual kernel's never does.
    pub fn turn_reactor(&mut self, index: usize, now: std::time::Instant) -> std::io::Result<Due> {
        let Some(reactor) = self.reactors.get_mut(index) else { return Ok(Due::Never) };
        reactor.turn()?;
        if reactor.handler().finished() {
            reactor.finish();
            self.ended += 1;
            return Ok(Due::Never);
        }
        Ok(reactor.due(now))
    }

    /// Whether all reactors have ended, as they do once everything was handed over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended >= self.reactors.len()
    }

    /// Whether something waits for the control plane.
    #[must_use]
    pub fn control_is_wanted(&self) -> bool {
        !self.from_reactors.is_empty() || !self.orders.is_empty()
    }

    /// When something is there for the control plane that was on its way: an answer of DNS, a piece of work.
    #[must_use]
    pub fn control_is_due(&self) -> Option<u64> {
        let times = [self.answers.front().map(|(at, _)| *at), self.done.front().map(|(at, _)| *at)];
        times.into_iter().flatten().min()
    }

    /// How often its control plane decided what, and its threads told each other what: by part and kind.
    #[must_use]
    pub fn counts(&mut self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut all = self.control.decisions().clone();
        all.extend(self.messages.iter().map(|(name, n)| (("message", *name), *n)));
        for reactor in &mut self.reactors {
            for (name, n) in reactor.handler().commands() {
                *all.entry(("command", *name)).or_default() += *n;
            }
        }
        all
    }

    /// A turn of the control plane: everything that came is handed to it, as its shell does.
    pub fn turn_control(&mut self, turn: ControlTurn<'_>) -> Turned {
        let ControlTurn { now, at, datagrams, dice, wakes } = turn;
        let mut turned = Turned::default();
        let mut todo: VecDeque<Wake> = VecDeque::new();
        todo.extend(datagrams.into_iter().map(|(from, sealed)| Wake::Datagram { from, sealed }));
        let messages = ToControl::turn(|| self.from_reactors.try_recv().ok());
        messages.iter().for_each(|message| *self.messages.entry(message.name()).or_default() += 1);
        if !messages.is_empty() {
            todo.push_back(Wake::Reactors(messages));
        }
        todo.append(&mut self.orders);
        if self.answers.front().is_some_and(|(due, _)| *due <= at)
            && let Some((_, answer)) = self.answers.pop_front()
        {
            todo.push_back(Wake::Answered(answer));
        }
        if self.done.front().is_some_and(|(due, _)| *due <= at)
            && let Some((_, done)) = self.done.pop_front()
        {
            todo.push_back(Wake::Done(done));
        }
        if todo.is_empty() {
            todo.push_back(Wake::Tick);
        }
        for wake in todo {
            *wakes.entry(name_of(&wake)).or_default() += 1;
            self.control.handle(wake, now);
            while let Some(output) = self.control.poll() {
                match output {
                    Output::Datagram { to, sealed } => turned.datagrams.push((to, sealed)),
                    Output::Ask(question) => turned.questions.push(question),
                    Output::Work(work) => {
                        let took = dice.time(Duration::from_micros(20), Duration::from_millis(20));
                        self.done.push_back((at + nanos(took), work.run()));
                    }
                    Output::Left(report) => {
                        self.left = Some(report);
                        self.stopping = Some(0);
                    }
                    Output::Failed(failure) => self.failed = Some(failure.to_string()),
                }
            }
        }
        turned.due = self.control.next_deadline();
        if self.stops_reactors() {
            turned.due = Some(now + RING_PAUSE);
        }
        turned
    }

    /// Has those end that are to and do not know it. Says whether there are more: a ring was full.
    fn stops_reactors(&mut self) -> bool {
        while let Some(reactor) = self.stopping.filter(|reactor| *reactor < self.reactors.len()) {
            if !parts::stop(&self.shared, reactor) {
                return true;
            }
            self.stopping = Some(reactor + 1);
        }
        false
    }
}

/// What a turn of a control plane has to go by.
pub struct ControlTurn<'a> {
    /// The daemon's clock.
    pub now: std::time::Instant,
    /// The world's time.
    pub at: u64,
    /// Datagrams that have come.
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Chance.
    pub dice: &'a mut Dice,
    /// Counts each kind of wake-up.
    pub wakes: &'a mut BTreeMap<&'static str, u64>,
}

/// The clock of a host, for the laps of timed requests.
fn clock(net: &SharedNet, host: HostId) -> Clock {
    let net = Arc::clone(net);
    Clock::new(move || net.lock().instant(host))
}

/// What the first definition of this program makes for good, as tables of parsers, is no daemon's.
fn warm_up(limits: &Limits) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    let sources = || machines::ALL.iter().map(|text| (PathBuf::from("warm-up.json"), text.as_bytes().to_vec()));
    ONCE.call_once(|| drop(parts::compile_definitions(sources().collect(), limits)));
}

fn name_of(wake: &Wake) -> &'static str {
    match wake {
        Wake::Datagram { .. } => "datagram",
        Wake::Reactors(_) => "reactors",
        Wake::Answered(Ok(_)) => "answered",
        Wake::Answered(Err(_)) => "unanswered",
        Wake::Done(_) => "done",
        Wake::Leave { .. } => "leave",
        Wake::Rotate(_) => "rotate",
        Wake::Tick => "tick",
        #[allow(unreachable_patterns, reason = "kinds that come later are counted together")]
        _ => "other",
    }
}
