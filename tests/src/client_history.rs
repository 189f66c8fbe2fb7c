//! The history of one client: what it sent, what was acknowledged, and whether the two can be true together.
//!
//! The rules, for each key that only this client writes: the acknowledged events have the seqs 1, 2, 3, ... in the order in
//! which they were sent; nothing is answered twice; nothing stays unanswered; and the instance has in the end exactly as many
//! transitions, and has counted exactly as many events, as were acknowledged.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A machine that counts its events, remembers the last one's number and has nothing else that could change.
#[must_use]
pub fn counter() -> Value {
    let count = json!({"@expr": "context.count + 1"});
    let last = json!({"@expr": "event.n"});
    json!({
        "id": "counter", "context": {"count": 0, "last": -1}, "initial": "counting",
        "states": {"counting": {"on": {"ADD": {
            "actions": [{"type": "@xstate.assign", "context": {"count": count, "last": last}}]
        }}}}
    })
}

/// One event that was sent.
#[derive(Clone, Debug)]
struct Sent {
    key: usize,
    /// When it was sent, or when its answer came.
    at: Instant,
    /// Its answer.
    answer: Option<Answer>,
}

#[derive(Clone, Debug)]
enum Answer {
    Acknowledged { seq: u64, restarted: bool },
    Refused { code: String },
}

/// What one client sent, and what it was answered.
#[derive(Clone, Debug)]
pub struct ClientHistory {
    keys: Vec<String>,
    /// By id; ids begin at 0 and are the events' numbers too.
    sent: Vec<Sent>,
    unanswered: usize,
    slowest: Duration,
    violations: Vec<String>,
    /// Keys whose instance was lost with its owner, as their replies said.
    restarted: Vec<String>,
}

/// What became of all events of a client.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Answered with `ok`.
    pub acknowledged: u64,
    /// Error replies, by code.
    pub refused: BTreeMap<String, u64>,
    /// The longest wait for an answer.
    pub slowest: Duration,
}

impl ClientHistory {
    /// The history of a client that alone writes these keys.
    #[must_use]
    pub fn new(keys: Vec<String>) -> Self {
        let (sent, violations, restarted) = (Vec::new(), Vec::new(), Vec::new());
        Self { keys, sent, unanswered: 0, slowest: Duration::ZERO, violations, restarted }
    }

    /// The next event, for the keys in turn.
    pub fn next(&mut self, now: Instant) -> Value {
        let n = self.sent.len();
        let key = n % self.keys.len().max(1);
        self.sent.push(Sent { key, at: now, answer: None });
        self.unanswered += 1;
        json!({"op": "send", "id": n, "machine": "counter", "key": self.keys.get(key), "event": {"type": "ADD", "n": n}})
    }

    /// Events without an answer.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Takes a reply.
    pub fn reply(&mut self, reply: &Value, now: Instant) {
        let number = reply["id"].as_u64().and_then(|id| usize::try_from(id).ok());
        let Some(sent) = number.and_then(|number| self.sent.get_mut(number)) else {
            self.violations.push(format!("a reply to nothing that was sent: {reply}"));
            return;
        };
        if sent.answer.is_some() {
            self.violations.push(format!("a second reply to one event: {reply}"));
            return;
        }
        self.unanswered -= 1;
        self.slowest = self.slowest.max(now.saturating_duration_since(sent.at));
        let restarted = reply["restarted"] == true;
        if restarted {
            self.restarted.extend(self.keys.get(sent.key).cloned());
        }
        sent.answer = Some(match reply["seq"].as_u64() {
            Some(seq) if reply["ok"] == true => Answer::Acknowledged { seq, restarted },
            _ => Answer::Refused { code: reply["error"]["code"].as_str().unwrap_or("none").to_owned() },
        });
    }

