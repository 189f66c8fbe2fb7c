//! Machine definitions, which every member has.
//!
//! Versions of a machine are ordered by a logical clock and then by their hash, never by a wall clock: members that have seen
//! the same versions agree which is the newest, in whatever order they saw them. A definition is pushed to every live member
//! and counts as defined when all have acknowledged it. Members that meet compare digests, then lists, and fetch what they
//! lack; so a member that was away, or joins, has them all.
//!
//! What a definition says is no matter here: the shell compiles it, and vouches that the hash is that of what the body says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::identity::MemberName;
use crate::placement::{hash_bytes, mix};

/// Content hash of a definition.
pub type DefinitionHash = [u8; 32];

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
/// How long a define waits for live members before it says who did not answer.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A version of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The machine's id.
    pub machine: String,
    /// When it was defined, in logical time: larger is newer.
    pub clock: u64,
    /// The shell's hash of what was defined.
    pub hash: DefinitionHash,
    /// What was defined, with its options, as the shell wrote it.
    #[serde(with = "body")]
    pub body: Vec<u8>,
}

/// A version without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionId {
    /// The machine's id.
    pub machine: String,
    /// When it was defined.
    pub clock: u64,
    /// The shell's hash of what was defined.
    pub hash: DefinitionHash,
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
            Self::TooLarge => "split the machine, and use invoke",
            Self::BadName => "give it a shorter id",
        }
    }
}

/// What members say to each other about definitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefinitionMessage {
    /// Take this, and acknowledge it.
    Push {
        /// Matches the acknowledgement with the push.
        id: u64,
        /// The new version.
        definition: Definition,
    },
    /// I have it.
    Ack {
        /// The push's id.
        id: u64,
    },
    /// Digest of all that I have. Sent when two members meet.
    Digest {
        /// See [`Definitions::digest`].
        digest: u64,
    },
    /// All that I have. The answer to another digest.
    Versions {
        /// Without bodies.
        versions: Vec<VersionId>,
    },
    /// Send me these.
    Fetch {
        /// By hash.
        hashes: BTreeSet<DefinitionHash>,
    },
    /// Some of what was asked for.
    Definitions {
        /// With bodies.
        definitions: Vec<Definition>,
    },
}

/// What can happen to definitions.
#[derive(Debug, Clone)]
pub enum Input {
    /// There is a link to this member.
    LinkUp(MemberName),
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

/// What the shell does next, in this order: an acknowledgement comes after the version that it is for was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this over the link.
    Send {
        /// The member.
        to: MemberName,
        /// The message.
        message: DefinitionMessage,
    },
    /// Compile this version. New instances take it if none is newer.
    Apply {
        /// The version.
        definition: Definition,
    },
    /// A version that was known was defined again, and is the newest of its machine.
    Newest(VersionId),
    /// A push is done. `missing` did not acknowledge it in time; they will fetch it when they meet a member that has it.
    Pushed {
        /// What [`Definitions::define`] returned.
        id: u64,
        /// Live members that did not answer.
        missing: Vec<MemberName>,
    },
}

#[derive(Debug)]
struct Push {
    waiting: BTreeSet<MemberName>,
    deadline: Instant,
}

#[derive(Debug)]
struct Version {
    clock: u64,
    body: Vec<u8>,
}

/// All definitions of a mesh, as one member has them.
#[derive(Debug, Default)]
pub struct Definitions {
    machines: BTreeMap<String, BTreeMap<DefinitionHash, Version>>,
    /// Largest clock seen.
    clock: u64,
    pushes: BTreeMap<u64, Push>,
    last_push: u64,
    digest: u64,
    out: VecDeque<Output>,
}

