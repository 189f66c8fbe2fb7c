//! Writes inputs to begin with for the targets of what travels:
//! `cargo run --example wire_seeds --manifest-path fuzz/Cargo.toml` from the checkout's root.

use std::path::Path;
use std::time::Instant;

use statemesh_fuzz::wire;
use statemesh_mesh::membership::{Config, Input, Membership, Output};
use statemesh_protocol::identity::{Identity, MemberName, Ports};
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::PeerMessage;
use statemesh_protocol::peer::hello::{Hello, PROTOCOL_VERSION};
use statemesh_protocol::peer::ownership::{OwnershipMessage, Purpose};

fn main() {
    zmtp();
    requests();
    peers();
    gossip();
    dns();
}

fn keep(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join(name), bytes))
        .expect("a writable corpus");
}

/// In pieces of three bytes.
fn stream(parts: &[&[u8]]) -> Vec<u8> {
    [&[2][..], &parts.concat()].concat()
}

fn command(name: &str, body: &[u8]) -> Vec<u8> {
    [&[4, (1 + name.len() + body.len()) as u8, name.len() as u8][..], name.as_bytes(), body].concat()
}

fn zmtp() {
    let (null, curve, ready) = (wire::greeting("NULL"), wire::greeting("CURVE"), wire::ready("DEALER"));
    let message: &[u8] = b"\x00\x02{}";
    let parts: &[u8] = b"\x01\x00\x01\x01a\x00\x02{}";
    let long = [&[2, 0, 0, 0, 0, 0, 0, 1, 0][..], &[b'x'; 256]].concat();
    keep("greeting", "null", stream(&[&null, &ready, message]));
    keep("greeting", "curve", stream(&[&curve, &command("HELLO", &[1; 194])]));
    keep("greeting", "version-2", stream(&[b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05\0\0"]));
    keep("greeting", "version-1", stream(&[b"\x01\0\x05\0hello"]));
    keep("handshake", "ready-and-messages", stream(&[&ready, message, parts]));
    keep("handshake", "error", stream(&[&command("ERROR", b"\x04none")]));
    keep("handshake", "another-socket", stream(&[&wire::ready("PUB"), message]));
    keep("curve", "hello", stream(&[&command("HELLO", &[&[1, 0][..], &[0; 192]].concat())]));
    keep("curve", "ready-without-keys", stream(&[&ready, message]));
    keep("frames", "messages", stream(&[message, parts, &long]));
    keep("frames", "ping", stream(&[&command("PING", b"\x00\x0actx"), message]));
    keep("frames", "two-to-the-48", stream(&[message, b"\x02\0\x01\0\0\0\0\0\0"]));
    keep("frames", "over-the-limit", stream(&[&[2, 0, 0, 0, 0, 0, 0, 4, 0], &[0; 1024], message]));
    keep("subscriptions", "messages", stream(&[b"\x00\x06\x01order", b"\x00\x06\x00order"]));
    keep("subscriptions", "commands", stream(&[&command("SUBSCRIBE", b"order/"), &command("CANCEL", b"order/")]));
}

fn requests() {
    let send = r#"{"op":"send","id":1,"machine":"order","key":"4é","event":{"a":[1,{}],"type":"PAY"},"dedup":"t"}"#;
    keep("envelope", "send.json", send);
    keep("envelope", "batch.json", format!("[{send},{{\"op\":\"ping\",\"timing\":true,\"forward\":false}}]"));
    keep("envelope", "define.json", r#"{"op":"define","definition":{"id":"pay","states":{}},"options":{}}"#);
    keep("envelope", "page.json", r#"{"op":"instances","machine":"pay","limit":3,"after":"k","id":[]}"#);
    keep("envelope", "tell.msgpack", b"\x84\xa2op\xa4tell\xa7machine\xa5order\xa3key\xa11\xa5event\x81\xa4type\xa3PAY");
    keep("envelope", "batch.msgpack", b"\x92\x81\xa2op\xa4ping\x82\xa2id\x07\xa2op\xa7members");
}

fn name(text: &str) -> MemberName {
    MemberName::new(text).expect("a name")
}

fn identity(text: &str, last: u8) -> Identity {
    Identity::new(name(text), 1, [10, 0, 0, last].into(), Ports::default())
}

fn peers() {
    let set: PartitionSet = (0..64).collect();
    let said = [
        OwnershipMessage::Query { id: 7, purpose: Purpose::Claim, set: set.clone() },
        OwnershipMessage::Offer { number: 9, side: 3, set: set.clone() },
        OwnershipMessage::Serving { set },
        OwnershipMessage::NotHere { set: [3].into_iter().collect() },
    ];
    for (number, message) in said.into_iter().enumerate() {
        let bytes = PeerMessage::Ownership { view: 1, message }.encode().expect("a message");
        keep("peer_messages", &format!("ownership-{number}"), &bytes);
        keep("peer_frames", &format!("control-{number}"), [&[5][..], &bytes].concat());
    }
    let hello = Hello {
        version: PROTOCOL_VERSION,
        mesh: "mesh".into(),
        partitions: 1024,
        identity: identity("two", 2),
        definitions: 0,
    };
    let bytes = hello.encode().expect("a greeting");
    keep("greetings", "hello", &bytes);
    keep("peer_frames", "hello", [&[1, 0][..], &bytes].concat());
    keep("peer_frames", "forward", [&[3][..], &[0; 11], b"{\"op\":\"ping\"}"].concat());
    keep("peer_frames", "move", [&[6, 1, 0, 1, 0, 0, 0, 0][..], &record()].concat());
    keep("peer_frames", "record", record());
    keep("peer_frames", "history", history());
}

/// An instance that moves, as `daemon/node/src/transfer.rs` writes it.
fn record() -> Vec<u8> {
    let mut record = vec![7; 32];
    for field in [&b"order"[..], b"42", b"snapshot", &history()] {
        record.extend_from_slice(&(field.len() as u32).to_le_bytes());
        record.extend_from_slice(field);
    }
    record
}

fn history() -> Vec<u8> {
    let mut history = 1u32.to_le_bytes().to_vec();
    history.extend_from_slice(&3u64.to_le_bytes());
    history.extend_from_slice(&1_000i64.to_le_bytes());
    for field in [&b"GO"[..], &[3]] {
        history.extend_from_slice(&(field.len() as u32).to_le_bytes());
        history.extend_from_slice(field);
    }
    history
}

/// What a member says that joins, probes and leaves, each datagram with its length in front.
fn gossip() {
    let now = Instant::now();
    let mut member = Membership::new(identity("two", 2), Config::default(), 2, now);
    let mut said = Vec::new();
    let inputs = [Input::Join { seeds: vec![([10, 0, 0, 1], 7403).into()] }, Input::Tick, Input::Leave, Input::Goodbye];
    for (number, input) in inputs.into_iter().enumerate() {
        member.handle(input, now);
        while let Some(output) = member.poll() {
            if let Output::Send { bytes, .. } = output
                && let Ok(len) = u8::try_from(bytes.len())
            {
                let datagram = [&[len][..], &bytes].concat();
                keep("gossip", &format!("said-{number}"), &datagram);
                said.extend(datagram);
            }
        }
    }
    keep("gossip", "all", said);
}

fn dns() {
    let header = |answers: u8| [0, 1, 0x84, 0, 0, 0, 0, answers, 0, 0, 0, 0];
    let a: &[u8] = b"\x03one\x04mesh\0\0\x01\0\x01\0\0\0\x05\0\x04\x0a\0\0\x02";
    let srv: &[u8] = b"\x04mesh\0\0\x21\0\x01\0\0\0\x05\0\x10\0\0\0\0\x1c\xeb\x03one\x04mesh\0";
    keep("dns", "address", [&header(1)[..], a].concat());
    keep("dns", "service", [&header(1)[..], srv].concat());
    keep("dns", "both", [&header(2)[..], srv, a].concat());
}
