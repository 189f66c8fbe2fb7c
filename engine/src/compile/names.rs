//! The root's named actions, guards and delays: declared first, so that any of them may be used before its text.

use super::Compiler;
use super::expressions::Place;
use crate::definition::diagnostics::did_you_mean;
use crate::definition::json_pos::{Member, Node};
use crate::definition::keys;
use crate::expression::{CODE_IN_BRACES, as_cel, is_code_in_braces, within_braces};
use crate::machine::{Action, Delay, Guard, NamedAction, NamedGuard};
use statemesh_expr::{Str, Value};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct Names<'d> {
    pub(crate) actions: Vec<&'d Member>,
    pub(crate) action_indices: HashMap<Str, u16>,
    pub(crate) guards: Vec<&'d Member>,
    pub(crate) guard_indices: HashMap<Str, u16>,
    pub(crate) delays: HashMap<Str, Arc<crate::expression::Template>>,
}

impl<'d> Compiler<'d> {
    pub(super) fn declare_names(&mut self, root: &'d Node) {
        let actions = self.definitions(root, "actions");
        let guards = self.definitions(root, "guards");
        self.names.action_indices = indices(actions);
        self.names.actions = actions.iter().collect();
        self.names.guard_indices = indices(guards);
        self.names.guards = guards.iter().collect();
        for member in self.definitions(root, "delays") {
            let duration = match member.value.get("duration") {
                Some(duration) => {
                    self.check_keys(&member.value, &[keys::DELAY_DEFINITION]);
                    duration
                }
                None => &member.value,
            };
            // One that is wrong is known all the same: who names it has not misspelt it.
            let unread = || crate::expression::Template::Constant(Value::Int(0));
            let template = self.delay_template(duration).unwrap_or_else(unread);
            self.names.delays.insert(member.key.clone(), Arc::new(template));
        }
    }

    fn definitions(&mut self, root: &'d Node, key: &str) -> &'d [Member] {
        let Some(node) = root.get(key) else { return &[] };
        let Some(members) = node.members() else {
            self.error(node, "wrong_type", format!("`{key}` must be an object, not {}", node.type_name()), None);
            return &[];
        };
        if members.len() > usize::from(u16::MAX) {
            self.error(node, "too_many_names", format!("more than {} entries", u16::MAX), None);
            return &[];
        }
        members
    }

    fn delay_template(&mut self, duration: &'d Node) -> Option<crate::expression::Template> {
        match self.delay_value(duration)? {
            Delay::Constant(ms) => {
                Some(crate::expression::Template::Constant(Value::Int(i64::try_from(ms).unwrap_or(i64::MAX))))
            }
            Delay::Computed(template) => Arc::try_unwrap(template).ok(),
        }
    }

    pub(super) fn compile_named_actions(&mut self) -> Vec<NamedAction> {
        let members = self.names.actions.clone();
        let compiled: Vec<NamedAction> = members
            .iter()
            .map(|member| NamedAction {
                name: member.key.clone(),
                body: self.compile_actions(Some(&member.value), Place::NamedAction),
            })
            .collect();
        let uses: Vec<Vec<u16>> = compiled.iter().map(|action| calls_of(&action.body)).collect();
        self.refuse_cycles(&members, &uses, "action");
        compiled
    }

    pub(super) fn compile_named_guards(&mut self) -> Vec<NamedGuard> {
        let members = self.names.guards.clone();
        let mut compiled = Vec::with_capacity(members.len());
        let mut uses = Vec::with_capacity(members.len());
        for member in &members {
            let condition = match member.value.get("when") {
                Some(condition) => {
                    self.check_keys(&member.value, &[keys::GUARD_DEFINITION]);
                    condition
                }
                None => &member.value,
            };
            let Some(body) = self.compile_guard(condition, Place::NamedGuard) else { continue };
            let mut called = Vec::new();
            guard_calls(&body, &mut called);
            uses.push(called);
            compiled.push(NamedGuard { name: member.key.clone(), body });
        }
        if compiled.len() == members.len() {
            self.refuse_cycles(&members, &uses, "guard");
        }
        compiled
    }

    /// A definition that leads back to itself would never end; one that is nested too deeply could exhaust the stack;
    /// and one that uses others twice, which use others twice, could grow without measure.
    fn refuse_cycles(&mut self, members: &[&'d Member], uses: &[Vec<u16>], what: &str) {
        const NESTING_MAX: usize = 32;
        const EXPANDED_MAX: usize = 10_000;
        let mut settled: Vec<Option<(usize, usize)>> = vec![None; members.len()];
        // Each round settles the definitions that use only settled ones.
        for _ in 0..=NESTING_MAX {
            for (index, used) in uses.iter().enumerate() {
                let below: Option<Vec<(usize, usize)>> =
                    used.iter().map(|used| settled.get(usize::from(*used)).copied().flatten()).collect();
                let expanded = below.map(|below| {
                    let depth = below.iter().map(|(depth, _)| depth + 1).max().unwrap_or(0);
                    let size = below.iter().fold(1, |sum: usize, (_, size)| sum.saturating_add(*size));
                    (depth, size)
                });
                settled[index] = expanded.filter(|(depth, size)| *depth <= NESTING_MAX && *size <= EXPANDED_MAX);
            }
        }
        for (member, expanded) in members.iter().zip(&settled) {
            if expanded.is_none() {
                let message = format!(
                    "the named {what} {:?} uses itself, is nested more than {NESTING_MAX} deep, or expands to more than {EXPANDED_MAX}",
                    member.key
                );
                self.error(&member.value, "circular_definition", message, None);
            }
        }
    }

    /// The index of a named guard, or an error with a suggestion.
    pub(super) fn named_guard(&mut self, node: &'d Node, name: &str) -> Option<u16> {
        let found = self.names.guard_indices.get(name).copied();
        if found.is_none() && !(self.is_full() && self.has_errors()) {
            let hint = match looks_like_an_expression(name) {
                true if is_code_in_braces(name) => CODE_IN_BRACES.to_owned(),
                true => format!("if it is an expression, write {{\"@expr\": {:?}}}", as_cel(name)),
                false => did_you_mean(name, self.names.guard_indices.keys().map(Str::as_str))
                    .unwrap_or("add it to the root's `guards`".to_owned()),
            };
            self.error(node, "unknown_guard", format!("there is no guard {name:?}"), Some(hint));
        }
        found
    }
}

fn looks_like_an_expression(name: &str) -> bool {
    let reads_a_root = ["context.", "event.", "params."].iter().any(|root| name.starts_with(root));
    reads_a_root || within_braces(name).is_some() || name.contains(['<', '>', '=', '!', '&', '|', '('])
}

fn indices(members: &[Member]) -> HashMap<Str, u16> {
    members.iter().zip(0..).map(|(member, index)| (member.key.clone(), index)).collect()
}

fn calls_of(actions: &[Action]) -> Vec<u16> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Call { action, .. } => Some(*action),
            _ => None,
        })
        .collect()
}

fn guard_calls(guard: &Guard, into: &mut Vec<u16>) {
    match guard {
        Guard::Call { guard, .. } => into.push(*guard),
        Guard::And(inner) | Guard::Or(inner) => inner.iter().for_each(|guard| guard_calls(guard, into)),
        Guard::Not(inner) => guard_calls(inner, into),
        Guard::Expression(_) | Guard::StateIn(_) | Guard::Matches(_) | Guard::NoBranch(_) | Guard::Route(_) => {}
    }
}
