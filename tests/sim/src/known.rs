//! Faults that are known: each is a scenario that is expected to fail. One that passes is to be taken off the list.

/// Names of scenarios.
const KNOWN: &[&str] = &[];

/// Whether a scenario is expected to fail.
#[must_use]
pub fn is_known(scenario: &str) -> bool {
    KNOWN.contains(&scenario)
}
