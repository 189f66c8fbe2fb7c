//! Cores with a mistake: the proofs must see each.

use crate::bounds::{Bounds, PARTED, PLAIN, Plan};
use crate::mistakes::ALL;

/// States that are looked at before a model gives up.
const STATES: usize = 60_000;

/// In which model each mistake is seen.
fn bounds(mistake: &str) -> Option<Bounds> {
    let crash = Bounds { crashes: 1, entries: 1, ..PLAIN };
    let life = Bounds { plan: Plan::NewLife, entries: 0, ..PLAIN };
    Some(match mistake {
        "a_vote_is_answered_before_it_is_durable"
        | "a_vote_is_asked_for_before_the_own_one_is_durable"
        | "entries_are_acknowledged_before_they_are_durable" => crash,
        "entries_of_earlier_terms_are_committed_by_count"
        | "who_has_the_older_log_gets_a_vote"
        | "what_was_not_compared_is_committed" => PARTED,
        "a_second_vote_is_given_in_a_term" => PLAIN,
        "an_acknowledgement_has_no_generation" | "a_shortened_log_votes" => life,
        // It takes more than a model of this size has; seeds see them.
        _ => return None,
    })
}

#[test]
fn each_mistake_is_seen() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut missed = Vec::new();
    for (name, model, seed) in ALL.iter().filter(|(name, ..)| name.contains(&only)) {
        let found = match bounds(name) {
            Some(bounds) => model(&bounds, STATES),
            // What a seed finds may be that the core contradicts itself.
            None => (1..400)
                .find_map(|n| std::panic::catch_unwind(|| seed(n)).unwrap_or_else(|_| Some("a panic".to_owned()))),
        };
        println!("{name}: {found:?}");
        if found.is_none() {
            missed.push(*name);
        }
    }
    assert!(missed.is_empty(), "not seen: {missed:?}");
}
