//! Second pass: what each state does.

use super::Compiler;
use super::expressions::Place;
use super::transitions::{Descriptors, Own, ROUTE_EVENT, both};
use super::tree::DraftKind;
use crate::definition::delay_text::{javascript_number, javascript_number_text, milliseconds};
use crate::definition::diagnostics::did_you_mean;
use crate::definition::json_pos::{Kind, Node};
use crate::definition::keys;
use crate::event_names::is_wildcard;
use crate::machine::{Action, After, Delay, Guard, TransitionIx};
use crate::state::{Done, Initial, Invoke, Key, Notes, Reactions, State, StateKind, sort_wildcards};
use crate::state_set::StateIx;
use statemesh_expr::{Str, Value};
use std::sync::Arc;

/// What `onError` of a state catches: errors of children and of expressions.
const ERRORS: &str = "xstate.error.*";

impl<'d> Compiler<'d> {
    pub(super) fn compile_states(&mut self) -> Vec<State> {
        let mut history = 0;
        (0..self.drafts.len() as StateIx).map(|index| self.compile_state(index, &mut history)).collect()
    }

    fn compile_state(&mut self, index: StateIx, history: &mut u16) -> State {
        let draft = &self.drafts[usize::from(index)];
        let (node, id, key, parent, end) = (draft.node, draft.id.clone(), draft.key.clone(), draft.parent, draft.end);
        let (children, histories) = self.children_of(index);
        let kind = self.state_kind(index, history);
        let entry = self.compile_actions(node.get("entry"), Place::Value);
        let exit = self.compile_actions(node.get("exit"), Place::Value);
        let invokes = self.compile_invokes(index, node);
        let mut descriptors = self.compile_on(index, node);
        let mut timers = self.compile_invoke_timeouts(index, &invokes, &mut descriptors);
        self.compile_done(index, node, &id, &invokes, &timers, &mut descriptors);
        // XState 6 starts timers in the reverse order of these, but those of `after` as XState 5 does.
        timers.reverse();
        timers.extend(self.compile_timeout(index, node, &id, &mut descriptors));
        let timers: Vec<u32> = timers.into_iter().map(|(_, after)| after).collect();
        let timers = [timers, self.compile_after(index, node, &id, &mut descriptors)].concat();
        self.spread_families(&mut descriptors);
        let always = match self.choice_of(node) {
            Some(choice) => self.compile_choice(index, choice),
            None => node.get("always").map(|always| self.compile_transitions(index, "", always)).unwrap_or_default(),
        };
        let (on, wild, names) = self.split_descriptors(descriptors);
        State {
            entry: entry.into_iter().chain(timers.iter().map(|after| Action::StartAfter(*after))).collect(),
            exit: exit.into_iter().chain(timers.iter().map(|after| Action::CancelAfter(*after))).collect(),
            initial: self.compile_initial(index, node),
            invokes: invokes.into_iter().map(|(invoke, _)| invoke).collect(),
            notes: Notes {
                tags: self.compile_tags(node),
                meta: node.get("meta").map(Node::to_value),
                description: node.get("description").and_then(Node::as_str).map(Str::new),
            },
            done: Done {
                output: self.compile_output(index, node, kind),
                event: self.events.intern(&format!("xstate.done.state.{id}")),
            },
            reactions: Reactions { always: always.into(), on, wild, descriptors: names },
            recovers: node.get("onError").is_some(),
            id,
            key: Key::new(key),
            kind,
            parent,
            end,
            children,
            histories,
        }
    }

    fn children_of(&self, index: StateIx) -> (Box<[StateIx]>, Box<[StateIx]>) {
        let is_history = |child: &StateIx| self.drafts[usize::from(*child)].kind == DraftKind::History;
        let all = &self.drafts[usize::from(index)].all_children;
        let (histories, children): (Vec<_>, Vec<_>) = all.iter().copied().partition(is_history);
        (children.into(), histories.into())
    }

