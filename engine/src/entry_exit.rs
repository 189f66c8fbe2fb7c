//! Which states a transition exits and enters: the SCXML procedures as XState 5 has them
//! (`getTransitionDomain`, `computeExitSet`, `computeEntrySet` in its stateUtils), but for history that leads to a transition's
//! own source.

use crate::machine::{Machine, Transition};
use crate::state::StateKind;
use crate::state_set::{StateIx, StateSet};

/// What history states have recorded: by index into [`Machine::history`].
pub(crate) type Recorded<'a> = dyn Fn(u16) -> Option<&'a StateSet> + 'a;

/// Where a transition happens: states below it are exited. `None` is above the root.
type Domain = Option<StateIx>;

/// The states that a transition's targets stand for once history is followed, in the order of the targets.
fn for_each_effective_target<'a>(
    machine: &Machine,
    targets: &[StateIx],
    recorded: &Recorded<'a>,
    visit: &mut dyn FnMut(StateIx),
) {
    for target in targets {
        let StateKind::History(history) = machine.state(*target).kind else {
            visit(*target);
            continue;
        };
        match recorded(history) {
            Some(states) => states.iter().for_each(&mut *visit),
            None => for_each_effective_target(machine, &machine.history[usize::from(history)].targets, recorded, visit),
        }
    }
}

fn domain(machine: &Machine, transition: &Transition, recorded: &Recorded<'_>) -> Domain {
    let source = transition.source;
    let targets = transition.targets.as_deref().unwrap_or(&[]);
    let mut head = None;
    let (mut first, mut last) = (StateIx::MAX, 0);
    let (mut tail_first, mut tail_last) = (source, source);
    for_each_effective_target(machine, targets, recorded, &mut |state| {
        (first, last) = (first.min(state), last.max(state));
        if head.is_some() {
            (tail_first, tail_last) = (tail_first.min(state), tail_last.max(state));
        }
        head.get_or_insert(state);
    });
    let inside_source = head.is_none() || (first >= source && last < machine.state(source).end);
    if !transition.reenter && inside_source && !restores_source(machine, transition, recorded) {
        return Some(source);
    }
    // The nearest ancestor of the first state below which all the others lie.
    let common = machine
        .ancestors(head.unwrap_or(source))
        .find(|ancestor| tail_first > *ancestor && tail_last < machine.state(*ancestor).end);
    match common {
        Some(ancestor) => Some(ancestor),
        None if transition.reenter || (source == 0 && restores_source(machine, transition, recorded)) => None,
        None => Some(0),
    }
}

/// Whether a history target leads back to the transition's source. What is entered is then entered from outside, so it has to be
/// exited: XState 5 stays inside and enters it twice; SCXML and XState 6 do as we do.
fn restores_source(machine: &Machine, transition: &Transition, recorded: &Recorded<'_>) -> bool {
    let targets = transition.targets.as_deref().unwrap_or(&[]);
    let mut is_source = false;
    if targets.iter().any(|target| machine.is_history(*target)) {
        for_each_effective_target(machine, targets, recorded, &mut |state| is_source |= state == transition.source);
    }
    is_source
}

/// The range of states of which the active ones are exited.
pub(crate) fn exit_range(machine: &Machine, transition: &Transition, recorded: &Recorded<'_>) -> (StateIx, StateIx) {
    if transition.targets.as_deref().is_none_or(<[StateIx]>::is_empty) {
        return (0, 0);
    }
    match domain(machine, transition, recorded) {
        None => (0, machine.states.len() as StateIx),
        Some(domain) if transition.reenter && transition.source == domain => (domain, machine.state(domain).end),
        Some(domain) => (domain + 1, machine.state(domain).end),
    }
}

/// The states to enter, gathered over the transitions of one microstep.
#[derive(Debug, Default)]
pub(crate) struct EntrySets {
    pub(crate) enter: StateSet,
    /// Of these the initial actions run too: they were targeted, or entered by default.
    pub(crate) default_entry: StateSet,
}

impl EntrySets {
    pub(crate) fn new(machine: &Machine) -> Self {
        Self { enter: machine.empty_set(), default_entry: machine.empty_set() }
    }

    pub(crate) fn clear(&mut self) {
        self.enter.clear();
        self.default_entry.clear();
    }

    pub(crate) fn add_transition(&mut self, machine: &Machine, transition: &Transition, recorded: &Recorded<'_>) {
        let targets = transition.targets.as_deref().unwrap_or(&[]);
        if targets.is_empty() {
            return;
        }
        let domain = domain(machine, transition, recorded);
        self.add_targets(machine, targets, transition.source, domain, transition.reenter, recorded);
    }

