//! What transitions do, as far as it can be known before any instance exists: exit ranges, entry sets and the initial targets.

use super::{fast, leaf_values};
use crate::entry_exit::{EntrySets, exit_range};
use crate::machine::{Action, Machine, Plan, Script, Transition};
use crate::state::StateKind;
use crate::state_set::StateIx;
use std::sync::Arc;

/// Entries of all plans together; transitions beyond it are computed when they are taken, so that a large machine
/// with many transitions does not take memory of states times transitions.
const PLANNED_ENTRIES_MAX: usize = 1 << 20;

pub(super) fn precompute(machine: &mut Machine) {
    machine.initial_targets = initial_states(machine).into();
    let mut left = PLANNED_ENTRIES_MAX;
    let mut sets = EntrySets::new(machine);
    let sums = Sums::of(machine);
    let plans: Vec<Option<Plan>> =
        (0..machine.transitions.len()).map(|index| plan(machine, index as u32, &sums, &mut sets, &mut left)).collect();
    for (transition, plan) in machine.transitions.iter_mut().zip(plans) {
        transition.plan = plan;
    }
    machine.fast_table = fast::table(machine);
    machine.leaf_values = leaf_values::of(machine);
}

/// The initial states in the order in which XState visits them.
fn initial_states(machine: &Machine) -> Vec<StateIx> {
    let mut found = Vec::new();
    let mut pending = vec![0];
    while let Some(state) = pending.pop() {
        found.push(state);
        let entered = machine.state(state);
        match entered.kind {
            StateKind::Compound => pending.extend(entered.initial.as_ref().map(|initial| initial.target)),
            StateKind::Parallel => pending.extend(entered.children.iter().rev()),
            _ => {}
        }
    }
    found
}

fn plan(machine: &Machine, index: u32, sums: &Sums, sets: &mut EntrySets, left: &mut usize) -> Option<Plan> {
    let transition = machine.transition(index);
    let targets = transition.targets.as_deref().unwrap_or(&[]);
    let words = machine.states.len().div_ceil(64);
    if *left < words || sums.needs_history(machine, targets) {
        return None;
    }
    sets.clear();
    sets.add_transition(machine, transition, &|_| None);
    let enter: Box<[(StateIx, bool)]> =
        sets.enter.iter().map(|state| (state, sets.default_entry.contains(state))).collect();
    *left = left.checked_sub(enter.len() + words)?;
    let (exit_start, exit_end) = exit_range(machine, transition, &|_| None);
    let (exits_quietly, exit_actions) = sums.exits(exit_start, exit_end);
    let enters_quietly = enter.iter().all(|(state, _)| machine.state(*state).is_entered_quietly());
    let is_simple = exit_actions.is_some_and(|exit_actions| {
        fast::is_simple(machine, &transition.actions, enter.iter().map(|(state, _)| *state), exit_actions)
    });
    let script = if is_simple { script(machine, transition, (exit_start, exit_end), &enter) } else { None };
    *left = left.checked_sub(script.as_ref().map_or(0, |script| script.lists.len()))?;
    Some(Plan {
        script,
        exit_start,
        exit_end,
        enter_set: sets.enter.clone(),
        is_pure: transition.actions.is_empty() && exits_quietly && enters_quietly,
        is_simple,
        enter,
    })
}

fn script(
    machine: &Machine,
    transition: &Transition,
    (exit_start, exit_end): (StateIx, StateIx),
    enter: &[(StateIx, bool)],
) -> Option<Script> {
    if machine.features.parallel || machine.states.len() > 64 || !machine.is_atomic(transition.source) {
        return None;
    }
    let active = std::iter::once(transition.source).chain(machine.ancestors(transition.source));
    let exited: Vec<StateIx> = active.filter(|state| (exit_start..exit_end).contains(state)).collect();
    let entered = enter.iter().flat_map(|(index, by_default)| {
        let state = machine.state(*index);
        let initial = state.initial.as_ref().filter(|_| *by_default).map(|initial| &initial.actions);
        std::iter::once(&state.entry).chain(initial)
    });
    let own = std::iter::once(&transition.actions);
    let lists = exited.iter().map(|state| &machine.state(*state).exit).chain(own).chain(entered);
    let lists: Box<[Arc<[Action]>]> = lists.filter(|list| !list.is_empty()).cloned().collect();
    let word = |states: &mut dyn Iterator<Item = StateIx>| states.fold(0, |word, state| word | 1 << state);
    Some(Script {
        exits: word(&mut exited.iter().copied()),
        keep: !word(&mut (exit_start..exit_end)),
        enter: word(&mut enter.iter().map(|(state, _)| *state)),
        is_undone: lists.iter().flat_map(|list| list.iter()).filter(|action| !fast::is_safe(action)).count() > 1,
        lists,
    })
}

/// Sums over the states before each one of what leaving it does, so that a range of states costs no more than one.
struct Sums {
    noisy: Vec<usize>,
    actions: Vec<usize>,
    not_simple: Vec<usize>,
    /// States whose default is a history state.
    to_history: Vec<usize>,
}

impl Sums {
    fn of(machine: &Machine) -> Self {
        let states = || 0..machine.states.len() as StateIx;
        let size = |state| fast::size_of_exit(machine, state);
        let initial = |state: StateIx| machine.state(state).initial.as_ref();
        Self {
            noisy: prefix(states().map(|state| usize::from(!machine.state(state).is_left_quietly()))),
            actions: prefix(states().map(|state| size(state).unwrap_or(0))),
            not_simple: prefix(states().map(|state| usize::from(size(state).is_none()))),
            to_history: prefix(
                states()
                    .map(|state| usize::from(initial(state).is_some_and(|initial| machine.is_history(initial.target)))),
            ),
        }
    }

    /// Whether a range is left without anything happening, and how many actions that takes if all are simple.
    fn exits(&self, start: StateIx, end: StateIx) -> (bool, Option<usize>) {
        let is_simple = between(&self.not_simple, start, end) == 0;
        (between(&self.noisy, start, end) == 0, is_simple.then(|| between(&self.actions, start, end)))
    }

    /// Whether what the targets enter depends on what history recorded.
    fn needs_history(&self, machine: &Machine, targets: &[StateIx]) -> bool {
        let last = machine.states.len() as StateIx;
        let elsewhere = !targets.is_empty() && machine.features.parallel && between(&self.to_history, 0, last) > 0;
        let inside = |target: &StateIx| between(&self.to_history, *target, machine.state(*target).end) > 0;
        elsewhere || targets.iter().any(|target| machine.is_history(*target) || inside(target))
    }
}

fn prefix(values: impl Iterator<Item = usize>) -> Vec<usize> {
    let sums = values.scan(0, |sum: &mut usize, value| {
        *sum = sum.saturating_add(value);
        Some(*sum)
    });
    std::iter::once(0).chain(sums).collect()
}

fn between(sums: &[usize], start: StateIx, end: StateIx) -> usize {
    sums[usize::from(end)] - sums[usize::from(start)]
}
