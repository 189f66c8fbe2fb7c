//! The history checker: what clients sent, what they were answered, what watchers saw and what is there in the end, and whether
//! these can be true together.
//!
//! The machine [`crate::machines::LOG`] writes down the number of every event. So in the end each key tells which events it
//! has, in which order; replies say which were acknowledged; and what is missing must have been said to be lost. What a reply says,
//! and of which transitions it says that they are gone, is [`statemesh_load::Said`]'s to know, as for the load generator.

mod case;

use std::collections::{BTreeMap, BTreeSet};

use case::Case;
use serde_json::Value;
use statemesh_load::{Place, Said};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::reply_reader::Fields;
use statemesh_protocol::run::RunId;

/// Names a connection of a client; never reused.
pub type Wire = u64;

/// One request, sent once.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The event's number; none if it changes nothing.
    pub event: Option<u64>,
    /// Its key.
    pub key: String,
    /// Its op.
    pub op: &'static str,
    /// The connection that it was sent on.
    pub wire: Wire,
    /// Its daemon.
    pub daemon: usize,
    /// When.
    pub at: u64,
    /// Sent before on another connection, or behind a failed try.
    pub again: bool,
    /// It carries a token.
    pub dedup: bool,
    /// It has no answer by its nature.
    pub told: bool,
    /// What came of it.
    pub end: End,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing yet.
    Open,
    /// It was answered well.
    Done {
        /// When.
        at: u64,
        /// What the reply says of the key.
        said: Said,
    },
    /// It was refused.
    Refused {
        /// When.
        at: u64,
        /// The code.
        code: String,
    },
    /// Its connection ended first.
    Unknown,
}

/// What a watcher saw of a key.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: u64,
    /// `event`, `lost`, `restart`, `conflict`, ...
    pub reason: String,
    /// Where the key was then; none if the change made no transition.
    pub place: Option<Place>,
}

/// What was expected of a seed as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Nothing may be lost: there was no fault but what is planned.
    pub lossless: bool,
    /// Events that were answered may be rolled back without a word (a fault that is on the list of known ones).
    pub forgive_rollback: bool,
}

/// The history, and what contradicts it.
#[derive(Debug, Default)]
pub struct Judge {
    attempts: BTreeMap<u64, Attempt>,
    /// Requests without an answer, by connection.
    open: BTreeMap<Wire, BTreeSet<u64>>,
    /// Changes by key.
    seen: BTreeMap<String, Vec<Seen>>,
    /// For each watcher's connection and key the last change.
    order: BTreeMap<(Wire, String), Place>,
    /// In the end: the log of each key, or that there is none.
    finals: BTreeMap<String, Option<Vec<u64>>>,
    /// What contradicts.
    violations: Vec<String>,
    /// Answers by code; `ok` for good ones.
    pub codes: BTreeMap<String, u64>,
    /// Connections between daemons that were broken: of what was under way on them it need not be known whether it was applied.
    pub links_broken: usize,
    /// The longest wait for an answer while nothing was wrong.
    pub slowest: u64,
    /// Answers that were good.
    pub acknowledged: u64,
    /// Replies that said that an instance had been lost.
    pub restarted: u64,
    /// Changes that watchers saw.
    pub changes: u64,
    /// Changes that slow watchers were told to have missed.
    pub dropped: u64,
    /// Watchers that were shown an earlier life after a later one. A watcher hears one daemon, and that the earlier one came back may
    /// have been published by another.
    earlier_lives: Vec<String>,
    /// For each watcher's connection how many changes of its keys' lives it did not see, and how many it was told to have missed.
    missed: BTreeMap<Wire, (u64, u64)>,
}

/// Violations that are kept.
const KEPT: usize = 40;

impl Judge {
    /// A request was sent under this id.
    pub fn sent(&mut self, id: u64, attempt: Attempt) {
        tracing::trace!(?attempt, "sent");
        if !attempt.told {
            self.open.entry(attempt.wire).or_default().insert(id);
        }
        self.attempts.insert(id, attempt);
    }

    /// What is wrong, whatever else comes.
    pub fn wrong(&mut self, what: String) {
        if self.violations.len() < KEPT {
            self.violations.push(what);
        }
    }

