//! Control messages of other daemons: what is read is written as it was meant.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_protocol::peer::PeerMessage;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = PeerMessage::decode(bytes) else { return };
    let Ok(again) = message.encode() else { panic!("what was read cannot be written: {message:?}") };
    assert_eq!(PeerMessage::decode(&again).ok(), Some(message));
});
