//! One key: its requests, what was said of it, and what it has in the end. Each rule is one method, and tells what contradicts it.

use std::collections::{BTreeMap, BTreeSet};

use statemesh_load::{Place, Said};

use super::{Attempt, End, Seen, Terms, Wire, life, time};

/// Contradictions that are shown of one key.
const BRIEF: usize = 2;

/// Tokens that a key remembers, as docs/reference/protocol.md says.
const TOKENS: usize = 32;

/// One key's requests, in the order sent, and what is there in the end.
pub(super) struct Case<'a> {
    pub(super) key: &'a str,
    pub(super) attempts: &'a [Attempt],
    pub(super) said: &'a [Seen],
    pub(super) log: Option<Vec<u64>>,
    pub(super) terms: Terms,
}

/// For how long a request whose client has gone may still wait at daemons.
const WAITS: u64 = 20_000_000_000;

/// Ops whose replies show what is to be said of a key, and leave it for another.
const READS: &[&str] = &["get", "history", "where", "ping", "explain", "other", "wait"];

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
    /// What contradicts.
    pub(super) fn judge(&self) -> Vec<String> {
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

    /// Whether a reply said between these times that this transition is gone.
    fn said_lost(&self, place: Place, from: u64, to: u64) -> bool {
        self.attempts.iter().any(|a| {
            let End::Done { at, said } = &a.end else { return false };
            said.loses(place) && *at > from && a.at <= to
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

    /// Whether the instance may have been removed after this time.
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
            let End::Done { at: gone, said: Said { place: Place { run: Some(life), .. }, .. } } = &removal.end else {
                continue;
            };
            for attempt in self.attempts.iter().filter(|a| !a.dedup) {
                let End::Done { at, said: Said { place: Place { run: Some(run), .. }, .. } } = &attempt.end else {
                    continue;
                };
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
            let (Some(n), End::Done { at, said: Said { place, .. } }) = (attempt.event, &attempt.end) else { continue };
            if there.contains(&n) || self.may_be_removed_after(attempt.at) {
                continue;
            }
            let said = self.said_lost(*place, attempt.at, u64::MAX);
            if self.terms.lossless {
                found.push(format!("{}: event {n}, acknowledged at {}, is gone", self.key, time(*at)));
            } else if !said && !self.may_have_been_said(*at, u64::MAX) && !self.terms.forgive_rollback {
                let (at, seq, run) = (time(*at), place.seq, life(place.run));
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
        // What was answered, by when: the place, and when it was asked for.
        let mut answers: Vec<(u64, Place, u64)> = Vec::new();
        for attempt in self.attempts.iter().filter(|a| a.event.is_some() && !a.dedup) {
            if let End::Done { at, said: Said { place, changed: true, .. } } = &attempt.end {
                answers.push((*at, *place, attempt.at));
            }
        }
        answers.sort_unstable_by_key(|(at, ..)| *at);
        for attempt in self.attempts.iter().filter(|a| a.event.is_some() && !a.dedup) {
            let End::Done { at, said: Said { place, changed: true, restarted: false, gone: None } } = &attempt.end
            else {
                continue;
            };
            let earlier = answers.iter().take_while(|(answered, ..)| *answered < attempt.at);
            let rolled =
                earlier.filter(|(_, before, _)| before.seq >= place.seq && place.is_in_life_of(*before)).last();
            if let Some((answered, before, sent)) = rolled
                // Two sides of a cut may both go on with it: that is said when they meet.
                && !self.said_lost(*before, *sent, u64::MAX)
                && !self.may_have_been_said(*answered, *at)
            {
                let (answered, at) = (time(*answered), time(*at));
                found.push(format!(
                    "{}: seq {} was answered at {answered}, then {} at {at} without a word",
                    self.key, before.seq, place.seq
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
            if let End::Done { at, said: Said { gone: Some(_), .. } } = &attempt.end {
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
    fn answered_in(&self, from: Place) -> Vec<(u64, u64)> {
        let in_it = self.attempts.iter().filter(|a| !a.dedup).filter_map(|a| match &a.end {
            End::Done { at, said: Said { place, changed: true, .. } }
                if place.is_in_life_of(from) && place.seq >= from.seq =>
            {
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
            let End::Done { at, said: Said { place, gone: Some(gone), .. } } = &attempt.end else { continue };
            if place.run.is_none() || !gone.with_owner {
                continue;
            }
            let answered = self.answered_in(gone.from);
            let earlier = answered.iter().find(|(_, when)| *when < attempt.at);
            if place.is_in_life_of(gone.from)
                && gone.from.seq == 1
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
            let (Some(n), End::Done { at, said: Said { restarted: true, .. } }) = (attempt.event, &attempt.end) else {
                continue;
            };
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
