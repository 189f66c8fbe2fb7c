//! What a daemon's volume has, taken in again at a start: records of the journal, in the order in which they were made. All of them are
//! durable. The instances wait until their partition is served; then their timers are armed, and those that are overdue fire.

use std::sync::Arc;

use statemesh_engine::{Instance, Millis, Status};
use statemesh_protocol::image::Input;
use statemesh_protocol::record::{self, Head, HeadFlags, Kind, Numbered, Part, Record, Token};
use statemesh_protocol::run::RunId;

use super::{Phase, Run, State};
use crate::dedup::{Answer, Asked};
use crate::history::History;
use crate::instance::Entry;
use crate::machines::{Hash, Version};

/// Why a place is not as it was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(pub String);

fn damaged(why: impl Into<String>) -> Damaged {
    Damaged(why.into())
}

/// What a record says of its instance.
#[derive(Default)]
struct Told<'a> {
    machine: &'a str,
    key: &'a str,
    definition: Option<Hash>,
    run: RunId,
    head: Option<Head<'a>>,
    snapshot: Option<&'a [u8]>,
    transitions: Option<&'a [u8]>,
    token: Option<Token>,
}

impl<'a> Told<'a> {
    fn of(record: &Record<'a>) -> Result<Self, Damaged> {
        let mut told = Self::default();
        for part in record.parts.iter() {
            match part {
                Part::Machine(machine) => told.machine = machine,
                Part::Key(key) => told.key = key,
                Part::Definition(Numbered { new, .. }) => told.definition = new,
                Part::Run(run) => told.run = run,
                Part::Head(head) => told.head = Some(head),
                Part::Snapshot(bytes) => told.snapshot = Some(bytes),
                Part::Transitions(bytes) => told.transitions = Some(bytes),
                Part::Token(token) => told.token = Some(token),
                other => return Err(damaged(format!("it has part {}, which has no meaning here", other.number()))),
            }
        }
        Ok(told)
    }
}

impl State {
    /// Takes in the next record of a place.
    ///
    /// # Errors
    /// It does not fit what was before it, or what this daemon has. The place must not be served then.
    pub fn recover(&mut self, record: &Record<'_>, run: &mut Run) -> Result<(), Damaged> {
        let partition = record.head.place.partition;
        run.now = record.head.at;
        // What removed instances left goes as it went then.
        self.removed.expire(run.now, usize::MAX);
        let told = Told::of(record)?;
        match record.head.kind {
            Kind::Create => self.recover_create(partition, record.head.key_hash, &told, run)?,
            Kind::Step | Kind::Note | Kind::Remove => {
                let number = self
                    .find(partition, record.head.key_hash, told.machine, told.key)
                    .ok_or_else(|| damaged(format!("{}/{} is not there", told.machine, told.key)))?;
                self.recover_state(number, &told, run)?;
                self.recover_token(number, &told, false)?;
                if record.head.kind == Kind::Remove {
                    self.remove_for_good(partition, record.head.key_hash, number, run);
                }
            }
            // The others are about replicas, or about the place.
            kind => return Err(damaged(format!("a record of kind {} has no meaning here", kind.number()))),
        }
        if let Some(part) = self.part_mut(partition) {
            (part.on_disk.index, part.on_disk.at) = (record.head.index, record.head.at);
        }
        Ok(())
    }

    /// All records of a place are in: its instances wait until it is served.
    pub fn recovered(&mut self, partition: u16) {
        if let Some(mark) = self.last_record(partition)
            && let Some(log) = &self.daemon.log
        {
            log.commit(mark);
        }
        let has_instances = self.part(partition).is_some_and(|part| !part.index.is_empty());
        if has_instances {
            self.set_phase(partition, Phase::Suspended);
        }
    }

    /// A place is not as it was acknowledged: nothing of it is served, and no instance begins anew.
    pub fn set_damaged(&mut self, partition: u16, damage: &Damaged) {
        self.take_all(partition);
        self.removed.take_all(partition);
        if let Some(part) = self.part_mut(partition) {
            part.on_disk.damage = Some(damage.0.as_str().into());
        }
    }

