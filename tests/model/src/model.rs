//! All states of small groups.
//!
//! A message is never taken out of the network: it may be delivered never, later, twice and in any order, which is loss, reordering and
//! repetition at once. Time does not pass: whatever waits for it may happen at any moment.

use super::check::{Ghost, backed};
use super::node::{Asked, Node, Sent};
use super::replication::config::Change;
use super::replication::inputs::Input;
use super::replication::message::{Envelope, Message};
use super::replication::settings::Settings;
use crate::bounds::{Bounds, Plan, Start};
use bytes::Bytes;
use stateright::{Model, Property};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A value with its fingerprint, which is cheap to copy, to compare and to hash.
#[derive(Clone, Debug)]
pub struct Shared<T>(Arc<(u64, T)>);

impl<T: Hash> Shared<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Arc::new((hash(&value), value)))
    }
}

impl<T> std::ops::Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.0 == other.0.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.0.hash(state);
    }
}

impl<T: Eq> PartialOrd for Shared<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Eq> Ord for Shared<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.0.cmp(&other.0.0)
    }
}

/// All copies and messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub nodes: Vec<Shared<Node>>,
    pub network: BTreeSet<Shared<Envelope>>,
    /// Which copy has a slow disk, and crashes.
    slow: usize,
    crashes: u8,
    pub(super) damaged: bool,
    ghost: Ghost,
    pub violation: Option<String>,
}

impl State {
    /// Copies that nothing has happened to.
    pub(super) fn new(nodes: Vec<Shared<Node>>, slow: usize, ghost: Ghost) -> Self {
        Self { nodes, network: BTreeSet::new(), slow, crashes: 0, damaged: false, ghost, violation: None }
    }
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Deliver(Shared<Envelope>),
    /// The oldest write of a copy is durable.
    Sync(usize),
    Crash(usize),
    Campaign(usize),
    Tick(usize),
    Propose(usize),
    Learn(usize),
    Change(usize),
    Transfer(usize, usize),
    Damage(usize),
    /// What this copy has applied goes to another one.
    Images(usize, usize),
}

/// A group of which all states are looked at.
pub struct Place {
    pub(super) bounds: Bounds,
    pub(super) settings: Arc<Settings>,
    pub(super) now: Instant,
}

impl Place {
    pub fn new(bounds: Bounds) -> Self {
        let (zero, never) = (Duration::ZERO, Duration::from_secs(3600));
        let settings = Settings {
            stagger: zero,
            retry: zero,
            resend: never,
            commit_delay: if bounds.tells { zero } else { never },
            transfer: never,
            alone: never,
            append_bytes: if matches!(bounds.start, Start::Parted | Start::Longer) { 1 } else { 64 << 10 },
            // Nothing is trimmed and nothing refused: the bounds are tested elsewhere.
            ..Settings::default()
        };
        Self { bounds, settings: Arc::new(settings), now: Instant::now() }
    }

    fn act(
        &self,
        state: &mut State,
        number: usize,
        act: impl FnOnce(&mut Node, &mut Vec<Asked>),
    ) -> Result<(), String> {
        let mut node = Node::clone(&state.nodes[number]);
        let (led, since) = (node.group.leads(), node.group.ballot().term);
        let mut asked = Vec::new();
        act(&mut node, &mut asked);
        while (number != state.slow || self.bounds.crashes == 0) && !node.queue.is_empty() {
            node.sync(usize::MAX, self.now, &mut asked);
        }
        let term = node.group.ballot().term;
        let led = node.group.leads() || (led && term == since);
        let mut committed = Vec::new();
        state.nodes[number] = Shared::new(node);
        for asked in asked {
            match asked {
                Asked::Send(envelope) => _ = state.network.insert(Shared::new(envelope)),
                Asked::Elected(term) => state.ghost.elected(term, number)?,
                Asked::Committed(entry, digest) => {
                    state.ghost.commit(&entry, term, digest)?;
                    committed.push(entry);
                }
                // Where there are images, they are sent asked for or not.
                Asked::Images(_) | Asked::Damaged(_) => {}
            }
        }
        let State { nodes, network, .. } = state;
        network.retain(|envelope| {
            nodes.iter().any(|node| node.group.me().name == envelope.to.name && !is_dead(envelope, node))
        });
        let nodes = state.nodes.iter().map(|node| &**node);
        if led {
            backed(&state.nodes[number], &committed, nodes.clone())?;
        }
        state.ghost.check(nodes)
    }

