//! The short way: an event whose transition changes nothing but the configuration.
//!
//! It takes what needs no guard, runs no action and completes nothing in a machine without parallel regions and
//! eventless transitions. Everything else goes the long way; both give the same answer.

use crate::event::Event;
use crate::events::EventIx;
use crate::instance::Instance;
use crate::machine::Machine;

impl Machine {
    /// Whether a transition was taken; `None` if the event has to go the long way.
    #[inline]
    pub(super) fn send_flat(&self, instance: &mut Instance, event: &Event<'_>, known: Option<EventIx>) -> Option<bool> {
        if self.has_parallel || self.has_always {
            return None;
        }
        // Events of XState's own can mean more than a transition.
        if event.kind.starts_with("xstate.") {
            return None;
        }
        let known = known?;
        let active = &mut instance.actor.active;
        let mut at = Some(active.last()?);
        while let Some(index) = at {
            let state = self.state(index);
            if !state.wild.is_empty() {
                return None;
            }
            if let Some(first) = state.exact(known).first() {
                let transition = self.transition(*first);
                if transition.guard.is_some() {
                    return None;
                }
                if transition.targets.is_none() && transition.actions.is_empty() {
                    return Some(false);
                }
                let plan = transition.plan.as_ref().filter(|plan| plan.is_pure)?;
                active.replace_range(usize::from(plan.exit_start), usize::from(plan.exit_end), &plan.enter_set);
                return Some(true);
            }
            at = state.parent;
        }
        Some(false)
    }
}
