//! Machine definitions, which every member has.
//!
//! Versions of a machine are ordered by a logical clock and then by their hash, never by a wall clock: members that have seen
//! the same versions agree which is the newest, in whatever order they saw them. A definition is pushed to every live member
//! and counts as defined when all have acknowledged it. Members that meet compare digests, then lists, and fetch what they
//! lack; so a member that was away, or joins, has them all. They compare them again now and then, and when one of them has died: what it
//! had not given to all, those who have it give.
//!
//! Machines that are given as files are judged once the mesh's list is known ([`Definitions::has_list_of`]), by the revision of the
//! folder, which people raise. It is the upper part of the logical clock: of two folders the one with the higher revision is current
//! in the whole mesh, a `define` takes part in the revision that it finds, and an equal or a lower revision changes nothing. A folder
//! without a revision only adds machines that the mesh does not know.
//!
//! What a definition says is no matter here: the shell compiles it, and vouches that the hash is that of what the body says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use statemesh_protocol::hash::{hash_bytes, mix};
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::peer::definition::{Definition, DefinitionHash, DefinitionMessage, Place, VersionId};

/// Machines in a mesh.
pub const MAX_MACHINES: usize = 10_000;
/// Versions of one machine.
pub const MAX_VERSIONS: usize = 1_000;
/// Bytes of one definition, as it is stored and sent.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Longest name of a machine, in bytes.
pub const MAX_MACHINE_BYTES: usize = 255;
/// Bytes of definitions in one answer; more come in further ones.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of versions without their bodies that are told at a time: a mesh may have very many.
const LIST_BYTES: usize = 256 * 1024;
/// What one takes there beside its machine's name, at most.
const VERSION_BYTES: usize = 80;
/// Versions that one member is asked for at a time; the next are asked for when these have come. Of the largest size they are far less
/// than what may wait for a member: a link for which more waits ends, and all would be asked for again with the next one.
const FETCHED_AT_ONCE: usize = 16;
/// Bits of a clock that count within a revision: sixteen million defines.
const COUNT_BITS: u32 = 24;
/// Largest revision of a folder: 13 digits, room for a date with its time.
pub const MAX_REVISION: u64 = (1 << (u64::BITS - COUNT_BITS)) - 1;
/// How often linked members compare digests.
const DIGEST_PERIOD: Duration = Duration::from_secs(10);
/// How long a define waits for live members before it says who did not answer: less than its client waits for the reply.
const PUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The part of a clock that counts the versions within a revision, which is what people see.
#[must_use]
pub fn count_of(clock: u64) -> u64 {
    clock & ((1 << COUNT_BITS) - 1)
}

/// The revision of the folder whose machines a version of this clock is one of, or follows; 0: of none.
#[must_use]
pub fn revision_of(clock: u64) -> u64 {
    clock >> COUNT_BITS
}

/// A machine that is given as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The machine's id.
    pub machine: String,
    /// The shell's hash of what the file says.
    pub hash: DefinitionHash,
    /// What it says, as the shell stores it.
    pub body: Vec<u8>,
    /// The versions of other machines that it names.
    pub children: Vec<DefinitionHash>,
}

/// Why a definition is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DefineError {
    /// Over [`MAX_MACHINES`].
    #[error("the mesh has {MAX_MACHINES} machines already")]
    TooManyMachines,
    /// Over [`MAX_VERSIONS`].
    #[error("the machine has {MAX_VERSIONS} versions already")]
    TooManyVersions,
    /// All together over so many bytes, which is what [`Definitions::new`] was given.
    #[error("limits.definitions_bytes: the definitions of the mesh, old versions included, may have {0} bytes")]
    Full(usize),
    /// Over [`MAX_BODY_BYTES`].
    #[error("a definition has at most {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// Empty, or over [`MAX_MACHINE_BYTES`].
    #[error("a machine's id has 1 to {MAX_MACHINE_BYTES} bytes")]
    BadName,
}

impl DefineError {
    /// How to go on.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::TooManyMachines | Self::TooManyVersions => {
                "a mesh keeps all versions for its lifetime, as instances may have any of them: use another id, or start a new mesh"
            }
            Self::Full(_) => {
                "a mesh keeps all versions for its lifetime, as instances may have any of them: raise limits.definitions_bytes at every daemon, or start a new mesh"
            }
            Self::TooLarge => "split the machine, and use invoke",
            Self::BadName => "give it a shorter id",
        }
    }
}

/// What can happen to definitions.
#[derive(Debug, Clone)]
pub enum Input {
    /// There is a link to this member: it is told what we have, and what it still has to acknowledge.
    LinkUp(MemberName),
    /// A member is there, or a new process of its name: what is being pushed it gets as well, once there is a link.
    MemberUp(MemberName),
    /// A member is dead or has left: no push waits for it any more.
    MemberDown(MemberName),
    /// A message came over the link.
    Message {
        /// Who sent it.
        from: MemberName,
        /// What it says.
        message: DefinitionMessage,
    },
    /// The deadline has come.
    Tick,
}

/// What the shell does next, in this order: what is asked about a version comes after it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this over the link.
    Send {
        /// The member.
        to: MemberName,
        /// The message.
        message: DefinitionMessage,
    },
    /// Compile this version, of which [`Definitions::version`] gives the body. New instances take it if none is newer.
    Apply(VersionId),
    /// A version that was known was defined again, and is the newest of its machine.
    Newest(VersionId),
    /// Another member pushed a version, which is here now. Once it is known whether that compiles here, answer with
    /// [`DefinitionMessage::Ack`] or with [`DefinitionMessage::Refused`].
    Taken {
        /// Who pushed it.
        from: MemberName,
        /// Its id for the push.
        id: u64,
        /// The version.
        hash: DefinitionHash,
    },
    /// A member has a version that is not taken here: this daemon does not run it.
    NotTaken {
        /// The member.
        from: MemberName,
        /// The machine.
        machine: String,
        /// The limit that it would exceed.
        error: DefineError,
    },
    /// A push is done. `missing` did not acknowledge it in time; they will fetch it when they meet a member that has it.
    Pushed {
        /// What [`Definitions::define`] returned.
        id: u64,
        /// Live members that have it, beside this one.
        have: usize,
        /// Live members that did not answer.
        missing: Vec<MemberName>,
        /// Live members that do not run it, and why.
        refused: Vec<(MemberName, String)>,
    },
}

