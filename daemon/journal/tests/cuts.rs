//! Journals that were cut or have a bit flipped, at every place where that could make a difference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::single_range_in_vec_init)] // It is a test.

use std::ops::Range;

use statemesh_journal::batch::{BATCH_HEADER, BLOCK, BatchHeader};
use statemesh_journal::journal::{Config, Input, Journal, Output, Position, Start};
use statemesh_journal::recover::{Event, JournalFault, Recovered, Recovery};
use statemesh_journal::segment::{self, FIRST_BATCH};
use statemesh_journal::segments::{Segments, prepare};
use statemesh_journal::storage::{self, Storage};
use statemesh_journal::testing::{Faults, SimDisk};
use statemesh_protocol::place::{StoredPlace, StoredTier};
use statemesh_protocol::record::{Kind, Part, RecordHead};

const VOLUME: u64 = 0x766f_6c75_6d65;
const BLOCK_BYTES: usize = BLOCK as usize;

fn record(number: u64, padding: usize) -> Vec<u8> {
    let place = StoredPlace { tier: StoredTier::Disk, partition: 1 };
    let head = RecordHead { place, index: number, term: 0, at: 1_000 + number, kind: Kind::Step, key_hash: number };
    let mut bytes = Vec::new();
    head.write(&mut bytes, |parts| {
        parts.part(&Part::Auxiliary(&vec![number as u8; padding]));
    });
    bytes
}

/// A batch as it stands on disk: one record, and zeros to the end of its blocks.
fn batch(volume: u64, lsn: u64, payload: &[u8]) -> Vec<u8> {
    let records = u32::from(!payload.is_empty());
    let header = BatchHeader::new(volume, lsn, lsn - 1, 1_000 + lsn, records, payload);
    let mut bytes = [&header.encode()[..], payload].concat();
    bytes.resize(header.extent() as usize, 0);
    bytes
}

/// A segment with batches from this lsn on; one in forty takes two blocks, and every tenth is empty.
struct Written {
    bytes: Vec<u8>,
    first_lsn: u64,
    /// Of each batch: where it begins, where its last byte that matters is, and its payload.
    batches: Vec<(Range<usize>, Vec<u8>)>,
}

fn written(first_lsn: u64, count: u64) -> Written {
    let mut written = Written { bytes: vec![0; BLOCK_BYTES], first_lsn, batches: Vec::new() };
    for lsn in first_lsn..first_lsn + count {
        let payload = match lsn {
            lsn if lsn % 10 == 0 => Vec::new(),
            lsn if lsn % 40 == 7 => record(lsn, 4_100),
            lsn => record(lsn, (lsn % 50) as usize),
        };
        let from = written.bytes.len();
        written.bytes.extend_from_slice(&batch(VOLUME, lsn, &payload));
        written.batches.push((from..from + BATCH_HEADER + payload.len(), payload));
    }
    written
}

/// What is read back of segments. Batches come as their lsn and payload.
fn read(segments: &[&[u8]], from: u64, covered: u64) -> (Vec<(u64, Vec<u8>)>, Recovered) {
    let mut batches = Vec::new();
    let mut take = |event: Event<'_>| {
        if let Event::Batch(header, payload) = event {
            batches.push((header.lsn, payload.to_vec()));
        }
    };
    let mut recovery = Recovery::new(VOLUME, from);
    for (number, bytes) in segments.iter().enumerate() {
        recovery.segment(number as u64 + 1, bytes, &mut take).expect("no later format");
    }
    let recovered = recovery.finish(covered, &mut take);
    (batches, recovered)
}

/// The first so many batches are there, nothing else, and nothing is said to be lost.
fn expect_prefix(segment: &[u8], all: &Written, count: usize, what: &str) {
    let (batches, recovered) = read(&[segment], all.first_lsn, 0);
    let expected: Vec<_> =
        (all.first_lsn..).zip(&all.batches).take(count).map(|(lsn, (_, payload))| (lsn, payload.clone())).collect();
    assert_eq!(batches.len(), count, "{what}");
    assert_eq!(batches, expected, "{what}");
    assert_eq!((recovered.start.next_lsn, &recovered.lost[..]), (all.first_lsn + count as u64, &[][..]), "{what}");
}

