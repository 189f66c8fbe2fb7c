//! The journal by itself: a driver that does all at once, or not at all.

use statemesh_protocol::place::{StoredPlace, StoredTier};
use statemesh_protocol::record::{Kind, Part, RecordHead};

use super::*;

fn record(padding: usize) -> Vec<u8> {
    let place = StoredPlace { tier: StoredTier::Disk, partition: 1 };
    let mut bytes = Vec::new();
    RecordHead { place, index: 1, term: 0, at: 1, kind: Kind::Step, key_hash: 1 }.write(&mut bytes, |parts| {
        parts.part(&Part::Auxiliary(&vec![0; padding]));
    });
    bytes
}

fn config() -> Config {
    Config {
        segment_bytes: 64 * 1024,
        batch_bytes: 8_000,
        alone_bytes: 5_000,
        gather_bytes: 60_000,
        ahead: 2,
        ..Config::default()
    }
}

fn start() -> Start {
    Start { volume: 7, next_lsn: 1, ahead: vec![1, 2], ..Start::default() }
}

fn journal() -> Journal {
    Journal::new(config(), start())
}

fn outputs(journal: &mut Journal) -> Vec<Output> {
    std::iter::from_fn(|| journal.poll()).collect()
}

/// Completes the batch in flight. Gives what followed.
fn complete(journal: &mut Journal, now: u64) -> Vec<Output> {
    journal.handle(Input::Wrote, now).unwrap();
    journal.handle(Input::Synced, now).unwrap();
    outputs(journal)
}

fn at(segment: u64, offset: u64) -> Position {
    Position { segment, offset }
}

#[test]
fn what_comes_while_a_batch_is_in_flight_shares_the_next_one() {
    let mut journal = journal();
    journal.handle(Input::Records(&record(10)), 1).unwrap();
    assert_eq!(outputs(&mut journal), [Output::Prepare { segment: 3, from: None }, Output::Write(at(1, 0))]);
    let in_flight = journal.in_flight().to_vec();
    assert_eq!(SegmentHeader::decode(&in_flight), Ok(SegmentHeader { volume: 7, segment: 1, first_lsn: 1 }));
    let header = BatchHeader::decode(&in_flight[FRONT..]).unwrap();
    assert_eq!((header.lsn, header.durable, header.records), (1, 0, 1));
    for _ in 0..5 {
        journal.handle(Input::Records(&record(10)), 1).unwrap();
        assert_eq!((journal.last_lsn(), outputs(&mut journal)), (2, vec![]));
    }
    let next = complete(&mut journal, 2);
    assert_eq!(next, [Output::Sync(1), Output::Durable(1), Output::Write(at(1, 8_192))]);
    let header = BatchHeader::decode(journal.in_flight()).unwrap();
    assert_eq!((header.lsn, header.durable, header.records, journal.in_flight().len()), (2, 1, 5, 4_096));
}

#[test]
fn nothing_is_durable_before_its_sync_and_a_completion_that_was_not_due_is_none() {
    let mut journal = journal();
    journal.handle(Input::Records(&record(10)), 1).unwrap();
    outputs(&mut journal);
    journal.handle(Input::Synced, 1).unwrap();
    assert_eq!((journal.durable(), outputs(&mut journal)), (0, vec![]));
    journal.handle(Input::Wrote, 1).unwrap();
    journal.handle(Input::Wrote, 1).unwrap();
    assert_eq!((journal.durable(), outputs(&mut journal)), (0, vec![Output::Sync(1)]));
    journal.handle(Input::Synced, 1).unwrap();
    assert_eq!((journal.durable(), outputs(&mut journal)), (1, vec![Output::Durable(1)]));
}

#[test]
fn an_idle_journal_writes_one_empty_batch_and_then_nothing() {
    let mut journal = journal();
    journal.handle(Input::Records(&record(10)), 100).unwrap();
    complete(&mut journal, 100);
    assert_eq!(journal.next_deadline(), Some(110));
    journal.handle(Input::Time, 109).unwrap();
    assert_eq!(outputs(&mut journal), []);
    journal.handle(Input::Time, 110).unwrap();
    assert_eq!(outputs(&mut journal), [Output::Write(at(1, 8_192))]);
    let header = BatchHeader::decode(journal.in_flight()).unwrap();
    assert_eq!((header.lsn, header.durable, header.records, header.flags), (2, 1, 0, 1));
    complete(&mut journal, 111);
    assert_eq!((journal.next_deadline(), journal.is_settled()), (None, true));
    journal.handle(Input::Time, 10_000).unwrap();
    assert_eq!(outputs(&mut journal), []);
}

#[test]
fn a_large_record_goes_alone_and_no_batch_exceeds_its_bound() {
    let mut journal = journal();
    let all = [record(10), record(10), record(6_000), record(10), record(4_500), record(4_500)].concat();
    journal.handle(Input::Records(&all), 1).unwrap();
    let mut sizes = Vec::new();
    while !journal.is_settled() {
        let bytes = journal.in_flight();
        let bytes = if sizes.is_empty() { &bytes[FRONT..] } else { bytes };
        let header = BatchHeader::decode(bytes).unwrap();
        assert!(header.payload_len <= 8_000);
        sizes.push(header.records);
        complete(&mut journal, 1);
    }
    assert_eq!(sizes, [2, 1, 2, 1]);
    assert_eq!(journal.room(), 60_000);
}

#[test]
fn records_that_are_none_or_that_no_segment_holds_are_refused_and_change_nothing() {
    let mut journal = journal();
    let mut bytes = record(10);
    bytes.extend_from_slice(&record(10)[..20]);
    assert_eq!(journal.handle(Input::Records(&bytes), 1), Err(Refused::Malformed));
    let long = record(62_000);
    assert_eq!(journal.handle(Input::Records(&long), 1), Err(Refused::TooLong(long.len())));
    assert_eq!((journal.last_lsn(), journal.room(), journal.is_settled()), (0, 60_000, true));
}

