//! A state of a compiled machine: where it stands in the tree, what entering and leaving it does, and what it reacts to.

use crate::event_names::{EventIx, is_wildcard, wildcard_matches};
use crate::expression::Template;
use crate::machine::{Action, TransitionIx};
use crate::state_set::StateIx;
use statemesh_expr::{Str, Value};
use std::sync::Arc;

/// What a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateKind {
    Atomic,
    Compound,
    Parallel,
    Final,
    /// Index into the machine's `history`.
    History(u16),
}

/// A state node. Descendants are the range `ix + 1 .. end`.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) id: Str,
    pub(crate) key: Key,
    pub(crate) kind: StateKind,
    pub(crate) parent: Option<StateIx>,
    pub(crate) end: u16,
    /// Children that are no history states, in document order.
    pub(crate) children: Box<[StateIx]>,
    pub(crate) histories: Box<[StateIx]>,
    pub(crate) entry: Arc<[Action]>,
    pub(crate) exit: Arc<[Action]>,
    pub(crate) invokes: Box<[Invoke]>,
    pub(crate) initial: Option<Initial>,
    pub(crate) reactions: Reactions,
    /// It has an `onError`: while it is active an expression without a value is an event.
    pub(crate) recovers: bool,
    pub(crate) notes: Notes,
    pub(crate) done: Done,
}

/// The key of a state in its parent's `states`, also as the state value has it in either format.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) text: Str,
    pub(crate) json: Box<[u8]>,
    pub(crate) msgpack: Box<[u8]>,
}

impl Key {
    pub(crate) fn new(text: Str) -> Self {
        let (mut json, mut msgpack) = (Vec::new(), Vec::new());
        let value = Value::Str(text.clone());
        value.to_json(&mut json);
        value.to_msgpack(&mut msgpack);
        Self { text, json: json.into(), msgpack: msgpack.into() }
    }
}

/// The transitions of a state.
#[derive(Debug)]
pub(crate) struct Reactions {
    /// Those without an event.
    pub(crate) always: Box<[TransitionIx]>,
    /// By exact descriptor, sorted by event.
    pub(crate) on: Box<[(EventIx, Box<[TransitionIx]>)]>,
    /// By wildcard, longest descriptor first.
    pub(crate) wild: Box<[(Str, Box<[TransitionIx]>)]>,
    /// Descriptors in the order of the definition, for reports.
    pub(crate) descriptors: Box<[Str]>,
}

/// What the definition says of a state to those who read it.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(crate) tags: Box<[Str]>,
    pub(crate) meta: Option<Value>,
    pub(crate) description: Option<Str>,
}

impl Notes {
    pub(crate) fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }
}

/// What follows when a state is done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) output: Option<Template>,
    /// Raised then; its name is `xstate.done.state.ID`.
    pub(crate) event: EventIx,
}

#[derive(Debug)]
pub(crate) struct Initial {
    pub(crate) target: StateIx,
    pub(crate) actions: Arc<[Action]>,
}

#[derive(Debug)]
pub(crate) struct Invoke {
    pub(crate) id: Str,
    pub(crate) machine: u16,
    pub(crate) input: Option<Template>,
    pub(crate) sync: bool,
}

impl Reactions {
    /// The transitions to try for an event, in order: the exact descriptor, then wildcards by length.
    pub(crate) fn candidates<'m>(
        &'m self,
        known: Option<EventIx>,
        name: &'m str,
    ) -> impl Iterator<Item = TransitionIx> + 'm {
        let exact = known.map_or(&[][..], |event| self.exact(event));
        let wild = self
            .wild
            .iter()
            .filter(move |(descriptor, _)| descriptor != name && wildcard_matches(descriptor, name))
            .flat_map(|(_, transitions)| transitions.iter());
        exact.iter().chain(wild).copied()
    }

    #[inline]
    pub(crate) fn exact(&self, event: EventIx) -> &[TransitionIx] {
        // Most states react to a few events: a scan beats a binary search up to about this many.
        const SCAN_MAX: usize = 8;
        let found = if self.on.len() <= SCAN_MAX {
            self.on.iter().find(|(known, _)| *known == event)
        } else {
            self.on.binary_search_by_key(&event, |(known, _)| *known).ok().map(|at| &self.on[at])
        };
        found.map_or(&[], |(_, transitions)| transitions)
    }
}

impl State {
    /// Entering it, by default or not, has no side effects.
    pub(crate) fn is_entered_quietly(&self) -> bool {
        self.entry.is_empty()
            && self.invokes.is_empty()
            && self.kind != StateKind::Final
            && self.initial.as_ref().is_none_or(|initial| initial.actions.is_empty())
    }

    /// Leaving it has no side effects.
    pub(crate) fn is_left_quietly(&self) -> bool {
        self.exit.is_empty() && self.invokes.is_empty() && self.histories.is_empty()
    }
}

/// Orders wildcard descriptors: longest first, as JavaScript counts length; equal ones keep their order.
pub(crate) fn sort_wildcards(descriptors: &mut [(Str, Box<[TransitionIx]>)]) {
    descriptors.sort_by_key(|(descriptor, _)| {
        debug_assert!(is_wildcard(descriptor));
        std::cmp::Reverse(descriptor.encode_utf16().count())
    });
}
