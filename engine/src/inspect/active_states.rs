//! What the definition says of the states that are active: their ids, tags, `meta` and descriptions.

use crate::definition::diagnostics::closest;
use crate::instance::Instance;
use crate::machine::Machine;
use crate::state_set::{StateIx, StateSet};
use statemesh_expr::{Str, Value};

/// Names that a misspelt one is compared with at most: a comparison takes microseconds, and every client can ask for it.
const LOOKED_AT: usize = 256;

impl Machine {
    /// The tags of the active states, sorted, each once.
    pub fn tags(&self, instance: &Instance) -> Vec<Str> {
        self.tags_of(&instance.actor.active)
    }

    pub(crate) fn tags_of(&self, active: &StateSet) -> Vec<Str> {
        let mut tags: Vec<Str> =
            self.active_states(active).flat_map(|state| self.state(state).notes.tags.iter().cloned()).collect();
        // By UTF-16 code units, as JavaScript's sort has it.
        tags.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        tags.dedup();
        tags
    }

    /// Whether an active state has this tag.
    pub fn has_tag(&self, instance: &Instance, tag: &str) -> bool {
        self.active_states(&instance.actor.active).any(|state| self.state(state).notes.has_tag(tag))
    }

    /// Whether the instance is in the state of this path, keys from below the root on, with dots between them: `refunding` or
    /// `refunding.stuck`. A machine without such a state is not in it.
    pub fn is_in(&self, instance: &Instance, path: &str) -> bool {
        let active = &instance.actor.active;
        self.some_state_at(path, |state| active.contains(state))
    }

    /// Whether the machine has a state of this path.
    pub fn has_state(&self, path: &str) -> bool {
        self.some_state_at(path, |_| true)
    }

    /// Whether a state of the machine has this tag.
    pub fn knows_tag(&self, tag: &str) -> bool {
        self.states.iter().any(|state| state.notes.has_tag(tag))
    }

    /// The path of a state that was probably meant by one that there is not: a misspelt one, or the end of one (`stuck`).
    pub fn state_like(&self, path: &str) -> Option<String> {
        let paths: Vec<String> =
            (1..self.states.len()).take(LOOKED_AT).map(|state| self.path_below_root(state)).collect();
        let is_end = |full: &&String| full.strip_suffix(path).is_some_and(|before| before.ends_with('.'));
        let found = paths.iter().find(is_end).map(String::as_str);
        found.or_else(|| closest(path, paths.iter().map(String::as_str))).map(str::to_owned)
    }

    /// The tag that was probably meant by one that no state has.
    pub fn tag_like(&self, tag: &str) -> Option<&str> {
        closest(tag, self.states.iter().flat_map(|state| &state.notes.tags).take(LOOKED_AT).map(Str::as_str))
    }

    /// Whether this holds of a state of this path.
    fn some_state_at(&self, path: &str, holds: impl Fn(StateIx) -> bool) -> bool {
        let mut at = self.states_named(0, path);
        // A key may have dots in it: all ways to read the path are tried.
        while let Some((state, rest)) = at.pop() {
            if rest.is_empty() && holds(state) {
                return true;
            }
            if !rest.is_empty() {
                at.extend(self.states_named(state, rest));
            }
        }
        false
    }

    fn path_below_root(&self, state: usize) -> String {
        let mut keys = Vec::new();
        let mut at = self.states.get(state);
        while let Some(state) = at
            && let Some(parent) = state.parent
        {
            keys.push(state.key.text.as_str());
            at = self.states.get(usize::from(parent));
        }
        keys.reverse();
        keys.join(".")
    }

    /// The children of a state whose keys the path begins with, each with what is left of it.
    fn states_named<'p>(&self, parent: StateIx, path: &'p str) -> Vec<(StateIx, &'p str)> {
        let named = |child: &StateIx| {
            let rest = path.strip_prefix(self.state(*child).key.text.as_str())?;
            let rest = if rest.is_empty() { rest } else { rest.strip_prefix('.').filter(|rest| !rest.is_empty())? };
            Some((*child, rest))
        };
        self.state(parent).children.iter().filter_map(named).collect()
    }

    /// The `meta` of the active states by their id, as XState's `getMeta` gives it.
    pub fn meta(&self, instance: &Instance) -> Value {
        let with_meta = |state: StateIx| {
            let state = self.state(state);
            state.notes.meta.clone().map(|meta| (state.id.clone(), meta))
        };
        Value::Map(self.active_states(&instance.actor.active).filter_map(with_meta).collect())
    }

    /// The `description` of the state with this id.
    pub fn description(&self, id: &str) -> Option<&str> {
        self.states.iter().find(|state| state.id == id)?.notes.description.as_deref()
    }

    /// The ids of the active states, the root's first.
    pub fn active_ids<'m>(&'m self, instance: &'m Instance) -> impl Iterator<Item = &'m str> + 'm {
        self.active_states(&instance.actor.active).map(|state| self.state(state).id.as_str())
    }

    /// States of a set that this machine has; a set of another machine names nothing.
    fn active_states<'s>(&'s self, active: &'s StateSet) -> impl Iterator<Item = StateIx> + 's {
        active.iter().filter(|state| usize::from(*state) < self.states.len())
    }
}
