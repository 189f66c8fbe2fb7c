//! From a definition's JSON text to a compiled machine, or to what is wrong with it.
//!
//! Two passes: `tree` numbers the states and their ids, then everything that can name a state is compiled against
//! them. Errors are collected, so that a person sees them all at once.

mod actions;
mod addresses;
mod context_keys;
mod document;
mod expressions;
mod fast;
mod guards;
mod history;
mod leaf_values;
mod lints;
mod names;
mod own;
mod plans;
mod restless;
mod states;
mod targets;
mod transitions;
mod tree;
mod values;

use crate::definition::diagnostics::{Diagnostic, Severity};
use crate::definition::json_pos::{Document, Node};
use crate::event_names::EventNames;
use crate::limits::Limits;
use crate::machine::{After, ChildMachine, Faults, Machine, Transition, TransitionIx};
use crate::state_set::StateIx;
use names::Names;
use statemesh_expr::{Str, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tree::Draft;

/// A machine, and what is odd about its definition.
#[derive(Debug)]
pub struct Compiled {
    /// The machine.
    pub machine: Arc<Machine>,
    /// Warnings; never errors.
    pub warnings: Vec<Diagnostic>,
}

/// Gives the machine that an `invoke` or `spawnChild` names, if it is defined.
pub type Resolve<'a> = dyn Fn(&str) -> Option<Arc<Machine>> + 'a;

impl Compiled {
    /// Decides what becomes of faults, whatever the definition says.
    pub fn set_faults(&mut self, faults: Faults) {
        if let Some(machine) = Arc::get_mut(&mut self.machine) {
            machine.own.faults = faults;
        }
    }
}

impl Machine {
    /// Compiles a definition.
    ///
    /// `resolve` gives the machines that `src` may name. On success there may be warnings; otherwise the errors (and
    /// warnings) are returned in the order of the text, and there is at least one error.
    pub fn compile(source_json: &[u8], limits: &Limits, resolve: &Resolve<'_>) -> Result<Compiled, Vec<Diagnostic>> {
        document::compile(source_json, limits, resolve)
    }
}

/// Everything the passes share.
pub(crate) struct Compiler<'d> {
    document: &'d Document<'d>,
    limits: &'d Limits,
    resolve: &'d Resolve<'d>,
    diagnostics: Vec<Diagnostic>,
    drafts: Vec<Draft<'d>>,
    ids: HashMap<Str, StateIx>,
    names: Names<'d>,
    /// The context an instance starts with, where that is known; expressions then read its keys by slot.
    context_model: Option<Value>,
    context_keys: context_keys::ContextKeys,
    events: EventNames,
    transitions: Vec<Transition>,
    /// Those that no definition writes: `never_taken` would tell of nothing that could be left out.
    implied: BTreeSet<TransitionIx>,
    afters: Vec<After>,
    children: Children,
    addresses: addresses::Addresses,
}

/// The machines that `src` names.
#[derive(Default)]
struct Children {
    machines: Vec<ChildMachine>,
    /// `None`: there is none of this name.
    by_name: HashMap<Str, Option<u16>>,
}

impl<'d> Compiler<'d> {
    fn error(&mut self, node: &Node, code: &'static str, message: impl Into<String>, hint: Option<String>) {
        self.report(Severity::Error, node.offset, code, message.into(), hint);
    }

    fn warning(&mut self, node: &Node, code: &'static str, message: impl Into<String>, hint: Option<String>) {
        self.report(Severity::Warning, node.offset, code, message.into(), hint);
    }

    fn report(&mut self, severity: Severity, offset: usize, code: &'static str, message: String, hint: Option<String>) {
        self.report_at(severity, offset, offset, code, message, hint);
    }

    /// Reports at `offset` in the text what belongs to the value or key at `owner`.
    fn report_at(
        &mut self,
        severity: Severity,
        owner: usize,
        offset: usize,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        if self.is_full() && (severity == Severity::Warning || self.has_errors()) {
            return;
        }
        let (line, column) = self.document.position(offset);
        let path = self.document.pointer(owner);
        self.diagnostics.push(Diagnostic { severity, code, path, line, column, message, hint });
    }

    /// A hostile document must not turn into a larger report, nor into work for suggestions that are not read.
    fn is_full(&self) -> bool {
        const DIAGNOSTICS_MAX: usize = 200;
        self.diagnostics.len() >= DIAGNOSTICS_MAX
    }

    fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// The text of a string value, or an error that says what it is instead.
    fn string(&mut self, node: &'d Node, what: &str) -> Option<&'d str> {
        if node.as_str().is_none() {
            self.error(node, "wrong_type", format!("{what} must be a string, not {}", node.type_name()), None);
        }
        node.as_str()
    }

    fn boolean(&mut self, node: &'d Node, what: &str) -> Option<bool> {
        if node.as_bool().is_none() {
            self.error(node, "wrong_type", format!("{what} must be true or false, not {}", node.type_name()), None);
        }
        node.as_bool()
    }

    /// The machine that `src` names, as an index into the compiled machine's list.
    fn child_machine(&mut self, src: &'d Node) -> Option<u16> {
        let name = self.string(src, "`src`")?;
        if let Some(known) = self.children.by_name.get(name).copied() {
            if known.is_none() {
                self.unknown_machine(src, name);
            }
            return known;
        }
        let found = (self.resolve)(name).map(|machine| {
            let index = self.children.machines.len();
            self.children.machines.push(ChildMachine { name: Str::new(name), machine });
            index as u16
        });
        self.children.by_name.insert(Str::new(name), found);
        if found.is_none() {
            self.unknown_machine(src, name);
        }
        found
    }

    fn unknown_machine(&mut self, src: &Node, name: &str) {
        if self.document.root.get("id").and_then(Node::as_str) == Some(name) {
            // With an earlier version it is none of this: that one is the child.
            let message =
                format!("the machine {name:?} names itself as its child, and there is no earlier version of it");
            let hint = "a child is a version that is defined before: define the machine once without this, and that is the child; or leave it out";
            return self.error(src, "invokes_itself", message, Some(hint.to_owned()));
        }
        self.error(
            src,
            "unknown_machine",
            format!("no machine {name:?} is defined"),
            Some(
                "define the invoked machine first; a promise is no machine: an effect on `entry`, which a program answers with an event, takes its place"
                    .to_owned(),
            ),
        );
    }
}
