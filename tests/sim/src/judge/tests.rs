//! A history with one contradiction each, which is found; and without one, where nothing is.

use super::*;
use serde_json::json;

fn sent(judge: &mut Judge, id: u64, at: u64) {
    sent_with(judge, id, at, false);
}

fn sent_with(judge: &mut Judge, id: u64, at: u64, dedup: bool) {
    let attempt = Attempt {
        event: Some(id),
        key: "k".into(),
        op: "send",
        wire: 1,
        daemon: 0,
        at,
        again: false,
        dedup,
        told: false,
        end: End::Open,
    };
    judge.sent(id, attempt);
}

fn ok(judge: &mut Judge, id: u64, seq: u64, at: u64) {
    judge.reply(1, &json!({"id": id, "ok": true, "seq": seq, "changed": true}), at);
}

fn verdict(judge: Judge) -> String {
    judge.verdict(Terms::default()).join("\n")
}

fn three() -> Judge {
    let mut judge = Judge::default();
    (1..=3).for_each(|id| sent(&mut judge, id, id));
    (1..=3).for_each(|id| ok(&mut judge, id, id, 10 + id));
    judge
}

#[test]
fn books_that_balance_are_fine() {
    let mut judge = three();
    judge.ends_with("k", Some(vec![1, 2, 3]));
    assert_eq!(verdict(judge), "");
}

#[test]
fn what_is_doubled_overtaken_or_missing_is_found() {
    for (log, what) in [
        (vec![1, 2, 2, 3], "twice"),
        (vec![2, 1, 3], "behind it"),
        (vec![1, 3], "without a word"),
        (vec![1, 2, 3, 9], "never sent"),
    ] {
        let mut judge = three();
        judge.ends_with("k", Some(log.clone()));
        let found = verdict(judge);
        assert!(found.contains(what), "{log:?}: {found}");
    }
    let mut none = three();
    none.ends_with("k", None);
    assert!(verdict(none).contains("is gone without a word"), "no instance at all");
}

#[test]
fn a_repeat_may_count_once_its_token_is_forgotten_and_not_before() {
    for (others, fine) in [(31, false), (32, true)] {
        let mut judge = Judge::default();
        (1..=others + 1).for_each(|id| sent_with(&mut judge, id, id, true));
        (1..=others + 1).for_each(|id| ok(&mut judge, id, id, 100 + id));
        let again = judge.attempts[&1].clone();
        judge.sent(1_000, Attempt { again: true, ..again });
        judge.ends_with("k", Some((1..=others + 1).chain([1]).collect()));
        let found = verdict(judge);
        assert_eq!(found.contains("twice"), !fine, "{others}: {found}");
    }
}

#[test]
fn what_its_client_sent_once_is_never_there_twice() {
    let mut judge = Judge::default();
    (1..=40).for_each(|id| sent_with(&mut judge, id, id, true));
    (1..=40).for_each(|id| ok(&mut judge, id, id, 100 + id));
    judge.ends_with("k", Some((1..=40).chain([1]).collect()));
    assert!(verdict(judge).contains("twice"));
}

#[test]
fn what_was_said_to_be_lost_may_be_missing_but_nothing_else() {
    let mut judge = three();
    sent(&mut judge, 4, 20);
    judge.reply(1, &json!({"id": 4, "ok": true, "seq": 1, "changed": true, "restarted": true}), 21);
    judge.ends_with("k", Some(vec![4]));
    assert_eq!(verdict(judge), "");
    let mut judge = three();
    sent(&mut judge, 4, 20);
    judge.reply(1, &json!({"id": 4, "ok": true, "seq": 4, "changed": true, "restarted": true}), 21);
    judge.ends_with("k", Some(vec![1, 2, 3, 4]));
    assert!(verdict(judge).contains("what was before is there"));
}

#[test]
fn that_a_life_is_gone_is_said_by_what_names_it_from_there_on_or_by_a_later_instance() {
    let conflict = |run: &str, from: u64| json!({"reason": "merged", "lost_from": from, "run": run});
    let judged = |more: Value| {
        let mut judge = Judge::default();
        sent(&mut judge, 1, 1);
        judge.reply(1, &json!({"id": 1, "ok": true, "seq": 5, "changed": true, "run": "7"}), 11);
        sent(&mut judge, 2, 20);
        let mut reply = json!({"id": 2, "ok": true, "seq": 1, "changed": true, "run": "8"});
        reply.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        judge.reply(1, &reply, 21);
        judge.ends_with("k", Some(vec![2]));
        verdict(judge)
    };
    for said in
        [json!({"conflict": conflict("7", 5)}), json!({"conflict": conflict("7", 1)}), json!({"restarted": true})]
    {
        assert_eq!(judged(said), "");
    }
    for other in [
        json!({"conflict": conflict("6", 1)}),
        json!({"conflict": conflict("7", 6)}),
        json!({"restarted": true, "run": "6"}),
    ] {
        assert!(
            judged(other)
                .contains("event 1, acknowledged at 0.000000 s as 5 of 0000000000000007, is gone without a word")
        );
    }
}

fn removed(judge: &mut Judge, id: u64, at: u64) {
    sent(judge, id, at);
    let attempt = judge.attempts.get_mut(&id).unwrap();
    (attempt.op, attempt.event) = ("delete", None);
    judge.reply(1, &json!({"id": id, "ok": true, "seq": 4, "changed": true, "run": "7"}), at + 1);
}

