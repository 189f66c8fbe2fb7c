//! Key indexes: which keys exist where, so that what a dead member had can be named, all of it and nothing else.
//!
//! The holder of a partition tells its keys to its *standbys*, the best [`STANDBYS`] members by placement that are not the holder
//! itself: all of them when one becomes that, and each new one in the turn in which its request is answered. Keys whose instance is
//! lost, and that no client has asked for since, belong to it, and so do conflicts that no reply has said: both are keys without a
//! machine, and what their names mean is the shards' to know. There are two, so that of any two members that die together no key is
//! unknown.
//!
//! # What a standby keeps, and when it goes
//! - What a living member told goes when that member says that it is of no use any more ([`IndexMessage::Only`]), which it does
//!   when all present standbys have said that they know everything, or when the partition was handed off. It does not matter whether
//!   this member believes that it is a standby: views differ for a moment.
//! - What a dead member told goes when another one serves the partition, which has fetched it by then.
//! - A key goes when its holder says that its instance was removed. What a holder tells of a partition is numbered, so a standby that did
//!   not hear of that is not believed where the other one heard more (`heard.rs`).
//! - At [`KeyIndex::new`]'s bound further keys are not kept, and their partition is *partial*: the standby does not say that it
//!   knows all of it, and the member that serves it next is told that some losses cannot be named.
//!
//! # How much goes at a time
//! A member that becomes a standby of much, or asks for much, is told in parts ([`PART_BYTES`]), and the next one goes when it has
//! answered [`IndexMessage::Whole`] for the one before ([`KeyIndex::go_on`]): tellers and standbys stay at hand meanwhile, and a
//! link takes it. Only a partition that is about to be served is told at once ([`KeyIndex::tell_first`]): who held it before
//! forgets it then, and came with all of its instances.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::image::Input;
use statemesh_protocol::key_index::{Key, KeyState, Told};
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::index::IndexMessage;
use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::Tenure;

mod heard;
mod telling;

use crate::placement::outranks;
use crate::view::View;
use heard::{Full, Heard, Id, Known};
pub use telling::PART_BYTES;
use telling::{Step, Telling};

/// Bytes of one frame of keys, after which the next one begins.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Standbys of a partition.
pub const STANDBYS: usize = 2;
/// Members at most that are told the keys of a partition: its standbys, and one more for each that the holder does not reach.
pub const TOLD: usize = 2 * STANDBYS;

/// What the shell does next, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send all keys of this partition to one of its standbys, and say how much that was ([`KeyIndex::sent`]).
    Tell {
        /// The partition.
        partition: Partition,
        /// The standby.
        to: MemberName,
    },
    /// Send these keys to `to`, as told by others.
    Relay {
        /// The member.
        to: MemberName,
        /// One frame.
        body: Vec<u8>,
    },
    /// Say to `to` that all keys that others told of these have been sent.
    Told {
        /// The member.
        to: MemberName,
        /// The partitions.
        set: PartitionSet,
        /// Those of them of which that is everything.
        whole: PartitionSet,
    },
    /// Send this over the link to `to`.
    Send {
        /// The member.
        to: MemberName,
        /// The message.
        message: IndexMessage,
    },
}

impl Output {
    /// The name of each kind.
    pub const NAMES: &'static [&'static str] = &["tell", "relay", "told", "send"];

    /// The name of its kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tell { .. } => "tell",
            Self::Relay { .. } => "relay",
            Self::Told { .. } => "told",
            Self::Send { .. } => "send",
        }
    }
}

/// A key that a dead member had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostKey {
    /// Its machine.
    pub machine: Arc<str>,
    /// The key.
    pub key: Box<str>,
    /// The life that is lost.
    pub run: RunId,
    /// It was lost before: its loss was published and counted already.
    pub before: bool,
    /// The copy that had it: where that is after all, the life is there, or has ended.
    pub tenure: Tenure,
}

/// Of which partitions keys are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexed {
    /// All of them, those of which it is known that there is no key included.
    pub all: PartitionSet,
    /// Those of which all keys are known: each member that had some to tell has told all of them.
    pub whole: PartitionSet,
    /// By member that is gone: partitions of which it told keys that no other member has taken over since.
    pub of_dead: BTreeMap<MemberName, PartitionSet>,
}

/// Whose keys: a member's name, and which process of that name.
type Process = (MemberName, u64);

/// What one process told of a partition.
#[derive(Debug)]
struct Index {
    teller: Process,
    /// That process is gone.
    dead: bool,
    /// It said that it had told everything, on its link if there is one.
    whole: bool,
    /// The members that were told of it when about to serve the partition.
    relayed_to: BTreeSet<MemberName>,
    heard: Heard,
}

impl Index {
    fn new(teller: Process) -> Self {
        Self { teller, dead: false, whole: false, relayed_to: BTreeSet::new(), heard: Heard::default() }
    }

    /// Whether this process told it.
    fn is_of(&self, name: &MemberName) -> bool {
        !self.dead && self.teller.0 == *name
    }
}

/// Who is told of a partition that is here.
#[derive(Debug, Default)]
struct Ours {
    standbys: BTreeMap<MemberName, Standby>,
    /// Earlier standbys, who keep what they were told until the present ones have said that they know everything.
    former: BTreeSet<MemberName>,
}

/// What a standby was told on its link.
#[derive(Debug, Default)]
struct Standby {
    /// The question whether it knows everything; none before everything was told.
    number: Option<u64>,
    /// It said that it does.
    knows: bool,
}

impl Ours {
    /// Earlier standbys that are needed no more.
    fn release(&mut self) -> BTreeSet<MemberName> {
        let all_know = self.standbys.values().all(|standby| standby.knows);
        if all_know { std::mem::take(&mut self.former) } else { BTreeSet::new() }
    }
}

/// Names of machines before the first look at which of them are in use.
const NAMES: usize = 1_024;

/// Keys of other members, and whom to tell ours. See the module.
#[derive(Debug)]
pub struct KeyIndex {
    max_keys: usize,
    /// Keys kept, relayed ones included.
    keys: usize,
    refused: u64,
    /// Names of machines, and how many there may be before those that no key has are forgotten.
    names: BTreeSet<Arc<str>>,
    max_names: usize,
    told: BTreeMap<Partition, Vec<Index>>,
    /// What others were told, for partitions that this member is about to serve.
    relayed: BTreeMap<Partition, BTreeMap<Process, Heard>>,
    /// Which process of each name is there.
    processes: BTreeMap<MemberName, u64>,
    partial: PartitionSet,
    ours: BTreeMap<Partition, Ours>,
    /// What each member to which there is a link is told.
    telling: BTreeMap<MemberName, Telling>,
    /// Who is to be told what it is the standby for.
    to_limit: BTreeSet<MemberName>,
    last_number: u64,
    changed: bool,
    out: VecDeque<Output>,
}

/// The standbys of a partition whose copy is at `me`. For each that is not `in_reach` one more is, of those that are: it may know
/// nothing of what is told from now on, and stays for what it knows, and as it may be back in a moment.
pub fn standbys<'a>(
    view: &'a View,
    partition: Partition,
    me: &MemberName,
    in_reach: impl Fn(&MemberName) -> bool,
) -> impl Iterator<Item = &'a MemberName> {
    let mut all: Vec<&MemberName> = view.ranking(partition).filter(|name| *name != me).take(STANDBYS).collect();
    for _ in 0..all.iter().filter(|name| !in_reach(name)).count() {
        let others = view.members().filter(|name| *name != me && !all.contains(name) && in_reach(name));
        let best = others.reduce(|best, name| if outranks(name, best, partition) { name } else { best });
        all.extend(best);
    }
    all.into_iter()
}

