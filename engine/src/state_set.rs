//! A set of states of one machine, by index in document order: one word for up to 64 states, boxed words beyond.
//!
//! States are numbered in document order, so the descendants of a state are a range, the entry order is ascending
//! and the exit order descending.

/// Index of a state in its machine, in document order. The root is 0.
pub(crate) type StateIx = u16;

const WORD_BITS: usize = u64::BITS as usize;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StateSet {
    Small(u64),
    // A thin pointer keeps the set, and so every instance, 8 bytes smaller; `Box<[u64]>` is a fat one.
    #[allow(clippy::box_collection)]
    Large(Box<Vec<u64>>),
}

impl Clone for StateSet {
    fn clone(&self) -> Self {
        match self {
            Self::Small(word) => Self::Small(*word),
            Self::Large(words) => Self::Large(words.clone()),
        }
    }

    #[inline]
    fn clone_from(&mut self, source: &Self) {
        match (&mut *self, source) {
            (Self::Small(into), Self::Small(from)) => *into = *from,
            (Self::Large(into), Self::Large(from)) => into.as_mut().clone_from(from),
            _ => *self = source.clone(),
        }
    }
}

impl Default for StateSet {
    fn default() -> Self {
        Self::Small(0)
    }
}

impl StateSet {
    /// The empty set for a machine of `states` states.
    pub(crate) fn empty(states: usize) -> Self {
        if states <= WORD_BITS { Self::Small(0) } else { Self::Large(Box::new(vec![0; states.div_ceil(WORD_BITS)])) }
    }

    /// Rebuilds a set from its words; `None` if they name states beyond `states`.
    pub(crate) fn from_words(words: &[u64], states: usize) -> Option<Self> {
        let mut set = Self::empty(states);
        let into = set.words_mut();
        if words.len() != into.len() {
            return None;
        }
        into.copy_from_slice(words);
        match set.last() {
            Some(last) if usize::from(last) >= states => None,
            _ => Some(set),
        }
    }

    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        match self {
            Self::Small(word) => std::slice::from_ref(word),
            Self::Large(words) => words,
        }
    }

    #[inline]
    fn words_mut(&mut self) -> &mut [u64] {
        match self {
            Self::Small(word) => std::slice::from_mut(word),
            Self::Large(words) => words,
        }
    }

    #[inline]
    pub(crate) fn contains(&self, state: StateIx) -> bool {
        let bit = usize::from(state);
        match self {
            Self::Small(word) => bit < WORD_BITS && word >> bit & 1 == 1,
            Self::Large(words) => words.get(bit / WORD_BITS).is_some_and(|word| word >> (bit % WORD_BITS) & 1 == 1),
        }
    }

    #[inline]
    pub(crate) fn insert(&mut self, state: StateIx) {
        let bit = usize::from(state);
        if let Some(word) = self.words_mut().get_mut(bit / WORD_BITS) {
            *word |= 1 << (bit % WORD_BITS);
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, state: StateIx) {
        let bit = usize::from(state);
        if let Some(word) = self.words_mut().get_mut(bit / WORD_BITS) {
            *word &= !(1 << (bit % WORD_BITS));
        }
    }

    /// Makes this the empty set for a machine of `states` states, keeping the memory where it fits.
    #[inline]
    pub(crate) fn reset(&mut self, states: usize) {
        if self.words().len() == states.div_ceil(WORD_BITS).max(1) {
            self.clear();
        } else {
            *self = Self::empty(states);
        }
    }

    /// Takes the states of `start..end` out and those of `with` in.
    #[inline]
    pub(crate) fn replace_range(&mut self, start: usize, end: usize, with: &Self) {
        if let (Self::Small(word), Self::Small(with)) = (&mut *self, with) {
            *word = *word & !range_mask(0, start, end) | with;
            return;
        }
        for (index, (into, word)) in self.words_mut().iter_mut().zip(with.words()).enumerate() {
            *into = *into & !range_mask(index * WORD_BITS, start, end) | word;
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.words_mut().fill(0);
    }

    #[inline]
    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.words().iter().zip(other.words()).any(|(a, b)| a & b != 0)
    }

    /// Whether any state of `start..end` is in the set.
    #[inline]
    pub(crate) fn any_in(&self, start: usize, end: usize) -> bool {
        self.next_from(start).is_some_and(|first| usize::from(first) < end)
    }

    /// Adds every state of `from` that lies in `start..end`.
    #[inline]
    pub(crate) fn insert_range_of(&mut self, from: &Self, start: usize, end: usize) {
        if let (Self::Small(word), Self::Small(from)) = (&mut *self, from) {
            *word |= from & range_mask(0, start, end);
            return;
        }
        for (index, (into, word)) in self.words_mut().iter_mut().zip(from.words()).enumerate() {
            *into |= word & range_mask(index * WORD_BITS, start, end);
        }
    }

    /// The first state at or after `start`.
    #[inline]
    pub(crate) fn next_from(&self, start: usize) -> Option<StateIx> {
        if let Self::Small(word) = self {
            let rest = if start < WORD_BITS { word & (u64::MAX << start) } else { 0 };
            return if rest == 0 { None } else { Some(rest.trailing_zeros() as StateIx) };
        }
        let words = self.words();
        let mut index = start / WORD_BITS;
        let mut word = words.get(index)? & (u64::MAX << (start % WORD_BITS));
        loop {
            if word != 0 {
                return Some((index * WORD_BITS + word.trailing_zeros() as usize) as StateIx);
            }
            index += 1;
            word = *words.get(index)?;
        }
    }

    /// The last state in document order: without parallel states, the active leaf.
    #[inline]
    pub(crate) fn last(&self) -> Option<StateIx> {
        self.last_before(self.words().len() * WORD_BITS)
    }

    /// The last state before `end`.
    #[inline]
    pub(crate) fn last_before(&self, end: usize) -> Option<StateIx> {
        if let Self::Small(word) = self {
            let rest = if end < WORD_BITS { word & ((1 << end) - 1) } else { *word };
            return if rest == 0 { None } else { Some((WORD_BITS - 1) as StateIx - rest.leading_zeros() as StateIx) };
        }
        let words = self.words();
        let end = end.min(words.len() * WORD_BITS);
        if end == 0 {
            return None;
        }
        let mut index = (end - 1) / WORD_BITS;
        let mut word = words[index] & (u64::MAX >> (WORD_BITS - 1 - (end - 1) % WORD_BITS));
        loop {
            if word != 0 {
                return Some((index * WORD_BITS + WORD_BITS - 1 - word.leading_zeros() as usize) as StateIx);
            }
            if index == 0 {
                return None;
            }
            index -= 1;
            word = words[index];
        }
    }

    /// The states in document order.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = StateIx> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let state = self.next_from(at)?;
            at = usize::from(state) + 1;
            Some(state)
        })
    }

    /// The states in reverse document order.
    #[inline]
    pub(crate) fn iter_rev(&self) -> impl Iterator<Item = StateIx> + '_ {
        let mut end = self.words().len() * WORD_BITS;
        std::iter::from_fn(move || {
            let state = self.last_before(end)?;
            end = usize::from(state);
            Some(state)
        })
    }
}

