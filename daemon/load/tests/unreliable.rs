//! A run against a daemon that closes connections, refuses for now, and does not answer: nothing is lost or doubled as long as the
//! daemon remembers tokens, and is found out when it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde::{Deserialize, Serialize};
use statemesh_load::{Endpoint, HistoryChecker, Pace, Round, Sends, Spec, Work, run};
use statemesh_transport::curve::Security;
use statemesh_transport::reactor::Settings;
use statemesh_transport::{Event, Handler, Io, Kind, Listener, MioKernel, Reactor, SocketType, listen};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const EVENTS: u64 = 400;

#[derive(Clone, Copy)]
struct Faults {
    remembers_tokens: bool,
    /// The instances are lost at this request.
    forgets_all_at: u64,
}

struct Unreliable {
    faults: Faults,
    requests: u64,
    /// By key: the seq, and the last token.
    instances: HashMap<String, (u64, String)>,
}

#[derive(Deserialize)]
struct Request {
    id: u32,
    op: String,
    key: String,
    dedup: Option<String>,
}

#[derive(Serialize)]
struct Reply<'a> {
    id: u32,
    ok: bool,
    seq: u64,
    changed: bool,
    restarted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<HashMap<&'a str, &'a str>>,
}

impl Handler for Unreliable {
    fn handle(&mut self, event: Event<'_>, io: &mut Io) {
        let Event::Message(from, _, message) = event else { return };
        let request: Request = rmp_serde::from_slice(message.part_slice(0).unwrap()).unwrap();
        self.requests += 1;
        if self.requests == self.faults.forgets_all_at {
            self.instances.clear();
        }
        let refuses = self.requests.is_multiple_of(7) && request.op == "send";
        let error = refuses.then(|| HashMap::from([("code", "moving"), ("message", "later")]));
        if request.op == "send" && !refuses {
            let (seq, last) = self.instances.entry(request.key.clone()).or_default();
            let token = request.dedup.unwrap();
            if !self.faults.remembers_tokens || *last != token || *seq == 0 {
                (*seq, *last) = (*seq + 1, token);
            }
        }
        let seq = self.instances.get(&request.key).map_or(0, |(seq, _)| *seq);
        let reply = Reply { id: request.id, ok: !refuses, seq, changed: true, restarted: false, error };
        match self.requests % 101 {
            // The event is applied, and its answer goes with the connection.
            50 => io.close(from),
            // The same, but the connection seems well.
            100 => {}
            _ => _ = io.send(from, &[&rmp_serde::to_vec_named(&reply).unwrap()]),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn finished(&self) -> bool {
        false
    }
}

fn start(faults: Faults) -> SocketAddr {
    let unreliable = Unreliable { faults, requests: 0, instances: HashMap::new() };
    let mut kernel = MioKernel::new().unwrap();
    let socket = listen::tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    kernel.listen(socket).unwrap();
    let waker = kernel.waker();
    let mut reactor = Reactor::new(Settings::default(), Box::new(kernel), waker, unreliable);
    let (socket_type, security) = (SocketType::Router, Security::None);
    reactor.listen(Listener { number: 0, kind: Kind::Guest, socket_type, message_bytes: 1 << 20, security });
    // It goes with the test's process.
    std::thread::spawn(move || reactor.run());
    address
}

fn against(faults: Faults, pace: Pace) -> (Round, HistoryChecker, usize) {
    // A first connection is tried once, so it must come about within this time on a busy machine. It is hardly waited for otherwise:
    // what gets no answer is sent again when the daemon closes the connection next.
    let mut endpoint = Endpoint::new(&start(faults).to_string(), Security::None, Duration::from_secs(1), 0);
    let hour = Duration::from_secs(3_600);
    let patience = Duration::from_secs(60);
    let spec = Spec { pace, warm_up: Duration::ZERO, measured: hour, requests: Some(EVENTS), patience, polls: false };
    let mut sends = Sends::new("counter", "ADD", (0..10).map(|n| format!("k{n}")).collect());
    let stop = AtomicBool::new(false);
    let round = run(&mut endpoint, &mut sends, &spec, &stop).unwrap();
    let mut gets = sends.gets();
    let requests = Some(gets.slots() as u64);
    let looked = run(&mut endpoint, &mut gets, &Spec { requests, pace: Pace::Closed { in_flight: 4 }, ..spec }, &stop);
    assert_eq!(looked.unwrap().errors.total(), 0);
    let (checker, proved) = sends.prove(&gets);
    (round, checker, proved)
}

#[test]
fn what_is_sent_again_with_its_token_is_applied_once() {
    let faults = Faults { remembers_tokens: true, forgets_all_at: 0 };
    for pace in [Pace::Closed { in_flight: 5 }, Pace::Open { per_second: 2_000 }] {
        let (round, checker, proved) = against(faults, pace);
        assert_eq!((round.answered, round.events, round.errors.total()), (EVENTS, EVENTS, 0), "{:?}", round.errors);
        assert_eq!((checker.lost, checker.doubled, proved), (0, 0, 10), "{pace:?}");
        assert!(round.reconnects >= 4 && round.retried >= EVENTS / 7, "{} and {}", round.reconnects, round.retried);
    }
}

#[test]
fn a_daemon_that_forgets_tokens_is_found_out() {
    let faults = Faults { remembers_tokens: false, forgets_all_at: 0 };
    let (round, checker, _) = against(faults, Pace::Closed { in_flight: 5 });
    assert_eq!((round.answered, checker.lost), (EVENTS, 0));
    assert!(checker.doubled >= 4, "{}", checker.doubled);
}

#[test]
fn a_daemon_that_forgets_instances_is_found_out() {
    let faults = Faults { remembers_tokens: true, forgets_all_at: 205 };
    let (round, checker, _) = against(faults, Pace::Closed { in_flight: 5 });
    assert_eq!((round.answered, checker.doubled), (EVENTS, 0));
    assert!((150..205).contains(&checker.lost), "{}", checker.lost);
}
