//! Definitions: what `define` does, and what members tell each other of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_engine::{Limits, Machine};
use statemesh_mesh::client_protocol::error::ErrorCode;
use statemesh_mesh::client_protocol::reply::{Encoding, MapWriter, write_error, write_str};
use statemesh_mesh::client_protocol::request::{Op, Request};
use statemesh_mesh::definitions::{self, DefinitionHash, DefinitionMessage, VersionId};
use statemesh_mesh::identity::MemberName;
use statemesh_mesh::protocol::PeerMessage;
use tokio::sync::mpsc;

use super::Control;
use super::body::Body;
use super::compile::{Good, Reply, compile};
use super::load::Loaded;
use crate::answers;
use crate::command::Command;
use crate::machines::Version;
use crate::shard::write_value;

/// A piece of work that a thread of its own has finished.
#[derive(Debug)]
pub(super) struct Done {
    asked: Asked,
    result: Result<Good, Reply>,
}

/// Who asked for something, and how the reply must look.
#[derive(Clone, Debug)]
struct Asked {
    reactor: usize,
    correlation: u64,
    encoding: Encoding,
    id: Option<Vec<u8>>,
}

/// A definition on its way to all members.
#[derive(Debug)]
struct Push {
    asked: Asked,
    good: Good,
    members: usize,
}

/// The definitions of the mesh, and what is under way with them.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    known: definitions::Definitions,
    pushes: HashMap<u64, Push>,
    /// Compiled here a moment ago, so that they need not be compiled again.
    compiled: HashMap<DefinitionHash, Arc<Machine>>,
    /// Versions that name a version of another machine which has not arrived yet.
    incomplete: Vec<definitions::Definition>,
    done: Option<mpsc::Sender<Done>>,
    /// Definitions that wait until there is a link to every live member, and until when.
    held: Vec<(Done, Instant)>,
}

/// How long `define` waits for links to members that have just joined.
const LINKS_PATIENCE: Duration = Duration::from_secs(3);

impl Definitions {
    pub(super) fn set_done(&mut self, done: mpsc::Sender<Done>) {
        self.done = Some(done);
    }

    pub(super) fn digest(&self) -> u64 {
        self.known.digest()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.known.next_deadline()
    }
}

impl Control {
    /// Defines what was given at start.
    pub(super) fn load(&mut self, loaded: Vec<Loaded>) {
        let now = self.started;
        for Loaded { machine } in loaded {
            let (id, hash, body) = (machine.id().to_owned(), *machine.hash(), Body::encode(&machine));
            self.definitions.compiled.insert(hash, machine);
            if let Err(error) = self.definitions.known.define(&id, hash, body, [], now) {
                tracing::error!(machine = id, %error, "not defined");
            }
        }
        self.follow_definitions();
    }

    /// A request that a reactor passed on.
    pub(super) fn request(&mut self, reactor: usize, correlation: u64, raw: Vec<u8>) {
        let Some(done) = self.definitions.done.clone() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        // Compiling a large definition, and looking at all instances, take milliseconds that gossip should not wait for.
        tokio::task::spawn_blocking(move || {
            let encoding = Encoding::of(&raw);
            let Ok(request) = Request::parse(&raw, encoding) else {
                return;
            };
            let asked = Asked { reactor, correlation, encoding, id: request.id.map(<[u8]>::to_vec) };
            let result = if request.op == Op::Define {
                compile(&request, &shared)
            } else {
                let mut reply = Vec::new();
                let mut error = None;
                if let Err(refusal) = answers::answer(&request, &shared, &mut reply) {
                    reply.clear();
                    error = Some(refusal.code);
                    write_error(&mut reply, encoding, refusal.id, refusal.code, &refusal.message, refusal.hint);
                }
                Err((reply, error))
            };
            // The daemon is ending if nobody takes it.
            let _ = done.blocking_send(Done { asked, result });
        });
    }

    /// A definition compiles, or a reply is ready.
    pub(super) fn definition_done(&mut self, done: Done, now: Instant) {
        match done.result {
            Ok(_) => self.definitions.held.push((done, now + LINKS_PATIENCE)),
            Err(reply) => self.reply(&done.asked, reply),
        }
        self.push_held(now);
    }

    /// Pushes what waits, once there is a link to every live member: a member that has just joined must acknowledge as well.
    fn push_held(&mut self, now: Instant) {
        let linked = self.links.up().count() >= self.membership.live();
        for (done, until) in std::mem::take(&mut self.definitions.held) {
            match done {
                Done { asked, result: Ok(good) } if linked || now >= until => self.push(asked, good, now),
                done => self.definitions.held.push((done, until)),
            }
        }
    }

