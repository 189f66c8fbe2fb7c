//! Frames after the handshake: messages within their bounds, PINGs, commands, lengths that lie.

#![no_main]

use libfuzzer_sys::fuzz_target;
use omq_proto::SocketType;
use statemesh_fuzz::wire::{self, Seen};
use statemesh_transport::curve::Security;

fuzz_target!(|bytes: &[u8]| {
    let prefix = [wire::greeting("NULL"), wire::ready("DEALER")].concat();
    let seen = wire::whole_and_in_pieces(SocketType::Router, &Security::None, &prefix, bytes);
    assert!(seen.is_empty() || seen.first() == Some(&Seen::Ready), "{seen:?}");
});
