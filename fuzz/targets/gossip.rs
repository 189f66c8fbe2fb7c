//! Datagrams: without the key none is opened; what a member says that has it cannot hurt.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use statemesh_mesh::gossip::{Key, Keyring, Mesh, RateLimit, Seal};
use statemesh_mesh::membership::{Config, Input, Membership};
use statemesh_protocol::identity::{Identity, MemberName, Ports};

/// Outputs for one datagram: a probe goes on to a few, a list goes to one.
const OUTPUTS_MAX: usize = 256;

fn identity(name: &str, last: u8) -> Option<Identity> {
    Some(Identity::new(MemberName::new(name).ok()?, 1, [10, 0, 0, last].into(), Ports::default()))
}

fn seal(session: u8) -> Option<Seal> {
    let mesh = Mesh { name: "mesh".into(), partitions: 1024 };
    let keys = Keyring::new(Key::new(&[7; 32]), Vec::new()).ok()?;
    Some(Seal::new(&mesh, keys, RateLimit::default(), [session; 16]))
}

fuzz_target!(|bytes: &[u8]| {
    let now = Instant::now();
    let from = SocketAddr::from(([10, 0, 0, 2], 7403));
    let (Some(mut ours), Some(mut theirs), Some(me)) = (seal(1), seal(2), identity("one", 1)) else { return };
    assert!(ours.open(from, bytes, now).is_err(), "a datagram without the key was opened");
    let mut membership = Membership::new(me, Config::default(), 1, now);
    // Datagrams one after another, each with its length in front.
    let mut rest = bytes;
    while let Some((len, behind)) = rest.split_first() {
        let (payload, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        let Some(datagram) = theirs.seal(payload) else { return };
        let Ok(opened) = ours.open(from, &datagram, now) else { panic!("what has the key was not opened") };
        assert_eq!(opened, payload);
        assert!(ours.open(from, &datagram, now).is_err(), "a datagram was opened twice");
        membership.handle(Input::Packet { from, bytes: &opened }, now);
        assert!(std::iter::from_fn(|| membership.poll()).take(OUTPUTS_MAX + 1).count() <= OUTPUTS_MAX);
    }
    for second in 1..20 {
        membership.handle(Input::Tick, now + Duration::from_secs(second));
        while membership.poll().is_some() {}
    }
    assert!(membership.live() <= bytes.len(), "{} members of {} bytes", membership.live(), bytes.len());
});
