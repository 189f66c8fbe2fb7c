//! The ids that actions give and those that they name: a child or a delayed event that never exists is a misspelling.
//! Ids can be computed, so what is found is only worth a warning.

use super::Compiler;
use crate::definition::diagnostics::{Severity, did_you_mean};
use crate::definition::json_pos::Node;
use crate::expression::Template;
use crate::machine::Machine;
use statemesh_expr::{Str, Value};
use std::collections::HashSet;

/// What an id is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addressee {
    Child,
    DelayedEvent,
}

#[derive(Default)]
pub(super) struct Addresses {
    children: Ids,
    delayed: Ids,
    named: Vec<(Addressee, Str, usize)>,
}

#[derive(Default)]
struct Ids {
    known: HashSet<Str>,
    /// Some id is computed: it may be any.
    any: bool,
}

impl Addresses {
    fn ids(&mut self, of: Addressee) -> &mut Ids {
        match of {
            Addressee::Child => &mut self.children,
            Addressee::DelayedEvent => &mut self.delayed,
        }
    }

    /// An action gives this id.
    pub(super) fn give(&mut self, of: Addressee, id: Option<&Template>) {
        match id {
            None => {}
            Some(Template::Constant(Value::Str(id))) => drop(self.ids(of).known.insert(id.clone())),
            Some(Template::Constant(Value::Int(id))) => drop(self.ids(of).known.insert(Str::new(id.to_string()))),
            Some(_) => self.ids(of).any = true,
        }
    }

    /// An action names this id, which stands at `node`.
    pub(super) fn name(&mut self, of: Addressee, id: Option<&Template>, node: Option<&Node>) {
        if let (Some(Template::Constant(Value::Str(id))), Some(node)) = (id, node) {
            self.named.push((of, id.clone(), node.offset));
        }
    }
}

impl Compiler<'_> {
    pub(super) fn lint_addresses(&mut self, machine: &Machine) {
        let mut addresses = std::mem::take(&mut self.addresses);
        let invoked = machine.states.iter().flat_map(|state| state.invokes.iter().map(|invoke| invoke.id.clone()));
        addresses.children.known.extend(invoked);
        for (of, id, offset) in std::mem::take(&mut addresses.named) {
            let ids = addresses.ids(of);
            if self.is_full() || ids.any || ids.known.contains(&id) {
                continue;
            }
            match of {
                Addressee::Child => self.warn_of_child(&id, offset, ids),
                Addressee::DelayedEvent => self.warn_of_delayed(&id, offset, ids),
            }
        }
    }

    fn warn_of_child(&mut self, id: &str, offset: usize, ids: &Ids) {
        // The machine itself, its parent, and children that were started without an id.
        if matches!(id, "" | "#_internal" | "#_parent") || id.starts_with("x:") {
            return;
        }
        let child = id.strip_prefix("#_").unwrap_or(id);
        if ids.known.contains(child) {
            return;
        }
        let hint = did_you_mean(child, ids.known.iter().map(Str::as_str))
            .or(Some("`invoke` and `@xstate.spawnChild` give a child its `id`".to_owned()));
        let message = format!("this machine has no child with the id {child:?}");
        self.report(Severity::Warning, offset, "unknown_child", message, hint);
    }

    fn warn_of_delayed(&mut self, id: &str, offset: usize, ids: &Ids) {
        let hint = did_you_mean(id, ids.known.iter().map(Str::as_str))
            .or(Some("`@xstate.raise` and `@xstate.sendTo` with a `delay` give an event its `id`".to_owned()));
        let message = format!("this machine delays no event with the id {id:?}");
        self.report(Severity::Warning, offset, "unknown_delayed_event", message, hint);
    }
}
