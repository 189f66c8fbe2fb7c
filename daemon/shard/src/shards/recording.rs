//! Records of what durable instances did: one for each request, timer or removal that left something, made while the shard is claimed, with
//! the next index of its place. It has the instance as it stands now, never an event to be run again
//! (`docs/reference/formats.md`).

use statemesh_engine::{Millis, Status};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::place::{Mark, Place, StoredPlace, StoredTier, Tier};
use statemesh_protocol::record::{self, Head, HeadFlags, Kind, Numbered, Part, PartWriter, RecordHead};
use statemesh_protocol::run::RunId;

use super::ops::{At, Done, Failed, failed};
use super::{Run, State};
use crate::dedup::Asked;
use crate::instance::Entry;

/// After so many milliseconds a timer is looked at again that came up while nothing could be recorded.
const POSTPONED_MS: u64 = 100;

/// How far a partition's place on the disk has come.
#[derive(Debug, Default)]
pub(super) struct OnDisk {
    /// Index of its last record.
    pub(super) index: u64,
    /// Mesh time of that record, in milliseconds.
    pub(super) at: u64,
    /// Why nothing of it is served.
    pub(super) damage: Option<Box<str>>,
}

/// Where an instance stood: its life and its transitions in that.
pub(super) type Standing = Option<(RunId, u64)>;

/// What a record is to say beside where the instance stands.
pub(super) struct News {
    pub(super) kind: Kind,
    /// Where the instance stood in the record before.
    pub(super) before: Standing,
    pub(super) asked: Option<Asked>,
    pub(super) changed: bool,
    pub(super) handled: bool,
}

impl State {
    /// Whether what this machine's instances do is recorded.
    pub(super) fn is_durable(&self, machine: &str) -> bool {
        self.daemon.log.is_some() && self.daemon.machines.table().tier(machine) == Tier::Disk
    }

    /// Whether what this instance does is recorded.
    pub(super) fn is_recorded(&self, number: u32) -> bool {
        self.daemon.log.is_some() && self.entries.get(number).is_some_and(|entry| entry.version.tier == Tier::Disk)
    }

    /// The last record of a place: what is true of it now is durable once that is.
    pub(super) fn last_record(&self, partition: u16) -> Option<Mark> {
        let index = self.part(partition)?.on_disk.index;
        (index > 0).then_some(Mark { place: Place::disk(partition), index })
    }