impl Definitions {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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
        self.pushes.insert(id, Push { waiting, deadline });
        self.finish_pushes(now);
        Ok(id)
    }

    /// Takes in what happened; [`Definitions::poll`] gives what follows from it.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::LinkUp(name) => {
                let digest = self.digest;
                self.send(&name, DefinitionMessage::Digest { digest });
            }
            Input::MemberDown(name) => {
                for push in self.pushes.values_mut() {
                    push.waiting.remove(&name);
                }
            }
            Input::Message { from, message } => self.message(&from, message),
            Input::Tick => {}
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
        self.pushes.values().map(|push| push.deadline).min()
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

    /// All versions.
    pub fn versions(&self) -> impl Iterator<Item = VersionId> {
        self.machines.iter().flat_map(|(machine, versions)| {
            let ids = versions.iter();
            ids.map(|(hash, version)| version_id(machine, hash, version))
        })
    }

    /// A message named a definition that is not here: asks its sender for it.
    pub fn want(&mut self, hash: DefinitionHash, from: &MemberName) {
        let hashes = BTreeSet::from([hash]);
        self.send(from, DefinitionMessage::Fetch { hashes });
    }

    fn message(&mut self, from: &MemberName, message: DefinitionMessage) {
        match message {
            DefinitionMessage::Push { id, definition } => {
                if self.check(&definition).is_ok() {
                    self.merge(definition);
                    self.send(from, DefinitionMessage::Ack { id });
                }
            }
            DefinitionMessage::Ack { id } => {
                if let Some(push) = self.pushes.get_mut(&id) {
                    push.waiting.remove(from);
                }
            }
            DefinitionMessage::Digest { digest } => {
                if digest != self.digest {
                    let versions = self.versions().collect();
                    self.send(from, DefinitionMessage::Versions { versions });
                }
            }
            DefinitionMessage::Versions { versions } => self.fetch_missing(from, versions),
            DefinitionMessage::Fetch { hashes } => self.give(from, &hashes),
            DefinitionMessage::Definitions { definitions } => {
                for definition in definitions {
                    if self.check(&definition).is_ok() {
                        self.merge(definition);
                    }
                }
            }
        }
    }

    fn fetch_missing(&mut self, from: &MemberName, versions: Vec<VersionId>) {
        let mut hashes = BTreeSet::new();
        for theirs in versions {
            let known = self.machines.get_mut(&theirs.machine);
            match known.and_then(|versions| versions.get_mut(&theirs.hash)) {
                Some(ours) if ours.clock >= theirs.clock => {}
                // Defined anew meanwhile: the body is the same.
                Some(ours) => {
                    let body = ours.body.clone();
                    let VersionId { machine, clock, hash } = theirs;
                    self.merge(Definition { machine, clock, hash, body });
                }
                None => {
                    hashes.insert(theirs.hash);
                }
            }
        }
        if !hashes.is_empty() {
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
        match self.machines.get(&definition.machine) {
            None if self.machines.len() >= MAX_MACHINES => Err(DefineError::TooManyMachines),
            Some(versions) if versions.len() >= MAX_VERSIONS && !versions.contains_key(&definition.hash) => {
                Err(DefineError::TooManyVersions)
            }
            _ => Ok(()),
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
        let version = Version { clock, body: body.clone() };
        versions.insert(hash, version);
        let newest = self.newest(&machine);
        let is_newest = newest.as_ref().is_some_and(|newest| newest.hash == hash);
        if known.is_none() {
            let definition = Definition { machine, clock, hash, body };
            self.out.push_back(Output::Apply { definition });
        } else if let Some(newest) = newest.filter(|_| is_newest) {
            // Also where it was the newest before: whoever compares it with one that comes later must know its clock.
            self.out.push_back(Output::Newest(newest));
        }
    }

    fn finish_pushes(&mut self, now: Instant) {
        let out = &mut self.out;
        self.pushes.retain(|id, push| {
            let done = push.waiting.is_empty() || push.deadline <= now;
            if done {
                let missing = push.waiting.iter().cloned().collect();
                out.push_back(Output::Pushed { id: *id, missing });
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

/// Bodies are bytes on the wire, not lists of numbers.
mod body {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(body)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        d.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

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

    #[test]
    fn members_agree_on_the_newest_whoever_they_heard_it_from() {
        for seed in 0..20 {
            println!("seed {seed}");
            let (mut rng, now) = (StdRng::seed_from_u64(seed), Instant::now());
            let mut members: Vec<_> = (0..4).map(|_| Definitions::new()).collect();
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
    fn a_define_is_done_when_every_live_member_has_it() {
        let (mut rng, now) = (StdRng::seed_from_u64(1), Instant::now());
        let mut members: Vec<_> = (0..3).map(|_| Definitions::new()).collect();
        let id = members[0].define("m", hash(1), vec![1], [name(1), name(2)], now);
        let done = settle(&mut members, &mut rng, now);
        let missing = Vec::new();
        assert_eq!(done.last(), Some(&Output::Pushed { id: id.unwrap(), missing }));
        assert_eq!(members[2].newest("m").unwrap().hash, hash(1));
    }

    #[test]
    fn a_define_does_not_wait_for_the_dead_nor_for_ever() {
        let now = Instant::now();
        let mut one = Definitions::new();
        let id = one.define("m", hash(1), vec![1], [name(1), name(2)], now).unwrap();
        one.handle(Input::MemberDown(name(1)), now);
        one.handle(Input::Tick, now + PUSH_TIMEOUT);
        let missing = vec![name(2)];
        assert!(std::iter::from_fn(|| one.poll()).any(|o| o == Output::Pushed { id, missing: missing.clone() }));
    }

    #[test]
    fn defining_the_same_again_changes_nothing_and_an_older_version_becomes_the_newest() {
        let now = Instant::now();
        let mut one = Definitions::new();
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
        let mut one = Definitions::new();
        one.define("m", hash(1), vec![1], [], now).unwrap();
        while one.poll().is_some() {}
        // Elsewhere the second version was defined, and the first one again.
        let version = |n, clock| VersionId { machine: "m".into(), clock, hash: hash(n) };
        let versions = vec![version(1, 3), version(2, 2)];
        one.handle(Input::Message { from: name(2), message: DefinitionMessage::Versions { versions } }, now);
        assert_eq!(one.poll(), Some(Output::Newest(version(1, 3))));
        let late = Definition { machine: "m".into(), clock: 2, hash: hash(2), body: vec![2] };
        let message = DefinitionMessage::Definitions { definitions: vec![late.clone()] };
        one.handle(Input::Message { from: name(2), message }, now);
        let outputs: Vec<Output> = std::iter::from_fn(|| one.poll()).collect();
        assert!(
            outputs.contains(&Output::Apply { definition: late }) && !outputs.contains(&Output::Newest(version(2, 2)))
        );
        assert_eq!(one.newest("m"), Some(version(1, 3)));
    }

    #[test]
    fn limits_refuse_and_change_nothing() {
        let now = Instant::now();
        let mut one = Definitions::new();
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
}
