//! The history checker: what clients sent, what they were answered, what watchers saw and what is there in the end, and whether
//! these can be true together.
//!
//! The machine [`crate::machines::LOG`] writes down the number of every event. So in the end each key tells which events it
//! has, in which order; replies say which were acknowledged; and what is missing must have been said to be lost.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

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
        /// The life of the key, where replies say so.
        run: Option<String>,
        /// Its transitions.
        seq: u64,
        /// The reply says that the key's former instance was lost.
        restarted: bool,
        /// What the reply says is gone beside the state of the key that it shows.
        conflict: Option<Gone>,
        /// The event moved something.
        changed: bool,
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

/// Transitions of a key that a reply says are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Their life.
    pub run: String,
    /// The first of them.
    pub from: u64,
    /// They went with an owner, of whom it is not known that it did any.
    pub with_owner: bool,
}

/// What a watcher saw of a key.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: u64,
    /// `event`, `lost`, `restart`, `conflict`, ...
    pub reason: String,
    /// The life of the key.
    pub run: Option<String>,
    /// Its transitions.
    pub seq: Option<u64>,
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
    order: BTreeMap<(Wire, String), (Option<String>, u64)>,
    /// In the end: the log of each key, or that there is none.
    finals: BTreeMap<String, Option<Vec<u64>>>,
    /// What contradicts.
    violations: Vec<String>,
    /// Answers by code; `ok` for good ones.
    pub codes: BTreeMap<String, u64>,
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
        attempt.end = end_of(reply, at);
        tracing::trace!(key = attempt.key, event = attempt.event, daemon = attempt.daemon, %reply, "answered");
        self.slowest = self.slowest.max(at.saturating_sub(attempt.at));
        match &attempt.end {
            End::Done { restarted, .. } => {
                self.acknowledged += 1;
                self.restarted += u64::from(*restarted);
                *self.codes.entry("ok".to_owned()).or_default() += 1;
            }
            End::Refused { code, .. } => *self.codes.entry(code.clone()).or_default() += 1,
            _ => {}
        }
        let (end, is_event) = (attempt.end.clone(), attempt.event.is_some());
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
        if let Some(seq) = seen.seq {
            let now = (seen.run.clone(), seq);
            let before = self.order.insert((wire, key.to_owned()), now);
            // The first change of a life has seq 0.
            missed.0 += match &before {
                Some((run, last)) if *run == seen.run => seq.saturating_sub(last + 1),
                _ => seq,
            };
            if let Some((run, last)) = before
                && goes_back((run.as_deref(), last), &seen, seq)
            {
                let (now, why) = (&seen.run, &seen.reason);
                let what = format!("watcher {wire}: {key} went from seq {last} of {run:?} to {seq} of {now:?} ({why})");
                if run == seen.run {
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
        }
        self.violations
    }

    /// What contradicts so far.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

/// Whether a change is of an earlier place in the order of (run, seq) than the one that was seen before, and does not say why.
fn goes_back(before: (Option<&str>, u64), seen: &Seen, seq: u64) -> bool {
    let (run, last) = before;
    // A copy that came back, or a life that is gone, is told of when it is found out.
    if ["lost", "conflict"].contains(&seen.reason.as_str()) {
        return false;
    }
    // Lives are written as 16 hexadecimal digits.
    match seen.run.as_deref().cmp(&run) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal if ["start", "restart"].contains(&seen.reason.as_str()) => false,
        // One that had ended goes without a transition.
        std::cmp::Ordering::Equal if seen.reason == "delete" => seq < last,
        std::cmp::Ordering::Equal => seq <= last,
    }
}

