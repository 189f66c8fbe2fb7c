//! Definitions: what `define` does, and what members tell each other of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use statemesh_engine::Machine;
use statemesh_mesh::definitions::{self, DefineError, File};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::peer::PeerMessage;
use statemesh_protocol::peer::definition::{Definition, DefinitionHash, DefinitionMessage, VersionId};
use statemesh_protocol::reply::{MapWriter, write_error, write_str};

use super::compile::{Good, Reply, WhyNot};
use super::work::{Asked, Done, Finished, Line, Requested, Work};
use super::{Control, Output};
use crate::mailbox::Command;
use crate::volume::body_of;
use statemesh_shard::machines::Version;
use statemesh_shard::write_value;

/// A definition on its way to all members.
#[derive(Debug)]
struct Push {
    asked: Asked,
    good: Good,
}

/// The definitions of the mesh, and what is under way with them.
#[derive(Debug)]
pub(super) struct Definitions {
    known: definitions::Definitions,
    pushes: BTreeMap<u64, Push>,
    /// Compiled here already, as they were given at start or defined a moment ago.
    compiled: BTreeMap<DefinitionHash, Arc<Machine>>,
    requests: Line<Requested>,
    /// Versions of other members that are to be compiled, each a machine's id and the hash.
    received: Line<(String, DefinitionHash)>,
    /// The versions of that line and the one that is under way, each with the pushes that are to be answered when it is done: who
    /// pushed, and the push's id.
    pending: BTreeMap<DefinitionHash, BTreeSet<(MemberName, u64)>>,
    /// Versions that do not compile here.
    incomplete: BTreeMap<DefinitionHash, Incomplete>,
    /// There are durable machines, or one is about to be defined: this daemon stays alone.
    pub(super) are_durable: bool,
    /// It was said that another one is not heard.
    pub(super) has_said_so: bool,
}

/// A version that does not compile here (yet).
#[derive(Debug)]
struct Incomplete {
    machine: String,
    why_not: WhyNot,
}

/// Bytes of a reason that is sent to another member.
const REASON_BYTES: usize = 500;

impl Definitions {
    /// None yet. They may have so many bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            known: definitions::Definitions::new(max_bytes),
            pushes: BTreeMap::new(),
            compiled: BTreeMap::new(),
            requests: Line::default(),
            received: Line::default(),
            pending: BTreeMap::new(),
            incomplete: BTreeMap::new(),
            are_durable: false,
            has_said_so: false,
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.known.digest()
    }

    /// Whether the list of this member's machines is known.
    pub(super) fn has_list_of(&self, member: &MemberName) -> bool {
        self.known.has_list_of(member)
    }

    /// Whether no version that a member told of is still to be fetched or compiled.
    pub(super) fn are_settled(&self) -> bool {
        self.pending.is_empty() && !self.is_fetching()
    }

    /// Whether versions are still to come from members that told of them.
    pub(super) fn is_fetching(&self) -> bool {
        self.known.is_fetching()
    }

    /// Versions that are to be compiled, or are under way.
    pub(super) fn uncompiled(&self) -> usize {
        self.pending.len()
    }

    /// The revision of the folder whose machines the mesh runs.
    pub(super) fn revision(&self) -> u64 {
        self.known.revision()
    }

    /// The version of a machine that new instances take.
    pub(super) fn newest(&self, machine: &str) -> Option<DefinitionHash> {
        self.known.newest(machine).map(|newest| newest.hash)
    }

    /// Keeps a machine that is compiled already.
    pub(super) fn keep_compiled(&mut self, machine: Arc<Machine>) {
        self.compiled.insert(*machine.hash(), machine);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.known.next_deadline()
    }

    /// A definition that a client asked for is settled: the next one may begin.
    pub(super) fn done(&mut self) {
        self.requests.done();
    }

    /// Takes a version that this daemon had in its life before.
    pub(super) fn take_back(
        &mut self,
        name: &str,
        hash: DefinitionHash,
        body: Vec<u8>,
        now: Instant,
    ) -> Result<(), DefineError> {
        self.known.define(name, hash, body, [], now).map(|_| ())
    }
}

impl Control {
    /// Takes the machines of a folder, as far as the mesh does not run others.
    pub(super) fn adopt_files(&mut self, files: &[File], revision: Option<u64>) -> Result<(), DefineError> {
        let linked: Vec<MemberName> = self.links.up().filter_map(|member| self.members.name(member)).collect();
        let result = self.definitions.known.adopt(files, revision, linked);
        self.follow_definitions();
        result
    }

    /// A request that a reactor passed on.
    pub(super) fn request(&mut self, reactor: usize, correlation: u64, raw: Bytes, now: Instant) {
        // The reactor gave it up by then.
        let until = now + self.shared.options.limits.forward_timeout;
        self.definitions.requests.add(Requested { reactor, correlation, raw, until });
    }