#[test]
fn what_was_removed_may_be_missing_and_must_not_be_there() {
    let mut judge = three();
    removed(&mut judge, 9, 20);
    judge.ends_with("k", None);
    assert_eq!(verdict(judge), "");
    let lossless = |judge: Judge| judge.verdict(Terms { lossless: true, ..Terms::default() }).join("\n");
    let again = |run: &str, log: Vec<u64>| {
        let mut judge = Judge::default();
        (1..=2).for_each(|id| sent(&mut judge, id, id));
        (1..=2).for_each(|id| _ = judge.reply(1, &json!({"id": id, "ok": true, "seq": id, "run": "7"}), 10 + id));
        removed(&mut judge, 9, 20);
        sent(&mut judge, 10, 30);
        judge.reply(1, &json!({"id": 10, "ok": true, "seq": 1, "changed": true, "run": run}), 31);
        judge.ends_with("k", Some(log));
        judge
    };
    assert_eq!(lossless(again("8", vec![10])), "");
    assert!(lossless(again("8", vec![1, 2, 10])).contains("is there, and was removed"));
    assert!(lossless(again("7", vec![10])).contains("then there is 0000000000000007"));
}

#[test]
fn a_rollback_and_a_second_answer_are_found() {
    let mut judge = three();
    sent(&mut judge, 4, 20);
    ok(&mut judge, 4, 2, 21);
    ok(&mut judge, 4, 2, 22);
    judge.ends_with("k", Some(vec![1, 2, 3, 4]));
    let found = verdict(judge);
    assert!(found.contains("seq 3 was answered") && found.contains("a second one"), "{found}");
}

#[test]
fn a_refused_event_that_is_there_is_found_and_an_unknown_one_may_be() {
    let mut judge = three();
    sent(&mut judge, 4, 20);
    judge.reply(1, &json!({"id": 4, "ok": false, "error": {"code": "moving"}}), 21);
    sent(&mut judge, 5, 22);
    assert_eq!(judge.closed(1), [5]);
    judge.ends_with("k", Some(vec![1, 2, 3, 4, 5]));
    let found = verdict(judge);
    assert!(found.contains("event 4 was refused and is there") && !found.contains("event 5"), "{found}");
}

#[test]
fn a_life_that_cannot_be_read_is_found() {
    let mut judge = Judge::default();
    sent(&mut judge, 1, 1);
    judge.reply(1, &json!({"id": 1, "ok": true, "seq": 1, "changed": true, "run": "no life"}), 2);
    assert!(judge.violations().iter().any(|what| what.contains("cannot read")), "{:?}", judge.violations());
}

#[test]
fn changes_that_go_back_are_found() {
    let mut judge = Judge::default();
    let seen = |seq, reason: &str| Seen { at: 1, reason: reason.into(), place: Some(Place { run: None, seq }) };
    judge.change(7, "k", seen(1, "start"), 0);
    judge.change(7, "k", seen(3, "event"), 0);
    judge.change(7, "k", seen(2, "event"), 0);
    assert_eq!(judge.violations().len(), 1);
    judge.change(7, "k", seen(1, "restart"), 0);
    assert_eq!(judge.violations().len(), 1);
}

#[test]
fn an_earlier_life_after_a_later_one_is_found_where_nothing_is_lost() {
    let seen = |run, seq, reason: &str| {
        let place = Some(Place { run: Some(RunId(run)), seq });
        Seen { at: 1, reason: reason.into(), place }
    };
    let judged = |reason: &str, lossless| {
        let mut judge = Judge::default();
        judge.change(7, "k", seen(11, 1, "event"), 0);
        judge.change(7, "k", seen(10, 9, reason), 0);
        judge.verdict(Terms { lossless, ..Terms::default() }).len()
    };
    assert_eq!([judged("event", true), judged("event", false), judged("conflict", false)], [1, 0, 0]);
}

#[test]
fn what_is_said_to_be_lost_where_nothing_can_be_is_found() {
    let lossless = |judge: Judge| judge.verdict(Terms { lossless: true, ..Terms::default() }).join("\n");
    let mut judge = three();
    sent(&mut judge, 4, 20);
    let conflict = json!({"reason": "superseded", "lost_from": 2, "run": "7"});
    judge.reply(1, &json!({"id": 4, "ok": true, "seq": 4, "changed": true, "conflict": conflict}), 21);
    judge.ends_with("k", Some(vec![1, 2, 3, 4]));
    assert!(lossless(judge).contains("says that transitions are gone"));
    let mut judge = three();
    judge.change(7, "k", Seen { at: 20, reason: "lost".into(), place: None }, 0);
    judge.ends_with("k", Some(vec![1, 2, 3]));
    assert!(lossless(judge).contains("and nothing can be lost"));
}

#[test]
fn a_request_that_runs_into_its_timeout_where_all_are_there_is_found() {
    let judged = |code: &str, lossless| {
        let mut judge = three();
        sent(&mut judge, 4, 20);
        judge.reply(1, &json!({"id": 4, "ok": false, "error": {"code": code, "message": "", "hint": ""}}), 21);
        judge.verdict(Terms { lossless, ..Terms::default() }).len()
    };
    assert_eq!([judged("timeout", true), judged("timeout", false), judged("moving", true)], [1, 0, 0]);
}

#[test]
fn a_request_of_which_nothing_is_known_is_found_where_no_link_broke() {
    let judged = |lossless, links_broken| {
        let mut judge = Judge { links_broken, ..three() };
        sent(&mut judge, 4, 20);
        judge.reply(1, &json!({"id": 4, "ok": false, "error": {"code": "outcome_unknown"}}), 21);
        judge.verdict(Terms { lossless, ..Terms::default() }).len()
    };
    assert_eq!([judged(true, 0), judged(true, 1), judged(false, 0)], [1, 0, 0]);
}