impl Output {
    /// The name of each kind.
    pub const NAMES: &'static [&'static str] = &["send", "apply", "newest", "taken", "not-taken", "pushed"];

    /// The name of its kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::Apply(_) => "apply",
            Self::Newest(_) => "newest",
            Self::Taken { .. } => "taken",
            Self::NotTaken { .. } => "not-taken",
            Self::Pushed { .. } => "pushed",
        }
    }
}

/// What a member has that is not here.
#[derive(Debug, Default)]
struct Wanted {
    /// Asked for.
    asked: BTreeMap<DefinitionHash, Told>,
    /// To be asked for then.
    rest: VecDeque<(DefinitionHash, Told)>,
}

impl Wanted {
    fn told(&self) -> impl Iterator<Item = &Told> {
        self.asked.values().chain(self.rest.iter().map(|(_, told)| told))
    }
}

/// What the list of a member tells of a version that is not here.
#[derive(Debug, Clone)]
struct Told {
    machine: String,
    clock: u64,
}

#[derive(Debug)]
struct Push {
    definition: Definition,
    waiting: BTreeSet<MemberName>,
    have: BTreeSet<MemberName>,
    refused: Vec<(MemberName, String)>,
    deadline: Instant,
}

/// What is kept of a version.
#[derive(Debug)]
pub struct Version {
    /// When it was defined, in logical time.
    pub clock: u64,
    /// What was defined, as the shell stores it.
    pub body: Vec<u8>,
}

/// All definitions of a mesh, as one member has them.
#[derive(Debug)]
pub struct Definitions {
    /// How many bytes all bodies may have, and how many they have.
    max_bytes: usize,
    bytes: usize,
    machines: BTreeMap<String, BTreeMap<DefinitionHash, Version>>,
    /// Largest clock seen.
    clock: u64,
    /// Members to whom there is a link, or was one in their present life.
    linked: BTreeSet<MemberName>,
    /// When these are told the digest again.
    digest_at: Option<Instant>,
    /// Members whose list is known.
    told: BTreeSet<MemberName>,
    /// Versions that others have and that are not taken here, so as not to fetch them again.
    not_taken: BTreeMap<DefinitionHash, Told>,
    /// By whom they are wanted of.
    wanted: BTreeMap<MemberName, Wanted>,
    pushes: BTreeMap<u64, Push>,
    /// When to look whether pushes are done, although no member has answered.
    review_pushes_at: Option<Instant>,
    last_push: u64,
    digest: u64,
    out: VecDeque<Output>,
}

