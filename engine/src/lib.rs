//! XState machines as compiled tables: definition, transitions, timers, snapshots.
//!
//! A [`Machine`] is compiled once from its JSON definition; an [`Instance`] is a few words that the machine steps:
//! `start`, `send`, `fire`. A step is a function of the instance, the event and the time that is handed in; what it
//! wants done comes out in an [`Output`]. There is no I/O, no clock, no thread in here, and everything is bounded by
//! [`Limits`].
//!
//! `definition` is what people write, `compile` makes a [`Machine`] of it, `runtime` takes the steps, `snapshot` is an instance as
//! bytes, `inspect` draws and explains. `compile` and `runtime` meet in `machine` and `state` only.

mod compile;
mod definition;
mod entry_exit;
mod error;
mod event;
mod event_names;
mod expression;
mod fast_table;
mod inspect;
mod instance;
mod limits;
mod machine;
mod runtime;
mod shapes;
mod snapshot;
mod state;
mod state_set;
mod state_value;
mod weight;

pub use compile::{Compiled, Resolve};
pub use definition::diagnostics::{Diagnostic, Severity};
pub use definition::export::{ExportFormat, Exported, OTHERWISE, import, import_as};
pub use definition::keys::XSTATE4;
pub use definition::order::{Circle, name_of, namesakes, order};
pub use definition::schema::json_schema;
pub use definition::scxml::import_scxml;
pub use error::StepError;
pub use event::{Effect, Event, Millis, Status, Step, StepResult, TimerCommand, TimerId};
pub use inspect::draw::{DrawError, DrawFormat};
pub use inspect::explain::{Candidate, Explanation, Outcome};
pub use inspect::simulate::{Simulation, simulate_batch_line};
pub use instance::Instance;
pub use limits::Limits;
pub use machine::{Durability, Faults, Machine, UNNAMED};
pub use runtime::Output;
pub use snapshot::{RestoreError, ShownChild};
pub use statemesh_expr::{Payload, Str, Value};