    /// Refuses what concerns a place that is not as it was acknowledged, or a disk to which nothing can be written any more.
    pub(super) fn check_place(&self, partition: u16) -> Result<(), Box<Failed>> {
        if let Some(damage) = self.part(partition).and_then(|part| part.on_disk.damage.as_deref()) {
            let hint = "restore the volume; the daemon's log names all such places";
            return Err(failed(
                ErrorCode::StorageDamaged,
                format!("partition {partition} on the disk: {damage}"),
                hint,
            ));
        }
        match self.daemon.log.as_ref().and_then(|log| log.refuses()) {
            Some(ErrorCode::StorageFailed) => {
                let message = "the volume of this daemon failed".to_owned();
                Err(failed(ErrorCode::StorageFailed, message, "send it again once the daemon is back"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what would have to be recorded where nothing can be.
    pub(super) fn check_room(&self) -> Result<(), Box<Failed>> {
        let Some(code) = self.daemon.log.as_ref().and_then(|log| log.refuses()) else { return Ok(()) };
        let is_full = self.daemon.log.as_ref().is_some_and(|log| log.is_full());
        let (message, hint) = match code {
            ErrorCode::StorageFailed => ("the volume of this daemon failed", "send it again once the daemon is back"),
            _ if is_full => (
                "the volume of this daemon has no room for new events",
                "its log says which bound: enlarge the volume or remove what is not the daemon's, or raise journal_bytes and restart it; \
                 then send it again",
            ),
            _ => ("the volume of this daemon is slower than events come", "send it again later, or send fewer"),
        };
        Err(failed(code, message.to_owned(), hint))
    }

    /// Where the instance of a key stands.
    pub(super) fn standing_of(&self, at: At<'_>) -> Standing {
        let number = self.find(at.partition, at.hash, &at.request.machine, &at.request.key)?;
        self.standing(number)
    }

    /// Where an instance stands.
    pub(super) fn standing(&self, number: u32) -> Standing {
        self.entries.get(number).map(|entry| (entry.run, entry.instance.seq()))
    }

    /// Records what a request did.
    pub(super) fn record_request(
        &mut self,
        at: At<'_>,
        done: &Done,
        before: Standing,
        asked: Option<Asked>,
        run: &mut Run,
    ) {
        let kind = match done {
            Done { removed: true, .. } => Kind::Remove,
            Done { made: true, .. } => Kind::Create,
            // Nothing took the event: there is nothing but the answer to be remembered.
            Done { changed: false, unhandled: true, .. } if asked.is_some() => Kind::Note,
            Done { changed: false, unhandled: true, .. } => return,
            _ => Kind::Step,
        };
        let news = News { kind, before, asked, changed: done.changed, handled: !done.unhandled };
        self.record((at.partition, at.hash), done.number, &news, run);
    }

    /// Records what happened to an instance by itself.
    pub(super) fn record_own(&mut self, number: u32, kind: Kind, before: Standing, run: &mut Run) {
        let Some(entry) = self.entries.get(number) else { return };
        let place = entry.place(self.partition_count());
        let news = News { kind, before, asked: None, changed: true, handled: true };
        self.record(place, number, &news, run);
    }

    fn record(&mut self, (partition, key_hash): (u16, u64), number: u32, news: &News, run: &mut Run) {
        let Self { daemon, partitions, entries, .. } = self;
        let Some(log) = &daemon.log else { return };
        let Some(part) = partitions.get_mut(usize::from(partition) / daemon.shards) else { return };
        let Some(entry) = entries.get(number) else { return };
        let on_disk = &mut part.on_disk;
        on_disk.index += 1;
        on_disk.at = on_disk.at.max(run.now);
        let place = StoredPlace { tier: StoredTier::Disk, partition };
        let head = RecordHead { place, index: on_disk.index, term: 0, at: on_disk.at, kind: news.kind, key_hash };
        let mut bytes = Vec::new();
        head.write(&mut bytes, |parts| write_parts(parts, entry, news));
        log.push(partition, on_disk.index, bytes);
        run.recorded = true;
    }

    /// Whether an instance may do what it does by itself. One whose record would find no room is looked at again later.
    pub(super) fn may_act(&mut self, number: u32, run: &mut Run) -> bool {
        run.step.is_durable = self.is_recorded(number);
        if !run.step.is_durable || self.check_room().is_ok() {
            return true;
        }
        let armed = self.timers.insert(Millis(run.now + POSTPONED_MS), number);
        if let Some(entry) = self.entries.get_mut(number) {
            entry.armed = Some(armed);
        }
        false
    }
}

fn write_parts(parts: &mut PartWriter<'_>, entry: &Entry, news: &News) {
    let Entry { key, run, version, instance, history, .. } = entry;
    let machine = &version.machine;
    let (mut active, mut bytes) = (Vec::new(), Vec::new());
    parts.part(&Part::Machine(&version.name)).part(&Part::Key(key));
    if news.kind == Kind::Create {
        parts.part(&Part::Definition(Numbered::unnumbered(version.hash))).part(&Part::Run(*run));
    }
    machine.write_configuration(instance, &mut active);
    parts.part(&Part::Head(Head {
        status: status(instance.status()),
        flags: flags(entry, news),
        seq: instance.seq(),
        active: &active,
    }));
    if matches!(news.kind, Kind::Create | Kind::Step) {
        // At the time 0, so that what is left of a timer is when it is due.
        instance.to_bytes(machine, Millis(0), &mut bytes);
        parts.part(&Part::Snapshot(&bytes));
        bytes.clear();
        let known = news.before.filter(|(life, _)| life == run).map(|(_, seq)| seq);
        history.encode_since(machine, known, &mut bytes);
        parts.part(&Part::Transitions(&bytes));
    }
    if let Some(asked) = news.asked {
        parts.part(&Part::Token(asked.token()));
    }
}

fn flags(entry: &Entry, news: &News) -> HeadFlags {
    let set = [
        (news.changed, HeadFlags::CHANGED),
        (news.handled, HeadFlags::HANDLED),
        (entry.instance.is_stuck(), HeadFlags::STUCK),
    ];
    HeadFlags(set.iter().filter(|(is_set, _)| *is_set).fold(0, |flags, (_, bit)| flags | bit))
}

fn status(status: Status) -> record::Status {
    match status {
        Status::Active => record::Status::Active,
        Status::Done => record::Status::Done,
        Status::Error => record::Status::Error,
        Status::Stopped => record::Status::Stopped,
    }
}
