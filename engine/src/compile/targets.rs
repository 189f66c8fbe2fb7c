//! From the text of a target to the state it names: `key.path` from the source's parent, `.path` from the source,
//! `#id` and `#id.path`. A backslash escapes a dot.

use super::Compiler;
use crate::definition::diagnostics::closest;
use crate::definition::json_pos::Node;
use crate::definition::state_path::split_path;
use crate::state_set::StateIx;
use statemesh_expr::Str;

/// Why a target names nothing, and what may have been meant.
pub(super) struct Unresolved {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl<'d> Compiler<'d> {
    /// Resolves the `target` of a transition; `None` stands for "no target", errors are reported.
    pub(super) fn resolve_targets(&mut self, source: StateIx, node: &'d Node) -> Option<Box<[StateIx]>> {
        let hint = || Some("leave it out to stay, or write {} to forbid the event".to_owned());
        if node.as_str() == Some("") {
            self.warning(node, "empty_target", "an empty target is none: the state stays as it is", hint());
            return None;
        }
        let mut found = Vec::new();
        for item in node.one_or_many() {
            let Some(target) = self.string(item, "a target") else { continue };
            if target.is_empty() {
                self.error(item, "empty_target", "one of several targets cannot be empty", hint());
                continue;
            }
            match self.resolve_target(source, target) {
                Ok(state) => found.push(state),
                Err(unresolved) => self.error(item, "unknown_target", unresolved.message, unresolved.hint),
            }
        }
        self.check_regions(node, &found);
        self.check_inside_final(node, &found);
        Some(found.into())
    }

    fn resolve_target(&self, source: StateIx, target: &str) -> Result<StateIx, Unresolved> {
        if target.starts_with('#') {
            return self.state_by_id(target);
        }
        if let Some(below) = target.strip_prefix('.') {
            return self.state_by_path(source, &split_path(below), target);
        }
        match self.drafts[usize::from(source)].parent {
            Some(parent) => self.state_by_path(parent, &split_path(target), target),
            None => Err(Unresolved {
                message: format!("{target:?} is not a valid target from the root"),
                hint: Some(format!("write {:?} for a child of the root, or #id", format!(".{target}"))),
            }),
        }
    }

    /// `#id` or `#id.path`.
    pub(super) fn state_by_id(&self, target: &str) -> Result<StateIx, Unresolved> {
        let path = split_path(target.strip_prefix('#').unwrap_or(target));
        let (id, rest) = path.split_first().ok_or_else(|| self.no_such_id(""))?;
        let start = *self.ids.get(id.as_str()).ok_or_else(|| self.no_such_id(id))?;
        self.state_by_path(start, rest, target)
    }

    fn no_such_id(&self, id: &str) -> Unresolved {
        if self.is_full() {
            return Unresolved { message: "no such state".to_owned(), hint: None };
        }
        // An id with dots has to be escaped; suggest it if that is what is missing.
        let ids = self.ids.keys().map(Str::as_str);
        let hint = closest(id, ids).map(|found| format!("did you mean \"#{}\"?", found.replace('.', "\\.")));
        Unresolved { message: format!("no state has the id {id:?}"), hint }
    }

    /// Walks keys down from `start`. An empty key ends the walk, as it does in XState.
    pub(super) fn state_by_path(&self, start: StateIx, path: &[String], whole: &str) -> Result<StateIx, Unresolved> {
        let mut state = start;
        for key in path {
            if key.is_empty() {
                break;
            }
            state = match key.strip_prefix('#') {
                Some(id) => *self.ids.get(id).ok_or_else(|| self.no_such_id(id))?,
                None => self.child(state, key, whole)?,
            };
        }
        Ok(state)
    }

