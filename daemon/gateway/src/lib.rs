//! The daemon over HTTP, 7480: health, metrics and read-only JSON. It has a listener of its own and reaches the reactors by
//! [`statemesh_node::Handle::call`] only, so that nothing which happens here can hold an event up.

mod answer;
mod asking;
mod backend;
mod guard;
mod metrics;
mod patience;
mod places;
mod room;
mod routes;
mod seat;
mod server;
mod settings;
pub mod tls;

pub use backend::Backend;
pub use metrics::METRICS;
pub use routes::{RESOURCES, Resource};
pub use server::{Server, listen};
pub use settings::Settings;

#[cfg(test)]
mod tests;
