//! What writing costs here: `cargo run --release -p statemesh-journal --example write -- FOLDER SECONDS`. For 1, 16 and 256 events in flight
//! (each is made when one that was in flight is durable) it prints records, syncs, bytes an event, and how long a batch takes;
//! then how long it takes to read all of it back.
#![allow(clippy::disallowed_methods)] // It measures.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use statemesh_journal::disk::Disk;
use statemesh_journal::journal::{Config, Journal, Position};
use statemesh_journal::recover::Event;
use statemesh_journal::runner::Source;
use statemesh_journal::segments::Segments;
use statemesh_journal::thread::JournalThread;
use statemesh_protocol::place::{StoredPlace, StoredTier};
use statemesh_protocol::record::{Head, HeadFlags, Kind, Numbered, Part, RecordHead, Status};

/// A flat step, as a small machine leaves it.
fn record(index: u64, out: &mut Vec<u8>) {
    let place = StoredPlace { tier: StoredTier::Disk, partition: (index % 1_024) as u16 };
    let head = RecordHead { place, index, term: 0, at: 29_000_000_000, kind: Kind::Step, key_hash: index };
    head.write(out, |parts| {
        parts.part(&Part::Event(Numbered { number: 1, new: None }));
        parts.part(&Part::Head(Head { status: Status::Active, flags: HeadFlags(3), seq: index, active: &[1] }));
    });
}

#[derive(Default)]
struct Figures {
    records: u64,
    bytes: u64,
    batches: Vec<Duration>,
}

/// So many clients, each of which waits for its event.
struct Clients {
    count: u64,
    waiting: bool,
    index: u64,
    began: Instant,
    until: Instant,
    figures: Arc<Mutex<Figures>>,
}

impl Source for Clients {
    fn take(&mut self, _: usize, into: &mut Vec<u8>) {
        if self.waiting || Instant::now() > self.until {
            return;
        }
        self.began = Instant::now();
        for _ in 0..self.count {
            self.index += 1;
            record(self.index, into);
        }
        if let Ok(mut figures) = self.figures.lock() {
            figures.bytes += into.len() as u64;
        }
    }

    fn taken(&mut self, _: u64) {
        self.waiting = true;
    }

    fn departs(&mut self, _: Position, _: u64) {}

    fn no_room(&mut self) {}

    fn durable(&mut self, _: u64) {
        // An empty batch has no place.
        if let Ok(mut figures) =
            self.figures.lock().map_err(|_| ()).and_then(|all| self.waiting.then_some(all).ok_or(()))
        {
            figures.records += self.count;
            figures.batches.push(self.began.elapsed());
        }
        self.waiting = false;
    }

    fn full(&mut self, _: bool) {}

    fn failed(&mut self) {
        eprintln!("the disk failed");
    }
}

fn run(folder: &Path, count: u64, time: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let disk = Disk::new(folder)?;
    let config = Config::default();
    let recovered = Segments::new(disk.clone(), &config).recover(7, 1, 0, &mut |_| {})?;
    let figures = Arc::new(Mutex::new(Figures::default()));
    let began = Instant::now();
    // The segments ahead are made in the first second.
    let until = began + Duration::from_secs(2) + time;
    let clients = Clients { count, waiting: false, index: 0, began, until, figures: figures.clone() };
    let journal = Journal::new(config, recovered.start);
    let clock = move || began.elapsed().as_millis() as u64;
    let thread = JournalThread::start(disk, config, journal, clients, clock)?;
    std::thread::sleep(Duration::from_secs(2));
    if let Ok(mut figures) = figures.lock() {
        *figures = Figures::default();
    }
    let from = Instant::now();
    std::thread::sleep(time);
    let taken = from.elapsed().as_secs_f64();
    let Figures { records, bytes, mut batches } =
        figures.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default();
    thread.stop();
    batches.sort_unstable();
    let at = |share: f64| batches.get((batches.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "{count:>4} in flight: {:>8.0} records/s, {:>6.0} syncs/s, {:.1} B a record, a batch p50 {:?} p99 {:?}",
        records as f64 / taken,
        batches.len() as f64 / taken,
        bytes as f64 / records.max(1) as f64,
        at(0.5),
        at(0.99),
    );
    read(folder, &config)
}

/// Reads all of it back, every record checked.
fn read(folder: &Path, config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let from = Instant::now();
    let [mut batches, mut bytes] = [0; 2];
    Segments::new(Disk::new(folder)?, config).recover(7, 1, 0, &mut |event| {
        if let Event::Batch(_, payload) = event {
            batches += 1;
            bytes += payload.len();
        }
    })?;
    println!("     read back: {batches} batches, {:.1} MB of records in {:?}", bytes as f64 / 1e6, from.elapsed());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok()).unwrap_or(3);
    for count in [1, 16, 256] {
        let folder = Path::new(&folder).join(format!("in-flight-{count}"));
        run(&folder, count, Duration::from_secs(seconds))?;
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}
