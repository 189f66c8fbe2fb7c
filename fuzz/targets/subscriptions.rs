//! What a subscriber sends, as messages (ZMTP 3.0) and as commands (3.1).

#![no_main]

use libfuzzer_sys::fuzz_target;
use omq_proto::SocketType;
use statemesh_fuzz::wire::{self, Seen};
use statemesh_transport::curve::Security;

fuzz_target!(|bytes: &[u8]| {
    let prefix = [wire::greeting("NULL"), wire::ready("SUB")].concat();
    let seen = wire::whole_and_in_pieces(SocketType::XPub, &Security::None, &prefix, bytes);
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::Message(_))), "{seen:?}");
});
