//! The mesh that is told: events go to it one after the other, each until it is taken.

use super::args::MACHINE;
use super::story::Told;
use crate::client::Client;
use crate::config::Target;
use crate::failure::{Exit, Failure};
use serde_json::{Value, json};
use std::time::Duration;

/// What is defined if the mesh has no machine `pod`, or has it no longer.
const DEFINITION: &str = include_str!("../../../../examples/pod-lifecycle/machine.json");

/// How long to wait before an event is sent again: doubled each time, up to the second.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Instances that are asked for at a time: the most that a daemon gives.
const PAGE: usize = 1_000;

/// Error replies after which the same event can be sent again, here or elsewhere (docs/reference/protocol.md).
const PASSING: [&str; 9] = [
    "limit_exceeded",
    "moving",
    "moved",
    "not_ready",
    "leaving",
    "owner_unreachable",
    "outcome_unknown",
    "timeout",
    "internal",
];

/// A mesh, and the machine that its pods are instances of.
pub(super) struct Mesh {
    target: Target,
    machine: String,
    client: Option<Client>,
    /// Whether instances may have been lost since this was last asked: the connection was.
    is_doubtful: bool,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    /// Taken by a new instance: what the one before had been told is lost.
    TakenAnew,
    /// It will never be taken.
    Refused,
}

impl Mesh {
    pub(super) fn new(target: Target, machine: String) -> Mesh {
        Mesh { target, machine, client: None, is_doubtful: false }
    }

    /// Tells an instance something, again and again until the mesh answers.
    pub(super) async fn tell(&mut self, key: &str, told: &Told) -> Result<Outcome, Failure> {
        let request =
            json!({"op": "send", "machine": self.machine, "key": key, "event": told.event, "dedup": told.token});
        let mut wait = WAITS.0;
        loop {
            let failure = match self.offer(&request).await {
                Ok(reply) => {
                    if wait > WAITS.0 {
                        eprintln!("the mesh takes events again");
                    }
                    return Ok(if reply["restarted"] == json!(true) { Outcome::TakenAnew } else { Outcome::Taken });
                }
                Err(failure) => failure,
            };
            match verdict(&failure) {
                Verdict::End => return Err(failure),
                Verdict::Never => {
                    eprintln!("warning: {}/{key} does not take {}: {failure}", self.machine, told.event["type"]);
                    return Ok(Outcome::Refused);
                }
                Verdict::Again if wait == WAITS.0 => {
                    eprintln!("warning: the mesh takes no events: {}; trying again", failure.message);
                }
                Verdict::Again => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// Sends an event once; if its machine is not defined, twice.
    async fn offer(&mut self, request: &Value) -> Result<Value, Failure> {
        match self.call(request.clone()).await {
            Err(failure) if failure.code == "unknown_machine" => {
                self.define().await?;
                self.call(request.clone()).await
            }
            answer => answer,
        }
    }

    /// Reads an instance whole; `None` if there is none.
    pub(super) async fn get(&mut self, key: &str) -> Result<Option<Value>, Failure> {
        match self.call(json!({"op": "get", "machine": self.machine, "key": key})).await {
            Ok(reply) => Ok(Some(reply)),
            Err(failure) if matches!(failure.code.as_str(), "unknown_instance" | "unknown_machine") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The instances that are not gone, with their `seq`, on all daemons that can be reached.
    pub(super) async fn present(&mut self) -> Result<Vec<(String, u64)>, Failure> {
        let members = self.call(json!({"op": "members"})).await?;
        let alive = members["members"].as_array().into_iter().flatten().filter(|member| member["status"] == "alive");
        let mut present = Vec::new();
        for address in alive.filter_map(|member| member["clients"].as_str()) {
            let target = Target { address: format!("tcp://{address}"), ..self.target.clone() };
            let listed = self.present_at(target, &mut present).await;
            if let Err(failure) =
                listed.or_else(|failure| if failure.code == "unknown_machine" { Ok(()) } else { Err(failure) })
            {
                eprintln!("warning: instances at {address} are not looked at: {failure}");
            }
        }
        Ok(present)
    }

    async fn present_at(&self, target: Target, present: &mut Vec<(String, u64)>) -> Result<(), Failure> {
        let mut client = Client::connect(target).await?;
        let mut after = Value::Null;
        loop {
            let mut request = json!({"op": "instances", "machine": self.machine, "limit": PAGE});
            if !after.is_null() {
                request["after"] = after;
            }
            let reply = client.call(request).await?;
            let there = reply["instances"].as_array().into_iter().flatten().filter(|one| one["value"] != "gone");
            let named = |one: &Value| Some((one["key"].as_str()?.to_owned(), one["seq"].as_u64().unwrap_or(0)));
            present.extend(there.filter_map(named));
            after = reply["next"].clone();
            if after.is_null() {
                return Ok(());
            }
        }
    }

    /// Whether instances may have been lost since the last time that this was asked.
    pub(super) fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.is_doubtful)
    }

    async fn define(&mut self) -> Result<(), Failure> {
        if self.machine != MACHINE {
            let message = format!("no machine \"{}\" is defined", self.machine);
            return Err(Failure::new(Exit::Refused, "unknown_machine", message).hint("statemesh define FILE"));
        }
        let client = self.connected().await?;
        let defined = client.call_with(json!({"op": "define"}), "definition", DEFINITION).await;
        self.client = self.client.take().filter(|_| !is_broken(&defined));
        eprintln!("{}", if defined.is_ok() { "defined the machine pod" } else { "could not define the machine pod" });
        defined.map(drop)
    }

    async fn call(&mut self, request: Value) -> Result<Value, Failure> {
        let answer = self.connected().await?.call(request).await;
        if is_broken(&answer) {
            self.client = None;
            self.is_doubtful = true;
        }
        answer
    }

    async fn connected(&mut self) -> Result<&mut Client, Failure> {
        if self.client.is_none() {
            self.client = Some(Client::connect(self.target.clone()).await.inspect_err(|_| self.is_doubtful = true)?);
        }
        self.client.as_mut().ok_or_else(|| Failure::new(Exit::Unreachable, "unreachable", "no connection"))
    }
}

/// What to do about an event that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Again,
    /// The next one may be taken.
    Never,
    /// None will be taken.
    End,
}

fn verdict(failure: &Failure) -> Verdict {
    match failure.code.as_str() {
        "forbidden" | "unknown_machine" | "invalid_definition" => Verdict::End,
        code if failure.exit == Exit::Unreachable || PASSING.contains(&code) => Verdict::Again,
        _ => Verdict::Never,
    }
}

/// Whether a connection is not worth keeping.
fn is_broken<T>(answer: &Result<T, Failure>) -> bool {
    answer.as_ref().is_err_and(|failure| failure.exit == Exit::Unreachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_protocol_lets_a_client_retry_is_retried_and_nothing_else() {
        let page = include_str!("../../../../docs/reference/protocol.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let mut codes = 0;
        for (code, rest) in rows {
            let wanted = match rest.split(['|', ',']).next().map(str::trim) {
                Some("retry" | "retry elsewhere") => true,
                Some("fix") => false,
                _ => continue,
            };
            let got = verdict(&Failure::new(Exit::Refused, code, "")) == Verdict::Again;
            assert_eq!(got, wanted, "{code}");
            codes += 1;
        }
        assert!(codes > 20, "the page has another form now");
        assert_eq!(verdict(&Failure::new(Exit::Unreachable, "refused_key", "")), Verdict::Again);
        assert_eq!(verdict(&Failure::new(Exit::Refused, "forbidden", "")), Verdict::End);
    }
}
