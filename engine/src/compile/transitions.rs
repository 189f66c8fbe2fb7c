//! Transitions: `on`, `always`, `after`, `onDone`, those of `invoke`, and routes.

use super::expressions::Place;
use super::{Compiler, keys};
use crate::json_pos::{Kind, Node};
use crate::machine::{Action, Guard, Transition, TransitionIx};
use crate::state_set::StateIx;
use statemesh_expr::Str;
use std::collections::HashMap;
use std::sync::Arc;

/// The transitions of one state by descriptor, in the order in which XState's map has them.
#[derive(Default)]
pub(super) struct Descriptors {
    pub(super) entries: Vec<(Str, Vec<TransitionIx>)>,
    places: HashMap<Str, usize>,
}

impl Descriptors {
    fn entry(&mut self, descriptor: &str) -> &mut Vec<TransitionIx> {
        let place = *self.places.entry(Str::new(descriptor)).or_insert_with(|| {
            self.entries.push((Str::new(descriptor), Vec::new()));
            self.entries.len() - 1
        });
        &mut self.entries[place].1
    }

    /// Replaces what the descriptor had, in its place.
    pub(super) fn set(&mut self, descriptor: &str, transitions: Vec<TransitionIx>) {
        *self.entry(descriptor) = transitions;
    }

    pub(super) fn append(&mut self, descriptor: &str, transitions: Vec<TransitionIx>) {
        self.entry(descriptor).extend(transitions);
    }
}

impl<'d> Compiler<'d> {
    /// `on`, `after`, `always`, `onDone` and the like: an object of transitions by key.
    pub(super) fn transition_map(
        &mut self,
        state: StateIx,
        node: &'d Node,
        what: &str,
    ) -> Vec<(&'d str, &'d Node, usize)> {
        let Some(members) = node.members() else {
            self.error(node, "wrong_type", format!("`{what}` must be an object, not {}", node.type_name()), None);
            return Vec::new();
        };
        let _ = state;
        members.iter().map(|member| (member.key.as_str(), &member.value, member.key_offset)).collect()
    }

    /// One transition, or an array of them.
    pub(super) fn compile_transitions(
        &mut self,
        source: StateIx,
        descriptor: &str,
        node: &'d Node,
    ) -> Vec<TransitionIx> {
        let items = node.one_or_many();
        items.iter().filter_map(|item| self.compile_transition(source, descriptor, item)).collect()
    }

    fn compile_transition(&mut self, source: StateIx, descriptor: &str, node: &'d Node) -> Option<TransitionIx> {
        let transition = match &node.kind {
            Kind::Str(_) => {
                Transition { targets: self.resolve_targets(source, node), ..self.bare(source, descriptor, node) }
            }
            Kind::Object(_) => {
                self.check_keys(node, &[keys::TRANSITION]);
                let targets = node.get("target").and_then(|target| self.resolve_targets(source, target));
                self.transition_object(source, descriptor, node, targets)
            }
            _ => {
                let message =
                    format!("a transition must be a target, an object or an array of these, not {}", node.type_name());
                self.error(node, "wrong_type", message, Some("to forbid an event write {}".to_owned()));
                return None;
            }
        };
        self.add_transition(node, transition)
    }

    fn bare(&self, source: StateIx, descriptor: &str, node: &'d Node) -> Transition {
        Transition {
            source,
            descriptor: Str::new(descriptor),
            offset: node.offset,
            targets: None,
            reenter: false,
            guard: None,
            actions: Arc::default(),
            plan: None,
        }
    }

    fn transition_object(
        &mut self,
        source: StateIx,
        descriptor: &str,
        node: &'d Node,
        targets: Option<Box<[StateIx]>>,
    ) -> Transition {
        let guard = node.get("guard").and_then(|guard| self.compile_guard(guard, Place::Value));
        let reenter = node.get("reenter").and_then(|reenter| self.boolean(reenter, "`reenter`")).unwrap_or(false);
        let assigned =
            node.get("context").and_then(|context| self.compile_assignment(context, Place::Value)).map(Action::Assign);
        let actions = self.compile_actions(node.get("actions"), Place::Value);
        let actions = assigned.into_iter().chain(actions).collect();
        Transition { targets, reenter, guard, actions, ..self.bare(source, descriptor, node) }
    }

    fn add_transition(&mut self, node: &'d Node, transition: Transition) -> Option<TransitionIx> {
        if self.transitions.len() >= self.limits.transitions_max {
            if self.transitions.len() == self.limits.transitions_max {
                let message =
                    format!("more transitions than the limit transitions_max allows ({})", self.limits.transitions_max);
                self.error(node, "too_many_transitions", message, None);
            }
            return None;
        }
        self.transitions.push(transition);
        Some(self.transitions.len() as TransitionIx - 1)
    }

    /// A route: `xstate.route` to a state with an explicit id, taken from the root.
    pub(super) fn compile_route(&mut self, state: StateIx, node: &'d Node) -> Option<TransitionIx> {
        let draft = &self.drafts[usize::from(state)];
        let id = draft.node.get("id").and_then(Node::as_str).filter(|id| !id.is_empty());
        let Some(id) = id else {
            self.warning(node, "route_without_id", "a state needs an explicit `id` to be routed to", None);
            return None;
        };
        if node.members().is_none() {
            self.error(node, "wrong_type", format!("`route` must be an object, not {}", node.type_name()), None);
            return None;
        }
        self.check_keys(node, &[keys::ROUTE]);
        let is_named = Guard::Route(Str::new(format!("#{id}")));
        let mut transition = self.transition_object(0, ROUTE_EVENT, node, Some(Box::new([state])));
        transition.guard = Some(match transition.guard.take() {
            Some(guard) => Guard::And(Box::new([is_named, guard])),
            None => is_named,
        });
        self.add_transition(node, transition)
    }
}

pub(super) const ROUTE_EVENT: &str = "xstate.route";
