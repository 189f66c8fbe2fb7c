//! All states of small groups, each within bounds that a minute or so allows; `cargo test -p statemesh-model -- --ignored` looks at larger ones.

#![allow(clippy::panic, reason = "a test")]

use statemesh_model::bounds::{Bounds, DOUBTED, LONGER, PARTED, PLAIN, Plan, SWAPPING};
use statemesh_model::model::Place;
use stateright::{Checker, Model};
use std::time::Instant;

fn all(name: &str, bounds: Bounds) {
    let (started, depth) = (Instant::now(), bounds.depth);
    let checker = Place::new(bounds).checker();
    match depth {
        // The nearest first, since there is an end.
        Some(depth) => judge(name, started, checker.target_max_depth(depth).spawn_bfs().join()),
        None => judge(name, started, checker.spawn_dfs().join()),
    }
}

fn judge(name: &str, started: Instant, checker: impl Checker<Place>) {
    let (states, took) = (checker.unique_state_count(), started.elapsed());
    println!("{name}: {states} states, {} steps, depth {}, {took:.1?}", checker.state_count(), checker.max_depth());
    if let Some(path) = checker.discovery("nothing is violated") {
        let violation = path.last_state().violation.clone();
        path.into_actions().iter().for_each(|action| println!("  {action:?}"));
        panic!("{name}: {violation:?}");
    }
    // What must be possible is: a model in which nothing happens would prove nothing.
    checker.assert_properties();
}

#[test]
fn two_terms_and_three_entries() {
    all("two terms", Bounds { entries: 2, ..PLAIN });
}

#[test]
fn followers_are_told_what_is_committed() {
    all("told", Bounds { entries: 2, terms: 1, tells: true, ..PLAIN });
}

#[test]
fn two_leaders_that_came_to_nothing_are_followed_by_two_more() {
    all("parted", PARTED);
}

#[test]
fn a_copy_forgets_what_it_removed_between_leaders() {
    all("longer, crash", Bounds { crashes: 1, depth: Some(18), ..LONGER });
}

#[test]
fn leaders_come_while_the_voters_change() {
    all("swapping", Bounds { depth: Some(12), ..SWAPPING });
}

#[test]
fn the_longer_log_is_the_older_one() {
    all("longer", Bounds { terms: 4, depth: Some(18), ..LONGER });
}

#[test]
#[ignore = "the night: half a million states"]
fn the_longer_log_is_the_older_one_whatever_else_happens() {
    all("longer", LONGER);
}

#[test]
#[ignore = "the night: three hundred thousand states"]
fn a_copy_forgets_what_it_removed_between_leaders_whatever_else_happens() {
    all("longer, crash", Bounds { crashes: 1, depth: Some(22), ..LONGER });
}

#[test]
#[ignore = "the night"]
fn leaders_come_while_the_voters_change_whatever_else_happens() {
    all("swapping", Bounds { depth: Some(14), ..SWAPPING });
}

#[test]
fn a_copy_that_is_whole_is_given_another_life() {
    all("doubted", DOUBTED);
}

#[test]
fn a_copy_forgets_what_was_not_durable() {
    all("crash in one term", Bounds { crashes: 1, terms: 1, ..PLAIN });
}

#[test]
#[ignore = "the night"]
fn the_leader_hands_over() {
    all("transfer", Bounds { plan: Plan::Transfer, entries: 2, ..PLAIN });
}

#[test]
fn a_damaged_copy_begins_a_new_life() {
    all("new life", Bounds { plan: Plan::NewLife, terms: 1, entries: 0, ..PLAIN });
}

#[test]
#[ignore = "the night: half a million states"]
fn a_copy_forgets_what_was_not_durable_between_two_terms() {
    all("crash", Bounds { crashes: 1, entries: 1, ..PLAIN });
}

#[test]
#[ignore = "the night"]
fn images_come_at_any_time() {
    all("images", Bounds { images: true, entries: 2, ..PLAIN });
}

#[test]
#[ignore = "the night"]
fn who_has_a_leader_asks_for_votes() {
    all("lost", Bounds { lost: true, entries: 1, ..PLAIN });
}

#[test]
#[ignore = "the night: three million states"]
fn a_copy_forgets_entries_between_two_terms() {
    all("crash with entries", Bounds { crashes: 1, entries: 2, ..PLAIN });
}

#[test]
#[ignore = "the night: two hundred thousand states"]
fn two_terms_and_four_entries() {
    all("two terms", Bounds { entries: 3, ..PLAIN });
}

#[test]
#[ignore = "the night: three hundred thousand states"]
fn another_member_takes_the_place_of_a_voter() {
    all("swap", Bounds { plan: Plan::Swap, terms: 1, entries: 0, ..PLAIN });
}

#[test]
#[ignore = "the night: two hundred thousand states"]
fn a_damaged_copy_begins_a_new_life_between_two_terms() {
    all("new life", Bounds { plan: Plan::NewLife, entries: 0, ..PLAIN });
}

#[test]
#[ignore = "the night"]
fn elections_begin_with_pre_votes() {
    all("pre-votes", Bounds { pre_votes: true, entries: 0, ..PLAIN });
}
