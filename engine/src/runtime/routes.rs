//! The shortest way: what most events do to a machine of few states is known beforehand, as two words for each active
//! leaf and event.
//!
//! A step of a busy instance waits for the last one's result, so what it costs is the chain of loads between the two:
//! leaf, state, its events, their transitions, the plan. Here it is one load.

use crate::events::EventIx;
use crate::machine::Machine;
use crate::state_set::{StateIx, StateSet};

/// Entries of one machine at most: 64 KiB.
const ROUTES_MAX: usize = 4_096;
/// Machines of more states have sets of several words.
const STATES_MAX: usize = u64::BITS as usize;

/// What events do that only change the configuration, without a guard.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    events: usize,
    /// By leaf and event.
    table: Box<[Route]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Route {
    /// Active states that stay.
    keep: u64,
    /// States that are entered; none: there is no route, and the definition has to be asked.
    enter: u64,
}

impl Routes {
    /// The routes of a machine whose transitions have their plans.
    pub(crate) fn of(machine: &Machine) -> Self {
        let (states, events) = (machine.states.len(), machine.events.iter().count());
        if machine.has_parallel || machine.has_always || states > STATES_MAX || states * events > ROUTES_MAX {
            return Self::default();
        }
        let route = |leaf, event| route(machine, leaf, event).unwrap_or_default();
        let leaves = 0..states as StateIx;
        let table = leaves.flat_map(|leaf| (0..events as EventIx).map(move |event| route(leaf, event))).collect();
        Self { events, table }
    }

    /// Takes the route from the active leaf, if there is one.
    #[inline]
    pub(super) fn take(&self, active: &mut StateSet, event: EventIx) -> bool {
        let StateSet::Small(word) = active else { return false };
        let leaf = u64::BITS.wrapping_sub(1).wrapping_sub(word.leading_zeros()) as usize;
        match self.table.get(leaf.wrapping_mul(self.events).wrapping_add(event as usize)) {
            Some(route) if route.enter != 0 => {
                *word = *word & route.keep | route.enter;
                true
            }
            _ => false,
        }
    }
}

fn route(machine: &Machine, leaf: StateIx, event: EventIx) -> Option<Route> {
    // Events of XState's own can mean more than a transition.
    if machine.events.name(event).starts_with("xstate.") {
        return None;
    }
    let own = std::iter::once(leaf).chain(machine.ancestors(leaf));
    let mut states = own.map(|state| machine.state(state)).take_while(|state| state.wild.is_empty());
    let first = states.find_map(|state| state.exact(event).first())?;
    let transition = machine.transition(*first);
    let plan = transition.plan.as_ref().filter(|plan| plan.is_pure && plan.is_simple)?;
    let StateSet::Small(enter) = plan.enter_set else { return None };
    let mut keep = StateSet::Small(u64::MAX);
    keep.replace_range(usize::from(plan.exit_start), usize::from(plan.exit_end), &StateSet::Small(0));
    let StateSet::Small(keep) = keep else { return None };
    transition.guard.is_none().then_some(Route { keep, enter })
}
