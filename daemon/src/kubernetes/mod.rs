//! What asks a Kubernetes API server. It is compiled in with the feature `kubernetes`; the daemon itself needs no API server.

#[cfg(feature = "kubernetes")]
mod cluster;
// Without the feature the flags are there only for the reference.
#[cfg_attr(not(feature = "kubernetes"), allow(dead_code))]
mod feed;

#[cfg(feature = "kubernetes")]
pub(crate) use cluster::{ANSWER_TIMEOUT, Deed, cluster, failure, runtime};
pub(crate) use feed::FeedArgs;
#[cfg(feature = "kubernetes")]
pub(crate) use feed::{Source, check, run as feed};

/// Above the flags that need the feature, in help and reference.
pub(crate) const HEADING: &str = "Kubernetes";

/// Whether this build has the feature.
pub(crate) const BUILT_IN: bool = cfg!(feature = "kubernetes");

/// Says how to get what this build does not have.
#[cfg(not(feature = "kubernetes"))]
pub(crate) fn not_built_in(what: &str) -> crate::failure::Failure {
    crate::failure::Failure::usage(format!("{what}: this statemesh was built without Kubernetes"))
        .hint("the image has it; or build it: cargo build --release --features kubernetes")
}
