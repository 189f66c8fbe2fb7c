//! What the fast path takes, decided when a machine is compiled: transitions that only exit, assign, report and enter, and the
//! table of those that do not even that.

use crate::event_names::EventIx;
use crate::fast_table::{FastEntry, FastTable};
use crate::limits::FAST_ACTIONS_MAX;
use crate::machine::{Action, Assignment, Machine};
use crate::state::StateKind;
use crate::state_set::{StateIx, StateSet};
use crate::weight::{FAST_EFFECTS_BYTES_MAX, output_fits};

/// Entries of one machine's table at most: 64 KiB.
const ENTRIES_MAX: usize = 4_096;
/// Machines of more states have sets of several words.
const STATES_MAX: usize = u64::BITS as usize;

/// Whether what a transition's actions and the states it enters run is simple, and with what the exits run not too much.
pub(super) fn is_simple(
    machine: &Machine,
    actions: &[Action],
    mut enter: impl Iterator<Item = StateIx>,
    exit_actions: usize,
) -> bool {
    let own = size_of_actions(machine, actions).map(|own| own.saturating_add(exit_actions));
    let all = own.and_then(|own| enter.try_fold(own, |sum, state| Some(sum + size_of_entry(machine, state)?)));
    // One effect at most for each action: here is where their number is bounded.
    let limits = &machine.limits;
    let maximum = FAST_ACTIONS_MAX.min(limits.actions_max as usize).min(limits.effects_max);
    // With short effects only, that bounds their bytes as well.
    let maximum = if output_fits(FAST_EFFECTS_BYTES_MAX, limits) { maximum } else { 0 };
    all.is_some_and(|all| all <= maximum)
}

/// Whether an action cannot fail.
pub(super) fn is_safe(action: &Action) -> bool {
    match action {
        Action::Effect(_) => true,
        Action::Emit { event: template } | Action::Log { args: template } => template.as_constant().is_some(),
        _ => false,
    }
}

/// The number of actions with named ones expanded; `None` if one is not simple.
fn size_of_actions(machine: &Machine, actions: &[Action]) -> Option<usize> {
    actions.iter().try_fold(0, |sum: usize, action| {
        let size = match action {
            Action::Effect(_) | Action::ComputedEffect { .. } | Action::Emit { .. } | Action::Log { .. } => 1,
            Action::Assign(Assignment::Fields(fields)) if fields.len() == 1 => 1,
            Action::Call { action, params: None } => size_of_actions(machine, &machine.named.action(*action).body)?,
            _ => return None,
        };
        Some(sum.saturating_add(size)).filter(|sum| *sum < FAST_ACTIONS_MAX)
    })
}

/// The actions of entering a state, by default or not, if the fast path can.
fn size_of_entry(machine: &Machine, state: StateIx) -> Option<usize> {
    let state = machine.state(state);
    let initial = state.initial.as_ref().map_or(&[][..], |initial| &initial.actions);
    let size = size_of_actions(machine, &state.entry)? + size_of_actions(machine, initial)?;
    Some(size).filter(|_| state.invokes.is_empty() && state.kind != StateKind::Final)
}

/// The actions of leaving a state, if the fast path can.
pub(super) fn size_of_exit(machine: &Machine, state: StateIx) -> Option<usize> {
    let state = machine.state(state);
    size_of_actions(machine, &state.exit).filter(|_| state.invokes.is_empty() && state.histories.is_empty())
}

/// The table of a machine whose transitions have their plans.
pub(super) fn table(machine: &Machine) -> FastTable {
    let (states, events) = (machine.states.len(), machine.events.iter().count());
    if machine.features.parallel || machine.features.always || states > STATES_MAX || states * events > ENTRIES_MAX {
        return FastTable::default();
    }
    let entry = |leaf, event| entry(machine, leaf, event).unwrap_or_default();
    let leaves = 0..states as StateIx;
    let table = leaves.flat_map(|leaf| (0..events as EventIx).map(move |event| entry(leaf, event))).collect();
    FastTable::new(events, table)
}

fn entry(machine: &Machine, leaf: StateIx, event: EventIx) -> Option<FastEntry> {
    // Events of XState's own can mean more than a transition.
    if machine.events.name(event).starts_with("xstate.") {
        return None;
    }
    let own = std::iter::once(leaf).chain(machine.ancestors(leaf));
    let mut states = own.map(|state| machine.state(state)).take_while(|state| state.reactions.wild.is_empty());
    let first = states.find_map(|state| state.reactions.exact(event).first())?;
    let transition = machine.transition(*first);
    let plan = transition.plan.as_ref().filter(|plan| plan.is_pure && plan.is_simple)?;
    let StateSet::Small(enter) = plan.enter_set else { return None };
    let mut keep = StateSet::Small(u64::MAX);
    keep.replace_range(usize::from(plan.exit_start), usize::from(plan.exit_end), &StateSet::Small(0));
    let StateSet::Small(keep) = keep else { return None };
    transition.guard.is_none().then_some(FastEntry { keep, enter })
}
