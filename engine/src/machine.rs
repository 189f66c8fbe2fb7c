//! A compiled machine: the flat tables that a step walks. Immutable, shared as `Arc<Machine>`.

use crate::event::Effect;
use crate::event_names::{EventIx, EventNames};
use crate::expression::Template;
use crate::fast_table::FastTable;
use crate::limits::Limits;
use crate::state::{State, StateKind};
use crate::state_set::{StateIx, StateSet};
use statemesh_expr::{Map, Program, Shape, Str, Value};
use std::sync::Arc;

/// What a machine is called whose definition has no `id`, as in XState.
pub const UNNAMED: &str = "(machine)";

/// Index of a transition in its machine.
pub(crate) type TransitionIx = u32;

/// A machine compiled from its definition.
#[derive(Debug)]
pub struct Machine {
    pub(crate) identity: Identity,
    pub(crate) limits: Limits,
    pub(crate) own: OwnSettings,
    /// What an instance weighs at most that has neither children nor delayed events.
    pub(crate) weight_alone: usize,
    pub(crate) events: EventNames,
    pub(crate) states: Box<[State]>,
    pub(crate) transitions: Box<[Transition]>,
    pub(crate) named: Named,
    pub(crate) afters: Box<[After]>,
    pub(crate) history: Box<[History]>,
    /// The targets of the transition into the initial configuration: every initial state, in XState's order.
    pub(crate) initial_targets: Box<[StateIx]>,
    pub(crate) context: Template,
    pub(crate) features: Features,
    pub(crate) fast_table: FastTable,
    /// By active leaf: the state value, where there is no parallel state (else empty).
    pub(crate) leaf_values: Box<[LeafValue]>,
}

/// What tells a machine from all others.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: Str,
    pub(crate) hash: [u8; 32],
    /// The hash's first bytes: what an instance carries to tell its machine from another.
    pub(crate) fingerprint: u32,
    pub(crate) version: Option<Str>,
    pub(crate) source: Box<[u8]>,
}

impl Identity {
    /// The identity of a definition whose content has this hash.
    pub(crate) fn new(id: Str, hash: [u8; 32], version: Option<Str>, source: &[u8]) -> Self {
        let fingerprint = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
        Self { id, hash, fingerprint, version, source: Box::from(source) }
    }
}

/// Where a definition wants its instances to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In memory only.
    Memory,
    /// On the disk of one daemon.
    Disk,
}

/// What a definition decides besides its chart, in `@statemesh`.
#[derive(Debug, Default)]
pub(crate) struct OwnSettings {
    /// Where its instances are kept; `None`: it does not say.
    pub(crate) durability: Option<Durability>,
    pub(crate) faults: Faults,
    /// For how long an instance that has ended is kept, in milliseconds; `None`: it does not say.
    pub(crate) keep_ms: Option<u64>,
    /// Clients may send the engine's own events.
    pub(crate) engine_events: bool,
}

/// What a definition gives a name to, and actions, guards and invokes name by index.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) actions: Box<[NamedAction]>,
    pub(crate) guards: Box<[NamedGuard]>,
    pub(crate) machines: Box<[ChildMachine]>,
}

impl Named {
    #[inline]
    pub(crate) fn action(&self, action: u16) -> &NamedAction {
        &self.actions[usize::from(action)]
    }

    #[inline]
    pub(crate) fn guard(&self, guard: u16) -> &NamedGuard {
        &self.guards[usize::from(guard)]
    }

    pub(crate) fn machine(&self, machine: u16) -> &ChildMachine {
        &self.machines[usize::from(machine)]
    }
}

/// What none of the states has need not be looked for in a step.
#[derive(Debug)]
pub(crate) struct Features {
    pub(crate) parallel: bool,
    pub(crate) always: bool,
    /// Some state has an `onError`.
    pub(crate) recovers: bool,
}

impl Features {
    /// What these states have.
    pub(crate) fn of(states: &[State]) -> Self {
        Self {
            parallel: states.iter().any(|state| state.kind == StateKind::Parallel),
            always: states.iter().any(|state| !state.reactions.always.is_empty()),
            recovers: states.iter().any(|state| state.recovers),
        }
    }
}

/// What becomes of an expression without a value, and the like, that no `onError` handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Faults {
    /// The step is refused and the instance is as it was: who sent the event hears of it, a timer can be held.
    #[default]
    Hold,
    /// XState's way: the instance ends with the status `error`.
    Fail,
}

#[derive(Debug)]
pub(crate) struct History {
    pub(crate) deep: bool,
    /// The default: explicit targets, else the parent's initial state (or the parallel parent itself).
    pub(crate) targets: Box<[StateIx]>,
    /// Without a target in a compound parent, the default is the parent's initial transition, actions included.
    pub(crate) is_parents_initial: bool,
}

