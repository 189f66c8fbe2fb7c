//! The async client against daemons that answer as each test says, over real sockets and without a runtime.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod fake;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use fake::{Act, Fake, publisher};
use statemesh_client::{
    AsyncClient, AsyncError, AsyncWatcher, Client, ClientError, ErrorCode, Event, Notice, Op, Options, Order, Room,
};

const PAY: Event<'_> = Event::Named("PAY");

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Sleeps until the future is woken, and not for ever.
fn block_on<F: Future>(future: F) -> F::Output {
    let (waker, mut future) = (Waker::from(Arc::new(Unpark(std::thread::current()))), pin!(future));
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => {
                assert!(Instant::now() < end, "no waker was called");
                std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
            }
        }
    }
}

fn patient(fakes: &[&Fake]) -> Options {
    Options {
        addresses: fakes.iter().map(|fake| fake.address.to_string()).collect(),
        timeout: Duration::from_secs(2),
        patience: Duration::from_secs(5),
        tokens: Some("t".to_owned()),
        ..Options::at("")
    }
}

fn until(holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn hundreds_of_requests_are_under_way_over_one_connection_in_the_order_of_the_calls() {
    let fake = Fake::start(|n, _| Fake::ok(n as u64));
    let client = AsyncClient::new(patient(&[&fake])).unwrap();
    let answers: Vec<_> = (0..500).map(|n| client.send("order", &n.to_string(), PAY)).collect();
    let seqs: Vec<_> = answers.into_iter().map(|answer| block_on(answer).unwrap().seq).collect();
    assert_eq!(seqs, (0..500).collect::<Vec<_>>());
    let tokens: Vec<_> = fake.asked().into_iter().map(|asked| asked.dedup.unwrap()).collect();
    assert_eq!(tokens, (1..=500).map(|n| format!("t-{n}")).collect::<Vec<_>>());
    assert_eq!(fake.connections(), 1);
}

#[test]
fn a_request_is_sent_again_with_the_same_token_until_it_is_taken() {
    let fake = Fake::start(|n, _| match n {
        0 => Fake::refuse("limit_exceeded"),
        1 => Fake::refuse("outcome_unknown"),
        n => Fake::ok(n as u64),
    });
    let client = AsyncClient::new(patient(&[&fake])).unwrap();
    assert_eq!(block_on(client.send("order", "1", PAY)).unwrap().seq, 2);
    let tokens: Vec<_> = fake.asked().into_iter().map(|asked| asked.dedup.unwrap()).collect();
    assert_eq!(tokens, ["t-1", "t-1", "t-1"]);
}

#[test]
fn what_is_wrong_is_said_at_once() {
    let fake = Fake::start(|_, _| Fake::refuse("unknown_machine"));
    let client = AsyncClient::new(patient(&[&fake])).unwrap();
    let error = block_on(client.get("order", "1")).unwrap_err();
    assert_eq!(error.to_string(), "unknown_machine: no");
    assert!(matches!(error, AsyncError::Client(error) if error.code() == Some(ErrorCode::UnknownMachine)));
}

#[test]
fn another_daemon_is_asked_when_one_does_not_answer() {
    let (dying, well) = (Fake::start(|_, _| Act::Hang), Fake::start(|n, _| Fake::ok(n as u64)));
    let client = AsyncClient::new(patient(&[&dying, &well])).unwrap();
    let answers: Vec<_> = (0..50).map(|n| client.send("order", &n.to_string(), PAY)).collect();
    answers.into_iter().for_each(|answer| _ = block_on(answer).unwrap());
    let mut tokens: Vec<_> = well.asked().into_iter().map(|asked| asked.dedup.unwrap()).collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!((tokens.len(), well.asked().len()), (50, 50), "each once");
}

#[test]
fn an_address_where_nobody_listens_is_passed_over() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let well = Fake::start(|_, _| Fake::ok(1));
    let addresses = vec![closed.clone(), well.address.to_string()];
    let client = AsyncClient::new(Options { addresses, ..patient(&[]) }).unwrap();
    assert!(block_on(client.send("order", "1", PAY)).is_ok());
    let alone = Options { addresses: vec![closed], patience: Duration::ZERO, ..patient(&[]) };
    let error = block_on(AsyncClient::new(alone).unwrap().members()).unwrap_err();
    assert!(matches!(error, AsyncError::Client(ClientError::Open(_))));
}