    /// Takes a reply that came on this connection. Gives the request's event and how it ended.
    pub fn reply(&mut self, wire: Wire, reply: &Value, at: u64) -> Option<(u64, End)> {
        let Some(id) = reply["id"].as_u64() else {
            // What is too large was not read, and what is no request has no id.
            let code = reply["error"]["code"].as_str().unwrap_or("none").to_owned();
            if !["message_too_large", "batch_too_large", "bad_request"].contains(&code.as_str()) {
                self.wrong(format!("a reply without an id: {reply}"));
            }
            *self.codes.entry(code).or_default() += 1;
            return None;
        };
        let known = self.open.get_mut(&wire).is_some_and(|open| open.remove(&id));
        let Some(attempt) = self.attempts.get_mut(&id).filter(|_| known) else {
            self.wrong(format!("a reply to nothing that is open on its connection, or a second one: {reply}"));
            return None;
        };
        let said = said_in(reply);
        attempt.end = end_of(reply, at, said.unwrap_or_default());
        tracing::trace!(key = attempt.key, event = attempt.event, daemon = attempt.daemon, %reply, "answered");
        self.slowest = self.slowest.max(at.saturating_sub(attempt.at));
        match &attempt.end {
            End::Done { said, .. } => {
                self.acknowledged += 1;
                self.restarted += u64::from(said.restarted);
                *self.codes.entry("ok".to_owned()).or_default() += 1;
            }
            End::Refused { code, .. } => *self.codes.entry(code.clone()).or_default() += 1,
            _ => {}
        }
        let (end, is_event) = (attempt.end.clone(), attempt.event.is_some());
        if said.is_none() {
            self.wrong(format!("a reply that a client cannot read: {reply}"));
        }
        if matches!(&end, End::Refused { code, .. } if code == ErrorCode::Internal.as_str()) {
            self.wrong(format!("a daemon says that it is at fault: {reply}"));
        }
        if is_event && matches!(&end, End::Refused { code, .. } if code == "unknown_machine") {
            // Events with a number are for a machine that the mesh has, and are not sent again.
            self.wrong(format!("a daemon serves without the mesh's machines: {reply}"));
        }
        Some((id, end))
    }

    /// A connection ended: what was open on it has no answer. Gives the ids, in the order sent.
    pub fn closed(&mut self, wire: Wire) -> Vec<u64> {
        let open = self.open.remove(&wire).unwrap_or_default();
        for id in &open {
            if let Some(attempt) = self.attempts.get_mut(id) {
                attempt.end = End::Unknown;
            }
        }
        open.into_iter().collect()
    }