/// The bits of the word that starts at `base` which lie in `start..end`.
#[inline]
fn range_mask(base: usize, start: usize, end: usize) -> u64 {
    let low = start.saturating_sub(base);
    let high = end.saturating_sub(base).min(WORD_BITS);
    if low >= high {
        return 0;
    }
    let below_high = if high == WORD_BITS { u64::MAX } else { (1 << high) - 1 };
    below_high & (u64::MAX << low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(states: usize, members: &[StateIx]) -> StateSet {
        let mut set = StateSet::empty(states);
        for member in members {
            set.insert(*member);
        }
        set
    }

    #[test]
    fn small_and_large_sets_walk_in_both_directions() {
        for states in [64, 200] {
            let members = [0, 3, 17, 63];
            let set = set(states, &members);
            assert_eq!(set.iter().collect::<Vec<_>>(), members);
            assert_eq!(set.iter_rev().collect::<Vec<_>>(), [63, 17, 3, 0]);
            assert_eq!(set.last(), Some(63));
        }
        let large = set(200, &[1, 64, 130, 199]);
        assert_eq!(large.iter().collect::<Vec<_>>(), [1, 64, 130, 199]);
        assert_eq!(large.iter_rev().collect::<Vec<_>>(), [199, 130, 64, 1]);
    }

    #[test]
    fn ranges_select_descendants_only() {
        let active = set(200, &[0, 1, 64, 130, 199]);
        let mut exits = StateSet::empty(200);
        exits.insert_range_of(&active, 1, 199);
        assert_eq!(exits.iter().collect::<Vec<_>>(), [1, 64, 130]);
        assert!(active.any_in(65, 131));
        assert!(!active.any_in(65, 130));
        assert!(StateSet::empty(64).last().is_none());
    }

    #[test]
    fn words_that_name_no_state_are_refused() {
        assert!(StateSet::from_words(&[1 << 5], 5).is_none());
        assert!(StateSet::from_words(&[1 << 4], 5).is_some());
        assert!(StateSet::from_words(&[0, 0], 5).is_none());
    }
}
