//! The control plane over a virtual network: time jumps to its next deadline, DNS answers as a test says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_engine::Machine;
use statemesh_mesh::discovery::{Kind, Question, Records};
use statemesh_mesh::key_index::{LostKey, PART_BYTES};
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::peer::PeerMessage;
use statemesh_protocol::peer::body::Body;
use statemesh_protocol::peer::definition::{Definition, DefinitionMessage, VersionId};
use statemesh_protocol::peer::frame::PeerFrame;
use statemesh_protocol::peer::index::IndexMessage;
use statemesh_protocol::peer::ownership::OwnershipMessage;
use statemesh_shard::{Clock, Run};
use statemesh_transport::ConnId;

use super::{Birth, Control, Loaded, Output, Unanswered, Wake, Work};
use crate::mailbox::{Command, ToControl};
use crate::options::{Discovery, Limits, Listen, Options};
use crate::parts::Parts;
use crate::shared::Shared;
use crate::volume::body_of;

const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PATIENCE: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(120);

/// How DNS answers.
#[derive(Clone, Debug)]
enum Dns {
    Silent,
    NoSuchName,
    Names(Vec<Ipv4Addr>),
    /// The same, and no answer to whether there are more.
    InPart(Vec<Ipv4Addr>),
}

struct Plane {
    control: Control,
    shared: Arc<Shared>,
    now: Instant,
    dns: Dns,
    /// Datagrams that it has sent.
    sent: Vec<(SocketAddr, Vec<u8>)>,
    /// Replies that it has given to its reactor.
    replies: Vec<String>,
    /// What it has said of definitions to members.
    said: Vec<DefinitionMessage>,
    /// Work that is under way, where a test decides when it is done.
    under_way: Option<Vec<Work>>,
    /// It has asked a member who holds what it is to adopt.
    claims: bool,
    left: bool,
    failed: bool,
}

fn options(discovery: Discovery) -> Options {
    let at = |port| SocketAddr::from((ME, port));
    let listen = Listen { clients: at(7400), changes: at(7401), peers: at(7402), gossip: at(7403), http: at(7480) };
    Options { listen, advertise: None, discovery, ..Options::for_tests("a") }
}

fn by_service() -> Discovery {
    Discovery {
        service: Some("mesh.".into()),
        dns_server: None,
        seeds: Vec::new(),
        alone_after: Some(PATIENCE),
        birth: Vec::new(),
    }
}

fn by_seeds(seeds: &[Ipv4Addr]) -> Discovery {
    let seeds = seeds.iter().map(|ip| SocketAddr::from((*ip, 7403))).collect();
    Discovery { service: None, seeds, ..by_service() }
}

impl Plane {
    fn new(discovery: Discovery, dns: Dns) -> Self {
        Self::named("a", ME, discovery, dns, Instant::now())
    }

    fn named(name: &str, ip: Ipv4Addr, discovery: Discovery, dns: Dns, now: Instant) -> Self {
        let session = [name.as_bytes()[0]; 16];
        let birth = Birth {
            advertise: ip.into(),
            incarnation: 1,
            seed: 1,
            session,
            definitions: Vec::new(),
            stored: Vec::new(),
        };
        let options = Options { name: name.into(), ..options(discovery) };
        let Parts { shared, control, .. } = Parts::new(options, birth, now).unwrap();
        let (sent, replies, said) = (Vec::new(), Vec::new(), Vec::new());
        let mut plane = Self {
            control,
            shared,
            now,
            dns,
            sent,
            replies,
            said,
            under_way: None,
            claims: false,
            left: false,
            failed: false,
        };
        plane.handle(Wake::Tick);
        plane
    }

