//! The command line of `statemesh feed`.

use super::super::HEADING;
use crate::connect::Connect;
use clap::{Args, Subcommand};

/// The machine of examples/pod-lifecycle.
pub(super) const MACHINE: &str = "pod";

#[derive(Args, Debug)]
pub(crate) struct FeedArgs {
    #[command(subcommand)]
    pub(crate) source: Source,
}

/// Where events come from.
#[derive(Debug, Subcommand)]
pub(crate) enum Source {
    /// Watch the pods of a Kubernetes cluster: each pod's changes are events to the instance pod/NAMESPACE/NAME
    Kubernetes(PodsArgs),
}

#[derive(Args, Debug)]
pub(crate) struct PodsArgs {
    /// Watch the pods of this namespace [default: that of the kubeconfig's context, or the pod's own]
    #[arg(long, value_name = "NAME", conflicts_with = "all_namespaces", help_heading = HEADING)]
    pub(crate) namespace: Option<String>,
    /// Watch the pods of all namespaces
    #[arg(long, help_heading = HEADING)]
    pub(crate) all_namespaces: bool,
    /// Watch only pods with these labels, such as app=web,tier!=test
    #[arg(long, value_name = "LABELS", help_heading = HEADING)]
    pub(crate) selector: Option<String>,
    /// The machine; `pod` is defined from examples/pod-lifecycle if the mesh has none
    #[arg(long, value_name = "NAME", default_value = MACHINE, help_heading = HEADING)]
    pub(crate) machine: String,
    /// Compare once instead: print each pod whose instance says something else than the API server, and end with 1 if there is one
    #[arg(long, help_heading = HEADING)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) connect: Connect,
}
