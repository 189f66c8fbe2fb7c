//! One place over lossy links and slow disks, in virtual time: a seed decides everything and replays.
//!
//! First everything goes wrong: messages are lost, late, repeated; links break in one direction or both; members crash and forget what was not
//! durable; disks stall; copies are swapped, damaged and handed over. Then all is well, and the place must come to serve and to agree.

use super::check::{Ghost, backed};
use super::node::{Asked, Disk, Node, Sent};
use super::replication::barrier::{self, Barriers, Question};
use super::replication::config::{Change, Configuration, Replica};
use super::replication::inputs::Input;
use super::replication::message::Envelope;
use super::replication::settings::Settings;
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For how long things go wrong, and how long the place then has to get well, in virtual time.
const TROUBLE: Duration = Duration::from_secs(15);
const RECOVERY: Duration = Duration::from_secs(10);
const PLACE: Partition = 1;
/// What may be under way at once: some hundreds are. More is a storm, in which each message makes more than one.
const UNDER_WAY: usize = 20_000;

macro_rules! counts {
    ($($name:ident),*) => {
        /// What a run came to.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $(pub $name: u64,)*
        }

        impl Counts {
            /// Adds another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// A simulation in which a fault never comes proves nothing about it.
            pub fn everything_happened(&self) -> bool {
                [$(self.$name),*].iter().all(|count| *count > 0)
            }
        }
    };
}

counts!(steps, terms, committed, crashes, cuts, images, swaps, lives, damaged, transfers, reads, full);

#[derive(Debug)]
enum Event {
    Message(Envelope),
    /// The writes that a sync began with are durable; of this life of the process.
    Synced(usize, u64, usize),
    Deadline(usize),
    Images(usize, Sent, u64),
    /// A member is heard by another one, or not any more.
    Heard(usize, usize, bool),
    Missed(usize, usize),
    /// A link broke.
    Broken(usize, usize),
    ImagesEnded(usize, Replica),
    Start(usize),
    Question(usize, usize, Question, u64),
    Answer(usize, usize, u64, Vec<u16>, u64),
    Client,
    Nemesis,
    Operator,
}

struct Member {
    node: Node,
    /// Counts restarts: what was begun before one is void.
    life: u64,
    up: bool,
    syncing: bool,
    barriers: Barriers,
    /// What each read must see.
    floors: BTreeMap<u64, u64>,
    /// The deadline for which there is an event.
    deadline: Option<Instant>,
}

/// What goes wrong by itself, as long as anything does.
struct Trouble {
    is_on: bool,
    /// Share of messages that are lost.
    loss: f64,
    /// Share of writes that take long.
    stall: f64,
    /// How much later a message may come a second time, in microseconds.
    again: u64,
}

pub struct World {
    rng: SmallRng,
    began: Instant,
    now: Instant,
    members: Vec<Member>,
    events: BTreeMap<(Instant, u64), Event>,
    number: u64,
    /// What one says the other does not get.
    cut: Vec<Vec<bool>>,
    /// Who will be told that something which it sent to whom did not come.
    missed: BTreeSet<(usize, usize)>,
    /// Who sends images to whom.
    imaging: BTreeSet<(usize, Replica)>,
    trouble: Trouble,
    settings: Arc<Settings>,
    ghost: Ghost,
    pub counts: Counts,
    proposed: u64,
}

