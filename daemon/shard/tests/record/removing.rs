//! `delete`: an instance is gone, its key is free, what was answered is remembered for a while.

use serde_json::Value;
use statemesh_mesh::key_index::LostKey;
use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::Tenure;
use statemesh_shard::{KeyNote, KnownKey};

use super::{Daemon, code};

const TOKEN: &str = r#","dedup":"t""#;
const DEDUP_FOR: u64 = 300_000;
const KEEP: u64 = 3_600_000;

/// How the standbys were told of keys since the last time: whether each is there.
fn told(daemon: &mut Daemon) -> Vec<(String, bool)> {
    let named = |note: KeyNote| match note.known {
        KnownKey::Live { key, .. } => Some((key.to_string(), true)),
        KnownKey::Removed { key, .. } => Some((key.to_string(), false)),
        _ => None,
    };
    std::mem::take(&mut daemon.run.notes).into_iter().filter_map(named).collect()
}

fn run_of(reply: &Value) -> &str {
    reply["run"].as_str().unwrap()
}

#[test]
fn an_active_instance_is_stopped_and_gone_and_its_key_begins_a_new_life() {
    let mut daemon = Daemon::new();
    let before = daemon.send("k", "GO", "");
    daemon.published();
    let gone = daemon.op("delete", "k", "");
    assert_eq!((&gone["ok"], &gone["status"], &gone["changed"]), (&true.into(), &"stopped".into(), &true.into()));
    assert_eq!((run_of(&gone), gone["seq"].as_u64()), (run_of(&before), Some(2)));
    let change = daemon.published().pop().unwrap();
    assert_eq!(
        (&change["reason"], &change["status"], &change["seq"]),
        (&"delete".into(), &"stopped".into(), &2.into())
    );
    assert_eq!(code(&daemon.op("get", "k", "")), "unknown_instance");
    assert_eq!(code(&daemon.op("delete", "k", "")), "unknown_instance");
    assert_eq!(daemon.shards.instances(), 0);
    assert_eq!((daemon.run.counts.removed, daemon.run.counts.created), (1, 1));
    // Its timer went with it, in the same millisecond another life begins: its run is a later one.
    let next = daemon.send("k", "GO", "");
    assert!(run_of(&next) > run_of(&before), "{next}");
    assert_eq!((next["seq"].as_u64(), next["restarted"].is_null()), (Some(1), true));
}

#[test]
fn one_that_has_ended_or_is_stuck_goes_as_it_is() {
    let mut daemon = Daemon::new();
    let ended = daemon.send("k", "END", "");
    let gone = daemon.op("delete", "k", "");
    assert_eq!((&gone["status"], &gone["seq"]), (&"done".into(), &ended["seq"]));
    daemon.send("k", "WAIT", "");
    daemon.fire(2_000, 100);
    assert_eq!(daemon.op("get", "k", "")["stuck"], true);
    assert_eq!(daemon.op("delete", "k", "")["ok"], true);
    assert_eq!(code(&daemon.op("get", "k", "")), "unknown_instance");
    daemon.fire(100_000, 100);
    assert_eq!(daemon.shards.instances(), 0);
}