fn end_of(reply: &Value, at: u64) -> End {
    if reply["ok"] == true {
        // What `explain` shows of a key without an instance has no life.
        let run = reply["run"].as_str().filter(|_| reply["new"] != true).map(str::to_owned);
        let seq = reply["seq"].as_u64().unwrap_or(0);
        let [restarted, changed] = ["restarted", "changed"].map(|name| reply[name] == true);
        let gone = &reply["conflict"];
        let conflict = gone.is_object().then(|| Gone {
            run: gone["run"].as_str().unwrap_or_default().to_owned(),
            from: gone["lost_from"].as_u64().unwrap_or_default(),
            with_owner: gone["reason"] == "owner_lost",
        });
        return End::Done { at, run, seq, restarted, conflict, changed };
    }
    End::Refused { at, code: reply["error"]["code"].as_str().unwrap_or("none").to_owned() }
}

/// Contradictions that are shown of one key.
const BRIEF: usize = 2;

/// Tokens that a key remembers, as docs/reference/protocol.md says.
const TOKENS: usize = 32;

/// One key's requests, in the order sent, and what is there in the end.
struct Case<'a> {
    key: &'a str,
    attempts: &'a [Attempt],
    said: &'a [Seen],
    log: Option<Vec<u64>>,
    terms: Terms,
}

/// For how long a request whose client has gone may still wait at daemons.
const WAITS: u64 = 20_000_000_000;

/// Ops whose replies show what is to be said of a key, and leave it for another.
const READS: &[&str] = &["get", "history", "where", "ping", "explain", "other"];

/// Codes that say that nothing was applied.
const NOTHING_APPLIED: &[&str] = &[
    "moving",
    "moved",
    "limit_exceeded",
    "owner_unreachable",
    "not_ready",
    "leaving",
    "condition_failed",
    "unknown_machine",
    "event_failed",
    "dedup_mismatch",
    "output_too_large",
];

