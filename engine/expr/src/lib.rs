//! Values, lazily decoded payloads and compiled CEL expressions: what a
//! machine's context, events and expressions are made of. No I/O, no clock.
//!
//! - [`Value`]: a JSON-like value that is cheap to clone, with maps whose keys
//!   live in a shared [`Shape`].
//! - [`json`] and [`msgpack`]: codecs, and readers that scan without
//!   allocating. Everything they accept is bounded by [`Limits`].
//! - [`Payload`]: an event as it arrived, read field by field.
//! - [`Program`] and [`Template`]: CEL compiled against an [`Env`], evaluated
//!   in a [`Scope`] within a [`Cost`].

mod build;
mod cel;
mod cost;
mod decode;
pub mod json;
mod limits;
mod list;
mod map;
pub mod msgpack;
mod number;
mod payload;
mod scalar;
mod ser;
mod template;
mod time;
mod value;

pub use cel::{CompileError, Env, EvalError, EvalFault, Program, Root, Roots, Scope, Type};
pub use cost::Cost;
pub use decode::{DecodeError, DecodeFault};
pub use limits::Limits;
pub use list::List;
pub use map::{Map, Shape};
pub use payload::Payload;
pub use scalar::Scalar;
pub use template::{Template, TemplateError};
pub use time::{Duration, Timestamp};
pub use value::{Kind, Str, Value};
