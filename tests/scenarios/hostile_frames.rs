//! Bytes that violate ZMTP, on every port: the connection is closed, it is counted, and other clients notice nothing.

use crate::one_daemon::alone;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::json;
use statemesh_tests::caller::Caller;
use statemesh_tests::daemon::Daemon;
use statemesh_tests::load::{Background, Load};
use statemesh_tests::raw::{Raw, frame, greeting, ready};
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, wait_for};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("a connection that violates ZMTP is closed and counted", violations).on_loopback(),
    Scenario::new("a header that announces 2^48 bytes reserves nothing", announced_lengths).on_loopback(),
    Scenario::new("a handshake that does not go on is ended by its deadline", silent_handshakes).on_loopback(),
    Scenario::new("a slow handshake and many parts are no violation", unusual_but_valid).on_loopback(),
    Scenario::new("connections beyond the limit are refused and the others go on", too_many_connections).on_loopback(),
    Scenario::new("random bytes on every port crash nothing", random_bytes).on_loopback(),
];

const SOON: Duration = Duration::from_secs(5);

fn bystander(daemon: &Daemon) -> Outcome<Background> {
    Background::start(vec![Load::on(daemon.clients(), "bystander")])
}

fn peers(daemon: &Daemon) -> SocketAddr {
    SocketAddr::from((daemon.address, 7402))
}

/// What is said instead of a greeting, or after one, that no ZMTP peer says.
fn broken_handshakes() -> Vec<(&'static str, Vec<u8>)> {
    let mut version = greeting();
    version[10] = 0;
    let mut mechanism = greeting();
    mechanism[12..16].copy_from_slice(b"XXXX");
    let after = |bytes: Vec<u8>| [greeting(), bytes].concat();
    let lying = frame(0x04, b"\x05READY\x0bSocket-Type\xff\xff\xff\xffDEALER");
    let no_type = frame(0x04, b"\x05READY");
    let wrong_type = frame(0x04, b"\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB");
    vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: statemesh\r\nUser-Agent: a browser that took a wrong turn\r\n\r\n".to_vec()),
        ("TLS", [&[0x16, 3, 1, 2, 0][..], &[1; 100]].concat()),
        ("version 0", [version, ready()].concat()),
        ("an unknown mechanism", [mechanism, ready()].concat()),
        ("a message instead of READY", after(frame(0, b"hello"))),
        ("a READY without a socket type", after(no_type)),
        ("a READY of a PUB socket", after(wrong_type)),
        ("a READY whose lengths lie", after(lying)),
        ("an unknown command instead of READY", after(frame(0x04, b"\x05HELLO"))),
    ]
}

/// Frames after a good handshake.
fn broken_frames() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("reserved flags", frame(0xf8, b"x")),
        ("a command that goes on", frame(0x05, b"\x04PING\x00\x00")),
        ("an empty command", frame(0x04, b"")),
        ("a command whose name is longer than it", frame(0x04, b"\xffPING")),
    ]
}

fn violations(scene: &Scene) -> Outcome {
    let mut daemon = alone(scene, "--limits-handshake 1s")?;
    let load = bystander(&daemon)?;
    let mut wrong = Vec::new();
    let mut cases = 0;
    for address in [daemon.clients(), daemon.changes(), peers(&daemon)] {
        for (what, bytes) in broken_handshakes() {
            cases += 1;
            let mut raw = Raw::connect(address)?;
            raw.write(&bytes)?;
            if let Err(failure) = raw.wait_closed(SOON) {
                wrong.push(format!("{what} on {address}: {failure}"));
            }
        }
    }
    for (what, bytes) in broken_frames() {
        cases += 1;
        let mut raw = Raw::greeted(daemon.clients())?;
        raw.write(&bytes)?;
        if let Err(failure) = raw.wait_closed(SOON) {
            wrong.push(format!("{what}: {failure}"));
        }
    }
    let metrics = daemon.metrics()?;
    let counted = metrics.total_of("protocol_errors") + metrics.total_of("handshake_timeouts");
    println!("{counted} of {cases} violations were counted");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Where a violation is the other side's silence the daemon may see only that the connection ended.
    ensure!(counted >= f64::from(cases) * 0.8, "only {counted} of {cases} violations were counted");
    load.stop_flawless(daemon.clients())?;
    daemon.still_runs()
}

fn announced_lengths(scene: &Scene) -> Outcome {
    let mut daemon = alone(scene, "")?;
    let load = bystander(&daemon)?;
    let before = daemon.usage()?.peak_bytes;
    // What is only somewhat too large is skipped and answered; these are far too large.
    for length in [1u64 << 27, 1 << 32, 1 << 48, (1 << 63) - 1, 1 << 63, u64::MAX] {
        let mut header = vec![0x02];
        header.extend(length.to_be_bytes());
        let mut raw = Raw::greeted(daemon.clients())?;
        raw.write(&header)?;
        raw.wait_closed(SOON).map_err(|failure| format!("a length of {length}: {failure}"))?;
        // The same before the handshake is complete, as a command, on every port that speaks ZMTP.
        header[0] = 0x06;
        for address in [daemon.clients(), daemon.changes(), peers(&daemon)] {
            let mut raw = Raw::connect(address)?;
            raw.write(&[greeting(), header.clone()].concat())?;
            raw.wait_closed(SOON).map_err(|failure| format!("a command of {length} on {address}: {failure}"))?;
        }
    }
    let peak = daemon.usage()?.peak_bytes;
    ensure!(peak < before + 8_000_000, "its memory rose from {before} to {peak} bytes");
    load.stop_flawless(daemon.clients())?;
    daemon.still_runs()
}

