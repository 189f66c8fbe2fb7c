//! XState machines as compiled tables: definition, transitions, timers, snapshots.
//!
//! A [`Machine`] is compiled once from its JSON definition; an [`Instance`] is a few words that the machine steps:
//! `start`, `send`, `fire`. A step is a function of the instance, the event and the time that is handed in; what it
//! wants done comes out in an [`Output`]. There is no I/O, no clock, no thread in here, and everything is bounded by
//! [`Limits`].

mod active_states;
mod compile;
mod configuration;
mod delay_text;
mod diagnostics;
mod draw;
mod entry_exit;
mod error;
mod event;
mod event_names;
mod explain;
mod export;
mod expression;
mod fast_table;
mod instance;
mod json_pos;
mod limits;
mod machine;
mod order;
mod runtime;
mod schema;
mod scxml;
mod shapes;
mod simulate;
mod snapshot;
mod snapshot_value;
mod state_path;
mod state_set;
mod state_value;
mod weight;

pub use compile::keys::XSTATE4;
pub use compile::{Compiled, Resolve};
pub use diagnostics::{Diagnostic, Severity};
pub use draw::{DrawError, DrawFormat};
pub use error::StepError;
pub use event::{Effect, Event, Millis, Status, Step, StepResult, TimerCommand, TimerId};
pub use explain::{Candidate, Explanation, Outcome};
pub use export::{ExportFormat, Exported, OTHERWISE, import, import_as};
pub use instance::Instance;
pub use limits::Limits;
pub use machine::{Faults, Machine};
pub use order::{Circle, namesakes, order};
pub use runtime::Output;
pub use schema::json_schema;
pub use scxml::import_scxml;
pub use simulate::{Simulation, simulate_batch_line};
pub use snapshot::RestoreError;
pub use statemesh_expr::{Payload, Str, Value};