/// Every byte of every batch that is not padding, and one of the padding: a cut within zeros that are followed by zeros is the same file.
#[test]
fn a_journal_of_200_batches_cut_at_every_byte_is_its_whole_batches_before_the_cut() {
    let all = written(301, 200);
    let former = written(1, 250);
    let mut cuts = 0;
    for (number, (bytes, _)) in all.batches.iter().enumerate() {
        let mut zeroed = all.bytes.clone();
        zeroed[bytes.end..].fill(0);
        let mut overwritten = former.bytes.clone();
        overwritten[..bytes.end].copy_from_slice(&all.bytes[..bytes.end]);
        // From the back, so that each cut takes one byte more.
        for cut in bytes.clone().rev() {
            let count = number;
            // A payload's last bytes may be what the cut leaves there anyway.
            let is_whole = |segment: &[u8]| segment[bytes.clone()] == all.bytes[bytes.clone()];
            zeroed[cut] = 0;
            expect_prefix(&zeroed, &all, count + usize::from(is_whole(&zeroed)), "the rest is zeros");
            overwritten[cut] = former.bytes[cut];
            expect_prefix(
                &overwritten,
                &all,
                count + usize::from(is_whole(&overwritten)),
                "the rest is of a former life",
            );
            expect_prefix(&all.bytes[..cut], &all, count, "the file ends");
            cuts += 3;
        }
        expect_prefix(&all.bytes[..bytes.end], &all, number + 1, "the file ends behind a batch");
    }
    println!("{cuts} cuts");
}

/// Sectors of the last batch reach the disk in any order: each subset of its parts, with the former content elsewhere.
#[test]
fn a_torn_last_batch_is_there_as_a_whole_or_not_at_all() {
    let all = written(1, 13);
    let last = vec![7; 4 * BLOCK_BYTES - 100];
    let torn = batch(VOLUME, 14, &record(14, last.len()));
    for subset in 0..1_u32 << (torn.len() / 1_024) {
        let mut segment = all.bytes.clone();
        segment.extend((0..torn.len()).map(|byte| if subset >> (byte / 1_024) & 1 == 1 { torn[byte] } else { 0 }));
        let is_whole = segment[all.bytes.len()..] == torn;
        let (batches, recovered) = read(&[&segment], 1, 0);
        assert_eq!((batches.len(), recovered.lost.is_empty()), (13 + usize::from(is_whole), true), "{subset:b}");
    }
}

