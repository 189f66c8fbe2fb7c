//! A segment of a journal: whatever is in it, what is read back is in order and can be read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_journal::batch::{BLOCK, BatchHeader};
use statemesh_journal::recover::{Event, Recovery};
use statemesh_protocol::record::{Fields, Record};

const VOLUME: u64 = 7;

/// A batch with this payload: only the records may be wrong, the header and its sums are right.
fn batch(lsn: u64, records: u32, payload: &[u8]) -> Vec<u8> {
    let header = BatchHeader::new(VOLUME, lsn, lsn - 1, 1, records, payload);
    let mut bytes = [&header.encode()[..], payload].concat();
    bytes.resize(header.extent() as usize, 0);
    bytes
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let mut segment = vec![0; BLOCK as usize];
    if kind & 1 == 1 {
        segment.extend_from_slice(&batch(1, u32::from(kind >> 1), rest));
        segment.extend_from_slice(&batch(2, 0, b""));
    } else {
        segment.extend_from_slice(rest);
    }
    let mut next = 1;
    let mut recovery = Recovery::new(VOLUME, 1);
    let mut found = |event: Event<'_>| match event {
        Event::Lost(lsns) => {
            assert!(lsns.start == next && lsns.end > next);
            next = lsns.end;
        }
        Event::Batch(header, payload) => {
            assert_eq!(header.lsn, next);
            next += 1;
            let mut fields = Fields::new(payload);
            for _ in 0..header.records {
                assert!(Record::read(&mut fields).is_ok());
            }
            assert!(fields.is_empty());
        }
    };
    if recovery.segment(1, &segment, &mut found).is_ok() {
        let recovered = recovery.finish(0, &mut found);
        assert!(recovered.start.next_lsn >= next);
    }
});
