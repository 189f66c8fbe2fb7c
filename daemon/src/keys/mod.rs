//! The verbs that make and change keys, and the places where these are kept.

mod init;
mod place;
mod renew;
#[cfg(feature = "kubernetes")]
mod secret;
mod store;
mod verbs;

pub(crate) use verbs::{KeysArgs, run};
