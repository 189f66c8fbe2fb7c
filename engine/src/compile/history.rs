//! History states, and the check that following defaults always ends.

use super::Compiler;
use super::tree::DraftKind;
use crate::definition::json_pos::Node;
use crate::machine::History;
use crate::state_set::StateIx;

impl<'d> Compiler<'d> {
    pub(super) fn compile_histories(&mut self) -> Vec<History> {
        let indices: Vec<StateIx> = (0..self.drafts.len() as StateIx)
            .filter(|index| self.drafts[usize::from(*index)].kind == DraftKind::History)
            .collect();
        let compiled = indices.iter().map(|index| self.compile_history(*index)).collect();
        self.refuse_endless_defaults();
        compiled
    }

    fn compile_history(&mut self, index: StateIx) -> History {
        let node = self.drafts[usize::from(index)].node;
        let deep = match node.get("history") {
            Some(kind) => self.history_kind(kind),
            None => false,
        };
        let targets = self.history_targets(index);
        let is_parents_initial = node.get("target").is_none() && self.parent_kind(index) == Some(DraftKind::Compound);
        History { deep, targets: targets.into(), is_parents_initial }
    }

    fn history_kind(&mut self, kind: &'d Node) -> bool {
        match (kind.as_str(), kind.as_bool()) {
            (Some("deep"), _) => true,
            (Some("shallow"), _) | (_, Some(_)) => false,
            _ => {
                self.error(kind, "wrong_type", "`history` must be \"shallow\", \"deep\" or true", None);
                false
            }
        }
    }

    fn parent_kind(&self, index: StateIx) -> Option<DraftKind> {
        let parent = self.drafts[usize::from(index)].parent?;
        Some(self.drafts[usize::from(parent)].kind)
    }

    fn history_targets(&mut self, index: StateIx) -> Vec<StateIx> {
        let Some(parent) = self.drafts[usize::from(index)].parent else { return Vec::new() };
        let node = self.drafts[usize::from(index)].node;
        if let Some(target) = node.get("target").filter(|target| target.as_str() != Some("")) {
            return self.resolve_targets(index, target).map(Vec::from).unwrap_or_default();
        }
        match self.drafts[usize::from(parent)].kind {
            DraftKind::Parallel => vec![parent],
            _ => self.initial_of(parent).into_iter().collect(),
        }
    }

    /// The child that `initial` names; errors are reported where the state itself is compiled.
    fn initial_of(&self, index: StateIx) -> Option<StateIx> {
        let draft = &self.drafts[usize::from(index)];
        let initial = draft.node.get("initial")?;
        let key = initial.as_str().or_else(|| initial.get("target").and_then(Node::as_str))?;
        self.child_called(index, key)
    }

    /// A history state whose default leads back to itself has no default; one behind a long chain could exhaust the
    /// stack. Every cycle passes a history state: all other defaults lead down.
    fn refuse_endless_defaults(&mut self) {
        const HOPS_MAX: usize = 32;
        let mut hops: Vec<Option<usize>> = vec![None; self.drafts.len()];
        // A round settles every state whose defaults are settled; each history hop may take one round more.
        for _ in 0..=HOPS_MAX {
            for index in (0..self.drafts.len() as StateIx).rev() {
                hops[usize::from(index)] = self.hops_below(index, &hops).filter(|hops| *hops <= HOPS_MAX);
            }
        }
        let endless = (0..self.drafts.len())
            .find(|index| hops[*index].is_none() && self.drafts[*index].kind == DraftKind::History);
        if let Some(index) = endless {
            let (node, id) = (self.drafts[index].node, self.drafts[index].id.clone());
            let hint = Some("give the history state a target that is no history state".to_owned());
            self.error(node, "endless_default", format!("the default of {id:?} leads back to itself"), hint);
        }
    }

    /// History states on the way of the defaults below a state, if all of them are settled.
    fn hops_below(&mut self, index: StateIx, hops: &[Option<usize>]) -> Option<usize> {
        let draft = &self.drafts[usize::from(index)];
        let (next, own) = match draft.kind {
            DraftKind::History => (self.quiet_history_targets(index), 1),
            DraftKind::Compound => (self.initial_of(index).into_iter().collect(), 0),
            DraftKind::Parallel => (
                draft
                    .all_children
                    .iter()
                    .copied()
                    .filter(|child| self.drafts[usize::from(*child)].kind != DraftKind::History)
                    .collect(),
                0,
            ),
            DraftKind::Atomic | DraftKind::Final => return Some(0),
        };
        let below: Option<Vec<usize>> = next.iter().map(|state| hops[usize::from(*state)]).collect();
        Some(below?.into_iter().max().unwrap_or(0) + own)
    }

    /// As `history_targets`, without reporting again.
    fn quiet_history_targets(&mut self, index: StateIx) -> Vec<StateIx> {
        let reported = self.diagnostics.len();
        let targets = self.history_targets(index);
        self.diagnostics.truncate(reported);
        targets
    }
}
