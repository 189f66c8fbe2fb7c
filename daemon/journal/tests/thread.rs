//! The journal's thread over real files, with several threads that make records and wait for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // It is a test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use statemesh_journal::batch::BatchHeader;
use statemesh_journal::disk::Disk;
use statemesh_journal::journal::{Config, Journal, Position};
use statemesh_journal::recover::{Event, Recovered};
use statemesh_journal::runner::Source;
use statemesh_journal::segments::Segments;
use statemesh_journal::storage::Storage;
use statemesh_journal::testing::{Faults, SimDisk};
use statemesh_journal::thread::JournalThread;
use statemesh_journal::volume::{self, Opened, Who};
use statemesh_protocol::place::{StoredPlace, StoredTier};
use statemesh_protocol::record::{Fields, Kind, Part, Record, RecordHead};

/// Stands for the shards: what is pending, and how far the journal is.
#[derive(Default)]
struct Shards {
    state: Mutex<State>,
    changed: Condvar,
    failed: AtomicBool,
    full: AtomicBool,
    no_room: AtomicBool,
    /// The next record that is taken makes the journal's thread panic.
    panics: AtomicBool,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    /// Number of the last record that is pending, that was taken, and that is durable.
    made: u64,
    taken: u64,
    batches: Vec<(u64, u64)>,
    durable: u64,
}

struct Feed(Arc<Shards>);

impl Source for Feed {
    fn take(&mut self, _: usize, into: &mut Vec<u8>) {
        assert!(!self.0.panics.load(Ordering::SeqCst), "as the test wants it");
        let mut state = self.0.state.lock().unwrap();
        into.append(&mut state.pending);
        state.taken = state.made;
    }

    fn taken(&mut self, lsn: u64) {
        let mut state = self.0.state.lock().unwrap();
        let taken = state.taken;
        state.batches.push((lsn, taken));
    }

    fn departs(&mut self, _: Position, _: u64) {}

    fn durable(&mut self, lsn: u64) {
        let mut state = self.0.state.lock().unwrap();
        let covered = state.batches.iter().filter(|(waits, _)| *waits <= lsn).map(|(_, record)| *record).max();
        state.durable = state.durable.max(covered.unwrap_or(0));
        state.batches.retain(|(waits, _)| *waits > lsn);
        self.0.changed.notify_all();
    }

    fn no_room(&mut self) {
        self.0.no_room.store(true, Ordering::SeqCst);
    }

    fn full(&mut self, is_full: bool) {
        self.0.full.store(is_full, Ordering::SeqCst);
    }

    fn failed(&mut self) {
        let _state = self.0.state.lock().unwrap();
        self.0.failed.store(true, Ordering::SeqCst);
        self.0.changed.notify_all();
    }
}

