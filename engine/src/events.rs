//! Event names of one machine, interned: a name becomes an index with one hash and, mostly, one comparison.

use statemesh_expr::Str;

/// Index of an event name that the machine knows.
pub(crate) type EventIx = u32;

/// The names, and an open-addressing table over them that never changes once compiled.
#[derive(Debug, Default)]
pub(crate) struct EventNames {
    names: Vec<Str>,
    /// Index plus one; 0 is free. A power of two, at most half full.
    table: Vec<u32>,
}

impl EventNames {
    /// The index of `name`, adding it if it is new.
    pub(crate) fn intern(&mut self, name: &str) -> EventIx {
        if let Some(found) = self.find(name) {
            return found;
        }
        let index = self.names.len() as u32;
        self.names.push(Str::new(name));
        if self.names.len() * 2 > self.table.len() {
            self.rebuild();
        } else {
            let slot = self.free_slot(name);
            self.table[slot] = index + 1;
        }
        index
    }

    pub(crate) fn name(&self, index: EventIx) -> &Str {
        &self.names[index as usize]
    }

    /// The name of an index, if there are so many.
    pub(crate) fn get(&self, index: EventIx) -> Option<&Str> {
        self.names.get(index as usize)
    }

    /// The index of `name`, if the machine knows it.
    #[inline]
    pub(crate) fn find(&self, name: &str) -> Option<EventIx> {
        let mask = self.table.len().wrapping_sub(1);
        let mut slot = hash(name) as usize & mask;
        loop {
            let index = (*self.table.get(slot)?).checked_sub(1)?;
            if self.names[index as usize].as_str() == name {
                return Some(index);
            }
            slot = (slot + 1) & mask;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Str> {
        self.names.iter()
    }

    fn free_slot(&self, name: &str) -> usize {
        let mask = self.table.len() - 1;
        let mut slot = hash(name) as usize & mask;
        while self.table[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn rebuild(&mut self) {
        let size = (self.names.len() * 4).next_power_of_two().max(8);
        self.table.clear();
        self.table.resize(size, 0);
        for index in 0..self.names.len() {
            let slot = self.free_slot(&self.names[index]);
            self.table[slot] = index as u32 + 1;
        }
    }
}

/// A short multiplicative hash. The table holds only the definition's own names, so a definition that makes them
/// collide slows down nobody but itself, and by no more than its number of names.
#[inline]
fn hash(name: &str) -> u64 {
    const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    let bytes = name.as_bytes();
    let mut state = bytes.len() as u64;
    let mut mix = |word: u64| state = (state.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        bytes
            .chunks_exact(8)
            .skip(1)
            .for_each(|chunk| mix(chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))));
        mix(u64::from_le_bytes(*first));
        // Overlaps what came before, which does no harm.
        mix(u64::from_le_bytes(*last));
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        mix(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)));
    } else {
        mix(bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }
    // The high bits of a product are the mixed ones; the table uses the low ones.
    state >> 32
}

/// Whether an event descriptor that is not the event's name matches it: `*`, and `a.b.*` for `a.b` and what begins with `a.b.`.
pub(crate) fn wildcard_matches(descriptor: &str, name: &str) -> bool {
    if descriptor == "*" {
        return true;
    }
    let Some(prefix) = descriptor.strip_suffix(".*") else { return false };
    // XState stops at the first `*` token; one that is not the last matches nothing.
    if prefix.split('.').any(|token| token == "*") {
        return false;
    }
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a descriptor can match names other than itself.
pub(crate) fn is_wildcard(descriptor: &str) -> bool {
    descriptor == "*" || descriptor.ends_with(".*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_number_and_length() {
        let mut names = EventNames::default();
        assert_eq!(names.find("x"), None);
        for number in 0..500 {
            assert_eq!(names.intern(&format!("event.with.a.long.name.{number}")), number);
        }
        for number in 0..500 {
            assert_eq!(names.find(&format!("event.with.a.long.name.{number}")), Some(number));
        }
        assert_eq!(names.find("event"), None);
        assert_eq!(names.find(""), None);
    }

    #[test]
    fn partial_wildcards_match_tokens() {
        assert!(wildcard_matches("a.*", "a"));
        assert!(wildcard_matches("a.*", "a.b.c"));
        assert!(!wildcard_matches("a.*", "ab"));
        assert!(!wildcard_matches("a.*", "b.a"));
        assert!(wildcard_matches("*", "anything"));
        assert!(!wildcard_matches("a.*.b.*", "a.x.b.c"));
        assert!(!wildcard_matches("*.*", "a.b"));
    }
}
