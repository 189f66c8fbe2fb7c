//! Frames between daemons, and the instances that move in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_node::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::peer_frame(bytes);
    fuzzing::moving(bytes);
});