impl Shards {
    /// Makes a record. Gives its number.
    fn make(&self, key: u64, padding: usize) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.made += 1;
        let place = StoredPlace { tier: StoredTier::Disk, partition: 1 };
        let head = RecordHead { place, index: state.made, term: 0, at: 1, kind: Kind::Step, key_hash: key };
        head.write(&mut state.pending, |parts| {
            parts.part(&Part::Auxiliary(&vec![0; padding]));
        });
        state.made
    }

    /// Waits until it is durable, or the journal fails. Gives which.
    fn wait(&self, record: u64) -> bool {
        let mut state = self.state.lock().unwrap();
        while state.durable < record && !self.failed.load(Ordering::SeqCst) {
            let (next, timeout) = self.changed.wait_timeout(state, Duration::from_secs(20)).unwrap();
            assert!(!timeout.timed_out(), "the journal sleeps");
            state = next;
        }
        state.durable >= record
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn config() -> Config {
    // No test waits for a journal to become idle.
    Config { segment_bytes: 256 * 1024, batch_bytes: 32 * 1024, idle_ms: 3_600_000, ..Config::default() }
}

/// What is read back, as indexes of records.
fn read<S: Storage + Clone>(storage: &S) -> (Vec<u64>, Recovered) {
    let mut indexes = Vec::new();
    let recovered = Segments::new(storage.clone(), &config()).recover(7, 1, 0, &mut |event| {
        let Event::Batch(_, payload) = event else { panic!("{event:?}") };
        let mut fields = Fields::new(payload);
        while !fields.is_empty() {
            indexes.push(Record::read(&mut fields).unwrap().head.index);
        }
    });
    (indexes, recovered.unwrap())
}

fn start<S>(storage: &S, shards: &Arc<Shards>) -> JournalThread
where
    S: Storage + Clone + Send + 'static,
    S::File: Send,
{
    let (_, recovered) = read(storage);
    let journal = Journal::new(config(), recovered.start);
    let began = Instant::now();
    let clock = move || began.elapsed().as_millis() as u64;
    JournalThread::start(storage.clone(), config(), journal, Feed(shards.clone()), clock).unwrap()
}

#[test]
fn what_threads_were_told_is_durable_is_read_back_and_they_shared_their_syncs() {
    let disk = Disk::new(&folder("thread")).unwrap();
    let shards = Arc::new(Shards::default());
    let thread = start(&disk, &shards);
    let told = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for key in 0..8 {
            let (handle, shards, told) = (thread.handle(), &shards, &told);
            scope.spawn(move || {
                for round in 0..60 {
                    let record = shards.make(key, if round % 20 == 0 { 70_000 } else { 40 });
                    handle.wake();
                    assert!(shards.wait(record));
                    told.fetch_max(record, Ordering::SeqCst);
                }
            });
        }
    });
    let handle = thread.handle();
    let batches = handle.durable();
    thread.stop();
    assert!(handle.is_over() && !shards.failed.load(Ordering::SeqCst));
    let (indexes, recovered) = read(&disk);
    assert_eq!((indexes, recovered.lost.len()), ((1..=480).collect(), 0));
    assert_eq!(told.load(Ordering::SeqCst), 480);
    println!("{batches} batches for 480 records");
    assert!(batches < 480);
}

#[test]
fn a_journal_that_is_stopped_writes_what_is_pending_and_goes_on_at_the_next_start() {
    let disk = Disk::new(&folder("stop")).unwrap();
    for round in 1..=5 {
        let shards = Arc::new(Shards::default());
        shards.state.lock().unwrap().made = (round - 1) * 10;
        let thread = start(&disk, &shards);
        for _ in 0..10 {
            shards.make(1, 30_000);
        }
        thread.stop();
        let (indexes, recovered) = read(&disk);
        assert_eq!(indexes, (1..=round * 10).collect::<Vec<_>>());
        assert_eq!(
            records_of_the_last(&recovered),
            0,
            "without an empty batch behind it, damage to the last one is a torn tail"
        );
    }
}

fn records_of_the_last(recovered: &Recovered) -> u32 {
    let (_, bytes) = recovered.last.as_ref().unwrap();
    BatchHeader::decode(bytes).unwrap().records
}

#[test]
fn a_journal_that_was_killed_proves_its_last_batch_at_the_next_start() {
    let disk = SimDisk::new(1);
    let shards = Arc::new(Shards::default());
    let killed = start(&disk, &shards);
    let record = shards.make(1, 10);
    killed.handle().wake();
    assert!(shards.wait(record));
    disk.kill();
    killed.stop();
    assert_eq!(records_of_the_last(&read(&disk).1), 1);
    let thread = start(&disk, &Arc::new(Shards::default()));
    let deadline = Instant::now() + Duration::from_secs(10);
    while thread.handle().durable() < 2 {
        assert!(Instant::now() < deadline, "nothing is written behind the last batch");
        std::thread::sleep(Duration::from_millis(1));
    }
    thread.stop();
    let (indexes, recovered) = read(&disk);
    assert_eq!((indexes, recovered.start.next_lsn), (vec![1], 3), "one empty batch is enough");
    assert_eq!(records_of_the_last(&recovered), 0);
}