impl KeyIndex {
    /// An index of nothing, with room for so many keys of others.
    #[must_use]
    pub fn new(max_keys: usize) -> Self {
        Self {
            max_keys,
            keys: 0,
            refused: 0,
            names: BTreeSet::new(),
            max_names: NAMES,
            told: BTreeMap::new(),
            relayed: BTreeMap::new(),
            processes: BTreeMap::new(),
            partial: PartitionSet::new(),
            ours: BTreeMap::new(),
            telling: BTreeMap::new(),
            to_limit: BTreeSet::new(),
            last_number: 0,
            changed: false,
            out: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        if self.out.is_empty() {
            self.limit_standbys();
        }
        self.out.pop_front()
    }

    /// Goes on telling a member by one partition at most, so that the shell decides how much it does in one go. False if nothing is
    /// left to be told, or all have to answer first.
    pub fn go_on(&mut self) -> bool {
        let Self { telling, last_number, .. } = self;
        let next = telling.iter_mut().find_map(|(to, telling)| Some((to.clone(), telling.next(last_number)?)));
        let Some((to, step)) = next else { return false };
        match step {
            Step::Relay { partition, without_own } => {
                for body in self.relay(partition, &to, without_own) {
                    self.sent(&to, body.len());
                    self.out.push_back(Output::Relay { to: to.clone(), body });
                }
            }
            Step::Tell { partition, number } => self.tell_one(partition, to, number),
            Step::End(part) => {
                let is_asked_about = part.is_asked_about();
                let telling::Part { number, relayed, told, .. } = part;
                if !relayed.is_empty() {
                    let whole = relayed.iter().filter(|partition| self.knows_all(*partition)).collect();
                    self.out.push_back(Output::Told { to: to.clone(), set: relayed, whole });
                }
                if is_asked_about {
                    self.out.push_back(Output::Send { to, message: IndexMessage::Whole { number, set: told } });
                }
            }
        }
        true
    }

    /// This member is about to serve the partition: its standbys are told of it before anything else.
    pub fn tell_first(&mut self, partition: Partition) {
        let Some(ours) = self.ours.get(&partition) else { return };
        let untold = ours.standbys.iter().filter(|(_, standby)| standby.number.is_none());
        for to in untold.map(|(to, _)| to.clone()).collect::<Vec<_>>() {
            let Some(telling) = self.telling.get_mut(&to) else { continue };
            telling.remove(partition);
            self.last_number += 1;
            let number = self.last_number;
            self.tell_one(partition, to.clone(), number);
            let set = std::iter::once(partition).collect();
            self.out.push_back(Output::Send { to, message: IndexMessage::Whole { number, set } });
        }
    }

    fn tell_one(&mut self, partition: Partition, to: MemberName, number: u64) {
        // Another one may be the standby by now.
        if let Some(standby) = self.ours.get_mut(&partition).and_then(|ours| ours.standbys.get_mut(&to)) {
            *standby = Standby { number: Some(number), knows: false };
            self.out.push_back(Output::Tell { partition, to });
        }
    }

    /// So many bytes of keys were sent to a member.
    pub fn sent(&mut self, to: &MemberName, bytes: usize) {
        if let Some(telling) = self.telling.get_mut(to) {
            telling.sent(bytes);
        }
    }

    /// A member asks for what this one was told of these: without what it told itself, if so. It asks anew on another link.
    pub fn ask(&mut self, to: &MemberName, without_own: bool, set: &PartitionSet) {
        if let Some(telling) = self.telling.get_mut(to) {
            telling.ask(set, without_own);
        }
    }

    /// Keys kept for others.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Keys that found no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The partitions of which this member knows keys, if that changed.
    pub fn changed(&mut self) -> Option<Indexed> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let whole = self.told.keys().copied().filter(|partition| self.knows_all(*partition)).collect();
        let mut indexed = Indexed { all: self.told.keys().copied().collect(), whole, of_dead: BTreeMap::new() };
        for (partition, indexes) in &self.told {
            for index in indexes.iter().filter(|index| index.dead && index.heard.len() > 0) {
                indexed.of_dead.entry(index.teller.0.clone()).or_default().insert(*partition);
            }
        }
        Some(indexed)
    }

    /// Whether all keys of a partition are known that one of those had who told any. What a dead one did not come to tell is missing.
    fn knows_all(&self, partition: Partition) -> bool {
        let indexes = self.told.get(&partition).map_or(&[][..], |indexes| indexes);
        let are_told = indexes.iter().all(|index| index.whole || !index.dead);
        are_told && indexes.iter().any(|index| index.whole)
    }

