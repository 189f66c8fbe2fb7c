//! From two looks at a pod to the events that happened between them.

use super::view::{State, View};
use serde_json::{Value, json};

/// A pod whose containers restarted more often than this between two looks has been in trouble for longer than we need to say.
const MAX_RESTARTS_TOLD: i64 = 3;

/// An event for a pod's instance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PodEvent {
    pub(super) event: Value,
    /// Makes a second telling harmless: of this pod, at this moment, this event.
    pub(super) token: String,
}

/// What happened to a pod since the last look; none: it was not there.
pub(super) fn since(before: Option<&View>, now: &View) -> Vec<PodEvent> {
    let before = before.filter(|before| before.uid == now.uid);
    let mut kinds = Vec::new();
    if before.is_none() {
        kinds.push("CREATED");
    }
    let was = before.map_or(State::Unscheduled, |before| before.state);
    if was != now.state {
        if was == State::Unscheduled && matches!(now.state, State::Pulling | State::Stuck | State::Running) {
            kinds.push("SCHEDULED");
        }
        kinds.extend(arrival(now.state));
    }
    let restarts = now.restarts - before.map_or(0, |before| before.restarts);
    if now.state == State::Running {
        kinds.extend((0..restarts.min(MAX_RESTARTS_TOLD)).map(|_| "RESTARTED"));
        if was == State::Running && before.is_some_and(|before| before.ready != now.ready) {
            kinds.push(if now.ready { "READY" } else { "UNREADY" });
        }
    }
    if kinds.is_empty() && before.is_some_and(|before| !before.says_the_same_as(now)) {
        kinds.push("CHANGED");
    }
    kinds.iter().enumerate().map(|(index, kind)| told(kind, now, &index.to_string())).collect()
}

/// The event of coming into a state.
fn arrival(state: State) -> Option<&'static str> {
    match state {
        State::Unscheduled => None,
        State::Scheduled => Some("SCHEDULED"),
        State::Pulling => Some("PULLING"),
        State::Stuck => Some("STUCK"),
        State::Running => Some("RUNNING"),
        State::Succeeded => Some("SUCCEEDED"),
        State::Failed => Some("FAILED"),
        State::Evicted => Some("EVICTED"),
        State::Terminating => Some("TERMINATING"),
    }
}

/// Makes an instance agree with a pod, whatever it was told before.
pub(super) fn sync(now: &View) -> PodEvent {
    let mut told = told("SYNC", now, "sync");
    told.event["state"] = json!(now.state.name());
    told
}

/// The pod is there no longer.
pub(super) fn gone(last: &View) -> PodEvent {
    told("GONE", last, "gone")
}

/// An instance has no pod. `seq` is how far it has come.
pub(super) fn gone_unseen(seq: u64) -> PodEvent {
    PodEvent { event: json!({"type": "GONE"}), token: format!("unseen/{seq}") }
}

fn told(kind: &str, view: &View, which: &str) -> PodEvent {
    let mut event = json!({"type": kind});
    if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), view.fields()) {
        event.extend(fields);
    }
    PodEvent { event, token: format!("{}/{}/{which}", view.uid, view.version) }
}