impl Definitions {
    /// None yet. Their bodies may have so many bytes together.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            machines: BTreeMap::new(),
            clock: 0,
            linked: BTreeSet::new(),
            digest_at: None,
            told: BTreeSet::new(),
            not_taken: BTreeMap::new(),
            wanted: BTreeMap::new(),
            pushes: BTreeMap::new(),
            review_pushes_at: None,
            last_push: 0,
            digest: 0,
            out: VecDeque::new(),
        }
    }

    /// Defines a machine here and pushes it to `live`. Returns the id that [`Output::Pushed`] will name. Defining what is
    /// the newest version already pushes it again, and changes nothing.
    ///
    /// # Errors
    /// A limit that it would exceed; nothing has changed then.
    pub fn define(
        &mut self,
        machine: &str,
        hash: DefinitionHash,
        body: Vec<u8>,
        live: impl IntoIterator<Item = MemberName>,
        now: Instant,
    ) -> Result<u64, DefineError> {
        let newest = self.newest(machine);
        let clock = match newest {
            Some(newest) if newest.hash == hash => newest.clock,
            _ => self.clock.saturating_add(1),
        };
        if revision_of(clock) > revision_of(self.clock) {
            return Err(DefineError::TooManyVersions);
        }
        let definition = Definition { machine: machine.to_owned(), clock, hash, body };
        self.check(&definition)?;
        self.merge(definition.clone());
        self.last_push += 1;
        let id = self.last_push;
        let waiting: BTreeSet<_> = live.into_iter().collect();
        for to in &waiting {
            let definition = definition.clone();
            self.send(to, DefinitionMessage::Push { id, definition });
        }
        let deadline = now + PUSH_TIMEOUT;
        self.pushes.insert(id, Push { definition, waiting, have: BTreeSet::new(), refused: Vec::new(), deadline });
        self.finish_pushes(now);
        Ok(id)
    }

    /// Whether the list of this member's machines is known.
    #[must_use]
    pub fn has_list_of(&self, member: &MemberName) -> bool {
        self.told.contains(member)
    }

    /// Whether bodies are still to come from members that told of them.
    #[must_use]
    pub fn is_fetching(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The revision of the folder whose machines the mesh runs; 0: of none.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let held = self.machines.values().flat_map(BTreeMap::values).map(|version| version.clock);
        revision_of(held.chain(self.heard().map(|told| told.clock)).max().unwrap_or(0))
    }

    /// What others have, and is not here. What those had alone who are dead now counts no more.
    fn heard(&self) -> impl Iterator<Item = &Told> {
        self.wanted.values().flat_map(Wanted::told).chain(self.not_taken.values())
    }

    /// Judges the machines of a folder, of this revision if it has one, and tells `linked` of those that are taken. The mesh's list
    /// must be known.
    ///
    /// # Errors
    /// A limit that one of them would exceed; those before it have been taken, and told of.
    pub fn adopt(
        &mut self,
        files: &[File],
        revision: Option<u64>,
        linked: impl IntoIterator<Item = MemberName>,
    ) -> Result<(), DefineError> {
        let before = self.digest;
        let result = self.take_files(files, revision.unwrap_or(0).min(MAX_REVISION));
        if self.digest != before {
            for to in linked {
                self.tell_versions(&to, None);
            }
        }
        result
    }

    fn take_files(&mut self, files: &[File], revision: u64) -> Result<(), DefineError> {
        let taken: Vec<&File> = if revision > self.revision() {
            files.iter().collect()
        } else if revision == 0 {
            files.iter().filter(|file| !self.knows(&file.machine)).collect()
        } else {
            Vec::new()
        };
        // The first of its revision: all daemons with the same folder give its machines the same clock.
        let clock = (revision << COUNT_BITS) | 1;
        for file in &taken {
            self.take_file(file, clock)?;
        }
        // A version that one of them names must be there; it is not current if the mesh has another.
        let named: BTreeSet<_> = taken.iter().flat_map(|file| &file.children).copied().collect();
        for file in files.iter().filter(|file| named.contains(&file.hash)) {
            self.take_file(file, 0)?;
        }
        Ok(())
    }

    fn take_file(&mut self, file: &File, clock: u64) -> Result<(), DefineError> {
        let File { machine, hash, body, .. } = file.clone();
        let definition = Definition { machine, clock, hash, body };
        self.check(&definition)?;
        self.merge(definition);
        Ok(())
    }

    fn knows(&self, machine: &str) -> bool {
        self.machines.contains_key(machine) || self.heard().any(|told| told.machine == machine)
    }

    /// Takes in what happened; [`Definitions::poll`] gives what follows from it.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::LinkUp(name) => {
                self.told.remove(&name);
                // What was asked on an earlier link is not answered any more; the member's list comes anew.
                self.wanted.remove(&name);
                let digest = self.digest;
                self.send(&name, DefinitionMessage::Digest { digest });
                self.push_again(&name);
                self.linked.insert(name);
                self.digest_at.get_or_insert(now + DIGEST_PERIOD);
            }
            Input::MemberUp(name) => {
                for push in self.pushes.values_mut() {
                    push.waiting.insert(name.clone());
                }
            }
            Input::MemberDown(name) => {
                self.told.remove(&name);
                self.wanted.remove(&name);
                self.linked.remove(&name);
                self.tell_digest();
                for push in self.pushes.values_mut() {
                    push.waiting.remove(&name);
                    push.have.remove(&name);
                    push.refused.retain(|(by, _)| *by != name);
                }
                // Its successor may be heard of in the same breath: that has nothing of what this one had.
                return self.review_pushes_at = Some(now);
            }
            Input::Message { from, message } => self.message(&from, message),
            Input::Tick => {
                if self.digest_at.is_some_and(|at| at <= now) {
                    self.tell_digest();
                    self.digest_at = (!self.linked.is_empty()).then(|| now + DIGEST_PERIOD);
                }
            }
        }
        self.finish_pushes(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pushes.values().map(|push| push.deadline).chain(self.digest_at).chain(self.review_pushes_at).min()
    }

    /// The same for all members that have the same versions with the same clocks.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The version that new instances of a machine take.
    #[must_use]
    pub fn newest(&self, machine: &str) -> Option<VersionId> {
        let versions = self.machines.get(machine)?;
        let (hash, version) = versions.iter().max_by_key(|(hash, v)| (v.clock, **hash))?;
        Some(version_id(machine, hash, version))
    }

    /// A version of a machine.
    #[must_use]
    pub fn version(&self, machine: &str, hash: &DefinitionHash) -> Option<&Version> {
        self.machines.get(machine)?.get(hash)
    }

    /// All versions.
    pub fn versions(&self) -> impl Iterator<Item = VersionId> {
        self.versions_after(None)
    }

    /// Tells what is here to all from whom nothing is under way: their answer is a whole list, which would begin that anew.
    fn tell_digest(&mut self) {
        let digest = self.digest;
        let quiet: Vec<_> = self.linked.iter().filter(|name| !self.wanted.contains_key(*name)).cloned().collect();
        for to in &quiet {
            self.send(to, DefinitionMessage::Digest { digest });
        }
    }

    /// What was said to a member before there was a link has not arrived.
    fn push_again(&mut self, to: &MemberName) {
        let waiting = self.pushes.iter().filter(|(_, push)| push.waiting.contains(to));
        let again: Vec<_> = waiting.map(|(id, push)| (*id, push.definition.clone())).collect();
        for (id, definition) in again {
            self.send(to, DefinitionMessage::Push { id, definition });
        }
    }

    fn message(&mut self, from: &MemberName, message: DefinitionMessage) {
        match message {
            DefinitionMessage::Push { id, definition } => self.pushed(from, id, definition),
            DefinitionMessage::Refused { id, reason } => {
                if let Some(push) = self.pushes.get_mut(&id)
                    && push.waiting.remove(from)
                {
                    push.refused.push((from.clone(), reason));
                }
            }
            DefinitionMessage::Ack { id } => {
                if let Some(push) = self.pushes.get_mut(&id)
                    && push.waiting.remove(from)
                {
                    push.have.insert(from.clone());
                }
            }
            DefinitionMessage::Digest { digest } => {
                if digest != self.digest {
                    self.tell_versions(from, None);
                } else if self.told.insert(from.clone()) {
                    // It may have more by now, and would not know of this digest then that it was equal.
                    self.send(from, DefinitionMessage::Same);
                }
            }
            DefinitionMessage::Same => {
                self.told.insert(from.clone());
            }
            DefinitionMessage::Versions { versions, after, more } => self.listed(from, versions, after.is_none(), more),
            DefinitionMessage::List { after } => self.tell_versions(from, Some(after)),
            DefinitionMessage::Fetch { hashes } => self.give(from, &hashes),
            DefinitionMessage::Definitions { definitions } => self.fetched(from, definitions),
        }
    }

    /// A member gives a definition to this one, as to every other.
    fn pushed(&mut self, from: &MemberName, id: u64, definition: Definition) {
        let hash = definition.hash;
        match self.check(&definition) {
            Ok(()) => {
                self.merge(definition);
                self.out.push_back(Output::Taken { from: from.clone(), id, hash });
            }
            Err(error) => {
                self.do_not_take(definition);
                self.send(from, DefinitionMessage::Refused { id, reason: error.to_string() });
            }
        }
    }

    /// A member tells what it has, from the beginning if `is_first`, and whether there is more.
    fn listed(&mut self, from: &MemberName, versions: Vec<VersionId>, is_first: bool, more: bool) {
        let last = versions.last().map(|last| (last.machine.clone(), last.hash));
        let wanted = self.wanted.entry(from.clone()).or_default();
        if is_first {
            *wanted = Wanted::default();
        }
        self.fetch_missing(from, versions);
        match last.filter(|_| more) {
            Some(after) => self.send(from, DefinitionMessage::List { after }),
            None => _ = self.told.insert(from.clone()),
        }
    }

    /// Definitions came that a member was asked for.
    fn fetched(&mut self, from: &MemberName, definitions: Vec<Definition>) {
        if let Some(wanted) = self.wanted.get_mut(from) {
            definitions.iter().for_each(|came| _ = wanted.asked.remove(&came.hash));
        }
        for definition in definitions {
            match self.check(&definition) {
                Ok(()) => self.merge(definition),
                Err(error) => {
                    let machine = definition.machine.clone();
                    self.do_not_take(definition);
                    self.out.push_back(Output::NotTaken { from: from.clone(), machine, error });
                }
            }
        }
        self.fetch_next(from);
    }

    /// Tells a member what is here, or the next part of it.
    fn tell_versions(&mut self, to: &MemberName, after: Option<Place>) {
        let (mut versions, mut bytes, mut more) = (Vec::new(), 0, false);
        for id in self.versions_after(after.as_ref()) {
            bytes += id.machine.len() + VERSION_BYTES;
            if bytes > LIST_BYTES {
                more = true;
                break;
            }
            versions.push(id);
        }
        self.send(to, DefinitionMessage::Versions { versions, after, more });
    }

    fn versions_after<'a>(&'a self, after: Option<&'a Place>) -> impl Iterator<Item = VersionId> + 'a {
        let first = after.map_or("", |(machine, _)| machine);
        let machines = self.machines.range::<str, _>((Bound::Included(first), Bound::Unbounded));
        let ids = machines.flat_map(|(machine, versions)| versions.iter().map(move |(hash, of)| (machine, hash, of)));
        let is_told = move |machine: &str, hash| after.is_some_and(|(m, h)| (machine, hash) <= (m.as_str(), h));
        ids.skip_while(move |(machine, hash, _)| is_told(machine, *hash))
            .map(|(machine, hash, version)| version_id(machine, hash, version))
    }

    fn fetch_missing(&mut self, from: &MemberName, versions: Vec<VersionId>) {
        let mut rest = VecDeque::new();
        for theirs in versions {
            // What is defined from now on is newer, although this has not arrived.
            self.clock = self.clock.max(theirs.clock);
            let known = self.machines.get_mut(&theirs.machine);
            match known.and_then(|versions| versions.get_mut(&theirs.hash)) {
                Some(ours) if ours.clock >= theirs.clock => {}
                // Defined anew meanwhile: the body is the same.
                Some(ours) => {
                    let body = ours.body.clone();
                    let VersionId { machine, clock, hash } = theirs;
                    self.merge(Definition { machine, clock, hash, body });
                }
                None if self.not_taken.contains_key(&theirs.hash) => {}
                None => rest.push_back((theirs.hash, Told { machine: theirs.machine, clock: theirs.clock })),
            }
        }
        self.wanted.entry(from.clone()).or_default().rest.append(&mut rest);
        self.fetch_next(from);
    }

    /// Asks a member for more of what it has, once it has given what it was asked for.
    fn fetch_next(&mut self, from: &MemberName) {
        let Some(wanted) = self.wanted.get_mut(from).filter(|wanted| wanted.asked.is_empty()) else { return };
        while wanted.asked.len() < FETCHED_AT_ONCE
            && let Some((hash, told)) = wanted.rest.pop_front()
        {
            // Another member may have given it meanwhile.
            if !self.machines.get(&told.machine).is_some_and(|versions| versions.contains_key(&hash)) {
                wanted.asked.insert(hash, told);
            }
        }
        let hashes: BTreeSet<_> = wanted.asked.keys().copied().collect();
        if hashes.is_empty() {
            self.wanted.remove(from);
        } else {
            self.send(from, DefinitionMessage::Fetch { hashes });
        }
    }

    fn give(&mut self, to: &MemberName, hashes: &BTreeSet<DefinitionHash>) {
        let (mut batches, mut bytes) = (vec![Vec::new()], 0);
        for (machine, versions) in &self.machines {
            for (hash, version) in versions.iter().filter(|(hash, _)| hashes.contains(*hash)) {
                if bytes + version.body.len() > BATCH_BYTES {
                    batches.push(Vec::new());
                    bytes = 0;
                }
                bytes += version.body.len();
                if let Some(batch) = batches.last_mut() {
                    batch.push(Definition {
                        machine: machine.clone(),
                        clock: version.clock,
                        hash: *hash,
                        body: version.body.clone(),
                    });
                }
            }
        }
        for definitions in batches.into_iter().filter(|batch| !batch.is_empty()) {
            self.send(to, DefinitionMessage::Definitions { definitions });
        }
    }

    fn check(&self, definition: &Definition) -> Result<(), DefineError> {
        if definition.body.len() > MAX_BODY_BYTES {
            return Err(DefineError::TooLarge);
        }
        if !(1..=MAX_MACHINE_BYTES).contains(&definition.machine.len()) {
            return Err(DefineError::BadName);
        }
        let versions = self.machines.get(&definition.machine);
        let is_known = versions.is_some_and(|versions| versions.contains_key(&definition.hash));
        match versions {
            _ if is_known => Ok(()),
            None if self.machines.len() >= MAX_MACHINES => Err(DefineError::TooManyMachines),
            Some(versions) if versions.len() >= MAX_VERSIONS => Err(DefineError::TooManyVersions),
            _ if self.bytes + definition.body.len() > self.max_bytes => Err(DefineError::Full(self.max_bytes)),
            _ => Ok(()),
        }
    }

    /// A limit is in the way, which does not go: versions are kept for good.
    fn do_not_take(&mut self, Definition { machine, clock, hash, .. }: Definition) {
        // Bounded as the machines that are here: what others say is no way to make this grow.
        if self.not_taken.len() < MAX_MACHINES {
            self.not_taken.insert(hash, Told { machine, clock });
        }
    }

    /// Takes a version, or the newer clock of one.
    fn merge(&mut self, definition: Definition) {
        self.clock = self.clock.max(definition.clock);
        let Definition { machine, clock, hash, body } = definition;
        let versions = self.machines.entry(machine.clone()).or_default();
        let known = versions.get(&hash).map(|known| known.clock);
        if known.is_some_and(|known| known >= clock) {
            return;
        }
        if let Some(known) = known {
            self.digest ^= digest_of(&machine, &hash, known);
        }
        self.digest ^= digest_of(&machine, &hash, clock);
        match versions.get_mut(&hash) {
            // The hash is that of the body.
            Some(known) => known.clock = clock,
            None => {
                self.bytes += body.len();
                versions.insert(hash, Version { clock, body });
            }
        }
        let newest = self.newest(&machine);
        let is_newest = newest.as_ref().is_some_and(|newest| newest.hash == hash);
        if known.is_none() {
            self.out.push_back(Output::Apply(VersionId { machine, clock, hash }));
        } else if let Some(newest) = newest.filter(|_| is_newest) {
            // Also where it was the newest before: a member that compares it with one that comes later must know its clock.
            self.out.push_back(Output::Newest(newest));
        }
    }

    fn finish_pushes(&mut self, now: Instant) {
        self.review_pushes_at = None;
        let out = &mut self.out;
        self.pushes.retain(|id, push| {
            let done = push.waiting.is_empty() || push.deadline <= now;
            if done {
                let missing = push.waiting.iter().cloned().collect();
                let refused = std::mem::take(&mut push.refused);
                out.push_back(Output::Pushed { id: *id, have: push.have.len(), missing, refused });
            }
            !done
        });
    }

    fn send(&mut self, to: &MemberName, message: DefinitionMessage) {
        let to = to.clone();
        self.out.push_back(Output::Send { to, message });
    }
}

