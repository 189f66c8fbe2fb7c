//! `statemesh feed kubernetes`: pods as instances of a machine.
//!
//! Expected flow: the watcher lists the pods, then tells each change; each is compared with the last look at the same pod, and
//! what happened in between goes to its instance as events. The next change is taken only when the mesh has taken these: a
//! mesh that is slow or away slows the watch, and nothing piles up here.
//!
//! Guarantees: an instance that was told wrong or too little (a feed that was away, a daemon that lost its memory) agrees with
//! its pod again after the next SYNC, at most [`watch::RESYNC`] later. Telling a thing twice is harmless: an event's token names the
//! pod, its version and the event.
//!
//! Caveat: what changes and changes back between two looks was not seen by the API server's watchers either, or by a feed that
//! was away.

mod args;
#[cfg(feature = "kubernetes")]
mod check;
#[cfg(feature = "kubernetes")]
mod mesh;
#[cfg(feature = "kubernetes")]
mod pod_diff;
#[cfg(feature = "kubernetes")]
mod view;
#[cfg(feature = "kubernetes")]
mod watch;

pub(crate) use args::FeedArgs;
#[cfg(feature = "kubernetes")]
pub(crate) use args::Source;
#[cfg(feature = "kubernetes")]
pub(crate) use watch::run;

#[cfg(feature = "kubernetes")]
pub(crate) use check::check;