/// Writes so many batches of three blocks, and provides the segments that are asked for. Gives of which they were made.
fn fill(journal: &mut Journal, batches: u64) -> Vec<Option<u64>> {
    let mut made = Vec::new();
    for _ in 0..batches {
        journal.handle(Input::Records(&record(9_000)), 1).unwrap();
        let mut done = complete(journal, 1);
        while !done.is_empty() {
            for output in std::mem::take(&mut done) {
                if let Output::Prepare { segment, from } = output {
                    made.push(from);
                    journal.handle(Input::Prepared(segment), 1).unwrap();
                }
            }
            done = outputs(journal);
        }
    }
    made
}

#[test]
fn a_batch_that_does_not_fit_begins_the_next_segment_and_released_ones_come_again() {
    let mut journal = journal();
    fill(&mut journal, 5);
    journal.handle(Input::Records(&record(9_000)), 1).unwrap();
    // Of 64 KiB, behind the header, five batches of 12 KiB fit.
    assert!(outputs(&mut journal).contains(&Output::Write(at(2, 0))));
    assert_eq!(journal.in_flight().len(), FRONT + 3 * FRONT);
    complete(&mut journal, 1);
    journal.handle(Input::Prepared(4), 1).unwrap();
    // The first segment has batches 1 to 5.
    journal.handle(Input::Release(5), 1).unwrap();
    assert_eq!(fill(&mut journal, 5), [None]);
    journal.handle(Input::Release(6), 1).unwrap();
    assert_eq!(fill(&mut journal, 5), [Some(1)]);
}

#[test]
fn without_room_the_journal_is_full_but_what_was_taken_is_written_into_the_reserve() {
    let mut journal = journal();
    fill(&mut journal, 5);
    journal.handle(Input::Records(&record(9_000)), 1).unwrap();
    let asked = outputs(&mut journal);
    assert!(asked.iter().any(|output| matches!(output, Output::Prepare { .. })), "{asked:?}");
    journal.handle(Input::NoRoom, 1).unwrap();
    assert_eq!(outputs(&mut journal), [Output::Full(true)]);
    assert_eq!(journal.next_deadline(), Some(1_001));
    for _ in 0..5 {
        journal.handle(Input::Records(&record(9_000)), 2).unwrap();
    }
    let all = journal.last_lsn();
    while journal.durable() < all {
        assert!(!complete(&mut journal, 2).iter().any(|output| matches!(output, Output::Prepare { .. })));
    }
    journal.handle(Input::Time, 1_001).unwrap();
    let [Output::Prepare { segment, from: None }, ..] = outputs(&mut journal)[..] else { panic!("asks again") };
    journal.handle(Input::Prepared(segment), 1_002).unwrap();
    let [Output::Prepare { segment, .. }] = outputs(&mut journal)[..] else { panic!("asks for the next") };
    journal.handle(Input::Prepared(segment), 1_002).unwrap();
    assert!(outputs(&mut journal).contains(&Output::Full(false)));
}

#[test]
fn a_disk_without_room_is_asked_again_later_each_time_until_something_is_released() {
    let mut journal = Journal::new(config(), Start { closed: vec![(1, 5)], ..Start::default() });
    let (mut now, mut waited) = (1_000, Vec::new());
    for _ in 0..8 {
        assert!(outputs(&mut journal).iter().any(|output| matches!(output, Output::Prepare { .. })));
        journal.handle(Input::NoRoom, now).unwrap();
        let at = journal.next_deadline().unwrap();
        waited.push((at - now) / 1_000);
        now = at;
        journal.handle(Input::Time, now).unwrap();
    }
    assert_eq!(waited, [1, 2, 4, 8, 16, 32, 32, 32]);
    journal.handle(Input::NoRoom, now).unwrap();
    outputs(&mut journal);
    journal.handle(Input::Release(6), now).unwrap();
    assert_eq!(outputs(&mut journal), [Output::Prepare { segment: 11, from: Some(1) }]);
    journal.handle(Input::NoRoom, now).unwrap();
    assert_eq!(journal.next_deadline(), Some(now + 1_000));
}

#[test]
fn a_batch_waits_for_a_segment_if_there_is_none() {
    let mut journal = Journal::new(config(), Start { ahead: Vec::new(), ..start() });
    journal.handle(Input::Records(&record(1)), 1).unwrap();
    assert_eq!(outputs(&mut journal), [Output::Prepare { segment: 1, from: None }, Output::Full(true)]);
    journal.handle(Input::Prepared(1), 1).unwrap();
    assert_eq!(outputs(&mut journal), [Output::Prepare { segment: 2, from: None }, Output::Write(at(1, 0))]);
    journal.handle(Input::Prepared(2), 1).unwrap();
    journal.handle(Input::Prepared(3), 1).unwrap();
    assert!(outputs(&mut journal).contains(&Output::Full(false)));
}

#[test]
fn after_a_failure_nothing_becomes_durable_any_more() {
    let mut journal = journal();
    journal.handle(Input::Records(&record(1)), 1).unwrap();
    outputs(&mut journal);
    journal.handle(Input::Wrote, 1).unwrap();
    journal.handle(Input::Failed, 1).unwrap();
    assert_eq!(outputs(&mut journal), [Output::Stop]);
    journal.handle(Input::Synced, 1).unwrap();
    assert_eq!(journal.handle(Input::Records(&record(1)), 1), Err(Refused::Stopped));
    assert_eq!((journal.durable(), outputs(&mut journal)), (0, vec![]));
}
