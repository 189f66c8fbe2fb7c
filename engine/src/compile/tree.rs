//! First pass: the states, numbered in document order, with their kinds and ids.

use super::Compiler;
use crate::definition::diagnostics::{Severity, closest, did_you_mean};
use crate::definition::json_pos::{Member, Node};
use crate::definition::keys;
use crate::machine::UNNAMED;
use crate::state_set::StateIx;
use statemesh_expr::Str;
use std::collections::HashMap;

/// A state before what it does is compiled.
pub(crate) struct Draft<'d> {
    pub(crate) node: &'d Node,
    pub(crate) id: Str,
    pub(crate) key: Str,
    pub(crate) kind: DraftKind,
    pub(crate) parent: Option<StateIx>,
    pub(crate) end: u16,
    pub(crate) all_children: Vec<StateIx>,
    pub(crate) by_key: HashMap<Str, StateIx>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DraftKind {
    Atomic,
    Compound,
    Parallel,
    Final,
    History,
}

/// Longest id of a machine: the mesh sends its length in a byte.
const MACHINE_ID_BYTES: usize = 255;

impl<'d> Compiler<'d> {
    /// Numbers all states. `None` if there are too many to go on.
    pub(super) fn build_tree(&mut self, root: &'d Node) -> Option<()> {
        let id = match root.get("id") {
            Some(node) => self.machine_id(node).unwrap_or(UNNAMED),
            None => UNNAMED,
        };
        let key = Str::new(id);
        self.add_state(root, key, None, &mut vec![Str::new(id)])
    }

