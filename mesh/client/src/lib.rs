//! A client of a mesh: requests with typed answers, and changes as they are published. Blocking, over one connection at a time.
//!
//! [`Client`] does what the protocol asks of a good client: it sends a request again if the error's advice says so, and only
//! where that is harmless; goes to another address when one does not answer; and to the daemon that serves a key, if it is told to.
//! [`Watcher`] follows every daemon of the mesh and says what it missed. [`Connection`] is the wire alone, for those who measure it.
//!
//! ```no_run
//! # use std::time::Duration;
//! use statemesh_client::{Client, Event, Options};
//!
//! let options = Options {
//!     // Begins tokens that no other client uses, so that an event may be sent again whatever happened to its answer.
//!     tokens: Some("till-7-1712".to_owned()),
//!     patience: Duration::from_secs(30),
//!     ..Options::at("127.0.0.1:7400")
//! };
//! let mut client = Client::connect(options)?;
//! let outcome = client.send("order", "42", Event::Whole(br#"{"type":"PAY","amount":3}"#))?;
//! println!("{} after {} transitions", outcome.status, outcome.seq);
//! # Ok::<(), statemesh_client::ClientError>(())
//! ```

mod addresses;
pub mod answers;
mod attempts;
mod client;
mod connection;
mod endpoint;
mod error;
mod owners;
mod requests;
mod retry;
mod seen;
mod watch;

pub use client::{Client, Options};
pub use connection::{Connection, ConnectionError};
pub use endpoint::{Endpoint, OpenError};
pub use error::{ClientError, Refusal};
pub use retry::{Retries, Step, Trouble};
pub use seen::{Order, Seen};
pub use statemesh_protocol::error::{Advice, ErrorCode};
pub use statemesh_protocol::reply::Encoding;
pub use statemesh_protocol::reply_reader::Fields;
pub use statemesh_protocol::request::{Faults, Op};
pub use statemesh_protocol::request_parts::{Answering, Conditions, Listing};
pub use statemesh_protocol::request_writer::{Ask, Event};
pub use statemesh_protocol::run::RunId;
pub use statemesh_transport::curve::Security;
pub use watch::{Change, Notice, Watcher};
