//! Two copies of a partition that meet, copies in doubt, and what is said of keys whose daemon died.

use statemesh_mesh::key_index::{KeyIndex, LostKey};
use statemesh_mesh::ownership::Winner;
use statemesh_protocol::hash;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::image::Input;
use statemesh_protocol::key_index::{Key, Told};
use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::Tenure;
use statemesh_shard::{KeyNote, KnownKey};

use super::Daemon;

fn lost(key: &str) -> LostKey {
    LostKey { machine: "m".into(), key: key.into(), run: RunId(3), before: false, tenure: Tenure(1) }
}

fn lost_before(key: &str) -> LostKey {
    let key = format!("{:016x}", hash::key_hash("m", key)).into();
    LostKey { machine: "".into(), key, run: RunId(3), before: true, tenure: Tenure(1) }
}

/// Merges what `from` has into `into`, whose copy is in doubt.
pub(super) fn merge(from: &mut Daemon, into: &mut Daemon, winner: Winner) -> u64 {
    let parts = from.hand_off();
    let mut state = into.shards.of(0).try_claim().unwrap();
    state.suspend(0);
    state.receive(0, 7, Some(winner), &mut into.run);
    let (last, before) = (parts.len() - 1, into.run.counts.conflicts);
    for (n, part) in parts.iter().enumerate() {
        state.receive_part(0, 7, part, n == last, &mut into.run).unwrap();
    }
    state.serve(0, &mut into.run);
    into.run.counts.conflicts - before
}

#[test]
fn the_side_that_counted_more_wins_and_the_first_reply_says_what_is_gone() {
    for (winner, value, seq) in [(Winner::Here, "a", 2), (Winner::Coming, "b", 3), (Winner::Longer, "b", 3)] {
        let (mut here, mut there) = (Daemon::new(), Daemon::new());
        let ours = (0..2).map(|_| here.send("k", "GO", "")).last().unwrap();
        let theirs = (0..3).map(|_| there.send("k", "GO", "")).last().unwrap();
        there.send("only there", "GO", "");
        assert_eq!(merge(&mut there, &mut here, winner), 1);
        let changes: Vec<_> = here.published().into_iter().filter(|change| change["reason"] == "conflict").collect();
        let first = here.op("get", "k", "");
        let told: Vec<_> = changes.iter().map(|change| &change["conflict"]).collect();
        assert_eq!(told, [&first["conflict"]], "watchers hear of what is gone as the first reply does");
        assert_eq!((first["value"].as_str(), first["seq"].as_u64()), (Some(value), Some(seq)));
        let loser = if winner == Winner::Here { theirs } else { ours };
        assert_eq!((&first["conflict"]["run"], &first["conflict"]["reason"]), (&loser["run"], &"merged".into()));
        assert_eq!(here.op("get", "k", "")["conflict"], first["conflict"], "who reads leaves it");
        // A request with a token may be sent again for want of its reply, with the same answer.
        let token = r#","dedup":"t""#;
        for _ in 0..2 {
            assert_eq!(here.send("k", "NOTHING", token)["conflict"], first["conflict"]);
        }
        assert!(here.op("get", "k", "")["conflict"].is_null(), "it is said once");
        assert!(here.op("get", "only there", "")["conflict"].is_null());
    }
}

#[test]
fn two_copies_of_one_state_are_no_conflict() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    here.send("k", "GO", "");
    let parts = here.hand_off();
    here.reopen(&[]);
    there.receive(&parts);
    assert_eq!(merge(&mut there, &mut here, Winner::Longer), 0);
    assert!(here.op("get", "k", "")["conflict"].is_null());
}

/// A key `k` with two transitions, at two daemons: the holder kept what it sent, and serves it again.
fn twins() -> (Daemon, Daemon) {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    (0..2).for_each(|_| _ = here.send("k", "GO", ""));
    let parts = here.hand_off();
    here.reopen(&[]);
    there.receive(&parts);
    (here, there)
}

/// The same, after each did something more and one was merged into the other, here or there: how many conflicts that gave, and where.
fn merged_twins(here_did: u64, there_did: u64, winner: Winner, back: bool) -> (u64, Daemon) {
    let (mut here, mut there) = twins();
    (0..here_did).for_each(|_| _ = here.send("k", "GO", ""));
    (0..there_did).for_each(|_| _ = there.send("k", "GO", ""));
    let (mut from, mut into) = if back { (here, there) } else { (there, here) };
    (merge(&mut from, &mut into, winner), into)
}

#[test]
fn what_two_copies_of_a_life_did_since_they_parted_is_said_exactly_also_if_it_was_the_same() {
    for (here_did, there_did) in [(1, 1), (4, 1), (1, 4)] {
        for winner in [Winner::Here, Winner::Coming, Winner::Longer] {
            for back in [false, true] {
                let (conflicts, mut into) = merged_twins(here_did, there_did, winner, back);
                assert_eq!(conflicts, 1);
                assert_eq!(into.op("get", "k", "")["conflict"]["lost_from"], 3, "{here_did} {there_did} {winner:?}");
            }
        }
    }
}

