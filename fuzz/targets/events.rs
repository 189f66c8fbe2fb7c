//! Event sequences for the machines of the catalogue.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_engine::Payload;
use statemesh_fuzz::walk::Walk;
use statemesh_fuzz::{catalogue, script};

fuzz_target!(|bytes: &[u8]| {
    let Some((letter, inputs)) = script::read(bytes) else { return };
    let Some(mut walk) = Walk::start(catalogue::machine(letter), Payload::Empty) else { return };
    inputs.for_each(|input| walk.take(&input));
});
