//! What matters of a pod: a small value, which two looks at a pod are compared by.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use serde_json::{Value, json};

/// Reasons for which a container waits until a person mends something.
const STUCK: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "CrashLoopBackOff",
];

/// A pod as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) uid: String,
    /// Tells this moment from others of the same pod.
    pub(super) version: String,
    pub(super) state: State,
    /// As the API server says it: Pending, Running, Succeeded, Failed, Unknown.
    pub(super) phase: String,
    /// Empty until it is scheduled.
    pub(super) node: String,
    pub(super) ready: bool,
    /// Of all its containers.
    pub(super) restarts: i64,
    /// Why it is as it is, as far as the API server says so.
    pub(super) reason: String,
}

/// Where a pod is. The machine has a state for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Unscheduled,
    Scheduled,
    Pulling,
    Stuck,
    Running,
    Succeeded,
    Failed,
    Evicted,
    Terminating,
}

impl State {
    /// What a SYNC event calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            State::Unscheduled => "unscheduled",
            State::Scheduled => "scheduled",
            State::Pulling => "pulling",
            State::Stuck => "stuck",
            State::Running => "running",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Evicted => "evicted",
            State::Terminating => "terminating",
        }
    }
}

impl View {
    /// What matters of a pod; `None` if it has no identity, which no API server sends.
    pub(super) fn of(pod: &Pod) -> Option<View> {
        let none = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&none);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        let restarts = containers(status).map(|container| i64::from(container.restart_count)).sum();
        Some(View {
            uid: pod.metadata.uid.clone()?,
            version: pod.metadata.resource_version.clone()?,
            state: state(pod, status, &node),
            phase: status.phase.clone().unwrap_or_default(),
            ready: has(status, "Ready"),
            restarts,
            reason: reason(status).unwrap_or_default().to_owned(),
            node,
        })
    }

    /// The fields that every event carries, and that the instance's context repeats.
    pub(super) fn fields(&self) -> Value {
        json!({
            "uid": self.uid, "phase": self.phase, "node": self.node, "ready": self.ready, "restarts": self.restarts,
            "reason": self.reason,
        })
    }

    /// Whether two moments of a pod say the same.
    pub(super) fn says_the_same_as(&self, other: &View) -> bool {
        self.state == other.state && self.fields() == other.fields()
    }
}

/// A pod that is being deleted is that before all else: its containers still run, or have ended by then.
fn state(pod: &Pod, status: &PodStatus, node: &str) -> State {
    if pod.metadata.deletion_timestamp.is_some() {
        return State::Terminating;
    }
    match status.phase.as_deref() {
        Some("Succeeded") => State::Succeeded,
        Some("Failed") if status.reason.as_deref() == Some("Evicted") => State::Evicted,
        Some("Failed") => State::Failed,
        // Unknown: its node does not answer. It is said again, one way or the other, when that is known.
        Some("Running" | "Unknown") => State::Running,
        _ if node.is_empty() => State::Unscheduled,
        _ if containers(status).any(|container| waiting(container).is_some_and(|why| STUCK.contains(&why))) => {
            State::Stuck
        }
        _ if containers(status).next().is_some() => State::Pulling,
        _ => State::Scheduled,
    }
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
}

fn has(status: &PodStatus, condition: &str) -> bool {
    status.conditions.iter().flatten().any(|one| one.type_ == condition && one.status == "True")
}

fn waiting(container: &ContainerStatus) -> Option<&str> {
    container.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

/// Why a container ended, now or the last time. That an init container has done its work is no reason for anything.
fn ended(container: &ContainerStatus) -> Option<&str> {
    let states = [&container.state, &container.last_state];
    let end = states.into_iter().flatten().find_map(|state| state.terminated.as_ref())?;
    Some(end.reason.as_deref().unwrap_or("Error")).filter(|why| *why != "Completed")
}

/// The most telling of the reasons that there are.
fn reason(status: &PodStatus) -> Option<&str> {
    let unscheduled = || {
        let conditions = status.conditions.iter().flatten();
        conditions
            .filter(|one| one.type_ == "PodScheduled" && one.status == "False")
            .find_map(|one| one.reason.as_deref())
    };
    let of_container = || containers(status).find_map(waiting).or_else(|| containers(status).find_map(ended));
    status.reason.as_deref().or_else(of_container).or_else(unscheduled)
}
