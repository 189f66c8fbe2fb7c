//! All states of small groups, each within bounds that a minute or so allows; `cargo test -p statemesh-model -- --ignored` looks at larger ones.

#![allow(clippy::panic, reason = "a test")]

use statemesh_model::bounds::{Bounds, PARTED, PLAIN, Plan};
use statemesh_model::model::Place;
use stateright::{Checker, Model};
use std::time::Instant;

fn all(name: &str, bounds: Bounds) {
    let started = Instant::now();
    let checker = Place::new(bounds).checker().spawn_dfs().join();
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