#[derive(Debug)]
pub(crate) struct Transition {
    pub(crate) source: StateIx,
    /// Empty for `always`.
    pub(crate) descriptor: Str,
    /// Where it stands in the definition's text, in bytes.
    pub(crate) offset: usize,
    /// `None` without a target.
    pub(crate) targets: Option<Box<[StateIx]>>,
    pub(crate) reenter: bool,
    pub(crate) guard: Option<Guard>,
    pub(crate) actions: Arc<[Action]>,
    pub(crate) plan: Option<Plan>,
}

/// What a transition whose targets are no history states does when it is taken alone.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Active states in this range are exited.
    pub(crate) exit_start: u16,
    pub(crate) exit_end: u16,
    /// Entered states in document order, and whether their initial actions run.
    pub(crate) enter: Box<[(StateIx, bool)]>,
    /// The same states as a set.
    pub(crate) enter_set: StateSet,
    /// Neither what may be exited nor what is entered has anything to run, record, start or complete, and the
    /// transition has no actions: only the configuration changes.
    pub(crate) is_pure: bool,
    /// All that runs only assigns and reports: the fast path can take it.
    pub(crate) is_simple: bool,
    pub(crate) script: Option<Script>,
}

/// A simple plan for one configuration in one word: the only one there is when the source is a leaf of a machine without
/// parallel states.
#[derive(Debug)]
pub(crate) struct Script {
    /// What is exited, if it is that configuration.
    pub(crate) exits: u64,
    /// What stays.
    pub(crate) keep: u64,
    pub(crate) enter: u64,
    /// More than one of the actions can fail.
    pub(crate) is_undone: bool,
    /// All lists of actions that are not empty, in order.
    pub(crate) lists: Box<[Arc<[Action]>]>,
}

#[derive(Debug)]
pub(crate) struct NamedAction {
    pub(crate) name: Str,
    pub(crate) body: Box<[Action]>,
}

#[derive(Debug)]
pub(crate) struct NamedGuard {
    pub(crate) name: Str,
    pub(crate) body: Guard,
}

#[derive(Debug)]
pub(crate) struct ChildMachine {
    pub(crate) name: Str,
    pub(crate) machine: Arc<Machine>,
}

/// One delayed transition's timer.
#[derive(Debug)]
pub(crate) struct After {
    pub(crate) event: EventIx,
    pub(crate) delay: Delay,
}

#[derive(Debug)]
pub(crate) enum Delay {
    Constant(u64),
    /// An entry of the root's `delays`, or an inline expression.
    Computed(Arc<Template>),
}

#[derive(Debug)]
pub(crate) enum Action {
    /// Anything we do not know: reported, in order.
    Effect(Effect),
    /// The same with params that are computed.
    ComputedEffect {
        kind: Str,
        params: Template,
    },
    /// An entry of the root's `actions`, expanded in place.
    Call {
        action: u16,
        params: Option<Template>,
    },
    Assign(Assignment),
    Raise {
        event: EventTemplate,
        delay: Option<Delay>,
        id: Option<Template>,
    },
    Cancel {
        id: Template,
    },
    Emit {
        event: Template,
    },
    Log {
        args: Template,
    },
    SendTo {
        to: Option<Template>,
        event: EventTemplate,
        delay: Option<Delay>,
        id: Option<Template>,
    },
    Spawn {
        machine: u16,
        id: Option<Template>,
        input: Option<Template>,
        sync: bool,
    },
    Stop {
        id: Template,
    },
    StartAfter(u32),
    CancelAfter(u32),
}

#[derive(Debug)]
pub(crate) enum Assignment {
    Fields(Box<[Field]>),
    /// One expression that gives a map.
    Whole(Template),
    /// The same, as the value of its key `context`, if it has one.
    Patch(Template),
}

/// One key that is assigned.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) key: Str,
    pub(crate) value: Template,
    /// The shape of the context that an instance starts with, and the key's slot in it.
    pub(crate) place: Option<(Shape, usize)>,
}

impl Field {
    /// Where the key is in a map, if it is.
    #[inline]
    pub(crate) fn slot_in(&self, map: &Map) -> Option<usize> {
        match &self.place {
            Some((shape, slot)) if map.shape().is(shape) => Some(*slot),
            _ => map.shape().slot_of(&self.key),
        }
    }
}

/// An event that is sent: a constant, known by name, or computed.
#[derive(Debug)]
pub(crate) enum EventTemplate {
    Constant { kind: EventIx, data: Value },
    Computed(Template),
}

