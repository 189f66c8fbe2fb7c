//! Every part and every kind is read as it was written; what was changed, cut or lies is refused.

use super::*;
use crate::run::RunId;

const PLACE: StoredPlace = StoredPlace { tier: StoredTier::Disk, partition: 300 };

fn head(kind: Kind) -> RecordHead {
    RecordHead { place: PLACE, index: 4_711, term: 0, at: 29_000_000_000, kind, key_hash: 0xdead_beef }
}

fn name(number: u32, new: Option<&str>) -> Name<'_> {
    Name { number, new }
}

fn parts() -> Vec<Part<'static>> {
    let definition = Definition { number: 3, new: Some([7; 32]) };
    vec![
        Part::Machine("order"),
        Part::Key("42/é"),
        Part::Definition(definition),
        Part::Definition(Definition { number: u32::MAX, new: None }),
        Part::Run(RunId(u64::MAX)),
        Part::Head(Head { status: Status::Done, flags: HeadFlags(3), seq: 300, active: &[1, 2] }),
        Part::WholeContext(Value(b"\x81\xa1n\x01")),
        Part::Auxiliary(b"queued"),
        Part::Event(name(0, Some("PAY"))),
        Part::Event(name(9, None)),
        Part::Journal(Value(b"\xc0")),
        Part::Token(Token { token: [1; 16], request: [2; 8] }),
        Part::Task(Task { ordinal: 1, change: TaskChange::Close, queue: name(2, None), due: 5, value: Value(b"\x05") }),
        Part::Sent(Sent { machine: "a", key: "", number: 9, event: Value(b"\xa1x") }),
        Part::Received(Received { from: PLACE, number: 8 }),
        Part::Acknowledged(Acknowledged { to: PLACE, number: 8, code: 0 }),
        Part::Blob(BlobRef { number: 1, length: 70_000, crc: [1, 2, 3, 4] }),
        Part::Tier(1),
        Part::Vote(Vote { term: 4, name: "a", volume: [5; 8], generation: 1 }),
        Part::Mark(17),
        Part::Digest([9; 32]),
        Part::Consumer(Consumer { name: "c", index: 12 }),
        Part::Conflict(Conflict { reason: 2, lost_from: 3, run: RunId(4) }),
        Part::Lost(RunId(5)),
        Part::KeptUntil(6),
    ]
}

fn lists(write: &mut PartWriter<'_>) {
    let timer = Timer { id: "t", due: 77, fires: b"f" };
    let kept = KeptToken {
        token: [1; 16],
        request: [2; 8],
        run: RunId(1),
        seq: 2,
        flags: HeadFlags(1),
        definition: Definition { number: 0, new: None },
        active: &[3],
    };
    let past = Past { seq: 1, at: 2, event: name(0, None), reason: 3, head: b"h" };
    let voter = Voter { name: "a", volume: [5; 8], generation: 1, flags: 1 };
    write
        .list(&Items::Context(&[ContextKey { key: name(1, Some("total")), value: Value(b"\x07") }]))
        .list(&Items::Timers(&[timer, timer]))
        .list(&Items::TimerCommands(&[TimerCommand::Cancel("t"), TimerCommand::Set(timer)]))
        .list(&Items::Children(&[Child { id: "c", snapshot: b"s" }]))
        .list(&Items::Change(4, &[Effect { kind: "mail", parameters: Value(b"\x80") }]))
        .list(&Items::Inbox(&[Value(b"\x01"), Value(b"\x90")]))
        .list(&Items::Configuration(&[voter]))
        .list(&Items::History(&[past]))
        .list(&Items::Tokens(&[kept, kept]));
}

/// A record with everything that there is.
fn full() -> Vec<u8> {
    let mut bytes = Vec::new();
    head(Kind::Create).write(&mut bytes, |write| {
        parts().iter().for_each(|part| {
            write.part(part);
        });
        lists(write);
    });
    bytes
}

fn read(bytes: &[u8]) -> Result<Record<'_>, Unreadable> {
    Record::read(&mut Fields::new(bytes))
}

fn written(record: &Record<'_>) -> Vec<u8> {
    let mut again = Vec::new();
    record.head.write(&mut again, |write| {
        record.parts.iter().for_each(|part| {
            write.part(&part);
        });
    });
    again
}

