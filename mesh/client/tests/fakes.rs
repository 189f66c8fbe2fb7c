//! The client against daemons that answer as each test says, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod fake;

use fake::{Act, Fake, publisher, slow_publisher};
use statemesh_client::{Client, ClientError, ErrorCode, Event, Notice, Op, Options, Order, Watcher};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const PAY: Event<'_> = Event::Named("PAY");

fn patient(fakes: &[&Fake]) -> Options {
    Options {
        addresses: fakes.iter().map(|fake| fake.address.to_string()).collect(),
        timeout: Duration::from_secs(2),
        patience: Duration::from_secs(5),
        tokens: Some("t".to_owned()),
        ..Options::at("")
    }
}

#[test]
fn a_request_is_sent_again_with_the_same_token_until_it_is_taken() {
    let fake = Fake::start(|n, _| match n {
        0 => Fake::refuse("limit_exceeded"),
        1 => Fake::refuse("outcome_unknown"),
        n => Fake::ok(n as u64),
    });
    let mut client = Client::connect(patient(&[&fake])).unwrap();
    assert_eq!(client.send("order", "1", PAY).unwrap().seq, 2);
    assert_eq!(client.send("order", "1", PAY).unwrap().seq, 3);
    let tokens: Vec<_> = fake.asked().into_iter().map(|asked| asked.dedup.unwrap()).collect();
    assert_eq!(tokens, ["t-1", "t-1", "t-1", "t-2"]);
}

#[test]
fn what_is_wrong_is_said_at_once() {
    let fake = Fake::start(|_, _| Fake::refuse("unknown_machine"));
    let mut client = Client::connect(patient(&[&fake])).unwrap();
    let error = client.get("order", "1").unwrap_err();
    assert_eq!((error.code(), fake.asked().len()), (Some(ErrorCode::UnknownMachine), 1));
    assert_eq!(error.to_string(), "unknown_machine: no");
}

#[test]
fn another_daemon_is_asked_when_one_does_not_answer() {
    let (dying, well) = (Fake::start(|_, _| Act::Hang), Fake::start(|_, _| Fake::ok(1)));
    let mut client = Client::connect(patient(&[&dying, &well])).unwrap();
    assert_eq!(client.send("order", "1", PAY).unwrap().seq, 1);
    assert_eq!(dying.asked(), well.asked(), "the same token");
    assert_eq!(dying.asked().len(), 1);
}

#[test]
fn another_daemon_is_asked_when_one_refuses_or_fails_only_after_all_the_patience() {
    for silent in [false, true] {
        // As a daemon that has not joined its mesh does: it waits itself before it refuses.
        let late = Fake::start(move |_, _| {
            std::thread::sleep(Duration::from_millis(if silent { 1_500 } else { 600 }));
            Fake::refuse("not_ready")
        });
        let well = Fake::start(|_, _| Fake::ok(1));
        let (timeout, patience) = (Duration::from_secs(1), Duration::from_millis(500));
        let mut client = Client::connect(Options { timeout, patience, ..patient(&[&late, &well]) }).unwrap();
        assert_eq!(client.send("order", "1", PAY).unwrap().seq, 1, "{silent}");
    }
}

#[test]
fn an_address_where_nobody_listens_is_passed_over() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let well = Fake::start(|_, _| Fake::ok(1));
    let addresses = vec![closed.clone(), well.address.to_string()];
    assert!(Client::connect(Options { addresses, ..patient(&[]) }).is_ok());
    let alone = Client::connect(Options { addresses: vec![closed], ..patient(&[]) });
    assert!(matches!(alone, Err(ClientError::Open(_))));
}

#[test]
fn without_a_token_an_event_that_may_have_been_applied_is_not_sent_again() {
    let (dying, well) = (Fake::start(|_, _| Act::Hang), Fake::start(|_, _| Fake::ok(1)));
    let mut client = Client::connect(Options { tokens: None, ..patient(&[&dying, &well]) }).unwrap();
    assert!(matches!(client.send("order", "1", PAY), Err(ClientError::Broken(_))));
    assert_eq!((dying.asked().len(), well.asked().len()), (1, 0));
    assert!(client.get("order", "1").is_ok(), "reading is harmless");
}