    /// What became of all events.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { slowest: self.slowest, ..Totals::default() };
        for sent in &self.sent {
            match &sent.answer {
                Some(Answer::Acknowledged { .. }) => totals.acknowledged += 1,
                Some(Answer::Refused { code }) => *totals.refused.entry(code.clone()).or_default() += 1,
                None => *totals.refused.entry("no answer".to_owned()).or_default() += 1,
            }
        }
        totals
    }

    /// What contradicts "no error, nothing lost, nothing twice, all in order", as texts.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let mut found = self.violations.clone();
        for key in &self.restarted {
            found.push(format!("{key}: its instance was lost, says a reply"));
        }
        let mut next_seq = vec![1u64; self.keys.len()];
        for (n, sent) in self.sent.iter().enumerate() {
            let (Some(name), Some(expected)) = (self.keys.get(sent.key), next_seq.get_mut(sent.key)) else {
                continue;
            };
            match &sent.answer {
                None => found.push(format!("{name}: event {n} has no answer")),
                Some(Answer::Refused { code }) => found.push(format!("{name}: event {n} was refused with {code}")),
                Some(Answer::Acknowledged { seq, .. }) if seq != expected => {
                    found.push(format!("{name}: event {n} has seq {seq}, which should be {expected}"));
                    *expected = seq + 1;
                }
                Some(Answer::Acknowledged { .. }) => *expected += 1,
            }
        }
        found
    }

    /// Keys whose instance was lost with its owner, as their replies said.
    #[must_use]
    pub fn restarted(&self) -> &[String] {
        &self.restarted
    }

    /// What contradicts "of what was acknowledged nothing is lost without a word, nothing twice, all in order", where owners may have died:
    /// then an instance may have begun anew, and an event may have been applied or not, if the replies say so. Gives for each key
    /// its name, the seq of its last acknowledged event, and how many further ones of unknown outcome its instance may have.
    #[must_use]
    pub fn judge_with_losses(&self) -> (Vec<String>, Vec<(String, u64, u64)>) {
        let mut found = self.violations.clone();
        let mut ends: Vec<(String, u64, u64)> = self.keys.iter().map(|key| (key.clone(), 0, 0)).collect();
        for (n, sent) in self.sent.iter().enumerate() {
            let Some((name, last, unknown)) = ends.get_mut(sent.key) else { continue };
            match &sent.answer {
                None => found.push(format!("{name}: event {n} has no answer")),
                Some(Answer::Refused { code }) if code == "outcome_unknown" => *unknown += 1,
                // Nothing was applied.
                Some(Answer::Refused { code }) if code == "moving" => {}
                Some(Answer::Refused { code }) => found.push(format!("{name}: event {n} was refused with {code}")),
                Some(Answer::Acknowledged { seq, restarted }) => {
                    let first = if *restarted { 1 } else { *last + 1 };
                    if !(first..=first + *unknown).contains(seq) {
                        let most = first + *unknown;
                        found.push(format!("{name}: event {n} has seq {seq}, which should be {first} to {most}"));
                    }
                    (*last, *unknown) = (*seq, 0);
                }
            }
        }
        (found, ends)
    }

    /// What each key must look like in the end: its name, its acknowledged events, and the number of the last of them.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, u64, Option<usize>)> {
        let mut keys: Vec<_> = self.keys.iter().map(|key| (key.clone(), 0, None)).collect();
        for (n, sent) in self.sent.iter().enumerate() {
            if let (Some((_, count, last)), Some(Answer::Acknowledged { .. })) = (keys.get_mut(sent.key), &sent.answer)
            {
                *count += 1;
                *last = Some(n);
            }
        }
        keys
    }
}