    fn state_kind(&self, index: StateIx, history: &mut u16) -> StateKind {
        match self.drafts[usize::from(index)].kind {
            DraftKind::Atomic => StateKind::Atomic,
            DraftKind::Compound => StateKind::Compound,
            DraftKind::Parallel => StateKind::Parallel,
            DraftKind::Final => StateKind::Final,
            DraftKind::History => {
                *history += 1;
                StateKind::History(*history - 1)
            }
        }
    }

    fn compile_on(&mut self, index: StateIx, node: &'d Node) -> Descriptors {
        let mut descriptors = Descriptors::default();
        let Some(on) = node.get("on") else { return descriptors };
        for (descriptor, value, offset) in self.transition_map(index, on, "on") {
            if descriptor.is_empty() {
                let message = "an event type cannot be empty".to_owned();
                self.report(
                    crate::definition::diagnostics::Severity::Error,
                    offset,
                    "empty_event",
                    message,
                    Some("use `always`".to_owned()),
                );
                continue;
            }
            self.check_wildcard(descriptor, offset);
            let transitions = self.compile_transitions(index, descriptor, value);
            descriptors.set(descriptor, transitions);
        }
        descriptors
    }

    /// A `*` elsewhere than at the end, behind a dot, stands for itself.
    fn check_wildcard(&mut self, descriptor: &str, offset: usize) {
        let fixed = if descriptor == "*" { "" } else { descriptor.strip_suffix(".*").unwrap_or(descriptor) };
        if !fixed.contains('*') {
            return;
        }
        let message = format!("{descriptor:?} is no wildcard: it matches only an event of exactly that type");
        let hint = "a wildcard is \"*\", or \"a.b.*\" for all that begins with a.b".to_owned();
        self.report(crate::definition::diagnostics::Severity::Warning, offset, "literal_wildcard", message, Some(hint));
    }

