//! Changes as watchers get them from a daemon with several reactors.

use std::collections::BTreeMap;

use super::*;

const WRITERS: usize = 4;
const ROUNDS: usize = 40;
const PIPELINED: usize = 100;
/// One for each event, and one for the beginning of each key.
const CHANGES: usize = WRITERS * ROUNDS * PIPELINED + 3;

/// Sends events to a few keys that all writers share.
fn write(daemon: &Daemon) {
    let mut client = daemon.client().client;
    for _ in 0..ROUNDS {
        for n in 0..PIPELINED {
            let event = json!({"type": "ADD", "by": 1});
            let request = json!({"op": "send", "machine": "counter", "key": (n % 3).to_string(), "event": event});
            client.push(&serde_json::to_vec(&request).unwrap());
        }
        client.flush().unwrap();
        for _ in 0..PIPELINED {
            client.receive(PATIENCE).unwrap();
        }
    }
}

fn watch(daemon: &Daemon) -> Client {
    let changes = daemon.node.handle().addresses().changes;
    let mut watcher = Client::connect(changes, SocketType::Sub, PATIENCE).unwrap();
    watcher.subscribe(b"counter/");
    watcher.flush().unwrap();
    watcher
}

/// Reads all changes; gives how many, and how many came after a later one of their key.
fn read(watcher: &mut Client) -> (usize, usize) {
    let mut last: BTreeMap<Vec<u8>, (String, u64)> = BTreeMap::new();
    let (mut all, mut late) = (0, 0);
    while all < CHANGES
        && let Ok(message) = watcher.receive(PATIENCE)
    {
        let topic = message.part_slice(0).unwrap().to_vec();
        let map: Value = rmp_serde::from_slice(message.part_slice(1).unwrap()).unwrap();
        let at = (map["run"].as_str().unwrap_or_default().to_owned(), map["seq"].as_u64().unwrap());
        all += 1;
        let before = last.entry(topic).or_insert_with(|| at.clone());
        late += usize::from(at < *before);
        *before = at;
    }
    (all, late)
}

#[test]
fn two_reactors_publish_the_changes_of_a_key_in_their_order() {
    let mut mesh = Mesh::new();
    mesh.limits.subscriber_bytes = 64 << 20;
    let daemon = mesh.start_with("one", 2);
    daemon.client().define();
    // Enough of them that each reactor has some.
    let watchers: Vec<Client> = (0..6).map(|_| watch(&daemon)).collect();
    std::thread::sleep(Duration::from_millis(200));
    let readers: Vec<_> =
        watchers.into_iter().map(|mut watcher| std::thread::spawn(move || read(&mut watcher))).collect();
    std::thread::scope(|scope| {
        (0..WRITERS).for_each(|_| _ = scope.spawn(|| write(&daemon)));
    });
    for reader in readers {
        let (all, late) = reader.join().unwrap();
        assert_eq!((all, late), (CHANGES, 0), "changes, and those that came late");
    }
}

#[test]
fn the_first_watcher_misses_nothing_of_reactors_that_had_nothing_to_do() {
    let mut mesh = Mesh::new();
    let daemon = mesh.start_with("one", 2);
    daemon.client().define();
    // Enough of them that each reactor has some, and has been asked while there was no watcher.
    let mut clients: Vec<Asker> = (0..16).map(|_| daemon.client()).collect();
    clients.iter_mut().for_each(|client| _ = client.ok(&json!({"op": "ping"})));
    // What is left to do since the start is done.
    std::thread::sleep(Duration::from_millis(100));
    let mut watcher = watch(&daemon);
    daemon.until("it watches", |daemon| daemon.gauge("statemesh_subscriptions") == 1.0);
    clients.iter_mut().enumerate().for_each(|(n, client)| _ = client.add(&n.to_string(), 1));
    for n in 0..16 {
        for _ in 0..2 {
            let change = watcher.receive(PATIENCE).unwrap();
            assert_eq!(change.part_slice(0).unwrap(), format!("counter/{n}").as_bytes());
        }
    }
}

#[test]
fn what_nobody_watches_any_more_or_ever_did_is_not_encoded() {
    let mut mesh = Mesh::new();
    mesh.limits.subscription_bytes = 16;
    let daemon = mesh.start("one");
    let mut asker = daemon.client();
    asker.define();
    let changes = daemon.node.handle().addresses().changes;
    let published = |daemon: &Daemon| daemon.counted("statemesh_changes_published_total");
    let mut watcher = Client::connect(changes, SocketType::Sub, PATIENCE).unwrap();
    watcher.subscribe(b"longer than it may be");
    watcher.flush().unwrap();
    daemon.until("it is refused", |daemon| daemon.counted("statemesh_refused_subscriptions_total") == 1.0);
    asker.add("k", 1);
    assert_eq!(published(&daemon), 0.0);
    watcher.subscribe(b"counter/");
    watcher.flush().unwrap();
    daemon.until("it watches", |daemon| daemon.gauge("statemesh_subscriptions") == 1.0);
    asker.add("k", 1);
    daemon.until("it is published", |daemon| published(daemon) == 1.0);
    // As a message, which is how older clients say it.
    watcher.push(b"\0counter/");
    watcher.flush().unwrap();
    daemon.until("nobody watches", |daemon| daemon.gauge("statemesh_subscriptions") == 0.0);
    asker.add("k", 1);
    asker.ok(&json!({"op": "ping"}));
    assert_eq!(published(&daemon), 1.0);
}
