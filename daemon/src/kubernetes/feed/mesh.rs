//! The mesh that is told: events go to it one after the other, each until it is taken.

use super::args::MACHINE;
use super::pod_diff::PodEvent;
use crate::config::Target;
use crate::failure::{Exit, Failure};
use crate::output::say;
use crate::remote::{self, Remote};
use serde_json::{Value, json};
use statemesh_client::{Advice, Ask, Conditions, ErrorCode, Event, Listing, Op};
use std::time::Duration;

/// What is defined if the mesh has no machine `pod`, or has it no longer.
const DEFINITION: &str = include_str!("../../../../examples/pod-lifecycle/machine.json");

/// How long to wait before an event is sent again: doubled each time, up to the second.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Instances that are asked for at a time: the most that a daemon gives.
const PAGE: u64 = 1_000;

/// A mesh, and the machine that its pods are instances of.
pub(super) struct Mesh {
    target: Target,
    machine: String,
    remote: Option<Remote>,
    /// Whether instances may have been lost since this was last asked: the connection was.
    is_doubtful: bool,
}

/// A request that goes to the thread which waits for its answer.
#[derive(Clone, Debug)]
struct Question {
    op: Op,
    machine: Option<String>,
    key: Option<String>,
    event: Option<String>,
    token: Option<String>,
    definition: Option<&'static str>,
    limit: Option<u64>,
    after: Option<String>,
}

impl Question {
    fn of(op: Op) -> Question {
        let (machine, key, event, token) = (None, None, None, None);
        Question { op, machine, key, event, token, definition: None, limit: None, after: None }
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            machine: self.machine.as_deref(),
            key: self.key.as_deref(),
            event: self.event.as_ref().map(|event| Event::Whole(event.as_bytes())),
            conditions: Conditions { dedup: self.token.as_deref(), ..Conditions::default() },
            definition: self.definition.map(str::as_bytes),
            list: Listing { limit: self.limit, after: self.after.as_deref(), ..Listing::default() },
            ..remote::ask(self.op)
        }
    }
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
        Mesh { target, machine, remote: None, is_doubtful: false }
    }

    /// Tells an instance something, again and again until the mesh answers.
    pub(super) async fn tell(&mut self, key: &str, told: &PodEvent) -> Result<Outcome, Failure> {
        let question = Question {
            event: Some(told.event.to_string()),
            token: Some(told.token.clone()),
            ..self.about(Op::Send, key)
        };
        let mut wait = WAITS.0;
        loop {
            let failure = match self.offer(&question).await {
                Ok(reply) => {
                    if wait > WAITS.0 {
                        say!("the mesh takes events again");
                    }
                    return Ok(if reply["restarted"] == json!(true) { Outcome::TakenAnew } else { Outcome::Taken });
                }
                Err(failure) => failure,
            };
            match verdict(&failure) {
                Verdict::End => return Err(failure),
                Verdict::Never => {
                    say!("warning: {}/{key} does not take {}: {failure}", self.machine, told.event["type"]);
                    return Ok(Outcome::Refused);
                }
                Verdict::Again if wait == WAITS.0 => {
                    say!("warning: the mesh takes no events: {}; trying again", failure.message);
                }
                Verdict::Again => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// Sends an event once; if its machine is not defined, twice.
    async fn offer(&mut self, question: &Question) -> Result<Value, Failure> {
        match self.call(question.clone()).await {
            Err(failure) if failure.reply == Some(ErrorCode::UnknownMachine) => {
                self.define().await?;
                self.call(question.clone()).await
            }
            answer => answer,
        }
    }

    /// Reads an instance whole; `None` if there is none.
    pub(super) async fn get(&mut self, key: &str) -> Result<Option<Value>, Failure> {
        match self.call(self.about(Op::Get, key)).await {
            Ok(reply) => Ok(Some(reply)),
            Err(failure) => match failure.reply {
                Some(ErrorCode::UnknownInstance | ErrorCode::UnknownMachine) => Ok(None),
                _ => Err(failure),
            },
        }
    }

    fn about(&self, op: Op, key: &str) -> Question {
        Question { machine: Some(self.machine.clone()), key: Some(key.to_owned()), ..Question::of(op) }
    }

    /// The instances that are not gone, with their `seq`, on all daemons that can be reached.
    pub(super) async fn present(&mut self) -> Result<Vec<(String, u64)>, Failure> {
        let mut present = Vec::new();
        let mut after = None;
        loop {
            let machine = Some(self.machine.clone());
            let reply = match self.call(Question { machine, limit: Some(PAGE), after, ..Question::of(Op::List) }).await
            {
                Ok(reply) => reply,
                Err(failure) if failure.reply == Some(ErrorCode::UnknownMachine) => return Ok(present),
                Err(failure) if failure.reply.is_some() => {
                    say!("warning: not all instances are looked at: {failure}");
                    return Ok(present);
                }
                Err(failure) => return Err(failure),
            };
            let there = reply["instances"].as_array().into_iter().flatten().filter(|one| one["value"] != "gone");
            let named = |one: &Value| Some((one["key"].as_str()?.to_owned(), one["seq"].as_u64().unwrap_or(0)));
            present.extend(there.filter_map(named));
            let Some(next) = reply["next"].as_str() else { return Ok(present) };
            after = Some(next.to_owned());
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
        let defined = self.call(Question { definition: Some(DEFINITION), ..Question::of(Op::Define) }).await;
        say!("{}", if defined.is_ok() { "defined the machine pod" } else { "could not define the machine pod" });
        defined.map(drop)
    }

    async fn call(&mut self, question: Question) -> Result<Value, Failure> {
        let (answer, remote) = ask(self.remote.take(), self.target.clone(), question).await;
        if is_broken(&answer) {
            self.is_doubtful = true;
        } else {
            self.remote = remote;
        }
        answer
    }
}

/// Asks on a thread of its own, by a new connection if there is none: the watch goes on meanwhile.
async fn ask(remote: Option<Remote>, target: Target, question: Question) -> (Result<Value, Failure>, Option<Remote>) {
    let asked = tokio::task::spawn_blocking(move || {
        let mut remote = match remote.map_or_else(|| Remote::connect(target), Ok) {
            Ok(remote) => remote,
            Err(failure) => return (Err(failure), None),
        };
        (remote.ask(&question.ask()), Some(remote))
    });
    let ended = asked.await;
    ended.unwrap_or_else(|error| (Err(Failure::new(Exit::Unreachable, "unreachable", error.to_string())), None))
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

/// Each event has a token, so whatever may be repeated with one may be repeated.
fn verdict(failure: &Failure) -> Verdict {
    match failure.reply {
        Some(ErrorCode::Forbidden | ErrorCode::UnknownMachine | ErrorCode::InvalidDefinition) => Verdict::End,
        Some(code) if code.advice() == Advice::Fix => Verdict::Never,
        Some(_) => Verdict::Again,
        None if failure.exit == Exit::Unreachable => Verdict::Again,
        None => Verdict::Never,
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
        let after = |code| {
            let mut failure = Failure::new(Exit::Refused, "", "");
            failure.reply = code;
            verdict(&failure)
        };
        for code in ErrorCode::ALL {
            let again = after(Some(*code)) == Verdict::Again;
            assert_eq!(again, code.advice() != Advice::Fix, "{code:?}");
        }
        assert_eq!(after(Some(ErrorCode::Forbidden)), Verdict::End);
        assert_eq!(after(None), Verdict::Never, "a code of tomorrow");
        assert_eq!(verdict(&Failure::new(Exit::Unreachable, "refused_key", "")), Verdict::Again);
    }
}
