//! Every byte that crosses a wire, in both directions: what clients and daemons say to each other (client protocol 1,
//! `docs/reference/protocol.md`), and what daemons say to each other (`peer`). No I/O, clock or thread.

pub mod call;
pub mod error;
pub mod hash;
pub mod identity;
pub mod image;
pub mod key_index;
pub mod partition_set;
pub mod peer;
pub mod place;
pub mod record;
pub mod reply;
pub mod reply_reader;
pub mod request;
pub mod request_parts;
pub mod request_writer;
pub mod rights;
pub mod run;
mod scan;
pub mod tenure;
