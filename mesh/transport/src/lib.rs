//! How bytes travel: ZMTP connections driven by an epoll loop of our own.
//!
//! [`link`] is one ZMTP connection without a socket: bytes in, messages out. [`reactor`] is one thread's loop: listeners
//! with `SO_REUSEPORT`, their connections, one read-run-write turn after another. What the messages mean is the
//! business of the [`reactor::Handler`] that is handed to it. The operating system is behind a trait, [`kernel`].
//!
//! The codec is omq-proto's. What is ours is everything around it: who is read when, what is bounded, and that a turn
//! writes each connection once.

pub mod curve;
mod flow;
mod framing;
mod heartbeat;
mod in_flight;
pub mod kernel;
pub mod limits;
pub mod link;
pub mod listen;
mod mio_kernel;
pub mod reactor;
mod spin;
mod table;
mod turns;
mod unsent;

pub use framing::{FrameTooLarge, OVERSIZE};
pub use in_flight::Ticket;
pub use mio_kernel::MioKernel;
pub use omq_proto::{Message, SocketType};
pub use reactor::{ConnId, Event, Handler, Io, Kind, Listener, Origin, Reactor};
