//! A volume as version 1 wrote it, kept in `tests/corpus/v1`: it is read for ever, and as long as 1 is the newest format, what is
//! written today is the same to the byte. A later format gets a folder of its own beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // It is a test.

use std::path::{Path, PathBuf};

use statemesh_journal::born::{Born, Founder};
use statemesh_journal::checkpoint::{self, CheckpointWriter};
use statemesh_journal::disk::Disk;
use statemesh_journal::journal::{Config, Input, Journal};
use statemesh_journal::recover::{Event, Recovered};
use statemesh_journal::segments::Segments;
use statemesh_journal::storage::{self, Storage};
use statemesh_journal::testing::SimDisk;
use statemesh_journal::volume::{self, Opened, Who};
use statemesh_protocol::place::{StoredPlace, StoredTier};
use statemesh_protocol::record::{
    Acknowledged, BlobRef, Conflict, Consumer, ContextKey, Effect, Fields, Head, HeadFlags, Items, KeptToken, Kind,
    MessageMark, NewSection, Numbered, Part, PartWriter, Past, Received, Record, RecordHead, Sent, Status, StoredImage,
    Task, TaskChange, Timer, Token, Value, Vote, Voter,
};
use statemesh_protocol::run::RunId;

const WHO: Who<'static> = Who { mesh: "shop", member: "a", partitions: 16, shards: 64 };
const VOLUME: u64 = 0x0123_4567_89ab_cdef;
const PLACE: StoredPlace = StoredPlace { tier: StoredTier::Disk, partition: 3 };
const FILES: [&str; 5] =
    ["volume.id", "born", "journal/0000000000000001.seg", "checkpoint/0003-0000000000000002.img", "record"];

fn config() -> Config {
    Config { segment_bytes: 4 * 4_096, ahead: 1, ..Config::default() }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/v1")
}

fn kept(path: &str) -> Vec<u8> {
    let path = folder().join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn head(status: Status, seq: u64) -> Part<'static> {
    Part::Head(Head { status, flags: HeadFlags(HeadFlags::CHANGED | HeadFlags::HANDLED), seq, active: &[2] })
}

const TIMER: Timer<'static> = Timer { id: "pay", due: 90_000, fires: b"due" };
const VOTER: Voter<'static> = Voter { name: "a", volume: VOLUME.to_le_bytes(), generation: 1, flags: 1 };

fn every_part(parts: &mut PartWriter<'_>) {
    let definition = Numbered { number: 0, new: Some([0xd; 32]) };
    let queue = Numbered { number: 0, new: Some("mail") };
    let past = Past { seq: 1, at: 60_000, event: Numbered { number: 0, new: None }, reason: 1, head: &[0, 1] };
    let kept_token = KeptToken {
        token: [1; 16],
        request: [2; 8],
        run: RunId(1),
        seq: 1,
        flags: HeadFlags(1),
        definition: Numbered { number: 0, new: None },
        active: &[2],
    };
    parts.part(&Part::Machine("order")).part(&Part::Key("42")).part(&Part::Definition(definition));
    parts.part(&Part::Run(RunId(7))).part(&head(Status::Active, 300));
    let total = ContextKey { key: Numbered { number: 0, new: Some("total") }, value: Value(b"\x2a") };
    parts.list(&Items::Context(&[total])).part(&Part::WholeContext(Value(b"\x81\xa5total\x2a")));
    parts.list(&Items::Timers(&[TIMER])).part(&Part::Auxiliary(b"queued"));
    parts.list(&Items::Children(&[])).part(&Part::Event(Numbered { number: 0, new: Some("PAY") }));
    parts.part(&Part::Journal(Value(b"\xc0"))).part(&Part::Token(Token { token: [1; 16], request: [2; 8] }));
    parts.list(&Items::Change(1, &[Effect { kind: "mail", parameters: Value(b"\x80") }]));
    parts.part(&Part::Task(Task { ordinal: 1, change: TaskChange::Open, queue, due: 5, value: Value(b"\xa1x") }));
    parts.part(&Part::Sent(Sent { machine: "stock", key: "9", number: 4, event: Value(b"\xa4TAKE") }));
    parts.part(&Part::Received(Received { from: PLACE, number: 8 }));
    parts.part(&Part::Acknowledged(Acknowledged { to: PLACE, number: 4, code: 0 }));
    parts.list(&Items::Inbox(&[Value(b"\x01")]));
    parts.part(&Part::Blob(BlobRef { number: 1, length: 70_000, crc: [1, 2, 3, 4] })).part(&Part::Tier(1));
    parts.list(&Items::Configuration(&[VOTER]));
    parts.part(&Part::Vote(Vote { term: 2, name: "a", volume: VOTER.volume, generation: 1 }));
    parts.part(&Part::Mark(17)).part(&Part::Digest([9; 32]));
    parts.part(&Part::Consumer(Consumer { name: "audit", index: 12 }));
    parts.part(&Part::Conflict(Conflict { reason: 1, lost_from: 3, run: RunId(4) })).part(&Part::Lost(RunId(5)));
    parts.list(&Items::History(&[past])).list(&Items::Tokens(&[kept_token])).part(&Part::KeptUntil(6));
}

