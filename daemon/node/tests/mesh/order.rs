//! The events of one connection for one key are applied in the order sent, whatever moves and whichever thread has the shards.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Counts the events that did not come right behind the one that was sent before them.
fn log() -> Value {
    let last = json!({"@expr": "event.n"});
    let wrong = json!({"@expr": "context.wrong + (event.n == context.last + 1 ? 0 : 1)"});
    json!({
        "id": "log", "initial": "on", "context": {"last": 0, "wrong": 0},
        "states": {"on": {"on": {"NEXT": {"actions": {"type": "@xstate.assign", "context": {"wrong": wrong, "last": last}}}}}}
    })
}

/// Ends the other threads, also when an assertion fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends numbered events for a few keys until it is told to end. Gives how many each key was sent.
fn send_until(done: &AtomicBool, address: SocketAddr, name: usize) -> Vec<u64> {
    let mut client = Client::connect(address, SocketType::Dealer, PATIENCE).unwrap();
    let mut sent = vec![0u64; 16];
    while !done.load(Ordering::Relaxed) {
        for _ in 0..8 {
            for (key, n) in sent.iter_mut().enumerate() {
                *n += 1;
                let event = json!({"type": "NEXT", "n": *n});
                let request = json!({"op": "send", "machine": "log", "key": format!("c{name}-{key}"), "event": event});
                client.push(&serde_json::to_vec(&request).unwrap());
            }
        }
        client.flush().unwrap();
        for _ in 0..8 * sent.len() {
            let reply = client.receive(PATIENCE).unwrap();
            let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
            assert_eq!(reply["ok"], true, "{reply}");
        }
    }
    sent
}

#[test]
fn events_keep_their_order_while_partitions_move_and_others_look_into_the_shards() {
    let mut mesh = Mesh::new();
    let one = mesh.start_with("one", 2);
    one.client().ok(&json!({"op": "define", "definition": log()}));
    let (done, address) = (AtomicBool::new(false), one.node.handle().addresses().clients);
    let done = &done;
    let sent: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4).map(|name| scope.spawn(move || send_until(done, address, name))).collect();
        // A list of instances holds each shard for a while.
        for _ in 0..2 {
            scope.spawn(move || {
                let mut client = Client::connect(address, SocketType::Dealer, PATIENCE).unwrap();
                while !done.load(Ordering::Relaxed) {
                    let list = json!({"op": "instances", "machine": "log", "limit": 1000});
                    client.call(&serde_json::to_vec(&list).unwrap(), PATIENCE).unwrap();
                }
            });
        }
        let end = End(done);
        for round in 0..3 {
            let two = mesh.start_with(&format!("two-{round}"), 2);
            two.sees(2);
            std::thread::sleep(Duration::from_millis(200));
            let LeaveReport { left_behind, .. } = two.node.leave(PATIENCE);
            assert_eq!(left_behind, 0);
            two.node.stop();
        }
        drop(end);
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let mut client = one.client();
    for (name, keys) in sent.iter().enumerate() {
        for (key, n) in keys.iter().enumerate() {
            let at = client.ok(&json!({"op": "get", "machine": "log", "key": format!("c{name}-{key}")}));
            assert_eq!((&at["context"]["last"], &at["context"]["wrong"]), (&json!(n), &json!(0)), "c{name}-{key}");
        }
    }
}