    /// The root's id is the machine's name in addresses (`machine/key`), topics and clients' rights.
    fn machine_id(&mut self, node: &'d Node) -> Option<&'d str> {
        // As a state's id it is reported where it is no text.
        let id = node.as_str()?;
        let wrong = if id.trim().is_empty() {
            "is empty"
        } else if id.contains('/') {
            "has a slash, which separates the machine from the key in `machine/key`"
        } else if id.contains(char::is_control) {
            "has a control character"
        } else if id.len() > MACHINE_ID_BYTES {
            "has more than 255 bytes"
        } else {
            return Some(id);
        };
        let message = format!("the machine's id {:?} {wrong}", id.chars().take(64).collect::<String>());
        self.error(node, "bad_machine_id", message, Some("use letters, digits, `-`, `_` and `.`".to_owned()));
        None
    }

    fn add_state(&mut self, node: &'d Node, key: Str, parent: Option<StateIx>, path: &mut Vec<Str>) -> Option<()> {
        if self.drafts.len() >= self.limits.states_max.min(usize::from(u16::MAX) - 1) {
            let message = format!("more states than the limit states_max allows ({})", self.limits.states_max);
            self.error(node, "too_many_states", message, Some("split the machine and use invoke".to_owned()));
            return None;
        }
        if path.len() > self.limits.nesting_max + 1 {
            let message =
                format!("states are nested deeper than the limit nesting_max allows ({})", self.limits.nesting_max);
            self.error(node, "too_deep", message, None);
            return None;
        }
        let index = self.drafts.len() as StateIx;
        self.check_state_keys(node, parent.is_none());
        let id = self.state_id(node, path);
        if let Some(other) = self.ids.insert(id.clone(), index) {
            let place = self.document.pointer(self.drafts[usize::from(other)].node.offset);
            self.error(
                node,
                "duplicate_id",
                format!("two states have the id {id:?}"),
                Some(format!("the other is at {place}")),
            );
        }
        let kind = self.kind_of(node);
        let own_key = key.clone();
        self.drafts.push(Draft {
            node,
            id,
            key,
            kind,
            parent,
            end: 0,
            all_children: Vec::new(),
            by_key: HashMap::new(),
        });
        if let Some(above) = parent {
            let above = &mut self.drafts[usize::from(above)];
            above.all_children.push(index);
            above.by_key.insert(own_key, index);
        }
        for member in self.child_members(node) {
            path.push(member.key.clone());
            self.add_state(&member.value, member.key.clone(), Some(index), path)?;
            path.pop();
        }
        self.drafts[usize::from(index)].end = self.drafts.len() as u16;
        self.check_children(index);
        Some(())
    }

    fn child_members(&mut self, node: &'d Node) -> &'d [Member] {
        let Some(states) = node.get("states") else { return &[] };
        let Some(members) = states.members() else {
            self.error(states, "wrong_type", format!("`states` must be an object, not {}", states.type_name()), None);
            return &[];
        };
        for member in members {
            if member.value.members().is_none() {
                let message = format!("the state {:?} must be an object, not {}", member.key, member.value.type_name());
                self.error(&member.value, "wrong_type", message, Some("an empty state is {}".to_owned()));
            }
        }
        members
    }

    fn state_id(&mut self, node: &'d Node, path: &[Str]) -> Str {
        let explicit = node.get("id").and_then(|id| self.string(id, "`id`")).filter(|id| !id.is_empty());
        match explicit {
            Some(id) => Str::new(id),
            None => Str::new(path.join(".")),
        }
    }

    fn kind_of(&mut self, node: &'d Node) -> DraftKind {
        const KINDS: [(&str, DraftKind); 6] = [
            ("atomic", DraftKind::Atomic),
            // It is left as soon as it is entered, by eventless transitions.
            ("choice", DraftKind::Atomic),
            ("compound", DraftKind::Compound),
            ("parallel", DraftKind::Parallel),
            ("final", DraftKind::Final),
            ("history", DraftKind::History),
        ];
        if let Some(kind) = node.get("type") {
            let Some(name) = self.string(kind, "`type`") else { return DraftKind::Atomic };
            if let Some((_, found)) = KINDS.iter().find(|(known, _)| *known == name) {
                return *found;
            }
            let hint = did_you_mean(name, KINDS.map(|(known, _)| known));
            self.error(kind, "unknown_type", format!("there is no state type {name:?}"), hint);
            return DraftKind::Atomic;
        }
        let has_children = node.get("states").and_then(Node::members).is_some_and(|members| !members.is_empty());
        let is_history = node.get("history").is_some_and(|history| history.as_bool() != Some(false));
        match (has_children, is_history) {
            (true, _) => DraftKind::Compound,
            (false, true) => DraftKind::History,
            (false, false) => DraftKind::Atomic,
        }
    }

    fn check_children(&mut self, index: StateIx) {
        let draft = &self.drafts[usize::from(index)];
        let (node, kind) = (draft.node, draft.kind);
        let children: Vec<StateIx> = draft.all_children.clone();
        let is_root = draft.parent.is_none();
        match kind {
            DraftKind::Compound if node.get("initial").is_none() => {
                let first = children.first().map(|first| self.drafts[usize::from(*first)].key.clone());
                let hint = first.map(|first| format!("add \"initial\": {first:?}"));
                let id = self.drafts[usize::from(index)].id.clone();
                self.error(node, "missing_initial", format!("the compound state {id:?} has no initial state"), hint);
            }
            // XState takes child states of a final state, and never enters them: they are warned of as unreachable.
            DraftKind::Atomic | DraftKind::History if !children.is_empty() => {
                self.error(node, "unexpected_states", "a state of this type cannot have child states".to_owned(), None);
            }
            DraftKind::History if is_root => {
                self.error(node, "wrong_type", "the root cannot be a history state".to_owned(), None);
            }
            _ => {}
        }
    }

    fn check_state_keys(&mut self, node: &'d Node, is_root: bool) {
        let root_keys = if is_root { keys::ROOT } else { &[] };
        self.check_keys(node, &[keys::STATE, root_keys]);
    }

    /// Reports keys that none of the lists has: an error if it is another version's or looks like a misspelling, else a
    /// warning.
    pub(super) fn check_keys(&mut self, node: &'d Node, lists: &[&[keys::Key]]) {
        let known = || lists.iter().flat_map(|list| list.iter()).map(|key| key.name);
        for member in node.members().unwrap_or(&[]) {
            if known().any(|name| name == member.key) {
                continue;
            }
            if self.is_full() && self.has_errors() {
                return;
            }
            self.unknown_key(node, member, lists);
        }
        for key in lists.iter().flat_map(|list| list.iter()).filter(|key| key.required) {
            if node.members().is_some() && node.get(key.name).is_none() {
                self.error(node, "missing_key", format!("the key {:?} is missing", key.name), None);
            }
        }
    }

    /// Keys that begin with an at sign are never a document's own.
    fn stray_expression(&mut self, member: &'d Member) {
        let key = member.key.as_str();
        let (code, message, hint) = match key {
            "@code" => ("unsupported_language", "code in a programming language cannot run here".to_owned(), None),
            "@expr" => {
                let hint = "give its parts, with an expression for each value".to_owned();
                ("unexpected_expression", "an expression cannot stand in place of this".to_owned(), Some(hint))
            }
            _ => ("unknown_key", format!("unknown key {key:?}"), None),
        };
        self.report(Severity::Error, member.key_offset, code, message, hint);
    }

    fn unknown_key(&mut self, node: &'d Node, member: &'d Member, lists: &[&[keys::Key]]) {
        let known = || lists.iter().flat_map(|list| list.iter()).map(|key| key.name);
        let key = member.key.as_str();
        let foreign =
            keys::FOREIGN.iter().find(|foreign| foreign.name == key && known().any(|name| name == foreign.beside));
        if let Some(foreign) = foreign {
            let hint = Some(foreign.instead.to_owned());
            let message = format!("the key {key:?} is not supported");
            return self.report(Severity::Error, member.key_offset, foreign.code, message, hint);
        }
        if key.starts_with('@') {
            return self.stray_expression(member);
        }
        let meant = closest(key, known()).filter(|meant| node.get(meant).is_none());
        // Another case is never meant as a key of the user's own, even beside the right one.
        let twin = known().find(|name| name.eq_ignore_ascii_case(key));
        let (severity, hint) = match (meant, twin) {
            (Some(meant), _) => (Severity::Error, format!("did you mean {meant:?}?")),
            (None, Some(twin)) => {
                (Severity::Error, format!("did you mean {twin:?}? That is here too: write both as one"))
            }
            (None, None) => (Severity::Warning, ignored(key, known())),
        };
        self.report(severity, member.key_offset, "unknown_key", format!("unknown key {key:?}"), Some(hint));
    }
}

/// What becomes of an unknown key, and which one it looks like though that is here, too.
fn ignored<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    match closest(key, known) {
        Some(near) => format!("it is ignored; {near:?}, which it is like, is here too"),
        None => "it is ignored".to_owned(),
    }
}