#[test]
fn a_copy_that_did_nothing_since_they_parted_wins_over_none_and_loses_nothing() {
    for (here_did, there_did) in [(0, 0), (2, 0), (0, 2)] {
        for winner in [Winner::Here, Winner::Coming, Winner::Longer] {
            for back in [false, true] {
                let (conflicts, mut into) = merged_twins(here_did, there_did, winner, back);
                assert_eq!(conflicts, 0);
                let all = into.op("get", "k", "");
                assert_eq!((all["conflict"].is_null(), all["seq"].as_u64()), (true, Some(2 + here_did + there_did)));
            }
        }
    }
}

#[test]
fn what_two_copies_have_in_common_is_known_also_where_one_of_them_went_on_to_another_daemon() {
    for winner in [Winner::Here, Winner::Coming, Winner::Longer] {
        for back in [false, true] {
            let ((mut here, mut there), mut third) = (twins(), Daemon::new());
            let parts = here.hand_off();
            third.receive(&parts);
            third.send("k", "GO", "");
            (0..3).for_each(|_| _ = there.send("k", "GO", ""));
            let (mut from, mut into) = if back { (third, there) } else { (there, third) };
            assert_eq!(merge(&mut from, &mut into, winner), 1, "{winner:?} {back}");
            assert_eq!(into.op("get", "k", "")["conflict"]["lost_from"], 3, "{winner:?} {back}");
        }
    }
}

#[test]
fn a_merge_with_a_copy_that_has_nothing_of_a_key_leaves_what_others_have_in_common_with_it() {
    let ((mut here, mut there), mut third) = (twins(), Daemon::new());
    third.send("other", "GO", "");
    assert_eq!(merge(&mut third, &mut here, Winner::Here), 0);
    here.send("k", "GO", "");
    there.send("k", "GO", "");
    assert_eq!(merge(&mut there, &mut here, Winner::Here), 1);
    assert_eq!(here.op("get", "k", "")["conflict"]["lost_from"], 3);
}

#[test]
fn a_copy_that_could_not_be_read_once_is_taken_when_it_can_be_read() {
    let (mut here, mut there) = twins();
    there.send("only there", "GO", "");
    let (_, parts) = there.shards.of(0).try_claim().unwrap().hand_off(0, 1_000_000, &mut there.run);
    let mut state = here.shards.of(0).try_claim().unwrap();
    for (number, part) in [(7, &[99_u8][..]), (8, &parts[0])] {
        state.suspend(0);
        state.receive(0, number, Some(Winner::Here), &mut here.run);
        let refused = state.receive_part(0, number, part, true, &mut here.run).unwrap().refused;
        assert_eq!(refused, number == 7);
        if refused {
            state.discard(0);
        }
    }
    state.serve(0, &mut here.run);
    drop(state);
    assert_eq!(here.run.counts.lost, 0);
    assert_eq!(here.op("get", "only there", "")["seq"], 1);
}

#[test]
fn however_long_two_copies_were_apart_what_is_lost_of_them_is_said() {
    let (mut here, mut there) = twins();
    here.run.now += 3_600_000;
    (0..3).for_each(|_| _ = here.send("k", "GO", ""));
    assert_eq!(merge(&mut here, &mut there, Winner::Coming), 0, "there did nothing");
    assert_eq!(there.op("get", "k", "")["seq"], 5);
}

#[test]
fn what_is_sent_again_after_a_merge_that_broke_off_is_said_once() {
    let (mut here, mut there) = twins();
    here.send("k", "GO", "");
    there.send("k", "GO", "");
    let parts = there.hand_off();
    for number in [7, 8] {
        let mut state = here.shards.of(0).try_claim().unwrap();
        state.receive(0, number, Some(Winner::Coming), &mut here.run);
        let part = &parts[0];
        let before = here.run.counts.conflicts;
        state.receive_part(0, number, part, number == 8, &mut here.run).unwrap();
        assert_eq!(here.run.counts.conflicts - before, u64::from(number == 7));
        state.discard(0);
        state.serve(0, &mut here.run);
        drop(state);
        assert_eq!(here.send("k", "NOTHING", "")["conflict"].is_null(), number == 8);
    }
}

#[test]
fn a_mark_that_is_sent_again_after_a_merge_that_broke_off_is_said_once() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    there.adopt(&[lost("k")]);
    let parts = there.hand_off();
    for number in [7, 8] {
        let mut state = here.shards.of(0).try_claim().unwrap();
        state.receive(0, number, Some(Winner::Here), &mut here.run);
        state.receive_part(0, number, &parts[0], number == 8, &mut here.run).unwrap();
        state.discard(0);
        drop(state);
        let said = here.send("k", "GO", "");
        assert_eq!((said["restarted"] == true, said["conflict"].is_null()), (number == 7, true), "{said}");
    }
}

#[test]
fn each_life_that_lost_something_is_named_by_a_reply_of_its_own() {
    let mut here = Daemon::new();
    let mut lost = vec![here.send("k", "GO", "")["run"].clone()];
    for winner in [Winner::Coming, Winner::Here] {
        let mut there = Daemon::new();
        let theirs = there.send("k", "GO", "");
        assert_eq!(merge(&mut there, &mut here, winner), 1);
        if winner == Winner::Here {
            lost.push(theirs["run"].clone());
        }
    }
    let said: Vec<_> = (0..3).map(|_| here.send("k", "NOTHING", "")["conflict"]["run"].clone()).collect();
    lost.push(serde_json::Value::Null);
    assert_eq!(said, lost);
}