fn silent_handshakes(scene: &Scene) -> Outcome {
    let mut daemon = alone(scene, "--limits-handshake 1s")?;
    let load = bystander(&daemon)?;
    let starts: [Vec<u8>; 4] = [Vec::new(), vec![0xff], greeting()[..40].to_vec(), greeting()];
    let mut silent = Vec::new();
    for start in &starts {
        let mut raw = Raw::connect(daemon.clients())?;
        raw.write(start)?;
        silent.push(raw);
    }
    for mut raw in silent {
        let took = raw.wait_closed(Duration::from_secs(4))?;
        ensure!(took <= Duration::from_secs(3), "it was closed only after {took:?}");
    }
    let counted = daemon.metrics()?.sum("statemesh_handshake_timeouts_total", &[]);
    ensure!(counted == Some(starts.len() as f64), "the metrics count {counted:?} of {}", starts.len());
    load.stop_flawless(daemon.clients())?;
    daemon.still_runs()
}

fn unusual_but_valid(scene: &Scene) -> Outcome {
    let mut daemon = alone(scene, "")?;
    let mut slow = Raw::connect(daemon.clients())?;
    for byte in [greeting(), ready()].concat() {
        slow.write(&[byte])?;
    }
    // A message in a thousand parts is no request, but no violation either; the connection goes on or is closed, and only it.
    for _ in 0..1_000 {
        slow.write(&frame(0x01, b""))?;
    }
    slow.write(&frame(0x00, b"{\"op\":\"ping\"}"))?;
    // Parts without end are bounded like everything else.
    let mut endless = Raw::greeted(daemon.clients())?;
    let before = daemon.usage()?.resident_bytes;
    let parts = frame(0x01, b"").repeat(100_000);
    for _ in 0..20 {
        endless.write(&parts)?;
    }
    endless.end()?;
    endless.wait_closed(SOON)?;
    let after = daemon.usage()?.resident_bytes;
    ensure!(after < before + 16_000_000, "endless parts took {} bytes", after - before);
    Caller::connect(daemon.clients())?.ok(json!({"op": "ping"}))?;
    daemon.still_runs()
}

fn too_many_connections(scene: &Scene) -> Outcome {
    let mut daemon = alone(scene, "--limits-connections 8")?;
    let load = bystander(&daemon)?;
    let mut inside = Vec::new();
    let address = daemon.clients();
    let enter = || {
        let mut caller = Caller::connect(address).ok()?;
        caller.ok(json!({"op": "ping"})).ok().map(|_| caller)
    };
    while inside.len() < 7 {
        // Connections of the set-up end at the daemon a moment after their clients have closed them.
        inside.push(wait_for("there is a place", SOON, || Ok(enter()))?.0);
    }
    for _ in 0..5 {
        // One that is refused is reset, perhaps before it could say anything.
        let Ok(mut raw) = Raw::connect(daemon.clients()) else { continue };
        raw.wait_closed(SOON).map_err(|failure| format!("a ninth connection: {failure}"))?;
    }
    for caller in &mut inside {
        caller.ok(json!({"op": "ping"}))?;
    }
    let refused = daemon.metrics()?.sum("statemesh_refused_connections_total", &[]);
    ensure!(refused >= Some(5.0), "the metrics count {refused:?} refused connections");
    inside.pop();
    // Until the daemon has seen the end of the one that went, others are refused.
    wait_for("there is room again", SOON, || Ok(enter()))?;
    drop(inside);
    load.stop_flawless(daemon.clients())?;
    daemon.still_runs()
}

fn random_bytes(scene: &Scene) -> Outcome {
    let mut daemon = alone(scene, "--limits-handshake 1s")?;
    let load = bystander(&daemon)?;
    let mut random = SmallRng::seed_from_u64(scene.seed);
    let mut bytes = |most: usize| {
        let mut bytes = vec![0; random.random_range(1..most)];
        random.fill_bytes(&mut bytes);
        bytes
    };
    let udp = UdpSocket::bind("127.0.0.1:0")?;
    let gossip = SocketAddr::from((daemon.address, 7403));
    let http = daemon.http();
    for _ in 0..150 {
        for address in [daemon.clients(), daemon.changes(), peers(&daemon), http] {
            let mut raw = Raw::connect(address)?;
            raw.write(&bytes(2_000))?;
        }
        let mut raw = Raw::greeted(daemon.clients())?;
        raw.write(&bytes(2_000))?;
        // A whole message of random bytes, to those who read clients' and peers' messages.
        let body = bytes(500);
        Raw::greeted(daemon.clients())?.write(&frame(0, &body))?;
        if let Ok(mut peer) = Raw::greeted(peers(&daemon)) {
            peer.write(&frame(0, &body))?;
        }
        udp.send_to(&bytes(1_400), gossip)?;
        daemon.still_runs()?;
    }
    let dropped = daemon.metrics()?.sum("statemesh_gossip_dropped_total", &[]).unwrap_or(0.0);
    ensure!(dropped >= 100.0, "the metrics count {dropped} of 150 datagrams that cannot be read");
    load.stop_flawless(daemon.clients())?;
    daemon.still_runs()
}