/// A journal whose first record is durable.
fn with_a_record(disk: &SimDisk) -> (Arc<Shards>, JournalThread) {
    let shards = Arc::new(Shards::default());
    let thread = start(disk, &shards);
    let first = shards.make(1, 10);
    thread.handle().wake();
    assert!(shards.wait(first));
    (shards, thread)
}

#[test]
fn a_sync_that_fails_ends_it_and_nobody_is_told_that_anything_is_durable() {
    let disk = SimDisk::new(1);
    let (shards, thread) = with_a_record(&disk);
    disk.set_faults(Faults { failed_sync: 1_000, ..Faults::default() });
    let second = shards.make(1, 10);
    thread.handle().wake();
    assert!(!shards.wait(second));
    thread.stop();
}

#[test]
fn a_journal_whose_thread_panics_says_that_it_failed() {
    let (shards, thread) = with_a_record(&SimDisk::new(1));
    shards.panics.store(true, Ordering::SeqCst);
    let second = shards.make(1, 10);
    thread.handle().wake();
    assert!(!shards.wait(second));
    thread.stop();
}

#[test]
fn a_journal_that_is_at_work_tells_since_when_and_an_idle_one_does_not() {
    let (shards, thread) = with_a_record(&SimDisk::new(1));
    // The thread waits for the source, as it would for a disk that hangs.
    let source = shards.state.lock().unwrap();
    thread.handle().wake();
    let until = |is_at_work: bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while thread.handle().at_work_since().is_some() != is_at_work {
            assert!(Instant::now() < deadline, "{:?}", thread.handle().at_work_since());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    until(true);
    // That may be the end of the turn before.
    std::thread::sleep(Duration::from_millis(20));
    let since = thread.handle().at_work_since();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(thread.handle().at_work_since(), since);
    drop(source);
    until(false);
    thread.stop();
}

#[test]
fn a_full_disk_is_told_and_what_is_pending_is_written_all_the_same() {
    let disk = SimDisk::new(1);
    disk.set_capacity(256 * 1024 * 4 + 1_000);
    let shards = Arc::new(Shards::default());
    let thread = start(&disk, &shards);
    let mut last = shards.make(1, 10);
    thread.handle().wake();
    assert!(shards.wait(last));
    // It was full until its first segments were made.
    while shards.full.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(
        !shards.no_room.load(Ordering::SeqCst),
        "a disk with room whose first segments are not there yet is not full"
    );
    while !shards.no_room.load(Ordering::SeqCst) || !shards.full.load(Ordering::SeqCst) {
        last = shards.make(1, 20_000);
        thread.handle().wake();
        assert!(shards.wait(last));
    }
    for _ in 0..10 {
        last = shards.make(1, 20_000);
    }
    thread.handle().wake();
    assert!(shards.wait(last));
    // Checkpoints make room, as soon as a segment is full.
    while shards.full.load(Ordering::SeqCst) {
        let next = shards.make(1, 20_000);
        thread.handle().wake();
        assert!(shards.wait(next));
        thread.handle().release(thread.handle().durable() + 1);
    }
    thread.stop();
}

#[test]
fn a_volume_on_real_files_is_locked_counted_and_known_again() {
    let who = Who { mesh: "m", member: "a", partitions: 8, shards: 64 };
    let disk = Disk::new(&folder("volume")).unwrap();
    let Ok(Opened::Blank(blank)) = volume::open(&disk, &who) else { panic!("it is blank") };
    let volume = volume::create(&disk, blank, &who, 99).unwrap();
    assert_eq!(volume::open(&disk, &who).unwrap_err().code(), "storage_locked");
    drop(volume);
    let Ok(Opened::Volume(volume)) = volume::open(&disk, &who) else { panic!("it is a volume") };
    assert_eq!((volume.id.volume, volume.id.boots), (99, 2));
}
