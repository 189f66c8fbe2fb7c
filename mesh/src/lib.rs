//! Who is there, who owns what, and what daemons say to each other.

pub mod client_protocol;
