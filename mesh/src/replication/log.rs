//! The end of a log, in memory: what followers may still need. What is older is in images of instances, not in here.

use super::config::Configuration;
use super::message::{Body, Entry, Position};
use std::collections::VecDeque;
use std::sync::Arc;

/// Entries behind a base, with the configurations that they bring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Log {
    /// What all before the first entry came to.
    base: Position,
    entries: VecDeque<Entry>,
    /// Bytes of all entries.
    weight: usize,
    /// The configuration at the base or before it, then those of entries, by index. Never empty.
    configurations: Vec<(u64, Arc<Configuration>)>,
}

impl Log {
    /// A log of nothing behind its base.
    pub(super) fn new(base: Position, configuration: Arc<Configuration>) -> Self {
        Self { base, entries: VecDeque::new(), weight: 0, configurations: vec![(base.index, configuration)] }
    }

    /// What all before the first entry came to.
    pub(super) fn base(&self) -> Position {
        self.base
    }

    /// Where it ends.
    pub(super) fn last(&self) -> Position {
        self.entries.back().map_or(self.base, Entry::position)
    }

    /// Bytes of all entries.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// The configuration in force: the last one.
    pub(super) fn configuration(&self) -> &Arc<Configuration> {
        // There is always one, so the index is in range.
        &self.configurations[self.configurations.len() - 1].1
    }

    /// The index of the configuration in force.
    pub(super) fn configured_at(&self) -> u64 {
        self.configurations[self.configurations.len() - 1].0
    }

    /// The configuration that was in force before the last one, if it is still known.
    pub(super) fn configuration_before(&self) -> Option<&Arc<Configuration>> {
        self.configurations.iter().nth_back(1).map(|(_, configuration)| configuration)
    }

    /// The configuration that was in force at `index`: `None` before what is still known.
    pub(super) fn configuration_at(&self, index: u64) -> Option<&Arc<Configuration>> {
        self.configurations.iter().rev().find(|(at, _)| *at <= index).map(|(_, configuration)| configuration)
    }

    /// The term of the entry at `index`: `None` before the base and behind the end.
    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.base.index { Some(self.base.term) } else { self.get(index).map(|entry| entry.term) }
    }

    /// The position of the entry at `index`, if its term is known.
    pub(super) fn position_at(&self, index: u64) -> Option<Position> {
        self.term_at(index).map(|term| Position { term, index })
    }

    /// An entry that is still in memory.
    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        let at = index.checked_sub(self.base.index)?.checked_sub(1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Entries from `index` on that are still in memory.
    pub(super) fn from(&self, index: u64) -> impl Iterator<Item = &Entry> {
        let skip = index.saturating_sub(self.base.index.saturating_add(1));
        self.entries.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    /// Appends an entry. Its index is one more than the last.
    pub(super) fn push(&mut self, entry: Entry) {
        debug_assert_eq!(entry.index, self.last().index + 1);
        if let Body::Configuration(configuration) = &entry.body {
            self.configurations.push((entry.index, Arc::clone(configuration)));
        }
        self.weight += entry.weight();
        self.entries.push_back(entry);
    }

    /// Removes all from `index` on, with the configurations that it brought.
    pub(super) fn truncate(&mut self, index: u64) {
        while self.entries.back().is_some_and(|last| last.index >= index) {
            self.weight -= self.entries.pop_back().map_or(0, |entry| entry.weight());
        }
        while self.configurations.len() > 1 && self.configured_at() >= index {
            self.configurations.pop();
        }
    }

    /// Forgets the oldest entries, none behind `index`, until no more than `bytes` are left.
    pub(super) fn trim(&mut self, index: u64, bytes: usize) {
        while self.weight > bytes && self.entries.front().is_some_and(|first| first.index <= index) {
            if let Some(first) = self.entries.pop_front() {
                self.weight -= first.weight();
                self.base = first.position();
            }
        }
        let old = self.configurations.iter().take_while(|(at, _)| *at <= self.base.index).count();
        self.configurations.drain(..old.saturating_sub(1));
    }

    /// The last entry up to `index` whose term is not above `term`: where a log may agree with another that has `term` at `index`.
    /// No further back than the base.
    pub(super) fn agreeing(&self, index: u64, term: u64) -> Position {
        let end = index.min(self.last().index);
        let behind = usize::try_from(self.last().index - end).unwrap_or(usize::MAX);
        let found = self.entries.iter().rev().skip(behind).find(|entry| entry.term <= term);
        found.map_or(self.base, Entry::position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::new(Position { term: 1, index: 3 }, Arc::default());
        for (entry, index) in terms.iter().zip(4..) {
            log.push(Entry { term: *entry, index, body: Body::Term });
        }
        log
    }

    #[test]
    fn what_is_asked_for_outside_is_not_there() {
        let log = log(&[1, 2]);
        let terms = [2, 3, 4, 5, 6, u64::MAX].map(|index| log.term_at(index));
        assert_eq!(terms, [None, Some(1), Some(1), Some(2), None, None]);
        assert_eq!(log.from(0).count(), 2);
        assert_eq!(log.from(5).count(), 1);
        assert_eq!(log.from(u64::MAX).count(), 0);
    }

    #[test]
    fn what_is_trimmed_is_the_base_and_its_configuration_stays() {
        let mut log = log(&[1]);
        let second = Arc::new(Configuration::first([]));
        log.push(Entry { term: 1, index: 5, body: Body::Configuration(Arc::clone(&second)) });
        log.push(Entry { term: 2, index: 6, body: Body::Term });
        log.trim(5, 0);
        assert_eq!((log.base(), log.configured_at()), (Position { term: 1, index: 5 }, 5));
        assert!(log.configuration_before().is_none());
        log.truncate(0);
        assert_eq!((log.last(), log.weight()), (log.base(), 0));
        assert_eq!(log.configured_at(), 5, "what the base has is never taken back");
    }

    #[test]
    fn logs_agree_where_the_terms_do() {
        let log = log(&[1, 3, 3, 5]);
        assert_eq!(log.agreeing(7, 4), Position { term: 3, index: 6 });
        assert_eq!(log.agreeing(u64::MAX, 9), Position { term: 5, index: 7 });
        assert_eq!(log.agreeing(6, 2), Position { term: 1, index: 4 });
        assert_eq!(log.agreeing(1, 1), Position { term: 1, index: 3 });
    }
}
