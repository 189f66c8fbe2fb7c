//! Datagrams that were recorded and sent again are recognised by their number within their sender's session.

use std::collections::BTreeMap;

/// How far behind the newest datagram of its session one may arrive.
pub const REPLAY_WINDOW: u64 = 256;
/// Sessions kept track of. Beyond it the one that was heard of longest ago is forgotten.
pub const MAX_SESSIONS: usize = 8192;

/// Who sent a datagram: 16 random bytes, chosen when its process started.
pub(super) type Session = [u8; 16];

#[derive(Debug, Default)]
pub(super) struct ReplayGuard {
    sessions: BTreeMap<Session, Window>,
    /// Counts datagrams, to know which session was heard of longest ago.
    clock: u64,
}

#[derive(Debug, Default)]
struct Window {
    newest: u64,
    /// Bit n of it: the datagram n numbers before the newest was seen.
    seen: [u64; (REPLAY_WINDOW / 64) as usize],
    heard_at: u64,
}

impl ReplayGuard {
    /// Notes an authentic datagram. False when it was seen before, or is too old to tell.
    pub(super) fn accept(&mut self, session: Session, number: u64) -> bool {
        self.clock += 1;
        if self.sessions.len() >= MAX_SESSIONS && !self.sessions.contains_key(&session) {
            self.forget_oldest();
        }
        let window = self.sessions.entry(session).or_default();
        window.heard_at = self.clock;
        window.accept(number)
    }

    fn forget_oldest(&mut self) {
        let oldest = self.sessions.iter().min_by_key(|(_, window)| window.heard_at);
        if let Some(session) = oldest.map(|(session, _)| *session) {
            self.sessions.remove(&session);
        }
    }
}

impl Window {
    fn accept(&mut self, number: u64) -> bool {
        if number > self.newest {
            self.advance(number - self.newest);
            self.newest = number;
        }
        let age = self.newest - number;
        if age >= REPLAY_WINDOW {
            return false;
        }
        let (word, bit) = ((age / 64) as usize, 1 << (age % 64));
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }

    /// Moves all bits up by `by`.
    fn advance(&mut self, by: u64) {
        let (words, bits) = ((by / 64) as usize, by % 64);
        for to in (0..self.seen.len()).rev() {
            let word = |n: Option<usize>| n.map_or(0, |n| self.seen[n]);
            let (high, low) = (word(to.checked_sub(words)), word(to.checked_sub(words + 1)));
            self.seen[to] = high << bits | if bits == 0 { 0 } else { low >> (64 - bits) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeSet;

    #[test]
    fn does_what_a_set_of_all_numbers_does() {
        let seed = 11;
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut guard, mut seen) = (ReplayGuard::default(), BTreeSet::new());
        let mut newest: u64 = 0;
        for _ in 0..20_000 {
            let jump = if rng.random_bool(0.01) { 1000 } else { 3 };
            let ahead = newest + rng.random_range(1..=jump);
            let number = ahead.saturating_sub(rng.random_range(0..400));
            newest = newest.max(number);
            let fresh = newest - number < REPLAY_WINDOW && seen.insert(number);
            assert_eq!(guard.accept([1; 16], number), fresh, "{number} of {newest}");
        }
    }

    #[test]
    fn a_flood_of_sessions_does_not_grow_the_table() {
        let mut guard = ReplayGuard::default();
        for n in 0..2 * MAX_SESSIONS as u128 {
            assert!(guard.accept(n.to_be_bytes(), 1));
        }
        assert_eq!(guard.sessions.len(), MAX_SESSIONS);
    }
}