/// Compares an instance, as `get` and `history` show it, with what the history expect.
#[must_use]
pub fn contradiction(key: &str, events: u64, last: Option<usize>, instance: &Value, history: &Value) -> Option<String> {
    if events == 0 {
        return None;
    }
    let count = instance["context"]["count"].as_u64();
    if instance["seq"].as_u64() != Some(events) || count != Some(events) {
        return Some(format!("{key}: {events} events were acknowledged, but it is {instance}"));
    }
    if instance["context"]["last"].as_u64() != last.map(|n| n as u64) {
        return Some(format!("{key}: the last acknowledged event is {last:?}, but it is {instance}"));
    }
    let entries = history["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    let seqs: Vec<u64> = entries.iter().filter_map(|entry| entry["seq"].as_u64()).collect();
    let contiguous = seqs.windows(2).all(|pair| matches!(pair, [a, b] if a + 1 == *b));
    let ends_right = seqs.last() == Some(&events);
    (!contiguous || !ends_right).then(|| format!("{key}: its history does not fit its {events} events: {history}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> (ClientHistory, Instant) {
        (ClientHistory::new(vec!["a".into(), "b".into()]), Instant::now())
    }

    fn ok(id: u64, seq: u64) -> Value {
        json!({"id": id, "ok": true, "seq": seq})
    }

    #[test]
    fn books_that_balance_have_no_violation() {
        let (mut history, now) = history();
        (0..4).for_each(|_| drop(history.next(now)));
        // Answers may come in another order than the events of different keys were sent in.
        for (id, seq) in [(1, 1), (0, 1), (2, 2), (3, 2)] {
            history.reply(&ok(id, seq), now);
        }
        assert_eq!(history.violations(), Vec::<String>::new());
        assert_eq!(history.expected(), [("a".to_owned(), 2, Some(2)), ("b".to_owned(), 2, Some(3))]);
    }

    #[test]
    fn each_kind_of_wrong_is_found() {
        let (mut history, now) = history();
        (0..5).for_each(|_| drop(history.next(now)));
        history.reply(&ok(0, 1), now);
        history.reply(&ok(0, 1), now);
        history.reply(&ok(1, 2), now);
        history.reply(&json!({"id": 2, "ok": false, "error": {"code": "moving", "message": "x"}}), now);
        history.reply(&json!({"id": 3, "ok": true, "seq": 3, "restarted": true}), now);
        history.reply(&ok(77, 1), now);
        let found = history.violations().join("\n");
        let kinds = [
            "second reply",
            "nothing that was sent",
            "event 1 has seq 2",
            "refused with moving",
            "was lost",
            "event 4 has no answer",
        ];
        for kind in kinds {
            assert!(found.contains(kind), "{kind} is not in {found}");
        }
        assert_eq!(history.totals().refused.len(), 2);
    }

    #[test]
    fn where_an_owner_died_only_what_was_said_may_be_gone_and_nothing_may_be_twice() {
        let judge = |replies: &[Value]| {
            let mut history = ClientHistory::new(vec!["a".into()]);
            let now = Instant::now();
            replies.iter().for_each(|_| drop(history.next(now)));
            replies.iter().for_each(|reply| history.reply(reply, now));
            let (found, ends) = history.judge_with_losses();
            (found.len(), ends[0].1, ends[0].2)
        };
        let refused = |id: u64, code: &str| json!({"id": id, "ok": false, "error": {"code": code}});
        let anew = |id: u64, seq: u64| json!({"id": id, "ok": true, "seq": seq, "restarted": true});
        let unknown = "outcome_unknown";
        assert_eq!(judge(&[ok(0, 1), refused(1, unknown), ok(2, 3), refused(3, unknown)]), (0, 3, 1));
        assert_eq!(judge(&[ok(0, 1), refused(1, unknown), ok(2, 2)]), (0, 2, 0));
        assert_eq!(judge(&[ok(0, 1), ok(1, 2), refused(2, "moving"), anew(3, 1), ok(4, 2)]), (0, 2, 0));
        // Without a word, twice, applied though it was refused, and refused for no good reason.
        assert_eq!(judge(&[ok(0, 1), ok(1, 2), ok(2, 1)]).0, 1);
        assert_eq!(judge(&[ok(0, 1), ok(1, 3)]).0, 1);
        assert_eq!(judge(&[ok(0, 1), refused(1, "moving"), ok(2, 3)]).0, 1);
        assert_eq!(judge(&[ok(0, 1), refused(1, "event_failed"), ok(2, 2)]).0, 1);
    }

    #[test]
    fn an_instance_that_counted_otherwise_is_found() {
        let history = json!({"history": [{"seq": 1}, {"seq": 2}]});
        let fine = json!({"seq": 2, "context": {"count": 2, "last": 7}});
        assert_eq!(contradiction("k", 2, Some(7), &fine, &history), None);
        let twice = json!({"seq": 3, "context": {"count": 3, "last": 7}});
        assert!(contradiction("k", 2, Some(7), &twice, &history).is_some());
        let gap = json!({"history": [{"seq": 0}, {"seq": 2}]});
        assert!(contradiction("k", 2, Some(7), &fine, &gap).is_some());
        assert!(contradiction("k", 2, Some(6), &fine, &history).is_some());
    }
}
