//! An instance of a machine: a few words. What most instances have not, such as timers, children and history, is
//! boxed and allocated when it is first needed.

use crate::event::{Millis, Status, TimerId};
use crate::machine::Machine;
use crate::state_set::StateSet;
use smallvec::SmallVec;
use statemesh_expr::{Str, Value};
use std::num::NonZeroU64;
use std::sync::Arc;

/// Number of the instance itself among its actors; children count from 1.
pub(crate) const ROOT: u32 = 0;

/// One instance. It is stepped by the [`Machine`] that started it.
#[derive(Debug, Clone)]
pub struct Instance {
    pub(crate) actor: ActorState,
    pub(crate) seq: u64,
    pub(crate) fingerprint: u32,
    pub(crate) extra: Option<Box<Extra>>,
}

/// The state of one actor: the instance itself or one of its children.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActorState {
    pub(crate) active: StateSet,
    pub(crate) context: Value,
    pub(crate) status: Status,
    pub(crate) aux: Option<Box<Aux>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Aux {
    /// By index into the machine's history states.
    pub(crate) history: Box<[Option<StateSet>]>,
    pub(crate) output: Option<Value>,
    pub(crate) error: Option<Value>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Extra {
    /// Most instances that wait at all wait for one thing: it needs no memory of its own.
    pub(crate) timers: SmallVec<[Timer; 1]>,
    pub(crate) next_timer: u64,
    pub(crate) next_actor: u32,
    /// What children and the events that wait for timers weigh together.
    pub(crate) weight: u32,
    pub(crate) children: Vec<Child>,
    /// The timer that the instance is stuck with.
    pub(crate) held: Option<HeldTimer>,
}

impl Extra {
    pub(crate) fn weigh_more(&mut self, weight: usize) {
        self.weight = self.weight.saturating_add(u32::try_from(weight).unwrap_or(u32::MAX));
    }

    pub(crate) fn lighten(&mut self, weight: usize) {
        self.weight = self.weight.saturating_sub(u32::try_from(weight).unwrap_or(u32::MAX));
    }
}

/// A timer's id, such that having none takes no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldTimer(NonZeroU64);

impl HeldTimer {
    pub(crate) fn of(timer: TimerId) -> Self {
        Self(NonZeroU64::MIN.saturating_add(timer.0))
    }

    pub(crate) fn id(self) -> TimerId {
        TimerId(self.0.get() - 1)
    }
}

/// A pending timer.
#[derive(Debug, Clone)]
pub(crate) struct Timer {
    pub(crate) id: u64,
    pub(crate) deadline: u64,
    /// The actor that started it: it ends with that one.
    pub(crate) actor: u32,
    pub(crate) kind: TimerKind,
}

#[derive(Debug, Clone)]
pub(crate) enum TimerKind {
    /// A delayed transition of the actor's machine.
    After(u32),
    Delayed(Box<Delayed>),
}

/// A delayed event.
#[derive(Debug, Clone)]
pub(crate) struct Delayed {
    /// What `@xstate.cancel` calls it.
    pub(crate) send_id: Option<Str>,
    /// The actor that receives it.
    pub(crate) to: u32,
    pub(crate) event: Queued,
}

/// An event on its way.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) name: Str,
    /// The whole event, `type` included.
    pub(crate) data: Value,
}

#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) number: u32,
    pub(crate) parent: u32,
    pub(crate) name: Str,
    pub(crate) machine: Arc<Machine>,
    /// Its parent hears of every snapshot.
    pub(crate) sync: bool,
    /// Its parent can still name it.
    pub(crate) listed: bool,
    pub(crate) running: bool,
    pub(crate) state: ActorState,
}

impl Instance {
    /// What the instance can still do.
    pub fn status(&self) -> Status {
        self.actor.status
    }

    /// Inputs that took a transition.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Counts on from an instance that ended and whose place this one takes, so that of two copies the newer one still has the
    /// higher seq.
    pub fn succeed(&mut self, ended: &Instance) {
        self.seq += ended.seq + 1;
    }

    /// The context: always a map, unless the definition made it otherwise.
    pub fn context(&self) -> &Value {
        &self.actor.context
    }

    /// The output, once the status is `done` and the definition has one.
    pub fn output(&self) -> Option<&Value> {
        self.actor.aux.as_ref()?.output.as_ref()
    }

    /// What went wrong, once the status is `error`: a map with `code` and `message`, and `expression` if one had no value.
    pub fn error(&self) -> Option<&Value> {
        self.actor.aux.as_ref()?.error.as_ref()
    }

    /// When the earliest timer is due; never, while the instance is stuck.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.next_timer().map(|(_, deadline)| deadline)
    }

    /// The timer that is due first; of those due at the same time, the one started first. None while the instance is stuck.
    pub fn next_timer(&self) -> Option<(TimerId, Millis)> {
        if self.is_stuck() {
            return None;
        }
        self.timers().min_by_key(|(id, deadline)| (*deadline, *id))
    }

    /// The pending timers, those of children included, in the order in which they were started.
    pub fn timers(&self) -> impl Iterator<Item = (TimerId, Millis)> + '_ {
        let timers = self.extra.as_ref().map_or(&[][..], |extra| &extra.timers);
        timers.iter().map(|timer| (TimerId(timer.id), Millis(timer.deadline)))
    }

    pub(crate) fn forget_timer(&mut self, id: TimerId) {
        let Some(extra) = &mut self.extra else { return };
        if let Some(at) = extra.timers.iter().position(|timer| timer.id == id.0) {
            let timer = extra.timers.remove(at);
            extra.lighten(timer.event_weight());
        }
    }

    /// Children that run, children of children included.
    pub fn child_count(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.children.iter().filter(|child| child.running).count())
    }
}