impl Case<'_> {
    fn judge(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.log_fits(&mut found);
        self.order_is_kept(&mut found);
        self.what_is_missing_was_said(&mut found);
        self.nothing_is_rolled_back(&mut found);
        self.nothing_is_said_lost_that_is_there(&mut found);
        self.what_is_there_is_not_named(&mut found);
        self.what_was_removed_is_gone(&mut found);
        self.nothing_is_said_where_nothing_is_lost(&mut found);
        self.in_brief(found)
    }

    /// The first contradictions of a key, and how many more there are.
    fn in_brief(&self, mut found: Vec<String>) -> Vec<String> {
        let more = found.len().saturating_sub(BRIEF);
        found.truncate(BRIEF);
        if more > 0 {
            found.push(format!("{}: {more} more", self.key));
        }
        found
    }

    /// Every number in the log was sent to this key, once is enough, and a refused event is not there.
    fn log_fits(&self, found: &mut Vec<String>) {
        // Where each event was seen last, and how many with a token were seen by then.
        let mut before = BTreeMap::new();
        let mut tokens = 0;
        for n in self.log.iter().flatten() {
            let has_token = self.attempts.iter().any(|a| a.event == Some(*n) && a.dedup);
            // Who sends it again knows that it may be late; a daemon that does so by itself must not.
            let sent_again = || self.attempts.iter().filter(|a| a.event == Some(*n)).count() > 1;
            let forgets = |seen: usize| has_token && tokens - seen > TOKENS && sent_again();
            if before.insert(*n, tokens).is_some_and(|seen| !forgets(seen)) {
                found.push(format!("{}: event {n} was applied twice", self.key));
            }
            tokens += usize::from(has_token);
            let tries: Vec<&Attempt> = self.attempts.iter().filter(|a| a.event == Some(*n)).collect();
            let refused =
                |a: &&Attempt| matches!(&a.end, End::Refused { code, .. } if NOTHING_APPLIED.contains(&code.as_str()));
            if tries.is_empty() {
                found.push(format!("{}: event {n} was never sent to it", self.key));
            } else if tries.iter().all(refused) {
                let ends: Vec<&End> = tries.iter().map(|a| &a.end).collect();
                found.push(format!("{}: event {n} was refused and is there: {ends:?}", self.key));
            }
        }
    }

    /// Events of one connection that were sent once are in the log in the order in which they were sent.
    fn order_is_kept(&self, found: &mut Vec<String>) {
        let place: BTreeMap<u64, usize> = self.log.iter().flatten().enumerate().map(|(at, n)| (*n, at)).collect();
        let mut last: BTreeMap<Wire, (usize, u64)> = BTreeMap::new();
        let repeated: BTreeSet<u64> = self.attempts.iter().filter(|a| a.again).filter_map(|a| a.event).collect();
        for attempt in self.attempts.iter().filter(|a| a.event.is_some_and(|n| !repeated.contains(&n))) {
            let Some((n, at)) = attempt.event.and_then(|n| Some((n, *place.get(&n)?))) else { continue };
            if let Some((before, earlier)) = last.insert(attempt.wire, (at, n))
                && before > at
            {
                found.push(format!(
                    "{}: connection {} sent {earlier} before {n}, applied behind it",
                    self.key, attempt.wire
                ));
            }
        }
    }

    /// Whether a reply said between these times that this transition of a life is gone: it names the life and that transition or an earlier
    /// one, or says that another instance was before its own, of a higher run, which names none.
    fn said_lost(&self, life: Option<&str>, seq: u64, from: u64, to: u64) -> bool {
        self.attempts.iter().any(|a| {
            let End::Done { at, run, restarted, conflict, .. } = &a.end else { return false };
            // What a life is that began since has a higher run.
            let another = *restarted && (life.is_none() || run.as_deref() > life);
            let named =
                conflict.as_ref().is_some_and(|gone| life.is_none_or(|life| life == gone.run) && gone.from <= seq);
            (another || named) && *at > from && a.at <= to
        })
    }

    /// Whether a reply that might have said it got lost on its way.
    fn may_have_been_said(&self, from: u64, to: u64) -> bool {
        let may_have_said = |a: &Attempt| match &a.end {
            // However late its daemon came to it.
            End::Unknown | End::Open => a.at + WAITS >= from,
            // Between two daemons its reply may have been lost, with what that said.
            End::Refused { at, code } => *at >= from && ["outcome_unknown", "timeout"].contains(&code.as_str()),
            End::Done { .. } => false,
        };
        let says = |a: &&Attempt| !a.told && !READS.contains(&a.op);
        self.attempts.iter().filter(says).any(|a| may_have_said(a) && a.at <= to)
    }

    /// Whether somebody may have removed the instance after this time.
    fn may_be_removed_after(&self, from: u64) -> bool {
        self.attempts.iter().filter(|a| a.op == "delete").any(|a| match &a.end {
            End::Done { at, .. } => *at > from,
            End::Refused { code, .. } => code != "unknown_instance" && !NOTHING_APPLIED.contains(&code.as_str()),
            End::Unknown | End::Open => true,
        })
    }

    /// What was acknowledged before an instance was removed is not there afterwards, and its key's next life has a higher run. Two
    /// sides of a cut, or a copy that comes back, may disagree about that.
    fn what_was_removed_is_gone(&self, found: &mut Vec<String>) {
        if !self.terms.lossless {
            return;
        }
        let there: BTreeSet<u64> = self.log.iter().flatten().copied().collect();
        for removal in self.attempts.iter().filter(|a| a.op == "delete") {
            let End::Done { at: gone, run: Some(life), .. } = &removal.end else { continue };
            for attempt in self.attempts.iter().filter(|a| !a.dedup) {
                let End::Done { at, run: Some(run), .. } = &attempt.end else { continue };
                if *at < removal.at && attempt.event.is_some_and(|n| there.contains(&n)) {
                    found.push(format!(
                        "{}: {:?} is there, and was removed by {}",
                        self.key,
                        attempt.event,
                        time(*gone)
                    ));
                }
                if attempt.at > *gone && run <= life {
                    found.push(format!(
                        "{}: life {life} was removed by {}, then there is {run}",
                        self.key,
                        time(*gone)
                    ));
                }
            }
        }
    }

    /// Acknowledged events that are not there were said to be lost.
    fn what_is_missing_was_said(&self, found: &mut Vec<String>) {
        let there: BTreeSet<u64> = self.log.iter().flatten().copied().collect();
        for attempt in self.attempts {
            let (Some(n), End::Done { at, run, seq, .. }) = (attempt.event, &attempt.end) else { continue };
            if there.contains(&n) || self.may_be_removed_after(attempt.at) {
                continue;
            }
            let life = run.as_deref();
            let said = self.said_lost(life, *seq, attempt.at, u64::MAX);
            if self.terms.lossless {
                found.push(format!("{}: event {n}, acknowledged at {}, is gone", self.key, time(*at)));
            } else if !said && !self.may_have_been_said(*at, u64::MAX) && !self.terms.forgive_rollback {
                let (at, run) = (time(*at), run.as_deref().unwrap_or_default());
                found.push(format!(
                    "{}: event {n}, acknowledged at {at} as {seq} of {run}, is gone without a word",
                    self.key
                ));
            }
        }
    }

    /// Who was answered sees what that answer said, or hears that it is gone.
    fn nothing_is_rolled_back(&self, found: &mut Vec<String>) {
        if self.terms.forgive_rollback {
            return;
        }
        // The highest seq that was answered before a time, as a staircase.
        let mut answers: Vec<(u64, u64, u64, Option<&str>)> = Vec::new();
        for attempt in self.attempts.iter().filter(|a| a.event.is_some() && !a.dedup) {
            if let End::Done { at, seq, run, changed: true, .. } = &attempt.end {
                answers.push((*at, *seq, attempt.at, run.as_deref()));
            }
        }
        answers.sort_unstable_by_key(|(at, ..)| *at);
        for attempt in self.attempts.iter().filter(|a| a.event.is_some() && !a.dedup) {
            let End::Done { at, seq, run, restarted: false, conflict: None, changed: true } = &attempt.end else {
                continue;
            };
            let earlier = answers.iter().take_while(|(answered, ..)| *answered < attempt.at);
            let rolled = earlier.filter(|(_, before, _, of)| before >= seq && *of == run.as_deref()).last();
            if let Some((answered, before, sent, _)) = rolled
                // Two sides of a cut may both go on with it: that is said when they meet.
                && !self.said_lost(run.as_deref(), *before, *sent, u64::MAX)
                && !self.may_have_been_said(*answered, *at)
            {
                let (answered, at) = (time(*answered), time(*at));
                found.push(format!(
                    "{}: seq {before} was answered at {answered}, then {seq} at {at} without a word",
                    self.key
                ));
            }
        }
    }

    /// Where nothing can be lost no reply and no change says that anything is.
    fn nothing_is_said_where_nothing_is_lost(&self, found: &mut Vec<String>) {
        if !self.terms.lossless {
            return;
        }
        for attempt in self.attempts {
            if let End::Done { at, conflict: Some(_), .. } = &attempt.end {
                found.push(format!("{}: the reply at {} says that transitions are gone", self.key, time(*at)));
            }
        }
        for seen in self.said.iter().filter(|seen| ["lost", "conflict"].contains(&seen.reason.as_str())) {
            found.push(format!(
                "{}: a change at {} says {:?}, and nothing can be lost",
                self.key,
                time(seen.at),
                seen.reason
            ));
        }
    }

    /// Events that were answered in a life from a transition on, and when.
    fn answered_in(&self, life: &str, from: u64) -> Vec<(u64, u64)> {
        let in_it = self.attempts.iter().filter(|a| !a.dedup).filter_map(|a| match &a.end {
            End::Done { at, run: Some(run), seq, changed: true, .. } if run == life && *seq >= from => {
                Some((a.event?, *at))
            }
            _ => None,
        });
        in_it.collect()
    }

    /// A reply does not name its own life as gone with an owner, as a whole, if all that was answered in it is there. Of a later
    /// transition it may: it is not known whether that owner answered anything from there on.
    fn what_is_there_is_not_named(&self, found: &mut Vec<String>) {
        let there: BTreeSet<u64> = self.log.iter().flatten().copied().collect();
        for attempt in self.attempts {
            let End::Done { at, run: Some(own), conflict: Some(Gone { run: life, from, with_owner: true }), .. } =
                &attempt.end
            else {
                continue;
            };
            let answered = self.answered_in(life, *from);
            let earlier = answered.iter().find(|(_, when)| *when < attempt.at);
            if own == life
                && *from == 1
                && answered.iter().all(|(event, _)| there.contains(event))
                && let Some((event, _)) = earlier
            {
                let at = time(*at);
                found.push(format!(
                    "{}: the reply at {at} says that its whole life is gone, and {event} is there",
                    self.key
                ));
            }
        }
    }

    /// Whether an event was told: it has no reply.
    fn is_told(&self, event: u64) -> bool {
        self.attempts.iter().any(|a| a.event == Some(event) && a.told)
    }

    /// A reply that says "restarted" is about an instance that has nothing from before.
    fn nothing_is_said_lost_that_is_there(&self, found: &mut Vec<String>) {
        let Some(log) = &self.log else { return };
        for attempt in self.attempts {
            let (Some(n), End::Done { restarted: true, at, .. }) = (attempt.event, &attempt.end) else { continue };
            if self.terms.lossless {
                found.push(format!("{}: a reply at {} says that it was lost, and nothing can be", self.key, time(*at)));
            } else if !attempt.dedup
                && let Some(before) = log.iter().take_while(|m| **m != n).find(|m| !self.is_told(**m))
                && log.contains(&n)
            {
                let ends: Vec<&End> =
                    self.attempts.iter().filter(|a| a.event == Some(*before)).map(|a| &a.end).collect();
                found.push(format!(
                    "{}: the reply to {n} at {} says that it was lost, and what was before is there: {before}, {ends:?}",
                    self.key,
                    time(*at)
                ));
            }
        }
    }
}

