//! Frames between daemons, and the instances that move in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_protocol::peer::frame::PeerFrame;
use statemesh_shard::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    peer_frame(bytes);
    fuzzing::moving(bytes);
});

/// A frame that can be read is written as it was.
fn peer_frame(bytes: &[u8]) {
    if let Some(frame) = PeerFrame::decode(bytes) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(PeerFrame::decode(&again), Some(frame));
    }
}