    /// A piece of work is done: the next one of its line may begin.
    pub(super) fn work_done(&mut self, Done(finished): Done, now: Instant) {
        match finished {
            Finished::Defined { asked, result: Ok(good) } => self.settle_tier(asked, good, now),
            Finished::Defined { asked, result: Err(reply) } => {
                self.definitions.requests.done();
                self.reply(&asked, reply);
            }
            Finished::Kept { asked, good, result } => {
                self.definitions.requests.done();
                self.kept(asked, good, result, now);
            }
            Finished::Received { machine, hash, result } => {
                self.definitions.received.done();
                self.compiled(machine, hash, result);
            }
        }
    }

    /// Gives away what is to be compiled next, of clients and of members. Nothing is ever compiled by the control plane itself: it
    /// would neither renew the lease nor answer probes meanwhile.
    fn begin_work(&mut self, now: Instant) {
        self.definitions.requests.drop_overdue(now);
        if let Some(requested) = self.definitions.requests.next() {
            self.definitions.requests.begun();
            let work = Work::define(Arc::clone(&self.shared), requested);
            self.outbox.put(Output::Work(work));
        }
        while let Some((machine, hash)) = self.definitions.received.next() {
            let is_here = self.shared.machines.table().by_hash(&hash).is_some();
            // It may have been defined here while it waited.
            let Some(version) = self.definitions.known.version(&machine, &hash).filter(|_| !is_here) else { continue };
            let definition = Definition { machine, clock: version.clock, hash, body: version.body.clone() };
            self.definitions.received.begun();
            let work = Work::received(Arc::clone(&self.shared), definition);
            self.outbox.put(Output::Work(work));
        }
    }

    /// Gives a definition to every live member; one to which there is no link yet gets it as soon as there is one.
    pub(super) fn push(&mut self, asked: Asked, good: Good, now: Instant) {
        let machine = &good.machine;
        let (name, hash, compiled) = (machine.id().to_owned(), *machine.hash(), Arc::clone(machine));
        let live: Vec<MemberName> = self.live().cloned().collect();
        match self.definitions.known.define(&name, hash, body_of(machine), live, now) {
            Ok(push) => {
                self.definitions.pushes.insert(push, Push { asked, good });
                // Another member may have told of it before: then it waits to be compiled, or could not be.
                if self.shared.machines.table().by_hash(&hash).is_none() {
                    self.add(&name, hash, compiled);
                }
                self.follow_definitions();
            }
            Err(error) => {
                let mut reply = Vec::new();
                let (id, message) = (asked.id.as_deref(), error.to_string());
                write_error(&mut reply, asked.encoding, id, ErrorCode::LimitExceeded, &message, error.hint());
                self.reply(&asked, (reply, Some(ErrorCode::LimitExceeded)));
            }
        }
    }

    pub(super) fn reply(&mut self, asked: &Asked, (reply, error): Reply) {
        self.outbox.tell(asked.reactor, Command::Reply { correlation: asked.correlation, reply, error });
    }

    pub(super) fn definition_message(&mut self, member: u32, message: DefinitionMessage, now: Instant) {
        if let Some(from) = self.members.name(member) {
            self.definitions.known.handle(definitions::Input::Message { from, message }, now);
            self.follow_definitions();
        }
    }

    pub(super) fn definition_link_up(&mut self, name: MemberName, now: Instant) {
        self.definitions.known.handle(definitions::Input::LinkUp(name), now);
        self.follow_definitions();
    }

    pub(super) fn definition_member_up(&mut self, name: MemberName, now: Instant) {
        self.definitions.known.handle(definitions::Input::MemberUp(name), now);
        self.follow_definitions();
    }

    pub(super) fn definition_member_gone(&mut self, name: MemberName, now: Instant) {
        for pushes in self.definitions.pending.values_mut() {
            pushes.retain(|(from, _)| *from != name);
        }
        self.definitions.known.handle(definitions::Input::MemberDown(name), now);
        self.follow_definitions();
    }

    pub(super) fn definitions_due(&mut self, now: Instant) {
        if self.definitions.next_deadline().is_some_and(|at| at <= now) {
            self.definitions.known.handle(definitions::Input::Tick, now);
            self.follow_definitions();
        }
        self.begin_work(now);
    }

    pub(super) fn follow_definitions(&mut self) {
        let mut changed = false;
        while let Some(output) = self.definitions.known.poll() {
            self.reports.decided("definitions", output.name());
            match output {
                definitions::Output::Send { to, message } => {
                    let member = self.members.number(&to);
                    self.send(member, &PeerMessage::Definitions(message));
                }
                definitions::Output::Apply(version) => {
                    self.apply(version);
                    changed = true;
                }
                definitions::Output::Newest(version) => {
                    self.make_newest(&version);
                    changed = true;
                }
                definitions::Output::Taken { from, id, hash } => match self.definitions.pending.get_mut(&hash) {
                    Some(pushes) => _ = pushes.insert((from, id)),
                    None => self.acknowledge(&from, id, &hash),
                },
                definitions::Output::NotTaken { from, machine, error } => {
                    tracing::warn!(member = %from, machine, %error, "a definition that another member has is not taken here");
                }
                definitions::Output::Pushed { id, have, missing, refused } => self.pushed(id, have, &missing, &refused),
            }
        }
        if changed {
            self.regreet();
            self.compare_files();
        }
    }

