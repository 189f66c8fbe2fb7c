//! A client of a mesh: requests with typed answers, and changes as they are published.
//!
//! [`Client`] does what the protocol asks of a good client: it sends a request again if the error's advice says so, and only
//! where that is harmless; goes to another address when one does not answer; and to the daemon that serves a key, if it is told to. It
//! blocks. [`AsyncClient`] does the same for many requests at a time, as futures of any runtime.
//! [`Watcher`] (blocking) and [`AsyncWatcher`] follow every daemon of the mesh and say what they missed. [`Connection`] is the wire
//! alone, for those who measure it.
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
//!
//! The same without blocking: both requests are under way before the first answer is there, over one connection.
//!
//! ```
//! use statemesh_client::{AsyncClient, AsyncError, Event, Options};
//!
//! async fn pay(client: &AsyncClient) -> Result<u64, AsyncError> {
//!     let first = client.send("order", "42", Event::Named("PAY"));
//!     let second = client.send("order", "43", Event::Named("PAY"));
//!     let (first, second) = (first.await?, second.await?);
//!     if let Some(conflict) = &first.conflict {
//!         println!("gone from transition {} on: {:?}", conflict.lost_from, conflict.reason);
//!     }
//!     Ok(first.seq + second.seq)
//! }
//! # // Instead of a runtime: the thread sleeps until it is woken. Instead of a mesh: a daemon that answers everything alike.
//! # use std::{future::Future, io::{Read, Write}, pin::pin, sync::Arc, task::{Context, Poll, Wake, Waker}, thread};
//! # struct Unpark(thread::Thread);
//! # impl Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark(); } }
//! # fn block_on<F: Future>(future: F) -> F::Output {
//! #     let (waker, mut future) = (Waker::from(Arc::new(Unpark(thread::current()))), pin!(future));
//! #     loop {
//! #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
//! #             Poll::Ready(output) => return output,
//! #             Poll::Pending => thread::park(),
//! #         }
//! #     }
//! # }
//! # fn daemon(listener: std::net::TcpListener) {
//! #     use statemesh_transport::{SocketType, curve::Security, limits::Bounds, link::{Incoming, Link, Side}};
//! #     let (mut stream, _) = listener.accept().unwrap();
//! #     let mut link = Link::new(Side::Accepted, SocketType::Router, Bounds::of_messages(1 << 20), &Security::None);
//! #     let mut scratch = [0; 4096];
//! #     loop {
//! #         while let Some(incoming) = link.poll().unwrap() {
//! #             let Incoming::Message(message) = incoming else { continue };
//! #             link.send(&[message.part_slice(0).unwrap(), br#"{"ok":true,"status":"active","seq":1,"changed":true}"#]);
//! #         }
//! #         let unsent = link.unsent().to_vec();
//! #         link.sent(unsent.len());
//! #         stream.write_all(&unsent).unwrap();
//! #         let read = stream.read(&mut scratch).unwrap();
//! #         if read == 0 { return; }
//! #         link.receive(scratch[..read].to_vec().into()).unwrap();
//! #     }
//! # }
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?.to_string();
//! # thread::spawn(move || daemon(listener));
//!
//! let client = AsyncClient::new(Options::at(&address))?;
//! assert_eq!(block_on(pay(&client))?, 2); // block_on: that of your runtime
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod addresses;
pub mod answers;
mod async_client;
mod async_watch;
mod attempts;
mod client;
mod connection;
mod driver;
mod endpoint;
mod error;
mod kept;
mod mailbox;
mod owners;
mod pipeline;
mod requests;
mod retry;
mod seen;
mod watch;

pub use async_client::{Answer, AsyncClient};
pub use async_watch::AsyncWatcher;
pub use client::{Client, Options};
pub use connection::{Connection, ConnectionError};
pub use endpoint::{Endpoint, OpenError};
pub use error::{ClientError, Refusal};
pub use mailbox::{AsyncError, Room};
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
