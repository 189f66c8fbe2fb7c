//! Greetings and refusals of other daemons.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr};

use statemesh_protocol::identity::{Identity, MemberName, Ports};
use statemesh_protocol::peer::hello::{Hello, PROTOCOL_VERSION, Refusal};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(refusal) = Refusal::decode(bytes) {
        let _ = refusal.to_string();
    }
    let (Ok(theirs), Ok(name)) = (Hello::decode(bytes), MemberName::new("one")) else { return };
    let identity = Identity::new(name, 1, IpAddr::V4(Ipv4Addr::LOCALHOST), Ports::default());
    let ours = Hello { version: PROTOCOL_VERSION, mesh: "mesh".into(), partitions: 1024, identity, definitions: 0 };
    if ours.check(&theirs, None).is_ok() {
        assert_eq!((&theirs.mesh, theirs.partitions, theirs.version), (&ours.mesh, 1024, PROTOCOL_VERSION));
    }
});
