//! What asks a Kubernetes API server. It is compiled in with the feature `kubernetes`; the daemon itself needs no API server.

#[cfg(feature = "kubernetes")]
mod cluster;

#[cfg(feature = "kubernetes")]
pub(crate) use cluster::{ANSWER_TIMEOUT, Deed, cluster, failure, runtime};

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