/// A time for people.
#[must_use]
pub fn time(at: u64) -> String {
    format!("{}.{:06} s", at / 1_000_000_000, at / 1_000 % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sent(judge: &mut Judge, id: u64, at: u64) {
        sent_with(judge, id, at, false);
    }

    fn sent_with(judge: &mut Judge, id: u64, at: u64, dedup: bool) {
        let attempt = Attempt {
            event: Some(id),
            key: "k".into(),
            op: "send",
            wire: 1,
            daemon: 0,
            at,
            again: false,
            dedup,
            told: false,
            end: End::Open,
        };
        judge.sent(id, attempt);
    }

    fn ok(judge: &mut Judge, id: u64, seq: u64, at: u64) {
        judge.reply(1, &json!({"id": id, "ok": true, "seq": seq, "changed": true}), at);
    }

    fn verdict(judge: Judge) -> String {
        judge.verdict(Terms::default()).join("\n")
    }

    fn three() -> Judge {
        let mut judge = Judge::default();
        (1..=3).for_each(|id| sent(&mut judge, id, id));
        (1..=3).for_each(|id| ok(&mut judge, id, id, 10 + id));
        judge
    }

    #[test]
    fn books_that_balance_are_fine() {
        let mut judge = three();
        judge.ends_with("k", Some(vec![1, 2, 3]));
        assert_eq!(verdict(judge), "");
    }

    #[test]
    fn what_is_doubled_overtaken_or_missing_is_found() {
        for (log, what) in [
            (vec![1, 2, 2, 3], "twice"),
            (vec![2, 1, 3], "behind it"),
            (vec![1, 3], "without a word"),
            (vec![1, 2, 3, 9], "never sent"),
        ] {
            let mut judge = three();
            judge.ends_with("k", Some(log.clone()));
            let found = verdict(judge);
            assert!(found.contains(what), "{log:?}: {found}");
        }
        let mut none = three();
        none.ends_with("k", None);
        assert!(verdict(none).contains("is gone without a word"), "no instance at all");
    }

    #[test]
    fn a_repeat_may_count_once_its_token_is_forgotten_and_not_before() {
        for (others, fine) in [(31, false), (32, true)] {
            let mut judge = Judge::default();
            (1..=others + 1).for_each(|id| sent_with(&mut judge, id, id, true));
            (1..=others + 1).for_each(|id| ok(&mut judge, id, id, 100 + id));
            let again = judge.attempts[&1].clone();
            judge.sent(1_000, Attempt { again: true, ..again });
            judge.ends_with("k", Some((1..=others + 1).chain([1]).collect()));
            let found = verdict(judge);
            assert_eq!(found.contains("twice"), !fine, "{others}: {found}");
        }
    }

    #[test]
    fn what_its_client_sent_once_is_never_there_twice() {
        let mut judge = Judge::default();
        (1..=40).for_each(|id| sent_with(&mut judge, id, id, true));
        (1..=40).for_each(|id| ok(&mut judge, id, id, 100 + id));
        judge.ends_with("k", Some((1..=40).chain([1]).collect()));
        assert!(verdict(judge).contains("twice"));
    }

    #[test]
    fn what_was_said_to_be_lost_may_be_missing_but_nothing_else() {
        let mut judge = three();
        sent(&mut judge, 4, 20);
        judge.reply(1, &json!({"id": 4, "ok": true, "seq": 1, "changed": true, "restarted": true}), 21);
        judge.ends_with("k", Some(vec![4]));
        assert_eq!(verdict(judge), "");
        let mut judge = three();
        sent(&mut judge, 4, 20);
        judge.reply(1, &json!({"id": 4, "ok": true, "seq": 4, "changed": true, "restarted": true}), 21);
        judge.ends_with("k", Some(vec![1, 2, 3, 4]));
        assert!(verdict(judge).contains("what was before is there"));
    }

    #[test]
    fn that_a_life_is_gone_is_said_by_what_names_it_from_there_on_or_by_a_later_instance() {
        let conflict = |run: &str, from: u64| json!({"reason": "merged", "lost_from": from, "run": run});
        let judged = |more: Value| {
            let mut judge = Judge::default();
            sent(&mut judge, 1, 1);
            judge.reply(1, &json!({"id": 1, "ok": true, "seq": 5, "changed": true, "run": "7"}), 11);
            sent(&mut judge, 2, 20);
            let mut reply = json!({"id": 2, "ok": true, "seq": 1, "changed": true, "run": "8"});
            reply.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            judge.reply(1, &reply, 21);
            judge.ends_with("k", Some(vec![2]));
            verdict(judge)
        };
        for said in
            [json!({"conflict": conflict("7", 5)}), json!({"conflict": conflict("7", 1)}), json!({"restarted": true})]
        {
            assert_eq!(judged(said), "");
        }
        for other in [
            json!({"conflict": conflict("6", 1)}),
            json!({"conflict": conflict("7", 6)}),
            json!({"restarted": true, "run": "6"}),
        ] {
            assert!(judged(other).contains("event 1, acknowledged at 0.000000 s as 5 of 7, is gone without a word"));
        }
    }

    fn removed(judge: &mut Judge, id: u64, at: u64) {
        sent(judge, id, at);
        let attempt = judge.attempts.get_mut(&id).unwrap();
        (attempt.op, attempt.event) = ("delete", None);
        judge.reply(1, &json!({"id": id, "ok": true, "seq": 4, "changed": true, "run": "7"}), at + 1);
    }

    #[test]
    fn what_was_removed_may_be_missing_and_must_not_be_there() {
        let mut judge = three();
        removed(&mut judge, 9, 20);
        judge.ends_with("k", None);
        assert_eq!(verdict(judge), "");
        let lossless = |judge: Judge| judge.verdict(Terms { lossless: true, ..Terms::default() }).join("\n");
        let again = |run: &str, log: Vec<u64>| {
            let mut judge = Judge::default();
            (1..=2).for_each(|id| sent(&mut judge, id, id));
            (1..=2).for_each(|id| _ = judge.reply(1, &json!({"id": id, "ok": true, "seq": id, "run": "7"}), 10 + id));
            removed(&mut judge, 9, 20);
            sent(&mut judge, 10, 30);
            judge.reply(1, &json!({"id": 10, "ok": true, "seq": 1, "changed": true, "run": run}), 31);
            judge.ends_with("k", Some(log));
            judge
        };
        assert_eq!(lossless(again("8", vec![10])), "");
        assert!(lossless(again("8", vec![1, 2, 10])).contains("is there, and was removed"));
        assert!(lossless(again("7", vec![10])).contains("then there is 7"));
    }

    #[test]
    fn a_rollback_and_a_second_answer_are_found() {
        let mut judge = three();
        sent(&mut judge, 4, 20);
        ok(&mut judge, 4, 2, 21);
        ok(&mut judge, 4, 2, 22);
        judge.ends_with("k", Some(vec![1, 2, 3, 4]));
        let found = verdict(judge);
        assert!(found.contains("seq 3 was answered") && found.contains("a second one"), "{found}");
    }

    #[test]
    fn a_refused_event_that_is_there_is_found_and_an_unknown_one_may_be() {
        let mut judge = three();
        sent(&mut judge, 4, 20);
        judge.reply(1, &json!({"id": 4, "ok": false, "error": {"code": "moving"}}), 21);
        sent(&mut judge, 5, 22);
        assert_eq!(judge.closed(1), [5]);
        judge.ends_with("k", Some(vec![1, 2, 3, 4, 5]));
        let found = verdict(judge);
        assert!(found.contains("event 4 was refused and is there") && !found.contains("event 5"), "{found}");
    }

    #[test]
    fn changes_that_go_back_are_found() {
        let mut judge = Judge::default();
        let seen = |seq, reason: &str| Seen { at: 1, reason: reason.into(), run: None, seq: Some(seq) };
        judge.change(7, "k", seen(1, "start"), 0);
        judge.change(7, "k", seen(3, "event"), 0);
        judge.change(7, "k", seen(2, "event"), 0);
        assert_eq!(judge.violations().len(), 1);
        judge.change(7, "k", seen(1, "restart"), 0);
        assert_eq!(judge.violations().len(), 1);
    }

    #[test]
    fn an_earlier_life_after_a_later_one_is_found_where_nothing_is_lost() {
        let seen =
            |run: &str, seq, reason: &str| Seen { at: 1, reason: reason.into(), run: Some(run.into()), seq: Some(seq) };
        let judged = |reason: &str, lossless| {
            let mut judge = Judge::default();
            judge.change(7, "k", seen("b", 1, "event"), 0);
            judge.change(7, "k", seen("a", 9, reason), 0);
            judge.verdict(Terms { lossless, ..Terms::default() }).len()
        };
        assert_eq!([judged("event", true), judged("event", false), judged("conflict", false)], [1, 0, 0]);
    }

    #[test]
    fn what_is_said_to_be_lost_where_nothing_can_be_is_found() {
        let lossless = |judge: Judge| judge.verdict(Terms { lossless: true, ..Terms::default() }).join("\n");
        let mut judge = three();
        sent(&mut judge, 4, 20);
        let conflict = json!({"reason": "superseded", "lost_from": 2, "run": "7"});
        judge.reply(1, &json!({"id": 4, "ok": true, "seq": 4, "changed": true, "conflict": conflict}), 21);
        judge.ends_with("k", Some(vec![1, 2, 3, 4]));
        assert!(lossless(judge).contains("says that transitions are gone"));
        let mut judge = three();
        judge.change(7, "k", Seen { at: 20, reason: "lost".into(), run: Some("7".into()), seq: None }, 0);
        judge.ends_with("k", Some(vec![1, 2, 3]));
        assert!(lossless(judge).contains("and nothing can be lost"));
    }
}