    /// A request is not the first one with its event.
    pub fn again(&mut self, id: u64) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.again = true;
        }
    }

    /// A request by its id.
    #[must_use]
    pub fn attempt(&self, id: u64) -> Option<&Attempt> {
        self.attempts.get(&id)
    }

    /// Requests without an answer, on connections that are open.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.open.values().map(BTreeSet::len).sum()
    }

    /// The oldest request without an answer of one connection.
    #[must_use]
    pub fn oldest(&self, wire: Wire) -> Option<&Attempt> {
        self.attempts.get(self.open.get(&wire)?.first()?)
    }

    /// All requests.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.attempts.len()
    }

    /// Takes a change that a watcher saw.
    pub fn change(&mut self, wire: Wire, key: &str, seen: Seen, dropped: u64) {
        tracing::trace!(key, wire, ?seen, "seen");
        self.changes += 1;
        self.dropped += dropped;
        let missed = self.missed.entry(wire).or_default();
        missed.1 += dropped;
        if let Some(now) = seen.place {
            let before = self.order.insert((wire, key.to_owned()), now);
            // The first change of a life has seq 0.
            missed.0 += match before {
                Some(before) if now.is_in_life_of(before) => now.seq.saturating_sub(before.seq + 1),
                _ => now.seq,
            };
            if let Some(before) = before
                && goes_back(before, now, &seen.reason)
            {
                let (was, is, why) = (life(before.run), life(now.run), &seen.reason);
                let what = format!(
                    "watcher {wire}: {key} went from seq {} of {was} to {} of {is} ({why})",
                    before.seq, now.seq
                );
                if now.is_in_life_of(before) {
                    self.wrong(what);
                } else {
                    self.earlier_lives.push(what);
                }
            }
        } else {
            self.order.remove(&(wire, key.to_owned()));
        }
        self.seen.entry(key.to_owned()).or_default().push(seen);
    }

    /// Of each watcher's connection, if all began after it was there: the changes that it did not see, of lives of which it saw a
    /// later one, and those that it was told to have missed.
    #[must_use]
    pub fn missed(&self) -> Vec<(u64, u64)> {
        self.missed.values().copied().collect()
    }

    /// A watcher's connection ended: what another one shows begins anew.
    pub fn watcher_closed(&mut self, wire: Wire) {
        self.order.retain(|(of, _), _| *of != wire);
    }

    /// What a key has in the end: its log, or that there is none.
    pub fn ends_with(&mut self, key: &str, log: Option<Vec<u64>>) {
        self.finals.insert(key.to_owned(), log);
    }

    /// Keys that clients wrote.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<String> {
        let written = self.attempts.values().filter(|attempt| attempt.event.is_some());
        written.map(|attempt| attempt.key.clone()).collect()
    }

    /// Compares everything. Gives what contradicts.
    #[must_use]
    pub fn verdict(mut self, terms: Terms) -> Vec<String> {
        let mut by_key: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
        for attempt in self.attempts.values() {
            by_key.entry(attempt.key.clone()).or_default().push(attempt.clone());
        }
        for (key, attempts) in &by_key {
            // A key that was not read in the end is not judged by its end.
            let Some(log) = self.finals.get(key).cloned() else { continue };
            let said = self.seen.get(key).map_or(&[][..], Vec::as_slice);
            let found = Case { key, attempts, said, log, terms }.judge();
            found.into_iter().for_each(|what| self.wrong(what));
        }
        if terms.lossless {
            std::mem::take(&mut self.earlier_lives).into_iter().for_each(|what| self.wrong(what));
            let is_late =
                |a: &&Attempt| a.op != "wait" && matches!(&a.end, End::Refused { code, .. } if code == "timeout");
            if let Some(late) = self.attempts.values().find(is_late).cloned() {
                self.wrong(format!("{late:?} was never answered by who runs it, and all were there"));
            }
            let is_unknown = |a: &&Attempt| matches!(&a.end, End::Refused { code, .. } if code == "outcome_unknown");
            if let Some(unknown) = self.attempts.values().find(is_unknown).filter(|_| self.links_broken == 0).cloned() {
                self.wrong(format!("it is not known what became of {unknown:?}, and no link broke"));
            }
        }
        self.violations
    }

    /// Of how many keys replies have said that they began anew after a loss, and of how many that something of them is gone.
    #[must_use]
    pub fn keys_said(&self) -> [u64; 2] {
        let says = |of: fn(&Said) -> bool| {
            let said = self.attempts.values().filter(|a| matches!(&a.end, End::Done { said, .. } if of(said)));
            said.map(|a| &a.key).collect::<BTreeSet<_>>().len() as u64
        };
        [says(|said| said.restarted), says(|said| said.gone.is_some())]
    }

    /// What contradicts so far.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

/// Whether a change is of an earlier place than the one that was seen before, and does not say why.
fn goes_back(before: Place, now: Place, reason: &str) -> bool {
    // A copy that came back, or a life that is gone, is told of when it is found out.
    if ["lost", "conflict"].contains(&reason) {
        return false;
    }
    match now.run.cmp(&before.run) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal if ["start", "restart"].contains(&reason) => false,
        // One that had ended goes without a transition.
        std::cmp::Ordering::Equal if reason == "delete" => now.seq < before.seq,
        std::cmp::Ordering::Equal => now.seq <= before.seq,
    }
}

/// What a reply says of its key, as clients read it; none if they cannot.
fn said_in(reply: &Value) -> Option<Said> {
    let bytes = reply.to_string();
    let said = Fields::read(bytes.as_bytes()).ok().map(|fields| Said::of(&fields))?;
    let lives =
        [(&reply["run"], said.place.run), (&reply["conflict"]["run"], said.gone.and_then(|gone| gone.from.run))];
    let is_read = |(text, run): &(&Value, Option<RunId>)| text.is_null() || run.is_some() || reply["new"] == true;
    lives.iter().all(is_read).then_some(said)
}

/// How a good reply, or a refusal, ends a request.
fn end_of(reply: &Value, at: u64, said: Said) -> End {
    if reply["ok"] == true {
        return End::Done { at, said };
    }
    End::Refused { at, code: reply["error"]["code"].as_str().unwrap_or("none").to_owned() }
}

/// A life for people.
fn life(run: Option<RunId>) -> String {
    run.map_or_else(|| "no life".to_owned(), |run| run.to_string())
}

/// A time for people.
#[must_use]
pub fn time(at: u64) -> String {
    format!("{}.{:06} s", at / 1_000_000_000, at / 1_000 % 1_000_000)
}

#[cfg(test)]
mod tests;
