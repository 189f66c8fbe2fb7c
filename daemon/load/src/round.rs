//! What a run gave.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::work::Refusal;

/// Codes that are counted by name; what else daemons make up counts as `other`.
const MAX_CODES: usize = 32;

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Round {
    /// Nanoseconds.
    pub latency: Histogram<u64>,
    /// Good answers that were recorded.
    pub events: u64,
    /// All good answers, those of the warm-up too.
    pub answered: u64,
    /// Requests that have no good answer, and answers to nothing.
    pub errors: Errors,
    /// Requests that were sent again, once for each time.
    pub retried: u64,
    /// Connections that were opened again.
    pub reconnects: u64,
    /// Why the first of them was.
    pub broken: Option<String>,
    /// The longest time in which an answer was owed and no good one came, of what was recorded.
    pub pause: Duration,
    /// For how long answers were recorded.
    pub elapsed: Duration,
}

impl Default for Round {
    fn default() -> Self {
        Self {
            latency: histogram(),
            events: 0,
            answered: 0,
            errors: Errors::default(),
            retried: 0,
            reconnects: 0,
            broken: None,
            pause: Duration::ZERO,
            elapsed: Duration::ZERO,
        }
    }
}

impl Round {
    /// Records one latency; what exceeds the histogram's range counts as its end.
    pub fn record(&mut self, nanos: u64) {
        self.latency.saturating_record(nanos);
        self.events += 1;
    }

    /// Adds what another connection gave in the same time.
    pub fn merge(&mut self, other: Round) {
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
        self.events += other.events;
        self.answered += other.answered;
        self.errors.merge(other.errors);
        self.retried += other.retried;
        self.reconnects += other.reconnects;
        self.broken = self.broken.take().or(other.broken);
        self.pause = self.pause.max(other.pause);
        self.elapsed = self.elapsed.max(other.elapsed);
    }
}

/// Three significant digits from 100 ns to 100 s.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the crate accepts")]
    Histogram::new_with_bounds(100, 100_000_000_000, 3).expect("constant bounds")
}

/// Errors by code, each with the first message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    by_code: BTreeMap<String, (u64, String)>,
}

impl Errors {
    /// Counts some.
    pub fn add(&mut self, count: u64, why: &Refusal) {
        if count == 0 {
            return;
        }
        let known = self.by_code.len() < MAX_CODES || self.by_code.contains_key(&why.code);
        let code = if known { why.code.as_str() } else { "other" };
        self.by_code.entry(code.to_owned()).or_insert_with(|| (0, why.message.clone())).0 += count;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_code.values().map(|(count, _)| count).sum()
    }

    /// Code, count and first message of each kind.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        self.by_code.iter().map(|(code, (count, message))| (code.as_str(), *count, message.as_str()))
    }

    /// Adds others.
    pub fn merge(&mut self, other: Errors) {
        for (code, (count, message)) in other.by_code {
            self.add(count, &Refusal { code, message });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_a_daemon_makes_up_do_not_fill_memory() {
        let mut errors = Errors::default();
        for n in 0..1_000 {
            errors.add(1, &Refusal { code: format!("code_{n}"), message: "first".into() });
        }
        assert_eq!((errors.total(), errors.iter().count()), (1_000, MAX_CODES + 1));
    }
}