#[test]
fn requests_go_to_the_daemon_that_serves_the_key_and_follow_it() {
    let owner = Fake::start(|n, _| Fake::ok(n as u64));
    let (to, at) = (owner.address, Arc::new(OnceLock::new()));
    let itself = Arc::clone(&at);
    // It says that it serves the one partition itself, and then that it does not.
    let home = Fake::start(move |_, asked| match asked.op {
        Op::Placement => {
            let itself: &SocketAddr = itself.get().unwrap();
            Act::Answer(format!(r#""ok":true,"partitions":1,"owners":["a"],"clients":["{itself}"],"map":[0]"#))
        }
        _ => Fake::moved(to),
    });
    at.set(home.address).unwrap();
    let mut client = Client::connect(Options { to_owners: true, ..patient(&[&home]) }).unwrap();
    for seq in 0..3 {
        assert_eq!(client.send("order", "1", PAY).unwrap().seq, seq);
    }
    let ops: Vec<_> = home.asked().into_iter().map(|asked| (asked.op, asked.forward)).collect();
    assert_eq!(ops, [(Op::Placement, true), (Op::Send, false)]);
    assert!(owner.asked().iter().all(|asked| !asked.forward));
}

#[test]
fn a_watcher_says_what_it_missed() {
    let change = |run: u64, seq: u64| format!(r#"{{"run":"{run:x}","seq":{seq},"changed":true}}"#);
    let published = [(1, 1), (1, 2), (1, 5), (2, 1)].map(|(run, seq)| ("order/1", change(run, seq)));
    let changes = publisher(published.to_vec(), Duration::from_secs(5));
    let member = move |name: &str, at: String| format!(r#"{{"name":"{name}","status":"alive","changes":"{at}"}}"#);
    let members = format!(r#""ok":true,"members":[{}]"#, member("a", changes.to_string()));
    let fake = Fake::start(move |_, _| Act::Answer(members.clone()));
    let mut watcher = Watcher::new(Client::connect(patient(&[&fake])).unwrap(), "order/").unwrap();
    assert_eq!(watcher.watched(), 1);
    let mut orders = Vec::new();
    while orders.len() < 4 {
        match watcher.next(Duration::from_secs(5)).unwrap() {
            Notice::Change(change) => orders.push(change.order.unwrap()),
            Notice::Joined(_) => {}
            Notice::Silent { why, .. } => panic!("{why}"),
        }
    }
    assert_eq!(orders, [Order::First, Order::Next, Order::Missed(2), Order::NewLife]);
}

#[test]
fn a_watcher_finds_a_daemon_again_and_asks_another_one_about_it() {
    // Who subscribes gets one change, and then its connection ends.
    let change = r#"{"run":"1","seq":1,"changed":true}"#.to_owned();
    let changes = publisher(vec![("order/1", change)], Duration::ZERO);
    let answer = move |clients: String| {
        let member = format!(r#"{{"name":"a","status":"alive","changes":"{changes}","clients":"{clients}"}}"#);
        Act::Answer(format!(r#""ok":true,"members":[{member}]"#))
    };
    let second = Fake::start(move |_, _| answer(String::new()));
    let at = second.address.to_string();
    let first = Fake::start(move |n, _| if n == 0 { answer(at.clone()) } else { Act::Hang });
    let options = Options { patience: Duration::ZERO, ..patient(&[&first]) };
    let mut watcher = Watcher::new(Client::connect(options).unwrap(), "order/").unwrap();
    let mut heard = Vec::new();
    while heard.len() < 6 {
        heard.push(match watcher.next(Duration::from_secs(20)).unwrap() {
            Notice::Joined(_) => "joined",
            Notice::Change(change) if change.daemon == changes.to_string() => "change",
            Notice::Change(_) => "a stranger's",
            Notice::Silent { .. } => "silent",
        });
    }
    assert_eq!(heard, ["joined", "change", "silent", "joined", "change", "silent"]);
    assert!(!second.asked().is_empty() && first.asked().len() > 1, "the first does not answer any more");
}

#[test]
fn changes_come_as_they_arrive_while_a_daemon_that_is_asked_or_subscribed_to_hangs() {
    let change = |seq: usize| format!(r#"{{"run":"1","seq":{seq},"changed":true}}"#);
    let changes = (1..=58).map(|seq| ("order/1", change(seq))).collect();
    let changes = slow_publisher(changes, Duration::from_millis(100), Duration::from_secs(5));
    // It takes connections, as a process that was stopped does, and says nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let member = |at: SocketAddr| format!(r#"{{"name":"{at}","status":"alive","changes":"{at}"}}"#);
    let (well, hanging) = (member(changes), member(deaf.local_addr().unwrap()));
    let fake = Fake::start(move |n, _| match n {
        0 => Act::Answer(format!(r#""ok":true,"members":[{well}]"#)),
        1 => Act::Answer(format!(r#""ok":true,"members":[{well},{hanging}]"#)),
        _ => Act::Ignore,
    });
    let mut watcher = Watcher::new(Client::connect(patient(&[&fake])).unwrap(), "order/").unwrap();
    let (mut seen, mut last, mut longest) = (0, Instant::now(), Duration::ZERO);
    while seen < 58 {
        match watcher.next(Duration::from_secs(5)).unwrap() {
            Notice::Change(change) => {
                assert!(change.at.elapsed().unwrap() < Duration::from_millis(1_500), "{change:?}");
                (longest, last, seen) = (longest.max(last.elapsed()), Instant::now(), seen + 1);
            }
            Notice::Joined(_) | Notice::Silent { .. } => {}
        }
    }
    assert!(longest < Duration::from_millis(1_500), "{longest:?} without a change; one came each 100 ms");
    assert!(fake.asked().len() > 2, "the members were asked for, and that was not answered");
}

#[test]
fn a_daemon_that_cannot_be_watched_is_told_about_once() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asked = format!(r#""ok":true,"members":[{{"name":"a","status":"alive","changes":"{closed}"}}]"#);
    let fake = Fake::start(move |_, _| Act::Answer(asked.clone()));
    let mut watcher = Watcher::new(Client::connect(patient(&[&fake])).unwrap(), "").unwrap();
    assert!(matches!(watcher.next(Duration::from_secs(20)), Some(Notice::Silent { .. })));
    let asked_before = fake.asked().len();
    while fake.asked().len() < asked_before + 3 {
        assert!(watcher.next(Duration::from_millis(100)).is_none(), "the same again");
    }
}