    /// The transition into the initial configuration: the root is its source and is entered.
    pub(crate) fn add_initial(&mut self, machine: &Machine, recorded: &Recorded<'_>) {
        self.add_targets(machine, &machine.initial_targets, 0, None, true, recorded);
        self.default_entry.insert(0);
    }

    fn add_targets(
        &mut self,
        machine: &Machine,
        targets: &[StateIx],
        source: StateIx,
        domain: Domain,
        reenter: bool,
        recorded: &Recorded<'_>,
    ) {
        for target in targets {
            let enters = *target != source || domain != Some(source) || reenter;
            if !machine.is_history(*target) && enters {
                self.enter.insert(*target);
                self.default_entry.insert(*target);
            }
            self.add_descendants(machine, *target, recorded);
        }
        let is_root_reentry = machine.state(source).parent.is_none() && reenter;
        let only_below = if is_root_reentry { None } else { domain };
        for_each_effective_target(machine, targets, recorded, &mut |state| {
            self.add_ancestors(machine, state, domain, only_below, recorded);
            if let Some(parallel) = domain.filter(|domain| machine.state(*domain).kind == StateKind::Parallel) {
                self.add_ancestor(machine, parallel, only_below, recorded);
            }
        });
    }

    fn add_descendants(&mut self, machine: &Machine, state: StateIx, recorded: &Recorded<'_>) {
        match machine.state(state).kind {
            StateKind::History(history) => self.add_history(machine, state, history, recorded),
            StateKind::Compound => self.add_initial_child(machine, state, recorded),
            StateKind::Parallel => self.add_missing_regions(machine, state, true, recorded),
            StateKind::Atomic | StateKind::Final => {}
        }
    }

    fn add_initial_child(&mut self, machine: &Machine, state: StateIx, recorded: &Recorded<'_>) {
        let Some(initial) = &machine.state(state).initial else { return };
        if !machine.is_history(initial.target) {
            self.enter.insert(initial.target);
            self.default_entry.insert(initial.target);
        }
        self.add_descendants(machine, initial.target, recorded);
        self.add_ancestors(machine, initial.target, Some(state), None, recorded);
    }

    fn add_missing_regions(&mut self, machine: &Machine, state: StateIx, by_default: bool, recorded: &Recorded<'_>) {
        for region in &machine.state(state).children {
            // As XState has it: a region counts as entered when something below it is.
            if self.enter.any_in(usize::from(*region) + 1, usize::from(machine.state(*region).end)) {
                continue;
            }
            self.enter.insert(*region);
            if by_default {
                self.default_entry.insert(*region);
            }
            self.add_descendants(machine, *region, recorded);
        }
    }

    fn add_history(&mut self, machine: &Machine, state: StateIx, history: u16, recorded: &Recorded<'_>) {
        let parent = machine.state(state).parent;
        if let Some(states) = recorded(history) {
            for state in states.iter() {
                self.enter.insert(state);
                self.add_descendants(machine, state, recorded);
            }
            for state in states.iter() {
                self.add_ancestors(machine, state, parent, None, recorded);
            }
            return;
        }
        let default = &machine.history[usize::from(history)];
        for target in &default.targets {
            self.enter_default(machine, *target);
            if let Some(parent) = parent.filter(|_| default.is_parents_initial) {
                self.default_entry.insert(parent);
            }
            self.add_descendants(machine, *target, recorded);
        }
        for target in &default.targets {
            self.add_ancestors(machine, *target, parent, None, recorded);
        }
    }

    /// A history state is never entered itself: what it stands for is, by its descendants.
    fn enter_default(&mut self, machine: &Machine, target: StateIx) {
        if !machine.is_history(target) {
            self.enter.insert(target);
        }
    }

    /// The ancestors of `state` below `up_to`.
    fn add_ancestors(
        &mut self,
        machine: &Machine,
        state: StateIx,
        up_to: Domain,
        only_below: Domain,
        recorded: &Recorded<'_>,
    ) {
        if up_to == Some(state) {
            return;
        }
        let mut above = machine.state(state).parent;
        while let Some(ancestor) = above.filter(|ancestor| up_to != Some(*ancestor)) {
            self.add_ancestor(machine, ancestor, only_below, recorded);
            above = machine.state(ancestor).parent;
        }
    }

    fn add_ancestor(&mut self, machine: &Machine, ancestor: StateIx, only_below: Domain, recorded: &Recorded<'_>) {
        if machine.is_descendant(ancestor, only_below) {
            self.enter.insert(ancestor);
        }
        if machine.state(ancestor).kind == StateKind::Parallel {
            self.add_missing_regions(machine, ancestor, false, recorded);
        }
    }
}