    fn push(&mut self, asked: Asked, good: Good, now: Instant) {
        let machine = &good.machine;
        self.definitions.compiled.insert(*machine.hash(), Arc::clone(machine));
        let live: Vec<MemberName> = self.links.up().filter_map(|member| self.name(member)).collect();
        let members = live.len() + 1;
        match self.definitions.known.define(machine.id(), *machine.hash(), Body::encode(machine), live, now) {
            Ok(push) => {
                self.definitions.pushes.insert(push, Push { asked, good, members });
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

    fn reply(&mut self, asked: &Asked, (reply, error): Reply) {
        self.outbox.tell(asked.reactor, Command::Reply { correlation: asked.correlation, reply, error });
    }

    pub(super) fn definition_message(&mut self, member: u32, message: DefinitionMessage, now: Instant) {
        if let Some(from) = self.name(member) {
            self.definitions.known.handle(definitions::Input::Message { from, message }, now);
            self.follow_definitions();
        }
    }

    pub(super) fn definition_link_up(&mut self, name: MemberName, now: Instant) {
        self.definitions.known.handle(definitions::Input::LinkUp(name), now);
        self.follow_definitions();
    }

    pub(super) fn definition_member_gone(&mut self, name: MemberName, now: Instant) {
        self.definitions.known.handle(definitions::Input::MemberDown(name), now);
        self.follow_definitions();
    }

    pub(super) fn definitions_due(&mut self, now: Instant) {
        self.push_held(now);
        if self.definitions.next_deadline().is_some_and(|at| at <= now) {
            self.definitions.known.handle(definitions::Input::Tick, now);
            self.follow_definitions();
        }
    }

    fn follow_definitions(&mut self) {
        let mut changed = false;
        while let Some(output) = self.definitions.known.poll() {
            match output {
                definitions::Output::Send { to, message } => {
                    let member = self.number(&to);
                    self.send(member, &PeerMessage::Definitions(message));
                }
                definitions::Output::Apply { definition } => {
                    self.apply(definition);
                    changed = true;
                }
                definitions::Output::Newest(version) => {
                    self.make_newest(&version);
                    changed = true;
                }
                definitions::Output::Pushed { id, missing } => self.pushed(id, &missing),
            }
        }
        if changed {
            self.apply_incomplete();
            self.regreet();
        }
    }

    fn apply(&mut self, definition: definitions::Definition) {
        let compiled = self.definitions.compiled.remove(&definition.hash);
        let Some(machine) = compiled.or_else(|| self.compile_known(&definition)) else {
            return self.definitions.incomplete.push(definition);
        };
        let definitions::Definition { machine: name, clock, hash, .. } = definition;
        let newest = self.shared.machines.add(Version { name: name.as_str().into(), hash, number: clock, machine });
        tracing::info!(machine = name, clock, newest, "defined");
    }

    /// Compiles what another member compiled, with the same versions of the machines that it names; `None` as long as they are not
    /// here.
    fn compile_known(&self, definition: &definitions::Definition) -> Option<Arc<Machine>> {
        let body = Body::decode(&definition.body).ok()?;
        let table = self.shared.machines.table();
        let resolve = |name: &str| Some(Arc::clone(&table.by_hash(body.child(name)?)?.machine));
        let machine = Machine::compile(body.source, &Limits::default(), &resolve).ok()?.machine;
        (*machine.hash() == definition.hash).then_some(machine)
    }

    /// Tries again what named machines that were not there.
    fn apply_incomplete(&mut self) {
        let mut before = usize::MAX;
        while self.definitions.incomplete.len() < before {
            before = self.definitions.incomplete.len();
            for definition in std::mem::take(&mut self.definitions.incomplete) {
                self.apply(definition);
            }
        }
        for definition in &self.definitions.incomplete {
            tracing::warn!(
                machine = definition.machine,
                "a definition that another member has does not compile here (yet)"
            );
        }
    }

    fn make_newest(&mut self, version: &VersionId) {
        // It may still wait for a machine that it names.
        for definition in self.definitions.incomplete.iter_mut().filter(|waiting| waiting.hash == version.hash) {
            definition.clock = version.clock;
        }
        let known = self.shared.machines.table().by_hash(&version.hash).cloned();
        if let Some(known) = known {
            let (name, machine) = (Arc::clone(&known.name), Arc::clone(&known.machine));
            self.shared.machines.add(Version { name, hash: version.hash, number: version.clock, machine });
        }
    }

    fn pushed(&mut self, id: u64, missing: &[MemberName]) {
        let Some(Push { asked, good, members }) = self.definitions.pushes.remove(&id) else {
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
            .str("hash", &crate::machines::hex(good.machine.hash()))
            .uint("version", number)
            .uint("members", members.saturating_sub(missing.len()) as u64);
        if !missing.is_empty() {
            map.list("missing", missing.iter(), |out, encoding, name| write_str(out, encoding, name.as_str()));
        }
        map.list("warnings", good.warnings.iter(), |out, encoding, warning| {
            write_value(out, encoding, &warning.to_value())
        });
        map.end();
        self.reply(&asked, (reply, None));
    }
}
