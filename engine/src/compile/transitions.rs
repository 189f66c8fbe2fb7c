//! Transitions: `on`, `always`, `after`, `onDone`, those of `invoke`, and routes.

use super::Compiler;
use super::expressions::Place;
use crate::definition::json_pos::{Kind, Node};
use crate::definition::keys;
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

/// What transitions of `onDone` and the like have besides what is written.
#[derive(Debug, Default)]
pub(super) struct Own<'f> {
    /// Fields of `matches` that ask nothing: the event's name says them already.
    pub(super) fixed: &'f [&'f str],
    /// The timer that ends with them.
    pub(super) ends: Option<u32>,
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

    pub(super) fn get(&self, descriptor: &str) -> Option<Vec<TransitionIx>> {
        let place = *self.places.get(descriptor)?;
        Some(self.entries.get(place)?.1.clone())
    }

    pub(super) fn prepend(&mut self, descriptor: &str, transitions: &[TransitionIx]) {
        let entry = self.entry(descriptor);
        entry.splice(..0, transitions.iter().copied());
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
        self.compile_transitions_of(source, descriptor, node, &Own::default())
    }

    /// The same for `onDone` and the like. In XState 6 these are transitions with `matches` of their own, which win over what is
    /// written.
    pub(super) fn compile_transitions_of(
        &mut self,
        source: StateIx,
        descriptor: &str,
        node: &'d Node,
        own: &Own<'_>,
    ) -> Vec<TransitionIx> {
        let items = node.one_or_many();
        items.iter().filter_map(|item| self.compile_transition(source, descriptor, item, own)).collect()
    }

    fn compile_transition(
        &mut self,
        source: StateIx,
        descriptor: &str,
        node: &'d Node,
        own: &Own<'_>,
    ) -> Option<TransitionIx> {
        const INSTEAD: &str = "{\"target\": ..., \"guard\": ..., \"actions\": ...}";
        if self.is_computed(node, "computed_transition", "a transition", INSTEAD) {
            return None;
        }
        let transition = match &node.kind {
            Kind::Str(_) => {
                let targets = self.resolve_targets(source, node);
                let actions = own.ends.map(Action::CancelAfter).into_iter().collect();
                Transition { targets, actions, ..self.bare(source, descriptor, node) }
            }
            Kind::Object(_) => {
                self.check_keys(node, &[keys::TRANSITION]);
                let targets = node.get("target").and_then(|target| self.resolve_targets(source, target));
                let mut transition = self.transition_object(source, descriptor, node, targets, own.ends);
                let matches = node.get("matches").and_then(|matches| self.compile_matches(matches, own.fixed));
                transition.guard = both(matches, transition.guard.take());
                transition
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

    /// Fields that the event must have; `None` if it asks nothing.
    fn compile_matches(&mut self, node: &'d Node, fixed: &[&str]) -> Option<Guard> {
        let Some(members) = node.members() else {
            let message = format!("`matches` must be an object, not {}", node.type_name());
            self.error(node, "wrong_type", message, None);
            return None;
        };
        for member in members.iter().filter(|member| matches!(member.value.kind, Kind::Object(_) | Kind::Array(_))) {
            let message = format!("`matches` compares plain values, not {}", member.value.type_name());
            let hint = Some("write a guard: {\"@expr\": \"event.field == ...\"}".to_owned());
            self.error(&member.value, "bad_matches", message, hint);
        }
        let asked = members.iter().filter(|member| !fixed.contains(&member.key.as_str()));
        let asked: Box<[_]> = asked.map(|member| (member.key.clone(), member.value.to_value())).collect();
        (!asked.is_empty()).then_some(Guard::Matches(asked))
    }

    /// A transition without a target that the definition does not have.
    pub(super) fn implied_transition(
        &mut self,
        source: StateIx,
        descriptor: &str,
        node: &'d Node,
        actions: Arc<[Action]>,
    ) -> Option<TransitionIx> {
        let transition = Transition { actions, ..self.bare(source, descriptor, node) };
        let added = self.add_transition(node, transition);
        self.implied.extend(added);
        added
    }

    /// The branches of a choice state: transitions that are tried at once, the first that is open is taken.
    pub(super) fn compile_choice(&mut self, source: StateIx, node: &'d Node) -> Vec<TransitionIx> {
        const INSTEAD: &str = "[{\"when\": ..., \"target\": ...}, {\"target\": ...}]";
        if self.is_computed(node, "computed_choice", "a choice", INSTEAD) {
            return Vec::new();
        }
        let Kind::Array(branches) = &node.kind else {
            let hint = Some(format!("write {INSTEAD}"));
            self.error(node, "wrong_type", format!("`choice` must be an array, not {}", node.type_name()), hint);
            return Vec::new();
        };
        let mut compiled = Vec::new();
        let mut is_open = false;
        for branch in branches {
            if branch.members().is_none() {
                let message = format!("a branch must be an object, not {}", branch.type_name());
                self.error(branch, "wrong_type", message, None);
                continue;
            }
            if is_open {
                let message = "this branch is never taken: the one before it has no `when`".to_owned();
                self.error(branch, "choice_order", message, Some("put the branch without `when` last".to_owned()));
            }
            self.check_keys(branch, &[keys::BRANCH]);
            is_open |= branch.get("when").is_none();
            let targets = branch.get("target").and_then(|target| self.resolve_targets(source, target));
            let guard = branch.get("when").and_then(|when| self.compile_guard(when, Place::Value));
            let transition = self.transition_object(source, "", branch, targets, None);
            compiled.extend(self.add_transition(branch, Transition { guard, ..transition }));
        }
        if !is_open {
            let guard = Some(Guard::NoBranch(self.drafts[usize::from(source)].id.clone()));
            let transition = Transition { guard, ..self.bare(source, "", node) };
            compiled.extend(self.add_transition(node, transition));
        }
        compiled
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
        ends: Option<u32>,
    ) -> Transition {
        let guard = node.get("guard").and_then(|guard| self.compile_guard(guard, Place::Value));
        let reenter = node.get("reenter").and_then(|reenter| self.boolean(reenter, "`reenter`")).unwrap_or(false);
        let assigned =
            node.get("context").and_then(|context| self.compile_assignment(context, Place::Value)).map(Action::Assign);
        let actions = self.compile_actions(node.get("actions"), Place::Value);
        let last = ends.map(Action::CancelAfter);
        let actions = assigned.into_iter().chain(actions).chain(last).collect();
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
        if self.is_computed(node, "computed_transition", "a route", "{\"guard\": ..., \"actions\": ...}") {
            return None;
        }
        if node.members().is_none() {
            self.error(node, "wrong_type", format!("`route` must be an object, not {}", node.type_name()), None);
            return None;
        }
        self.check_keys(node, &[keys::ROUTE]);
        let is_named = Guard::Route(Str::new(format!("#{id}")));
        let mut transition = self.transition_object(0, ROUTE_EVENT, node, Some(Box::new([state])), None);
        transition.guard = both(Some(is_named), transition.guard.take());
        self.add_transition(node, transition)
    }
}

/// Both, the first asked first.
pub(super) fn both(first: Option<Guard>, second: Option<Guard>) -> Option<Guard> {
    match (first, second) {
        (Some(first), Some(second)) => Some(Guard::And(Box::new([first, second]))),
        (first, second) => first.or(second),
    }
}

pub(super) const ROUTE_EVENT: &str = "xstate.route";