fn record(index: u64, kind: Kind, parts: impl FnOnce(&mut PartWriter<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = RecordHead { place: PLACE, index, term: 0, at: 60_000 + index, kind, key_hash: 0xfeed };
    head.write(&mut bytes, parts);
    bytes
}

/// The volume, as it is written today.
fn written() -> SimDisk {
    let disk = SimDisk::new(1);
    let Ok(Opened::Blank(blank)) = volume::open(&disk, &WHO) else { panic!("it is blank") };
    let mut volume = volume::create(&disk, blank, &WHO, VOLUME).expect("no faults");
    let founders = vec![Founder { name: "a".to_owned(), volume: VOLUME, zone: "z1".to_owned() }];
    let born = Born { mesh: "shop".to_owned(), birth: 5, partitions: 16, at: 59_000, founders };
    volume::bear(&disk, &mut volume, born).expect("no faults");
    let mut segments = Segments::new(disk.clone(), &config());
    let start = segments.recover(VOLUME, 1, 0, &mut |_| {}).expect("an empty journal").start;
    let mut journal = Journal::new(config(), start);
    let step = record(2, Kind::Step, |parts| {
        parts.part(&head(Status::Done, 2));
    });
    let records = [record(1, Kind::Create, every_part), step];
    for (now, input) in [(60_001, Some(&records[0])), (60_002, Some(&records[1])), (60_012, None)] {
        journal.handle(input.map_or(Input::Time, |record| Input::Records(record)), now).expect("records");
        while let Some(output) = journal.poll() {
            if let Some(done) = segments.execute(output, journal.in_flight()) {
                journal.handle(done, now).expect("no records");
            }
        }
    }
    checkpoint(&disk).expect("no faults");
    let file = disk.create("record").expect("no faults");
    disk.write_all_at(&file, 0, &records[0]).expect("no faults");
    disk
}

fn checkpoint(disk: &SimDisk) -> Result<(), checkpoint::CheckpointError> {
    let mark = MessageMark { place: PLACE, number: 4 };
    let section = NewSection {
        place: PLACE,
        term: 0,
        vote: None,
        configuration: &[],
        index: 1,
        at: 60_001,
        replay_from: 2,
        definitions: &[[0xd; 32]],
        context_keys: &["total"],
        events: &["PAY"],
        queues: &["mail"],
        sent: &[mark],
        received: &[mark],
        consumers: &[Consumer { name: "audit", index: 12 }],
    };
    let mut writer = CheckpointWriter::begin(disk, VOLUME, 3, 2)?;
    writer.section(&section)?;
    writer.image(&StoredImage::new(1, 60_001, 90_000, 0xfeed), every_part)?;
    writer.finish(1, 3, 60_013).map(|_| ())
}

#[test]
fn what_version_1_wrote_is_read() {
    // A copy: a start counts.
    let disk = SimDisk::new(1);
    for path in FILES {
        let file = disk.create(path).expect("no faults");
        disk.write_all_at(&file, 0, &kept(path)).expect("no faults");
    }
    let Ok(Opened::Volume(volume)) = volume::open(&disk, &WHO) else { panic!("a volume") };
    assert_eq!((volume.id.volume, volume.id.boots), (VOLUME, 2));
    assert_eq!(volume.born.map(|born| (born.birth, born.founders.len())), Some((5, 1)));
    let newest = checkpoint::newest(&disk, VOLUME, 3, &[2], |path, wrong| panic!("{path}: {wrong}"));
    let newest = newest.expect("no later format").expect("a checkpoint");
    newest.sections(|head, images| {
        assert_eq!((head.place, head.index, head.queues.iter().next()), (PLACE, 1, Some("mail")));
        assert_eq!(images.map(|image| image.parts.iter().count()).collect::<Vec<_>>(), [31]);
    });
    let (kinds, recovered) = read(&disk, newest.head.covered);
    assert_eq!(kinds, [(1, Kind::Create, 31), (2, Kind::Step, 1)]);
    assert_eq!((recovered.start.next_lsn, recovered.lost.len(), recovered.mesh_time), (4, 0, 60_012));
    let bytes = kept("record");
    assert!(Record::read(&mut Fields::new(&bytes)).is_ok());
}

fn read<S: Storage + Clone>(storage: &S, covered: u64) -> (Vec<(u64, Kind, usize)>, Recovered) {
    let mut kinds = Vec::new();
    let recovered = Segments::new(storage.clone(), &config()).recover(VOLUME, 1, covered, &mut |event| {
        let Event::Batch(_, payload) = event else { panic!("{event:?}") };
        let mut fields = Fields::new(payload);
        while let Ok(record) = Record::read(&mut fields) {
            kinds.push((record.head.index, record.head.kind, record.parts.iter().count()));
        }
    });
    (kinds, recovered.expect("a journal"))
}

#[test]
fn what_is_written_today_is_what_version_1_wrote() {
    let disk = written();
    for path in FILES {
        let bytes = storage::read(&disk, path, 1 << 20).expect("a file");
        assert!(bytes == kept(path), "{path} is written in another way than version 1 did");
    }
}

/// Makes the corpus. It was run once, and is kept for the format to come.
#[test]
#[ignore = "it makes the files that the others compare with"]
fn make_the_corpus() {
    let made = written();
    let disk = Disk::new(&folder()).expect("a folder");
    for path in FILES {
        if let Some((below, _)) = path.split_once('/') {
            disk.make_folder(below).expect("a folder");
        }
        let bytes = storage::read(&made, path, 1 << 20).expect("a file");
        storage::replace(&disk, path, &bytes).expect("a file");
    }
}
