//! Keys of the context that expressions read and nothing ever sets: a slip of the pen that would be an error only when it is run.

use super::Compiler;
use crate::definition::diagnostics::{Severity, did_you_mean};
use statemesh_expr::{Str, Value};
use std::collections::BTreeSet;

/// What is read of the context and what is assigned to it, anywhere in the definition.
#[derive(Debug, Default)]
pub(super) struct ContextKeys {
    reads: Vec<Read>,
    assigned: BTreeSet<Str>,
    /// Some assignment is one expression: any key may be in what it gives.
    is_any_assigned: bool,
}

#[derive(Debug)]
struct Read {
    key: Str,
    /// Where the expression stands in the document, and where in it the key is read.
    owner: usize,
    offset: usize,
}

impl ContextKeys {
    pub(super) fn read(&mut self, key: &Str, owner: usize, offset: usize) {
        self.reads.push(Read { key: key.clone(), owner, offset });
    }

    pub(super) fn assign(&mut self, key: &Str) {
        self.assigned.insert(key.clone());
    }

    pub(super) fn assign_any(&mut self) {
        self.is_any_assigned = true;
    }
}

impl Compiler<'_> {
    pub(super) fn lint_context_keys(&mut self) {
        let keys = std::mem::take(&mut self.context_keys);
        let Some(Value::Map(model)) = self.context_model.clone() else { return };
        if keys.is_any_assigned {
            return;
        }
        let known = || model.keys().chain(&keys.assigned).map(Str::as_str);
        for read in &keys.reads {
            if model.contains_key(&read.key) || keys.assigned.contains(&read.key) || self.is_full() {
                continue;
            }
            let message = format!("the context never has a key {:?}", read.key);
            let hint = did_you_mean(&read.key, known()).or(Some("give it a value in the root's `context`".to_owned()));
            self.report_at(Severity::Warning, read.owner, read.offset, "unknown_context_key", message, hint);
        }
    }
}