fn version_id(machine: &str, hash: &DefinitionHash, version: &Version) -> VersionId {
    VersionId { machine: machine.to_owned(), clock: version.clock, hash: *hash }
}

fn digest_of(machine: &str, hash: &DefinitionHash, clock: u64) -> u64 {
    mix(hash_bytes(machine.as_bytes()) ^ mix(hash_bytes(hash) ^ mix(clock)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const MAX_BYTES: usize = MAX_BODY_BYTES;

    fn name(n: usize) -> MemberName {
        MemberName::new(&format!("node-{n}")).unwrap()
    }

    fn hash(n: u8) -> DefinitionHash {
        [n; 32]
    }

    /// Delivers everything in random order until all is quiet.
    fn settle(members: &mut [Definitions], rng: &mut StdRng, now: Instant) -> Vec<Output> {
        let (mut mail, mut rest) = (Vec::new(), Vec::new());
        loop {
            for (n, member) in members.iter_mut().enumerate() {
                while let Some(output) = member.poll() {
                    match output {
                        Output::Send { to, message } => mail.push((name(n), to, message)),
                        Output::Taken { from, id, .. } => mail.push((name(n), from, DefinitionMessage::Ack { id })),
                        other => rest.push(other),
                    }
                }
            }
            if mail.is_empty() {
                return rest;
            }
            let (from, to, message) = mail.swap_remove(rng.random_range(0..mail.len()));
            let bytes = rmp_serde::to_vec(&message).unwrap();
            let message = rmp_serde::from_slice(&bytes).unwrap();
            let to = (0..members.len()).find(|n| name(*n) == to).unwrap();
            members[to].handle(Input::Message { from, message }, now);
        }
    }

    /// Two that had died together and were back at once met while they heard the list of a third: one waited 10 s for the other's.
    #[test]
    fn one_that_hears_the_list_of_a_third_while_it_meets_another_knows_that_ones_list_too() {
        let now = Instant::now();
        let mut members: Vec<_> = (0..2).map(|_| Definitions::new(MAX_BYTES)).collect();
        members[0].handle(Input::LinkUp(name(1)), now);
        members[1].handle(Input::LinkUp(name(0)), now);
        let digests = [0, 1].map(|n| match members[n].poll() {
            Some(Output::Send { message, .. }) => message,
            other => panic!("{other:?}"),
        });
        let [from_first, from_second] = digests;
        members[1].handle(Input::Message { from: name(0), message: from_first }, now);
        let definition = Definition { machine: "m".to_owned(), clock: 1, hash: hash(1), body: vec![1] };
        members[0]
            .handle(Input::Message { from: name(2), message: DefinitionMessage::Push { id: 1, definition } }, now);
        while members[0].poll().is_some() {}
        members[0].handle(Input::Message { from: name(1), message: from_second }, now);
        settle(&mut members, &mut StdRng::seed_from_u64(1), now);
        assert!(members[0].has_list_of(&name(1)) && members[1].has_list_of(&name(0)));
    }

    #[test]
    fn members_agree_on_the_newest_whoever_they_heard_it_from() {
        for seed in 0..20 {
            println!("seed {seed}");
            let (mut rng, now) = (StdRng::seed_from_u64(seed), Instant::now());
            let mut members: Vec<_> = (0..4).map(|_| Definitions::new(MAX_BYTES)).collect();
            for _ in 0..12 {
                let (who, n) = (rng.random_range(0..4), rng.random_range(0..5));
                // Only some hear of it at once.
                let live: Vec<_> = (0..4).filter(|m| *m != who && rng.random_bool(0.5)).collect();
                let body = vec![n; 10];
                members[who].define("m", hash(n), body, live.into_iter().map(name), now).unwrap();
                settle(&mut members, &mut rng, now);
            }
            for round in 0..4 {
                for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
                    members[a].handle(Input::LinkUp(name(b)), now);
                    members[b].handle(Input::LinkUp(name(a)), now);
                    settle(&mut members, &mut rng, now);
                }
                println!("round {round}: {:?}", members[0].digest());
            }
            for member in &members {
                assert_eq!(member.digest(), members[0].digest());
                assert_eq!(member.newest("m"), members[0].newest("m"));
                assert!(member.versions().eq(members[0].versions()));
            }
        }
    }

    #[test]
    fn a_long_list_goes_in_small_parts_and_is_known_with_the_last() {
        let now = Instant::now();
        let mut members = [Definitions::new(MAX_BYTES), Definitions::new(MAX_BYTES)];
        for n in 0..3_000u16 {
            let mut hash = [0; 32];
            hash[..2].copy_from_slice(&n.to_be_bytes());
            // Several of some machines, so that a part ends between two versions of one.
            members[0].define(&format!("{:0200}", n / 7), hash, vec![1], [], now).unwrap();
        }
        while members[0].poll().is_some() {}
        members[0].handle(Input::LinkUp(name(1)), now);
        members[1].handle(Input::LinkUp(name(0)), now);
        let (mut parts, mut most) = (0, 0);
        loop {
            let mail: Vec<_> = (0..2)
                .flat_map(|n| std::iter::from_fn(|| members[n].poll()).map(move |o| (n, o)).collect::<Vec<_>>())
                .collect();
            let sent = mail.into_iter().filter_map(|(n, output)| match output {
                Output::Send { message, .. } => Some((n, message)),
                _ => None,
            });
            let sent: Vec<_> = sent.collect();
            if sent.is_empty() {
                break;
            }
            for (n, message) in sent {
                if let DefinitionMessage::Versions { more, .. } = &message
                    && n == 0
                {
                    parts += 1;
                    most = most.max(rmp_serde::to_vec(&message).unwrap().len());
                    assert!(!members[1].has_list_of(&name(0)), "a part is not the list");
                    assert_eq!(*more, parts < 4);
                }
                members[1 - n].handle(Input::Message { from: name(n), message }, now);
            }
        }
        assert!(parts == 4 && most <= LIST_BYTES, "{parts} parts of at most {most} bytes");
        assert!(members[1].has_list_of(&name(0)) && members[0].digest() == members[1].digest());
    }

    /// Three members with links to each other, of whom the last missed what the first defined.
    fn one_missed_it(rng: &mut StdRng, now: Instant) -> Vec<Definitions> {
        let mut members: Vec<_> = (0..3).map(|_| Definitions::new(MAX_BYTES)).collect();
        for (a, b) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            members[a].handle(Input::LinkUp(name(b)), now);
        }
        settle(&mut members, rng, now);
        members[0].define("m", hash(1), vec![1], [name(1)], now).unwrap();
        settle(&mut members, rng, now);
        assert_eq!(members[2].newest("m"), None);
        members
    }

    #[test]
    fn what_a_member_that_died_had_not_given_to_all_those_give_who_have_it() {
        let (mut rng, now) = (StdRng::seed_from_u64(1), Instant::now());
        let mut members = one_missed_it(&mut rng, now);
        (1..3).for_each(|n| members[n].handle(Input::MemberDown(name(0)), now));
        settle(&mut members, &mut rng, now);
        assert_eq!(members[2].newest("m").unwrap().hash, hash(1));
        assert_eq!(members[0].digest(), members[1].digest());
    }

    #[test]
    fn linked_members_compare_digests_again_and_again() {
        let (mut rng, now) = (StdRng::seed_from_u64(1), Instant::now());
        let mut members = one_missed_it(&mut rng, now);
        // Who lacks it is told of it by those who hear its digest.
        assert_eq!(members[2].next_deadline(), Some(now + DIGEST_PERIOD));
        members[2].handle(Input::Tick, now + DIGEST_PERIOD);
        settle(&mut members, &mut rng, now);
        assert_eq!(members[2].newest("m").unwrap().hash, hash(1));
        assert_eq!(members[2].next_deadline(), Some(now + 2 * DIGEST_PERIOD));
    }

    #[test]
    fn what_is_under_way_from_a_member_is_not_begun_anew_by_a_digest() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        one.handle(Input::LinkUp(name(1)), now);
        let versions = vec![VersionId { machine: "m".into(), clock: 1, hash: hash(1) }];
        let message = DefinitionMessage::Versions { versions, after: None, more: false };
        one.handle(Input::Message { from: name(1), message }, now);
        while one.poll().is_some() {}
        one.handle(Input::Tick, now + DIGEST_PERIOD);
        assert_eq!(one.poll(), None);
    }

    #[test]
    fn a_revision_of_which_only_the_dead_told_does_not_keep_out_a_folder_of_that_revision() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        let versions = vec![VersionId { machine: "m".into(), clock: 6 << COUNT_BITS | 1, hash: hash(6) }];
        let message = DefinitionMessage::Versions { versions, after: None, more: false };
        one.handle(Input::Message { from: name(1), message }, now);
        one.adopt(&folder(&["m"], 6), Some(6), []).unwrap();
        assert_eq!((one.revision(), current(&one, "m")), (6, None), "it is on its way");
        one.handle(Input::MemberDown(name(1)), now);
        one.adopt(&folder(&["m"], 6), Some(6), []).unwrap();
        assert_eq!((one.revision(), current(&one, "m")), (6, Some(6)));
    }

    #[test]
    fn a_define_is_done_when_every_live_member_has_it() {
        let (mut rng, now) = (StdRng::seed_from_u64(1), Instant::now());
        let mut members: Vec<_> = (0..3).map(|_| Definitions::new(MAX_BYTES)).collect();
        let id = members[0].define("m", hash(1), vec![1], [name(1), name(2)], now);
        let done = settle(&mut members, &mut rng, now);
        let missing = Vec::new();
        assert_eq!(done.last(), Some(&Output::Pushed { id: id.unwrap(), have: 2, missing, refused: Vec::new() }));
        assert_eq!(members[2].newest("m").unwrap().hash, hash(1));
    }

    #[test]
    fn a_define_does_not_wait_for_the_dead_nor_for_ever() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        let id = one.define("m", hash(1), vec![1], [name(1), name(2)], now).unwrap();
        one.handle(Input::MemberDown(name(1)), now);
        one.handle(Input::Tick, now + PUSH_TIMEOUT);
        let missing = vec![name(2)];
        assert!(
            std::iter::from_fn(|| one.poll())
                .any(|o| o == Output::Pushed { id, have: 0, missing: missing.clone(), refused: Vec::new() })
        );
    }

    #[test]
    fn of_a_member_that_is_killed_and_starts_at_once_its_new_process_is_waited_for() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        let id = one.define("m", hash(1), vec![1], [name(1), name(2)], now).unwrap();
        let ack = |by: usize| Input::Message { from: name(by), message: DefinitionMessage::Ack { id } };
        one.handle(ack(1), now);
        while one.poll().is_some() {}
        (1..3).for_each(|n| one.handle(Input::MemberDown(name(n)), now));
        assert_eq!(one.next_deadline(), Some(now));
        one.handle(Input::MemberUp(name(1)), now);
        one.handle(Input::Tick, now);
        assert_eq!(one.poll(), None, "it is not done");
        one.handle(Input::LinkUp(name(1)), now);
        one.handle(ack(1), now);
        let done = Output::Pushed { id, have: 1, missing: Vec::new(), refused: Vec::new() };
        assert_eq!(std::iter::from_fn(|| one.poll()).last(), Some(done));
    }

    #[test]
    fn a_member_that_joins_while_a_define_is_under_way_gets_it() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        let id = one.define("m", hash(1), vec![1], [name(1)], now).unwrap();
        one.handle(Input::MemberUp(name(2)), now);
        one.handle(Input::Message { from: name(1), message: DefinitionMessage::Ack { id } }, now);
        one.handle(Input::Tick, now + PUSH_TIMEOUT);
        let done = Output::Pushed { id, have: 1, missing: vec![name(2)], refused: Vec::new() };
        assert_eq!(std::iter::from_fn(|| one.poll()).last(), Some(done));
    }

    #[test]
    fn a_member_whose_link_comes_up_in_time_is_told_again_and_acknowledges() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        let id = one.define("m", hash(1), vec![1], [name(1)], now).unwrap();
        // There was no link: nothing of it has arrived.
        while one.poll().is_some() {}
        one.handle(Input::LinkUp(name(1)), now);
        let pushed = |output| matches!(output, Output::Send { message: DefinitionMessage::Push { id: again, .. }, .. } if again == id);
        assert!(std::iter::from_fn(|| one.poll()).any(pushed));
        one.handle(Input::Message { from: name(1), message: DefinitionMessage::Ack { id } }, now);
        assert_eq!(one.poll(), Some(Output::Pushed { id, have: 1, missing: Vec::new(), refused: Vec::new() }));
    }

    #[test]
    fn who_does_not_run_what_is_defined_is_named_with_its_reason_and_waited_for_no_longer() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        let id = one.define("m", hash(1), vec![1], [name(1), name(2)], now).unwrap();
        let message = DefinitionMessage::Refused { id, reason: "no".into() };
        one.handle(Input::Message { from: name(2), message: message.clone() }, now);
        one.handle(Input::Message { from: name(2), message }, now);
        one.handle(Input::Message { from: name(1), message: DefinitionMessage::Ack { id } }, now);
        let refused = vec![(name(2), "no".into())];
        assert_eq!(
            std::iter::from_fn(|| one.poll()).last(),
            Some(Output::Pushed { id, have: 1, missing: Vec::new(), refused })
        );
    }

    #[test]
    fn defining_the_same_again_changes_nothing_and_an_older_version_becomes_the_newest() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        one.define("m", hash(1), vec![1], [], now).unwrap();
        let digest = one.digest();
        one.define("m", hash(1), vec![1], [], now).unwrap();
        assert_eq!(one.digest(), digest);
        one.define("m", hash(2), vec![2], [], now).unwrap();
        while one.poll().is_some() {}
        one.define("m", hash(1), vec![1], [], now).unwrap();
        assert_eq!(one.newest("m").unwrap().hash, hash(1));
        assert!(matches!(one.poll(), Some(Output::Newest(v)) if v.hash == hash(1)));
    }

    #[test]
    fn a_version_that_was_taken_back_does_not_become_the_newest_by_coming_late() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        one.define("m", hash(1), vec![1], [], now).unwrap();
        while one.poll().is_some() {}
        // Elsewhere the second version was defined, and the first one again.
        let version = |n, clock| VersionId { machine: "m".into(), clock, hash: hash(n) };
        let versions = vec![version(1, 3), version(2, 2)];
        one.handle(
            Input::Message {
                from: name(2),
                message: DefinitionMessage::Versions { versions, after: None, more: false },
            },
            now,
        );
        assert_eq!(one.poll(), Some(Output::Newest(version(1, 3))));
        let late = Definition { machine: "m".into(), clock: 2, hash: hash(2), body: vec![2] };
        let message = DefinitionMessage::Definitions { definitions: vec![late] };
        one.handle(Input::Message { from: name(2), message }, now);
        let outputs: Vec<Output> = std::iter::from_fn(|| one.poll()).collect();
        assert!(outputs.contains(&Output::Apply(version(2, 2))) && !outputs.contains(&Output::Newest(version(2, 2))));
        assert_eq!(one.newest("m"), Some(version(1, 3)));
    }

    /// A folder with version `n` of each of these machines.
    fn folder(machines: &[&str], n: u8) -> Vec<File> {
        let file = |machine: &&str| {
            let (machine, body) = ((*machine).to_owned(), vec![n; 10]);
            File { machine, hash: hash(n), body, children: Vec::new() }
        };
        machines.iter().map(file).collect()
    }

    fn current(one: &Definitions, machine: &str) -> Option<u8> {
        one.newest(machine).map(|newest| newest.hash[0])
    }

    #[test]
    fn the_higher_revision_of_a_folder_is_current_a_lower_or_equal_one_changes_nothing_and_a_rollback_works() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        one.define("m", hash(9), vec![9], [], now).unwrap();
        for (revision, n, is) in [(1, 1, 1), (2, 2, 2), (2, 3, 2), (1, 1, 2), (3, 1, 1), (2, 2, 1)] {
            one.adopt(&folder(&["m"], n), Some(revision), []).unwrap();
            assert_eq!(current(&one, "m"), Some(is), "revision {revision}");
        }
        assert_eq!(one.revision(), 3);
        one.define("m", hash(5), vec![5], [], now).unwrap();
        let newest = one.newest("m").unwrap();
        assert_eq!((newest.hash, revision_of(newest.clock), count_of(newest.clock)), (hash(5), 3, 2));
        // What a folder adds at an equal revision is not taken: no member could tell which of two folders is meant.
        one.adopt(&folder(&["m", "n"], 1), Some(3), []).unwrap();
        assert_eq!((current(&one, "m"), current(&one, "n")), (Some(5), None));
    }

    #[test]
    fn a_folder_without_a_revision_adds_what_the_mesh_does_not_know_with_the_versions_that_it_names() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        one.define("child", hash(9), vec![9], [], now).unwrap();
        let version = VersionId { machine: "heard".into(), clock: 4, hash: hash(8) };
        let message = DefinitionMessage::Versions { versions: vec![version], after: None, more: false };
        one.handle(Input::Message { from: name(1), message }, now);
        assert!(one.has_list_of(&name(1)) && !one.has_list_of(&name(2)));
        let mut files = [folder(&["child"], 1), folder(&["heard"], 3)].concat();
        let children = vec![files[0].hash];
        files.push(File { machine: "parent".into(), hash: hash(2), body: vec![2], children });
        one.adopt(&files, None, []).unwrap();
        assert_eq!((current(&one, "child"), current(&one, "heard"), current(&one, "parent")), (Some(9), None, Some(2)));
        assert_eq!(one.versions().count(), 3);
    }

    #[test]
    fn folders_of_any_revision_and_defines_in_any_order_leave_all_members_with_the_same() {
        for seed in 0..50 {
            let (mut rng, now) = (StdRng::seed_from_u64(seed), Instant::now());
            let mut members: Vec<_> = (0..4).map(|_| Definitions::new(MAX_BYTES)).collect();
            let mut highest = 0;
            for _ in 0..12 {
                let who = rng.random_range(0..4);
                let live: Vec<_> = (0..4).filter(|m| *m != who && rng.random_bool(0.5)).map(name).collect();
                if rng.random_bool(0.4) {
                    let n = rng.random_range(10..15);
                    members[who].define("m", hash(n), vec![n], live, now).unwrap();
                } else {
                    // The folder of a revision is the same wherever it is.
                    let revision = rng.random_range(1..6);
                    highest = highest.max(revision);
                    let files = folder(&["m", "n"], u8::try_from(revision).unwrap());
                    members[who].adopt(&files, Some(revision), live).unwrap();
                }
                if rng.random_bool(0.5) {
                    settle(&mut members, &mut rng, now);
                }
            }
            for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 0), (0, 1), (1, 2), (2, 3)] {
                members[a].handle(Input::LinkUp(name(b)), now);
                members[b].handle(Input::LinkUp(name(a)), now);
                settle(&mut members, &mut rng, now);
            }
            for member in &members {
                assert_eq!((member.digest(), member.revision()), (members[0].digest(), highest), "seed {seed}");
                assert!(member.versions().eq(members[0].versions()), "seed {seed}");
                // Only defines touch "m" beside the folders: "n" is the highest folder's.
                assert_eq!(current(member, "n").map(u64::from), Some(highest).filter(|n| *n > 0), "seed {seed}");
            }
        }
    }

    #[test]
    fn what_is_taken_of_a_folder_before_a_limit_is_told_of() {
        let (mut rng, now) = (StdRng::seed_from_u64(1), Instant::now());
        let mut members = vec![Definitions::new(25), Definitions::new(MAX_BYTES)];
        let files: Vec<File> = ["a", "b", "c"].into_iter().zip(1..).flat_map(|(id, n)| folder(&[id], n)).collect();
        assert_eq!(members[0].adopt(&files, Some(1), [name(1)]), Err(DefineError::Full(25)));
        settle(&mut members, &mut rng, now);
        assert_eq!(members[1].versions().count(), 2);
        assert_eq!(members[0].digest(), members[1].digest());
    }

    #[test]
    fn limits_refuse_and_change_nothing() {
        let now = Instant::now();
        let mut one = Definitions::new(MAX_BYTES);
        let large = vec![0; MAX_BODY_BYTES + 1];
        assert_eq!(one.define("m", hash(1), large, [], now), Err(DefineError::TooLarge));
        assert_eq!(one.define("", hash(1), vec![], [], now), Err(DefineError::BadName));
        let numbered = |n: usize| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            hash
        };
        for n in 0..MAX_VERSIONS {
            one.define("m", numbered(n), vec![], [], now).unwrap();
        }
        let more = one.define("m", numbered(MAX_VERSIONS), vec![], [], now);
        assert_eq!(more, Err(DefineError::TooManyVersions));
        assert_eq!(one.versions().count(), MAX_VERSIONS);
    }

    #[test]
    fn all_definitions_together_are_bounded_in_bytes_those_of_members_alike() {
        let now = Instant::now();
        let mut one = Definitions::new(100);
        one.define("m", hash(1), vec![1; 60], [], now).unwrap();
        assert_eq!(one.define("m", hash(2), vec![2; 41], [], now), Err(DefineError::Full(100)));
        // What is known takes no room, however often it is defined.
        for n in [1, 2, 1, 2] {
            one.define("m", hash(n), vec![n; if n == 1 { 60 } else { 40 }], [], now).unwrap();
        }
        while one.poll().is_some() {}
        let late = Definition { machine: "n".into(), clock: 9, hash: hash(3), body: vec![3] };
        let push = DefinitionMessage::Push { id: 7, definition: late.clone() };
        one.handle(Input::Message { from: name(1), message: push }, now);
        let error = DefineError::Full(100);
        let message = DefinitionMessage::Refused { id: 7, reason: error.to_string() };
        assert_eq!(one.poll(), Some(Output::Send { to: name(1), message }));
        let message = DefinitionMessage::Definitions { definitions: vec![late] };
        one.handle(Input::Message { from: name(1), message }, now);
        assert_eq!(one.poll(), Some(Output::NotTaken { from: name(1), machine: "n".into(), error }));
        assert_eq!((one.poll(), one.versions().count()), (None, 2));
        // It is not fetched with each list.
        let versions = vec![VersionId { machine: "n".into(), clock: 9, hash: hash(3) }];
        let message = DefinitionMessage::Versions { versions, after: None, more: false };
        one.handle(Input::Message { from: name(1), message }, now);
        assert_eq!((one.poll(), one.is_fetching()), (None, false));
    }

    #[test]
    fn a_member_is_asked_for_some_at_a_time_until_all_are_here() {
        let now = Instant::now();
        let (mut one, mut two) = (Definitions::new(MAX_BYTES), Definitions::new(MAX_BYTES));
        let versions = 2 * FETCHED_AT_ONCE + 1;
        for n in 0..versions {
            one.define("m", hash(u8::try_from(n).unwrap()), vec![1; 10], [], now).unwrap();
        }
        one.handle(Input::LinkUp(name(2)), now);
        two.handle(Input::LinkUp(name(1)), now);
        let mut fetches = Vec::new();
        loop {
            let mut quiet = true;
            while let Some(output) = one.poll() {
                if let Output::Send { message, .. } = output {
                    quiet = false;
                    two.handle(Input::Message { from: name(1), message }, now);
                }
            }
            while let Some(output) = two.poll() {
                if let Output::Send { message, .. } = output {
                    quiet = false;
                    fetches.extend(if let DefinitionMessage::Fetch { hashes } = &message {
                        Some(hashes.len())
                    } else {
                        None
                    });
                    one.handle(Input::Message { from: name(2), message }, now);
                }
            }
            if quiet {
                break;
            }
        }
        assert_eq!(fetches, [FETCHED_AT_ONCE, FETCHED_AT_ONCE, 1]);
        assert_eq!((two.digest(), two.versions().count()), (one.digest(), versions));
        assert!(two.wanted.is_empty());
    }
}
