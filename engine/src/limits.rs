//! Every bound of the engine: its name, its default and its unit.
//!
//! A bound on a definition is checked when it is compiled; a bound on an instance while it takes a step. A step that
//! would exceed one is refused and leaves the instance as it was.

/// Actions that the fast path takes at most in one step; more take the slow path, which counts them.
pub(crate) const FAST_ACTIONS_MAX: usize = 1_000;

/// The engine's bounds. `Limits::default()` is what the daemon starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a definition's JSON text.
    pub definition_bytes_max: usize,
    /// Levels of nesting of the definition's JSON text.
    pub definition_depth_max: usize,
    /// State nodes of one machine.
    pub states_max: usize,
    /// Levels of states below the root.
    pub nesting_max: usize,
    /// Transitions of one machine, those of `always`, `after`, `onDone` and `invoke` included.
    pub transitions_max: usize,
    /// Bytes of the text of one expression.
    pub expression_bytes_max: usize,
    /// Cost units that the expressions of one input may use together (about one for each operation or element).
    pub expression_cost_max: u64,
    /// Microsteps that one input may take in one actor.
    pub microsteps_max: u32,
    /// Actions that one input may take, named ones expanded.
    pub actions_max: u32,
    /// Events that may wait in the internal queue of one actor.
    pub raised_max: usize,
    /// Timers that one instance and its children may have pending.
    pub timers_max: usize,
    /// Children of one instance, children of children included.
    pub children_max: usize,
    /// Levels of children below an instance.
    pub child_depth_max: usize,
    /// Messages between an instance and its children that one input may cause.
    pub messages_max: u32,
    /// Effects that one input may cause.
    pub effects_max: usize,
    /// Bytes of the effects that one input may cause, as JSON.
    pub output_bytes_max: usize,
    /// Approximate bytes of one actor's context, as JSON, and of what an expression gives.
    pub context_bytes_max: usize,
    /// Levels of nesting of what an expression gives.
    pub value_depth_max: usize,
    /// Approximate bytes of an instance, its children and what waits for its timers; no more may be in a snapshot that is restored.
    pub instance_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A request that defines it must fit into limits.message_bytes of a daemon, 1 MiB by default, and nests it in two levels
            // of its own; 128 can be read.
            definition_bytes_max: 1_000_000,
            definition_depth_max: 120,
            states_max: 4_096,
            nesting_max: 50,
            transitions_max: 32_768,
            expression_bytes_max: 16 * 1024,
            expression_cost_max: 1_000_000,
            microsteps_max: 1_000,
            actions_max: 100_000,
            raised_max: 1_000,
            timers_max: 1_000,
            children_max: 256,
            child_depth_max: 8,
            messages_max: 10_000,
            effects_max: 10_000,
            output_bytes_max: 16 * 1024 * 1024,
            context_bytes_max: 1024 * 1024,
            value_depth_max: 64,
            instance_bytes_max: 16 * 1024 * 1024,
        }
    }
}