/// What replies about a key say that is gone, one after the other until they say nothing: each life, and from where on.
pub(super) fn all_said(daemon: &mut Daemon, key: &str) -> Vec<(String, u64)> {
    let said = std::iter::from_fn(|| {
        let conflict = daemon.send(key, "NOTHING", "")["conflict"].clone();
        Some((conflict["run"].as_str()?.to_owned(), conflict["lost_from"].as_u64()?))
    });
    said.collect()
}

pub(super) fn life(reply: &serde_json::Value) -> String {
    reply["run"].as_str().unwrap().to_owned()
}

#[test]
fn what_a_reply_said_that_a_cut_may_have_kept_from_its_client_is_said_again_once_it_was_answered_on_the_other_side() {
    let token = r#","dedup":"t""#;
    for winner in [Winner::Here, Winner::Coming] {
        for back in [false, true] {
            let (mut here, mut there, mut third) = (Daemon::new(), Daemon::new(), Daemon::new());
            let kept = (0..2).map(|_| here.send("k", "GO", "")).last().unwrap();
            let lost = there.send("k", "GO", "");
            merge(&mut there, &mut here, Winner::Here);
            // Its answer does not arrive, and the daemon that passed it on sends it to another.
            assert_eq!(here.send("k", "GO", token)["conflict"]["run"], lost["run"]);
            let again = third.send("k", "GO", token);
            let (mut from, mut into) = if back { (here, third) } else { (third, here) };
            let keeps_here = (winner == Winner::Here) != back;
            merge(&mut from, &mut into, winner);
            let mut said = vec![(life(&lost), 1), (life(if keeps_here { &again } else { &kept }), 1)];
            let mut all = all_said(&mut into, "k");
            said.sort();
            all.sort();
            assert_eq!(all, said, "{winner:?} {back}");
        }
    }
}

#[test]
fn that_a_life_was_lost_is_said_again_unless_it_is_there_and_what_one_answer_said_that_both_have_is_not() {
    let token = r#","dedup":"t""#;
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    there.adopt(&[lost("k")]);
    let began = there.send("k", "GO", token);
    assert_eq!(began["restarted"], true);
    here.send("k", "GO", token);
    merge(&mut there, &mut here, Winner::Here);
    let mut all = all_said(&mut here, "k");
    all.sort();
    assert_eq!(all, [(RunId(3).to_string(), 1), (life(&began), 1)]);
    // The life that was held for lost is the one that is there.
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    let kept = here.send("k", "GO", token);
    let run = RunId(u64::from_str_radix(kept["run"].as_str().unwrap(), 16).unwrap());
    there.adopt(&[LostKey { run, ..lost("k") }]);
    let began = there.send("k", "GO", token);
    assert_eq!(began["restarted"], true);
    merge(&mut there, &mut here, Winner::Here);
    assert_eq!(all_said(&mut here, "k"), [(life(&began), 1)]);
    // What was answered before the copies parted is in both.
    let (mut here, mut there, mut third) = (Daemon::new(), Daemon::new(), Daemon::new());
    (0..2).for_each(|_| _ = here.send("k", "GO", ""));
    there.send("k", "GO", "");
    merge(&mut there, &mut here, Winner::Here);
    assert!(here.send("k", "GO", token)["conflict"].is_object());
    let parts = here.hand_off();
    here.reopen(&[]);
    third.receive(&parts);
    merge(&mut third, &mut here, Winner::Longer);
    assert_eq!(all_said(&mut here, "k"), []);
}

#[test]
fn what_an_answer_said_about_a_key_that_was_removed_since_is_said_again_too() {
    let token = r#","dedup":"t""#;
    for (here_removes, third_removes) in [(true, false), (false, true), (true, true)] {
        for back in [false, true] {
            let (mut here, mut there, mut third) = (Daemon::new(), Daemon::new(), Daemon::new());
            here.send("k", "GO", "");
            let lost = there.send("k", "GO", "");
            merge(&mut there, &mut here, Winner::Here);
            assert_eq!(here.send("k", "GO", token)["conflict"]["run"], lost["run"]);
            third.send("k", "GO", token);
            for (daemon, removes) in [(&mut here, here_removes), (&mut third, third_removes)] {
                if removes {
                    daemon.op("delete", "k", "");
                }
            }
            let (mut from, mut into) = if back { (here, third) } else { (third, here) };
            merge(&mut from, &mut into, Winner::Here);
            let named = |all: &[(String, u64)]| all.iter().filter(|said| **said == (life(&lost), 1)).count();
            let all = all_said(&mut into, "k");
            assert_eq!(named(&all), 1, "{here_removes} {third_removes} {back}: {all:?}");
        }
    }
}

#[test]
fn a_copy_that_nobody_installed_has_no_twin_when_it_is_served_again() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    here.send("k", "GO", "");
    here.hand_off();
    here.reopen(&[]);
    here.send("k", "GO", "");
    let parts = here.hand_off();
    there.receive(&parts);
    here.reopen(&[]);
    here.send("k", "GO", "");
    assert_eq!(merge(&mut there, &mut here, Winner::Coming), 0);
    assert_eq!(here.op("get", "k", "")["seq"], 3);
}

#[test]
fn what_was_sent_and_not_installed_is_no_past_of_another_copy() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    here.send("k", "GO", "");
    let life = there.send("k", "GO", "")["run"].clone();
    there.hand_off();
    assert_eq!(merge(&mut there, &mut here, Winner::Here), 1);
    assert_eq!(here.op("get", "k", "")["conflict"]["run"], life);
}