#[derive(Debug)]
pub(crate) enum Guard {
    Expression(Box<Program>),
    Call {
        guard: u16,
        params: Option<Template>,
    },
    And(Box<[Guard]>),
    Or(Box<[Guard]>),
    Not(Box<Guard>),
    StateIn(StatePattern),
    /// Fields of the event have these values.
    Matches(Box<[(Str, Value)]>),
    /// The end of a `choice` without a branch that is always open: to get there is a fault. With the state's id.
    NoBranch(Str),
    /// A route: the event's `to` names the state.
    Route(Str),
}

/// What `xstate.stateIn` asks of the state value.
#[derive(Debug)]
pub(crate) enum StatePattern {
    Active(StateIx),
    /// All of these children match; an empty list asks only that the value be an object.
    All(StateIx, Box<[StatePattern]>),
}

#[derive(Debug, Default)]
pub(crate) struct LeafValue {
    pub(crate) json: Box<[u8]>,
    pub(crate) msgpack: Box<[u8]>,
}

impl Machine {
    /// The definition's `id`, [`UNNAMED`] if it has none.
    pub fn id(&self) -> &str {
        &self.identity.id
    }

    /// Hash of the definition's content and of the machines it is bound to: the same on every daemon, whatever the white space
    /// in the text.
    pub fn hash(&self) -> &[u8; 32] {
        &self.identity.hash
    }

    /// The machines that it invokes or spawns, by the name that `src` has; each once.
    pub fn children(&self) -> impl ExactSizeIterator<Item = (&str, &Arc<Machine>)> {
        self.named.machines.iter().map(|child| (child.name.as_str(), &child.machine))
    }

    /// The definition as it was given.
    pub fn source(&self) -> &[u8] {
        &self.identity.source
    }

    /// The definition's `version`.
    pub fn version(&self) -> Option<&str> {
        self.identity.version.as_deref()
    }

    /// The bounds it was compiled with, which its instances keep.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where its instances are to be kept, if the definition says so.
    pub fn durability(&self) -> Option<Durability> {
        self.own.durability
    }

    /// For how long its instances are kept once they have ended, in milliseconds, if the definition says so; [`u64::MAX`]: for ever.
    pub fn keep_ms(&self) -> Option<u64> {
        self.own.keep_ms
    }

    /// Whether clients may send its instances events of the engine, `xstate.*`.
    pub fn takes_engine_events(&self) -> bool {
        self.own.engine_events
    }

    /// The id of the state that a text such as `#id.path` names.
    pub(crate) fn id_called(&self, name: &str) -> Option<&Str> {
        let name = name.strip_prefix('#').unwrap_or(name);
        if let Some(state) = self.states.iter().find(|state| state.id == name) {
            return Some(&state.id);
        }
        let path = crate::definition::state_path::split_path(name);
        let (first, rest) = path.split_first()?;
        let mut found = self.states.iter().position(|state| state.id == first.as_str())? as StateIx;
        for key in rest {
            found =
                self.state(found).children.iter().copied().find(|child| self.state(*child).key.text == key.as_str())?;
        }
        Some(&self.state(found).id)
    }

    /// Number of states; the machine itself, which is the root of their tree, is none of them.
    pub fn state_count(&self) -> usize {
        self.states.len().saturating_sub(1)
    }

    /// Descriptors of the events that some state reacts to, as written.
    pub fn event_descriptors(&self) -> impl Iterator<Item = &str> {
        self.events.iter().map(Str::as_str)
    }

    #[inline]
    pub(crate) fn state(&self, state: StateIx) -> &State {
        &self.states[usize::from(state)]
    }

    #[inline]
    pub(crate) fn transition(&self, transition: TransitionIx) -> &Transition {
        &self.transitions[transition as usize]
    }

    /// Whether `state` lies below `ancestor`. Every state lies below `None`, which is above the root.
    pub(crate) fn is_descendant(&self, state: StateIx, ancestor: Option<StateIx>) -> bool {
        match ancestor {
            Some(ancestor) => state > ancestor && state < self.state(ancestor).end,
            None => true,
        }
    }

    /// The ancestors of a state from its parent up.
    pub(crate) fn ancestors(&self, state: StateIx) -> impl Iterator<Item = StateIx> + '_ {
        std::iter::successors(self.state(state).parent, |above| self.state(*above).parent)
    }

    pub(crate) fn is_history(&self, state: StateIx) -> bool {
        matches!(self.state(state).kind, StateKind::History(_))
    }

    pub(crate) fn is_atomic(&self, state: StateIx) -> bool {
        matches!(self.state(state).kind, StateKind::Atomic | StateKind::Final)
    }

    pub(crate) fn empty_set(&self) -> StateSet {
        StateSet::empty(self.states.len())
    }
}