#[test]
fn every_part_is_read_as_it_was_written() {
    let bytes = full();
    let record = read(&bytes).unwrap();
    assert_eq!(record.head, head(Kind::Create));
    let seen: Vec<Part<'_>> = record.parts.iter().collect();
    assert_eq!(&seen[..parts().len()], &parts()[..]);
    assert_eq!(seen.len(), parts().len() + 9);
    let numbers: std::collections::BTreeSet<u8> = seen.iter().map(Part::number).collect();
    assert_eq!(numbers, (1..=31).collect());
    assert_eq!(written(&record), bytes);
}

#[test]
fn lists_give_their_items_in_order() {
    let bytes = full();
    let record = read(&bytes).unwrap();
    let timers = record.parts.iter().find_map(|part| match part {
        Part::Timers(Timers::Commands(commands)) => Some(commands.iter().collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(timers.unwrap()[0], TimerCommand::Cancel("t"));
    let effects = record.parts.iter().find_map(|part| match part {
        Part::Change(change) => Some(change.effects.iter().map(|effect| effect.kind).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(effects.unwrap(), ["mail"]);
}

#[test]
fn every_kind_and_both_tiers_are_read_as_they_were_written() {
    for number in (1..=13).chain([128, 255]) {
        let kind = Kind::from_number(number).unwrap();
        assert_eq!(kind.number(), number);
        let replicated = StoredPlace { tier: StoredTier::Replicated, partition: 0 };
        for head in [head(kind), RecordHead { place: replicated, term: 9, ..head(kind) }] {
            let mut bytes = Vec::new();
            head.write(&mut bytes, |_| {});
            assert_eq!(read(&bytes).unwrap().head, head);
        }
    }
}

#[test]
fn a_record_that_is_cut_or_has_a_bit_flipped_is_refused() {
    let bytes = full();
    for cut in 0..bytes.len() {
        assert!(read(&bytes[..cut]).is_err(), "{cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut other = bytes.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&other).is_err(), "{bit}");
    }
}

/// Bytes of which the checksum is right and nothing else need be.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = frame::begin(&mut bytes);
    bytes.extend_from_slice(body);
    frame::end(&mut bytes, start);
    bytes
}

#[test]
fn no_body_makes_reading_panic_and_what_is_read_is_written_as_it_was() {
    use rand::rngs::StdRng;
    use rand::{Rng, RngExt, SeedableRng};
    let whole = full();
    let body = &whole[6..];
    let mut random = StdRng::seed_from_u64(20_261_201);
    let [mut taken, mut refused] = [0; 2];
    for _ in 0..100_000 {
        let mut other = body[..random.random_range(0..=body.len())].to_vec();
        for _ in 0..random.random_range(0..4) {
            if !other.is_empty() {
                let at = random.random_range(0..other.len());
                other[at] = if random.random() { random.random() } else { (random.next_u32() % 33) as u8 };
            }
        }
        let bytes = framed(&other);
        match read(&bytes) {
            Ok(record) => {
                let has_unknown = matches!(record.head.kind, Kind::Other(_)) || written(&record).len() < bytes.len();
                assert!(has_unknown || written(&record) == bytes);
                taken += 1;
            }
            Err(_) => refused += 1,
        }
        let _ = (StoredImage::read(&mut Fields::new(&bytes)), SectionReader::open(&bytes).map(|_| ()));
    }
    assert!(taken > 1_000 && refused > 1_000, "{taken} taken, {refused} refused");
}

#[test]
fn what_a_later_version_added_is_passed_over_from_128_on_and_refused_below() {
    let with = |kind: u8, part: u8| {
        let mut bytes = Vec::new();
        let start = frame::begin(&mut bytes);
        bytes.extend_from_slice(&[1 << 2 | 1, 1, 0, kind]);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&[part, 2, 0xff, 0xff]);
        Part::Mark(5).write(&mut bytes);
        frame::end(&mut bytes, start);
        bytes
    };
    let bytes = with(2, 128);
    let record = read(&bytes).unwrap();
    assert_eq!(record.parts.iter().collect::<Vec<_>>(), [Part::Mark(5)]);
    assert_eq!(read(&with(2, 100)), Err(Unreadable::Later { what: "part", number: 100 }));
    assert_eq!(read(&with(14, 128)), Err(Unreadable::Later { what: "kind of record", number: 14 }));
    assert!(read(&with(0, 128)).is_err());
    assert_eq!(read(&with(200, 100)).unwrap().head.kind, Kind::Other(200));
}

#[test]
fn a_part_that_goes_on_behind_its_body_or_has_what_it_cannot_have_is_refused() {
    for part in
        [&[24, 2, 5, 0][..], &[5, 4, 9, 0, 0, 0], &[5, 4, 0, 32, 0, 0], &[1, 2, 1, 0xff], &[6, 1, 200], &[8, 1, 2]]
    {
        let mut bytes = Vec::new();
        let start = frame::begin(&mut bytes);
        bytes.extend_from_slice(&[1 << 2 | 1, 1, 0, 2]);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(part);
        frame::end(&mut bytes, start);
        assert!(read(&bytes).is_err(), "{part:?}");
    }
}

#[test]
fn a_flat_step_takes_34_bytes_and_a_token_26_more() {
    let mut bytes = Vec::new();
    let step = |token: bool, bytes: &mut Vec<u8>| {
        bytes.clear();
        head(Kind::Step).write(bytes, |write| {
            write.part(&Part::Event(name(1, None)));
            let at = Head { status: Status::Active, flags: HeadFlags(3), seq: 300, active: &[1] };
            write.part(&Part::Head(at));
            if token {
                write.part(&Part::Token(Token { token: [1; 16], request: [2; 8] }));
            }
        });
        bytes.len()
    };
    assert_eq!([step(false, &mut bytes), step(true, &mut bytes)], [34, 60]);
}

#[test]
fn a_section_is_read_as_it_was_written_and_to_its_end_only_if_all_of_it_is_right() {
    let vote = Vote { term: 1, name: "b", volume: [1; 8], generation: 2 };
    let mark = MessageMark { place: PLACE, number: 3 };
    let new = NewSection {
        place: PLACE,
        term: 1,
        vote: Some(vote),
        configuration: &[],
        index: 50,
        at: 6,
        replay_from: 7,
        definitions: &[[1; 32], [2; 32]],
        context_keys: &["a", "b"],
        events: &["PAY"],
        queues: &[],
        sent: &[mark],
        received: &[],
        consumers: &[Consumer { name: "c", index: 1 }],
    };
    let mut bytes = Vec::new();
    let mut writer = SectionWriter::begin(&new, &mut bytes);
    for number in 0..3 {
        let image = StoredImage::new(number, number, 0, number);
        writer.image(&image, &mut bytes, |write| {
            write.part(&Part::Key("k")).part(&Part::Run(RunId(number)));
        });
    }
    writer.end(&mut bytes);
    assert_eq!(images(&bytes), Ok(3));
    let (head, _) = SectionReader::open(&bytes).unwrap();
    assert_eq!((head.vote, head.sent.iter().next(), head.index), (Some(vote), Some(mark), 50));
    assert_eq!(head.context_keys.iter().collect::<Vec<_>>(), ["a", "b"]);
    for cut in 0..bytes.len() {
        assert!(images(&bytes[..cut]).is_err(), "{cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut other = bytes.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(images(&other).is_err(), "{bit}");
    }
}

fn images(bytes: &[u8]) -> Result<usize, Unreadable> {
    let (_, mut reader) = SectionReader::open(bytes)?;
    let mut count = 0;
    while reader.next_image()?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[test]
fn the_page_names_kinds_and_parts_as_the_code_does() {
    let page = include_str!("../../../../docs/reference/formats.md");
    let said = |number: u8, name: &str| {
        let spaced = name.chars().flat_map(|c| c.is_uppercase().then_some(' ').into_iter().chain(c.to_lowercase()));
        let row = format!("| {number} |{} |", spaced.collect::<String>());
        assert!(page.contains(&row), "{row}");
    };
    for kind in Kind::KNOWN {
        said(kind.number(), &format!("{kind:?}"));
    }
    let bytes = full();
    for part in read(&bytes).unwrap().parts.iter().filter(|part| part.number() < 29) {
        let text = format!("{part:?}");
        said(part.number(), text.split('(').next().unwrap());
    }
}