    /// `onDone` of the state, and `onDone`, `onError`, `onSnapshot` of what it invokes.
    fn compile_done(
        &mut self,
        index: StateIx,
        node: &'d Node,
        id: &str,
        invokes: &[(Invoke, &'d Node)],
        timeouts: &[(&'d Node, u32)],
        into: &mut Descriptors,
    ) {
        if let Some(done) = node.get("onDone") {
            let descriptor = format!("xstate.done.state.{id}");
            let transitions =
                self.compile_transitions_of(index, &descriptor, done, &Own { fixed: &["stateId"], ends: None });
            into.set(&descriptor, transitions);
        }
        if let Some(error) = node.get("onError") {
            let transitions = self.compile_transitions(index, ERRORS, error);
            into.set(ERRORS, transitions);
        }
        const KEYS: [(&str, &str); 3] =
            [("onDone", "xstate.done.actor"), ("onError", "xstate.error.actor"), ("onSnapshot", "xstate.snapshot")];
        for (invoke, node) in invokes {
            let timeout = timeouts.iter().find(|(of, _)| std::ptr::eq(*of, *node)).map(|(_, after)| *after);
            for (key, prefix) in KEYS {
                let descriptor = format!("{prefix}.{}", invoke.id);
                let value = node.get(key);
                let ends = timeout.filter(|_| key != "onSnapshot");
                if value.is_none() && (ends.is_none() || key == "onError") {
                    continue;
                }
                let own = Own { fixed: &["actorId"], ends };
                let mut transitions = match value {
                    Some(value) => self.compile_transitions_of(index, &descriptor, value, &own),
                    None => Vec::new(),
                };
                if let Some(after) = ends {
                    // As XState 6 has it: the time is over too where no `onDone` is open.
                    let cancels = Arc::from([Action::CancelAfter(after)]);
                    let implied = (key == "onDone").then(|| self.implied_transition(index, &descriptor, node, cancels));
                    transitions.extend(implied.flatten());
                }
                into.set(&descriptor, transitions);
            }
        }
    }

    /// `timeout` and `onTimeout` of what is invoked: timers of the state, each with the node of what it is for.
    fn compile_invoke_timeouts(
        &mut self,
        index: StateIx,
        invokes: &[(Invoke, &'d Node)],
        into: &mut Descriptors,
    ) -> Vec<(&'d Node, u32)> {
        let mut timers = Vec::new();
        for (invoke, node) in invokes {
            let Some((timeout, taken)) = self.timeout_of(node) else { continue };
            let descriptor = format!("xstate.timeout.actor.{}", invoke.id);
            let transitions =
                self.compile_transitions_of(index, &descriptor, taken, &Own { fixed: &["actorId"], ends: None });
            into.append(&descriptor, transitions);
            if let Some(delay) = self.delay_value(timeout) {
                timers.push((*node, self.add_timer(&descriptor, delay)));
            }
        }
        timers
    }

    /// `timeout` and `onTimeout` of a state.
    fn compile_timeout(
        &mut self,
        index: StateIx,
        node: &'d Node,
        id: &str,
        into: &mut Descriptors,
    ) -> Option<(&'d Node, u32)> {
        let (timeout, taken) = self.timeout_of(node)?;
        let descriptor = format!("xstate.timeout.{id}");
        let transitions =
            self.compile_transitions_of(index, &descriptor, taken, &Own { fixed: &["stateId"], ends: None });
        into.append(&descriptor, transitions);
        let delay = self.compile_delay(timeout, Place::Value)?;
        Some((node, self.add_timer(&descriptor, delay)))
    }

    /// Both keys of a timeout, or an error if there is only one.
    fn timeout_of(&mut self, node: &'d Node) -> Option<(&'d Node, &'d Node)> {
        let (timeout, taken) = (node.get("timeout"), node.get("onTimeout"));
        let (there, missing) = match (timeout, taken) {
            (Some(timeout), Some(taken)) => return Some((timeout, taken)),
            (Some(timeout), None) => (timeout, "onTimeout"),
            (None, Some(taken)) => (taken, "timeout"),
            (None, None) => return None,
        };
        self.error(there, "missing_key", format!("the key {missing:?} is missing"), None);
        None
    }

    fn add_timer(&mut self, descriptor: &str, delay: Delay) -> u32 {
        self.afters.push(After { event: self.events.intern(descriptor), delay });
        self.afters.len() as u32 - 1
    }

    /// What is written for all events of a kind, as XState 6 names them, comes first at each event of that kind, and is found
    /// for those whose names are not known yet.
    fn spread_families(&mut self, descriptors: &mut Descriptors) {
        for family in crate::shapes::FAMILIES {
            let Some(transitions) = descriptors.get(family.kind) else { continue };
            let names = descriptors.entries.iter().map(|(name, _)| name.clone());
            let is_one = |name: &Str| crate::shapes::Family::of(name).is_some_and(|of| of.kind == family.kind);
            let known: Vec<Str> = names.filter(|name| is_one(name) && !is_wildcard(name)).collect();
            for name in known {
                descriptors.prepend(&name, &transitions);
            }
            // The names of timeouts of what is invoked begin as those of states do.
            if family.kind == "xstate.timeout" {
                for index in &transitions {
                    let is_meant = Guard::Matches(Box::new([(Str::from("type"), Value::str(family.kind))]));
                    if let Some(transition) = self.transitions.get_mut(*index as usize) {
                        transition.guard = both(Some(is_meant), transition.guard.take());
                    }
                }
            }
            descriptors.prepend(&format!("{}*", family.prefix), &transitions);
        }
    }

    /// The `choice` of a state of that type; reports what such a state cannot have, and a `choice` elsewhere.
    fn choice_of(&mut self, node: &'d Node) -> Option<&'d Node> {
        let is_choice = node.get("type").and_then(Node::as_str) == Some("choice");
        let choice = node.get("choice");
        match choice {
            Some(choice) if !is_choice => {
                let hint = Some("add \"type\": \"choice\"".to_owned());
                self.error(choice, "unexpected_choice", "only a state of type \"choice\" has a `choice`", hint);
                return None;
            }
            None if is_choice => {
                let hint = Some("add \"choice\": [{\"when\": ..., \"target\": ...}, {\"target\": ...}]".to_owned());
                self.error(node, "missing_key", "the key \"choice\" is missing", hint);
                return None;
            }
            None => return None,
            Some(_) => {}
        }
        let members = node.members().unwrap_or(&[]).iter();
        for member in members.filter(|member| keys::NOT_OF_A_CHOICE.contains(&member.key.as_str())) {
            let message =
                format!("a state of type \"choice\" cannot have {:?}: it is left as soon as it is entered", member.key);
            let hint = Some("put it on the states that the branches lead to".to_owned());
            self.report(
                crate::definition::diagnostics::Severity::Error,
                member.key_offset,
                "unexpected_key",
                message,
                hint,
            );
        }
        choice
    }

    /// Compiles `after`; returns the timers to start on entry and to cancel on exit.
    fn compile_after(&mut self, index: StateIx, node: &'d Node, id: &str, into: &mut Descriptors) -> Vec<u32> {
        let mut timers = Vec::new();
        let Some(after) = node.get("after") else { return timers };
        for (key, value, offset) in self.transition_map(index, after, "after") {
            let (name, delay) = match javascript_number(key) {
                Some(ms) => {
                    self.warn_of_past(offset, ms);
                    (javascript_number_text(ms), Some(Delay::Constant(milliseconds(ms))))
                }
                None => {
                    let place = Node { kind: Kind::Null, offset };
                    // It is a key, which cannot be `@expr`.
                    let meant = self.meant_by(key, Place::Value).map(|meant| {
                        format!(
                            "give it a name in the root's `delays`, \"delays\": {{\"wait\": {{\"@expr\": {meant:?}}}}}, and write that here"
                        )
                    });
                    (key.to_owned(), self.delay_by_name(&place, key, meant))
                }
            };
            let descriptor = format!("xstate.after.{name}.{id}");
            let transitions = self.compile_transitions_of(
                index,
                &descriptor,
                value,
                &Own { fixed: &["delay", "stateId"], ends: None },
            );
            into.append(&descriptor, transitions);
            if let Some(delay) = delay {
                timers.push(self.add_timer(&descriptor, delay));
            }
        }
        timers
    }

    fn compile_invokes(&mut self, index: StateIx, node: &'d Node) -> Vec<(Invoke, &'d Node)> {
        let Some(invoke) = node.get("invoke") else { return Vec::new() };
        let state_id = self.drafts[usize::from(index)].id.clone();
        let mut compiled = Vec::new();
        for (position, item) in invoke.one_or_many().iter().enumerate() {
            if item.members().is_none() {
                self.error(item, "wrong_type", format!("`invoke` must be an object, not {}", item.type_name()), None);
                continue;
            }
            self.check_keys(item, &[keys::INVOKE]);
            if let Some(key) = item.get("registryKey") {
                let message = "`registryKey` is kept, not interpreted: nothing here finds a machine by it";
                self.warning(key, "unused_key", message, Some("`id` names the child for its parent".to_owned()));
            }
            let machine = item.get("src").and_then(|src| self.child_machine(src));
            let id = match item.get("id") {
                Some(id) => self.string(id, "`id`").map(Str::new),
                None => Some(Str::new(format!("{position}.{state_id}"))),
            };
            let input = self.compile_input(item, Place::Value);
            let sync = item.get("onSnapshot").is_some();
            // The machine may be unknown, which is reported; its transitions are checked all the same.
            if let Some(id) = id {
                compiled.push((Invoke { id, machine: machine.unwrap_or(0), input, sync }, item));
            }
        }
        compiled
    }

    fn compile_initial(&mut self, index: StateIx, node: &'d Node) -> Option<Initial> {
        let initial = node.get("initial")?;
        let (target, actions) = match &initial.kind {
            Kind::Object(_) => {
                self.check_keys(initial, &[keys::INITIAL]);
                (initial.get("target")?, initial.get("actions"))
            }
            _ => (initial, None),
        };
        let key = self.string(target, "`initial`")?;
        let Some(found) = self.child_called(index, key) else {
            let children = &self.drafts[usize::from(index)].all_children;
            let keys: Vec<Str> = children.iter().map(|child| self.drafts[usize::from(*child)].key.clone()).collect();
            let id = self.drafts[usize::from(index)].id.clone();
            let hint = did_you_mean(key, keys.iter().map(Str::as_str));
            self.error(target, "unknown_target", format!("the state {id:?} has no child {key:?}"), hint);
            return None;
        };
        Some(Initial { target: found, actions: self.compile_actions(actions, Place::Value).into() })
    }

    /// The child that `initial` names: by its key, or by its `#id`.
    pub(super) fn child_called(&self, index: StateIx, name: &str) -> Option<StateIx> {
        let draft = self.drafts.get(usize::from(index))?;
        let by_key = draft.by_key.get(name);
        let found = by_key.or_else(|| self.ids.get(name.strip_prefix('#')?)).copied()?;
        draft.all_children.contains(&found).then_some(found)
    }

    fn compile_tags(&mut self, node: &'d Node) -> Box<[Str]> {
        let Some(tags) = node.get("tags") else { return Box::default() };
        tags.one_or_many().iter().filter_map(|tag| self.string(tag, "a tag")).map(Str::new).collect()
    }

    /// XState ignores an output elsewhere, so we do; but it is worth a word.
    fn compile_output(
        &mut self,
        index: StateIx,
        node: &'d Node,
        kind: StateKind,
    ) -> Option<crate::expression::Template> {
        let output = node.get("output")?;
        if kind != StateKind::Final && index != 0 {
            self.warning(
                output,
                "unused_output",
                "only final states and the root have an output; this one is ignored",
                None,
            );
            return None;
        }
        self.warn_of_text(output, Place::Value);
        self.compile_template(output, Place::Value)
    }

    #[allow(clippy::type_complexity)]
    fn split_descriptors(
        &mut self,
        descriptors: Descriptors,
    ) -> (Box<[(u32, Box<[TransitionIx]>)]>, Box<[(Str, Box<[TransitionIx]>)]>, Box<[Str]>) {
        let names = descriptors.entries.iter().map(|(name, _)| name.clone()).collect();
        let mut exact = Vec::new();
        let mut wild = Vec::new();
        for (descriptor, transitions) in descriptors.entries {
            let transitions: Box<[TransitionIx]> = transitions.into();
            if is_wildcard(&descriptor) {
                wild.push((descriptor.clone(), transitions.clone()));
            }
            exact.push((self.events.intern(&descriptor), transitions));
        }
        exact.sort_by_key(|(event, _)| *event);
        sort_wildcards(&mut wild);
        (exact.into(), wild.into(), names)
    }

    /// Routes belong to the root: one list for `xstate.route`, in document order.
    pub(super) fn compile_routes(&mut self, states: &mut [State]) {
        let mut routes = Vec::new();
        for index in 1..self.drafts.len() as StateIx {
            if let Some(route) = self.drafts[usize::from(index)].node.get("route") {
                routes.extend(self.compile_route(index, route));
            }
        }
        if routes.is_empty() {
            return;
        }
        let event = self.events.intern(ROUTE_EVENT);
        let Some(root) = states.first_mut() else { return };
        let mut on: Vec<_> = std::mem::take(&mut root.reactions.on).into_vec();
        on.retain(|(known, _)| *known != event);
        on.push((event, routes.into()));
        on.sort_by_key(|(event, _)| *event);
        root.reactions.on = on.into();
    }
}