type Checked = Result<(), String>;

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let voters = if rng.random_bool(0.7) { 3 } else { 5 };
        let names = (0..voters + 2).map(|n| MemberName::new(&format!("m{n}")).expect("a name"));
        let names: Vec<_> = names.collect();
        let configuration = Arc::new(Configuration::first(names.iter().take(voters).map(|name| (name.clone(), 7))));
        // Small bounds, so that they are met.
        let settings = Settings {
            tail_bytes: 2_000,
            uncommitted_bytes: 1_500,
            append_bytes: 400,
            log_bytes: 1 << 20,
            ..Settings::default()
        };
        let settings = Arc::new(settings);
        let now = Instant::now();
        let hints = rng.random_bool(0.5);
        let member = |name: &MemberName| {
            let me = Replica { generation: 0, volume: 7, name: name.clone() };
            let there = configuration.votes(&me);
            let disk = Disk::new(me, if there { Arc::clone(&configuration) } else { Arc::default() }, !there);
            let node = Node { hints, ..Node::start(disk, Arc::clone(&settings), now) };
            let (barriers, floors) = (Barriers::default(), BTreeMap::new());
            Member { node, life: 0, up: true, syncing: false, barriers, floors, deadline: None }
        };
        let members: Vec<_> = names.iter().map(member).collect();
        let cut = vec![vec![false; members.len()]; members.len()];
        let loss = if rng.random_bool(0.3) { 0.0 } else { rng.random_range(0.0..0.15) };
        let stall = if rng.random_bool(0.3) { 0.0 } else { rng.random_range(0.0..0.05) };
        let (events, ghost, counts) = (BTreeMap::new(), Ghost::default(), Counts::default());
        let (began, number, proposed) = (now, 0, 0);
        let trouble = Trouble { is_on: true, loss, stall, again: 500_000 };
        let imaging = BTreeSet::new();
        let mut world = Self {
            rng,
            began,
            now,
            members,
            events,
            number,
            cut,
            missed: BTreeSet::new(),
            imaging,
            trouble,
            settings,
            ghost,
            counts,
            proposed,
        };
        for event in [Event::Client, Event::Nemesis, Event::Operator] {
            world.after(Duration::from_millis(10), event);
        }
        (0..world.members.len()).for_each(|number| world.look_at_deadline(number));
        world
    }

    /// Messages that come twice may come so late that their sender has another life by then.
    #[must_use]
    pub fn with_late_repetitions(mut self) -> Self {
        self.trouble.again = 8_000_000;
        self
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.number += 1;
        self.events.insert((self.now + delay, self.number), event);
    }

    fn micros(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.rng.random_range(from..to))
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.trouble.is_on && self.rng.random_bool(probability)
    }

    /// Runs to the end. What is wrong is said.
    pub fn run(&mut self) -> Checked {
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            if self.trouble.is_on && self.now >= self.began + TROUBLE {
                self.heal();
            }
            if self.now >= self.began + TROUBLE + RECOVERY {
                break;
            }
            self.counts.steps += 1;
            self.happen(event)?;
            if self.events.len() > UNDER_WAY {
                return Err(format!("{} are under way at {:?}", self.events.len(), self.now - self.began));
            }
        }
        self.counts.terms = self.ghost.leaders.len() as u64;
        self.counts.committed = self.ghost.committed.len() as u64;
        self.judge()
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Message(envelope) => {
                let Some(to) = self.find(&envelope.to.name) else { return Ok(()) };
                self.input(to, Input::Message(envelope))
            }
            Event::Synced(number, life, count) if self.members[number].life == life => {
                self.members[number].syncing = false;
                self.act(number, |node, now, asked| node.sync(count, now, asked))
            }
            Event::Deadline(number) => {
                if self.members[number].deadline.is_some_and(|at| at <= self.now) {
                    self.members[number].deadline = None;
                    return self.input(number, Input::Tick);
                }
                Ok(())
            }
            Event::Images(number, sent, life) if self.members[number].life == life => {
                self.counts.images += 1;
                self.act(number, |node, now, asked| node.install(sent, now, asked))
            }
            Event::Heard(number, other, heard) => {
                let name = self.name(other);
                if !heard {
                    let mut out = Vec::new();
                    self.members[number].barriers.lost(&name, &mut out);
                }
                // What is said to be lost although it is heard again by now would never be corrected.
                let heard = !self.cut[other][number] && self.members[other].up;
                self.input(number, if heard { Input::Heard(name) } else { Input::Lost(name) })
            }
            Event::Broken(number, other) => {
                let name = self.name(other);
                self.input(number, Input::Lost(name))?;
                self.happen(Event::Heard(number, other, true))
            }
            Event::Missed(number, other) => {
                self.missed.remove(&(number, other));
                let name = self.name(other);
                self.input(number, Input::Missed(name))
            }
            Event::ImagesEnded(number, to) => {
                self.imaging.remove(&(number, to.clone()));
                self.input(number, Input::ImagesEnded(to))
            }
            Event::Start(number) => self.start(number),
            Event::Question(from, to, question, life) => {
                self.question(from, to, &question, life);
                Ok(())
            }
            Event::Answer(from, to, number, holding, life) => self.answer(from, to, number, &holding, life),
            Event::Client => self.client(),
            Event::Nemesis => self.nemesis(),
            Event::Operator => self.operator(),
            // Of a process that ended meanwhile.
            Event::Synced(..) | Event::Images(..) => Ok(()),
        }
    }

    fn name(&self, number: usize) -> MemberName {
        self.members[number].node.group.me().name.clone()
    }

    fn find(&self, name: &MemberName) -> Option<usize> {
        self.members.iter().position(|member| member.node.group.me().name == *name)
    }

    fn input(&mut self, number: usize, input: Input) -> Checked {
        self.act(number, |node, now, asked| node.handle(input, now, asked))
    }

    fn act(&mut self, number: usize, act: impl FnOnce(&mut Node, Instant, &mut Vec<Asked>)) -> Checked {
        if !self.members[number].up {
            return Ok(());
        }
        let mut asked = Vec::new();
        let group = &self.members[number].node.group;
        let (before, led, since) = (group.me().generation, group.leads(), group.ballot().term);
        act(&mut self.members[number].node, self.now, &mut asked);
        let group = &self.members[number].node.group;
        self.counts.lives += u64::from(before != group.me().generation);
        let term = group.ballot().term;
        let led = group.leads() || (led && term == since);
        let mut committed = Vec::new();
        for asked in asked {
            match asked {
                Asked::Send(envelope) => self.send(number, envelope),
                Asked::Elected(term) => self.ghost.elected(term, number)?,
                Asked::Committed(entry, digest) => {
                    self.ghost.commit(&entry, term, digest)?;
                    committed.push(entry);
                }
                Asked::Images(to) => self.send_images(number, &to),
                Asked::Damaged(replica) => {
                    let damaged = self.find(&replica.name).is_none_or(|other| {
                        let other = &self.members[other].node.group;
                        other.gave_up() || *other.me() != replica
                    });
                    if !damaged {
                        return Err(format!("{replica:?} is held for damaged"));
                    }
                }
            }
        }
        let nodes = self.members.iter().map(|member| &member.node);
        if led {
            backed(&self.members[number].node, &committed, nodes.clone())?;
        }
        self.ghost.check_one(&self.members[number].node, nodes)?;
        self.sync(number);
        self.look_at_deadline(number);
        Ok(())
    }

    fn look_at_deadline(&mut self, number: usize) {
        let member = &mut self.members[number];
        let next = member.node.group.next_deadline();
        if let Some(at) = next.filter(|at| member.deadline.is_none_or(|known| *at < known || known < self.now)) {
            member.deadline = Some(at);
            let delay = at.saturating_duration_since(self.now);
            self.after(delay, Event::Deadline(number));
        }
        if next.is_none() {
            self.members[number].deadline = None;
        }
    }

    fn sync(&mut self, number: usize) {
        let member = &self.members[number];
        let (life, count) = (member.life, member.node.queue.len());
        if member.syncing || count == 0 {
            return;
        }
        self.members[number].syncing = true;
        let stall = self.trouble.stall;
        let delay = if self.chance(stall) { self.micros(50_000, 1_500_000) } else { self.micros(100, 4_000) };
        self.after(delay, Event::Synced(number, life, count));
    }

    fn send(&mut self, from: usize, envelope: Envelope) {
        let Some(to) = self.find(&envelope.to.name) else { return };
        let loss = self.trouble.loss;
        if self.cut[from][to] || !self.members[to].up || self.chance(loss) {
            // A link that is full or was cut says so: all else that is lost is lost with the link.
            let delay = self.micros(20_000, 300_000);
            return self.missed(from, to, delay);
        }
        let late = self.chance(0.05);
        let delay = if late { self.micros(10_000, 400_000) } else { self.micros(50, 3_000) };
        if self.chance(0.05) {
            let latest = self.trouble.again;
            let again = self.micros(50, latest);
            self.after(again, Event::Message(envelope.clone()));
        }
        self.after(delay, Event::Message(envelope));
    }

    /// However much is lost of what one sends to another, it is told once, and again only of what it sends after that.
    fn missed(&mut self, from: usize, to: usize, delay: Duration) {
        if self.missed.insert((from, to)) {
            self.after(delay, Event::Missed(from, to));
        }
    }

    fn send_images(&mut self, from: usize, to: &Replica) {
        let Some(number) = self.find(&to.name) else { return };
        let sent = self.members[from].node.images();
        if !self.imaging.insert((from, to.clone())) {
            return;
        }
        // However it ends, the leader learns of it.
        let end = self.micros(300_000, 900_000);
        self.after(end, Event::ImagesEnded(from, to.clone()));
        if self.cut[from][number] || self.chance(0.1) {
            return;
        }
        let delay = if self.trouble.is_on { self.micros(5_000, 300_000) } else { self.micros(5_000, 50_000) };
        // Images are for a life: the shell throws away what is for another one.
        if self.members[number].node.group.me() == to {
            self.after(delay, Event::Images(number, sent, self.members[number].life));
        }
    }

    /// Everyone that leads proposes; one of them reads.
    fn client(&mut self) -> Checked {
        // The tail is so short that only images would follow what is proposed in times of trouble.
        let delay = if self.trouble.is_on { self.micros(2_000, 30_000) } else { self.micros(20_000, 60_000) };
        self.after(delay, Event::Client);
        for number in 0..self.members.len() {
            if self.members[number].up && self.members[number].node.group.leads() {
                self.propose(number)?;
                if self.rng.random_bool(0.3) {
                    self.read(number)?;
                }
            }
        }
        Ok(())
    }

    fn propose(&mut self, number: usize) -> Checked {
        let size = if self.rng.random_bool(0.02) { 700 } else { 8 };
        for _ in 0..self.rng.random_range(1..4) {
            self.proposed += 1;
            let mut record = self.proposed.to_le_bytes().to_vec();
            record.resize(size, 0);
            let mut full = false;
            self.act(number, |node, now, asked| {
                let mut out = Vec::new();
                full = node.group.propose(Bytes::from(record), now, &mut out).is_err();
                node.follow(out, asked);
            })?;
            self.counts.full += u64::from(full);
        }
        Ok(())
    }

    fn read(&mut self, number: usize) -> Checked {
        let member = &mut self.members[number];
        let Ok(read) = member.node.group.read_index() else { return Ok(()) };
        let (me, configuration) = (member.node.group.me(), member.node.group.configuration());
        let Some(barrier) = member.barriers.read(PLACE, me, configuration, read) else { return Ok(()) };
        member.floors.insert(barrier, self.ghost.committed.len() as u64);
        let mut out = Vec::new();
        member.barriers.end_turn(&mut out);
        self.barrier(number, out)
    }

    fn barrier(&mut self, number: usize, out: Vec<barrier::Output>) -> Checked {
        let life = self.members[number].life;
        for output in out {
            match output {
                barrier::Output::Ask { to, question } => {
                    let Some(to) = self.find(&to) else { continue };
                    let delay = self.micros(50, 100_000);
                    if !self.cut[number][to] {
                        self.after(delay, Event::Question(number, to, question, life));
                    }
                }
                barrier::Output::Passed { number: barrier, read, .. } => {
                    self.counts.reads += 1;
                    let floor = self.members[number].floors.remove(&barrier).unwrap_or(0);
                    if read.index < floor {
                        return Err(format!("a read of {number} sees {} of {floor}", read.index));
                    }
                }
                barrier::Output::Failed { number: barrier, .. } => _ = self.members[number].floors.remove(&barrier),
            }
        }
        Ok(())
    }

    fn question(&mut self, from: usize, to: usize, question: &Question, life: u64) {
        if !self.members[to].up || self.cut[to][from] {
            return;
        }
        let held = self.members[to].node.group.held();
        let holding = barrier::answer(question, |_| held);
        let delay = self.micros(50, 100_000);
        self.after(delay, Event::Answer(to, from, question.number, holding, life));
    }

    fn answer(&mut self, from: usize, to: usize, number: u64, holding: &[u16], life: u64) -> Checked {
        let name = self.name(from);
        let member = &mut self.members[to];
        // A barrier is of one life of a process.
        if member.life != life || !member.up {
            return Ok(());
        }
        let mut out = Vec::new();
        member.barriers.answered(&name, number, holding, &mut out);
        self.barrier(to, out)
    }

    fn any(&mut self) -> usize {
        self.rng.random_range(0..self.members.len())
    }

    fn nemesis(&mut self) -> Checked {
        if !self.trouble.is_on {
            return Ok(());
        }
        let delay = self.micros(50_000, 1_500_000);
        self.after(delay, Event::Nemesis);
        let (one, other) = (self.any(), self.any());
        match self.rng.random_range(0..10) {
            0..=2 => self.crash(one),
            3 => self.cut_off(one),
            4 if one != other => self.set_cut(one, other, true),
            5 if one != other => {
                self.set_cut(one, other, true);
                self.set_cut(other, one, true);
            }
            6 | 7 => self.mend(),
            8 => return self.damage(one),
            _ => {}
        }
        Ok(())
    }

    fn crash(&mut self, number: usize) {
        if !self.members[number].up {
            return;
        }
        self.counts.crashes += 1;
        let kept = self.rng.random_range(0..=self.members[number].node.queue.len());
        let member = &mut self.members[number];
        member.node.crash(kept, Arc::clone(&self.settings), self.now);
        (member.up, member.syncing, member.deadline) = (false, false, None);
        member.life += 1;
        member.barriers = Barriers::default();
        member.floors.clear();
        self.tell_all(number);
        let delay = self.micros(1_000, 3_000_000);
        self.after(delay, Event::Start(number));
    }

    fn start(&mut self, number: usize) -> Checked {
        let member = &mut self.members[number];
        if member.up {
            return Ok(());
        }
        member.up = true;
        let disk = member.node.disk.clone();
        member.node = Node { hints: member.node.hints, ..Node::start(disk, Arc::clone(&self.settings), self.now) };
        for other in 0..self.members.len() {
            if self.cut[other][number] || !self.members[other].up {
                let name = self.name(other);
                self.input(number, Input::Lost(name))?;
            }
        }
        self.tell_all(number);
        self.look_at_deadline(number);
        Ok(())
    }

    /// All others learn soon whether they hear a member. Links of a process that ended break, however soon it is there again.
    fn tell_all(&mut self, number: usize) {
        for other in 0..self.members.len() {
            if other != number {
                let delay = self.micros(100, 250_000);
                if self.members[number].up {
                    self.after(delay, Event::Broken(other, number));
                    self.after(delay, Event::Broken(number, other));
                }
                self.after(delay, Event::Heard(other, number, self.members[number].up));
            }
        }
    }

    fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        if from == to || self.cut[from][to] == cut {
            return;
        }
        self.counts.cuts += u64::from(cut);
        self.cut[from][to] = cut;
        let delay = self.micros(100, 300_000);
        self.after(delay, Event::Heard(to, from, !cut));
        if !cut {
            self.missed(from, to, delay);
        }
    }

    fn cut_off(&mut self, number: usize) {
        for other in 0..self.members.len() {
            self.set_cut(number, other, true);
            self.set_cut(other, number, true);
        }
    }

    fn mend(&mut self) {
        for from in 0..self.members.len() {
            for to in 0..self.members.len() {
                self.set_cut(from, to, false);
            }
        }
    }

    /// The end of a journal cannot be read. At most one copy of the place at a time: a majority that is damaged has lost what it had.
    fn damage(&mut self, number: usize) -> Checked {
        let whole = |member: &Member| member.node.group.configuration().all_voters().all(|voter| self.is_alive(voter));
        if !self.members.iter().all(whole) || !self.members[number].up {
            return Ok(());
        }
        self.counts.damaged += 1;
        self.crash(number);
        let member = &mut self.members[number];
        member.up = true;
        let keep = member.node.disk.entries.len() / 2;
        member.node.disk.entries.truncate(keep);
        let disk = member.node.disk.clone();
        member.node = Node { hints: member.node.hints, ..Node::start(disk, Arc::clone(&self.settings), self.now) };
        self.input(number, Input::Damaged)?;
        // Its journal says so before it does anything else.
        self.act(number, |node, now, asked| node.sync(usize::MAX, now, asked))?;
        self.members[number].up = false;
        Ok(())
    }

    /// Swaps copies and hands over, as placement would.
    fn operator(&mut self) -> Checked {
        let delay = self.micros(50_000, 600_000);
        self.after(delay, Event::Operator);
        let leads = |member: &Member| member.up && member.node.group.leads();
        let leaders: Vec<usize> = (0..self.members.len()).filter(|number| leads(&self.members[*number])).collect();
        for number in leaders {
            self.change(number)?;
        }
        Ok(())
    }

    fn change(&mut self, number: usize) -> Checked {
        let configuration = Arc::clone(self.members[number].node.group.configuration());
        let other = self.any();
        let other = self.members[other].node.group.me().clone();
        if self.chance(0.3) {
            let voter = configuration.voters.iter().find(|voter| voter.name == other.name).cloned();
            let mut handed = false;
            self.act(number, |node, now, asked| {
                let mut out = Vec::new();
                handed = voter.is_some_and(|voter| node.group.transfer(&voter, now, &mut out).is_ok());
                node.follow(out, asked);
            })?;
            self.counts.transfers += u64::from(handed);
            return Ok(());
        }
        let dead = configuration.voters.iter().find(|voter| !self.is_alive(voter));
        let change = match configuration.learners.first() {
            // A learner that does not come is not waited for.
            Some(learner) if self.rng.random_bool(0.1) => Change::RemoveLearner(learner.clone()),
            Some(learner) => {
                let same = configuration.voters.iter().find(|voter| voter.name == learner.name);
                let out = self.rng.random_range(0..configuration.voters.len());
                let out = same.or(dead).unwrap_or(&configuration.voters[out]).clone();
                let stay = configuration.voters.iter().filter(|voter| **voter != out).cloned();
                Change::Voters(stay.chain([learner.clone()]).collect())
            }
            None if !self.trouble.is_on && dead.is_none() => return Ok(()),
            None => {
                // A dead voter's next life, or another member.
                let other = dead.filter(|_| self.rng.random_bool(0.5)).unwrap_or(&other);
                let votes = configuration.voters.iter().find(|voter| voter.name == other.name);
                if votes.is_some_and(|voter| self.is_alive(voter)) {
                    return Ok(());
                }
                Change::AddLearner { name: other.name.clone(), volume: other.volume }
            }
        };
        let swaps = matches!(change, Change::Voters(_));
        let mut made = false;
        self.act(number, |node, now, asked| {
            let mut out = Vec::new();
            made = node.group.reconfigure(&change, now, &mut out).is_ok();
            node.follow(out, asked);
        })?;
        self.counts.swaps += u64::from(made && swaps);
        Ok(())
    }

    /// Whether this life of a copy goes on.
    fn is_alive(&self, replica: &Replica) -> bool {
        self.members.iter().any(|member| !member.node.group.gave_up() && member.node.group.me() == replica)
    }

    fn heal(&mut self) {
        self.trouble.is_on = false;
        self.mend();
        for number in 0..self.members.len() {
            if !self.members[number].up {
                self.after(Duration::ZERO, Event::Start(number));
            }
        }
    }

    /// After all was well for a while: the place is led, serves, and all voters agree.
    fn judge(&self) -> Checked {
        let leaders: Vec<_> = self.members.iter().filter(|member| member.node.group.leads()).collect();
        let newest = leaders.iter().max_by_key(|member| member.node.group.ballot().term);
        let Some(leader) = newest else { return Err("no member leads".to_owned()) };
        let group = &leader.node.group;
        // Proposals go on to the end, so the last ones may be on their way.
        let settled = group.committed();
        if group.last().index > settled + 60 || (self.ghost.committed.len() as u64) > settled {
            return Err(format!("{:?} leads and has committed {settled} of {:?}", group.me(), group.last()));
        }
        let recent = self.counts.committed;
        for voter in &group.configuration().voters {
            let Some(number) = self.find(&voter.name) else { continue };
            let other = &self.members[number].node.group;
            if other.me() == voter && !other.gave_up() && other.committed() + 60 < recent {
                return Err(format!("{voter:?} has {} of {recent}", other.committed()));
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "at {:?}, {:?}", self.now - self.began, self.counts)?;
        for member in &self.members {
            let group = &member.node.group;
            let role = if group.leads() {
                "leads"
            } else if group.gave_up() {
                "gave up"
            } else {
                ""
            };
            let (term, leader) = (group.ballot().term, group.leader());
            writeln!(
                f,
                "{:?} {role} term {term} follows {leader:?} {:?} commit {}",
                group.me(),
                group.last(),
                group.committed()
            )?;
            writeln!(
                f,
                "   base {:?} durable {} deadline {:?} up {}",
                group.base(),
                group.durable_index(),
                group.next_deadline().map(|at| at.saturating_duration_since(self.now)),
                member.up
            )?;
            writeln!(f, "   {:?}", group.configuration())?;
        }
        Ok(())
    }
}

/// What a seed finds wrong.
pub fn violation(seed: u64) -> Option<String> {
    World::new(seed).run().err()
}
