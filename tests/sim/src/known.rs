//! Faults that are known: each is a scenario that is expected to fail. One that passes is to be taken off the list.

/// Names of scenarios.
const KNOWN: &[&str] = &[
    // Who went on without the two holds the partition already, and asks nobody for keys; the other of the two cannot tell a death on its
    // own side, of which nobody else knows, from one of which the others knew, whose keys they have named.
    "what_one_of_two_that_were_cut_off_did_before_it_died_is_said_by_those_who_went_on_without_it",
];

/// Whether a scenario is expected to fail.
#[must_use]
pub fn is_known(scenario: &str) -> bool {
    KNOWN.contains(&scenario)
}