#[test]
fn of_a_life_that_went_on_in_a_copy_that_died_what_it_did_there_is_lost_although_an_older_copy_is_there() {
    for (back, moved_on) in [(false, 0), (true, 0), (false, 4), (true, 4)] {
        let (mut here, mut there) = twins();
        let mut third = Daemon::new();
        (0..3).for_each(|_| _ = there.send("k", "GO", ""));
        third.adopt(&[told(&there, "k")]);
        (0..moved_on).for_each(|_| _ = here.send("k", "GO", ""));
        let (mut from, mut into) = if back { (third, here) } else { (here, third) };
        merge(&mut from, &mut into, Winner::Longer);
        let said = into.send("k", "GO", "");
        assert_eq!(
            (&said["conflict"]["lost_from"], &said["seq"]),
            (&3.into(), &(3 + moved_on).into()),
            "{said} {back}"
        );
        let told = into.published().into_iter().filter(|change| change["reason"] == "conflict");
        assert!(told.into_iter().all(|change| change["conflict"] == said["conflict"]), "{said} {back}");
    }
}

#[test]
fn what_was_merged_in_part_before_its_link_broke_is_what_two_copies_have_in_common() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    here.send("other", "GO", "");
    ["k", "j"].into_iter().for_each(|key| (0..2).for_each(|_| _ = there.send(key, "GO", "")));
    let (_, parts) = there.shards.of(0).try_claim().unwrap().hand_off(0, 1, &mut there.run);
    let mut state = here.shards.of(0).try_claim().unwrap();
    state.receive(0, 7, Some(Winner::Longer), &mut here.run);
    parts.iter().take(parts.len() - 1).for_each(|part| _ = state.receive_part(0, 7, part, false, &mut here.run));
    state.discard(0);
    drop(state);
    there.reopen(&[]);
    let key = ["k", "j"].into_iter().find(|key| here.op("get", key, "")["seq"] == 2).unwrap();
    (0..3).for_each(|_| _ = here.send(key, "GO", ""));
    (0..5).for_each(|_| _ = there.send(key, "GO", ""));
    assert_eq!(merge(&mut there, &mut here, Winner::Longer), 1);
    let said = here.op("get", key, "");
    assert_eq!((&said["conflict"]["lost_from"], &said["seq"]), (&3.into(), &7.into()), "{said}");
}

#[test]
fn what_two_copies_have_in_common_is_known_after_one_of_them_met_a_third_that_had_the_key() {
    let ((mut here, mut there), mut third) = (twins(), Daemon::new());
    third.send("k", "GO", "");
    assert_eq!(merge(&mut here, &mut third, Winner::Longer), 1);
    third.send("k", "NOTHING", "");
    (0..2).for_each(|_| _ = third.send("k", "GO", ""));
    (0..3).for_each(|_| _ = there.send("k", "GO", ""));
    assert_eq!(merge(&mut there, &mut third, Winner::Here), 1);
    assert_eq!(third.send("k", "NOTHING", "")["conflict"]["lost_from"], 3);
}

#[test]
fn what_one_copy_did_before_another_one_came_from_it_is_in_both() {
    let ((mut here, _), mut third) = (twins(), Daemon::new());
    (0..3).for_each(|_| _ = here.send("k", "GO", ""));
    let parts = here.hand_off();
    third.receive(&parts);
    here.reopen(&[]);
    third.send("k", "GO", "");
    assert_eq!(merge(&mut here, &mut third, Winner::Here), 0);
    assert_eq!(third.send("k", "NOTHING", "")["conflict"], serde_json::Value::Null);
}

#[test]
fn what_is_mourned_and_came_before_its_daemon_died_is_not_lost() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    ["removed", "there"].into_iter().for_each(|key| _ = there.send(key, "GO", ""));
    let keys = [told(&there, "removed"), told(&there, "there")];
    here.send("other", "GO", "");
    merge(&mut there, &mut here, Winner::Here);
    here.op("delete", "removed", "");
    here.published();
    here.mourn(&keys);
    assert_eq!((here.published(), here.run.counts.lost), (vec![], 0));
    for key in ["removed", "there"] {
        let said = here.send(key, "GO", "");
        assert!(said.get("restarted").is_none() && said.get("conflict").is_none(), "{said}");
    }
}

#[test]
fn a_copy_that_began_with_nothing_but_what_is_mourned_is_one_like_any_other() {
    let (mut here, mut there, mut third) = (Daemon::new(), Daemon::new(), Daemon::new());
    there.send("removed", "GO", "");
    here.hand_off();
    here.shards.of(0).try_claim().unwrap().release(0);
    here.mourn(&[lost("gone")]);
    merge(&mut there, &mut here, Winner::Longer);
    here.send("k", "GO", "");
    let keys = ["removed", "k"].map(|key| told(&here, key));
    third.adopt(&keys);
    here.op("delete", "removed", "");
    merge(&mut here, &mut third, Winner::Longer);
    let said = ["removed", "k", "gone"].map(|key| third.send(key, "GO", ""));
    assert_eq!(said.each_ref().map(|said| said.get("restarted").is_some()), [false, false, true], "{said:?}");
    assert!(said.iter().all(|said| said.get("conflict").is_none()), "{said:?}");
}