#[test]
fn requests_go_to_the_daemon_that_serves_the_key_and_follow_it() {
    let owner = Fake::start(|n, _| Fake::ok(n as u64));
    let (to, at) = (owner.address, Arc::new(OnceLock::new()));
    let itself = Arc::clone(&at);
    let home = Fake::start(move |_, asked| match asked.op {
        Op::Placement => {
            let itself: &SocketAddr = itself.get().unwrap();
            Act::Answer(format!(r#""ok":true,"partitions":1,"owners":["a"],"clients":["{itself}"],"map":[0]"#))
        }
        _ => Fake::moved(to),
    });
    at.set(home.address).unwrap();
    let client = AsyncClient::new(Options { to_owners: true, ..patient(&[&home]) }).unwrap();
    for seq in 0..3 {
        assert_eq!(block_on(client.send("order", "1", PAY)).unwrap().seq, seq);
    }
    let ops: Vec<_> = home.asked().into_iter().map(|asked| (asked.op, asked.forward)).collect();
    assert_eq!(ops, [(Op::Placement, true), (Op::Send, false)]);
    assert!(owner.asked().iter().all(|asked| !asked.forward));
}

#[test]
fn one_request_too_many_is_refused_until_another_is_over_or_forgotten() {
    let fake = Fake::start(|_, asked| if asked.op == Op::Get { Fake::ok(7) } else { Act::Ignore });
    let client = AsyncClient::with_room(patient(&[&fake]), Room { requests: 2, bytes: 1_000 }).unwrap();
    let waits = [client.send("order", "1", PAY), client.send("order", "2", PAY)];
    assert!(matches!(block_on(client.get("order", "1")), Err(AsyncError::Full { requests: 2, .. })));
    drop(waits);
    assert_eq!(block_on(client.get("order", "1")).unwrap().outcome.seq, 7);
    let large = format!(r#"{{"type":"PAY","note":"{}"}}"#, "x".repeat(1_000));
    let refused = block_on(client.send("order", "1", Event::Whole(large.as_bytes())));
    assert!(matches!(refused, Err(AsyncError::Full { requests: 0, bytes: 0 })));
}

#[test]
fn a_daemon_that_is_silent_is_left() {
    let (silent, well) = (Fake::start(|_, _| Act::Ignore), Fake::start(|_, _| Fake::ok(1)));
    let options = Options { timeout: Duration::from_millis(300), ..patient(&[&silent, &well]) };
    let client = AsyncClient::new(options).unwrap();
    assert_eq!(block_on(client.send("order", "1", PAY)).unwrap().seq, 1);
    assert_eq!((silent.asked(), silent.asked().len()), (well.asked(), 1), "the same token");
    until(|| silent.connections() == 0);
}

#[test]
fn a_tell_is_over_when_it_is_on_its_way() {
    let fake = Fake::start(|_, _| Act::Ignore);
    let client = AsyncClient::new(patient(&[&fake])).unwrap();
    let tell = statemesh_client::Ask { event: Some(PAY), ..client.about(Op::Tell, "order", "1") };
    block_on(client.ask(&tell)).unwrap();
    until(|| fake.asked().len() == 1);
}

#[test]
fn large_requests_and_many_of_them_get_through_a_socket_that_is_full() {
    let fake = Fake::start(|_, _| {
        std::thread::sleep(Duration::from_millis(1));
        Fake::ok(1)
    });
    let client = AsyncClient::new(patient(&[&fake])).unwrap();
    let large = format!(r#"{{"type":"PAY","note":"{}"}}"#, "x".repeat(200_000));
    let answers: Vec<_> = (0..100).map(|_| client.send("order", "1", Event::Whole(large.as_bytes()))).collect();
    answers.into_iter().for_each(|answer| _ = block_on(answer).unwrap());
    assert_eq!(fake.asked().len(), 100);
}

#[test]
fn the_connections_end_with_the_last_clone_and_future() {
    let fake = Fake::start(|n, _| if n == 1 { Act::Ignore } else { Fake::ok(1) });
    let client = AsyncClient::new(patient(&[&fake])).unwrap();
    let clone = client.clone();
    drop(client);
    block_on(clone.send("order", "1", PAY)).unwrap();
    let waits = clone.send("order", "2", PAY);
    drop(clone);
    until(|| fake.asked().len() == 2);
    assert_eq!(fake.connections(), 1, "a future waits");
    drop(waits);
    until(|| fake.connections() == 0);
}

#[test]
fn a_watcher_says_what_it_missed() {
    let change = |run: u64, seq: u64| format!(r#"{{"run":"{run:x}","seq":{seq},"changed":true}}"#);
    let published = [(1, 1), (1, 2), (1, 5), (2, 1)].map(|(run, seq)| ("order/1", change(run, seq)));
    let changes = publisher(published.to_vec(), Duration::from_secs(5));
    let members = format!(r#""ok":true,"members":[{{"name":"a","status":"alive","changes":"{changes}"}}]"#);
    let fake = Fake::start(move |_, _| Act::Answer(members.clone()));
    let mut watcher = AsyncWatcher::new(Client::new(patient(&[&fake])), "order/").unwrap();
    let mut orders = Vec::new();
    while orders.len() < 4 {
        match block_on(watcher.next()).unwrap().unwrap() {
            Notice::Change(change) => orders.push(change.order.unwrap()),
            Notice::Joined(_) => {}
            Notice::Silent { why, .. } => panic!("{why}"),
        }
    }
    assert_eq!(orders, [Order::First, Order::Next, Order::Missed(2), Order::NewLife]);
    drop(watcher);
    until(|| fake.connections() == 0);
}

#[test]
fn a_watcher_of_a_mesh_that_cannot_be_reached_says_so_and_ends() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut watcher = AsyncWatcher::new(Client::new(Options::at(&closed)), "").unwrap();
    assert!(matches!(block_on(watcher.next()), Some(Err(ClientError::Open(_)))));
    assert!(block_on(watcher.next()).is_none());
}
