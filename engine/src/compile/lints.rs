//! What compiles but is probably not meant: unreachable states, transitions that are never taken, `always` without end.

use super::Compiler;
use crate::diagnostics::Severity;
use crate::machine::{Action, Machine, StateKind, Transition, TransitionIx};
use crate::state_set::{StateIx, StateSet};

impl Compiler<'_> {
    pub(super) fn lint(&mut self, machine: &Machine) {
        self.lint_reachability(machine);
        for state in &machine.states {
            for (_, transitions) in &state.on {
                self.lint_order(machine, transitions);
            }
            self.lint_order(machine, &state.always);
        }
        self.lint_endless(machine);
        self.lint_staying(machine);
        self.lint_addresses(machine);
    }

    fn warn_at(&mut self, offset: usize, code: &'static str, message: String, hint: &str) {
        self.report(Severity::Warning, offset, code, message, Some(hint.to_owned()));
    }

    /// States that no chain of transitions, defaults and history leads to. Guards count as if they could be true.
    fn lint_reachability(&mut self, machine: &Machine) {
        let reachable = reachable(machine);
        for index in 0..machine.states.len() as StateIx {
            let parent_is_reachable = machine.state(index).parent.is_none_or(|parent| reachable.contains(parent));
            // Of an unreachable subtree its top is enough.
            if reachable.contains(index) || !parent_is_reachable {
                continue;
            }
            let offset = self.drafts[usize::from(index)].node.offset;
            let message = format!("the state {:?} cannot be reached", machine.state(index).id);
            self.warn_at(offset, "unreachable_state", message, "no transition or default leads to it");
        }
    }

    /// Behind a transition without guard, those of the same descriptor are never tried.
    fn lint_order(&mut self, machine: &Machine, transitions: &[TransitionIx]) {
        let open = transitions.iter().position(|index| machine.transition(*index).guard.is_none());
        for index in transitions.iter().skip(open.map_or(usize::MAX, |open| open.saturating_add(1))) {
            let transition = machine.transition(*index);
            let before = open.and_then(|open| transitions.get(open)).map_or(0, |open| machine.transition(*open).offset);
            if self.is_full() {
                return;
            }
            let before = self.document.pointer(before);
            self.warn_transition(
                transition,
                format!("this transition is never taken: the one at {before} always comes first"),
            );
        }
    }

    fn warn_transition(&mut self, transition: &Transition, message: String) {
        let offset = transition.offset;
        self.warn_at(offset, "never_taken", message, "give the one before it a guard, or remove this one");
    }

    /// Cycles of eventless transitions without guards, none of which leaves the cycle: the machine would not rest.
    fn lint_endless(&mut self, machine: &Machine) {
        if !machine.has_always || machine.has_parallel {
            return;
        }
        let mut settled = vec![false; machine.states.len()];
        for leaf in 0..machine.states.len() as StateIx {
            if !machine.is_atomic(leaf) || settled[usize::from(leaf)] {
                continue;
            }
            let mut trail: Vec<StateIx> = Vec::new();
            let mut at = Some(leaf);
            while let Some(state) = at.filter(|state| !settled[usize::from(*state)]) {
                if trail.contains(&state) {
                    self.warn_endless(machine, state);
                    break;
                }
                trail.push(state);
                at = forced(machine, state);
            }
            trail.iter().for_each(|state| settled[usize::from(*state)] = true);
        }
    }

    /// `always` without target and guard: it is taken for as long as it changes something, or it does nothing.
    fn lint_staying(&mut self, machine: &Machine) {
        let mut changes = Changes { machine, named: vec![None; machine.actions.len()] };
        let always = machine.states.iter().flat_map(|state| state.always.iter());
        for transition in always.map(|index| machine.transition(*index)) {
            let stays = transition.targets.as_deref().is_none_or(<[StateIx]>::is_empty);
            if transition.guard.is_some() || !stays {
                continue;
            }
            if changes.any(&transition.actions) {
                let message = "this `always` stays and changes something, so it is taken without end".to_owned();
                self.warn_at(transition.offset, "endless_always", message, "give it a guard or a target");
            } else if transition.actions.is_empty() {
                let message = "this `always` has no target, no guard and no actions: it does nothing".to_owned();
                self.warn_at(transition.offset, "idle_always", message, "give it a target, or remove it");
            }
        }
    }

    fn warn_endless(&mut self, machine: &Machine, state: StateIx) {
        let Some(first) = forced_transition(machine, state) else { return };
        let transition = machine.transition(first);
        let offset = transition.offset;
        let message = format!("from {:?} this `always` leads back to itself without end", machine.state(state).id);
        self.warn_at(offset, "endless_always", message, "give one of the transitions on the way a guard");
    }
}

/// The unguarded `always` of a leaf or its ancestors that is taken before any guarded one, if it leaves the leaf.
fn forced_transition(machine: &Machine, leaf: StateIx) -> Option<TransitionIx> {
    for state in std::iter::once(leaf).chain(machine.ancestors(leaf)) {
        let first = machine.state(state).always.first();
        if let Some(first) = first {
            let transition = machine.transition(*first);
            return (transition.guard.is_none() && transition.targets.is_some()).then_some(*first);
        }
    }
    None
}

/// Whether actions change the context or the children, after which eventless transitions are tried again.
struct Changes<'m> {
    machine: &'m Machine,
    /// By named action, once it is known: they call each other.
    named: Vec<Option<bool>>,
}

impl Changes<'_> {
    fn any(&mut self, actions: &[Action]) -> bool {
        actions.iter().any(|action| match action {
            Action::Assign(_) | Action::Spawn { .. } | Action::Stop { .. } => true,
            Action::Call { action, .. } => self.named(usize::from(*action)),
            _ => false,
        })
    }

    fn named(&mut self, action: usize) -> bool {
        if let Some(known) = self.named[action] {
            return known;
        }
        let machine = self.machine;
        let found = self.any(&machine.actions[action].body);
        self.named[action] = Some(found);
        found
    }
}

/// The leaf that a leaf is forced to by `always`.
fn forced(machine: &Machine, leaf: StateIx) -> Option<StateIx> {
    let transition = machine.transition(forced_transition(machine, leaf)?);
    let mut target = *transition.targets.as_deref()?.first()?;
    while let Some(initial) = &machine.state(target).initial {
        target = initial.target;
    }
    // History may lead elsewhere each time; a transition that changes nothing is taken once only.
    let acts = !transition.actions.is_empty();
    (machine.is_atomic(target) && (target != leaf || transition.reenter && acts)).then_some(target)
}

fn reachable(machine: &Machine) -> StateSet {
    let mut reachable = machine.empty_set();
    let mut pending = vec![0];
    while let Some(state) = pending.pop() {
        if reachable.contains(state) {
            continue;
        }
        reachable.insert(state);
        let node = machine.state(state);
        pending.extend(node.parent);
        match node.kind {
            StateKind::Compound => pending.extend(node.initial.as_ref().map(|initial| initial.target)),
            StateKind::Parallel => pending.extend(&node.children),
            StateKind::History(index) => pending.extend(&machine.history[usize::from(index)].targets),
            _ => {}
        }
        let own = node.on.iter().flat_map(|(_, transitions)| transitions.iter()).chain(&node.always);
        for transition in own {
            pending.extend(machine.transition(*transition).targets.iter().flatten());
        }
    }
    reachable
}