/// In what an instance differs from its pod, if it does. `snapshot` is what `get` answers.
pub(super) fn difference(view: &View, snapshot: &Value) -> Option<String> {
    let value = &snapshot["value"];
    let agrees = match view.state {
        State::Unscheduled => value["pending"] == "unscheduled",
        State::Scheduled => value["pending"] == "scheduled",
        State::Pulling => value["pending"] == "pulling",
        State::Stuck => value["pending"] == "stuck",
        // Ready is compared below; that it restarts too often is the machine's own judgement.
        State::Running => value.get("running").is_some(),
        State::Succeeded => value == "succeeded",
        State::Failed => value["failed"] == "byItself",
        State::Evicted => value["failed"] == "evicted",
        State::Terminating => value == "terminating",
    };
    if !agrees {
        return Some(format!("the pod is {}, the instance {value}", view.state.name()));
    }
    let context = &snapshot["context"];
    let Value::Object(fields) = view.fields() else { return None };
    let (name, field) = fields.iter().find(|(name, field)| context.get(name.as_str()) != Some(field))?;
    Some(format!("{name}: the pod has {field}, the instance {}", context[name.as_str()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use statemesh_engine::{Limits, Machine, Payload, Simulation};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// What a watch of seven pods said, on three nodes of Kubernetes 1.34; fields that are not read here are left out.
    const RECORDED: &str = include_str!("recorded.jsonl");
    const MACHINE: &str = include_str!("../../../../examples/pod-lifecycle/machine.json");

    /// The looks at each pod, by name; the last may be its end.
    fn recorded() -> BTreeMap<String, Vec<(bool, View)>> {
        let mut pods: BTreeMap<String, Vec<(bool, View)>> = BTreeMap::new();
        for line in RECORDED.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let pod: Pod = serde_json::from_value(line["object"].clone()).unwrap();
            let look = (line["type"] == "DELETED", View::of(&pod).unwrap());
            pods.entry(pod.metadata.name.unwrap()).or_default().push(look);
        }
        pods
    }

    /// What is told of a pod, look by look.
    fn told_of(looks: &[(bool, View)]) -> Vec<Vec<PodEvent>> {
        let mut before: Option<&View> = None;
        let mut told = Vec::new();
        for (is_end, view) in looks {
            told.push(if *is_end { vec![gone(view)] } else { since(before, view) });
            before = Some(view).filter(|_| !is_end);
        }
        told
    }

    fn kinds(told: &[Vec<PodEvent>]) -> String {
        told.iter().flatten().map(|told| told.event["type"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    fn machine() -> Arc<Machine> {
        Machine::compile(MACHINE.as_bytes(), &Limits::default(), &|_| None).unwrap().machine
    }

    fn begun(machine: &Arc<Machine>) -> Simulation {
        Simulation::start(Arc::clone(machine), Payload::Empty, &mut Vec::new()).unwrap()
    }

    fn tell(simulation: &mut Simulation, told: &PodEvent) -> Value {
        let mut answer = Vec::new();
        simulation.input(told.event.to_string().as_bytes(), &mut answer);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["status"], "active", "{}: {answer}", told.event);
        answer
    }

    #[test]
    fn each_recorded_pod_has_its_story() {
        let pods = recorded();
        let pod_diff = |name: &str| kinds(&told_of(&pods[name]));
        assert_eq!(pod_diff("worker"), "CREATED SCHEDULED PULLING RUNNING UNREADY SUCCEEDED TERMINATING GONE");
        assert_eq!(pod_diff("loser"), "CREATED SCHEDULED PULLING CHANGED FAILED");
        assert_eq!(pod_diff("server"), "CREATED SCHEDULED PULLING RUNNING READY");
        assert_eq!(pod_diff("nowhere"), "CREATED CHANGED TERMINATING GONE");
        assert_eq!(pod_diff("typo"), "CREATED SCHEDULED PULLING STUCK TERMINATING CHANGED CHANGED GONE");
        let lives = "CREATED SCHEDULED PULLING RUNNING TERMINATING CHANGED GONE CREATED SCHEDULED PULLING RUNNING";
        assert_eq!(pod_diff("set-0"), lives, "a pod of a StatefulSet returns under its name");
        let crasher = pod_diff("crasher");
        assert_eq!(crasher.matches("RESTARTED").count() as i64, pods["crasher"].last().unwrap().1.restarts);
    }

    #[test]
    fn the_machine_says_what_the_api_server_says_after_every_look() {
        let machine = machine();
        for (name, looks) in recorded() {
            let mut simulation = begun(&machine);
            for ((is_end, view), news) in looks.iter().zip(told_of(&looks)) {
                let Some(snapshot) = news.iter().map(|told| tell(&mut simulation, told)).last() else { continue };
                match is_end {
                    true => assert_eq!(snapshot["value"], "gone", "{name}"),
                    false => assert_eq!(difference(view, &snapshot), None, "{name} {view:?}"),
                }
            }
        }
    }

    #[test]
    fn a_sync_makes_any_instance_agree_with_any_pod_and_a_second_one_changes_nothing() {
        let pods = recorded();
        let looks: Vec<&View> = pods.values().flatten().filter(|(is_end, _)| !is_end).map(|(_, view)| view).collect();
        let states: std::collections::BTreeSet<_> = looks.iter().map(|view| view.state.name()).collect();
        assert!(states.len() >= 8, "{states:?}");
        let machine = machine();
        for first in &looks {
            for second in &looks {
                // Of the same pod, as after a feed that was away, and of another one under its name.
                for uid in [&first.uid, &second.uid] {
                    let second = View { uid: uid.clone(), ..(*second).clone() };
                    let mut simulation = begun(&machine);
                    tell(&mut simulation, &sync(first));
                    let snapshot = tell(&mut simulation, &sync(&second));
                    assert_eq!(difference(&second, &snapshot), None, "{first:?} then {second:?}");
                    assert_eq!(tell(&mut simulation, &sync(&second))["value"], snapshot["value"]);
                }
            }
        }
    }

    #[test]
    fn an_instance_without_a_pod_ends_and_a_pod_that_returns_begins_another_life() {
        let pods = recorded();
        let first = &pods["server"].last().unwrap().1;
        let mut simulation = begun(&machine());
        tell(&mut simulation, &sync(first));
        assert_eq!(tell(&mut simulation, &gone_unseen(7))["value"], "gone");
        let again = View { uid: "another".into(), ..first.clone() };
        let snapshot = since(None, &again).iter().map(|told| tell(&mut simulation, told)).last().unwrap();
        assert_eq!((difference(&again, &snapshot), &snapshot["context"]["lives"]), (None, &json!(2)));
    }

    #[test]
    fn what_two_looks_skipped_is_told_as_far_as_it_is_known() {
        let pods = recorded();
        let server = &pods["server"];
        let between = |from: usize, to: usize| kinds(&[since(Some(&server[from].1), &server[to].1)]);
        assert_eq!(between(0, 4), "SCHEDULED RUNNING");
        assert_eq!(between(4, 4), "", "the same again");
        let many = View { restarts: 1_000_000, ..server[4].1.clone() };
        assert_eq!(since(Some(&server[4].1), &many).len() as i64, MAX_RESTARTS_TOLD);
        let fewer = View { restarts: -5, ..server[4].1.clone() };
        assert_eq!(kinds(&[since(Some(&server[4].1), &fewer)]), "CHANGED", "counts come from outside");
        let evicted = View { state: State::Evicted, phase: "Failed".into(), ..server[4].1.clone() };
        assert_eq!(kinds(&[since(Some(&server[4].1), &evicted)]), "EVICTED");
    }

    #[test]
    fn a_token_names_one_event_of_one_moment() {
        let pods = recorded();
        let tokens: Vec<String> =
            pods.values().flat_map(|looks| told_of(looks)).flatten().map(|told| told.token).collect();
        let distinct: std::collections::BTreeSet<_> = tokens.iter().collect();
        assert_eq!(distinct.len(), tokens.len());
        assert_eq!(sync(&pods["server"][4].1), sync(&pods["server"][4].1));
    }

    #[test]
    fn a_difference_is_named() {
        let view = &recorded()["server"].last().unwrap().1.clone();
        let snapshot = tell(&mut begun(&machine()), &sync(view));
        let other = View { node: "node9".into(), ..view.clone() };
        assert!(difference(&other, &snapshot).unwrap().starts_with("node: the pod has \"node9\""));
        let ended = View { state: State::Succeeded, ..view.clone() };
        assert!(difference(&ended, &snapshot).unwrap().starts_with("the pod is succeeded"));
        assert!(difference(view, &json!({"value": "gone"})).is_some());
    }
}
