//! A frame from a client, in both encodings: what is refused is refused in words that the client can read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_expr::{Limits, Payload};
use statemesh_protocol::reply::{Encoding, write_error};
use statemesh_protocol::request::{Op, Refusal, Request, split_batch};
use statemesh_protocol::rights::{Grant, Right};

const BATCH: usize = 16;

fn payload(encoding: Encoding, bytes: &[u8]) -> Payload<'_> {
    match encoding {
        Encoding::Json => Payload::Json(bytes),
        Encoding::MsgPack => Payload::MsgPack(bytes),
    }
}

fn refused(encoding: Encoding, refusal: &Refusal<'_>) {
    let mut reply = Vec::new();
    write_error(&mut reply, encoding, refusal.id, refusal.code, &refusal.message, refusal.hint);
    assert!(refusal.message.len() < 1_000, "{} bytes of message", refusal.message.len());
    assert!(payload(encoding, &reply).validate(&Limits::default()).is_ok(), "{:?}", String::from_utf8_lossy(&reply));
}

fn request(bytes: &[u8], encoding: Encoding) {
    let request = match Request::parse(bytes, encoding) {
        Ok(request) => request,
        Err(refusal) => return refused(encoding, &refusal),
    };
    // It is given back as it came.
    assert!(request.id.is_none_or(|id| payload(encoding, id).validate(&Limits::default()).is_ok()), "{request:?}");
    let limited = Grant {
        name: "client".into(),
        machines: vec!["order/".into(), "pay".into()],
        rights: vec![Right::Read, Right::Define],
        events_per_second: None,
    };
    // A ping is about no machine, whatever it names; a definition is judged by the ids in it.
    let by_its_machine = !matches!(request.op, Op::Ping | Op::Define) && !request.machine.is_empty();
    if by_its_machine && limited.refuses(&request).is_none() {
        assert!(*request.machine == *"order" || request.machine.starts_with("pay"), "{}", request.machine);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let encoding = Encoding::of(bytes);
    match split_batch(bytes, encoding, BATCH) {
        Ok(None) => request(bytes, encoding),
        Ok(Some(requests)) => {
            assert!(requests.len() <= BATCH);
            // As the daemon does: an element of the other encoding is no map.
            requests.into_iter().filter(|raw| Encoding::of(raw) == encoding).for_each(|raw| request(raw, encoding));
        }
        Err(refusal) => refused(encoding, &refusal),
    }
});
