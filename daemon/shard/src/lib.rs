//! The instances of one process: found, stepped, remembered, handed off.
//!
//! A [`Shard`] has one writer at a time, the thread that claims it; [`State`] is what that thread may change. Nothing here
//! knows of sockets, threads or other daemons: requests and the time come in, replies and what was counted ([`Counts`]) go out
//! through a [`Run`], [`Change`]s through the [`Feeds`].
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests begin at some time"))]

mod arena;
mod cells;
mod change;
mod dedup;
mod dues;
mod feed;
mod filter;
#[cfg(fuzzing)]
pub mod fuzzing;
mod history;
mod instance;
mod lives;
mod log;
pub mod machines;
mod marks;
mod named;
mod removed;
mod said;
mod shards;
mod stages;
mod timer_wheel;
mod unsaid_conflict;
mod until;
mod values;
mod waits;

pub use cells::{BOUNDS_NS, Cell, Durations};
pub use change::Change;
pub use feed::{Feed, Feeds};
pub use filter::{BadFilter, Filter};
pub use lives::Origin;
pub use log::Log;
pub use marks::{Conflict, ConflictReason, KeyMark};
pub use named::Unknown;
pub use shards::{
    Bounds, Counts, Damaged, Forgotten, Fresh, Group, HandedOff, Job, KeyNote, Kind, KnownKey, KnownKeys, Line,
    LostLife, Outcome, Page, Place, Received, Rules, Run, Shard, Shards, State, Troubles, Waiter, Walk,
};
pub use stages::{Begun, Clock, Stage, Stopwatch};
pub use unsaid_conflict::UnsaidConflict;
pub use until::{BadUntil, Until};
pub use values::{write_json, write_value};
pub use waits::Waits;