#[test]
fn standbys_hear_of_what_is_not_lost_after_all_and_of_a_life_that_takes_the_place_of_a_later_one() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    there.send("removed", "GO", "");
    let life = (0..3).map(|_| there.send("k", "GO", "")).last().unwrap()["run"].clone();
    let keys = [told(&there, "removed"), lost("other")];
    there.op("delete", "removed", "");
    here.run.now += 1_000;
    here.adopt(&keys);
    let later = here.send("k", "GO", "")["run"].clone();
    here.run.notes.clear();
    merge(&mut there, &mut here, Winner::Longer);
    let hash = hash::key_hash("m", "removed");
    let not_lost = |known: &KnownKey| match known {
        KnownKey::NotLost(life) => Some(life.hash),
        _ => None,
    };
    let all: Vec<u64> = here.run.notes.iter().filter_map(|note| not_lost(&note.known)).collect();
    assert_eq!(all, [hash]);
    let named = |note: &KeyNote| match &note.known {
        KnownKey::Live { run, .. } => Some((run.to_string().into(), true)),
        KnownKey::Removed { run, .. } => Some((run.to_string().into(), false)),
        _ => None,
    };
    let notes: Vec<_> = here.run.notes.iter().filter_map(named).collect();
    assert_eq!(notes, [(later, false), (life, true)]);
}

#[test]
fn an_older_copy_brings_nothing_back_that_was_removed_in_one_that_came_from_it() {
    let (mut here, mut there) = twins();
    there.op("delete", "k", "");
    there.send("l", "GO", "");
    here.send("new", "GO", "");
    assert_eq!(merge(&mut here, &mut there, Winner::Longer), 0);
    assert_eq!(["k", "l", "new"].map(|key| there.op("get", key, "")["ok"] == true), [false, true, true]);
}

#[test]
fn two_copies_that_did_as_much_are_two_although_a_merge_with_one_of_them_broke_off() {
    let ((mut here, mut there), mut third) = (twins(), Daemon::new());
    [&mut here, &mut there].into_iter().for_each(|daemon| _ = daemon.send("k", "GO", ""));
    let parts = here.hand_off();
    let mut state = third.shards.of(0).try_claim().unwrap();
    state.receive(0, 7, Some(Winner::Longer), &mut third.run);
    parts.iter().for_each(|part| _ = state.receive_part(0, 7, part, false, &mut third.run));
    state.discard(0);
    drop(state);
    assert_eq!(merge(&mut there, &mut third, Winner::Longer), 1);
    assert_eq!(third.op("get", "k", "")["conflict"]["lost_from"], 3);
}

#[test]
fn what_is_mourned_of_a_copy_that_was_sent_and_kept_is_what_came_behind_that() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    ["k", "l"].into_iter().for_each(|key| _ = here.send(key, "GO", ""));
    let parts = here.hand_off();
    there.receive(&parts);
    let keys = [told(&there, "k"), told(&there, "l")];
    here.published();
    here.mourn(&keys);
    here.reopen(&[]);
    assert_eq!(here.run.counts.lost, 0);
    assert_eq!(here.send("k", "GO", "")["conflict"]["lost_from"], 2);
}

/// A key as its daemon tells a standby, which takes it for lost when that daemon is gone.
fn told(daemon: &Daemon, key: &str) -> LostKey {
    let mut body = Vec::new();
    let known = daemon.shards.of(0).try_claim().unwrap().known_keys(0);
    known.keys.iter().for_each(|key| key.encode(0, known.number, &mut body));
    let mut input = Input::new(&body);
    let keys = std::iter::from_fn(|| (!input.is_empty()).then(|| Told::decode(&mut input).unwrap()));
    let named = |told| match told {
        Told::Key(Key { run, tenure, key: name, .. }) if name == key => Some((run, tenure)),
        _ => None,
    };
    let (run, tenure) = keys.into_iter().find_map(named).unwrap();
    LostKey { run, tenure, ..lost(key) }
}

#[test]
fn what_was_removed_where_it_was_held_is_not_lost_with_its_daemon_once_the_copies_have_met() {
    for (back, moved) in [(false, false), (true, false), (false, true), (true, true)] {
        let (mut here, mut there) = (Daemon::new(), Daemon::new());
        ["gone", "there", "anew", "later"].into_iter().for_each(|key| _ = there.send(key, "GO", ""));
        let mut keys = vec![told(&there, "gone"), told(&there, "there"), told(&there, "anew")];
        // Another copy had it, and is not there.
        keys.push(LostKey { tenure: Tenure(7), ..told(&there, "later") });
        here.adopt(&keys);
        ["gone", "anew", "later"].into_iter().for_each(|key| _ = there.op("delete", key, ""));
        there.send("anew", "GO", "");
        if moved {
            // On its side of the cut, to one that joined there.
            let parts = there.hand_off();
            there = Daemon::new();
            there.receive(&parts);
        }
        let (mut from, mut into) = if back { (here, there) } else { (there, here) };
        merge(&mut from, &mut into, Winner::Longer);
        for (key, restarted) in [("gone", false), ("there", false), ("anew", false), ("later", true)] {
            let said = into.send(key, "GO", "");
            let expected = if ["there", "anew"].contains(&key) { 2 } else { 1 };
            assert_eq!(
                (said["restarted"] == true, &said["seq"]),
                (restarted, &expected.into()),
                "{key} {back} {moved}"
            );
            assert_eq!(said["conflict"], serde_json::Value::Null, "{key} {back} {moved}");
        }
    }
}

