//! Records, images and heads of sections, as bodies: a checksum that is wrong would keep every input out.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_protocol::record::{Fields, PartWriter, Parts, Record, SectionReader, StoredImage, put_varint};

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    put_varint(body.len() as u64, &mut frame);
    frame.extend_from_slice(body);
    let crc = crc32c::crc32c(&frame[4..]);
    frame[..4].copy_from_slice(&crc.to_le_bytes());
    frame
}

/// Writes parts from what was read of them; those that are not known here are left out, and then nothing can be compared.
fn again(parts: Parts<'_>, write: &mut PartWriter<'_>) {
    parts.iter().for_each(|part| {
        write.part(&part);
    });
}

fuzz_target!(|body: &[u8]| {
    let frame = framed(body);
    let mut fields = Fields::new(&frame);
    if let Ok(record) = Record::read(&mut fields) {
        assert!(fields.is_empty());
        assert_eq!(Record::len_of_first(&frame), Ok(frame.len()));
        let mut copy = Vec::new();
        record.head.write(&mut copy, |write| {
            write.copied(record.parts);
        });
        assert_eq!(copy, frame);
        let mut known = Vec::new();
        record.head.write(&mut known, |write| again(record.parts, write));
        assert!(known.len() <= frame.len());
        assert!(Record::read(&mut Fields::new(&known)).is_ok_and(|known| known.parts.iter().eq(record.parts.iter())));
    }
    if let Ok(Some(image)) = StoredImage::read(&mut Fields::new(&frame)) {
        let mut copy = Vec::new();
        image.write(&mut copy, |write| {
            write.copied(image.parts);
        });
        assert_eq!(copy, frame);
    }
    if let Ok((head, mut section)) = SectionReader::open(&frame) {
        let items = head.definitions.iter().count() + head.sent.iter().count() + head.consumers.iter().count();
        assert!(items <= frame.len());
        assert!(section.next_image().is_err(), "a section without an end");
    }
});
