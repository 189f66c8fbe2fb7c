//! What the fuzz targets share. A target is a function from bytes to nothing: it panics if something that must hold
//! does not. What must hold is written here, so that a target is a few lines.

pub mod catalogue;
pub mod script;
pub mod walk;
pub mod wire;

use statemesh_engine::Limits;

/// Bounds under which a run of any input stays short enough to be one of thousands in a second.
pub fn limits() -> Limits {
    Limits {
        definition_bytes_max: 64 * 1024,
        expression_cost_max: 20_000,
        microsteps_max: 50,
        actions_max: 1_000,
        raised_max: 50,
        timers_max: 50,
        children_max: 8,
        child_depth_max: 4,
        messages_max: 50,
        effects_max: 200,
        context_bytes_max: 16 * 1024,
        instance_bytes_max: 256 * 1024,
        ..Limits::default()
    }
}