    fn handle(&mut self, wake: Wake) {
        self.control.handle(wake, self.now);
        while let Some(output) = self.control.poll() {
            match output {
                Output::Ask(question) => {
                    let answer = self.answer(&question);
                    self.control.handle(Wake::Answered(answer), self.now);
                }
                Output::Datagram { to, sealed } => self.sent.push((to, sealed)),
                Output::Work(work) => match &mut self.under_way {
                    Some(under_way) => under_way.push(work),
                    None => self.control.handle(Wake::Done(work.run()), self.now),
                },
                Output::Left(_) => self.left = true,
                Output::Failed(_) => self.failed = true,
            }
        }
        // The reactor takes its commands, and opens no link.
        while let Some(command) = self.shared.reactors.next_command(0) {
            match command {
                Command::Reply { reply, .. } => self.replies.push(String::from_utf8(reply).unwrap()),
                Command::Send { frame, .. } => {
                    let Some(PeerFrame::Control(body)) = PeerFrame::decode(&frame) else { continue };
                    match PeerMessage::decode(body).unwrap() {
                        PeerMessage::Definitions(message) => self.said.push(message),
                        PeerMessage::Ownership { message: OwnershipMessage::Query { .. }, .. } => self.claims = true,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, request: &str) {
        let request = request.as_bytes().to_vec().into();
        self.handle(Wake::Reactors(vec![ToControl::Request { reactor: 0, correlation: 1, request }]));
    }

    /// Ends the work that began first; what was said of definitions until then is forgotten.
    fn finish(&mut self) {
        self.said.clear();
        let work = self.under_way.as_mut().unwrap().remove(0);
        self.handle(Wake::Done(work.run()));
    }

    fn is_working(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| !under_way.is_empty())
    }

    /// A member says this of definitions.
    fn told(&mut self, message: DefinitionMessage) {
        let member = self.control.members.number(&MemberName::new("b").unwrap());
        let body = PeerMessage::Definitions(message).encode().unwrap();
        self.handle(Wake::Reactors(vec![ToControl::FromMember { member, body }]));
    }

    fn pushed(&mut self, id: u64, definition: &Definition) {
        self.told(DefinitionMessage::Push { id, definition: definition.clone() });
    }

    fn has(&self, definition: &Definition) -> bool {
        self.shared.machines.table().by_hash(&definition.hash).is_some()
    }

    fn answer(&self, question: &Question) -> Result<Records, Unanswered> {
        let empty = if question.kind == Kind::Srv { Records::Srv(Vec::new()) } else { Records::Addresses(Vec::new()) };
        match &self.dns {
            Dns::Silent => Err(Unanswered),
            Dns::InPart(_) if question.kind == Kind::Aaaa => Err(Unanswered),
            Dns::Names(ips) | Dns::InPart(ips) if question.kind == Kind::A => {
                Ok(Records::Addresses(ips.iter().copied().map(IpAddr::from).collect()))
            }
            Dns::NoSuchName | Dns::Names(_) | Dns::InPart(_) => Ok(empty),
        }
    }

    /// Lets so much time go by.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.control.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Wake::Tick);
        }
        self.now = end;
    }

    fn joined(&self) -> bool {
        self.shared.view().joined
    }

    fn reason(&self) -> String {
        self.shared.view().reason.clone()
    }
}

/// Two daemons that gossip, and have no links.
fn two_without_links() -> [Plane; 2] {
    let now = Instant::now();
    let dns = Dns::Names(vec![ME, OTHER]);
    let first = Plane::named("a", ME, by_service(), dns.clone(), now);
    let mut planes = [first, Plane::named("b", OTHER, by_service(), dns, now)];
    run_both(&mut planes, Duration::from_secs(2));
    assert!(planes.iter().all(|plane| plane.control.joining.joined));
    planes
}

/// A daemon with a link to "b", whose work is done when a test says so.
fn linked() -> Plane {
    let [mut plane, _] = two_without_links();
    link(&mut plane);
    plane.said.clear();
    plane.under_way = Some(Vec::new());
    plane
}

/// Both directions of a link with "b".
fn link(plane: &mut Plane) {
    link_with(plane, "b");
}

fn link_with(plane: &mut Plane, name: &str) {
    let member = plane.control.members.number(&MemberName::new(name).unwrap());
    let lane = (0, ConnId::for_tests(0));
    let (to, from) = (ToControl::LinkTo { member, up: true }, ToControl::LinkFrom { member, lane, up: true });
    plane.handle(Wake::Reactors(vec![to, from]));
}

/// A version of a machine as another member has it, which invokes these.
fn version(id: &str, clock: u64, children: &[&Arc<Machine>]) -> (Definition, Arc<Machine>) {
    let states: Vec<String> = children
        .iter()
        .enumerate()
        .map(|(n, child)| format!(r#""s{n}":{{"invoke":{{"src":"{}"}}}}"#, child.id()))
        .collect();
    let text = match states.as_slice() {
        [] => format!(r#"{{"id":"{id}","initial":"v{clock}","states":{{"v{clock}":{{}}}}}}"#),
        some => format!(r#"{{"id":"{id}","initial":"s0","states":{{{}}}}}"#, some.join(",")),
    };
    let resolve = |name: &str| children.iter().find(|child| child.id() == name).map(|child| Arc::clone(child));
    let machine = Machine::compile(text.as_bytes(), &Limits::default().of_engine(), &resolve).unwrap().machine;
    let definition = Definition { machine: id.into(), clock, hash: *machine.hash(), body: body_of(&machine) };
    (definition, machine)
}

/// Lets so much time go by for two daemons, each datagram arriving at once.
fn run_both(planes: &mut [Plane; 2], span: Duration) {
    let end = planes[0].now + span;
    loop {
        let mail: Vec<(usize, (SocketAddr, Vec<u8>))> = (0..2)
            .flat_map(|n| std::mem::take(&mut planes[n].sent).into_iter().map(move |datagram| (n, datagram)))
            .collect();
        if mail.is_empty() {
            let due = planes.iter().filter_map(|plane| plane.control.next_deadline()).min().unwrap();
            if due > end {
                break;
            }
            for plane in planes.iter_mut() {
                plane.now = plane.now.max(due);
                plane.handle(Wake::Tick);
            }
        }
        for (n, (to, sealed)) in mail {
            let from = SocketAddr::from(([ME, OTHER][n], 7403));
            planes[usize::from(to.ip() == OTHER)].handle(Wake::Datagram { from, sealed });
        }
    }
    planes.iter_mut().for_each(|plane| plane.now = end);
}

#[test]
fn a_deadline_does_not_move_away_while_time_goes_by() {
    let mut plane =
        Plane::new(Discovery { service: None, alone_after: Some(Duration::ZERO), ..by_service() }, Dns::Silent);
    plane.handle(Wake::Leave { patience: PATIENCE });
    let due = plane.control.next_deadline();
    plane.now += Duration::from_millis(3);
    assert_eq!(plane.control.next_deadline(), due);
    plane.run(PATIENCE);
    assert!(plane.left, "{}", plane.reason());
}

#[test]
fn define_names_a_live_member_that_has_no_link_within_the_patience_of_a_client() {
    let mut planes = two_without_links();
    planes[0].ask(r#"{"op":"define","definition":{"id":"m","initial":"on","states":{"on":{}}}}"#);
    run_both(&mut planes, Duration::from_secs(4));
    let reply = planes[0].replies.concat();
    assert!(reply.contains(r#""members":1"#) && reply.contains(r#""missing":["b"]"#), "{reply}");
}

#[test]
fn a_daemon_that_dns_names_alone_for_long_enough_is_alone_and_no_sooner() {
    let mut plane = Plane::new(by_service(), Dns::Names(vec![ME]));
    plane.run(PATIENCE - Duration::from_millis(1));
    assert!(!plane.joined());
    plane.run(Duration::from_millis(1));
    assert!(plane.joined(), "{}", plane.reason());
}

#[test]
fn with_no_others_to_look_for_a_daemon_is_alone_at_once() {
    let discovery = Discovery { service: None, alone_after: Some(Duration::ZERO), ..by_service() };
    assert!(Plane::new(discovery, Dns::Silent).joined());
}

#[test]
fn a_daemon_to_which_dns_does_not_answer_is_never_alone() {
    let mut plane = Plane::new(by_service(), Dns::Silent);
    plane.run(LONG);
    assert!(!plane.joined());
    assert!(plane.reason().contains("DNS"), "{}", plane.reason());
}

#[test]
fn two_to_which_dns_answers_in_part_begin_no_mesh_as_there_may_be_one() {
    let now = Instant::now();
    let dns = Dns::InPart(vec![ME, OTHER]);
    let first = Plane::named("a", ME, by_service(), dns.clone(), now);
    let mut planes = [first, Plane::named("b", OTHER, by_service(), dns, now)];
    run_both(&mut planes, LONG);
    assert!(
        planes.iter().all(|plane| !plane.control.joining.joined && plane.reason().contains("DNS")),
        "{}",
        planes[0].reason()
    );
    planes.iter_mut().for_each(|plane| plane.dns = Dns::Names(vec![ME, OTHER]));
    run_both(&mut planes, Duration::from_secs(2));
    assert!(planes.iter().all(|plane| plane.control.joining.joined), "{}", planes[0].reason());
}

#[test]
fn where_dns_answers_in_part_only_the_mesh_begins_with_all_that_birth_names_and_the_silent_question_is_named() {
    let now = Instant::now();
    let dns = Dns::InPart(vec![ME, OTHER]);
    let discovery = Discovery { birth: vec!["a".into(), "b".into()], ..by_service() };
    let first = Plane::named("a", ME, discovery.clone(), dns.clone(), now);
    let mut planes = [first, Plane::named("b", OTHER, discovery, dns, now)];
    run_both(&mut planes, LONG);
    assert!(planes.iter().all(|plane| !plane.control.joining.joined && plane.reason().contains("AAAA of mesh.")));
    link_with(&mut planes[0], "b");
    link_with(&mut planes[1], "a");
    run_both(&mut planes, Duration::from_secs(2));
    assert!(planes.iter().all(|plane| plane.control.joining.joined), "{}", planes[0].reason());
}

#[test]
fn who_knows_of_another_is_not_alone_though_dns_names_no_others() {
    let now = Instant::now();
    let mut planes = [("a", ME, vec![ME], vec![]), ("b", OTHER, vec![ME, OTHER], vec!["b".into(), "c".into()])].map(
        |(name, ip, dns, birth)| Plane::named(name, ip, Discovery { birth, ..by_service() }, Dns::Names(dns), now),
    );
    planes[0].run(PATIENCE - Duration::from_secs(1));
    planes[1].now = planes[0].now;
    run_both(&mut planes, Duration::from_secs(3));
    assert_eq!(planes[0].control.membership.live(), 1);
    assert!(!planes[0].control.joining.joined, "its patience with those whom it has met begins when it meets them");
    run_both(&mut planes, PATIENCE);
    assert!(planes[0].control.joining.joined, "{}", planes[0].reason());
}

#[test]
fn a_service_that_does_not_exist_is_no_answer_that_a_daemon_is_alone() {
    let mut plane = Plane::new(by_service(), Dns::NoSuchName);
    plane.run(LONG);
    assert!(!plane.joined());
    assert!(plane.reason().contains("mesh."), "{}", plane.reason());
}

#[test]
fn a_daemon_whose_name_is_taken_waits_for_it_and_says_so_and_ends_when_it_has_waited_for_long_enough() {
    let now = Instant::now();
    let dns = Dns::Names(vec![ME, OTHER]);
    let alone = Plane::named(
        "a",
        ME,
        Discovery { alone_after: Some(Duration::ZERO), ..by_service() },
        Dns::Names(vec![ME]),
        now,
    );
    let second = Plane::named("a", OTHER, by_service(), dns, now);
    let mut planes = [alone, second];
    run_both(&mut planes, Duration::from_secs(9));
    let said = planes[1].reason();
    assert!(planes[0].joined() && !planes[1].joined() && !planes[1].failed);
    assert!(said.contains("10.0.0.1") && said.contains("name"), "{said}");
    run_both(&mut planes, Duration::from_secs(2));
    assert!(planes[1].failed && !planes[0].failed);
}

#[test]
fn a_daemon_whose_seeds_are_silent_is_never_alone_and_names_them() {
    let mut plane = Plane::new(by_seeds(&[OTHER]), Dns::Silent);
    plane.run(LONG);
    assert!(!plane.joined());
    assert!(plane.reason().contains("10.0.0.2:7403"), "{}", plane.reason());
}

#[test]
fn a_daemon_whose_fellows_are_named_and_silent_is_never_alone_and_names_them() {
    let mut plane = Plane::new(by_service(), Dns::Names(vec![ME, OTHER]));
    plane.run(LONG);
    assert!(!plane.joined());
    assert!(plane.reason().contains("10.0.0.2:7403"), "{}", plane.reason());
}

#[test]
fn a_daemon_that_dns_names_alone_waits_for_those_without_whom_the_mesh_does_not_begin() {
    let birth = |names: &[&str]| Discovery { birth: names.iter().map(|name| (*name).into()).collect(), ..by_service() };
    let mut plane = Plane::new(birth(&["a", "b", "c"]), Dns::Names(vec![ME]));
    plane.run(LONG);
    assert!(!plane.joined());
    assert!(plane.reason().contains("b, c"), "{}", plane.reason());
    let mut plane = Plane::new(birth(&["a"]), Dns::Names(vec![ME]));
    plane.run(PATIENCE);
    assert!(plane.joined(), "{}", plane.reason());
}

#[test]
fn a_notice_of_being_kept_out_counts_for_a_while_and_until_keys_change() {
    let mut plane = Plane::new(by_seeds(&[OTHER]), Dns::Silent);
    let keeps_out = |plane: &Plane| plane.reason().contains("keeps us out");
    let notice = |port| {
        let sealed = b"statemesh 1 wrong-key".to_vec();
        Wake::Datagram { from: SocketAddr::from((OTHER, port)), sealed }
    };
    plane.handle(notice(7403));
    assert!(keeps_out(&plane), "{}", plane.reason());
    let said = plane.reason();
    // Anybody can send such: no more than one a second changes anything.
    (1..100).for_each(|port| plane.handle(notice(port)));
    assert_eq!(plane.reason(), said);
    plane.run(Duration::from_secs(20));
    assert!(!keeps_out(&plane), "{}", plane.reason());
    plane.handle(notice(7403));
    assert!(keeps_out(&plane), "{}", plane.reason());
    let keys = super::keyring(&[[7; 32]]).unwrap();
    plane.handle(Wake::Rotate(keys));
    assert!(!keeps_out(&plane), "{}", plane.reason());
}

#[test]
fn a_daemon_that_was_kept_out_is_not_alone_for_a_while_though_dns_names_nobody_else_any_more() {
    let sealed = b"statemesh 1 wrong-key".to_vec();
    for (named, from, wait) in [(vec![ME, OTHER], OTHER, 15), (vec![ME], OTHER, 5)] {
        let mut plane = Plane::new(by_service(), Dns::Names(named));
        plane.handle(Wake::Datagram { from: SocketAddr::from((from, 7403)), sealed: sealed.clone() });
        plane.dns = Dns::Names(vec![ME]);
        plane.run(Duration::from_secs(wait - 1));
        assert!(!plane.joined(), "{wait} s");
        // DNS is asked again within a second.
        plane.run(Duration::from_secs(2));
        assert!(plane.joined(), "{wait} s: {}", plane.reason());
    }
}

#[test]
fn silence_and_the_name_of_another_begin_the_wait_anew() {
    for between in [Dns::Silent, Dns::NoSuchName, Dns::Names(vec![ME, OTHER])] {
        let mut plane = Plane::new(by_service(), Dns::Names(vec![ME]));
        plane.run(PATIENCE / 2);
        plane.dns = between;
        plane.run(Duration::from_secs(1));
        plane.dns = Dns::Names(vec![ME]);
        plane.run(PATIENCE - Duration::from_millis(1));
        assert!(!plane.joined(), "{:?}", plane.dns);
        plane.run(Duration::from_secs(1));
        assert!(plane.joined(), "{}", plane.reason());
    }
}

#[test]
fn without_any_patience_three_answers_are_awaited_all_the_same() {
    let mut plane = Plane::new(Discovery { alone_after: Some(Duration::ZERO), ..by_service() }, Dns::Names(vec![ME]));
    assert!(!plane.joined());
    plane.run(Duration::from_millis(249));
    assert!(!plane.joined());
    plane.run(Duration::from_millis(1));
    assert!(plane.joined());
}

#[test]
fn what_members_tell_and_is_not_taken_in_is_bounded_in_bytes_however_short_it_is() {
    let mut plane = linked();
    let member = plane.control.members.number(&MemberName::new("b").unwrap());
    let limit = plane.shared.options.limits.control_bytes;
    let message = |length| ToControl::Keys { member, relayed: false, body: vec![0; length] };
    assert!(message(0).weight() > 0, "it takes a place, however short it is");
    let mut waiting = Vec::new();
    while plane.shared.control.lets_in(&message(1 << 20)) {
        waiting.push(message(1 << 20));
    }
    assert!((limit..=limit + waiting[0].weight()).contains(&plane.shared.control.bytes()));
    plane.handle(Wake::Reactors(waiting.drain(1..).collect()));
    assert_eq!(plane.shared.control.bytes(), waiting[0].weight());
    assert!(plane.shared.control.lets_in(&waiting[0]));
}

#[test]
fn what_a_member_pushes_is_compiled_as_work_and_acknowledged_when_that_is_done() {
    let mut plane = linked();
    let (definition, _) = version("m", 1, &[]);
    plane.pushed(7, &definition);
    // The member has a new link meanwhile, and says it again.
    plane.pushed(7, &definition);
    assert!(plane.is_working() && !plane.has(&definition));
    assert_eq!(plane.said, []);
    plane.finish();
    assert!(plane.has(&definition) && !plane.is_working());
    assert_eq!(plane.said, [DefinitionMessage::Ack { id: 7 }]);
}

#[test]
fn what_a_member_pushes_and_does_not_compile_is_refused_when_that_is_known_and_is_not_compiled_again() {
    let mut plane = linked();
    let (mut definition, _) = version("m", 1, &[]);
    definition.body = Body::new(Vec::new(), br#"{"id":"m","initial":"nowhere","states":{}}"#).encode();
    plane.pushed(7, &definition);
    assert!(plane.is_working());
    plane.finish();
    let refused = |said: &[DefinitionMessage], id| matches!(said, [DefinitionMessage::Refused { id: of, reason }] if *of == id && reason.contains("nowhere"));
    assert!(refused(&plane.said, 7), "{:?}", plane.said);
    plane.said.clear();
    plane.pushed(8, &definition);
    assert!(refused(&plane.said, 8) && !plane.is_working(), "{:?}", plane.said);
    let (other, _) = version("other", 2, &[]);
    plane.pushed(9, &other);
    plane.finish();
    assert!(plane.has(&other) && !plane.is_working());
}

#[test]
fn versions_of_others_are_compiled_one_after_the_other_in_their_order() {
    let mut plane = linked();
    let versions: Vec<Definition> = (1..=3).map(|clock| version("m", clock, &[]).0).collect();
    plane.told(DefinitionMessage::Definitions { definitions: versions.clone() });
    for version in &versions {
        assert_eq!(plane.under_way.as_ref().unwrap().len(), 1);
        plane.finish();
        assert_eq!(plane.shared.machines.table().by_name("m").unwrap().hash, version.hash);
    }
    assert!(!plane.is_working());
}

#[test]
fn a_machine_that_names_others_is_tried_again_when_these_are_there_and_only_then() {
    let mut plane = linked();
    let (child, machine) = version("child", 1, &[]);
    let (second, second_machine) = version("second", 2, &[]);
    let (parent, _) = version("parent", 3, &[&machine, &second_machine]);
    plane.pushed(1, &parent);
    plane.finish();
    assert!(matches!(&plane.said[..], [DefinitionMessage::Refused { id: 1, reason }] if reason.contains("child")));
    let (other, _) = version("other", 4, &[]);
    for (id, definition, tries) in [(2, &other, 0), (3, &child, 1), (4, &second, 1)] {
        assert!(!plane.has(&parent));
        plane.pushed(id, definition);
        plane.finish();
        assert!(plane.has(definition));
        for _ in 0..tries {
            plane.finish();
        }
        assert!(!plane.is_working(), "{}", definition.machine);
    }
    assert!(plane.has(&parent));
}

#[test]
fn what_is_defined_here_while_a_member_told_of_it_is_there_at_once() {
    let mut plane = linked();
    let (first, _) = version("first", 1, &[]);
    let (definition, _) = version("m", 2, &[]);
    plane.pushed(1, &first);
    plane.pushed(2, &definition);
    plane.ask(r#"{"op":"define","definition":{"id":"m","initial":"v2","states":{"v2":{}}}}"#);
    // Of others and of clients one is compiled at a time.
    assert_eq!(plane.under_way.as_ref().unwrap().len(), 2);
    let of_others = plane.under_way.as_mut().unwrap().remove(0);
    plane.finish();
    assert!(plane.has(&definition) && !plane.has(&first));
    plane.handle(Wake::Done(of_others.run()));
    // The second needs no work any more.
    assert!(plane.has(&first) && !plane.is_working());
    let acked = |id| plane.said.contains(&DefinitionMessage::Ack { id });
    assert!(acked(1) && acked(2), "{:?}", plane.said);
}

#[test]
fn of_clients_requests_one_is_compiled_at_a_time_and_none_that_is_not_waited_for_any_more() {
    let mut plane = linked();
    for _ in 0..3 {
        plane.ask(r#"{"op":"define","definition":{"id":"m","initial":"nowhere","states":{}}}"#);
    }
    assert_eq!(plane.under_way.as_ref().unwrap().len(), 1);
    plane.finish();
    assert_eq!((plane.replies.len(), plane.under_way.as_ref().unwrap().len()), (1, 1));
    plane.now += plane.shared.options.limits.forward_timeout;
    plane.finish();
    assert_eq!(plane.replies.len(), 2);
    assert!(!plane.is_working());
}

/// What a member says whose machines are these.
fn list(definitions: &[&Definition]) -> DefinitionMessage {
    let id = |of: &&Definition| VersionId { machine: of.machine.clone(), clock: of.clock, hash: of.hash };
    DefinitionMessage::Versions { versions: definitions.iter().map(id).collect(), after: None, more: false }
}

#[test]
fn a_daemon_that_joins_adopts_nothing_before_the_machines_of_the_mesh_are_compiled_here() {
    let mut plane = linked();
    let versions: Vec<Definition> = (1..=2).map(|clock| version("m", clock, &[]).0).collect();
    let says_why = |plane: &Plane| plane.reason().contains("waiting for the mesh's machines");
    let waits = |plane: &Plane| !plane.claims && !plane.joined() && says_why(plane);
    assert!(waits(&plane), "no list is known");
    plane.told(list(&versions.iter().collect::<Vec<_>>()));
    assert!(waits(&plane), "they are to be fetched");
    plane.told(DefinitionMessage::Definitions { definitions: versions });
    for _ in 0..2 {
        assert!(waits(&plane), "they are to be compiled");
        plane.finish();
    }
    assert!(plane.claims && plane.joined(), "{}", plane.reason());
}

#[test]
fn daemons_that_have_no_machines_do_not_wait_for_each_other() {
    let mut plane = linked();
    let digest = plane.control.definitions.digest();
    plane.told(DefinitionMessage::Digest { digest });
    assert!(plane.claims && plane.joined(), "{}", plane.reason());
}

#[test]
fn machines_that_do_not_come_are_waited_for_no_longer_than_ten_seconds() {
    let [mut plane, other] = two_without_links();
    link(&mut plane);
    plane.told(list(&[&version("m", 1, &[]).0]));
    let mut planes = [plane, other];
    run_both(&mut planes, Duration::from_secs(7));
    assert!(!planes[0].claims && !planes[0].joined());
    run_both(&mut planes, Duration::from_secs(2));
    assert!(planes[0].claims && planes[0].joined(), "{}", planes[0].reason());
}

#[test]
fn what_a_member_died_with_before_it_gave_it_does_not_keep_machine_files_out() {
    let mut plane = linked();
    let (given, machine) = version("m", 1, &[]);
    plane.control.keep_files(vec![Loaded { machine }]);
    plane.told(list(&[&version("m", 2, &[]).0]));
    assert!(!plane.has(&given) && !plane.joined(), "another version is on its way");
    // It does not answer any more.
    plane.run(Duration::from_secs(5));
    assert!(plane.has(&given) && plane.joined(), "{}", plane.reason());
}

/// What a turn said to members: bytes of keys, and which parts it asked them about.
fn told_in_a_turn(plane: &mut Plane) -> (usize, Vec<(u32, IndexMessage)>) {
    plane.control.handle(Wake::Tick, plane.now);
    let (mut bytes, mut questions) = (0, Vec::new());
    while let Some(command) = plane.shared.reactors.next_command(0) {
        let Command::Send { member, frame } = command else { continue };
        match PeerFrame::decode(&frame) {
            Some(PeerFrame::Keys(body)) => bytes += body.len(),
            Some(PeerFrame::Control(body)) => {
                if let Ok(PeerMessage::Index(IndexMessage::Whole { number, set })) = PeerMessage::decode(body) {
                    questions.push((member, IndexMessage::Kept { number, set }));
                }
            }
            _ => {}
        }
    }
    (bytes, questions)
}

#[test]
fn a_turn_tells_no_more_keys_than_it_has_time_for_and_the_next_one_comes_at_once() {
    let discovery = Discovery { service: None, alone_after: Some(Duration::ZERO), ..by_service() };
    let mut plane = Plane::new(discovery, Dns::Silent);
    plane.run(Duration::from_secs(1));
    let standbys = ["b", "c"].map(|name| MemberName::new(name).unwrap());
    for partition in 0..16 {
        let key = |n: u64| LostKey {
            machine: "m".into(),
            key: format!("{:016x}", u64::from(partition) << 32 | n).into(),
            run: statemesh_protocol::run::RunId(1),
            before: true,
            tenure: statemesh_protocol::tenure::Tenure(1),
        };
        let lost: Vec<LostKey> = (0..8_000).map(key).collect();
        plane.shared.shards.of(partition).claim().adopt(partition, &lost, &mut Run::new(Clock::new(Instant::now)));
        plane.control.keys.index.set_standbys(partition, standbys.iter());
    }
    let members = standbys.each_ref().map(|name| plane.control.members.number(name));
    standbys.iter().for_each(|name| plane.control.keys.index.link_up(name));
    let (mut turns, mut total) = (0, 0);
    loop {
        let (bytes, questions) = told_in_a_turn(&mut plane);
        if bytes == 0 && questions.is_empty() {
            break;
        }
        turns += 1;
        total += bytes;
        // Of a key whose loss is told by its hash there are 51 bytes.
        let one = 8_000 * 51 + 11;
        assert!(bytes < PART_BYTES + one, "{bytes} bytes in a turn");
        assert!(bytes < PART_BYTES || plane.control.next_deadline() <= Some(plane.now), "more is to be told at once");
        for (member, kept) in questions {
            let at = members.iter().position(|number| *number == member).unwrap();
            plane.control.keys.index.message(&standbys[at], kept);
        }
    }
    assert!(
        total > 2 * 16 * 8_000 * 16 && turns >= total / (PART_BYTES + 8_000 * 51),
        "{total} bytes in {turns} turns"
    );
}
