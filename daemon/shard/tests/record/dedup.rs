//! Dedup tokens: the same request again gets the same answer, another one with its token is refused.

use statemesh_mesh::ownership::Winner;

use super::{Daemon, code};

const TOKEN: &str = r#","dedup":"t""#;

#[test]
fn the_same_request_again_is_answered_again_and_not_applied() {
    let mut daemon = Daemon::new();
    let first = daemon.send("k", "GO", TOKEN);
    assert_eq!(first["value"], "b");
    daemon.send("k", "GO", "");
    let mut again = daemon.send("k", "GO", r#","id":7,"dedup":"t""#);
    assert_eq!(again.as_object_mut().unwrap().shift_remove("id").unwrap(), 7);
    assert_eq!(again, first);
    assert_eq!(daemon.op("get", "k", "")["value"], "a");
}

#[test]
fn what_a_daemon_sends_again_by_itself_is_not_applied_where_its_token_may_be_forgotten() {
    let mut daemon = Daemon::new();
    let with = |n: usize| format!(r#"{{"op":"send","machine":"m","key":"k","event":{{"type":"GO"}},"dedup":"t{n}"}}"#);
    (0..31).for_each(|n| _ = daemon.ask(&with(n)));
    assert_eq!(daemon.ask_again(&with(100))["seq"], 32, "all tokens of the key are there, and this one is new");
    let refused = daemon.ask_again(&with(101));
    assert_eq!(code(&refused), "outcome_unknown", "{refused}");
    assert_eq!(daemon.ask_again(&with(30))["seq"], 31, "one that is there is answered again");
    assert_eq!(daemon.ask(&with(101))["seq"], 33, "its client may try it");
}

#[test]
fn what_a_daemon_sends_again_by_itself_begins_no_new_life_where_a_removed_ones_tokens_were_forgotten_early() {
    let mut daemon = Daemon::new();
    let keys = ["k", "a", "b", "c", "d"];
    for key in keys {
        daemon.send(key, "GO", TOKEN);
        daemon.op("delete", key, "");
    }
    assert_eq!(daemon.run.counts.forgotten.tokens, 1, "that of k, for want of room");
    let again = r#"{"op":"send","machine":"m","key":"k","event":{"type":"GO"},"dedup":"t"}"#;
    assert_eq!(code(&daemon.ask_again(again)), "outcome_unknown");
    daemon.fire(300_000, 100);
    assert_eq!(code(&daemon.ask_again(again)), "ok", "by then it would have been forgotten anyway");
}

#[test]
fn of_many_tokens_those_go_first_whose_answers_said_nothing_of_a_loss() {
    let (mut here, mut there, mut third) = (Daemon::new(), Daemon::new(), Daemon::new());
    here.send("k", "GO", "");
    let lost = there.send("k", "GO", "");
    super::copies::merge(&mut there, &mut here, Winner::Here);
    assert_eq!(here.send("k", "GO", TOKEN)["conflict"]["run"], lost["run"]);
    third.send("k", "GO", TOKEN);
    (0..40).for_each(|n| _ = here.send("k", "GO", &format!(r#","dedup":"later{n}""#)));
    super::copies::merge(&mut third, &mut here, Winner::Here);
    let said = super::copies::all_said(&mut here, "k");
    assert!(said.contains(&(super::copies::life(&lost), 1)), "{said:?}");
}

#[test]
fn a_token_answers_no_other_event_and_no_other_op() {
    let mut daemon = Daemon::new();
    daemon.send("k", "GO", TOKEN);
    assert_eq!(code(&daemon.send("k", "OPEN", TOKEN)), "dedup_mismatch");
    assert_eq!(code(&daemon.op("stop", "k", TOKEN)), "dedup_mismatch");
    let other = r#"{"op":"send","machine":"m","key":"k","event":{"type":"GO","n":1},"dedup":"t"}"#;
    assert_eq!(code(&daemon.ask(other)), "dedup_mismatch");
    assert_eq!(daemon.op("get", "k", "")["seq"], 1);
}

#[test]
fn an_empty_token_is_none() {
    let mut daemon = Daemon::new();
    let empty = r#","dedup":"""#;
    daemon.send("k", "GO", empty);
    assert_eq!(daemon.send("k", "GO", empty)["value"], "a");
}

#[test]
fn a_repeat_for_an_ended_life_gets_that_lifes_answer_and_says_so() {
    let mut daemon = Daemon::new();
    let first = daemon.send("k", "END", TOKEN);
    assert_eq!(first["status"], "done");
    let second = daemon.op("start", "k", "");
    assert_ne!((&first["run"], second["run"].as_str().is_some()), (&second["run"], false));
    assert_eq!(second["seq"], 0, "a new life has a seq of its own");
    assert_eq!(daemon.send("k", "END", TOKEN), first);
    assert_eq!(daemon.op("get", "k", "")["status"], "active");
}

#[test]
fn a_refused_request_leaves_no_token_and_one_that_is_too_long_is_refused() {
    let mut daemon = Daemon::new();
    assert_eq!(code(&daemon.send("k", "BAD", TOKEN)), "event_failed");
    assert_eq!(daemon.send("k", "GO", TOKEN)["value"], "b");
    let long = format!(r#","dedup":"{}""#, "t".repeat(65));
    assert_eq!(code(&daemon.send("k", "GO", &long)), "dedup_too_long");
}

#[test]
fn tokens_move_with_their_instance() {
    let mut here = Daemon::new();
    let first = here.send("k", "END", TOKEN);
    here.op("start", "k", "");
    let parts = here.hand_off();
    let mut there = Daemon::new();
    there.receive(&parts);
    assert_eq!(there.send("k", "END", TOKEN), first);
    assert_eq!(code(&there.send("k", "GO", TOKEN)), "dedup_mismatch");
}

#[test]
fn a_token_of_what_changes_nothing_is_none() {
    let mut daemon = Daemon::new();
    let sent = daemon.send("k", "GO", TOKEN);
    for n in 0..40 {
        let token = format!(r#","dedup":"{n}""#);
        for _ in 0..2 {
            assert_eq!(daemon.op("get", "k", &token)["context"]["n"], 0, "it is read again");
        }
    }
    for op in ["get", "history", "explain"] {
        let rest = format!(r#","event":{{"type":"GO"}},"dedup":"{}""#, "t".repeat(65));
        assert_eq!(code(&daemon.op(op, "k", &rest)), "ok");
        assert_eq!(code(&daemon.op(op, "k", r#","event":{"type":"OPEN"},"dedup":"t""#)), "ok");
    }
    assert_eq!(daemon.send("k", "GO", TOKEN), sent);
}