    /// Tells a member whether what it pushed runs here.
    fn acknowledge(&mut self, from: &MemberName, id: u64, hash: &DefinitionHash) {
        let message = match self.definitions.incomplete.get(hash) {
            None => DefinitionMessage::Ack { id },
            Some(Incomplete { why_not, .. }) => {
                let reason = &why_not.reason;
                let end = reason.floor_char_boundary(REASON_BYTES);
                DefinitionMessage::Refused { id, reason: reason[..end].to_owned() }
            }
        };
        let member = self.members.number(from);
        self.send(member, &PeerMessage::Definitions(message));
    }

    /// A version is new here.
    fn apply(&mut self, VersionId { machine, hash, .. }: VersionId) {
        if let Some(compiled) = self.definitions.compiled.remove(&hash) {
            return self.add(&machine, hash, compiled);
        }
        if self.shared.machines.table().by_hash(&hash).is_none() {
            self.await_turn(machine, hash);
        }
    }

    /// Has a version compiled when it is its turn.
    fn await_turn(&mut self, machine: String, hash: DefinitionHash) {
        self.definitions.pending.entry(hash).or_default();
        self.definitions.received.add((machine, hash));
    }

    /// A version of another member compiles here, or does not.
    fn compiled(&mut self, machine: String, hash: DefinitionHash, result: Result<Arc<Machine>, WhyNot>) {
        let table = self.shared.machines.table();
        match result {
            // It was defined here meanwhile.
            _ if table.by_hash(&hash).is_some() => {}
            Ok(compiled) => self.add(&machine, hash, compiled),
            // What it lacked came meanwhile.
            Err(why_not) if why_not.lacks.is_some_and(|lacks| table.by_hash(&lacks).is_some()) => {
                self.definitions.received.add((machine, hash));
            }
            Err(why_not) => {
                let reason = &why_not.reason;
                tracing::warn!(machine, reason, "a definition that another member has does not compile here (yet)");
                self.definitions.incomplete.insert(hash, Incomplete { machine, why_not });
                self.settled(&hash);
            }
        }
    }

    /// It is known whether this version compiles here: those that pushed it are told.
    fn settled(&mut self, hash: &DefinitionHash) {
        for (from, id) in self.definitions.pending.remove(hash).unwrap_or_default() {
            self.acknowledge(&from, id, hash);
        }
    }

    /// Takes a version that is compiled, and tries those again that lacked it.
    fn add(&mut self, name: &str, hash: DefinitionHash, machine: Arc<Machine>) {
        let Some(version) = self.definitions.known.version(name, &hash) else { return };
        let clock = version.clock;
        let newest = self.shared.machines.add(Version::new(name.into(), hash, clock, machine));
        tracing::info!(machine = name, clock, newest, "defined");
        self.definitions.incomplete.remove(&hash);
        self.settled(&hash);
        let lacked = self.definitions.incomplete.extract_if(.., |_, waiting| waiting.why_not.lacks == Some(hash));
        let again: Vec<_> = lacked.map(|(hash, Incomplete { machine, .. })| (machine, hash)).collect();
        for (machine, hash) in again {
            self.await_turn(machine, hash);
        }
    }

    fn make_newest(&mut self, version: &VersionId) {
        // One that is not compiled yet has its clock once it is.
        let known = self.shared.machines.table().by_hash(&version.hash).cloned();
        if let Some(known) = known {
            let (name, machine) = (Arc::clone(&known.name), Arc::clone(&known.machine));
            self.shared.machines.add(Version::new(name, version.hash, version.clock, machine));
        }
    }

    fn pushed(&mut self, id: u64, have: usize, missing: &[MemberName], refused: &[(MemberName, String)]) {
        let Some(Push { asked, good }) = self.definitions.pushes.remove(&id) else {
            return;
        };
        let number = self.shared.machines.table().by_hash(good.machine.hash()).map_or(0, |version| version.number);
        let mut reply = Vec::new();
        let mut map = MapWriter::new(&mut reply, asked.encoding);
        if let Some(id) = &asked.id {
            map.raw("id", id);
        }
        map.bool("ok", true)
            .str("machine", good.machine.id())
            .str("durability", self.shared.machines.table().tier(good.machine.id()).as_str())
            .str("hash", &statemesh_shard::machines::hex(good.machine.hash()))
            .uint("version", definitions::count_of(number))
            .uint("members", have as u64 + 1);
        if !missing.is_empty() {
            map.list("missing", missing.iter(), |out, encoding, name| write_str(out, encoding, name.as_str()));
        }
        if !refused.is_empty() {
            map.list("refused", refused.iter(), |out, encoding, (name, reason)| {
                let mut map = MapWriter::new(out, encoding);
                map.str("member", name.as_str()).str("reason", reason);
                map.end();
            });
        }
        map.list("warnings", good.warnings.iter(), |out, encoding, warning| {
            write_value(out, encoding, &warning.to_value())
        });
        map.end();
        self.reply(&asked, (reply, None));
    }
}
