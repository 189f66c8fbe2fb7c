//! What compiles but is probably not meant: unreachable states, transitions that are never taken, `always` without end.

use super::Compiler;
use crate::definition::diagnostics::Severity;
use crate::event_names::EventIx;
use crate::machine::{Action, Delay, Machine, Transition, TransitionIx, UNNAMED};
use crate::state::{State, StateKind};
use crate::state_set::{StateIx, StateSet};

impl Compiler<'_> {
    pub(super) fn lint(&mut self, machine: &Machine) {
        self.lint_root(machine);
        self.lint_reachability(machine);
        for state in &machine.states {
            for (_, transitions) in &state.reactions.on {
                self.lint_order(machine, transitions);
            }
            self.lint_order(machine, &state.reactions.always);
        }
        self.lint_endless(machine);
        self.lint_restless(machine);
        self.lint_staying(machine);
        self.lint_timers(machine);
        self.lint_addresses(machine);
        self.lint_context_keys();
    }

    pub(super) fn warn_at(&mut self, offset: usize, code: &'static str, message: String, hint: &str) {
        self.report(Severity::Warning, offset, code, message, Some(hint.to_owned()));
    }

    /// What a machine should have, and what XState 6 would take from elsewhere.
    fn lint_root(&mut self, machine: &Machine) {
        let root = &self.document.root;
        if root.get("id").is_none() {
            let hint = "add \"id\": instances are addressed as `id/key`";
            self.warn_at(root.offset, "no_id", format!("the machine has no id: it would be called {UNNAMED:?}"), hint);
        }
        if machine.states.len() == 1 && machine.transitions.is_empty() && root.get("invoke").is_none() {
            let hint = "add \"initial\" and \"states\"";
            self.warn_at(
                root.offset,
                "no_states",
                "the machine has no states: nothing ever changes it".to_owned(),
                hint,
            );
        }
        let is_output =
            |state: &&State| state.kind == StateKind::Final && state.parent == Some(0) && state.done.output.is_some();
        let has_none = root.get("output").is_none();
        let found = machine.states.iter().position(|state| has_none && is_output(&state));
        if let Some(draft) = found.and_then(|index| self.drafts.get(index)) {
            let message =
                format!("the output of {:?} is not the machine's: that is the root's `output` only", draft.id);
            let offset = draft.node.get("output").map_or(draft.node.offset, |output| output.offset);
            self.warn_at(
                offset,
                "no_root_output",
                message,
                "add \"output\": {\"@expr\": \"event.output\"} to the root",
            );
        }
    }

    /// Timers that something else always comes before.
    fn lint_timers(&mut self, machine: &Machine) {
        // Who catches all events may catch those of timers too.
        if machine.states.iter().any(|state| !state.reactions.wild.is_empty()) {
            return;
        }
        for index in 0..machine.states.len() as StateIx {
            let state = machine.state(index);
            let has_timers = state.entry.iter().any(|action| matches!(action, Action::StartAfter(_)));
            if !has_timers {
                continue;
            }
            let above = std::iter::once(index).chain(machine.ancestors(index));
            let soonest =
                above.filter_map(|above| self.leaves_after(machine, above, index)).min_by_key(|(delay, _)| *delay);
            let leaves_at_once =
                state.reactions.always.first().filter(|first| certainly_leaves(machine, **first, index));
            let soonest = leaves_at_once.map(|first| (0, *first)).or(soonest);
            if let Some((delay, first)) = soonest {
                self.warn_of_timers(machine, index, delay, first, leaves_at_once.is_some());
            }
        }
    }

    /// The timer of `of` that leaves `state` first, whatever guards say, and its transition.
    fn leaves_after(&self, machine: &Machine, of: StateIx, state: StateIx) -> Option<(u64, TransitionIx)> {
        let timers = constant_timers(machine, of);
        let leaving = timers.filter_map(|(delay, event)| {
            let first = *machine.state(of).reactions.exact(event).first()?;
            certainly_leaves(machine, first, state).then_some((delay, first))
        });
        leaving.min_by_key(|(delay, _)| *delay)
    }

    fn warn_of_timers(&mut self, machine: &Machine, state: StateIx, before: u64, first: TransitionIx, at_once: bool) {
        let late: Vec<TransitionIx> = constant_timers(machine, state)
            .filter(|(delay, _)| at_once || *delay > before)
            .filter_map(|(_, event)| machine.state(state).reactions.exact(event).first().copied())
            .collect();
        for transition in late.into_iter().filter(|late| *late != first) {
            if self.is_full() {
                return;
            }
            let place = self.document.pointer(machine.transition(first).offset);
            let message = format!("this never comes: the transition at {place} leaves the state before");
            let hint = "make its time shorter, or give the other a guard";
            self.warn_at(machine.transition(transition).offset, "unreachable_timer", message, hint);
        }
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
            if self.implied.contains(index) {
                continue;
            }
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
        if !machine.features.always || machine.features.parallel {
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
        let mut changes = Changes { machine, named: vec![None; machine.named.actions.len()] };
        let always = machine.states.iter().flat_map(|state| state.reactions.always.iter());
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

/// The timers of a state whose delays are known: each with its event.
fn constant_timers(machine: &Machine, state: StateIx) -> impl Iterator<Item = (u64, EventIx)> + '_ {
    machine.state(state).entry.iter().filter_map(|action| {
        let Action::StartAfter(after) = action else { return None };
        let after = machine.afters.get(*after as usize)?;
        match after.delay {
            Delay::Constant(delay) => Some((delay, after.event)),
            Delay::Computed(_) => None,
        }
    })
}

/// Whether a transition is taken whenever it is tried, and leaves this state then.
fn certainly_leaves(machine: &Machine, transition: TransitionIx, state: StateIx) -> bool {
    let transition = machine.transition(transition);
    let exits = transition.plan.as_ref().map(|plan| plan.exit_start..plan.exit_end);
    transition.guard.is_none() && exits.is_some_and(|exits| exits.contains(&state))
}

/// The unguarded `always` of a leaf or its ancestors that is taken before any guarded one, if it leaves the leaf.
fn forced_transition(machine: &Machine, leaf: StateIx) -> Option<TransitionIx> {
    for state in std::iter::once(leaf).chain(machine.ancestors(leaf)) {
        let first = machine.state(state).reactions.always.first();
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
        let found = self.any(&machine.named.actions[action].body);
        self.named[action] = Some(found);
        found
    }
}

/// The leaf that a leaf is forced to by `always`.
fn forced(machine: &Machine, leaf: StateIx) -> Option<StateIx> {
    let transition = machine.transition(forced_transition(machine, leaf)?);
    let mut target = *transition.targets.as_deref()?.first()?;
    target = default_leaf(machine, target);
    // History may lead elsewhere each time; a transition that changes nothing is taken once only.
    let acts = !transition.actions.is_empty();
    (machine.is_atomic(target) && (target != leaf || transition.reenter && acts)).then_some(target)
}

/// Where entering a state by default leads, as long as it is compound.
fn default_leaf(machine: &Machine, mut target: StateIx) -> StateIx {
    while let (StateKind::Compound, Some(initial)) = (machine.state(target).kind, &machine.state(target).initial) {
        target = initial.target;
    }
    target
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
        let own =
            node.reactions.on.iter().flat_map(|(_, transitions)| transitions.iter()).chain(&node.reactions.always);
        for transition in own {
            pending.extend(machine.transition(*transition).targets.iter().flatten());
        }
    }
    reachable
}
