//! A daemon that does not take the answers to what it passed on: it hears of each request what became of it, and costs no more than
//! the limit says. The links are this test's own, opened in a member's name on a lane that the member does not use.

use std::collections::BTreeMap;

use statemesh_protocol::identity::{Identity, MemberName, Ports};
use statemesh_protocol::peer::frame::{ForwardHeader, Path, PeerFrame};
use statemesh_protocol::peer::hello::{Hello, PROTOCOL_VERSION};

use super::links::{LONG, keep, keeper};
use super::*;

/// A lane that no reactor of the tests has.
const LANE: u8 = 9;
/// What waits for one daemon at most by default: a message as large as one may be.
const LINK_BYTES: f64 = ((64 << 20) + 64) as f64;

const UNSENT: &str = "statemesh_link_unsent_bytes";

/// What became of a request that was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Answered,
    Refused,
    Unsaid,
}

/// A link that this test opens.
pub(super) struct Link {
    client: Client,
    passed_on: u64,
}

impl Link {
    /// Greets `to` in the name of `from`, which it knows.
    pub(super) fn open(from: &Daemon, to: &Daemon) -> Self {
        let Listen { clients, changes, peers, gossip, http } = from.node.handle().addresses();
        let ports = Ports {
            client: clients.port(),
            changes: changes.port(),
            peer: peers.port(),
            gossip: gossip.port(),
            http: http.port(),
        };
        let ping = from.client().ok(&json!({"op": "ping"}));
        let members = from.client().ok(&json!({"op": "members"}));
        let me = members["members"].as_array().unwrap().iter().find(|member| member["self"] == true).unwrap();
        let name = MemberName::new(me["name"].as_str().unwrap()).unwrap();
        let hello = Hello {
            version: PROTOCOL_VERSION,
            mesh: ping["mesh"].as_str().unwrap().into(),
            partitions: 64,
            identity: Identity::new(name, me["incarnation"].as_u64().unwrap(), clients.ip(), ports),
            definitions: 0,
        };
        let address = to.node.handle().addresses().peers;
        let client = Client::connect(address, SocketType::Dealer, PATIENCE).unwrap();
        let mut link = Self { client, passed_on: 0 };
        link.push(&PeerFrame::Hello { lane: LANE, link: 1, greeting: &hello.encode().unwrap() });
        let answer = link.client.receive(PATIENCE).unwrap();
        assert!(matches!(PeerFrame::decode(answer.part_slice(0).unwrap()), Some(PeerFrame::Hello { .. })));
        link
    }

    pub(super) fn push(&mut self, frame: &PeerFrame<'_>) {
        self.add(frame);
        self.client.flush().unwrap();
    }

    fn add(&mut self, frame: &PeerFrame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.client.push(&bytes);
    }

    fn add_forward(&mut self, request: &str) {
        let (correlation, path) = (self.passed_on, Path::default());
        let header = ForwardHeader { correlation, partition: 0, hops: 1, path, uncertain: false };
        self.add(&PeerFrame::Forward(header, request.as_bytes()));
        self.passed_on += 1;
    }

    /// Passes on so many at once: all are there before the first is answered.
    fn pass_on_all(&mut self, count: u64, request: &Value) {
        let request = request.to_string();
        for _ in 0..count {
            self.add_forward(&request);
        }
        self.client.flush().unwrap();
    }

    pub(super) fn pass_on(&mut self, request: &Value) {
        self.add_forward(&request.to_string());
        self.client.flush().unwrap();
    }

    /// What became of all that was passed on: each request ends once.
    pub(super) fn ends(&mut self) -> BTreeMap<End, u64> {
        let mut ends = BTreeMap::new();
        for _ in 0..self.passed_on {
            let message = self.client.receive(LONG).unwrap();
            let (correlation, end) = match PeerFrame::decode(message.part_slice(0).unwrap()) {
                Some(PeerFrame::Unsaid(correlation)) => (correlation, End::Unsaid),
                Some(PeerFrame::Reply(correlation, reply)) if reply.starts_with(b"{\"ok\":true") => {
                    (correlation, End::Answered)
                }
                Some(PeerFrame::Reply(correlation, reply)) => {
                    let reply = String::from_utf8_lossy(reply);
                    assert!(reply.contains("limits.link_bytes"), "{reply:.300}");
                    (correlation, End::Refused)
                }
                other => panic!("{other:?}"),
            };
            assert!(ends.insert(correlation, end).is_none(), "{correlation} ended twice");
        }
        self.passed_on = 0;
        let mut counts = BTreeMap::new();
        ends.into_values().for_each(|end| *counts.entry(end).or_default() += 1);
        counts
    }
}

