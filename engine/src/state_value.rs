//! The state value: `"a"`, `{"a":"b"}` or, with parallel regions, `{"a":{"x":"1","y":"2"}}`.

use crate::event::Status;
use crate::instance::Instance;
use crate::machine::Machine;
use crate::state::StateKind;
use crate::state_set::{StateIx, StateSet};
use statemesh_expr::{List, Map, Value};

impl Machine {
    /// Appends the state value as JSON. Does not allocate beyond what `out` needs to grow.
    pub fn write_value_json(&self, instance: &Instance, out: &mut Vec<u8>) {
        self.value_json(&instance.actor.active, out);
    }

    /// Appends the state value as MessagePack. Does not allocate beyond what `out` needs to grow.
    pub fn write_value_msgpack(&self, instance: &Instance, out: &mut Vec<u8>) {
        self.value_msgpack(&instance.actor.active, out);
    }

    pub(crate) fn value_json(&self, active: &StateSet, out: &mut Vec<u8>) {
        if let Some(leaf) = self.precomputed_leaf(active) {
            out.extend_from_slice(&self.leaf_values[usize::from(leaf)].json);
        } else {
            self.compose_json(0, active, out);
        }
    }

    pub(crate) fn value_msgpack(&self, active: &StateSet, out: &mut Vec<u8>) {
        if let Some(leaf) = self.precomputed_leaf(active) {
            out.extend_from_slice(&self.leaf_values[usize::from(leaf)].msgpack);
        } else {
            self.compose_msgpack(0, active, out);
        }
    }

    #[inline]
    pub(crate) fn precomputed_leaf(&self, active: &StateSet) -> Option<StateIx> {
        let leaf = active.last()?;
        (usize::from(leaf) < self.leaf_values.len() && self.is_atomic(leaf)).then_some(leaf)
    }

    /// The active child of a compound state. An instance that failed to start has none: XState then shows the initial one.
    fn active_child(&self, state: StateIx, active: &StateSet) -> Option<StateIx> {
        let node = self.state(state);
        let found = node.children.iter().copied().find(|child| active.contains(*child));
        found.or_else(|| self.initial_leaf_child(state))
    }

    fn initial_leaf_child(&self, state: StateIx) -> Option<StateIx> {
        let target = self.state(state).initial.as_ref()?.target;
        if !self.is_history(target) {
            return Some(target);
        }
        self.state(state).children.first().copied()
    }

    fn compose_json(&self, state: StateIx, active: &StateSet, out: &mut Vec<u8>) {
        let node = self.state(state);
        out.extend_from_slice(b"{");
        match node.kind {
            StateKind::Compound => {
                let Some(child) = self.active_child(state, active) else {
                    out.extend_from_slice(b"}");
                    return;
                };
                if self.is_atomic(child) {
                    out.truncate(out.len() - 1);
                    out.extend_from_slice(&self.state(child).key.json);
                    return;
                }
                self.compose_json_member(child, active, out);
            }
            StateKind::Parallel => {
                for (index, region) in node.children.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.compose_json_member(*region, active, out);
                }
            }
            _ => {}
        }
        out.push(b'}');
    }

    fn compose_json_member(&self, state: StateIx, active: &StateSet, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.state(state).key.json);
        out.push(b':');
        self.compose_json(state, active, out);
    }

    fn compose_msgpack(&self, state: StateIx, active: &StateSet, out: &mut Vec<u8>) {
        let node = self.state(state);
        match node.kind {
            StateKind::Compound => match self.active_child(state, active) {
                Some(child) if self.is_atomic(child) => out.extend_from_slice(&self.state(child).key.msgpack),
                Some(child) => {
                    out.push(0x81);
                    out.extend_from_slice(&self.state(child).key.msgpack);
                    self.compose_msgpack(child, active, out);
                }
                None => out.push(0x80),
            },
            StateKind::Parallel => {
                map_header(node.children.len(), out);
                for region in &node.children {
                    out.extend_from_slice(&self.state(*region).key.msgpack);
                    self.compose_msgpack(*region, active, out);
                }
            }
            _ => out.push(0x80),
        }
    }

    /// The state value as a value.
    pub fn state_value(&self, instance: &Instance) -> Value {
        self.compose_value(0, &instance.actor.active)
    }

    pub(crate) fn compose_value(&self, state: StateIx, active: &StateSet) -> Value {
        let node = self.state(state);
        let member = |child: StateIx| (self.state(child).key.text.clone(), self.compose_value(child, active));
        match node.kind {
            StateKind::Compound => match self.active_child(state, active) {
                Some(child) if self.is_atomic(child) => Value::Str(self.state(child).key.text.clone()),
                child => Value::Map(child.into_iter().map(member).collect::<Map>()),
            },
            StateKind::Parallel => Value::Map(node.children.iter().copied().map(member).collect::<Map>()),
            _ => Value::Map(Map::new()),
        }
    }

    /// A child's snapshot as its parent's expressions see it in `event.snapshot`.
    pub(crate) fn snapshot_value(&self, active: &StateSet, context: &Value, status: Status) -> Value {
        let tags: List = self.tags_of(active).into_iter().map(Value::Str).collect();
        let fields = [
            ("status", Value::str(status.as_str())),
            ("value", self.compose_value(0, active)),
            ("context", context.clone()),
            ("tags", Value::List(tags)),
        ];
        Value::Map(fields.into_iter().collect())
    }
}

fn map_header(len: usize, out: &mut Vec<u8>) {
    match len {
        0..16 => out.push(0x80 | len as u8),
        16..0x1_0000 => {
            out.push(0xDE);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0xDF);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}