    /// Its places that are not as they were acknowledged.
    pub(super) fn damaged(&self) -> impl Iterator<Item = u16> + '_ {
        let damaged = self.partitions.iter().enumerate().filter(|(_, part)| part.on_disk.damage.is_some());
        damaged.filter_map(|(place, _)| u16::try_from(place * self.daemon.shards + self.index).ok())
    }

    fn recover_create(&mut self, partition: u16, hash: u64, told: &Told<'_>, run: &mut Run) -> Result<(), Damaged> {
        let table = self.daemon.machines.table();
        let version = told.definition.as_ref().and_then(|hash| table.by_hash(hash));
        let version = version.filter(|version| *version.name == *told.machine);
        let version = version.ok_or_else(|| damaged(format!("a definition of {} is not there", told.machine)))?;
        let instance = restored(version, told, run)?;
        let entry = Entry {
            key: told.key.into(),
            run: told.run,
            version: Arc::clone(version),
            instance,
            armed: None,
            history: History::default(),
            tokens: None,
        };
        let number = match self.find(partition, hash, told.machine, told.key) {
            // A new life takes the place of one that ended, and goes on with its tokens.
            Some(number) => {
                if let Some(here) = self.entries.get_mut(number) {
                    *here = Entry { tokens: here.tokens.take(), ..entry };
                }
                number
            }
            None => {
                let number = self.add(partition, hash, entry, run);
                self.inherit(partition, hash, number);
                number
            }
        };
        self.recover_transitions(number, told)?;
        self.recover_token(number, told, true)
    }

    fn recover_state(&mut self, number: u32, told: &Told<'_>, run: &mut Run) -> Result<(), Damaged> {
        if told.snapshot.is_none() {
            return Ok(());
        }
        if let Some(entry) = self.entries.get_mut(number) {
            entry.instance = restored(&entry.version, told, run)?;
        }
        self.recover_transitions(number, told)
    }

    fn recover_transitions(&mut self, number: u32, told: &Told<'_>) -> Result<(), Damaged> {
        let max = self.daemon.rules.history;
        let (Some(bytes), Some(entry)) = (told.transitions, self.entries.get_mut(number)) else { return Ok(()) };
        let taken = entry.history.take_in(&entry.version.machine, &mut Input::new(bytes), max);
        taken.map_err(|_| damaged(format!("the transitions of {}/{} cannot be read", told.machine, told.key)))
    }

    fn recover_token(&mut self, number: u32, told: &Told<'_>, made: bool) -> Result<(), Damaged> {
        let (Some(token), Some(entry)) = (told.token, self.entries.get_mut(number)) else { return Ok(()) };
        let unreadable = || damaged(format!("an answer of {}/{} cannot be read", told.machine, told.key));
        let head = told.head.ok_or_else(unreadable)?;
        let configuration = entry.version.machine.split_configuration(head.active);
        if !configuration.is_some_and(|(_, behind)| behind.is_empty()) {
            return Err(unreadable());
        }
        let answer = Answer {
            changed: head.flags.0 & HeadFlags::CHANGED != 0,
            unhandled: head.flags.0 & HeadFlags::HANDLED == 0,
            made,
            mark: None,
            stuck: head.flags.0 & HeadFlags::STUCK != 0,
            status: status(head.status),
            run: entry.run,
            seq: head.seq,
            version: Arc::clone(&entry.version),
            configuration: head.active.into(),
        };
        entry.tokens.get_or_insert_default().keep(Asked::of_token(token), answer);
        Ok(())
    }
}

/// The instance of a record.
fn restored(version: &Version, told: &Told<'_>, run: &mut Run) -> Result<Instance, Damaged> {
    let snapshot = told.snapshot.unwrap_or_default();
    run.step.engine.clear();
    let restored = Instance::from_bytes(&version.machine, snapshot, Millis(0), &mut run.step.engine);
    run.step.engine.clear();
    restored.map_err(|error| damaged(format!("{}/{}: {error}", told.machine, told.key)))
}

fn status(status: record::Status) -> Status {
    match status {
        record::Status::Active => Status::Active,
        record::Status::Done => Status::Done,
        record::Status::Error => Status::Error,
        record::Status::Stopped => Status::Stopped,
    }
}
