//! What is lost with a daemon is said: of every key, and of no other.

use super::*;

const KEYS: u64 = 120;

fn key(n: u64) -> String {
    format!("k{n}")
}

/// Three daemons that share some keys, each with one event.
fn three(mesh: &mut Mesh) -> [Daemon; 3] {
    let daemons = ["one", "two", "three"].map(|name| mesh.start(name));
    daemons.iter().for_each(|daemon| daemon.sees(3));
    daemons[0].client().define();
    let mut asker = daemons[0].client();
    (0..KEYS).for_each(|n| drop(asker.add(&key(n), 1)));
    daemons
}

/// Asks for every key. Gives how many said that their instance is new; those that said nothing have all that was answered.
fn restarted(asker: &mut Asker) -> u64 {
    let mut restarted = 0;
    for n in 0..KEYS {
        let reply = asker.add(&key(n), 1);
        let is_new = reply["restarted"] == true;
        let count = asker.count(&key(n));
        assert_eq!(count, if is_new { 1 } else { 2 }, "{reply}");
        restarted += u64::from(is_new);
    }
    restarted
}

fn lost(daemons: &[&Daemon]) -> u64 {
    daemons.iter().map(|daemon| daemon.counted("statemesh_instances_lost_total") as u64).sum()
}

#[test]
fn a_daemon_that_is_killed_and_started_at_once_says_of_every_key_that_it_was_lost() {
    let mut mesh = Mesh::new();
    let [one, two, three] = three(&mut mesh);
    two.node.stop();
    let two = mesh.start("two");
    [&one, &two, &three].iter().for_each(|daemon| daemon.sees(3));
    let restarted = restarted(&mut one.client());
    assert!(restarted > KEYS / 6, "{restarted}");
    assert_eq!(lost(&[&one, &two, &three]), restarted);
}

#[test]
fn that_a_key_was_lost_is_said_after_its_partition_has_moved_and_after_the_next_death() {
    let mut mesh = Mesh::new();
    let [one, two, three] = three(&mut mesh);
    two.node.stop();
    one.until("the loss is counted", |_| lost(&[&one, &three]) > KEYS / 6);
    let four = mesh.start("four");
    four.sees(3);
    let held = |daemon: &Daemon| daemon.client().ask(&json!({"op": "members"}))["members"].clone();
    four.until("it holds its part", |four| held(four).to_string().contains("four"));
    std::thread::sleep(Duration::from_millis(500));
    // What it was handed goes with it; the loss of what was lost before is neither counted nor published again.
    four.node.stop();
    one.until("three knows", |_| {
        let view = three.client().ask(&json!({"op": "members"}));
        view["members"].as_array().unwrap().iter().filter(|m| m["status"] == "alive").count() == 2
    });
    std::thread::sleep(Duration::from_millis(500));
    let restarted = restarted(&mut one.client());
    assert_eq!(lost(&[&one, &three]), restarted);
}
