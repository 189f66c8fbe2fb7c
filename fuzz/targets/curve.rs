//! What follows a good greeting, with CURVE: no peer without a key gets in, nor says anything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

use omq_proto::SocketType;
use statemesh_fuzz::wire;
use statemesh_transport::curve::Security;

fuzz_target!(|bytes: &[u8]| {
    let security = Security::Server(Arc::new(wire::Shut));
    let seen = wire::whole_and_in_pieces(SocketType::Router, &security, &wire::greeting("CURVE"), bytes);
    assert!(seen.is_empty(), "{seen:?}");
});