    fn child(&self, parent: StateIx, key: &str, whole: &str) -> Result<StateIx, Unresolved> {
        let draft = &self.drafts[usize::from(parent)];
        let key_of = |child: StateIx| self.drafts[usize::from(child)].key.as_str();
        draft.by_key.get(key).copied().ok_or_else(|| {
            if self.is_full() {
                return Unresolved { message: "no such state".to_owned(), hint: None };
            }
            let siblings = draft.all_children.iter().map(|child| key_of(*child));
            let hint = closest(key, siblings).map(|near| format!("did you mean {:?}?", with_part(whole, key, near)));
            let elsewhere = || {
                let other = self.drafts.iter().find(|draft| draft.key == key && draft.parent.is_some())?;
                Some(format!("there is a state of that name at \"#{}\"", other.id))
            };
            Unresolved {
                message: format!("the state {:?} has no child {key:?}", draft.id),
                hint: hint.or_else(elsewhere),
            }
        })
    }

    /// Several targets must lie in different regions of parallel states, or the result would be no configuration.
    fn check_regions(&mut self, node: &'d Node, targets: &[StateIx]) {
        // Quadratic, and no transition targets more regions than this at once.
        const TARGETS_MAX: usize = 256;
        if targets.len() > TARGETS_MAX {
            self.error(node, "too_many_targets", format!("more than {TARGETS_MAX} targets"), None);
            return;
        }
        for (index, a) in targets.iter().enumerate() {
            for b in &targets[..index] {
                if let Some(shared) = self.conflict(*a, *b) {
                    let [a, b, shared] = [*a, *b, shared].map(|state| self.drafts[usize::from(state)].id.clone());
                    let message =
                        format!("{a:?} and {b:?} cannot both be active: they are different children of {shared:?}");
                    self.warning(node, "conflicting_targets", message, None);
                    return;
                }
            }
        }
    }

    /// XState takes child states of a final state and never enters them by default; a target among them would be no
    /// configuration.
    fn check_inside_final(&mut self, node: &'d Node, targets: &[StateIx]) {
        let above = |state: StateIx| {
            std::iter::successors(self.drafts[usize::from(state)].parent, |above| {
                self.drafts[usize::from(*above)].parent
            })
        };
        let is_final = |state: StateIx| self.drafts[usize::from(state)].kind == super::tree::DraftKind::Final;
        let found = targets.iter().find_map(|target| above(*target).find(|above| is_final(*above)));
        if let Some(found) = found {
            let message =
                format!("the state {:?} is final: nothing in it can be entered", self.drafts[usize::from(found)].id);
            self.error(
                node,
                "target_in_final",
                message,
                Some("target the final state, or make it no final one".to_owned()),
            );
        }
    }

    /// The compound state of which `a` and `b` are, or lie in, different children.
    fn conflict(&self, a: StateIx, b: StateIx) -> Option<StateIx> {
        let contains = |outer: StateIx, inner: StateIx| inner >= outer && inner < self.drafts[usize::from(outer)].end;
        if contains(a, b) || contains(b, a) {
            return None;
        }
        let mut above = self.drafts[usize::from(a)].parent;
        while let Some(state) = above {
            if contains(state, b) {
                return (self.drafts[usize::from(state)].kind == super::tree::DraftKind::Compound).then_some(state);
            }
            above = self.drafts[usize::from(state)].parent;
        }
        None
    }
}

/// A target in which the first part that is `key` is another one.
fn with_part(target: &str, key: &str, instead: &str) -> String {
    let mut parts = split_path(target);
    if let Some(part) = parts.iter_mut().find(|part| *part == key) {
        *part = instead.to_owned();
    }
    let escaped = parts.iter().map(|part| part.replace('\\', "\\\\").replace('.', "\\."));
    escaped.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::with_part;

    #[test]
    fn a_suggestion_changes_the_part_that_is_wrong_and_nothing_else() {
        assert_eq!(with_part("a\\.c", "a.c", "a.b"), "a\\.b");
        assert_eq!(with_part(".ab.b", "b", "c"), ".ab.c");
        assert_eq!(with_part("#m.x\\\\y.q", "q", "p"), "#m.x\\\\y.p");
    }
}
