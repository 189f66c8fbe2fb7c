//! The state value of every leaf, written before any instance exists.

use crate::machine::{LeafValue, Machine};
use crate::state_set::StateIx;

/// Bytes of all precomputed state values; beyond it they are composed when they are written.
const LEAF_VALUE_BYTES_MAX: usize = 1 << 20;

/// By leaf; none where there is a parallel state, or where they would be too large together.
pub(super) fn of(machine: &Machine) -> Box<[LeafValue]> {
    if machine.features.parallel || leaf_value_bytes(machine) > LEAF_VALUE_BYTES_MAX {
        return Box::default();
    }
    (0..machine.states.len() as StateIx).map(|leaf| leaf_value(machine, leaf)).collect()
}

fn leaf_value_bytes(machine: &Machine) -> usize {
    let own = |state: StateIx| machine.state(state).key.json.len() + 3;
    (0..machine.states.len() as StateIx).map(|leaf| own(leaf) + machine.ancestors(leaf).map(own).sum::<usize>()).sum()
}

/// The state value of a machine without parallel states whose active leaf is `leaf`.
fn leaf_value(machine: &Machine, leaf: StateIx) -> LeafValue {
    let state = machine.state(leaf);
    // A root without states has the value {}.
    let (mut json, mut msgpack) = match state.parent {
        Some(_) => (state.key.json.to_vec(), state.key.msgpack.to_vec()),
        None => (b"{}".to_vec(), vec![0x80]),
    };
    for above in machine.ancestors(leaf) {
        let above = machine.state(above);
        if above.parent.is_some() {
            json = [b"{", &*above.key.json, b":", &json, b"}"].concat();
            msgpack = [&[0x81], &*above.key.msgpack, &msgpack].concat();
        }
    }
    LeafValue { json: json.into(), msgpack: msgpack.into() }
}
