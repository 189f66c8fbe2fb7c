//! The machines that events and snapshots are tried on: the examples, and some that have what these have not.

use crate::limits;
use statemesh_engine::Machine;
use std::sync::{Arc, LazyLock};

/// A machine's definition by the letter that names it in an input.
const SOURCES: [(u8, &str); 9] = [
    (b'b', include_str!("../../examples/circuit-breaker/machine.json")),
    (b'd', include_str!("../../examples/device/machine.json")),
    (b'e', include_str!("../machines/everything.json")),
    (b'f', include_str!("../machines/family.json")),
    (b'l', include_str!("../../benches/machines/lamp.json")),
    (b'o', include_str!("../../examples/order/machine.json")),
    (b'p', include_str!("../../examples/platform/machine.json")),
    (b's', include_str!("../machines/short.json")),
    (b't', include_str!("../../examples/tcp/machine.json")),
];

/// What an `invoke` or `spawnChild` of any name gets.
const CHILD: &str = include_str!("../machines/child.json");

static CHILD_MACHINE: LazyLock<Arc<Machine>> = LazyLock::new(|| {
    Machine::compile(CHILD.as_bytes(), &limits(), &|_| None).expect("machines/child.json is valid").machine
});

static MACHINES: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    SOURCES.iter().map(|(_, source)| Pair::compile(source.as_bytes()).expect("the catalogue is valid")).collect()
});

/// A machine and its slow twin: the same but for an eventless transition that is never taken, which keeps the engine
/// from its short way. Both must do the same.
#[derive(Debug)]
pub struct Pair {
    /// As it was given.
    pub machine: Arc<Machine>,
    /// `None` where the root has `always` of its own, or something that only a machine without it may have.
    pub slow: Option<Arc<Machine>>,
}

impl Pair {
    /// Compiles both; `None` if the definition is refused.
    pub fn compile(source: &[u8]) -> Option<Self> {
        let machine = compile(source)?;
        Some(Self { machine, slow: slow(source).and_then(|source| compile(&source)) })
    }
}

fn compile(source: &[u8]) -> Option<Arc<Machine>> {
    match Machine::compile(source, &limits(), &|_| Some(CHILD_MACHINE.clone())) {
        Ok(accepted) => Some(accepted.machine),
        Err(found) => {
            assert!(found.iter().any(|found| found.is_error()), "a refusal says why");
            None
        }
    }
}

fn slow(source: &[u8]) -> Option<Vec<u8>> {
    let brace = source.iter().position(|byte| *byte == b'{')?;
    let mut twin = source[..=brace].to_vec();
    twin.extend_from_slice(br#""always":{"guard":{"@expr":"false"}},"#);
    twin.extend_from_slice(&source[brace + 1..]);
    Some(twin)
}

/// The machine that a letter names. Letters that name none stand for some machine too.
pub fn machine(letter: u8) -> &'static Pair {
    let known = SOURCES.iter().position(|(name, _)| *name == letter);
    &MACHINES[known.unwrap_or(usize::from(letter) % SOURCES.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_a_slow_twin() {
        for (letter, _) in SOURCES {
            assert!(machine(letter).slow.is_some(), "{}", letter as char);
        }
    }
}