#[test]
fn a_bit_that_flips_is_damage_or_cuts_the_last_batch_and_never_gives_what_was_not_written() {
    let all = written(1, 15);
    let last = all.batches.len() as u64;
    let mut bytes = all.bytes.clone();
    let [mut said, mut cut, mut harmless] = [0; 3];
    for bit in 0..bytes.len() * 8 {
        let hit = all.batches.iter().position(|(range, _)| range.contains(&(bit / 8))).map(|hit| hit as u64 + 1);
        // Padding is not read: a few of its bits will do.
        if hit.is_none() && bit / 8 >= 64 && bit % 101 != 0 {
            continue;
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (batches, recovered) = read(&[&bytes], 1, 0);
        let expected = (1..).zip(&all.batches).filter(|(lsn, _)| Some(*lsn) != hit);
        assert!(
            batches.iter().map(|(lsn, payload)| (*lsn, payload)).eq(expected.map(|(lsn, (_, payload))| (lsn, payload)))
        );
        match hit {
            Some(lsn) if lsn < last => {
                assert_eq!(recovered.lost, [lsn..lsn + 1], "bit {bit}");
                said += 1;
            }
            Some(_) => {
                assert_eq!((&recovered.lost[..], recovered.start.next_lsn), (&[][..], last), "bit {bit}");
                cut += 1;
            }
            None => {
                assert_eq!((&recovered.lost[..], recovered.start.next_lsn), (&[][..], last + 1), "bit {bit}");
                harmless += 1;
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    println!("{said} said, {cut} cut, {harmless} in headers of segments and padding");
}

#[test]
fn what_a_checkpoint_has_is_not_missed_and_what_it_covers_is() {
    let all = written(5, 10);
    // The first batches are not wanted any more: neither their absence nor their damage matters.
    let mut rotten = all.bytes.clone();
    rotten[all.batches[1].0.start + 8] ^= 1;
    let (batches, recovered) = read(&[&rotten], 8, 10);
    assert_eq!((batches.first().map(|(lsn, _)| *lsn), batches.len(), recovered.lost.len()), (Some(8), 7, 0));
    // They are wanted.
    assert_eq!(read(&[&rotten], 5, 10).1.lost, [6..7]);
    assert_eq!(read(&[&all.bytes], 1, 10).1.lost, [1..5]);
    // It was written when batch 20 was durable: the disk has forgotten some.
    let recovered = read(&[&all.bytes], 8, 20).1;
    assert_eq!((recovered.lost, recovered.start.next_lsn, recovered.start.at), (vec![15..21], 21, None));
    // An empty journal behind a checkpoint goes on behind it.
    let recovered = read(&[], 21, 20).1;
    assert_eq!((recovered.lost.len(), recovered.start.next_lsn), (0, 21));
}

#[test]
fn a_segment_that_is_gone_is_damage_and_one_of_another_volume_is_no_segment() {
    let [first, second, third] = [written(1, 5), written(6, 5), written(11, 5)];
    let (batches, recovered) = read(&[&first.bytes, &second.bytes, &third.bytes], 1, 0);
    assert_eq!((batches.len(), recovered.lost.len(), recovered.start.closed), (15, 0, vec![(1, 5), (2, 10)]));
    assert_eq!(read(&[&first.bytes, &third.bytes], 1, 0).1.lost, [6..11]);
    let mut other = Vec::from([0; BLOCK_BYTES]);
    other.extend_from_slice(&batch(VOLUME + 1, 6, &record(6, 1)));
    let (batches, recovered) = read(&[&first.bytes, &other], 1, 0);
    assert_eq!((batches.len(), recovered.lost.len(), recovered.start.next_lsn), (5, 0, 6));
}

#[test]
fn a_batch_that_has_other_records_than_it_says_is_damage() {
    for records in [0, 2, u32::MAX] {
        let payload = record(1, 1);
        let header = BatchHeader { flags: 0, ..BatchHeader::new(VOLUME, 1, 0, 1, records, &payload) };
        let mut bytes = [&[0; BLOCK_BYTES][..], &header.encode(), &payload].concat();
        bytes.resize(2 * BLOCK_BYTES, 0);
        bytes.extend_from_slice(&batch(VOLUME, 2, &record(2, 1)));
        let (batches, recovered) = read(&[&bytes], 1, 0);
        assert_eq!((batches.len(), recovered.lost), (1, vec![1..2]), "{records}");
    }
}

#[test]
fn a_sealed_batch_is_refused_with_its_key() {
    let mut header = BatchHeader::new(VOLUME, 1, 0, 1, 1, &record(1, 1));
    header.key_id = 0xabc;
    let bytes = [&[0; BLOCK_BYTES][..], &header.encode(), &record(1, 1)].concat();
    let refused = Recovery::new(VOLUME, 1).segment(1, &bytes, &mut |_| {});
    assert_eq!(refused, Err(JournalFault::Sealed { lsn: 1, key_id: 0xabc }));
}

#[test]
fn a_record_of_a_later_kind_is_refused_and_not_taken_for_damage() {
    // A record's kind stands behind crc, length, place, index and time, which take a byte, a byte, a byte and two here.
    let mut later = record(1, 1);
    later[9] = 99;
    let crc = crc32c::crc32c(&later[4..]);
    later[..4].copy_from_slice(&crc.to_le_bytes());
    let bytes = [&[0; BLOCK_BYTES][..], &batch(VOLUME, 1, &later)].concat();
    let refused = Recovery::new(VOLUME, 1).segment(1, &bytes, &mut |_| {});
    assert!(matches!(refused, Err(JournalFault::Later { segment: 1, .. })), "{refused:?}");
}

fn config() -> Config {
    Config { segment_bytes: 16 * BLOCK, batch_bytes: 8_192, ahead: 1, ..Config::default() }
}

/// Writes these records, each in a batch of its own.
fn write_on(disk: &SimDisk, segments: &mut Segments<SimDisk>, start: Start, records: &[Vec<u8>]) {
    let mut journal = Journal::new(config(), start);
    for record in records {
        journal.handle(Input::Records(record), 5_000).expect("a record");
        while let Some(output) = journal.poll() {
            assert_ne!(output, Output::Stop);
            if let Some(input) = segments.execute(output, journal.in_flight()) {
                journal.handle(input, 5_000).expect("no records");
            }
        }
        assert!(journal.is_settled() && !disk.is_off());
    }
}

fn recover(disk: &SimDisk) -> (Segments<SimDisk>, Vec<u64>, Recovered) {
    let mut segments = Segments::new(disk.clone(), &config());
    let mut lsns = Vec::new();
    let recovered = segments.recover(VOLUME, 1, 0, &mut |event| {
        if let Event::Batch(header, _) = event {
            lsns.push(header.lsn);
        }
    });
    (segments, lsns, recovered.expect("a journal"))
}

/// The last batch is read as torn for a bit that flips on the way from the disk, and another one is written in its place. What was not
/// read must not come back when the disk reads well again.
#[test]
fn a_batch_that_was_cut_does_not_come_back_under_the_lsn_of_another() {
    // The last of the first segment, and what replaces it goes into the second; and the other way round.
    for (last, other) in [(5_000, 20_000), (5_000, 10), (40_000, 10)] {
        let mut cut = 0;
        for seed in 0..200 {
            let disk = SimDisk::new(seed);
            let (mut segments, _, recovered) = recover(&disk);
            let mut records: Vec<_> = (1..=6).map(|number| record(number, 5_000)).collect();
            records.push(record(7, last));
            write_on(&disk, &mut segments, Start { volume: VOLUME, ..recovered.start }, &records);
            disk.set_faults(Faults { flip_on_read: 1_000, ..Faults::default() });
            let (mut segments, lsns, recovered) = recover(&disk);
            disk.set_faults(Faults::default());
            if !recovered.lost.is_empty() || lsns.len() == records.len() {
                continue;
            }
            cut += 1;
            let others = [record(107, other), record(108, 10)];
            write_on(&disk, &mut segments, recovered.start, &others);
            let mut payloads = Vec::new();
            let mut segments = Segments::new(disk.clone(), &config());
            segments
                .recover(VOLUME, 1, 0, &mut |event| {
                    if let Event::Batch(_, payload) = event {
                        payloads.push(payload.to_vec());
                    }
                })
                .expect("a journal");
            records.truncate(lsns.len());
            records.extend(others);
            assert_eq!(payloads, records, "seed {seed}");
        }
        assert!(cut > 0, "no bit of the last batch flipped");
    }
}

/// A crash at each byte of the last batch, and the journal goes on behind what was there.
#[test]
fn a_journal_that_was_cut_goes_on_and_is_read_back_with_what_came_then() {
    let whole = written(1, 4);
    let (last, _) = whole.batches.last().expect("some");
    for cut in last.clone() {
        let disk = SimDisk::new(1);
        disk.make_folder(segment::FOLDER).expect("no faults");
        let file = disk.create(&segment::path(1)).expect("no faults");
        let mut bytes = whole.bytes[..cut].to_vec();
        bytes.resize(config().segment_bytes as usize, 0);
        disk.write_all_at(&file, 0, &bytes).expect("no faults");
        disk.sync(&file).and_then(|()| disk.sync_folder(segment::FOLDER)).expect("no faults");
        let (mut segments, lsns, recovered) = recover(&disk);
        assert_eq!((&lsns[..], recovered.lost.len()), (&[1, 2, 3][..], 0), "{cut}");
        assert_eq!(recovered.start.at, Some(Position { segment: 1, offset: FIRST_BATCH + 3 * BLOCK }));
        write_on(&disk, &mut segments, recovered.start, &[record(4, 1), record(5, 9_000)]);
        let (_, lsns, recovered) = recover(&disk);
        assert_eq!((&lsns[..], recovered.lost.len()), (&[1, 2, 3, 4, 5][..], 0), "{cut}");
        assert!(storage::read(&disk, &segment::path(1), config().segment_bytes).is_ok());
    }
}

/// The process ends within each operation that makes a segment, of zeros or of another one; the next one counts on what it finds, and then
/// the power goes.
#[test]
fn a_segment_that_was_found_once_is_there_for_good() {
    let mut found = 0;
    for seed in 0..40 {
        for (operations, from) in (0..12).flat_map(|operations| [(operations, None), (operations, Some(1))]) {
            let disk = SimDisk::new(seed);
            disk.make_folder(segment::FOLDER).expect("no faults");
            let made = prepare(&disk, 1, None, config().segment_bytes);
            assert!(matches!(made, Input::Prepared(1)));
            disk.cut_after(operations);
            prepare(&disk, 2, from, config().segment_bytes);
            disk.kill();
            let ahead = recover(&disk).2.start.ahead;
            disk.power_on();
            assert_eq!(recover(&disk).2.start.ahead, ahead, "seed {seed}, after {operations}");
            found += usize::from(ahead.contains(&2));
        }
    }
    assert!(found > 0);
}