#[test]
fn conditions_are_looked_at_first() {
    let mut daemon = Daemon::new();
    let there = daemon.send("k", "GO", "");
    assert_eq!(code(&daemon.op("delete", "k", r#","if_seq":7"#)), "condition_failed");
    let fits = format!(r#","if_run":"{}","if_seq":1"#, run_of(&there));
    assert_eq!(code(&daemon.op("delete", "k", &fits)), "ok");
}

#[test]
fn what_was_answered_before_is_answered_again_and_so_is_the_removal_itself() {
    let mut daemon = Daemon::new();
    let sent = daemon.send("k", "GO", TOKEN);
    let gone = daemon.op("delete", "k", r#","dedup":"d""#);
    assert_eq!(daemon.send("k", "GO", TOKEN), sent);
    assert_eq!(daemon.op("delete", "k", r#","dedup":"d""#), gone);
    assert_eq!(code(&daemon.send("k", "OPEN", TOKEN)), "dedup_mismatch");
    assert_eq!(code(&daemon.op("get", "k", "")), "unknown_instance", "a repeat begins nothing");
    // A new life goes on with the tokens; one that is refused its first event takes nothing away.
    assert_eq!(code(&daemon.send("k", "BAD", "")), "event_failed");
    assert_eq!(daemon.send("k", "GO", TOKEN), sent);
    let next = daemon.op("start", "k", "");
    assert!(run_of(&next) > run_of(&sent));
    assert_eq!(daemon.send("k", "GO", TOKEN), sent);
    assert_eq!(daemon.op("get", "k", "")["seq"], 0);
}

#[test]
fn tokens_are_forgotten_after_their_time_and_the_oldest_before_it_where_there_are_too_many() {
    let mut daemon = Daemon::new();
    daemon.send("k", "GO", TOKEN);
    daemon.op("delete", "k", "");
    assert_eq!(daemon.shards.removed(), 1);
    assert!(daemon.shards.of(0).due() <= DEDUP_FOR, "somebody looks by then");
    daemon.fire(DEDUP_FOR, 100);
    assert_eq!(daemon.shards.removed(), 0);
    assert_eq!(daemon.send("k", "GO", TOKEN)["seq"], 1, "it is a new request by now");
    for n in 0..6 {
        daemon.send(&format!("many{n}"), "GO", TOKEN);
        daemon.op("delete", &format!("many{n}"), "");
    }
    assert_eq!((daemon.shards.removed(), daemon.run.counts.forgotten.tokens), (4, 2));
    let again = daemon.send("many5", "GO", TOKEN);
    assert_eq!((again["seq"].as_u64(), code(&daemon.op("get", "many5", ""))), (Some(1), "unknown_instance"));
    daemon.send("many0", "GO", TOKEN);
    assert_eq!(code(&daemon.op("get", "many0", "")), "ok");
}

#[test]
fn the_standbys_hear_of_it_by_numbers_in_its_order() {
    let mut daemon = Daemon::new();
    daemon.send("k", "GO", "");
    daemon.op("delete", "k", "");
    daemon.send("k", "GO", "");
    daemon.op("delete", "k", "");
    let k = |is_there| ("k".to_owned(), is_there);
    let numbers: Vec<u64> = daemon.run.notes.iter().map(|note| note.number).collect();
    let first = numbers[0];
    assert_eq!(numbers, (first..first + 4).collect::<Vec<_>>());
    assert_eq!(told(&mut daemon), [k(true), k(false), k(true), k(false)]);
    // What is refused has not been, and takes no number.
    let refused = daemon.send("k", "BAD", "");
    daemon.send("l", "GO", "");
    let known = daemon.shards.of(0).try_claim().unwrap().known_keys(0);
    let last = daemon.run.notes.last().map(|note| note.number);
    assert_eq!((code(&refused), last, known.number), ("event_failed", Some(first + 4), first + 4));
}

#[test]
fn what_is_left_goes_with_its_partition_and_comes_back_with_it() {
    let mut here = Daemon::new();
    let sent = here.send("k", "GO", TOKEN);
    here.op("delete", "k", "");
    let parts = here.hand_off();
    assert_eq!(here.shards.removed(), 0);
    here.reopen(&[]);
    assert_eq!(here.send("k", "GO", TOKEN), sent);
    let mut there = Daemon::new();
    there.receive(&parts);
    assert_eq!(there.send("k", "GO", TOKEN), sent);
    assert!(run_of(&there.send("k", "GO", "")) > run_of(&sent));
    there.shards.of(0).try_claim().unwrap().receive(0, 2, None, &mut there.run);
    assert_eq!(there.shards.removed(), 0, "what is expected takes the place of what is there");
}

#[test]
fn a_mark_of_the_key_is_told_with_the_removal_and_not_after_it() {
    let mut daemon = Daemon::new();
    let lost = statemesh_mesh::key_index::LostKey {
        machine: "m".into(),
        key: "k".into(),
        run: statemesh_protocol::run::RunId(3),
        before: false,
        tenure: statemesh_protocol::tenure::Tenure(1),
    };
    daemon.adopt(&[lost]);
    assert_eq!(code(&daemon.op("delete", "k", "")), "unknown_instance");
    daemon.ask(r#"{"op":"tell","machine":"m","key":"k","event":{"type":"GO"}}"#);
    assert_eq!(daemon.op("delete", "k", "")["restarted"], true);
    assert!(daemon.send("k", "GO", "")["restarted"].is_null());
}

#[test]
fn what_has_ended_stays_for_a_while_and_goes_by_itself() {
    let mut daemon = Daemon::new();
    daemon.run.now = 5_000;
    daemon.send("done", "END", TOKEN);
    daemon.op("start", "stopped", "");
    daemon.op("stop", "stopped", "");
    daemon.send("active", "GO", "");
    daemon.send("stuck", "WAIT", "");
    daemon.fire(10_000, 100);
    assert_eq!(daemon.op("get", "stuck", "")["stuck"], true);
    daemon.published();
    daemon.fire(KEEP + 4_999, 100);
    assert_eq!(daemon.shards.instances(), 4);
    daemon.fire(KEEP + 5_000, 100);
    let gone: Vec<_> = daemon.published().into_iter().filter(|change| change["reason"] == "expire").collect();
    assert_eq!(gone.iter().map(|change| change["status"].as_str().unwrap()).collect::<Vec<_>>(), ["done", "stopped"]);
    assert_eq!((daemon.shards.instances(), daemon.shards.removed(), daemon.run.counts.removed), (2, 1, 2));
    assert_eq!(code(&daemon.op("get", "done", "")), "unknown_instance");
    assert_eq!(daemon.send("done", "END", TOKEN)["status"], "done", "its token is remembered");
    let next = daemon.send("done", "GO", "");
    assert_eq!((next["status"].as_str(), next["seq"].as_u64()), (Some("active"), Some(1)));
}

#[test]
fn what_has_ended_and_of_which_a_loss_is_still_to_be_said_stays_until_that_is_said() {
    let mut daemon = Daemon::new();
    daemon.adopt(&[LostKey { machine: "m".into(), key: "k".into(), run: RunId(3), before: false, tenure: Tenure(1) }]);
    daemon.ask(r#"{"op":"tell","machine":"m","key":"k","event":{"type":"END"}}"#);
    daemon.send("other", "END", "");
    daemon.fire(2 * KEEP - 1, 100);
    assert_eq!(code(&daemon.op("get", "other", "")), "unknown_instance");
    assert_eq!(daemon.shards.make_room(1, &mut daemon.run), [] as [usize; 0]);
    let told = daemon.send("k", "NOTHING", "");
    assert_eq!((&told["status"], &told["restarted"]), (&"done".into(), &true.into()), "{told}");
    daemon.fire(3 * KEEP, 100);
    assert_eq!(code(&daemon.op("get", "k", "")), "unknown_instance");
}

#[test]
fn one_that_began_again_is_not_removed_for_its_former_life() {
    let mut daemon = Daemon::new();
    daemon.send("k", "END", "");
    daemon.fire(KEEP / 2, 100);
    daemon.op("start", "k", "");
    daemon.send("k", "GO", "");
    daemon.fire(KEEP, 100);
    assert_eq!(daemon.op("get", "k", "")["value"], "b");
    daemon.send("k", "GO", "");
    daemon.send("k", "END", "");
    daemon.fire(2 * KEEP - 1, 100);
    assert_eq!(daemon.op("get", "k", "")["status"], "done");
    daemon.fire(2 * KEEP, 100);
    assert_eq!(code(&daemon.op("get", "k", "")), "unknown_instance");
}

#[test]
fn the_time_of_what_has_ended_goes_on_at_a_daemon_that_began_after_it_had() {
    let mut here = Daemon::new();
    here.send("k", "END", "");
    here.run.now = KEEP - 10;
    let parts = here.hand_off();
    let mut there = Daemon::new();
    there.run.now = 5;
    there.receive(&parts);
    assert_eq!(there.shards.of(0).due(), 15);
}

#[test]
fn the_time_of_what_has_ended_goes_on_where_its_partition_moves() {
    let mut here = Daemon::new();
    here.send("k", "END", "");
    here.run.now = KEEP / 2;
    let parts = here.hand_off();
    let mut there = Daemon::new();
    there.run.now = KEEP;
    let mut state = there.shards.of(0).try_claim().unwrap();
    state.hand_off(0, 1_000, &mut there.run);
    state.receive(0, 1, None, &mut there.run);
    parts.iter().for_each(|part| assert_eq!(state.receive_part(0, 1, part, true, &mut there.run).unwrap().rejected, 0));
    // While it arrives, its time may be over already.
    state.serve(0, &mut there.run);
    drop(state);
    there.fire(KEEP + KEEP / 2 - 1, 100);
    assert_eq!(there.shards.instances(), 1);
    there.fire(KEEP + KEEP / 2, 100);
    assert_eq!(there.shards.instances(), 0);
}

#[test]
fn near_the_limit_those_that_ended_first_make_room_but_for_those_with_tokens() {
    let mut daemon = Daemon::new();
    for n in 0..10 {
        daemon.run.now = n;
        daemon.send(&format!("k{n}"), "END", if n == 2 { TOKEN } else { "" });
    }
    daemon.op("start", "active", "");
    assert!(!daemon.run.wants_room, "there is room for a thousand");
    // As if there might be that many.
    assert_eq!(daemon.shards.make_room(13, &mut daemon.run), [] as [usize; 0]);
    assert_eq!(daemon.shards.make_room(9, &mut daemon.run), [0; 4]);
    assert_eq!(daemon.shards.instances(), 7);
    let there = |daemon: &mut Daemon, key: &str| code(&daemon.op("get", key, "")) == "ok";
    assert!(["k2", "k5", "k9", "active"].iter().all(|key| there(&mut daemon, key)));
    assert!(["k0", "k1", "k3", "k4"].iter().all(|key| !there(&mut daemon, key)));
    (0..3).for_each(|_| _ = daemon.shards.make_room(1, &mut daemon.run));
    assert!(there(&mut daemon, "k2") && there(&mut daemon, "active"));
    assert_eq!(daemon.shards.instances(), 2);
}
