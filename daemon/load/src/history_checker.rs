//! Whether what was acknowledged is what is there.
//!
//! Each key is written by this run alone, one event at a time, and each event is one transition. So the acknowledged events of
//! a key carry the seqs 1, 2, 3, ... of one life: a seq that is higher than the next one was applied twice, one that is lower tells of
//! transitions that are gone, and another life that all of the one before are. What was lost may come back, when a network
//! partition heals and the older copy wins: then it was not lost, nor is it there twice.

use crate::said::{Place, Said};

/// Compares the acknowledged events of a run with what is there.
#[derive(Clone, Debug, Default)]
pub struct HistoryChecker {
    keys: Vec<Account>,
    /// Acknowledged transitions that are gone.
    pub lost: u64,
    /// Events that were applied more than once, counted once for each time too many.
    pub doubled: u64,
    /// Times that an instance began anew.
    pub restarted: u64,
    /// Acknowledged events that moved nothing: the machine had no transition for them.
    pub unchanged: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Where the key was seen last.
    place: Place,
    /// Events since then that may or may not have been applied.
    unknown: u64,
    /// Transitions that are gone.
    lost: u64,
}

impl HistoryChecker {
    /// For this many keys, none of which exists yet.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { keys: vec![Account::default(); keys], ..Self::default() }
    }

    /// An event was acknowledged.
    pub fn acknowledged(&mut self, key: usize, said: Said) {
        self.restarted += u64::from(said.restarted);
        self.unchanged += u64::from(!said.changed);
        self.compare(key, u64::from(said.changed), said.place);
    }

    /// It will not be known whether an event was applied.
    pub fn unknown(&mut self, key: usize) {
        if let Some(account) = self.keys.get_mut(key) {
            account.unknown += 1;
        }
    }

    /// An instance was looked at after its last event. A seq of 0: there is none.
    pub fn seen(&mut self, key: usize, place: Place) {
        self.compare(key, 0, place);
    }

    /// Takes over what another one knows of other keys.
    pub fn merge(&mut self, other: &HistoryChecker) {
        self.keys.extend(&other.keys);
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.restarted += other.restarted;
        self.unchanged += other.unchanged;
    }

    fn compare(&mut self, key: usize, step: u64, now: Place) {
        let Some(account) = self.keys.get_mut(key) else { return };
        let before = account.place;
        // Another life has nothing of the one before.
        let (ended, kept) = if now.is_in_life_of(before) { (0, before.seq) } else { (before.seq, 0) };
        let least = kept + step;
        let gone = ended + least.saturating_sub(now.seq);
        let more = now.seq.saturating_sub(least + account.unknown);
        let returned = more.min(account.lost);
        self.lost = self.lost + gone - returned;
        self.doubled += more - returned;
        *account = Account { place: now, unknown: 0, lost: account.lost + gone - returned };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_protocol::run::RunId;

    fn ok(seq: u64) -> Said {
        ok_in(1, seq)
    }

    fn ok_in(run: u64, seq: u64) -> Said {
        Said { place: Place { run: Some(RunId(run)), seq }, changed: true, ..Said::default() }
    }

    fn counts(checker: &HistoryChecker) -> (u64, u64, u64) {
        (checker.lost, checker.doubled, checker.restarted)
    }

    #[test]
    fn one_transition_after_another_balances() {
        let mut checker = HistoryChecker::new(2);
        [(0, 1), (1, 1), (0, 2), (0, 3)].into_iter().for_each(|(key, seq)| checker.acknowledged(key, ok(seq)));
        checker.seen(0, ok(3).place);
        checker.seen(1, ok(1).place);
        assert_eq!(counts(&checker), (0, 0, 0));
    }

    #[test]
    fn an_event_applied_twice_is_counted_once() {
        let mut checker = HistoryChecker::new(1);
        [1, 3, 4].into_iter().for_each(|seq| checker.acknowledged(0, ok(seq)));
        assert_eq!(counts(&checker), (0, 1, 0));
        checker.seen(0, ok(6).place);
        assert_eq!(counts(&checker), (0, 3, 0), "also one that only a look at the end shows");
    }

    #[test]
    fn an_instance_that_began_anew_lost_what_was_acknowledged() {
        let mut checker = HistoryChecker::new(2);
        (1..=5).for_each(|seq| checker.acknowledged(0, ok(seq)));
        checker.acknowledged(0, Said { restarted: true, ..ok_in(2, 1) });
        checker.acknowledged(0, ok_in(2, 2));
        assert_eq!(counts(&checker), (5, 0, 1));
        checker.acknowledged(1, ok(1));
        checker.seen(1, Place::default());
        assert_eq!(counts(&checker), (6, 0, 1), "one that was not asked again is missed at the end");
    }

    #[test]
    fn what_a_healed_partition_brings_back_is_neither_lost_nor_doubled() {
        let mut checker = HistoryChecker::new(1);
        (1..=30).for_each(|seq| checker.acknowledged(0, ok(seq)));
        checker.acknowledged(0, Said { restarted: true, ..ok_in(2, 1) });
        (2..=5).for_each(|seq| checker.acknowledged(0, ok_in(2, seq)));
        // The copy with 30 transitions won; the five on the other one are gone.
        checker.acknowledged(0, ok(31));
        assert_eq!(counts(&checker), (5, 0, 1));
        checker.acknowledged(0, ok(40));
        assert_eq!(counts(&checker), (0, 3, 1), "no more than was lost can come back");
    }

    #[test]
    fn what_was_given_up_may_have_been_applied_or_not() {
        for seq in [2, 3] {
            let mut checker = HistoryChecker::new(1);
            checker.acknowledged(0, ok(1));
            checker.unknown(0);
            checker.acknowledged(0, ok(seq));
            assert_eq!(counts(&checker), (0, 0, 0), "seq {seq}");
            checker.acknowledged(0, ok(seq + 2));
            assert_eq!(counts(&checker), (0, 1, 0), "but only once");
        }
    }

    #[test]
    fn an_event_that_changed_nothing_moves_nothing() {
        let mut checker = HistoryChecker::new(1);
        checker.acknowledged(0, ok(1));
        checker.acknowledged(0, Said { changed: false, ..ok(1) });
        assert_eq!(counts(&checker), (0, 0, 0));
    }

    #[test]
    fn a_life_that_ended_is_lost_though_the_next_one_is_as_long() {
        let mut checker = HistoryChecker::new(2);
        (1..=2).for_each(|seq| checker.acknowledged(0, ok(seq)));
        (0..4).for_each(|_| checker.unknown(0));
        checker.acknowledged(0, ok_in(2, 3));
        assert_eq!(counts(&checker), (2, 0, 0), "two of those whose outcome is unknown were applied in it");
        (1..=2).for_each(|seq| checker.acknowledged(1, Said { place: Place { run: None, seq }, ..ok(seq) }));
        checker.seen(1, Place { run: None, seq: 1 });
        assert_eq!(counts(&checker), (3, 0, 0), "without lives the numbers tell");
    }
}