/// Two daemons, a link to the first in the name of the second, and a large instance that `server` has.
fn with_a_link(server: &str) -> (Mesh, [Daemon; 2], Link, Value) {
    let mut mesh = Mesh { limits: options::Limits { forward_timeout: LONG, ..Default::default() }, ..Mesh::new() };
    let (one, two) = (mesh.start("one"), mesh.start("two"));
    one.settled(2);
    two.settled(2);
    let mut asker = one.client();
    asker.ok(&json!({"op": "define", "definition": keeper()}));
    let mut keys = (0..100).map(|n| format!("k{n}"));
    let key = keys.find(|key| asker.ok(&json!({"op": "where", "machine": "keeper", "key": key}))["owner"] == server);
    let key = key.unwrap();
    asker.ok(&keep(&key, &"x".repeat(1_000_000)));
    let link = Link::open(&two, &one);
    (mesh, [one, two], link, json!({"op": "get", "machine": "keeper", "key": key}))
}

fn most_unsent(daemon: &Daemon, done: impl Fn() -> bool) -> f64 {
    let mut most: f64 = 0.0;
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "not in time");
        most = most.max(daemon.gauge(UNSENT));
        std::thread::sleep(Duration::from_millis(2));
    }
    most
}

#[test]
fn a_daemon_that_takes_no_answers_is_refused_more_of_them_before_anything_is_done() {
    let (_mesh, [one, _two], mut link, get) = with_a_link("one");
    (0..70).for_each(|_| link.pass_on(&get));
    let seen = most_unsent(&one, || one.counted("statemesh_forwards_received_total") >= 70.0);
    let ends = link.ends();
    let [answered, refused] = [End::Answered, End::Refused].map(|end| ends.get(&end).copied().unwrap_or(0));
    // Half of the room, and what the kernel takes.
    assert!((30..60).contains(&answered) && ends.len() == 2, "{ends:?}");
    assert!(seen < LINK_BYTES * 0.75, "{seen} bytes waited");
    assert_eq!(one.counted("statemesh_refused_link_bytes_total"), refused as f64);
    link.pass_on(&get);
    assert_eq!(link.ends(), BTreeMap::from([(End::Answered, 1)]), "it goes on once it has been read");
}

#[test]
fn answers_that_have_no_room_on_a_link_are_left_out_and_said_to_be() {
    // The first passes all of them on before an answer is there to fill the room.
    let (_mesh, [one, two], mut link, get) = with_a_link("two");
    let answers = |daemon: &Daemon| daemon.counted("statemesh_unsaid_replies_total");
    let received = || one.counted("statemesh_forwards_received_total");
    // The second may refuse some, if its own link is slow for a moment: then not enough comes at once.
    let unsaid = (0..50).find_map(|_| {
        let before = received();
        link.pass_on_all(100, &get);
        let all_ended = || received() >= before + 100.0 && one.gauge("statemesh_in_flight_requests") == 0.0;
        let seen = most_unsent(&one, || answers(&one) > 0.0 || all_ended());
        assert!(seen <= LINK_BYTES, "{seen} bytes waited");
        let ends = link.ends();
        let [answered, unsaid] = [End::Answered, End::Unsaid].map(|end| ends.get(&end).copied().unwrap_or(0));
        assert!(answered > 0, "{ends:?}");
        (unsaid > 0).then_some(unsaid)
    });
    assert_eq!(answers(&one), unsaid.expect("more than a link takes, at once") as f64);
    assert_eq!(one.counted("statemesh_overflowed_links_total"), 0.0);
    link.pass_on(&get);
    assert_eq!(link.ends(), BTreeMap::from([(End::Answered, 1)]), "it goes on once it has been read");
    drop(two);
}