    /// The copy that is swapped in, or the next life of the last voter.
    pub(super) fn newcomer(&self) -> usize {
        if self.bounds.plan == Plan::Swap { self.bounds.voters } else { self.bounds.voters - 1 }
    }

    pub(super) fn perform(&self, state: &mut State, action: Action) -> Result<(), String> {
        let now = self.now;
        match action {
            Action::Deliver(envelope) => {
                let to = state.nodes.iter().position(|node| node.group.me().name == envelope.to.name);
                let Some(to) = to else { return Ok(()) };
                let envelope = Envelope::clone(&envelope);
                self.act(state, to, |node, asked| node.handle(Input::Message(envelope), now, asked))
            }
            Action::Sync(number) => self.act(state, number, |node, asked| node.sync(1, now, asked)),
            Action::Crash(number) => {
                state.crashes += 1;
                self.act(state, number, |node, _| node.crash(0, Arc::clone(&self.settings), now))
            }
            Action::Campaign(number) => self.act(state, number, |node, asked| node.handle(Input::Campaign, now, asked)),
            Action::Tick(number) => self.act(state, number, |node, asked| node.handle(Input::Tick, now, asked)),
            Action::Propose(number) => self.act(state, number, |node, asked| {
                let mut out = Vec::new();
                let term = node.group.ballot().term as u8;
                _ = node.group.propose(Bytes::copy_from_slice(&[term]), now, &mut out);
                node.follow(out, asked);
            }),
            Action::Learn(number) => {
                let newcomer = state.nodes[self.newcomer()].group.me().clone();
                let change = Change::AddLearner { name: newcomer.name, volume: newcomer.volume };
                self.change(state, number, &change)
            }
            Action::Change(number) => {
                let learners = &state.nodes[number].group.configuration().learners;
                let Some(learner) = learners.first().cloned() else { return Ok(()) };
                let voters = &state.nodes[number].group.configuration().voters;
                let stay = voters.iter().take(self.bounds.voters - 1).cloned();
                self.change(state, number, &Change::Voters(stay.chain([learner]).collect()))
            }
            Action::Transfer(number, to) => {
                let to = state.nodes[to].group.me().clone();
                self.act(state, number, |node, asked| {
                    let mut out = Vec::new();
                    _ = node.group.transfer(&to, now, &mut out);
                    node.follow(out, asked);
                })
            }
            Action::Damage(number) => {
                state.damaged = true;
                // The end of its journal cannot be read.
                self.act(state, number, |node, asked| {
                    let mut disk = node.disk.clone();
                    disk.entries.clear();
                    *node = Node::start(disk, Arc::clone(&self.settings), now);
                    node.handle(Input::Damaged, now, asked);
                })
            }
            Action::Images(from, to) => {
                let sent: Sent = state.nodes[from].images();
                self.act(state, to, |node, asked| node.install(sent, now, asked))
            }
        }
    }

    fn change(&self, state: &mut State, number: usize, change: &Change) -> Result<(), String> {
        self.act(state, number, |node, asked| {
            let mut out = Vec::new();
            _ = node.group.reconfigure(change, self.now, &mut out);
            node.follow(out, asked);
        })
    }

    fn leader_actions(&self, state: &State, number: usize, actions: &mut Vec<Action>) {
        let group = &state.nodes[number].group;
        if group.last().index < self.bounds.entries {
            actions.push(Action::Propose(number));
        }
        if self.bounds.tells {
            actions.push(Action::Tick(number));
        }
        if self.bounds.images && state.nodes[number].applied.0 > 0 {
            (0..state.nodes.len()).filter(|to| *to != number).for_each(|to| actions.push(Action::Images(number, to)));
        }
        let newcomer = state.nodes[self.newcomer()].group.me();
        let room = group.last().index < self.bounds.entries + 4;
        let knows =
            group.configuration().replicas().any(|replica| replica.same_volume(newcomer) && replica.generation > 0);
        match self.bounds.plan {
            Plan::None => {}
            Plan::Transfer => (0..state.nodes.len())
                .filter(|to| *to != number)
                .for_each(|to| actions.push(Action::Transfer(number, to))),
            Plan::Swap if room && !knows => actions.push(Action::Learn(number)),
            Plan::NewLife if room && !knows && state.damaged => actions.push(Action::Learn(number)),
            Plan::Swap | Plan::NewLife if room && !group.configuration().learners.is_empty() => {
                actions.push(Action::Change(number));
            }
            Plan::Swap | Plan::NewLife => {}
        }
    }
}

