//! The outermost steps: read the text, run the passes, put the machine together.

use super::names::Names;
use super::{Compiled, Compiler, Resolve};
use crate::definition::diagnostics::{Diagnostic, Severity};
use crate::definition::json_pos::{Document, Kind, Node, position};
use crate::expression::{Template, expression_of};
use crate::limits::Limits;
use crate::machine::{ChildMachine, Features, Identity, Machine, Named, UNNAMED};
use sha2::{Digest, Sha256};
use statemesh_expr::{Str, Value};
use std::collections::HashMap;
use std::sync::Arc;

pub(super) fn compile(source: &[u8], limits: &Limits, resolve: &Resolve<'_>) -> Result<Compiled, Vec<Diagnostic>> {
    if source.len() > limits.definition_bytes_max {
        return Err(vec![refused(
            source,
            0,
            "definition_too_large",
            format!(
                "the definition has {} bytes; the limit definition_bytes_max is {}",
                source.len(),
                limits.definition_bytes_max
            ),
        )]);
    }
    let document = Document::parse(source, limits.definition_depth_max)
        .map_err(|malformed| vec![refused(source, malformed.offset, "malformed_json", malformed.what.to_owned())])?;
    if document.root.members().is_none() {
        let message = format!("a definition must be an object, not {}", document.root.type_name());
        return Err(vec![refused(source, document.root.offset, "wrong_type", message)]);
    }
    let mut compiler = Compiler {
        document: &document,
        limits,
        resolve,
        diagnostics: Vec::new(),
        drafts: Vec::new(),
        ids: HashMap::new(),
        names: Names::default(),
        context_model: None,
        context_keys: Default::default(),
        events: Default::default(),
        transitions: Vec::new(),
        implied: Default::default(),
        afters: Vec::new(),
        children: Default::default(),
        addresses: Default::default(),
    };
    compiler.report_duplicates();
    let machine = compiler.machine();
    let mut diagnostics = compiler.diagnostics;
    diagnostics.sort_by_key(|found| (found.line, found.column));
    match machine {
        Some(machine) if !diagnostics.iter().any(Diagnostic::is_error) => {
            Ok(Compiled { machine: Arc::new(machine), warnings: diagnostics })
        }
        _ => Err(diagnostics),
    }
}

/// What a context looks like: the constant one, or its keys where values are computed.
fn context_model(context: &Template, node: Option<&Node>) -> Option<Value> {
    match context {
        Template::Constant(value) => Some(value.clone()),
        _ => node.filter(|node| expression_of(node).is_none()).map(Node::to_value),
    }
}

fn refused(source: &[u8], offset: usize, code: &'static str, message: String) -> Diagnostic {
    let (line, column) = position(source, offset);
    Diagnostic { severity: Severity::Error, code, path: String::new(), line, column, message, hint: None }
}

impl<'d> Compiler<'d> {
    fn report_duplicates(&mut self) {
        let document = self.document;
        for (key, offset) in &document.duplicates {
            let message = format!("the key {key:?} occurs twice; the last value counts");
            self.report(Severity::Warning, *offset, "duplicate_key", message, None);
        }
    }

    /// Any object is nearly a machine, since all keys are optional: one that has none of a chart is something else.
    fn is_machine(&mut self, root: &'d Node) -> bool {
        const KEYS: &[&str] = &[
            "id", "initial", "states", "on", "always", "after", "entry", "exit", "invoke", "onDone", "onError",
            "context", "output",
        ];
        let is_one = KEYS.iter().any(|key| root.get(key).is_some());
        if !is_one {
            let message = match root.members() {
                Some([]) => "the document is empty: it is no machine".to_owned(),
                _ => "this is no machine: it has neither states nor anything else of a chart".to_owned(),
            };
            let hint = "a machine begins as {\"id\": ..., \"initial\": ..., \"states\": {...}}".to_owned();
            self.error(root, "not_a_machine", message, Some(hint));
        }
        is_one
    }

    fn machine(&mut self) -> Option<Machine> {
        let root = &self.document.root;
        if !self.is_machine(root) {
            return None;
        }
        self.check_language(root.get("@exprLang"));
        let own = self.own_settings(root.get("@statemesh"));
        self.build_tree(root)?;
        let context = self.compile_context(root.get("context"));
        self.context_model = context_model(&context, root.get("context"));
        self.declare_names(root);
        let history = self.compile_histories();
        let mut states = self.compile_states();
        self.compile_routes(&mut states);
        let actions = self.compile_named_actions();
        let guards = self.compile_named_guards();
        if self.has_errors() {
            return None;
        }
        // Ids may be given to any state; the machine's own id is the root's.
        let id = root.get("id").and_then(Node::as_str).unwrap_or(UNNAMED);
        let version = root.get("version").and_then(Node::as_str).map(Str::new);
        let hash = content_hash(root, &self.children.machines);
        let mut machine = Machine {
            identity: Identity::new(Str::new(id), hash, version, self.document.text()),
            limits: self.limits.clone(),
            own,
            weight_alone: 0,
            events: std::mem::take(&mut self.events).complete(),
            features: Features::of(&states),
            states: states.into(),
            transitions: std::mem::take(&mut self.transitions).into(),
            named: Named {
                actions: actions.into(),
                guards: guards.into(),
                machines: std::mem::take(&mut self.children.machines).into(),
            },
            afters: std::mem::take(&mut self.afters).into(),
            history: history.into(),
            initial_targets: Box::default(),
            context,
            fast_table: Default::default(),
            leaf_values: Box::default(),
        };
        machine.weight_alone = crate::weight::alone(&machine);
        super::plans::precompute(&mut machine);
        self.lint(&machine);
        Some(machine)
    }
}

/// SHA-256 over the definition without white space, keys in document order (which is part of its meaning), and the hashes of the
/// machines that it names: bound to another version of one, it does other things, and is another machine.
fn content_hash(root: &Node, children: &[ChildMachine]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hash_node(root, &mut hasher);
    for ChildMachine { machine, .. } in children {
        hasher.update(machine.hash());
    }
    hasher.finalize().into()
}

fn hash_node(node: &Node, hasher: &mut Sha256) {
    let tagged = |hasher: &mut Sha256, tag: u8, bytes: &[u8]| {
        hasher.update([tag]);
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    match &node.kind {
        Kind::Null => hasher.update([0]),
        Kind::Bool(value) => hasher.update([1, u8::from(*value)]),
        Kind::Int(value) => tagged(hasher, 2, &value.to_le_bytes()),
        Kind::Uint(value) => tagged(hasher, 3, &value.to_le_bytes()),
        Kind::Double(value) => tagged(hasher, 4, &value.to_bits().to_le_bytes()),
        Kind::Str(text) => tagged(hasher, 5, text.as_bytes()),
        Kind::Array(items) => {
            tagged(hasher, 6, &(items.len() as u64).to_le_bytes());
            for item in items {
                hash_node(item, hasher);
            }
        }
        Kind::Object(members) => {
            tagged(hasher, 7, &(members.len() as u64).to_le_bytes());
            for member in members {
                tagged(hasher, 8, member.key.as_bytes());
                hash_node(&member.value, hasher);
            }
        }
    }
}
