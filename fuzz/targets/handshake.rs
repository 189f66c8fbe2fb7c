//! What follows a good greeting, without security (ZMTP's NULL).

#![no_main]

use libfuzzer_sys::fuzz_target;
use omq_proto::SocketType;
use statemesh_fuzz::wire;
use statemesh_transport::curve::Security;

fuzz_target!(|bytes: &[u8]| {
    wire::whole_and_in_pieces(SocketType::Router, &Security::None, &wire::greeting("NULL"), bytes);
});