/// Whether a message can never have any effect any more: it answers a term that its receiver will never lead, or ask for votes in, again. Without
/// it states that differ in nothing else are one.
fn is_dead(envelope: &Envelope, node: &Node) -> bool {
    let term = node.disk.ballot.term;
    let follows = node.group.leader().is_some() && !node.group.leads();
    match &envelope.message {
        Message::Ack { term: of, .. } | Message::Nack { term: of, .. } => *of < term || *of == term && follows,
        Message::Voted { term: of, .. } => *of < term || *of == term && (follows || node.group.leads()),
        Message::PreVoted { term: of, granted } => *of < term || *of == term && *granted,
        Message::TimeoutNow { term: of } => *of < term,
        Message::Newer { term: of } => *of <= term,
        Message::Append(_) | Message::PreVote { .. } | Message::Vote { .. } => false,
        Message::GiveUp { term: of } | Message::Abdicated { term: of } => *of < term,
        Message::GaveUp => false,
    }
}

impl Model for Place {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.beginnings()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violation.is_some() {
            return;
        }
        // All voters are alike until one of them asks for votes; call that one the first.
        let begun = state.nodes.iter().any(|node| node.group.ballot().term > 0) || !state.network.is_empty();
        for (number, node) in state.nodes.iter().enumerate() {
            let group = &node.group;
            let may_ask = group.ballot().term < self.bounds.terms && !group.leads() && (begun || number == 0);
            if may_ask && (self.bounds.lost || group.next_deadline().is_some()) {
                actions.push(if self.bounds.pre_votes { Action::Tick(number) } else { Action::Campaign(number) });
            }
            if !node.queue.is_empty() {
                actions.push(Action::Sync(number));
            }
            if state.crashes < self.bounds.crashes && begun && number == state.slow {
                actions.push(Action::Crash(number));
            }
            if group.leads() {
                self.leader_actions(state, number, actions);
            }
        }
        if self.bounds.plan == Plan::NewLife && !state.damaged && begun {
            actions.push(Action::Damage(self.newcomer()));
        }
        let late = |envelope: &&Shared<Envelope>| match &envelope.message {
            Message::PreVote { term, .. } | Message::Vote { term, .. } => *term <= self.bounds.terms,
            _ => true,
        };
        actions.extend(state.network.iter().filter(late).cloned().map(Action::Deliver));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        if let Err(violation) = self.perform(&mut state, action) {
            state.violation = Some(violation);
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is violated", |_, state: &State| state.violation.is_none()),
            Property::sometimes("two are committed", |_, state: &State| state.ghost.committed.len() > 1),
            Property::sometimes("the last term has a leader", |model: &Self, state: &State| {
                state.ghost.leaders.contains_key(&model.bounds.terms)
            }),
            Property::sometimes("the plan came about", |model: &Self, state: &State| match model.bounds.plan {
                Plan::None => true,
                Plan::Transfer => state.ghost.leaders.len() > 1,
                Plan::Swap | Plan::NewLife => state.nodes.iter().any(|node| {
                    let group = &node.group;
                    let settled = !group.configuration().is_joint() && group.configured_at() <= group.committed();
                    settled && group.configuration().voters.iter().any(|voter| voter.generation > 0)
                }),
            }),
        ]
    }
}

/// The first violation in any state, the nearest states first, and how many states were seen before it. It is here for cores with a mistake, of which there are many: it is compiled in a
/// tenth of the time that stateright takes.
pub fn violation(bounds: &Bounds, states: usize) -> Option<(usize, String)> {
    let place = Place::new(bounds.clone());
    let mut queue: VecDeque<State> = place.init_states().into();
    let (mut seen, mut actions) = (HashSet::new(), Vec::new());
    while let Some(state) = queue.pop_front().filter(|_| seen.len() < states) {
        place.actions(&state, &mut actions);
        for next in actions.drain(..).filter_map(|action| place.next_state(&state, action)) {
            if let Some(violation) = next.violation {
                return Some((seen.len(), violation));
            }
            if seen.insert(hash(&next)) {
                queue.push_back(next);
            }
        }
    }
    None
}