#[test]
fn what_a_kept_copy_did_after_it_was_taken_up_again_is_not_there_with_the_copy_that_was_sent() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    there.send("k", "GO", "");
    let parts = there.hand_off();
    there.reopen(&[]);
    there.send("new", "GO", "");
    here.adopt(&[told(&there, "new")]);
    let mut third = Daemon::new();
    third.receive(&parts);
    merge(&mut third, &mut here, Winner::Longer);
    assert_eq!(here.send("new", "GO", "")["restarted"], true);
}

#[test]
fn a_copy_that_did_nothing_yields_to_the_life_that_followed_it_and_loses_nothing() {
    for winner in [Winner::Here, Winner::Coming, Winner::Longer] {
        for back in [false, true] {
            let (here, mut there) = twins();
            let life = there.op("start", "k", r#","force":true"#)["run"].clone();
            let (mut from, mut into) = if back { (here, there) } else { (there, here) };
            assert_eq!(merge(&mut from, &mut into, winner), 0, "{winner:?} {back}");
            let all = into.op("get", "k", "");
            assert_eq!((&all["run"], all["conflict"].is_null()), (&life, true), "{winner:?} {back}");
        }
    }
}

#[test]
fn of_two_copies_of_a_life_that_are_not_known_to_have_gone_apart_the_longer_goes_on() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    here.send("k", "GO", "");
    let parts = here.hand_off();
    there.receive(&parts);
    let mut third = Daemon::new();
    third.receive(&parts);
    (0..2).for_each(|_| _ = there.send("k", "GO", ""));
    assert_eq!(merge(&mut there, &mut third, Winner::Here), 0);
    assert_eq!(third.op("get", "k", "")["seq"], 3);
}

#[test]
fn what_time_a_copy_was_kept_for_is_not_left_of_its_timers() {
    for sent_again in [false, true] {
        let (mut here, mut there) = (Daemon::new(), Daemon::new());
        here.op("start", "k", "");
        here.hand_off();
        here.run.now = 5_000;
        there.run.now = 5_000;
        let holder = if sent_again {
            let parts = here.hand_off();
            there.receive(&parts);
            &there
        } else {
            here.reopen(&[]);
            &here
        };
        assert!(holder.shards.of(0).due() <= 60_000, "{}", holder.shards.of(0).due());
    }
}

#[test]
fn what_cannot_be_read_spoils_nothing_behind_it_and_a_merge_with_it_is_refused() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    there.send("k", "GO", "");
    let parts = there.hand_off();
    let part = [&[99, 0, 0, 0, 0][..], &parts[0]].concat();
    let mut state = here.shards.of(0).try_claim().unwrap();
    state.receive(0, 7, Some(Winner::Here), &mut here.run);
    let received = state.receive_part(0, 7, &part, true, &mut here.run).unwrap();
    assert_eq!((received.instances, received.rejected, received.refused), (1, 1, true));
    drop(state);
    assert_eq!(here.run.counts.lost, 0);
}

#[test]
fn the_next_life_of_a_key_comes_after_the_one_that_was_lost_whatever_the_clocks_say() {
    let mut here = Daemon::new();
    let ahead = RunId(u64::MAX - 7);
    here.adopt(&[LostKey { run: ahead, ..lost("k") }]);
    let said = here.send("k", "GO", "");
    assert_eq!((said["restarted"] == true, said["run"].as_str() > Some(&*ahead.to_string())), (true, true), "{said}");
}

#[test]
fn what_a_mark_said_holds_for_the_instance_that_comes_after_a_link_broke_between_them() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    let life = (0..2).map(|_| there.send("k", "GO", "")).last().unwrap()["run"].clone();
    let run = RunId::parse(life.as_str().unwrap()).unwrap();
    there.reopen(&[LostKey { run, ..lost("k") }]);
    there.fire(70_000, 100);
    let (_, parts) = there.shards.of(0).try_claim().unwrap().hand_off(0, 1, &mut there.run);
    assert!(parts.len() > 1);
    let mut state = here.shards.of(0).try_claim().unwrap();
    state.receive(0, 7, Some(Winner::Here), &mut here.run);
    state.receive_part(0, 7, &parts[0], false, &mut here.run).unwrap();
    state.discard(0);
    state.receive(0, 8, Some(Winner::Here), &mut here.run);
    for (n, part) in parts.iter().enumerate() {
        state.receive_part(0, 8, part, n + 1 == parts.len(), &mut here.run).unwrap();
    }
    drop(state);
    assert_eq!(here.send("k", "NOTHING", "")["conflict"]["lost_from"], 3);
}

#[test]
fn who_watched_a_later_life_that_was_removed_hears_of_an_earlier_one_that_comes_back() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    there.send("k", "GO", "");
    here.run.now += 1_000;
    here.send("k", "GO", "");
    here.op("delete", "k", "");
    here.published();
    merge(&mut there, &mut here, Winner::Here);
    let changes = here.published();
    assert_eq!(changes.iter().filter(|change| change["reason"] == "conflict").count(), 1, "{changes:?}");
    assert_eq!(here.run.counts.conflicts, 0, "nothing was lost");
}