    /// Which members are to know the keys of a partition: none if there is no copy of it here, or no other member.
    pub fn set_standbys<'a>(&mut self, partition: Partition, standbys: impl Iterator<Item = &'a MemberName>) {
        let wanted: BTreeSet<&MemberName> = standbys.collect();
        let ours = self.ours.entry(partition).or_default();
        if ours.standbys.keys().eq(wanted.iter().copied()) {
            if wanted.is_empty() {
                self.ours.remove(&partition);
            }
            return;
        }
        let gone = ours.standbys.extract_if(.., |name, _| !wanted.contains(name));
        ours.former.extend(gone.map(|(name, _)| name));
        for name in wanted {
            ours.former.remove(name);
            if !ours.standbys.contains_key(name) {
                ours.standbys.insert(name.clone(), Standby::default());
                if let Some(telling) = self.telling.get_mut(name) {
                    telling.add(partition);
                }
            }
        }
        self.to_limit.append(&mut ours.release());
        if ours.standbys.is_empty() {
            self.ours.remove(&partition);
        }
    }

    /// A member is there, by this process.
    pub fn member_up(&mut self, name: &MemberName, incarnation: u64) {
        self.processes.insert(name.clone(), incarnation);
    }

    /// There is an ordered link to this member.
    pub fn link_up(&mut self, name: &MemberName) {
        self.to_limit.insert(name.clone());
        let mine = self.ours.iter().filter(|(_, ours)| ours.standbys.contains_key(name));
        let set = mine.map(|(partition, _)| *partition).collect();
        self.telling.insert(name.clone(), Telling::new(set));
        // What it has not told while there was no link it tells on this one.
        for index in self.told.values_mut().flatten().filter(|index| index.is_of(name)) {
            index.heard.link_ended();
            self.changed |= std::mem::replace(&mut index.whole, false);
        }
    }

    /// The link to this member is gone.
    pub fn link_down(&mut self, name: &MemberName) {
        self.telling.remove(name);
        for standby in self.ours.values_mut().filter_map(|ours| ours.standbys.get_mut(name)) {
            *standby = Standby::default();
        }
    }

    /// A member's process of this incarnation is gone.
    pub fn member_down(&mut self, name: &MemberName, incarnation: u64) {
        self.link_down(name);
        self.to_limit.remove(name);
        for ours in self.ours.values_mut() {
            ours.former.remove(name);
        }
        self.processes.remove(name);
        for index in self.told.values_mut().flatten().filter(|index| index.is_of(name)) {
            (index.dead, index.teller.1) = (true, incarnation);
            self.changed = true;
        }
    }

    /// A member's process of this incarnation was taken for gone, and is there. What an earlier one of its name told stays lost.
    pub fn member_back(&mut self, name: &MemberName, incarnation: u64) {
        let is_back = |index: &&mut Index| index.dead && index.teller == (name.clone(), incarnation);
        for index in self.told.values_mut().flatten().filter(is_back) {
            index.dead = false;
            self.changed = true;
        }
    }

    /// Takes in a message of a member about its keys, or its answer about ours.
    pub fn message(&mut self, from: &MemberName, message: IndexMessage) {
        match message {
            IndexMessage::Only { set } => self.keep(|partition, index| !index.is_of(from) || set.contains(partition)),
            IndexMessage::Whole { number, set } => {
                let whole: PartitionSet = set.iter().filter(|partition| !self.partial.contains(*partition)).collect();
                // Also that a partition has no key is known.
                for partition in whole.iter() {
                    let Some(index) = self.index_of(from, partition) else { continue };
                    let is_news = !std::mem::replace(&mut index.whole, true);
                    let before = index.heard.len();
                    index.heard.ends();
                    self.keys -= before - index.heard.len();
                    self.changed |= is_news;
                }
                let message = IndexMessage::Kept { number, set: whole };
                self.out.push_back(Output::Send { to: from.clone(), message });
            }
            IndexMessage::Kept { number, set } => {
                if let Some(telling) = self.telling.get_mut(from) {
                    telling.answered(number);
                }
                for partition in set.iter() {
                    let Some(ours) = self.ours.get_mut(&partition) else { continue };
                    if let Some(standby) = ours.standbys.get_mut(from).filter(|of| of.number == Some(number)) {
                        standby.knows = true;
                        self.to_limit.append(&mut ours.release());
                    }
                }
            }
        }
    }

    /// Takes in keys that a member has.
    ///
    /// # Errors
    /// The bytes are no keys.
    pub fn tell(&mut self, from: &MemberName, body: &[u8]) -> Result<(), statemesh_protocol::image::Malformed> {
        let mut input = Input::new(body);
        while !input.is_empty() {
            match Told::decode(&mut input)? {
                Told::All { partition, number } => {
                    self.index_of(from, partition).into_iter().for_each(|index| index.heard.begins(number));
                }
                Told::Key(key) => {
                    let (id, is_full) = (self.id(&key), self.keys >= self.max_keys);
                    let Some(index) = self.index_of(from, key.partition) else { continue };
                    // Members that were told of it before do not know this.
                    index.relayed_to.clear();
                    let before = index.heard.len();
                    let kept = index.heard.tell(id, &key, is_full);
                    let after = index.heard.len();
                    self.count(key.partition, before, after, kept);
                }
                Told::Of { .. } => return Err(input.malformed()),
            }
        }
        Ok(())
    }

    /// What a member told of a partition.
    fn index_of(&mut self, from: &MemberName, partition: Partition) -> Option<&mut Index> {
        let indexes = self.told.entry(partition).or_default();
        let at = indexes.iter().position(|index| index.is_of(from));
        let at = at.unwrap_or_else(|| {
            self.changed = true;
            let process = self.processes.get(from).copied().unwrap_or_default();
            indexes.push(Index::new((from.clone(), process)));
            indexes.len() - 1
        });
        indexes.get_mut(at)
    }

    /// Takes in keys that a member was told of, for partitions that this one is about to serve, which are `wanted`.
    ///
    /// # Errors
    /// The bytes are no keys.
    pub fn relayed(
        &mut self,
        body: &[u8],
        wanted: impl Fn(Partition) -> bool,
    ) -> Result<(), statemesh_protocol::image::Malformed> {
        let (mut input, mut of) = (Input::new(body), None);
        while !input.is_empty() {
            match Told::decode(&mut input)? {
                Told::Of { partition, teller, incarnation, whole } => {
                    let teller = (MemberName::new(teller).map_err(|_| input.malformed())?, incarnation);
                    // Another one may serve it by now: what it was told is not to be said again with what becomes of that one.
                    if wanted(partition) {
                        let heard = self.relayed.entry(partition).or_default().entry(teller.clone()).or_default();
                        heard.is_whole_until(whole);
                    }
                    of = Some((partition, teller));
                }
                Told::Key(key) => {
                    let (partition, teller) = of.as_ref().ok_or(input.malformed())?;
                    if *partition != key.partition {
                        return Err(input.malformed());
                    }
                    let (id, is_full) = (self.id(&key), self.keys >= self.max_keys);
                    let heard = self.relayed.get_mut(partition).and_then(|of| of.get_mut(teller));
                    let Some(heard) = heard.filter(|_| wanted(key.partition)) else { continue };
                    let before = heard.len();
                    let kept = heard.join(id, Known::of(&key), is_full);
                    let after = heard.len();
                    self.count(key.partition, before, after, kept);
                }
                Told::All { .. } => return Err(input.malformed()),
            }
        }
        Ok(())
    }

    /// How a key is kept; none if there is no room for it, and nothing is known of its machine.
    fn id(&mut self, key: &Key<'_>) -> Option<Id> {
        let known = self.names.get(key.machine).cloned();
        let name = known.or_else(|| (self.keys < self.max_keys).then(|| self.add_name(key.machine)))?;
        Some((name, key.key.into()))
    }

    fn add_name(&mut self, machine: &str) -> Arc<str> {
        if self.names.len() >= self.max_names {
            // Each time twice as many as are in use: a look at all of them is paid for by those that came.
            self.names.retain(|name| Arc::strong_count(name) > 1);
            self.max_names = NAMES.max(self.names.len() * 2);
        }
        let name: Arc<str> = machine.into();
        self.names.insert(Arc::clone(&name));
        name
    }

    /// Counts how many keys are kept of what had so many, after one was told.
    fn count(&mut self, partition: Partition, before: usize, after: usize, kept: Result<(), Full>) {
        self.keys = (self.keys + after).saturating_sub(before);
        if kept.is_err() {
            self.refused += 1;
            self.partial.insert(partition);
        }
    }

    /// Frames of what is known of a partition, for `to`, who was told all of it then; but not what it told itself, if so, as the process
    /// that it is.
    fn relay(&mut self, partition: Partition, to: &MemberName, without_own: bool) -> Vec<Vec<u8>> {
        let mut frames: Vec<Vec<u8>> = Vec::new();
        let indexes = self.told.get_mut(&partition).into_iter().flatten();
        for index in indexes.filter(|index| !without_own || !index.is_of(to)) {
            index.relayed_to.insert(to.clone());
            let (teller, incarnation) = (index.teller.0.as_str(), index.teller.1);
            let of = |whole| Told::Of { partition, teller, incarnation, whole };
            let begin = || {
                let mut frame = Vec::new();
                of(0).encode(&mut frame);
                frame
            };
            let mut frame = begin();
            for ((machine, key), Known { run, state, tenure, .. }, number) in index.heard.iter() {
                Told::Key(Key { partition, machine, key, run, state, tenure, number }).encode(&mut frame);
                if frame.len() >= FRAME_BYTES {
                    frames.push(std::mem::replace(&mut frame, begin()));
                }
            }
            // Behind its last key: what of that is not passed on any more is not taken for removed.
            of(index.heard.until()).encode(&mut frame);
            frames.push(frame);
        }
        frames
    }

    /// Another member serves these: what dead ones told of them was about an earlier life. It has forgotten what it was told of them
    /// before: where there is another copy here, as in a merge, that is told it anew. One that was `apart` may serve what it had then:
    /// what it was not told of what a dead one did is still to be said.
    pub fn served(&mut self, by: &MemberName, apart: bool, set: &PartitionSet) {
        for partition in set.iter() {
            self.forget_relayed(partition);
            let Some(standby) = self.ours.get_mut(&partition).and_then(|ours| ours.standbys.get_mut(by)) else {
                continue;
            };
            *standby = Standby::default();
            if let Some(telling) = self.telling.get_mut(by) {
                telling.add(partition);
            }
        }
        let is_over = |index: &Index| !apart || index.relayed_to.contains(by);
        set.iter().for_each(|partition| self.keep_of(partition, |index| !index.dead || !is_over(index)));
        self.forget_partial();
        // What is left is to be said.
        self.changed |= apart;
    }

    /// This member serves the partition from now on, and knows all of it but for what a member holds `beside` it.
    pub fn forget(&mut self, partition: Partition, beside: Option<&MemberName>) {
        self.keep_of(partition, |index| beside == Some(&index.teller.0));
        self.forget_relayed(partition);
        self.partial.remove(partition);
    }

    fn forget_relayed(&mut self, partition: Partition) -> BTreeMap<Process, Heard> {
        let relayed = self.relayed.remove(&partition).unwrap_or_default();
        self.keys -= relayed.values().map(Heard::len).sum::<usize>();
        relayed
    }

    /// Takes all keys that are known of a partition, and whether these may not be all.
    pub fn take(&mut self, partition: Partition) -> (Vec<LostKey>, bool) {
        let relayed = self.forget_relayed(partition);
        let lost = self.lost_of(partition, relayed, |_| true);
        let partial = self.partial.contains(partition);
        self.forget(partition, None);
        (lost, partial)
    }

    /// Takes what dead members told of a partition.
    pub fn take_dead(&mut self, partition: Partition) -> Vec<LostKey> {
        let lost = self.lost_of(partition, BTreeMap::new(), |index| index.dead);
        self.keep_of(partition, |index| !index.dead);
        lost
    }

    /// What this comes to that was heard of a partition, and what the indexes say that are `wanted`.
    fn lost_of(
        &self,
        partition: Partition,
        mut heard: BTreeMap<Process, Heard>,
        wanted: impl Fn(&Index) -> bool,
    ) -> Vec<LostKey> {
        for index in self.told.get(&partition).into_iter().flatten().filter(|index| wanted(index)) {
            heard.entry(index.teller.clone()).or_default().join_all(&index.heard);
        }
        let mut all: BTreeMap<Id, Known> = BTreeMap::new();
        for (id, known) in heard.into_values().flat_map(Heard::into_left) {
            all.entry(id).or_insert(known).and(known);
        }
        let named = |((machine, key), Known { run, state, tenure, .. })| {
            let before = state == KeyState::Lost;
            LostKey { machine, key, run, before, tenure }
        };
        all.into_iter().map(named).collect()
    }

    /// Forgets all indexes but those that are `wanted`.
    fn keep(&mut self, wanted: impl Fn(Partition, &Index) -> bool) {
        let partitions: Vec<Partition> = self.told.keys().copied().collect();
        partitions.into_iter().for_each(|partition| self.keep_of(partition, |index| wanted(partition, index)));
        self.forget_partial();
    }

    /// Forgets all indexes of a partition but those that are `wanted`.
    fn keep_of(&mut self, partition: Partition, wanted: impl Fn(&Index) -> bool) {
        let Entry::Occupied(mut indexes) = self.told.entry(partition) else { return };
        for index in indexes.get_mut().extract_if(.., |index| !wanted(index)) {
            self.keys -= index.heard.len();
            self.changed = true;
        }
        if indexes.get().is_empty() {
            indexes.remove();
        }
    }

    /// Of what nothing is known any more nothing is missing: what is told next may find room.
    fn forget_partial(&mut self) {
        let is_known =
            |partition: &Partition| self.told.contains_key(partition) || self.relayed.contains_key(partition);
        self.partial = self.partial.iter().filter(is_known).collect();
    }

    fn limit_standbys(&mut self) {
        for to in std::mem::take(&mut self.to_limit) {
            // Without a link it is told when there is one.
            if self.telling.contains_key(&to) {
                let keeps = |ours: &Ours| ours.standbys.contains_key(&to) || ours.former.contains(&to);
                let set = self.ours.iter().filter(|(_, ours)| keeps(ours)).map(|(partition, _)| *partition).collect();
                self.out.push_back(Output::Send { to, message: IndexMessage::Only { set } });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_protocol::hash::key_hash;
    use std::cell::Cell;

    fn name(text: &str) -> MemberName {
        MemberName::new(text).unwrap()
    }

    fn set(partitions: &[Partition]) -> PartitionSet {
        partitions.iter().copied().collect()
    }

    /// The next number of what is told.
    fn next() -> u64 {
        thread_local!(static LAST: Cell<u64> = const { Cell::new(0) });
        LAST.set(LAST.get() + 1);
        LAST.get()
    }

    fn key<'a>(partition: Partition, machine: &'a str, key: &'a str, state: KeyState) -> Key<'a> {
        Key { partition, machine, key, run: RunId(1), state, tenure: Tenure(1), number: next() }
    }

    fn bytes(told: &[Told<'_>]) -> Vec<u8> {
        let mut body = Vec::new();
        told.iter().for_each(|told| told.encode(&mut body));
        body
    }

    /// Keys that came into being, or are lost.
    fn body(keys: &[(Partition, &str, bool)]) -> Vec<u8> {
        let state = |lost| if lost { KeyState::Lost } else { KeyState::Live };
        let told: Vec<_> = keys.iter().map(|(of, name, lost)| Told::Key(key(*of, "m", name, state(*lost)))).collect();
        bytes(&told)
    }

    /// All keys of a partition, as of the last number.
    fn all_of(partition: Partition, keys: &[&str]) -> Vec<u8> {
        let keys: Vec<_> = keys.iter().map(|name| key(partition, "m", name, KeyState::Live)).collect();
        let number = next();
        let keys = keys.into_iter().map(|key| Told::Key(Key { number, ..key }));
        bytes(&std::iter::once(Told::All { partition, number }).chain(keys).collect::<Vec<_>>())
    }

    /// A member tells all keys of a partition.
    fn whole_of(index: &mut KeyIndex, from: &MemberName, partition: Partition, keys: &[&str]) {
        index.tell(from, &all_of(partition, keys)).unwrap();
        index.message(from, IndexMessage::Whole { number: 9, set: set(&[partition]) });
    }

    /// Two standbys of the first partition are told all of its keys.
    fn both_are_told(indexes: [&mut KeyIndex; 2], by: &MemberName, keys: &[&str]) {
        let all = all_of(1, keys);
        for index in indexes {
            index.tell(by, &all).unwrap();
            index.message(by, IndexMessage::Whole { number: 9, set: set(&[1]) });
        }
    }

    /// What one member was told of the first partition it passes on to another one.
    fn pass_on(from: &mut KeyIndex, to: &mut KeyIndex) {
        from.link_up(&name("x"));
        from.ask(&name("x"), true, &set(&[1]));
        for output in outputs(from) {
            if let Output::Relay { body, .. } = output {
                to.relayed(&body, |_| true).unwrap();
            }
        }
    }

    fn removed(name: &str) -> Vec<u8> {
        bytes(&[Told::Key(key(1, "m", name, KeyState::Removed))])
    }

    /// The keys that a relayed frame tells, by its own header.
    fn relayed_by(teller: &str, whole: u64, keys: &[(Partition, &str)]) -> Vec<u8> {
        let mut told = Vec::new();
        for (partition, name) in keys {
            told.push(Told::Of { partition: *partition, teller, incarnation: 0, whole });
            told.push(Told::Key(key(*partition, "m", name, KeyState::Live)));
        }
        bytes(&told)
    }

    fn changed(index: &mut KeyIndex) -> Option<PartitionSet> {
        index.changed().map(|indexed| indexed.all)
    }

    fn polled(index: &mut KeyIndex) -> Vec<Output> {
        std::iter::from_fn(|| index.poll()).collect()
    }

    /// What follows if each partition has so many bytes of keys.
    fn outputs_of(index: &mut KeyIndex, bytes: usize) -> Vec<Output> {
        let mut all = polled(index);
        while index.go_on() {
            for output in polled(index) {
                if let Output::Tell { to, .. } = &output {
                    index.sent(to, bytes);
                }
                all.push(output);
            }
        }
        all
    }

    fn outputs(index: &mut KeyIndex) -> Vec<Output> {
        outputs_of(index, 10)
    }

    fn tell(to: &MemberName, partition: Partition) -> Output {
        Output::Tell { partition, to: to.clone() }
    }

    fn whole(to: &MemberName, number: u64, partitions: &[Partition]) -> Output {
        Output::Send { to: to.clone(), message: IndexMessage::Whole { number, set: set(partitions) } }
    }

    fn told(to: &MemberName, partitions: &[Partition]) -> Output {
        Output::Told { to: to.clone(), set: set(partitions), whole: PartitionSet::new() }
    }

    #[test]
    fn for_each_standby_that_is_not_in_reach_the_next_one_is_told_that_is() {
        let mut view = View::new(64);
        let names: Vec<MemberName> = ["a", "b", "c", "d", "e", "f"].map(name).into();
        names.iter().for_each(|name| _ = view.set(name, true));
        let me = &names[0];
        for partition in 0..64 {
            let mut ranked: Vec<&MemberName> = names[1..].iter().collect();
            ranked.sort_by_key(|name| std::cmp::Reverse(crate::placement::score(name.hash64(), partition)));
            let told = |away: &[&MemberName]| -> Vec<&MemberName> {
                standbys(&view, partition, me, |name| !away.contains(&name)).collect()
            };
            assert_eq!(told(&[]), ranked[..2]);
            assert_eq!(told(&[ranked[4]]), ranked[..2]);
            assert_eq!(told(&[ranked[1]]), ranked[..3]);
            assert_eq!(told(&[ranked[0], ranked[2]]), [ranked[0], ranked[1], ranked[3]]);
            assert_eq!(told(&ranked[..2]), ranked[..TOLD]);
            assert_eq!(told(&ranked), ranked[..2], "no other is in reach");
        }
    }

    #[test]
    fn what_is_told_of_a_key_by_name_ends_what_was_told_of_its_loss_by_hash() {
        let key = |machine, name, state| bytes(&[Told::Key(key(3, machine, name, state))]);
        let hash = format!("{:016x}", key_hash("m", "k"));
        for state in [KeyState::Live, KeyState::Removed] {
            let (mut index, b) = (KeyIndex::new(10), name("b"));
            whole_of(&mut index, &b, 3, &[]);
            index.tell(&b, &key("", &hash, KeyState::Lost)).unwrap();
            index.tell(&b, &key("", "00000000000000ff", KeyState::Lost)).unwrap();
            index.tell(&b, &key("m", "k", state)).unwrap();
            let live = usize::from(state == KeyState::Live);
            assert_eq!(index.keys, 1 + live);
            index.member_down(&b, 1);
            let lost: Vec<_> = index.take(3).0.into_iter().map(|key| (key.key, key.before)).collect();
            assert_eq!(lost.iter().filter(|(_, before)| *before).count(), 1, "{lost:?}");
            assert_eq!(lost.len(), 1 + live);
        }
    }

    fn answer(index: &mut KeyIndex, from: &MemberName, number: u64) {
        index.message(from, IndexMessage::Kept { number, set: PartitionSet::new() });
    }

    /// One that is the standby for these, over a link that is there, and has answered nothing yet.
    fn standby_of(partitions: &[Partition]) -> (KeyIndex, MemberName) {
        let (mut index, s) = (KeyIndex::new(100), name("s"));
        index.link_up(&s);
        polled(&mut index);
        for partition in partitions {
            index.set_standbys(*partition, [&s].into_iter());
        }
        (index, s)
    }

    fn taken(index: &mut KeyIndex, partition: Partition) -> Vec<(String, bool)> {
        let (lost, _) = index.take(partition);
        lost.into_iter().map(|lost| (lost.key.into(), lost.before)).collect()
    }

    #[test]
    fn a_former_standby_forgets_when_the_next_one_knows_everything_and_not_before() {
        let (mut index, s, t) = (KeyIndex::new(100), name("s"), name("t"));
        index.link_up(&s);
        index.set_standbys(3, [&s].into_iter());
        let Some(Output::Send { message: IndexMessage::Whole { number, .. }, .. }) = outputs(&mut index)
            .into_iter()
            .find(|output| matches!(output, Output::Send { message: IndexMessage::Whole { .. }, .. }))
        else {
            panic!("everything is told")
        };
        index.set_standbys(3, [&t].into_iter());
        assert_eq!(outputs(&mut index), [], "there is no link to it yet");
        // What the former one says late is about what it was told.
        index.message(&s, IndexMessage::Kept { number, set: set(&[3]) });
        index.link_up(&t);
        let told = outputs(&mut index);
        assert!(told.contains(&tell(&t, 3)), "{told:?}");
        let whole = number + 1;
        assert!(
            told.contains(&Output::Send {
                to: t.clone(),
                message: IndexMessage::Whole { number: whole, set: set(&[3]) }
            })
        );
        assert!(!told.iter().any(|output| matches!(output, Output::Send { to, .. } if *to == s)), "{told:?}");
        index.message(&t, IndexMessage::Kept { number: whole, set: set(&[3]) });
        let only = IndexMessage::Only { set: PartitionSet::new() };
        assert_eq!(outputs(&mut index), [Output::Send { to: s, message: only }]);
    }

    #[test]
    fn a_former_standby_keeps_what_it_knows_until_both_of_the_present_ones_do() {
        let (mut index, [s, t, u]) = (KeyIndex::new(100), ["s", "t", "u"].map(name));
        [&s, &t, &u].into_iter().for_each(|name| index.link_up(name));
        index.set_standbys(3, [&s, &t].into_iter());
        outputs(&mut index);
        index.set_standbys(3, [&t, &u].into_iter());
        let told = outputs(&mut index);
        assert!(told.contains(&Output::Tell { partition: 3, to: u.clone() }), "{told:?}");
        assert!(!told.contains(&Output::Tell { partition: 3, to: t.clone() }), "it was told before: {told:?}");
        let knows = |index: &mut KeyIndex, of: &MemberName, number| {
            index.message(of, IndexMessage::Kept { number, set: set(&[3]) });
            outputs(index)
        };
        assert_eq!(knows(&mut index, &u, 3), []);
        let only = IndexMessage::Only { set: PartitionSet::new() };
        assert_eq!(knows(&mut index, &t, 2), [Output::Send { to: s, message: only }]);
    }

    #[test]
    fn a_new_link_is_told_everything_anew_and_an_answer_from_the_old_one_counts_for_nothing() {
        let (mut index, s, t) = (KeyIndex::new(100), name("s"), name("t"));
        index.link_up(&s);
        index.set_standbys(3, [&s].into_iter());
        outputs(&mut index);
        index.link_up(&t);
        index.set_standbys(3, [&t].into_iter());
        outputs(&mut index);
        index.link_down(&t);
        index.message(&t, IndexMessage::Kept { number: 2, set: set(&[3]) });
        assert_eq!(outputs(&mut index), []);
        index.link_up(&t);
        let told = outputs(&mut index);
        assert!(told.contains(&tell(&t, 3)), "{told:?}");
    }

    #[test]
    fn what_is_told_is_kept_until_its_teller_says_so_or_is_dead_and_another_serves() {
        let (mut index, d, x) = (KeyIndex::new(100), name("d"), name("x"));
        index.tell(&d, &body(&[(1, "a", false), (2, "b", false)])).unwrap();
        index.tell(&x, &body(&[(1, "a", false)])).unwrap();
        assert_eq!(changed(&mut index), Some(set(&[1, 2])));
        // Another one says that it serves it: the teller lives, and knows better.
        index.served(&name("x"), false, &set(&[1, 2]));
        assert_eq!((index.keys(), index.changed()), (3, None));
        index.message(&x, IndexMessage::Only { set: PartitionSet::new() });
        index.message(&d, IndexMessage::Only { set: set(&[1]) });
        assert_eq!((index.keys(), changed(&mut index)), (1, Some(set(&[1]))));
        index.member_down(&d, 1);
        // The next process of that name says what it tells, which is nothing.
        index.message(&d, IndexMessage::Only { set: PartitionSet::new() });
        assert_eq!(index.keys(), 1);
        // One that was apart may serve what it had then, until it was told what this one knows.
        let y = name("y");
        index.served(&y, true, &set(&[1]));
        assert_eq!(index.keys(), 1);
        index.link_up(&y);
        index.ask(&y, false, &set(&[1]));
        outputs(&mut index);
        index.served(&name("x"), true, &set(&[1]));
        assert_eq!(index.keys(), 1);
        index.served(&y, true, &set(&[1]));
        assert_eq!((index.keys(), changed(&mut index)), (0, Some(PartitionSet::new())));
        // Nor does it know what one that lived on told after it was told.
        answer(&mut index, &y, 1);
        index.tell(&d, &body(&[(1, "a", false)])).unwrap();
        index.ask(&y, false, &set(&[1]));
        assert!(outputs(&mut index).iter().any(|output| matches!(output, Output::Relay { .. })));
        index.tell(&d, &body(&[(1, "b", false)])).unwrap();
        index.member_down(&d, 1);
        index.served(&y, true, &set(&[1]));
        assert_eq!(index.keys(), 2);
        index.changed();
        index.served(&name("x"), false, &set(&[1]));
        assert_eq!((index.keys(), changed(&mut index)), (0, Some(PartitionSet::new())));
    }

    #[test]
    fn what_several_were_told_is_taken_once_and_one_that_lives_again_is_not_lost_before() {
        let (mut there, mut here, d) = (KeyIndex::new(100), KeyIndex::new(100), name("d"));
        there.tell(&d, &body(&[(1, "a", true), (1, "b", false), (1, "c", true)])).unwrap();
        there.tell(&d, &body(&[(1, "a", false)])).unwrap();
        here.tell(&d, &body(&[(1, "a", true), (1, "d", false)])).unwrap();
        let x = name("x");
        [&d, &x].into_iter().for_each(|asker| there.link_up(asker));
        there.ask(&d, true, &set(&[1]));
        there.ask(&x, true, &set(&[1, 2]));
        let relayed = outputs(&mut there);
        assert!(!relayed.iter().any(|output| matches!(output, Output::Relay { to, .. } if *to == d)), "{relayed:?}");
        for output in relayed {
            if let Output::Relay { body, .. } = output {
                here.relayed(&body, |_| true).unwrap();
            }
        }
        let all = [("a", false), ("b", false), ("c", true), ("d", false)].map(|(key, before)| (key.to_owned(), before));
        assert_eq!(taken(&mut here, 1), all);
        assert_eq!((taken(&mut here, 1), here.keys()), (Vec::new(), 0));
        assert!(here.relayed(&[1, 2, 3], |_| true).is_err());
    }

    #[test]
    fn a_standby_is_told_in_parts_and_the_next_goes_when_it_has_answered_for_the_one_before() {
        let (mut index, s) = standby_of(&[1, 2, 3, 4]);
        let half = PART_BYTES / 2;
        assert_eq!(outputs_of(&mut index, half), [tell(&s, 1), tell(&s, 2), whole(&s, 1, &[1, 2])]);
        answer(&mut index, &s, 9);
        assert_eq!(outputs_of(&mut index, half), [], "that was another question");
        answer(&mut index, &s, 1);
        // However large a partition is, it is told.
        assert_eq!(outputs_of(&mut index, PART_BYTES * 9), [tell(&s, 3), whole(&s, 2, &[3])]);
        answer(&mut index, &s, 2);
        assert_eq!(outputs_of(&mut index, half), [tell(&s, 4), whole(&s, 3, &[4])]);
        answer(&mut index, &s, 3);
        assert_eq!(outputs_of(&mut index, half), []);
    }

    #[test]
    fn a_step_tells_one_partition_at_most_and_a_standby_that_does_not_answer_holds_up_no_other() {
        let (mut index, s) = standby_of(&[1, 2]);
        let t = name("t");
        index.link_up(&t);
        polled(&mut index);
        index.set_standbys(2, [&s, &t].into_iter());
        assert!(index.go_on());
        assert_eq!(polled(&mut index), [tell(&s, 1)]);
        index.sent(&s, PART_BYTES);
        assert_eq!(outputs(&mut index), [whole(&s, 1, &[1]), tell(&t, 2), whole(&t, 2, &[2])]);
    }

    #[test]
    fn what_is_about_to_be_served_is_told_at_once_and_once() {
        let (mut index, s) = standby_of(&[1, 2, 3]);
        outputs_of(&mut index, 0);
        index.set_standbys(4, [&s].into_iter());
        index.set_standbys(5, [&s].into_iter());
        assert_eq!(outputs(&mut index), [], "an answer is awaited");
        index.tell_first(5);
        assert_eq!(polled(&mut index), [tell(&s, 5), whole(&s, 2, &[5])]);
        index.tell_first(5);
        assert_eq!(polled(&mut index), []);
        answer(&mut index, &s, 1);
        assert_eq!(outputs(&mut index), [tell(&s, 4), whole(&s, 3, &[4])]);
    }

    #[test]
    fn one_that_is_no_standby_any_more_is_told_nothing_and_one_that_is_again_is_told_anew() {
        let (mut index, s) = standby_of(&[1, 2]);
        index.set_standbys(1, [].into_iter());
        assert!(index.go_on());
        polled(&mut index);
        assert!(index.go_on());
        assert_eq!(polled(&mut index), [tell(&s, 2)]);
        index.set_standbys(2, [].into_iter());
        index.set_standbys(2, [&s].into_iter());
        index.sent(&s, PART_BYTES);
        index.set_standbys(1, [&s].into_iter());
        let rest = outputs(&mut index);
        assert!(rest.contains(&whole(&s, 1, &[1, 2])), "{rest:?}");
        // What came into being while it was none is not known there.
        index.message(&s, IndexMessage::Kept { number: 1, set: set(&[1, 2]) });
        assert_eq!(outputs(&mut index), [tell(&s, 1), tell(&s, 2), whole(&s, 2, &[1, 2])]);
    }

    #[test]
    fn a_standby_that_has_served_what_is_here_too_is_told_it_anew() {
        let (mut index, s) = standby_of(&[7]);
        outputs(&mut index);
        index.served(&s, false, &set(&[7, 8]));
        index.tell_first(7);
        assert_eq!(polled(&mut index), [tell(&s, 7), whole(&s, 2, &[7])]);
        assert_eq!(outputs(&mut index), []);
    }

    #[test]
    fn what_others_told_goes_before_ours_and_is_said_to_be_all_behind_its_last_key() {
        let (mut index, s) = standby_of(&[7]);
        let d = name("d");
        index.tell(&d, &body(&[(1, "a", false), (2, "b", false)])).unwrap();
        index.ask(&s, false, &set(&[1, 2, 3]));
        let mut all = outputs(&mut index);
        let rest = all.split_off(2);
        assert_eq!(rest, [tell(&s, 7), told(&s, &[1, 2, 3]), whole(&s, 1, &[7])]);
        let relayed = |(output, partition): (&Output, Partition)| {
            let Output::Relay { to, body } = output else { return false };
            let mut input = Input::new(body);
            *to == s && Told::decode(&mut input) == Ok(Told::Of { partition, teller: "d", incarnation: 0, whole: 0 })
        };
        assert!(all.iter().zip([1, 2]).all(relayed), "{all:?}");
        // Of what nothing is known it is said at once, and nothing is awaited.
        answer(&mut index, &s, 1);
        for partition in [3, 4] {
            index.ask(&s, false, &set(&[partition]));
            assert_eq!(outputs(&mut index), [told(&s, &[partition])]);
        }
    }

    #[test]
    fn what_others_told_goes_in_parts_too_and_a_lost_link_ends_that() {
        let (mut index, s, d) = (KeyIndex::new(100_000), name("s"), name("d"));
        let long = "k".repeat(200);
        for partition in 0..2 {
            let keys: Vec<String> = (0..PART_BYTES / 200).map(|n| format!("{long}{n}")).collect();
            let keys: Vec<_> = keys.iter().map(|key| (partition, key.as_str(), false)).collect();
            index.tell(&d, &body(&keys)).unwrap();
        }
        index.link_up(&s);
        index.ask(&s, false, &set(&[0, 1]));
        let first = outputs(&mut index);
        assert!(first.ends_with(&[told(&s, &[0]), whole(&s, 1, &[])]));
        let room = |output: &Output| matches!(output, Output::Relay { body, .. } if body.len() > FRAME_BYTES + 300);
        assert!(first.len() > 8 && !first.iter().any(room), "{} frames", first.len());
        index.link_down(&s);
        index.link_up(&s);
        polled(&mut index);
        assert_eq!(outputs(&mut index), [], "it asks anew");
    }

    #[test]
    fn what_is_relayed_and_the_names_of_machines_have_bounds_too() {
        let (mut index, d) = (KeyIndex::new(2), name("d"));
        index.relayed(&relayed_by("d", 0, &[(1, "a"), (1, "b"), (1, "c"), (1, "a")]), |_| true).unwrap();
        assert_eq!((index.keys(), index.refused()), (2, 1));
        assert!(index.take(1).1);
        assert_eq!(index.keys(), 0);
        index.relayed(&relayed_by("d", 0, &[(1, "a"), (2, "a")]), |partition| partition == 1).unwrap();
        assert_eq!(index.keys(), 1);
        index.served(&name("x"), false, &set(&[1]));
        assert_eq!(index.keys(), 0);
        for machine in 0..10 * NAMES {
            let machine = machine.to_string();
            index.tell(&d, &bytes(&[Told::Key(key(1, &machine, "a", KeyState::Live))])).unwrap();
            index.message(&d, IndexMessage::Only { set: PartitionSet::new() });
        }
        assert!(index.names.len() <= NAMES, "{}", index.names.len());
    }

    #[test]
    fn a_partition_that_nothing_is_known_of_any_more_is_not_partial() {
        let (mut index, d) = (KeyIndex::new(1), name("d"));
        index.tell(&d, &body(&[(1, "a", false), (2, "b", false)])).unwrap();
        index.message(&d, IndexMessage::Only { set: PartitionSet::new() });
        index.tell(&d, &body(&[(2, "b", false)])).unwrap();
        index.message(&d, IndexMessage::Whole { number: 9, set: set(&[2]) });
        let message = IndexMessage::Kept { number: 9, set: set(&[2]) };
        assert_eq!(outputs(&mut index), [Output::Send { to: d, message }]);
    }

    #[test]
    fn that_a_partition_has_no_key_is_known_too() {
        let (mut index, d) = (KeyIndex::new(2), name("d"));
        index.message(&d, IndexMessage::Whole { number: 9, set: set(&[1]) });
        assert_eq!(changed(&mut index), Some(set(&[1])));
        index.message(&d, IndexMessage::Only { set: PartitionSet::new() });
        assert_eq!(changed(&mut index), Some(PartitionSet::new()));
    }

    #[test]
    fn a_key_that_was_removed_is_not_lost_with_its_holder_and_makes_room() {
        let (mut index, d) = (KeyIndex::new(2), name("d"));
        whole_of(&mut index, &d, 1, &["a", "b"]);
        index.tell(&d, &removed("a")).unwrap();
        index.tell(&d, &removed("never there")).unwrap();
        index.tell(&d, &body(&[(1, "c", false)])).unwrap();
        assert_eq!((index.keys(), index.refused()), (2, 0));
        index.tell(&d, &body(&[(1, "b", false)])).unwrap();
        // Of a life before this one, told late by another reactor.
        let late = Key { number: 1, run: RunId(0), ..key(1, "m", "b", KeyState::Removed) };
        index.tell(&d, &bytes(&[Told::Key(late)])).unwrap();
        assert_eq!(taken(&mut index, 1), [("b".to_owned(), false), ("c".to_owned(), false)]);
        assert_eq!(index.keys(), 0);
    }

    #[test]
    fn a_key_that_was_removed_while_there_was_no_link_goes_once_everything_was_told_on_the_next() {
        let (mut index, d) = (KeyIndex::new(9), name("d"));
        index.tell(&d, &body(&[(1, "a", false), (1, "b", false), (1, "c", true), (2, "e", false)])).unwrap();
        index.link_down(&d);
        index.tell(&d, &body(&[(1, "a", false), (1, "f", false)])).unwrap();
        let lost = |index: &mut KeyIndex| taken(index, 1).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        // It dies before it has told all: what is known from before may be there.
        assert_eq!((lost(&mut index), index.keys()), (["a", "b", "c", "f"].map(str::to_owned).to_vec(), 1));
        index.tell(&d, &body(&[(1, "a", false), (1, "b", false)])).unwrap();
        index.link_down(&d);
        whole_of(&mut index, &d, 1, &["a"]);
        assert_eq!(index.keys(), 2);
        assert_eq!((lost(&mut index), index.keys()), (vec!["a".to_owned()], 1));
    }

    #[test]
    fn who_ends_before_it_has_passed_on_all_that_it_knows_takes_nothing_from_what_others_know() {
        let (mut here, mut there, d) = (KeyIndex::new(9_000), KeyIndex::new(9_000), name("d"));
        let long = "k".repeat(100);
        let keys: Vec<String> = (0..1_500).map(|n| format!("{long}{n}")).collect();
        both_are_told([&mut here, &mut there], &d, &keys.iter().map(String::as_str).collect::<Vec<_>>());
        there.tell(&d, &body(&[(1, "later", false)])).unwrap();
        there.link_up(&name("x"));
        there.ask(&name("x"), true, &set(&[1]));
        let relayed = outputs(&mut there);
        assert!(relayed.iter().filter(|output| matches!(output, Output::Relay { .. })).count() > 2);
        let first = relayed.iter().find_map(|output| match output {
            Output::Relay { body, .. } => Some(body),
            _ => None,
        });
        here.relayed(first.unwrap(), |_| true).unwrap();
        assert_eq!(here.take(1).0.len(), keys.len(), "all that was known here");
    }

    #[test]
    fn who_had_no_room_for_a_key_does_not_know_everything() {
        let (mut here, mut there, d) = (KeyIndex::new(2), KeyIndex::new(9), name("d"));
        both_are_told([&mut here, &mut there], &d, &["a", "b"]);
        let c = body(&[(1, "c", false)]);
        [&mut here, &mut there].into_iter().for_each(|index| index.tell(&d, &c).unwrap());
        // The other one does not hear the last.
        here.tell(&d, &removed("a")).unwrap();
        pass_on(&mut here, &mut there);
        assert_eq!(taken(&mut there, 1).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn what_one_standby_did_not_hear_to_be_removed_is_not_lost_where_another_one_did() {
        let (mut here, mut there, d) = (KeyIndex::new(9), KeyIndex::new(9), name("d"));
        both_are_told([&mut here, &mut there], &d, &["a", "b"]);
        // Here there is no link any more.
        there.tell(&d, &removed("a")).unwrap();
        let mut asks = KeyIndex::new(9);
        pass_on(&mut here, &mut asks);
        pass_on(&mut there, &mut asks);
        assert_eq!(taken(&mut asks, 1), [("b".to_owned(), false)]);
        pass_on(&mut there, &mut here);
        assert_eq!(taken(&mut here, 1), [("b".to_owned(), false)]);
    }

    #[test]
    fn what_a_member_told_that_was_dead_is_the_only_thing_that_is_taken_as_lost_with_it() {
        let (mut index, d, x) = (KeyIndex::new(9), name("d"), name("x"));
        index.tell(&d, &body(&[(1, "a", false)])).unwrap();
        index.tell(&x, &body(&[(1, "b", false), (2, "c", false)])).unwrap();
        index.member_down(&d, 1);
        let of_dead = std::iter::once((d.clone(), set(&[1]))).collect();
        assert_eq!(index.changed(), Some(Indexed { all: set(&[1, 2]), of_dead, ..Indexed::default() }));
        index.member_back(&d, 1);
        assert_eq!(
            (index.changed().map(|indexed| indexed.of_dead), index.take_dead(1)),
            (Some(BTreeMap::new()), vec![])
        );
        index.member_down(&d, 1);
        // One that was apart serves it: what the dead one did is still to be said, and is said again each time.
        index.changed();
        index.served(&x, true, &set(&[1]));
        assert_eq!(index.changed().map(|indexed| indexed.of_dead.len()), Some(1));
        let lost = index.take_dead(1);
        assert_eq!(lost.iter().map(|key| &*key.key).collect::<Vec<_>>(), ["a"]);
        assert_eq!((index.keys(), index.changed().map(|indexed| indexed.of_dead)), (2, Some(BTreeMap::new())));
        // Who serves it now keeps what is beside it.
        index.tell(&d, &body(&[(1, "a", false)])).unwrap();
        index.forget(1, Some(&d));
        assert_eq!(index.keys(), 2);
    }

    #[test]
    fn all_is_known_of_a_partition_once_its_teller_has_said_so_on_its_link() {
        let (mut index, d, x) = (KeyIndex::new(9), name("d"), name("x"));
        let mut whole = |act: &dyn Fn(&mut KeyIndex)| {
            act(&mut index);
            index.changed().map(|indexed| indexed.whole.iter().collect::<Vec<_>>())
        };
        let all = |set| IndexMessage::Whole { number: 1, set };
        // A key that came into being before the member that had just become a standby was told the others.
        assert_eq!(whole(&|index| index.tell(&d, &body(&[(1, "a", false)])).unwrap()), Some(vec![]));
        assert_eq!(whole(&|index| index.message(&d, all(set(&[1, 2])))), Some(vec![1, 2]));
        // On the next link all is told anew.
        assert_eq!(whole(&|index| index.link_down(&d)), None);
        assert_eq!(whole(&|index| index.link_up(&d)), Some(vec![]));
        assert_eq!(whole(&|index| index.message(&d, all(set(&[2])))), Some(vec![2]));
        // What another one had told does not make up for it, once it is dead.
        assert_eq!(whole(&|index| index.message(&x, all(set(&[1])))), Some(vec![1, 2]));
        assert_eq!(whole(&|index| index.member_down(&d, 1)), Some(vec![2]));
    }

    #[test]
    fn what_an_earlier_process_told_stays_lost_when_a_later_one_of_its_name_is_back() {
        let (mut index, d) = (KeyIndex::new(9), name("d"));
        for incarnation in [1, 2] {
            let key = if incarnation == 1 { "a" } else { "b" };
            index.tell(&d, &body(&[(1, key, false)])).unwrap();
            index.member_down(&d, incarnation);
        }
        index.member_back(&d, 2);
        assert_eq!(index.take_dead(1).iter().map(|key| &*key.key).collect::<Vec<_>>(), ["a"]);
        assert_eq!(index.keys(), 1);
    }

    #[test]
    fn what_a_process_told_is_passed_on_to_the_next_one_of_its_name_and_not_to_itself() {
        let (mut index, d) = (KeyIndex::new(9), name("d"));
        index.tell(&d, &body(&[(1, "a", false)])).unwrap();
        for (dies, is_told) in [(false, false), (true, true)] {
            if dies {
                index.member_down(&d, 1);
            }
            index.link_up(&d);
            index.ask(&d, true, &set(&[1]));
            assert_eq!(outputs(&mut index).iter().any(|output| matches!(output, Output::Relay { .. })), is_told);
        }
        // What it was told is not to be said again.
        index.served(&d, true, &set(&[1]));
        assert_eq!(index.keys(), 0);
    }

    #[test]
    fn a_full_index_says_that_it_does_not_know_everything() {
        let (mut index, d) = (KeyIndex::new(2), name("d"));
        index.tell(&d, &body(&[(1, "a", false), (1, "b", false), (2, "c", false), (1, "a", false)])).unwrap();
        assert_eq!((index.keys(), index.refused()), (2, 1));
        index.message(&d, IndexMessage::Whole { number: 9, set: set(&[1, 2]) });
        let message = IndexMessage::Kept { number: 9, set: set(&[1]) };
        assert_eq!(outputs(&mut index), [Output::Send { to: d, message }]);
        assert!(index.take(2).1 && !index.take(1).1);
    }
}