#[test]
fn parts_of_another_hand_off_are_not_taken() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    here.send("k", "GO", "");
    let parts = here.hand_off();
    let mut state = there.shards.of(0).try_claim().unwrap();
    state.receive(0, 2, None, &mut there.run);
    assert!(state.receive_part(0, 1, &parts[0], true, &mut there.run).is_none());
    state.discard(0);
    assert!(state.receive_part(0, 2, &parts[0], true, &mut there.run).is_none());
}

#[test]
fn a_partition_in_doubt_neither_answers_nor_fires_until_it_is_served_again() {
    let mut daemon = Daemon::new();
    daemon.op("start", "k", "");
    daemon.shards.of(0).try_claim().unwrap().suspend(0);
    assert!(!daemon.shards.of(0).try_claim().unwrap().holds(0));
    daemon.published();
    daemon.fire(70_000, 100);
    assert_eq!(daemon.published().len(), 0);
    daemon.reopen(&[]);
    assert_eq!(daemon.op("get", "k", "")["value"], "a");
    assert!(daemon.shards.of(0).due() <= 70_000);
    daemon.fire(70_001, 100);
    assert_eq!(daemon.op("get", "k", "")["value"], "b");
}

#[test]
fn a_copy_that_comes_back_says_what_its_new_holder_had_done_and_lost() {
    let mut daemon = Daemon::new();
    daemon.send("k", "GO", "");
    daemon.send("untouched", "GO", "");
    let state = daemon.shards.of(0).try_claim();
    let mut state = state.unwrap();
    state.hand_off(0, 1_000, &mut daemon.run);
    assert_eq!(state.known_keys(0).keys.len(), 2, "a copy that was sent has its keys");
    state.reopen(0, &[lost("k"), lost("new"), lost_before("older")], &mut daemon.run);
    drop(state);
    assert_eq!((daemon.run.counts.lost, daemon.run.counts.conflicts), (1, 1));
    let reasons: Vec<_> = daemon.published().iter().map(|change| change["reason"].clone()).collect();
    assert_eq!(reasons[reasons.len() - 2..], ["conflict", "lost"]);
    assert_eq!(daemon.op("get", "k", "")["conflict"]["reason"], "owner_lost");
    assert!(daemon.op("get", "untouched", "")["conflict"].is_null());
    for key in ["new", "older"] {
        // A conditional one is what a careful client sends: it must not begin anew without a word.
        for (op, condition) in [("get", ""), ("history", ""), ("stop", r#","if_seq":1"#), ("start", r#","if_seq":1"#)] {
            let message = daemon.op(op, key, condition)["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.ends_with("any more: it was lost with its daemon"), "{op} {key}: {message}");
        }
        assert_eq!(daemon.send(key, "GO", "")["restarted"], true, "{key}");
    }
    let message = daemon.op("get", "never", "")["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "there is no instance m/never");
}

#[test]
fn a_key_that_is_there_after_all_is_not_said_to_be_lost() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    there.send("k", "GO", "");
    here.adopt(&[lost("k"), lost("gone")]);
    merge(&mut there, &mut here, Winner::Here);
    assert!(here.send("k", "GO", "")["restarted"].is_null());
    assert_eq!(here.send("gone", "GO", "")["restarted"], true);
}

/// An event and its token, for what one side does with a key.
type Did = (&'static str, &'static str);

#[test]
fn what_was_answered_on_both_sides_is_answered_again_also_where_one_of_them_or_both_removed_the_key() {
    const SIDES: [Did; 2] = [("GO", r#","dedup":"here""#), ("END", r#","dedup":"there""#)];
    for removed in [[true, true], [true, false], [false, true]] {
        for back in [false, true] {
            let mut daemons = [Daemon::new(), Daemon::new()];
            let mut answers = Vec::new();
            for ((daemon, (event, token)), removed) in daemons.iter_mut().zip(SIDES).zip(removed) {
                answers.push(daemon.send("k", event, token));
                if removed {
                    daemon.op("delete", "k", "");
                }
            }
            let [here, there] = daemons;
            let (mut from, mut into) = if back { (here, there) } else { (there, here) };
            merge(&mut from, &mut into, Winner::Longer);
            let told = |into: &mut Daemon| SIDES.map(|(event, token)| into.send("k", event, token));
            assert_eq!(told(&mut into).as_slice(), answers, "{removed:?} {back}");
            let is_there = super::code(&into.op("get", "k", "")) == "ok";
            assert_eq!(is_there, removed != [true, true], "a repeat begins nothing");
            if is_there {
                into.op("delete", "k", "");
                assert_eq!(told(&mut into).as_slice(), answers, "{removed:?} {back}, and removed since");
            }
            let next = into.op("start", "k", "");
            assert!(answers.iter().all(|answer| next["run"].as_str() > answer["run"].as_str()), "{next}");
            assert_eq!(told(&mut into).as_slice(), answers, "{removed:?} {back}, in a new life");
        }
    }
}

/// Tells a standby what a daemon noted since the last time, as a reactor does in the turn in which clients are answered.
fn tell(daemon: &mut Daemon, standby: &mut KeyIndex) {
    let mut body = Vec::new();
    daemon.run.notes.drain(..).for_each(|note| note.encode(&mut body));
    standby.tell(&MemberName::new("holder").unwrap(), &body).unwrap();
}

/// What a standby knows that was told everything of a copy, as it is.
fn told_all(daemon: &Daemon) -> Vec<LostKey> {
    let mut body = Vec::new();
    let known = daemon.shards.of(0).try_claim().unwrap().known_keys(0);
    known.keys.iter().for_each(|key| key.encode(0, known.number, &mut body));
    let mut standby = KeyIndex::new(100);
    standby.tell(&MemberName::new("holder").unwrap(), &body).unwrap();
    standby.take(0).0
}

/// The conflicts that replies about a key say, one after the other: why, from which transition on, and of which life.
fn conflicts_said(daemon: &mut Daemon, key: &str) -> Vec<(String, u64, String)> {
    let conflict = |daemon: &mut Daemon| daemon.send(key, "NOTHING", "")["conflict"].clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    std::iter::repeat_with(|| conflict(daemon))
        .take_while(|said| !said.is_null())
        .map(|said| (text(&said["reason"]), said["lost_from"].as_u64().unwrap(), text(&said["run"])))
        .collect()
}

#[test]
fn what_a_merge_lost_is_said_by_whoever_takes_the_place_of_the_daemon_that_merged_it() {
    for winner in [Winner::Here, Winner::Coming] {
        for known_as in ["noted", "told whole", "handed on, and kept"] {
            let (mut here, mut there) = (Daemon::new(), Daemon::new());
            let ours = (0..2).map(|_| here.send("k", "GO", "")).last().unwrap()["run"].clone();
            let theirs = (0..3).map(|_| there.send("k", "GO", "")).last().unwrap()["run"].clone();
            let mut standby = KeyIndex::new(100);
            tell(&mut here, &mut standby);
            merge(&mut there, &mut here, winner);
            tell(&mut here, &mut standby);
            let known = match known_as {
                "noted" => standby.take(0).0,
                "told whole" => told_all(&here),
                _ => {
                    here.hand_off();
                    told_all(&here)
                }
            };
            let loser = if winner == Winner::Here { &theirs } else { &ours };
            let merged = ("merged".to_owned(), 1, loser.as_str().unwrap().to_owned());
            let mut third = Daemon::new();
            third.adopt(&known);
            assert_eq!(
                (third.run.counts.lost, third.run.counts.conflicts),
                (1, 0),
                "{known_as}: the merge was counted"
            );
            assert!(third.op("get", "k", "")["error"]["message"].as_str().unwrap().contains("it was lost"));
            assert_eq!(conflicts_said(&mut third, "k"), std::slice::from_ref(&merged), "{known_as} {winner:?}");
            // The daemon that sent its copy serves that again: what it has of its own life is not gone, whichever side won.
            there.reopen(&known);
            let behind =
                |from, life: &serde_json::Value| ("owner_lost".to_owned(), from, life.as_str().unwrap().to_owned());
            let said = conflicts_said(&mut there, "k");
            let expected =
                if winner == Winner::Here { vec![behind(1, &ours)] } else { vec![behind(4, &theirs), merged] };
            assert_eq!(said.len(), expected.len(), "{known_as} {winner:?}: {said:?}");
            assert!(expected.iter().all(|of| said.contains(of)), "{known_as} {winner:?}: {said:?}");
        }
    }
}

#[test]
fn what_a_merge_lost_is_said_though_the_copies_meet_again() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    here.send("k", "GO", "");
    let theirs = (0..3).map(|_| there.send("k", "GO", "")).last().unwrap()["run"].clone();
    merge(&mut there, &mut here, Winner::Here);
    there.reopen(&[]);
    merge(&mut here, &mut there, Winner::Longer);
    let said = conflicts_said(&mut there, "k");
    assert_eq!(said.iter().map(|(.., run)| run.as_str()).collect::<Vec<_>>(), [theirs.as_str().unwrap()]);
}

#[test]
fn what_a_reply_said_of_a_merge_its_standbys_do_not_say_again() {
    let (mut here, mut there) = (Daemon::new(), Daemon::new());
    let mut standby = KeyIndex::new(100);
    [&mut here, &mut there].into_iter().for_each(|daemon| _ = daemon.send("k", "GO", ""));
    merge(&mut there, &mut here, Winner::Here);
    tell(&mut here, &mut standby);
    assert_eq!(standby.keys(), 2);
    assert_eq!(conflicts_said(&mut here, "k").len(), 1);
    tell(&mut here, &mut standby);
    let mut third = Daemon::new();
    third.adopt(&standby.take(0).0);
    assert_eq!(third.send("k", "NOTHING", "")["restarted"], true);
    assert_eq!(conflicts_said(&mut third, "k"), []);
}

#[test]
fn lives_that_were_lost_one_after_the_other_are_each_named_though_the_next_owner_dies_too() {
    let (mut here, mut third) = (Daemon::new(), Daemon::new());
    let life = |run| LostKey { run: RunId(run), ..lost("k") };
    here.adopt(&[life(5)]);
    here.mourn(&[life(3)]);
    // One begins of which no client hears.
    here.op("tell", "k", r#","event":{"type":"GO"}"#);
    third.adopt(&told_all(&here));
    let said = third.send("k", "NOTHING", "");
    assert_eq!(said["restarted"], true);
    let first = said["conflict"]["run"].as_str().unwrap().to_owned();
    let mut lives: Vec<String> =
        conflicts_said(&mut third, "k").into_iter().map(|(.., run)| run).chain([first]).collect();
    lives.sort();
    assert_eq!(lives, [RunId(3).to_string(), RunId(5).to_string()]);
}
